"""Devices, buffers and batches."""

import atexit
import ctypes
import enum
import json
import operator
import os
import threading
import weakref
from array import array as _array
from dataclasses import dataclass

from . import _dlpack, _tickets
from ._handle import Handle
from ._library import (BufferParams, DeviceInfoStruct, DeviceParams, Error, MemoryInfo, Status,
                       check, lib, nanoseconds)
from ._pin import File, Pin
from ._words import choice, name_of, text, whole

_PATHS = [lib.ferry_path_name(i).decode() for i in range(5)]  # those that a caller may force
_MAPS = ["auto", "never", "always"]
_KINDS = ["host", "software", "integrated", "discrete", "virtual"]
_STATS_BYTES = 1 << 16  # more than struct ferry_stats will ever be


@dataclass(frozen=True)
class DeviceInfo:
    """What there is to know about a device. Sizes are in bytes."""

    name: str
    driver: str
    description: str
    reason: str  # of an open device: why this one was chosen
    kind: str  # "host", "software", "integrated", "discrete" or "virtual"
    unified: bool  # host and device share one memory
    uuid: bytes
    total_memory: int
    max_buffer_size: int
    max_allocation: int
    import_granularity: int
    queues: int


def _info(struct):
    values = {}
    for name in DeviceInfo.__dataclass_fields__:
        value = getattr(struct, name)
        if name == "uuid":
            value = bytes(value)
        elif name == "kind":
            value = _KINDS[value]
        elif isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        values[name] = value
    return DeviceInfo(**values)


def devices():
    """The devices there are, the best first, as a list of DeviceInfo. Opens none."""
    capacity = 8
    while True:
        infos, count = (DeviceInfoStruct * capacity)(), ctypes.c_size_t()
        check(lib.ferry_device_list(infos, capacity, ctypes.byref(count)))
        if count.value <= capacity:
            return [_info(infos[i]) for i in range(count.value)]
        capacity = count.value


_orphans = []  # devices that nobody has any more, but whose memory others see


def _close_device(handle):
    """Memory that was exported outlives its Device: then the C device stays until it is unseen."""
    if _dlpack.exports(handle) > 0:
        _orphans.append(handle)
    else:
        lib.ferry_device_close(handle)


def _close_orphans():
    handles = _orphans[:]
    del _orphans[:]
    for handle in handles:
        _close_device(handle)


