"""DLPack: buffers as tensors of other libraries, and their tensors into buffers."""

import ctypes

from ._library import check, lib
from ._words import dtype_name

_c = ctypes
_CPU, _CUDA, _CUDA_HOST, _METAL = 1, 2, 3, 8
_NO_WAIT = 1  # FERRY_DLPACK_NO_WAIT
_LEGACY = 1  # CUDA's stream of that name
# Types by the names that NumPy and others give them: (code, bits).
TYPES = {"bool": (6, 8), "bfloat16": (4, 16)}
TYPES.update({f"int{bits}": (0, bits) for bits in (8, 16, 32, 64)})
TYPES.update({f"uint{bits}": (1, bits) for bits in (8, 16, 32, 64)})
TYPES.update({f"float{bits}": (2, bits) for bits in (16, 32, 64)})
TYPES.update({f"complex{bits}": (5, bits) for bits in (64, 128)})


class _Type(_c.Structure):
    _fields_ = [("code", _c.c_uint8), ("bits", _c.c_uint8), ("lanes", _c.c_uint16)]


class _View(_c.Structure):
    _fields_ = [("offset", _c.c_size_t), ("type", _Type), ("rank", _c.c_int32),
                ("shape", _c.POINTER(_c.c_int64)), ("flags", _c.c_uint32),
                ("device", _c.c_int32), ("reserved", _c.c_uint64 * 3)]


_DELETER = _c.CFUNCTYPE(None, _c.c_void_p)
# Where a managed tensor keeps its deleter: DLManagedTensor, DLManagedTensorVersioned.
_PLAIN, _VERSIONED = b"dltensor", b"dltensor_versioned"
_DELETER_AT = {_PLAIN: 56, _VERSIONED: 16}

_export = {_PLAIN: lib.ferry_dlpack_export, _VERSIONED: lib.ferry_dlpack_export_versioned}
_import = {_PLAIN: lib.ferry_dlpack_import, _VERSIONED: lib.ferry_dlpack_import_versioned}
for _function in _export.values():
    _function.restype = _c.c_int
    _function.argtypes = [_c.c_void_p, _c.POINTER(_View), _c.POINTER(_c.c_void_p)]
for _function in _import.values():
    _function.restype = _c.c_int
    _function.argtypes = [_c.c_void_p, _c.c_void_p, _c.c_int, _c.POINTER(_c.c_void_p)]
lib.ferry_dlpack_exports.restype = _c.c_size_t
lib.ferry_dlpack_exports.argtypes = [_c.c_void_p]


class _Use(_c.Structure):
    _fields_ = [("buffer", _c.c_void_p), ("access", _c.c_uint), ("offset", _c.c_size_t),
                ("size", _c.c_size_t)]


class _External(_c.Structure):
    _fields_ = [("ready", _c.c_uint64), ("ticket", _c.c_uint64), ("wait_count", _c.c_size_t),
                ("waits", _c.c_uint64 * 8), ("signal", _c.c_uint64 * 2)]


def _functions():
    """Those of ferry/cuda.h, which a build without CUDA has not."""
    signatures = {
        "ferry_cuda_device_get": [_c.c_void_p, _c.POINTER(_c.c_int), _c.c_void_p],
        "ferry_cuda_buffer_get": [_c.c_void_p, _c.POINTER(_c.c_ulonglong)],
        "ferry_cuda_external_begin": [_c.c_void_p, _c.POINTER(_Use), _c.c_size_t, _c.c_void_p,
                                      _c.POINTER(_External)],
        "ferry_cuda_external_end": [_c.c_void_p, _c.c_uint64, _c.c_void_p],
    }
    for name, arguments in signatures.items():
        function = getattr(lib, name, None)
        if function is not None:
            function.restype, function.argtypes = _c.c_int, arguments


_functions()


def _meet(device_handle, buffer_handle, stream):
    """What is in flight on the buffer comes before what is put into the stream from now on, and
    what the stream has now before what Ferry does to the buffer later. Nothing waits here."""
    use, work = _Use(buffer=buffer_handle, access=3), _External()
    check(lib.ferry_cuda_external_begin(device_handle, _c.byref(use), 1, stream, _c.byref(work)))
    check(lib.ferry_cuda_external_end(device_handle, work.ticket, stream))


