"""The C library: where it is found, its functions and structures as ctypes sees them."""

import ctypes
import ctypes.util
import enum
import os
import sys
import typing

VERSION = (0, 1)  # of the library that these structures belong to: major, minor
FOREVER = 2**64 - 1

_c = ctypes


class Status(enum.IntEnum):
    """What a call of the C library answers."""

    OK = 0
    PENDING = 1
    INVALID_ARGUMENT = 2
    OUT_OF_RANGE = 3
    OUT_OF_HOST_MEMORY = 4
    OUT_OF_DEVICE_MEMORY = 5
    POOL_EXHAUSTED = 6
    TIMEOUT = 7
    UNSUPPORTED = 8
    NO_DEVICE = 9
    IN_CALLBACK = 10
    DEVICE_LOST = 11
    EXECUTION_FAILED = 12
    IO = 13
    INTERNAL = 14


class Error(Exception):
    """A call failed. ``status`` is a Status; the text has the reason with the numbers."""

    def __init__(self, status, why):
        super().__init__(status, why)
        self.status = Status(status)
        self.why = why

    def __str__(self):
        return self.why


class DeviceParams(_c.Structure):
    _fields_ = [
        ("name", _c.c_char_p),
        ("path", _c.c_int),
        ("map_private", _c.c_int),
        ("staging_budget", _c.c_uint64),
        ("pool_budget", _c.c_uint64),
        ("no_fallback", _c.c_bool),
        ("no_staging_wait", _c.c_bool),
        ("no_measuring", _c.c_bool),
        ("queues", _c.c_uint32),
        ("thresholds", _c.c_uint64 * 6),
        ("parked_max", _c.c_uint64),
        ("zeroed", _c.c_bool),
        ("no_kernel", _c.c_bool),
        ("reserved", _c.c_uint64 * 1),
    ]


class DeviceInfoStruct(_c.Structure):
    _fields_ = [
        ("name", _c.c_char * 32),
        ("driver", _c.c_char * 16),
        ("description", _c.c_char * 128),
        ("reason", _c.c_char * 160),
        ("kind", _c.c_int),
        ("unified", _c.c_bool),
        ("uuid", _c.c_uint8 * 16),
        ("total_memory", _c.c_uint64),
        ("max_buffer_size", _c.c_uint64),
        ("max_allocation", _c.c_uint64),
        ("import_granularity", _c.c_uint64),
        ("paths", _c.c_uint32),
        ("queues", _c.c_uint32),
        ("thresholds", _c.c_uint64 * 6),
        ("measured", _c.c_uint64),
        ("measuring_ns", _c.c_uint64),
        ("role_queues", _c.c_uint8 * 4),
        ("reserved", _c.c_uint32 * 1),
    ]


class MemoryInfo(_c.Structure):
    _fields_ = [
        (name, _c.c_uint64)
        for name in (
            "total", "available", "in_use", "pooled", "peak", "total_allocated", "total_freed",
            "allocation_count", "deallocation_count",
        )
    ] + [("reserved", _c.c_uint64 * 8)]


class BufferParams(_c.Structure):
    _fields_ = [
        ("size", _c.c_size_t),
        ("storage", _c.c_int),
        ("label", _c.c_char_p),
        ("zeroed", _c.c_bool),
        ("reserved", _c.c_uint64 * 4),
    ]


_handle, _size, _ticket = _c.c_void_p, _c.c_size_t, _c.c_uint64
_async = [_c.c_void_p, _c.c_void_p, _c.POINTER(_ticket)]  # callback (always NULL), user, ticket

# What each operation takes after its buffer or batch; one list for the three ways to call it.
_operations: typing.Dict[str, typing.Any] = {
    "copy_from_host": [_handle, _c.c_void_p, _size, _size],
    "copy_to_host": [_handle, _c.c_void_p, _size, _size],
    "copy_blocks_from_host": [_handle, _c.c_void_p, _c.c_void_p, _size],
    "copy_blocks_to_host": [_handle, _c.c_void_p, _c.c_void_p, _size],
    "copy_from_file": [_handle, _c.c_int, _c.c_uint64, _size, _size],
    "copy_to_file": [_handle, _c.c_int, _c.c_uint64, _size, _size],
    "copy_buffer": [_handle, _handle, _size, _size, _size],
    "zero_buffer": [_handle],
    "fill_buffer": [_handle, _size, _size, _c.c_char_p, _size],
}