class Device:
    """An open device, also a context manager. Opening the same one twice gives two independent devices;
    a process wants one.

    name: "host", "vulkan:1", "metal"; None: FERRY_DEVICE, else the best there is. path and
    map_private: see ferry.h. Budgets are in bytes; 0 means the default.
    """

    def __init__(self, name=None, *, path="auto", map_private="auto", staging_budget=0,
                 pool_budget=0, no_fallback=False, no_staging_wait=False, queues=0, zeroed=False,
                 no_kernel=False):
        _close_orphans()
        params = DeviceParams(
            name=text(name, "name"),
            path=choice(path, _PATHS, "path"),
            map_private=choice(map_private, _MAPS, "map_private"),
            staging_budget=whole(staging_budget, "staging_budget"),
            pool_budget=whole(pool_budget, "pool_budget"),
            no_fallback=no_fallback, no_staging_wait=no_staging_wait, zeroed=zeroed,
            no_kernel=no_kernel,
            queues=min(whole(queues, "queues"), 2**32 - 1))
        handle, info = ctypes.c_void_p(), DeviceInfoStruct()
        check(lib.ferry_device_open(ctypes.byref(params), ctypes.byref(handle)))
        lib.ferry_device_get_info(handle, ctypes.byref(info))
        self._handle = Handle("device", handle, _close_device)
        self._buffers = weakref.WeakSet()
        self.info = _info(info)
        _open.add(self)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __repr__(self):
        return f"<ferry.Device {self.info.name}: {self.info.description}>"

    def close(self):
        """Waits for all work, then closes. Its buffers are of no more use. BufferError while views
        of a shared buffer's contents() live, or tensors made of it by DLPack."""
        if self._seen():
            raise BufferError("a shared buffer's memory is in use by a view or another library")
        _tickets.drain(self)
        self._handle.close()
        _open.discard(self)

    def _seen(self):
        with self._handle.borrow() as handle:
            return handle is not None and (
                any(buffer._viewed() for buffer in list(self._buffers))
                or _dlpack.exports(handle) > 0)

    def buffer(self, size, *, shared=False, label=None, zeroed=False):
        """A new Buffer of size bytes: private memory, or shared with the host."""
        return Buffer(self, size, shared=shared, label=label, zeroed=zeroed)

    def upload(self, source, *, label=None):
        """A new private Buffer that holds a copy of source's bytes."""
        pin = Pin(source, writable=False)
        try:
            buffer = Buffer(self, pin.size, label=label)
            with buffer._handle.use() as handle:
                check(lib.ferry_copy_from_host(handle, pin.address, pin.size, 0))
        finally:
            pin.release()
        return buffer

    def from_dlpack(self, tensor, *, shared=False, label=None):
        """A new Buffer with a copy of the bytes of a tensor in host memory, of whatever library has
        __dlpack__: contiguous, and with its producer's work on it done. On a Metal device a Metal
        tensor is wrapped instead, on a CUDA device a CUDA tensor of the same card, without a wait.
        """
        with self._handle.use() as handle:
            return Buffer._of(self, _dlpack.take(handle, tensor, shared), shared, label)

    def batch(self):
        """A new, empty Batch."""
        return Batch(self)

    def memory(self):
        """Bytes total, available, in_use, pooled, peak, ..., as a dict (struct ferry_memory_info).
        """
        info = MemoryInfo()
        with self._handle.use() as handle:
            check(lib.ferry_device_get_memory(handle, ctypes.byref(info)))
        return {name: getattr(info, name) for name, _ in MemoryInfo._fields_ if name != "reserved"}

    def trim(self):
        """Gives freed memory that is kept for reuse back to the device."""
        with self._handle.use() as handle:
            check(lib.ferry_device_trim(handle))

    def wait_idle(self):
        """Waits until all that was submitted before this call is done."""
        with self._handle.use() as handle:
            check(lib.ferry_wait_idle(handle))

    def stats(self):
        """The metrics, as the library's JSON says them."""
        return json.loads(self._stats_text(1))

    def stats_prometheus(self):
        """The metrics, as Prometheus scrapes them."""
        return self._stats_text(0)

    def reset_stats(self):
        """Counters start from 0 again, peaks from the value now."""
        with self._handle.use() as handle:
            lib.ferry_device_reset_stats(handle)

    def _stats_text(self, form):
        stats, size = ctypes.create_string_buffer(_STATS_BYTES), ctypes.c_size_t()
        with self._handle.use() as handle:
            lib.ferry_device_get_stats(handle, stats, _STATS_BYTES)
        check(lib.ferry_stats_format(stats, form, None, 0, ctypes.byref(size)))
        text = ctypes.create_string_buffer(size.value + 1)
        check(lib.ferry_stats_format(stats, form, text, len(text), ctypes.byref(size)))
        return text.value.decode()


