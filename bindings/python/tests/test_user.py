"""The module as its users meet it: names, messages, forms of arguments, models."""

import asyncio
import inspect
import json
import os
import pickle
import re
import struct

import pytest

import ferry
from ferry import _model


def source(path):
    with open(os.path.join(os.environ["FERRY_SOURCE"], path)) as file:
        return file.read()


# --- names --------------------------------------------------------------------------------------


def test_version():
    assert f'version = "{ferry.__version__}"' in source("bindings/python/pyproject.toml")


def test_names_are_the_users(device):
    for name in ferry.__all__:
        assert getattr(ferry, name).__module__ == "ferry"
    with pytest.raises(ferry.Error) as info:
        device.buffer(0)
    assert str(type(info.value)) == "<class 'ferry.Error'>"


def test_errors_can_be_pickled(device):
    """Processes of a pool send them home."""
    error = ferry.Error(ferry.Status.IO, "the disk")
    again = pickle.loads(pickle.dumps(error))
    assert (again.status, str(again)) == (error.status, str(error))


def test_everything_public_is_documented():
    for name in ferry.__all__:
        thing = getattr(ferry, name)
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing) and name not in ("Status", "Error"):
            for member, value in vars(thing).items():
                if inspect.isfunction(value) and not member.startswith("_"):
                    assert inspect.getdoc(value) or name == "Batch", f"{name}.{member}"


# --- what is wrong is told in the user's words ----------------------------------------------------


@pytest.mark.parametrize("call, error, words", [
    (lambda d, b: ferry.Device(5), TypeError, "name must be text or None, not int"),
    (lambda d, b: ferry.Device("host", path="up"), ValueError, "path is one of auto, direct, "),
    (lambda d, b: d.buffer("x"), TypeError, "size must be a whole number of bytes, not str"),
    (lambda d, b: d.buffer(1.5), TypeError, "size must be a whole number of bytes, not float"),
    (lambda d, b: d.buffer(4, label=7), TypeError, "label must be text or None, not int"),
    (lambda d, b: b.read(-1), ValueError, r"size must be from 0 to 2\*\*64 - 1, not -1"),
    (lambda d, b: b.copy_from(b"host"), TypeError, "source must be a ferry.Buffer, not bytes; "
     r"for host memory there is copy_from_host\(\)"),
    (lambda d, b: d.batch().zero(7), TypeError, "buffer must be a ferry.Buffer, not int"),
    (lambda d, b: ferry.Buffer("host", 4), TypeError, "device must be a ferry.Device, not str"),
    (lambda d, b: b.wait("soon"), TypeError, "timeout must be a number of seconds or None, not str"),
    (lambda d, b: b.copy_from_host(7), TypeError, "int gives no access to its memory"),
    (lambda d, b: b.copy_from_file("name"), TypeError, "file must be an open file or its descriptor, not str"),
    (lambda d, b: b.fill("x"), TypeError, "pattern must be bytes or a number below 256, not str"),
    (lambda d, b: b.fill(1.5), TypeError, "pattern must be bytes or a number below 256, not float"),
    (lambda d, b: b.fill(256), ValueError, "pattern must be bytes or a number below 256, not 256"),
    (lambda d, b: ferry.load_model("x", "host"), TypeError, "device must be a ferry.Device"),
    (lambda d, b: ferry.load_model(__file__, d, memory="64M"), TypeError, "memory must be a whole number"),
    (lambda d, b: ferry.load_model(__file__, d, memory=-1), ValueError, "memory must be from 0"),
    (lambda d, b: b.view("text"), ValueError, "dtype must be one of bfloat16, .*, not text"),
])
def test_messages(device, call, error, words):
    with pytest.raises(error, match=words) as info:
        call(device, device.buffer(16))
    assert "_handle" not in str(info.value) and "__index__" not in str(info.value)


def test_a_closed_device_says_so():
    device = ferry.Device("host")
    buffer, batch = device.buffer(4), device.batch()
    device.close()
    device.close()
    for call in (buffer.read, buffer.zero, buffer.zero_async, device.stats, device.trim,
                 lambda: device.buffer(4), lambda: buffer.copy_from(buffer), batch.submit):
        with pytest.raises(ferry.Error, match="device.* is closed"):
            call()


# --- with, await, dtypes ------------------------------------------------------------------------


def test_a_buffer_is_a_context_manager(device):
    with device.buffer(1 << 20) as buffer:
        assert device.memory()["in_use"] >= 1 << 20
    assert device.memory()["in_use"] == 0
    with pytest.raises(ferry.Error, match="the buffer is closed"):
        buffer.read()


def test_tickets_are_awaited(device):
    async def main():
        buffer = device.buffer(4096)
        await buffer.fill_async(7)
        await asyncio.gather(*(buffer.fill_async(i, 1024, i * 1024) for i in range(4)))
        return buffer.read()

    assert asyncio.run(main()) == b"".join(bytes([i]) * 1024 for i in range(4))


def test_an_awaited_failure_is_raised(slow):
    async def main():
        ticket = slow.buffer(4096).fill_async(1)
        closing = asyncio.get_running_loop().run_in_executor(None, slow.close)
        await ticket
        await closing

    asyncio.run(main())