def _is_cuda(buffer):
    return buffer.device.info.driver == "cuda"


def _ordinal(device):
    ordinal = _c.c_int()
    with device._handle.use() as handle:
        check(lib.ferry_cuda_device_get(handle, _c.byref(ordinal), None))
    return ordinal.value


def _stream(stream):
    """CUDA's handle of what the protocol's word means; None: the consumer wants no order."""
    if stream is None:
        return _LEGACY
    if isinstance(stream, bool) or not isinstance(stream, int):
        raise TypeError("stream must be None or an int")
    if stream == 0 or stream < -1:
        raise ValueError(f"stream {stream}: 1 is the legacy stream, 2 the thread's, -1 none")
    return None if stream == -1 else stream


# As NumPy's __array_interface__ spells the types; bfloat16 has no name there.
_KINDS = {0: "i", 1: "u", 2: "f", 5: "c", 6: "b"}


_DESTRUCTOR = _c.PYFUNCTYPE(None, _c.c_void_p)
_api = _c.pythonapi
_api.PyCapsule_New.restype = _c.py_object
_api.PyCapsule_New.argtypes = [_c.c_void_p, _c.c_char_p, _DESTRUCTOR]
# The destructor has a dying object in its hands, to which no reference may be made: void pointers.
_is_valid = _c.PYFUNCTYPE(_c.c_int, _c.c_void_p, _c.c_char_p)(("PyCapsule_IsValid", _api))
_pointer = _c.PYFUNCTYPE(_c.c_void_p, _c.c_void_p, _c.c_char_p)(("PyCapsule_GetPointer", _api))
_set_name = _c.PYFUNCTYPE(_c.c_int, _c.c_void_p, _c.c_char_p)(("PyCapsule_SetName", _api))
_USED = {_PLAIN: b"used_dltensor", _VERSIONED: b"used_dltensor_versioned"}


def _delete(name, managed):
    deleter = _c.c_void_p.from_address(managed + _DELETER_AT[name]).value
    _DELETER(deleter)(managed)


# A consumer that raises drops its capsule with its exception pending, and no call of Python's may be
# made then, but one that takes the exception away, with arguments that are there already. (It is lost
# for that: Python says SystemError. What matters is that the memory is given back.)
_fetch = _c.PyDLL(None).PyErr_Fetch
_fetch.restype = None
_drop = _c.PyDLL(None).Py_DecRef
_drop.restype, _drop.argtypes = None, [_c.c_void_p]
_places = {}  # by a capsule's address: where to put its exception


def _new_capsule(managed, name):
    cells = tuple(_c.c_void_p() for _ in range(3))
    capsule = _api.PyCapsule_New(managed, name, _destroy)
    _places[id(capsule)] = (cells, *map(_c.pointer, cells))
    return capsule


@_DESTRUCTOR
def _destroy(capsule):
    """A capsule that nobody consumed, or that was."""
    place = _places[capsule]
    _fetch(place[1], place[2], place[3])
    del _places[capsule]
    for cell in place[0]:
        if cell.value:
            _drop(cell)
    for name in (_PLAIN, _VERSIONED):
        if _is_valid(capsule, name):
            _delete(name, _pointer(capsule, name))


def exports(handle):
    """Tensors of a device that other libraries still hold."""
    return lib.ferry_dlpack_exports(handle)


