"""Models: files of tensors, loaded into device memory."""

import ctypes
import os
from collections.abc import Mapping

from ._dlpack import TYPES
from ._library import check, lib
from ._words import name_of, whole

_c = ctypes
_RANK_MAX = 8
class MetadataStruct(_c.Structure):
    _fields_ = [
        ("file", _c.c_size_t),
        ("key", _c.c_char_p),
        ("type", _c.c_char_p),
        ("value", _c.c_char_p),
        ("count", _c.c_uint64),
        ("cut", _c.c_uint32),
        ("reserved", _c.c_uint32 * 9),
    ]


_PAIR = _c.CFUNCTYPE(None, _c.POINTER(MetadataStruct), _c.c_void_p)
_PROGRESS = _c.CFUNCTYPE(None, _c.c_uint64, _c.c_uint64, _c.c_void_p)


class ModelInfoStruct(_c.Structure):
    _fields_ = [
        ("format", _c.c_int),
        ("version", _c.c_uint32),
        ("files", _c.c_size_t),
        ("tensors", _c.c_size_t),
        ("bytes", _c.c_uint64),
        ("arena_size", _c.c_uint64),
        ("reserved", _c.c_uint64 * 8),
    ]


class TensorInfoStruct(_c.Structure):
    _fields_ = [
        ("name", _c.c_char_p),
        ("type", _c.c_char_p),
        ("rank", _c.c_uint32),
        ("shape", _c.c_uint64 * _RANK_MAX),
        ("size", _c.c_uint64),
        ("arena_offset", _c.c_uint64),
        ("file", _c.c_size_t),
        ("file_offset", _c.c_uint64),
        ("reserved", _c.c_uint64 * 4),
    ]


class LoadParamsStruct(_c.Structure):
    _fields_ = [
        ("arena", _c.c_void_p),
        ("offset", _c.c_uint64),
        ("places", _c.c_void_p),
        ("memory", _c.c_uint64),
        ("progress", _PROGRESS),
        ("user", _c.c_void_p),
        ("reserved", _c.c_uint64 * 8),
    ]


_model = _c.c_void_p
for _name, (_result, _arguments) in {
    "ferry_model_open": (_c.c_int, [_c.c_char_p, _c.POINTER(_model)]),
    "ferry_model_close": (None, [_model]),
    "ferry_model_get_info": (None, [_model, _c.POINTER(ModelInfoStruct)]),
    "ferry_model_format_name": (_c.c_char_p, [_c.c_int]),
    "ferry_model_get_tensor": (_c.c_int, [_model, _c.c_size_t, _c.POINTER(TensorInfoStruct)]),
    "ferry_model_read_metadata": (_c.c_int, [_model, _PAIR, _c.c_void_p]),
    "ferry_model_load_as": (_c.c_int, [_model, _c.POINTER(LoadParamsStruct)]),
}.items():
    _function = getattr(lib, _name)
    _function.restype, _function.argtypes = _result, _arguments

# What the formats call the types that DLPack has, too.
_DTYPES = {
    "BOOL": "bool", "BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64",
    "C64": "complex64", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64",
}


class Tensor:
    """A tensor of a Model: a part of the model's buffer. ``numpy.from_dlpack(tensor)`` and its like
    see the same memory where the model was loaded with shared=True (or the device is Metal's);
    to_numpy() and read() copy, from any memory."""

    def __init__(self, buffer, info):
        self.buffer = buffer
        self.name = info.name.decode("utf-8", "surrogateescape")
        self.type = info.type.decode()
        self.shape = tuple(info.shape[:info.rank])
        self.dtype = _DTYPES.get(self.type)
        self.nbytes = info.size
        self.offset = info.arena_offset

    def __repr__(self):
        return f"<ferry.Tensor {self.name!r}: {self.type} {list(self.shape)}, {self.nbytes} bytes>"

    def _known_dtype(self):
        if self.dtype is None:
            raise TypeError(f"the tensor {self.name!r} is of the type {self.type}, for which arrays "
                            "have no dtype: read() gives its bytes")
        return self.dtype

    def _view(self):
        return self.buffer.view(self._known_dtype(), self.shape, self.offset)

    def __dlpack_device__(self):
        return self._view().__dlpack_device__()

    def __dlpack__(self, **options):
        """The tensor's memory itself. Waits for all operations on the buffer."""
        return self._view().__dlpack__(**options)

    def read(self):
        """A copy of the tensor's bytes."""
        return self.buffer.read(self.nbytes, self.offset) if self.nbytes > 0 else b""

    def to_numpy(self):
        """A NumPy array with a copy of the tensor. bfloat16 needs the package ml_dtypes."""
        import numpy

        dtype = self._known_dtype()
        if dtype == "bfloat16":
            import ml_dtypes  # type: ignore

            dtype = ml_dtypes.bfloat16
        array = numpy.empty(self.shape, dtype)
        if self.nbytes > 0:
            self.buffer.copy_to_host(array.reshape(-1).view("uint8"), self.offset)
        return array


