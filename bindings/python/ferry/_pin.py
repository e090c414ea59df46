"""Host memory of Python objects, held still while the device uses it."""

import ctypes
import os

from ._words import name_of


class _PyBuffer(ctypes.Structure):
    """CPython's Py_buffer."""

    _fields_ = [
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]


_get = ctypes.pythonapi.PyObject_GetBuffer
_get.argtypes = [ctypes.py_object, ctypes.POINTER(_PyBuffer), ctypes.c_int]
_get.restype = ctypes.c_int
_release = ctypes.pythonapi.PyBuffer_Release
_release.argtypes = [ctypes.POINTER(_PyBuffer)]
_release.restype = None


class Pin:
    """Holds an object's memory: it is neither freed nor moved until release().

    A memoryview alone would do, were there a way to the address of read-only memory from it.
    """

    def __init__(self, thing, writable):
        self._held = False
        try:
            view = memoryview(thing)
        except TypeError:
            raise TypeError(f"{type(thing).__name__} gives no access to its memory; bytes, "
                            "bytearray, memoryview, array.array and NumPy arrays do") from None
        if not view.c_contiguous:
            raise ValueError("the memory is not contiguous (in C order): copy it first, as "
                             "numpy.ascontiguousarray does")
        if writable and view.readonly:
            raise ValueError("the memory is read-only, and would be written")
        self._buffer = _PyBuffer()
        if _get(view, ctypes.byref(self._buffer), 0) != 0:
            raise BufferError("the memory cannot be held")
        self._held = True
        self.address = self._buffer.buf
        self.size = self._buffer.len

    def release(self):
        if self._held:
            self._held = False
            _release(ctypes.byref(self._buffer))

    def __del__(self):
        self.release()


class File:
    """A descriptor of a file that stays open until release(), whatever becomes of the file object.
    """

    def __init__(self, file):
        if not isinstance(file, int) and not hasattr(file, "fileno"):
            raise TypeError(f"file must be an open file or its descriptor, not {name_of(file)}")
        self.descriptor = os.dup(file if isinstance(file, int) else file.fileno())

    def release(self):
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self):
        if hasattr(self, "descriptor"):
            self.release()
