"""DLPack: shared buffers as CPU tensors of other libraries, and their tensors into buffers."""

import ctypes

from ._library import check, lib
from ._words import dtype_name

_c = ctypes
_CPU, _METAL = 1, 8
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
                ("shape", _c.POINTER(_c.c_int64)), ("reserved", _c.c_uint64 * 4)]


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
            raise ValueError(f"dtype is one of {', '.join(sorted(TYPES))}, not {name}")
        self._buffer, self._offset, self._type = buffer, offset, TYPES[name]
        if shape is None:
            shape = (max(0, buffer.size - offset) // (self._type[1] // 8),)
        self._shape = tuple(shape)

    def __dlpack_device__(self):
        private_metal = self._buffer.device.info.driver == "metal" and not self._buffer.shared
        return (_METAL if private_metal else _CPU, 0)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """Waits for all operations on the buffer. No copy is made."""
        here = self.__dlpack_device__()
        if dl_device is not None and tuple(dl_device) != here:
            raise BufferError(f"the tensor lies on DLPack device {here}, not {tuple(dl_device)}")
        if copy:
            raise BufferError("the tensor is the buffer's own memory, not a copy")
        name = _VERSIONED if max_version is not None and max_version[0] >= 1 else _PLAIN
        shape = (_c.c_int64 * len(self._shape))(*self._shape)
        view = _View(offset=self._offset, type=_Type(*self._type, 1), rank=len(shape), shape=shape)
        managed = _c.c_void_p()
        with self._buffer._handle.use() as handle:
            check(_export[name](handle, _c.byref(view), _c.byref(managed)))
        return _new_capsule(managed, name)


def take(device_handle, tensor, shared):
    """The handle of a new buffer of a tensor: a copy, or on Metal a wrapper."""
    try:
        capsule = tensor.__dlpack__(max_version=(1, 0))
    except TypeError:  # a producer from before versions
        capsule = tensor.__dlpack__()
    address = id(capsule)  # CPython: where the object is
    for name in (_VERSIONED, _PLAIN):
        if _is_valid(address, name):
            break
    else:
        raise TypeError("__dlpack__ gave no capsule of a tensor")
    handle = _c.c_void_p()
    check(_import[name](device_handle, _pointer(address, name), int(shared), _c.byref(handle)))
    _set_name(address, _USED[name])  # consumed: the capsule must not delete it once more
    return handle
