"""The module ferry, on the device that FERRY_DEVICE names."""

import array
import asyncio
import concurrent.futures
import ctypes
import gc
import os
import re
import threading
import weakref

import pytest

import ferry
from ferry import _pin, _tickets

SIZES = [0, 1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537]
OFFSETS = [0, 1, 3, 4, 7, 17, 31]


def pattern(size, seed=0):
    return bytes((i * 7 + i // 251 + seed) & 0xFF for i in range(size))


# --- devices -------------------------------------------------------------------------------------


def test_devices_are_listed():
    infos = ferry.devices()
    assert infos and all(info.name.startswith(info.driver) for info in infos)
    assert len({info.name for info in infos}) == len(infos)
    with ferry.Device(infos[-1].name) as device:
        assert device.info.name == infos[-1].name
        assert device.info.total_memory > 0
        assert infos[-1].name in device.info.reason
        assert infos[-1].name in repr(device)


def test_unknown_device():
    with pytest.raises(ferry.Error, match="no-such-device") as caught:
        ferry.Device("no-such-device")
    assert caught.value.status == ferry.Status.NO_DEVICE


@pytest.mark.parametrize("arguments", [
    {"path": "teleport"}, {"path": "device"}, {"map_private": "maybe"}, {"staging_budget": -1},
    {"pool_budget": 2**64}, {"queues": -1}])
def test_wrong_parameters(arguments):
    with pytest.raises(ValueError):
        ferry.Device(**arguments)


def test_parameters_reach_the_library():
    with ferry.Device("host", path="staged", map_private="never") as device:
        device.upload(bytes(1000))
        assert [(row["operation"], row["path"], row["operations"])
                for row in device.stats()["operations"]] == [("upload", "staged", 1)]
    with pytest.raises(ferry.Error) as caught:
        ferry.Device("host", staging_budget=5)
    assert caught.value.status == ferry.Status.INVALID_ARGUMENT


def test_closed_device_and_what_is_left(device):
    other = ferry.Device(device.info.name)
    buffer, batch = other.buffer(100), other.batch()
    ticket = buffer.zero_async()
    other.close()
    other.close()
    assert ticket.result() is None
    for call in (other.memory, other.stats, other.wait_idle, other.trim, other.batch,
                 lambda: other.buffer(1), buffer.zero, lambda: batch.zero(buffer)):
        with pytest.raises(ferry.Error):
            call()
    buffer.destroy()
    batch.destroy()


def test_memory_and_stats(device):
    device.reset_stats()
    before = device.memory()
    buffer = device.buffer(1234)
    assert device.memory()["in_use"] == before["in_use"] + 1234
    assert device.memory()["allocation_count"] == 1
    buffer.copy_from_host(bytes(1234))
    rows = device.stats()["operations"]
    assert sum(row["bytes"] for row in rows if row["operation"] == "upload") == 1234
    assert re.search(r"^ferry_\w+.* 1234$", device.stats_prometheus(), re.M)
    buffer.destroy()
    assert device.memory()["deallocation_count"] == 1
    device.trim()
    assert device.memory()["pooled"] == 0


# --- buffers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
def test_ranges(device, shared):
    whole = pattern(65537 + 64, 77)
    buffer = device.buffer(len(whole), shared=shared)
    source = pattern(65537, 5)
    for size in SIZES:
        for offset in OFFSETS:
            buffer.copy_from_host(whole)
            buffer.copy_from_host(memoryview(source)[:size], offset)
            expected = whole[:offset] + source[:size] + whole[offset + size:]
            assert buffer.read() == expected
            into = bytearray(b"\xa5" * (size + 2))
            buffer.copy_to_host(memoryview(into)[1:1 + size], offset)
            assert into == b"\xa5" + source[:size] + b"\xa5"
            assert buffer.read(size, offset) == source[:size]


def test_buffer_properties(device):
    buffer = device.buffer(4097, label="wörter", zeroed=True)
    assert (len(buffer), buffer.size, buffer.shared) == (4097, 4097, False)
    assert "wörter" in repr(buffer) and "4097" in repr(buffer)
    assert buffer.read() == bytes(4097)
    assert buffer.device is device
    assert buffer.wait() and buffer.wait(0)


def test_copies_and_fills(device):
    first, second = device.upload(pattern(1000)), device.buffer(1000)
    second.copy_from(first)
    assert second.read() == pattern(1000)
    second.copy_from(first, 100, offset=7, source_offset=31)
    expected = bytearray(pattern(1000))
    expected[7:107] = pattern(1000)[31:131]
    assert second.read() == expected
    second.copy_from(second, 500, offset=3)  # overlapping: as memmove
    expected[3:503] = expected[0:500]
    assert second.read() == expected
    second.fill(b"abc", 10, 5)
    expected[5:15] = b"abcabcabca"
    second.fill(255, offset=999)
    expected[999] = 255
    assert second.read() == expected
    second.zero()
    assert second.read() == bytes(1000)


class Number:
    """Not an int, and as good as one."""

    def __index__(self):
        return 7



@pytest.mark.parametrize("value, expected", [
    (Number(), b"\x07"), (True, b"\x01"), (array.array("H", [1, 2]), b"\x01\0\x02\0"),
    (bytearray(b"ab"), b"ab"), (memoryview(b"abc"), b"abc"), ([1, 2, 3], b"\1\2\3")])
def test_patterns_of_a_fill(device, value, expected):
    buffer = device.upload(bytes(240))
    buffer.fill(value)
    assert buffer.read() == (expected * 240)[:240]


def test_patterns_of_numpys(device):
    numpy = pytest.importorskip("numpy")
    buffer = device.upload(bytes(240))
    for value, expected in ((numpy.uint8(7), b"\x07"), (numpy.int64(7), b"\x07"),
                            (numpy.array(7), b"\x07"), (numpy.array([7], numpy.uint16), b"\x07\0"),
                            (numpy.array([1, 2], numpy.uint16), b"\x01\0\x02\0"),
                            (numpy.float32(1), b"\0\0\x80\x3f")):
        buffer.fill(value)
        assert buffer.read() == (expected * 240)[:240], value
    with pytest.raises(ValueError):
        buffer.fill(numpy.int64(300))


@pytest.mark.parametrize("value", [256, -1, 1.5, "ab", None])
def test_what_is_no_pattern(device, value):
    with pytest.raises((TypeError, ValueError)):
        device.buffer(16).fill(value)


def test_copy_between_devices(device):
    with ferry.Device("host") as other:
        there = other.buffer(65537)
        there.copy_from(device.upload(pattern(65537)))
        assert there.read() == pattern(65537)
        back = device.buffer(65537)
        ticket = back.copy_from_async(there)
        assert ticket.device is device
        ticket.result()
        assert back.read() == pattern(65537)


@pytest.mark.parametrize("call, status", [
    (lambda d, b: b.copy_from_host(b"12", 99), "OUT_OF_RANGE"),
    (lambda d, b: b.copy_from_host_async(b"12", 99), "OUT_OF_RANGE"),
    (lambda d, b: b.copy_to_host(bytearray(101)), "OUT_OF_RANGE"),
    (lambda d, b: b.read(1, 100), "OUT_OF_RANGE"),
    (lambda d, b: b.read(None, 101), "OUT_OF_RANGE"),
    (lambda d, b: b.copy_from(b, 50, 51), "OUT_OF_RANGE"),
    (lambda d, b: b.fill(b"", 10), "INVALID_ARGUMENT"),
    (lambda d, b: b.fill(b"x" * 17), "INVALID_ARGUMENT"),
    (lambda d, b: b.fill(b"x", 101), "OUT_OF_RANGE"),
    (lambda d, b: b.contents(), "UNSUPPORTED"),
    (lambda d, b: d.buffer(0), "INVALID_ARGUMENT"),
    (lambda d, b: d.buffer(2**63), "OUT_OF_DEVICE_MEMORY"),
])
def test_errors_in_words(device, call, status):
    buffer = device.buffer(100)
    with pytest.raises(ferry.Error) as caught:
        call(device, buffer)
    assert caught.value.status == ferry.Status[status]
    assert len(str(caught.value)) > 10
    ferry._tickets.drain(device)


@pytest.mark.parametrize("call", [
    lambda b: b.copy_from_host(b"1", -1), lambda b: b.read(-1), lambda b: b.fill(1, -1),
    lambda b: b.copy_from(b, 1, -1), lambda b: b.read(1, 2**64), lambda b: b.fill(256)])
def test_numbers_that_are_no_sizes(device, call):
    with pytest.raises(ValueError):
        call(device.buffer(100))


# --- host memory ---------------------------------------------------------------------------------


def test_kinds_of_sources(device):
    buffer = device.buffer(8)
    for source in (b"12345678", bytearray(b"12345678"), memoryview(b"x12345678")[1:],
                   array.array("I", [1, 2]), (ctypes.c_uint16 * 4)(1, 2, 3, 4)):
        buffer.zero()
        buffer.copy_from_host(source)
        assert buffer.read() == bytes(memoryview(source).cast("B"))


def test_refused_memory(device):
    buffer = device.buffer(8)
    with pytest.raises(ValueError, match="not contiguous"):
        buffer.copy_from_host(memoryview(b"12345678")[::2])
    with pytest.raises(ValueError, match="read-only"):
        buffer.copy_to_host(b"12345678")
    with pytest.raises(TypeError, match="str gives no access"):
        buffer.copy_from_host("text")
    with pytest.raises(TypeError, match="int gives no access"):
        device.batch().copy_from_host(buffer, 8)


def test_pin_holds_and_releases():
    memory = bytearray(10)
    pin = _pin.Pin(memory, writable=True)
    with pytest.raises(BufferError):
        memory.append(1)
    pin.release()
    memory.append(1)
    _pin.Pin(memory, writable=False)
    memory.append(1)  # collected with its last reference


def test_files(device, tmp_path):
    data = pattern(70000)
    path = tmp_path / "data"
    path.write_bytes(data)
    buffer = device.buffer(50000)
    with open(path, "r+b") as file:
        buffer.copy_from_file(file, file_offset=7)
        assert buffer.read() == data[7:50007]
        ticket = buffer.copy_from_file_async(file.fileno(), 1000, offset=3, file_offset=69000)
    ticket.result()  # the file is closed, the operation's own descriptor is not
    assert buffer.read(1000, 3) == data[69000:]
    with open(path, "r+b") as file:
        batch = device.batch()
        batch.copy_from_file(buffer, file, 100, offset=0, file_offset=5)
        batch.copy_to_file(buffer, file, 100, offset=0, file_offset=1000)
    batch.submit().result()
    assert path.read_bytes()[1000:1100] == data[5:105]
    with open(path, "rb") as file, pytest.raises(ferry.Error) as error:
        buffer.copy_from_file(file, 2, file_offset=69999)
    assert error.value.status == ferry.Status.IO
    with open(path, "rb") as file, pytest.raises(ferry.Error) as error:
        buffer.copy_to_file(file)
    assert error.value.status == ferry.Status.INVALID_ARGUMENT


def test_contents(device):
    buffer = device.buffer(100, shared=True, zeroed=True)
    view = buffer.contents()
    assert (len(view), view.readonly, view.format) == (100, False, "B")
    view[99] = 7
    assert buffer.read(1, 99) == b"\x07"
    with pytest.raises(BufferError):
        buffer.destroy()
    with pytest.raises(BufferError):
        device.close()
    gone = weakref.ref(buffer)
    del buffer
    gc.collect()
    assert gone() is not None and view[99] == 7
    del view
    gc.collect()
    assert gone() is None


def test_numpy(device):
    numpy = pytest.importorskip("numpy")
    values = numpy.arange(1000, dtype="float32").reshape(10, 100)
    buffer = device.upload(values)
    assert (buffer.to_numpy("float32", (10, 100)) == values).all()
    result = numpy.empty_like(values)
    ticket = buffer.copy_to_host_async(result)
    ticket.result()
    assert (result == values).all()
    values.flags.writeable = False
    buffer.copy_from_host(values)
    with pytest.raises(ValueError, match="read-only"):
        buffer.copy_to_host(values)
    for wrong in (values[:, ::2], values.T):
        with pytest.raises(ValueError, match="numpy.ascontiguousarray"):
            buffer.copy_from_host(wrong)
    shared = device.buffer(values.nbytes, shared=True)
    window = numpy.frombuffer(shared.contents(), "float32")
    window[:] = 3
    assert shared.read(4, 3996) == numpy.float32(3).tobytes()


# --- tickets -------------------------------------------------------------------------------------


def test_ticket_is_a_future(device):
    buffer = device.buffer(65537)
    source = pattern(65537)
    tickets = [buffer.copy_from_host_async(source), buffer.fill_async(1, 5)]
    done, pending = concurrent.futures.wait(tickets, timeout=60)
    assert not pending and done == set(tickets)
    assert all(ticket.result() is None and ticket.exception() is None for ticket in tickets)
    assert not tickets[0].cancel() and not tickets[0].cancelled()
    assert buffer.read() == b"\x01" * 5 + source[5:]


def test_ticket_waits_and_times_out(held):
    device, hold = held
    buffer = device.buffer(5)
    with hold(buffer):
        ticket = buffer.copy_from_host_async(b"12345")
        assert not ticket.done()
        assert not ticket.cancel()
        with pytest.raises(concurrent.futures.TimeoutError):
            ticket.result(0.001)
        with pytest.raises(concurrent.futures.TimeoutError):
            ticket.exception(0)
        assert not buffer.wait(0.001)
    assert ticket.result(60) is None
    assert ticket.done() and buffer.wait()


def test_ticket_of_a_range(held):
    device, hold = held
    buffer = device.buffer(100)
    assert buffer.ticket().done() and buffer.ticket(0, 100).done()
    with hold(buffer, 10, 5):
        upload = buffer.copy_from_host_async(b"12345", 10)
        assert buffer.ticket(10).done() and buffer.ticket(offset=15).done()
        ticket = buffer.ticket(1, 14)
        assert not ticket.done()
    assert ticket.result(60) is None and upload.result(60) is None
    with pytest.raises(ferry.Error, match="size 2 at offset 99"):
        buffer.ticket(2, 99)


def test_callback_runs_without_anybody_waiting(held):
    device, hold = held
    buffer = device.buffer(5)
    called = threading.Event()
    threads = []

    def when_done(ticket):
        threads.append(threading.current_thread().name)
        buffer.zero()  # waiting is allowed: this is none of Ferry's own threads
        called.set()

    with hold(buffer):
        buffer.copy_from_host_async(b"12345").add_done_callback(when_done)
    assert called.wait(60)
    assert threads == ["ferry-tickets"]
    assert buffer.read() == bytes(5)


def test_close_in_a_callback():
    device = ferry.Device("host", map_private="never")
    ticket = device.buffer(100000).copy_from_host_async(bytes(100000))
    closed = threading.Event()
    ticket.add_done_callback(lambda _: (device.close(), closed.set()))
    ticket.result(60)
    assert closed.wait(60)


def test_asyncio(device):
    async def upload():
        buffer = device.buffer(4097)
        await asyncio.wrap_future(buffer.copy_from_host_async(pattern(4097)))
        return buffer.read()

    assert asyncio.run(upload()) == pattern(4097)


def may_grow(source):
    """Whether nobody holds source's memory."""
    try:
        source.append(1)
    except BufferError:
        return False
    return True


def test_source_is_held_until_done(held):
    class Source(bytearray):
        pass

    device, hold = held
    buffer = device.buffer(100)
    source = Source(pattern(100))
    alive = weakref.ref(source)
    with hold(buffer):
        ticket = buffer.copy_from_host_async(source)
        assert not may_grow(source)
        del source
        gc.collect()
        assert alive() is not None
    ticket.result()
    gc.collect()
    assert alive() is None
    assert buffer.read() == pattern(100)


def test_dropped_ticket_still_holds(held):
    device, hold = held
    source = bytearray(pattern(100))
    buffer = device.buffer(100)
    with hold(buffer):
        buffer.copy_from_host_async(source)
        gc.collect()
        assert not may_grow(source)
    device.wait_idle()
    _tickets.drain(device)
    assert buffer.read() == pattern(100)
    while not may_grow(source):  # the helper thread releases it at its next look
        threading.Event().wait(0.01)
    assert len(source) == 101


def test_refused_call_releases(device):
    source = bytearray(10)
    with pytest.raises(ferry.Error):
        device.buffer(9).copy_from_host_async(source)
    with pytest.raises(ferry.Error):
        device.batch().copy_from_host(device.buffer(9), source)
    source.append(1)


def test_failure_reaches_the_ticket():
    os.environ["FERRY_HOST"] = "fail_exec=1"
    try:
        device = ferry.Device("host", map_private="never")
    finally:
        del os.environ["FERRY_HOST"]
    with device:
        ticket = device.buffer(100).copy_from_host_async(bytes(100))
        assert ticket.exception().status == ferry.Status.EXECUTION_FAILED
        with pytest.raises(ferry.Error) as caught:
            ticket.result()
        assert len(str(caught.value)) > 10


def test_many_threads(device):
    def work(seed):
        buffer = device.buffer(4097)
        for i in range(20):
            ticket = buffer.copy_from_host_async(pattern(4097, seed + i))
            assert buffer.read() == pattern(4097, seed + i)
            ticket.result()
        return True

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(0, 80, 20)))