def test_dtypes_as_numpy_takes_them(device):
    numpy = pytest.importorskip("numpy")
    buffer = device.buffer(48, shared=True, zeroed=True)
    for form, expected in [("float32", "float32"), ("<f4", "float32"), ("f4", "float32"),
                           (numpy.float32, "float32"), (numpy.dtype("float32"), "float32"),
                           (float, "float64"), (int, "int64"),
                           (numpy.int16, "int16"), ("u1", "uint8")]:
        assert numpy.from_dlpack(buffer.view(form)).dtype == numpy.dtype(expected), form
    assert buffer.view(bool) and buffer.view("bfloat16")
    with pytest.raises(ValueError, match="byte order"):
        buffer.view(">f4")
    with pytest.raises(TypeError, match="not a type that NumPy knows"):
        buffer.view(object())


def test_a_consumer_that_raises_gives_the_memory_back():
    """As NumPy does with types that it has not."""
    numpy = pytest.importorskip("numpy")
    with ferry.Device("host") as device:
        view = device.buffer(8, shared=True).view("bfloat16")
        with pytest.raises(Exception):
            numpy.from_dlpack(view)
        device.close()  # a BufferError, if the tensor were still held


# --- models -------------------------------------------------------------------------------------


def write_safetensors(path, tensors):
    """tensors: {name: (type, shape, bytes)}."""
    header, data = {"__metadata__": {"format": "pt", "by": "\u00fc\0"}}, b""
    for name, (kind, shape, values) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {
        "weights": ("F32", [2, 3], struct.pack("<6f", *range(6))),
        "half": ("BF16", [4], bytes(range(8))),
        "nothing": ("I64", [0, 5], b""),
        "one": ("I8", [], b"\xfe"),
    })
    return path


def test_structures_have_the_sizes_of_the_abi():
    sizes = dict(re.findall(r"ABI_SIZE\((?:struct )?(\w+), (\d+)\)", source("tests/unit/abi.inc")))
    import ctypes

    assert ctypes.sizeof(_model.ModelInfoStruct) == int(sizes["ferry_model_info"])
    assert ctypes.sizeof(_model.TensorInfoStruct) == int(sizes["ferry_tensor_info"])
    assert ctypes.sizeof(_model.MetadataStruct) == int(sizes["ferry_model_metadata"])


def test_a_model_is_a_mapping(device, model_file):
    told = []
    with ferry.load_model(model_file, device, progress=lambda *bytes: told.append(bytes)) as model:
        assert list(model) == ["weights", "half", "nothing", "one"] and len(model) == 4
        assert "weights" in model and "bias" not in model
        assert (model.format, model.nbytes) == ("safetensors", 33)
        assert model.metadata == {"format": "pt", "by": "\u00fc\ufffd"}
        tensor = model["weights"]
        assert (tensor.shape, tensor.dtype, tensor.type, tensor.nbytes) == ((2, 3), "float32", "F32",
                                                                            24)
        assert tensor.read() == struct.pack("<6f", *range(6))
        assert model["nothing"].read() == b"" and model["nothing"].shape == (0, 5)
        assert model["one"].shape == () and model["one"].read() == b"\xfe"
        assert model["half"].dtype == "bfloat16"
        with pytest.raises(KeyError):
            model["bias"]
    assert told[-1] == (33, 33)
    assert device.memory()["in_use"] == 0


def test_tensors_are_arrays(device, model_file):
    numpy = pytest.importorskip("numpy")
    model = ferry.load_model(str(model_file), device, shared=True)
    expected = numpy.arange(6, dtype="float32").reshape(2, 3)
    assert (model["weights"].to_numpy() == expected).all()
    array = numpy.from_dlpack(model["weights"])
    assert (array == expected).all() and array.shape == (2, 3)
    model.buffer.zero()
    assert (array == 0).all()  # the same memory
    assert model["nothing"].to_numpy().shape == (0, 5)
    assert model["one"].to_numpy() == 0
    del array


def test_private_tensors_are_copied(device, model_file):
    numpy = pytest.importorskip("numpy")
    model = ferry.load_model(model_file, device, memory=1 << 20)
    assert model["weights"].to_numpy().sum() == 15
    if device.info.driver not in ("cuda", "metal"):
        with pytest.raises(ferry.Error, match="private"):
            numpy.from_dlpack(model["weights"])


def test_types_without_a_dtype(device, tmp_path):
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"tiny": ("F8_E4M3", [3], b"abc")})
    tensor = ferry.load_model(path, device)["tiny"]
    assert tensor.dtype is None and tensor.read() == b"abc"
    with pytest.raises(TypeError, match="F8_E4M3.*read\\(\\) gives its bytes"):
        tensor.to_numpy()


def test_models_that_cannot_be_loaded(device, tmp_path):
    with pytest.raises(ferry.Error, match="No such file") as info:
        ferry.load_model(tmp_path / "missing", device)
    assert info.value.status == ferry.Status.IO
    (tmp_path / "bad.safetensors").write_bytes(struct.pack("<Q", 9) + b"{}")
    with pytest.raises(ferry.Error):
        ferry.load_model(tmp_path / "bad.safetensors", device)
    assert device.memory()["in_use"] == 0


def test_a_failing_progress_function(device, model_file):
    def fail(done, total):
        raise RuntimeError("no terminal")

    with pytest.raises(RuntimeError, match="no terminal"):
        ferry.load_model(model_file, device, progress=fail)


def test_view_takes_a_number_as_shape(device):
    numpy = pytest.importorskip("numpy")
    buffer = device.buffer(12, shared=True)
    assert numpy.from_dlpack(buffer.view("float32", 3)).shape == (3,)