class Buffer:
    """Device memory, also a context manager: it is freed at the end of a ``with``. Operations take effect in the order of their calls. Those that end in _async
    return a Ticket at once; the others wait. Sources and destinations are whatever has the buffer
    protocol (bytes, bytearray, memoryview, array.array, NumPy arrays), contiguous. Sizes and
    offsets are in bytes."""

    def __init__(self, device, size, *, shared=False, label=None, zeroed=False):
        params = BufferParams(size=whole(size, "size"), storage=int(shared),
                              label=text(label, "label"), zeroed=zeroed)
        handle = ctypes.c_void_p()
        with _handle_of(device, Device, "device").use() as owner:
            check(lib.ferry_buffer_create(owner, ctypes.byref(params), ctypes.byref(handle)))
        self._adopt(device, handle, shared, label)

    @classmethod
    def _of(cls, device, handle, shared, label):
        """The Buffer of a C buffer that is there already."""
        buffer = cls.__new__(cls)
        buffer._adopt(device, handle, shared, label)
        return buffer

    def _adopt(self, device, handle, shared, label):
        self._handle = Handle("buffer", handle, lib.ferry_buffer_destroy)
        self._views = []  # weak references: ctypes arrays have no hash for a WeakSet
        self.device = device
        self.size = lib.ferry_buffer_size(handle)
        self.shared = bool(shared)
        self.label = label
        device._buffers.add(self)

    def __len__(self):
        return self.size

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.destroy()

    def __repr__(self):
        kind = "shared" if self.shared else "private"
        label = f" {self.label!r}" if self.label else ""
        return f"<ferry.Buffer{label}: {self.size} bytes, {kind}, on {self.device.info.name}>"

    def destroy(self):
        """Frees the memory, after the operations in flight. Else it goes with the last reference.
        BufferError while views of contents() live."""
        if self._viewed():
            raise BufferError("views of the buffer's contents are alive")
        self._handle.close()

    def _viewed(self):
        return any(view() is not None for view in self._views)

    def contents(self):
        """A writable memoryview of a shared buffer's bytes; UNSUPPORTED for a private one. Waits
        for all operations on the buffer: call it again after the last one and before touching bytes."""
        address = ctypes.c_void_p()
        with self._handle.use() as handle:
            check(lib.ferry_buffer_contents(handle, ctypes.byref(address)))
        window = (ctypes.c_ubyte * self.size).from_address(address.value)
        window.buffer = self  # a view keeps its memory
        self._views = [view for view in self._views if view() is not None]
        self._views.append(weakref.ref(window))
        return memoryview(window).cast("B")

    def view(self, dtype="uint8", shape=None, offset=0):
        """A buffer (shared, or private of CUDA or Metal), or a part of it, as a tensor for other libraries:
        ``numpy.from_dlpack(buffer.view("float32", (3, 4)))``. It is the same memory: while others
        work on it, no operation of Ferry's may be in flight on it. shape None: all from offset on.
        """
        return _dlpack.View(self, dtype, shape, whole(offset, "offset"))

    def __dlpack_device__(self):
        return self.view().__dlpack_device__()

    def __dlpack__(self, **options):
        """All bytes, as view() gives them."""
        return self.view().__dlpack__(**options)

    @property
    def __cuda_array_interface__(self):
        """All bytes of a private buffer of CUDA, for Numba, CuPy and their like."""
        return self.view().__cuda_array_interface__

    def wait(self, timeout=None):
        """Waits for all operations on the buffer; False if timeout seconds pass before that."""
        with self._handle.use() as handle:
            status = lib.ferry_buffer_wait(handle, nanoseconds(timeout))
        if status != Status.TIMEOUT:
            check(status)
        return status == Status.OK

    def ticket(self, size=None, offset=0):
        """One Ticket for all that is in flight on size bytes from offset on, whoever started it; of
        all that follow if size is None.
        """
        number = ctypes.c_uint64()
        size, offset = _rest(self, size, offset), whole(offset, "offset")
        with self._handle.use() as handle:
            if size or offset != self.size:
                check(lib.ferry_buffer_ticket(handle, offset, size, ctypes.byref(number)))
        return _tickets.Ticket(self.device, number.value, [])

    def copy_from_host(self, source, offset=0):
        """All bytes of source, to offset in the buffer."""
        _run(_Waiting(), "copy_from_host", self, source, offset)

    def copy_from_host_async(self, source, offset=0):
        """As copy_from_host; source is held, and must not be written, until the Ticket is done."""
        return _run(_Async(self.device), "copy_from_host", self, source, offset)

    def copy_to_host(self, destination, offset=0):
        """Fills destination with the bytes from offset on."""
        _run(_Waiting(), "copy_to_host", self, destination, offset)

    def copy_to_host_async(self, destination, offset=0):
        """As copy_to_host; destination is held, and must not be touched, until the Ticket is done.
        """
        return _run(_Async(self.device), "copy_to_host", self, destination, offset)

    def copy_blocks_from(self, array, blocks):
        """Scattered blocks of host memory, as one operation. blocks: triples of an offset in the
        buffer, one in array, and a size, in bytes: a sequence of them, or a contiguous array of
        64-bit integers. Blocks that overlap take effect in the order listed.
        """
        _run(_Waiting(), "copy_blocks_from_host", self, array, blocks)

    def copy_blocks_from_async(self, array, blocks):
        """As copy_blocks_from; array is held, and must not be written, until the Ticket is done. The
        list is copied at the call."""
        return _run(_Async(self.device), "copy_blocks_from_host", self, array, blocks)

    def copy_blocks_to(self, array, blocks):
        """Scattered blocks to host memory; blocks: an offset in array, one in the buffer, a size."""
        _run(_Waiting(), "copy_blocks_to_host", self, array, blocks)

    def copy_blocks_to_async(self, array, blocks):
        """As copy_blocks_to; array is held, and must not be touched, until the Ticket is done."""
        return _run(_Async(self.device), "copy_blocks_to_host", self, array, blocks)

    def copy_from_file(self, file, size=None, offset=0, file_offset=0):
        """size bytes of an open file, from file_offset on, to offset in the buffer; as many as fit
        from there on if size is None. file: a file object or its descriptor, of which neither the
        position nor Python's own buffer is used.
        """
        _run(_Waiting(), "copy_from_file", self, file, size, offset, file_offset)

    def copy_from_file_async(self, file, size=None, offset=0, file_offset=0):
        """As copy_from_file; returns a Ticket. The file may be closed meanwhile."""
        return _run(_Async(self.device), "copy_from_file", self, file, size, offset, file_offset)

    def copy_to_file(self, file, size=None, offset=0, file_offset=0):
        """As copy_from_file, the other way: flush() the file first if Python has written to it."""
        _run(_Waiting(), "copy_to_file", self, file, size, offset, file_offset)

    def copy_to_file_async(self, file, size=None, offset=0, file_offset=0):
        """As copy_to_file; returns a Ticket. The file may be closed meanwhile."""
        return _run(_Async(self.device), "copy_to_file", self, file, size, offset, file_offset)

    def read(self, size=None, offset=0):
        """size bytes from offset on, as bytes; all that follow if size is None."""
        memory = bytearray(_rest(self, size, offset))
        self.copy_to_host(memory, offset)
        return bytes(memory)

    def to_numpy(self, dtype="uint8", shape=(-1,)):
        """A NumPy array with a copy of the buffer's bytes."""
        import numpy

        array = numpy.empty(self.size, "uint8")
        self.copy_to_host(array)
        return array.view(dtype).reshape(shape)

    def copy_from(self, source, size=None, offset=0, source_offset=0):
        """From another Buffer, or this one (ranges may overlap), or one of another device."""
        _run(_Waiting(), "copy_buffer", self, source, size, offset, source_offset)

    def copy_from_async(self, source, size=None, offset=0, source_offset=0):
        """As copy_from; returns a Ticket of this buffer's device."""
        return _run(_Async(self.device), "copy_buffer", self, source, size, offset, source_offset)

    def zero(self):
        """All bytes become 0."""
        _run(_Waiting(), "zero_buffer", self)

    def zero_async(self):
        """As zero; returns a Ticket."""
        return _run(_Async(self.device), "zero_buffer", self)

    def fill(self, pattern, size=None, offset=0):
        """Repeats a pattern (1 to 16 bytes, or a number below 256) from offset on."""
        _run(_Waiting(), "fill_buffer", self, pattern, size, offset)

    def fill_async(self, pattern, size=None, offset=0):
        """As fill; returns a Ticket."""
        return _run(_Async(self.device), "fill_buffer", self, pattern, size, offset)