# --- batches -------------------------------------------------------------------------------------


def test_batch(device):
    buffer, other = device.buffer(100), device.buffer(50)
    into = bytearray(50)
    batch = device.batch()
    batch.fill(buffer, b"ab")
    batch.copy_from_host(buffer, b"xyz", 1)
    batch.copy_from(other, buffer, 50)
    batch.zero(buffer)
    batch.copy_to_host(other, into)
    with pytest.raises(BufferError):
        into.append(1)
    with pytest.raises(ferry.Error):
        batch.copy_from_host(buffer, b"12", 99)
    batch.submit().result()
    assert into == b"axyz" + b"ab" * 23
    assert buffer.read() == bytes(100)
    into.append(1)
    batch.submit().result()  # empty
    batch.copy_from_host(buffer, into)
    batch.destroy()
    into.append(1)
    with pytest.raises(ferry.Error):
        batch.submit()


@pytest.mark.parametrize("form", ["list", "array", "numpy"])
def test_blocks(device, form):
    blocks = [(1, 16, 5), (20, 0, 7), (40, 3, 0)]
    if form == "array":
        blocks = array.array("Q", [number for block in blocks for number in block])
    elif form == "numpy":
        blocks = pytest.importorskip("numpy").array(blocks, "int64")
    source = bytes(range(64))
    with device.buffer(64, zeroed=True) as buffer:
        buffer.copy_blocks_from(source, blocks)
        want = bytearray(64)
        want[1:6], want[20:27] = source[16:21], source[0:7]
        assert buffer.read() == want
        back = bytearray(64)
        buffer.copy_blocks_to_async(back, [(9, 1, 5), (0, 20, 7)]).result()
        assert back[9:14] == source[16:21] and back[0:7] == source[0:7]
        with pytest.raises(ValueError, match="block 1: 5 bytes at 60 exceed"):
            buffer.copy_blocks_from(source, [(0, 0, 1), (0, 60, 5)])
        with pytest.raises(ValueError, match="three numbers"):
            buffer.copy_blocks_from(source, array.array("Q", [1, 2]))
        with pytest.raises(ferry.Error):
            buffer.copy_blocks_from(source, [(64, 0, 1)])