class View:
    """A buffer seen as a tensor, for ``numpy.from_dlpack`` and its like. It stays valid while
    a consumer holds it, whatever becomes of the buffer."""

    def __init__(self, buffer, dtype, shape, offset):
        name = dtype_name(dtype)
        if name not in TYPES:
            raise ValueError(f"dtype must be one of {', '.join(sorted(TYPES))}, not {name}")
        self._buffer, self._offset, self._type = buffer, offset, TYPES[name]
        if shape is None:
            shape = (max(0, buffer.size - offset) // (self._type[1] // 8),)
        self._shape = (shape,) if isinstance(shape, int) else tuple(shape)

    def __dlpack_device__(self):
        buffer = self._buffer
        if buffer.shared:
            return (_CPU, 0)
        if _is_cuda(buffer):
            return (_CUDA, _ordinal(buffer.device))
        return (_METAL if buffer.device.info.driver == "metal" else _CPU, 0)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """No copy is made. Private memory of CUDA: the consumer's stream waits for all that is in
        flight on the buffer (None or 1: the legacy stream, 2: the thread's, -1: none does). All
        else waits here. dl_device=(3, 0): a shared buffer of CUDA as page-locked memory."""
        here = self.__dlpack_device__()
        on_cuda = here[0] == _CUDA
        there = here if dl_device is None else tuple(dl_device)
        locked = there == (_CUDA_HOST, 0) and self._buffer.shared and _is_cuda(self._buffer)
        if there != here and not locked:
            raise BufferError(f"the tensor lies on DLPack device {here}, not {there}")
        if copy:
            raise BufferError("the tensor is the buffer's own memory, not a copy")
        name = _VERSIONED if max_version is not None and max_version[0] >= 1 else _PLAIN
        shape = (_c.c_int64 * len(self._shape))(*self._shape)
        view = _View(offset=self._offset, type=_Type(*self._type, 1), rank=len(shape), shape=shape,
                     flags=_NO_WAIT if on_cuda else 0, device=_CUDA_HOST if locked else 0)
        managed = _c.c_void_p()
        if on_cuda:
            self._order(_stream(stream))
        with self._buffer._handle.use() as handle:
            check(_export[name](handle, _c.byref(view), _c.byref(managed)))
        return _new_capsule(managed, name)

    def _order(self, stream):
        if stream is None:
            return
        with self._buffer.device._handle.use() as device, self._buffer._handle.use() as buffer:
            _meet(device, buffer, stream)

    @property
    def __cuda_array_interface__(self):
        """Of version 3, for Numba, CuPy and their like: private memory of CUDA. The legacy stream
        waits for all that is in flight on the buffer."""
        code, bits = self._type
        if self._buffer.shared or not _is_cuda(self._buffer) or code not in _KINDS:
            raise AttributeError("__cuda_array_interface__")
        size = bits // 8
        for dimension in self._shape:
            size *= dimension
        if self._offset + size > self._buffer.size:
            raise ValueError(f"{size} bytes at {self._offset} exceed the buffer")
        pointer = _c.c_ulonglong()
        with self._buffer._handle.use() as handle:
            check(lib.ferry_cuda_buffer_get(handle, _c.byref(pointer)))
        self._order(_LEGACY)
        return {"version": 3, "shape": self._shape, "strides": None, "stream": _LEGACY,
                "typestr": f"{'<' if bits > 8 else '|'}{_KINDS[code]}{bits // 8}",
                "data": (pointer.value + self._offset, False)}


def take(device_handle, tensor, shared):
    """The handle of a new buffer of a tensor: a copy, or on CUDA and Metal a wrapper. The producer
    has CUDA's legacy stream wait for its work, and Ferry waits for that, on the device."""
    find = getattr(tensor, "__dlpack_device__", None)
    on_cuda = find is not None and int(find()[0]) == _CUDA
    options = {"stream": _LEGACY} if on_cuda else {}
    try:
        capsule = tensor.__dlpack__(max_version=(1, 0), **options)
    except TypeError:  # a producer from before versions
        capsule = tensor.__dlpack__(**options)
    address = id(capsule)  # CPython: where the object is
    for name in (_VERSIONED, _PLAIN):
        if _is_valid(address, name):
            break
    else:
        raise TypeError("__dlpack__ gave no capsule of a tensor")
    handle = _c.c_void_p()
    check(_import[name](device_handle, _pointer(address, name), int(shared), _c.byref(handle)))
    _set_name(address, _USED[name])  # consumed: the capsule must not delete it once more
    try:
        if on_cuda:
            _meet(device_handle, handle, _LEGACY)
    except BaseException:
        lib.ferry_buffer_destroy(handle)
        raise
    return handle