class Model(Mapping):
    """A loaded model: a mapping from names to Tensors, in the order of the files. All tensors lie
    in one Buffer, ``buffer`` (None if the model has no bytes). ``metadata`` is a dict of what the
    files say of themselves, keys and values as text."""

    def __init__(self, path, device, *, shared=False, memory=0, progress=None):
        handle = _model()
        check(lib.ferry_model_open(os.fsencode(path), _c.byref(handle)))
        try:
            info = ModelInfoStruct()
            lib.ferry_model_get_info(handle, _c.byref(info))
            self.path = os.fspath(path)
            self.device = device
            self.format = lib.ferry_model_format_name(info.format).decode()
            self.nbytes = info.bytes
            self.buffer = None
            if info.arena_size > 0:
                self.buffer = device.buffer(info.arena_size, shared=shared)
                _load(handle, self.buffer, memory, progress)
            self.metadata = _read_metadata(handle)
            self._tensors = {}
            for index in range(info.tensors):
                tensor = TensorInfoStruct()
                check(lib.ferry_model_get_tensor(handle, index, _c.byref(tensor)))
                loaded = Tensor(self.buffer, tensor)
                self._tensors[loaded.name] = loaded
        finally:
            lib.ferry_model_close(handle)

    def __getitem__(self, name):
        return self._tensors[name]

    def __iter__(self):
        return iter(self._tensors)

    def __len__(self):
        return len(self._tensors)

    def __repr__(self):
        return (f"<ferry.Model {self.path!r}: {self.format}, {len(self)} tensors, {self.nbytes} "
                f"bytes, on {self.device.info.name}>")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.destroy()

    def destroy(self):
        """Frees the memory of all tensors. Else it goes with the last reference."""
        if self.buffer is not None:
            self.buffer.destroy()


def _text(value):
    return value.decode("utf-8", "replace")


def _read_metadata(handle):
    """Of a key that several files have, the first file's value."""
    metadata = {}

    def tell(pair, user):
        metadata.setdefault(_text(pair.contents.key), _text(pair.contents.value))

    told = _PAIR(tell)
    check(lib.ferry_model_read_metadata(handle, told, None))
    return metadata


def _load(handle, buffer, memory, progress):
    raised = []

    def tell(done, total, user):
        if not raised:
            try:
                progress(done, total)
            except BaseException as error:  # told once loading has ended: C cannot be left here
                raised.append(error)

    told = _PROGRESS(tell) if progress is not None else _PROGRESS()
    with buffer._handle.use() as arena:
        params = LoadParamsStruct(arena=arena, memory=whole(memory, "memory"), progress=told)
        check(lib.ferry_model_load_as(handle, _c.byref(params)))
    if raised:
        raise raised[0]


def load_model(path, device, *, shared=False, memory=0, progress=None):
    """Loads a model (safetensors or GGUF, a directory or one of several parts; any other file is
    one tensor of bytes) into one Buffer of device; a Model, which maps names to Tensors.

    shared=True: into memory that the host sees too, so that ``numpy.from_dlpack(model["name"])``
    makes no copy. memory bounds the bytes that are on their way at once, and so the staging that is
    made for them; 0: as many as is fast. progress(done, total) is called with bytes while it loads.
    """
    if not hasattr(device, "buffer"):
        raise TypeError(f"device must be a ferry.Device, not {name_of(device)}")
    return Model(path, device, shared=shared, memory=memory, progress=progress)
