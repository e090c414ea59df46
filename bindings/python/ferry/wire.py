"""Buffers to and from other machines (libferry_wire; docs/wire.md).

>>> import ferry, ferry.wire
>>> with ferry.Device("host") as device, ferry.wire.Wire(listen="127.0.0.1:0") as wire:
...     print(wire.address)              # doctest: +SKIP
...     peer = wire.accept(timeout=60)   # doctest: +SKIP
...     peer.receive(device.buffer(1000), tag=1)  # doctest: +SKIP

The library is found beside the libferry in use, then as the system finds libraries; a build without
it makes the import fail.
"""

import contextlib
import ctypes
import ctypes.util
import os
import sys

from ._handle import Handle
from ._library import _candidates, check, lib, nanoseconds
from ._tickets import Ticket
from ._words import text, whole

__all__ = ["Peer", "PeerInfo", "Wire"]

_c = ctypes
_handle, _size, _ticket = _c.c_void_p, _c.c_size_t, _c.c_uint64


class _Params(_c.Structure):
    _fields_ = [
        ("listen", _c.c_char_p), ("secret_file", _c.c_char_p), ("transports", _c.c_char_p),
        ("interface", _c.c_char_p), ("flags", _c.c_uint), ("max_peers", _c.c_uint),
        ("staging_budget", _c.c_uint64), ("heartbeat_ns", _c.c_uint64), ("stall_ns", _c.c_uint64),
        ("match_ns", _c.c_uint64), ("data_ports", _c.c_char_p), ("reserved", _c.c_uint64 * 7),
    ]


class _Info(_c.Structure):
    _fields_ = [
        ("address", _c.c_char * 64), ("interface", _c.c_char * 64),
        ("transports", _c.c_char * 128), ("reason", _c.c_char * 256), ("there", _c.c_bool),
        ("fallback", _c.c_bool), ("version", _c.c_uint32), ("bytes_sent", _c.c_uint64),
        ("bytes_received", _c.c_uint64), ("reserved", _c.c_uint64 * 8),
    ]


_move = [_handle, _c.c_uint64, _handle, _size, _size]
_functions = {
    "ferry_wire_open": (_c.c_int, [_c.POINTER(_Params), _c.POINTER(_handle)]),
    "ferry_wire_close": (None, [_handle]),
    "ferry_wire_address": (_c.c_int, [_handle, _c.c_char_p, _size, _c.POINTER(_size)]),
    "ferry_wire_connect": (_c.c_int, [_handle, _c.c_char_p, _c.c_uint64, _c.POINTER(_handle)]),
    "ferry_wire_accept": (_c.c_int, [_handle, _c.c_uint64, _c.POINTER(_handle)]),
    "ferry_wire_metrics": (_c.c_int, [_handle, _c.c_char_p, _size, _c.POINTER(_size)]),
    "ferry_wire_cancel": (_c.c_int, [_handle, _ticket]),
    "ferry_peer_close": (None, [_handle]),
    "ferry_peer_get_info": (None, [_handle, _c.POINTER(_Info)]),
}
for _name in ("ferry_send", "ferry_receive"):
    _functions[_name] = (_c.c_int, _move)
    _functions[_name + "_async"] = (
        _c.c_int, _move + [_c.c_void_p, _c.c_void_p, _c.POINTER(_ticket)])


def _load():
    """The libferry_wire that belongs to the libferry in use."""
    name = "libferry_wire.dylib" if sys.platform == "darwin" else "libferry_wire.so.1"
    folders = [os.path.dirname(path) for path in _candidates() if os.path.dirname(path)]
    places = [os.path.join(folder, inner, name) for folder in folders for inner in ("", "wire")]
    found = [path for path in places if os.path.exists(path)]
    try:
        library = ctypes.CDLL(found[0] if found else name)
    except OSError as error:
        raise ImportError(f"libferry_wire was not found: {error}") from None
    for name, (result, arguments) in _functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_lib = _load()


class PeerInfo:
    """What is known of a peer: address, interface, transports, reason (why it is gone; "" while it is
    there), there, fallback, version, bytes_sent, bytes_received."""

    def __init__(self, struct):
        self.address = struct.address.decode()
        self.interface = struct.interface.decode()
        self.transports = struct.transports.decode()
        self.reason = struct.reason.decode("utf-8", "replace")
        self.there = struct.there
        self.fallback = struct.fallback
        self.version = struct.version
        self.bytes_sent = struct.bytes_sent
        self.bytes_received = struct.bytes_received

    def __repr__(self):
        state = f"by {self.transports}" if self.there else f"gone: {self.reason}"
        return f"<ferry.wire.PeerInfo: {self.address}, {state}>"