# name: (result, arguments). c_int results are statuses.
_functions: typing.Dict[str, typing.Any] = {
    "ferry_version": (_c.c_uint32, []),
    "ferry_last_error": (_c.c_char_p, []),
    "ferry_path_name": (_c.c_char_p, [_c.c_int]),
    "ferry_device_list": (_c.c_int, [_c.POINTER(DeviceInfoStruct), _size, _c.POINTER(_size)]),
    "ferry_device_open": (_c.c_int, [_c.POINTER(DeviceParams), _c.POINTER(_handle)]),
    "ferry_device_close": (None, [_handle]),
    "ferry_device_get_info": (None, [_handle, _c.POINTER(DeviceInfoStruct)]),
    "ferry_device_get_memory": (_c.c_int, [_handle, _c.POINTER(MemoryInfo)]),
    "ferry_device_trim": (_c.c_int, [_handle]),
    "ferry_buffer_create": (_c.c_int, [_handle, _c.POINTER(BufferParams), _c.POINTER(_handle)]),
    "ferry_buffer_destroy": (None, [_handle]),
    "ferry_buffer_size": (_size, [_handle]),
    "ferry_buffer_contents": (_c.c_int, [_handle, _c.POINTER(_c.c_void_p)]),
    "ferry_buffer_wait": (_c.c_int, [_handle, _c.c_uint64]),
    "ferry_buffer_ticket": (_c.c_int, [_handle, _size, _size, _c.POINTER(_ticket)]),
    "ferry_wait": (_c.c_int, [_handle, _ticket, _c.c_uint64]),
    "ferry_poll": (_c.c_int, [_handle, _ticket]),
    "ferry_wait_idle": (_c.c_int, [_handle]),
    "ferry_batch_create": (_c.c_int, [_handle, _c.POINTER(_handle)]),
    "ferry_batch_destroy": (None, [_handle]),
    "ferry_batch_submit": (_c.c_int, [_handle] + _async),
    "ferry_device_get_stats": (None, [_handle, _c.c_void_p, _size]),
    "ferry_device_reset_stats": (None, [_handle]),
    "ferry_stats_format": (_c.c_int, [_c.c_void_p, _c.c_int, _c.c_char_p, _size,
                                      _c.POINTER(_size)]),
}
for _name, _arguments in _operations.items():
    _functions["ferry_" + _name] = (_c.c_int, _arguments)
    _functions["ferry_" + _name + "_async"] = (_c.c_int, _arguments + _async)
    _functions["ferry_batch_" + _name] = (_c.c_int, [_handle] + _arguments)


def _candidates():
    """FERRY_LIBRARY alone if it is set, else beside this module, else the system's."""
    asked = os.environ.get("FERRY_LIBRARY")
    if asked:
        return [asked]
    names = ["libferry.dylib"] if sys.platform == "darwin" else ["libferry.so.1", "libferry.so"]
    here = os.path.dirname(os.path.abspath(__file__))
    found = [os.path.join(here, name) for name in names]
    found = [path for path in found if os.path.exists(path)]
    system = ctypes.util.find_library("ferry")
    return found + ([system] if system else []) + names


def _load():
    reasons = []
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)
            break
        except OSError as error:
            reasons.append(str(error))
    else:
        raise ImportError("libferry was not found (FERRY_LIBRARY can name it): "
                          + "; ".join(reasons))
    try:
        for name, (result, arguments) in _functions.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise ImportError(f"{path} is not a libferry that this module knows: {error}") from None
    version = library.ferry_version()
    if (version >> 16, version >> 8 & 0xFF) != VERSION:
        raise ImportError(f"{path} is Ferry {version >> 16}.{version >> 8 & 0xff}, "
                          f"this module needs {VERSION[0]}.{VERSION[1]}")
    return library


lib = _load()


def last_error():
    """Why the last call on this thread failed."""
    return lib.ferry_last_error().decode("utf-8", "replace")


def check(status):
    """Raises Error unless status is OK."""
    if status != Status.OK:
        raise Error(status, last_error())


def nanoseconds(seconds):
    """A timeout of the C library; None is for ever."""
    if seconds is None:
        return FOREVER
    if not isinstance(seconds, (int, float)):
        raise TypeError("timeout must be a number of seconds or None, not "
                        + type(seconds).__qualname__)
    return min(FOREVER, max(0, int(min(seconds, 2e10) * 1e9)))