class Batch:
    """Many operations, one submission, one Ticket. Each is as the Buffer method of its name, on the
    buffer that comes first. Used by one thread at a time."""

    def __init__(self, device):
        handle = ctypes.c_void_p()
        with device._handle.use() as owner:
            check(lib.ferry_batch_create(owner, ctypes.byref(handle)))
        self._handle = Handle("batch", handle, lib.ferry_batch_destroy)
        self._lock = threading.Lock()  # guards the C batch and _pins
        self._pins = []
        self.device = device

    def copy_from_host(self, buffer, source, offset=0):
        _run(self, "copy_from_host", buffer, source, offset)

    def copy_to_host(self, buffer, destination, offset=0):
        _run(self, "copy_to_host", buffer, destination, offset)

    def copy_blocks_from(self, buffer, array, blocks):
        _run(self, "copy_blocks_from_host", buffer, array, blocks)

    def copy_blocks_to(self, buffer, array, blocks):
        _run(self, "copy_blocks_to_host", buffer, array, blocks)

    def copy_from_file(self, buffer, file, size=None, offset=0, file_offset=0):
        _run(self, "copy_from_file", buffer, file, size, offset, file_offset)

    def copy_to_file(self, buffer, file, size=None, offset=0, file_offset=0):
        _run(self, "copy_to_file", buffer, file, size, offset, file_offset)

    def copy_from(self, buffer, source, size=None, offset=0, source_offset=0):
        _run(self, "copy_buffer", buffer, source, size, offset, source_offset)

    def zero(self, buffer):
        _run(self, "zero_buffer", buffer)

    def fill(self, buffer, pattern, size=None, offset=0):
        _run(self, "fill_buffer", buffer, pattern, size, offset)

    def submit(self):
        """Submits, and leaves the batch empty; on failure it keeps its operations. A Ticket."""
        with self._lock, self._handle.use() as handle:
            number = ctypes.c_uint64()
            check(lib.ferry_batch_submit(handle, None, None, ctypes.byref(number)))
            pins, self._pins = self._pins, []
        return _tickets.Ticket(self.device, number.value, pins)

    def destroy(self):
        """Drops the operations that were not submitted. Else it goes with the last reference."""
        with self._lock:
            self._handle.close()
            self._pins = []

    def _call(self, name, arguments, pins):
        with self._lock, self._handle.use() as handle:
            check(getattr(lib, "ferry_batch_" + name)(handle, *arguments))
            self._pins += pins


class _Waiting:
    """How an operation that waits is called."""

    def _call(self, name, arguments, pins):
        try:
            check(getattr(lib, "ferry_" + name)(*arguments))
        finally:
            for pin in pins:
                pin.release()