class Wire:
    """A place on the network: it listens, where ``listen`` is given, and connects. Also a context
    manager, which closes it. Times are in seconds; 0: the library's own."""

    def __init__(self, *, listen=None, secret_file=None, transports=None, interface=None,
                 no_fallback=False, max_peers=0, staging_budget=0, heartbeat=0, stall=0, match=0,
                 data_ports=None):
        params = _Params(
            listen=text(listen, "listen"),
            secret_file=None if secret_file is None else os.fsencode(secret_file),
            transports=text(transports, "transports"), interface=text(interface, "interface"),
            flags=int(bool(no_fallback)), max_peers=whole(max_peers, "max_peers"),
            staging_budget=whole(staging_budget, "staging_budget"),
            heartbeat_ns=nanoseconds(heartbeat), stall_ns=nanoseconds(stall),
            match_ns=nanoseconds(match), data_ports=text(data_ports, "data_ports"))
        handle = _handle()
        check(_lib.ferry_wire_open(_c.byref(params), _c.byref(handle)))
        self._peers = []
        self._handle = Handle("wire", handle, _lib.ferry_wire_close)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Ends all that is in flight, and closes the wire and its peers."""
        for peer in self._peers:
            peer.close()
        self._handle.close()

    @property
    def address(self):
        """Where it listens, with the port that was chosen; "" where it does not."""
        out = _c.create_string_buffer(128)
        with self._handle.use() as handle:
            check(_lib.ferry_wire_address(handle, out, len(out), None))
        return out.value.decode()

    def connect(self, address, timeout=None):
        """The Peer that listens at "HOST:PORT"; waits until bytes can go."""
        handle = _handle()
        with self._handle.use() as wire:
            check(_lib.ferry_wire_connect(wire, text(address, "address"), nanoseconds(timeout),
                                          _c.byref(handle)))
        return self._adopt(handle)

    def accept(self, timeout=None):
        """The next Peer that has connected; waits for one."""
        handle = _handle()
        with self._handle.use() as wire:
            check(_lib.ferry_wire_accept(wire, nanoseconds(timeout), _c.byref(handle)))
        return self._adopt(handle)

    def _adopt(self, handle):
        peer = Peer(self, handle)
        self._peers.append(peer)
        return peer

    def metrics(self):
        """The wire's metrics as Prometheus reads them."""
        size = _size()
        with self._handle.use() as handle:
            check(_lib.ferry_wire_metrics(handle, None, 0, _c.byref(size)))
            out = _c.create_string_buffer(size.value + 4096)
            check(_lib.ferry_wire_metrics(handle, out, len(out), None))
        return out.value.decode()


class Peer:
    """Another wire that this one is connected with."""

    def __init__(self, wire, handle):
        self.wire = wire
        self._handle = Handle("peer", handle, _lib.ferry_peer_close)

    def close(self):
        """Says goodbye, and ends what is in flight with an Error."""
        self._handle.close()

    @property
    def info(self):
        struct = _Info()
        with self._handle.use() as handle:
            _lib.ferry_peer_get_info(handle, _c.byref(struct))
        return PeerInfo(struct)

    def send(self, buffer, size=None, offset=0, tag=0):
        """Sends size bytes of a buffer (all from offset on if None) to the peer's receive of this
        tag, and waits until they are in its buffer."""
        with self._arguments(buffer, size, offset, tag) as arguments:
            check(_lib.ferry_send(*arguments))

    def receive(self, buffer, size=None, offset=0, tag=0):
        """As send, the other way. Waits for the send, however long: receive_async can be cancelled.
        """
        with self._arguments(buffer, size, offset, tag) as arguments:
            check(_lib.ferry_receive(*arguments))

    def send_async(self, buffer, size=None, offset=0, tag=0):
        """As send; returns a Ticket."""
        return self._begin(_lib.ferry_send_async, buffer, size, offset, tag)

    def receive_async(self, buffer, size=None, offset=0, tag=0):
        """As receive; returns a Ticket."""
        return self._begin(_lib.ferry_receive_async, buffer, size, offset, tag)

    def cancel(self, ticket):
        """Ends a send or receive with an Error, on both sides."""
        with ticket.device._handle.use() as device:
            check(_lib.ferry_wire_cancel(device, ticket.number))

    @contextlib.contextmanager
    def _arguments(self, buffer, size, offset, tag):
        offset = whole(offset, "offset")
        size = max(0, buffer.size - offset) if size is None else whole(size, "size")
        with self._handle.use() as peer, buffer._handle.use() as handle:
            yield peer, whole(tag, "tag"), handle, size, offset

    def _begin(self, function, buffer, size, offset, tag):
        number = _ticket()
        with self._arguments(buffer, size, offset, tag) as arguments:
            check(function(*arguments, None, None, _c.byref(number)))
        return Ticket(buffer.device, number.value, [])
