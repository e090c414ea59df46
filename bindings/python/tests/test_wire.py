"""Two wires of this process, and buffers between them."""

import re

import ferry
import pytest

wire = pytest.importorskip("ferry.wire")
LONG = 60


@pytest.fixture
def pair():
    with wire.Wire(listen="127.0.0.1:0", transports="tcp") as b, wire.Wire(transports="tcp") as a:
        out = a.connect(b.address, timeout=LONG)
        yield out, b.accept(timeout=LONG)


def test_bytes_go_both_ways(device, pair):
    out, back = pair
    sent = bytes(range(256)) * 5000
    with device.upload(sent) as source, device.upload(bytes(len(sent))) as target:
        for here, there in ((out, back), (back, out)):
            target.fill(0)
            ticket = here.send_async(source, tag=3)
            there.receive(target, tag=3)
            ticket.result(LONG)
            assert target.read() == sent


def test_parts(device, pair):
    out, back = pair
    with device.upload(b"0123456789") as source, device.upload(b"abcdefghij") as target:
        ticket = back.receive_async(target, 3, offset=2)
        out.send(source, 3, offset=7)
        ticket.result(LONG)
        assert target.read() == b"ab789fghij"


def test_what_fails(device, pair):
    out, back = pair
    with device.upload(b"0123456789") as buffer:
        ticket = back.receive_async(buffer, tag=9)
        back.cancel(ticket)
        with pytest.raises(ferry.Error, match="cancelled") as caught:
            ticket.result(LONG)
        assert caught.value.status == ferry.Status.IO
        with pytest.raises(ValueError):
            out.send(buffer, tag=-1)
        out.close()
        with pytest.raises(ferry.Error):
            out.send(buffer)


def test_what_is_told(device, pair):
    out, back = pair
    assert out.info.there and out.info.transports == "tcp" and out.info.version == 1
    assert re.search(r"^ferry_wire_peers 1$", out.wire.metrics(), re.M)
    with pytest.raises(ferry.Error, match="a secret is needed"):
        wire.Wire(listen="0.0.0.0:0")
    with pytest.raises(ferry.Error) as caught:
        back.wire.accept(timeout=0.01)
    assert caught.value.status == ferry.Status.TIMEOUT