class _Async:
    """How an operation that does not wait is called."""

    def __init__(self, device):
        self._device = device

    def _call(self, name, arguments, pins):
        number = ctypes.c_uint64()
        try:
            check(getattr(lib, f"ferry_{name}_async")(*arguments, None, None,
                                                      ctypes.byref(number)))
        except Error:
            for pin in pins:
                pin.release()
            raise
        return _tickets.Ticket(self._device, number.value, pins)


def _handle_of(thing, kind, what):
    if not isinstance(thing, kind):
        hint = "; for host memory there is copy_from_host()" if what == "source" else ""
        raise TypeError(f"{what} must be a ferry.{kind.__name__}, not {name_of(thing)}{hint}")
    return thing._handle


def _rest(buffer, size, offset):
    return max(0, buffer.size - offset) if size is None else whole(size, "size")


def _blocks(blocks, size, side):
    """The list as 64-bit integers, three a block, none of which is outside the host's size bytes:
    their offsets there stand at side."""
    try:
        view = memoryview(blocks)
    except TypeError:
        flat = [whole(number, "a block's number") for block in blocks for number in block]
        view = memoryview(_array("Q", flat))
    if not view.c_contiguous or view.itemsize != 8 or view.format[-1:] not in "QqLlNn":
        raise ValueError("blocks is not a contiguous array of 64-bit integers")
    if view.nbytes % 24:
        raise ValueError("each block has three numbers: two offsets and a size")
    words = view.cast("B").cast("Q") if view.nbytes else memoryview(b"").cast("Q")
    pairs = zip(words[side::3].tolist(), words[2::3].tolist())
    for i, (offset, length) in enumerate(pairs):
        if offset + length > size:
            raise ValueError(f"block {i}: {length} bytes at {offset} exceed the array's {size}")
    copy = (ctypes.c_uint64 * len(words)).from_buffer_copy(words) if len(words) else None
    return copy, len(words) // 3


def _pattern(value):
    """The bytes of a fill's pattern: those of a number, whatever its type, or of what holds some.
    bytes() would make of a number that is no int as many zeros."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    try:
        number = operator.index(value)
    except TypeError:
        if isinstance(value, (str, float)):
            raise TypeError("pattern must be bytes or a number below 256, not "
                            f"{name_of(value)}") from None
        return bytes(value)
    if not 0 <= number < 256:
        raise ValueError(f"pattern must be bytes or a number below 256, not {number}")
    return bytes([number])


def _run(caller, name, buffer, *values):
    """Makes the C arguments of an operation and has caller call it with them."""
    with _handle_of(buffer, Buffer, "buffer").use() as handle:
        if name in ("copy_from_host", "copy_to_host"):
            host, offset = values
            offset = whole(offset, "offset")
            pin = Pin(host, writable=name == "copy_to_host")
            return caller._call(name, (handle, pin.address, pin.size, offset), [pin])
        if name in ("copy_blocks_from_host", "copy_blocks_to_host"):
            host, blocks = values
            down = name == "copy_blocks_to_host"
            pin = Pin(host, writable=down)
            try:
                words, count = _blocks(blocks, pin.size, 0 if down else 1)
            except BaseException:
                pin.release()
                raise
            return caller._call(name, (handle, pin.address, words, count), [pin])
        if name in ("copy_from_file", "copy_to_file"):
            file, size, offset, file_offset = values
            offset, file_offset = whole(offset, "offset"), whole(file_offset, "file_offset")
            size = _rest(buffer, size, offset)
            pin = File(file)
            return caller._call(name, (handle, pin.descriptor, file_offset, size, offset), [pin])
        if name == "copy_buffer":
            source, size, offset, source_offset = values
            offset, source_offset = whole(offset, "offset"), whole(source_offset, "source_offset")
            from_buffer = _handle_of(source, Buffer, "source")
            size = _rest(source, size, source_offset)
            with from_buffer.use() as from_handle:
                return caller._call(name, (handle, from_handle, size, offset, source_offset), [])
        if name == "fill_buffer":
            pattern, size, offset = values
            offset = whole(offset, "offset")
            pattern = _pattern(pattern)
            size = _rest(buffer, size, offset)
            return caller._call(name, (handle, size, offset, pattern, len(pattern)), [])
        return caller._call(name, (handle,), [])


_open: "weakref.WeakSet[Device]" = weakref.WeakSet()


@atexit.register
def _close_all():
    """What is in flight uses memory that Python is about to free. A device whose memory others see
    stays open: the process ends with it."""
    for device in list(_open):
        _tickets.drain(device)
        if not device._seen():
            device.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.clear)
