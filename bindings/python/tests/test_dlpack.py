"""DLPack: shared buffers as tensors of NumPy, and back."""

import gc
import weakref

import ferry
import pytest


def test_dlpack_export(device):
    numpy = pytest.importorskip("numpy")
    buffer = device.buffer(4000, shared=True, zeroed=True)
    values = numpy.arange(1000, dtype="float32")
    buffer.copy_from_host(values)
    tensor = numpy.from_dlpack(buffer.view("float32", (10, 99), offset=40))
    assert tensor.dtype == "float32" and tensor.shape == (10, 99)
    assert (tensor.ravel() == values[10:]).all()
    assert (numpy.from_dlpack(buffer) == values.view("uint8")).all()
    buffer.fill(1, 4, 40)  # the same memory
    assert tensor[0, 0] == numpy.frombuffer(b"\1\1\1\1", "float32")[0]
    buffer.destroy()
    del buffer
    gc.collect()
    device.buffer(4000, shared=True).fill(7)
    assert tensor[0, 1] == values[11]
    with pytest.raises(BufferError):
        device.close()
    del tensor
    gc.collect()
    device.close()


def test_dlpack_outlives_its_device():
    numpy = pytest.importorskip("numpy")

    def make():
        buffer = ferry.Device().buffer(1 << 20, shared=True)
        buffer.fill(5)
        return numpy.from_dlpack(buffer)

    array = make()
    gc.collect()
    assert len(ferry._objects._orphans) == 1
    ferry.Device().buffer(1 << 20, shared=True).fill(6)
    assert (array == 5).all()
    del array
    gc.collect()
    ferry.Device().close()
    assert not ferry._objects._orphans


def test_dlpack_capsules(device):
    buffer = device.buffer(100, shared=True)
    for options in ({}, {"max_version": (1, 0)}, {"stream": None, "max_version": (0, 8)},
                    {"dl_device": (1, 0), "copy": False}):
        capsule = buffer.__dlpack__(**options)
        name = "dltensor_versioned" if options.get("max_version", (0,))[0] else "dltensor"
        assert f'"{name}"' in repr(capsule)
        with pytest.raises(BufferError):
            device.close()
        del capsule  # not consumed: its destructor deletes the tensor
    assert buffer.__dlpack_device__() == (1, 0)
    for options in ({"dl_device": (2, 0)}, {"copy": True}):
        with pytest.raises(BufferError):
            buffer.__dlpack__(**options)
    with pytest.raises(ValueError, match="dtype"):
        buffer.view("float7")
    with pytest.raises(ferry.Error) as caught:
        buffer.view("float32", (26,)).__dlpack__()
    assert caught.value.status == ferry.Status.OUT_OF_RANGE


def test_dlpack_of_private_memory(device):
    private = device.upload(b"0123456789" * 100)
    if device.info.driver == "cuda":
        return  # below
    if device.info.driver != "metal":
        with pytest.raises(ferry.Error) as caught:
            private.__dlpack__()
        assert caught.value.status == ferry.Status.UNSUPPORTED
        return
    assert private.__dlpack_device__() == (8, 0)
    with pytest.raises(BufferError):
        private.__dlpack__(dl_device=(1, 0))
    wrapped = device.from_dlpack(private.view("uint8", (10,), 512))
    private.zero()
    assert wrapped.read() == bytes(10)  # the same memory
    with pytest.raises(BufferError):
        device.close()
    wrapped.destroy()


def test_dlpack_import(device):
    numpy = pytest.importorskip("numpy")
    values = numpy.arange(12, dtype="int16").reshape(3, 4)
    watch = weakref.ref(values)
    buffer = device.from_dlpack(values, label="imported")
    assert (buffer.size, buffer.shared, buffer.label) == (24, False, "imported")
    assert (buffer.to_numpy("int16", (3, 4)) == values).all()
    with pytest.raises(ferry.Error, match="contiguous") as caught:
        device.from_dlpack(values.T)
    assert caught.value.status == ferry.Status.UNSUPPORTED
    del values, caught
    gc.collect()
    assert watch() is None
    shared = device.buffer(5, shared=True)
    shared.fill(3)
    again = device.from_dlpack(shared, shared=True)  # a versioned one
    assert bytes(again.contents()) == b"\3" * 5
    with pytest.raises(AttributeError):
        device.from_dlpack(b"bytes")
    del shared, again


def _cuda(device):
    if device.info.driver != "cuda":
        assert not hasattr(device.buffer(8), "__cuda_array_interface__")
        pytest.skip("CUDA's tensors")


def test_dlpack_of_cuda(device):
    _cuda(device)
    private = device.upload(b"0123456789" * 100)
    assert private.__dlpack_device__() == (2, 0)
    interface = private.view("float32", (2, 5), 40).__cuda_array_interface__
    address = private.__cuda_array_interface__["data"][0]
    assert interface == {"version": 3, "shape": (2, 5), "strides": None, "stream": 1,
                         "typestr": "<f4", "data": (address + 40, False)}
    assert private.__cuda_array_interface__["typestr"] == "|u1"
    with pytest.raises(AttributeError):
        private.view("bfloat16").__cuda_array_interface__
    with pytest.raises(ValueError):
        private.view("uint8", (1001,)).__cuda_array_interface__
    for stream in (None, 1, 2, -1):
        private.__dlpack__(stream=stream, max_version=(1, 0))
    for stream in (0, -2):
        with pytest.raises(ValueError, match="legacy"):
            private.__dlpack__(stream=stream)
    for stream in (1.0, True, "1"):
        with pytest.raises(TypeError):
            private.__dlpack__(stream=stream)
    for there in ((1, 0), (3, 0), (2, 1)):
        with pytest.raises(BufferError):
            private.__dlpack__(dl_device=there)
    wrapped = device.from_dlpack(private.view("uint8", (15,), 501))  # any phase
    private.fill(7, 10, 505)
    assert wrapped.read() == b"1234" + b"\7" * 10 + b"5"  # the same memory
    wrapped.zero()
    assert private.read()[500:517] == b"0" + bytes(15) + b"6"
    with pytest.raises(BufferError):
        device.close()
    wrapped.destroy()
    with pytest.raises(ferry.Error) as caught:
        device.from_dlpack(private, shared=True)
    assert caught.value.status == ferry.Status.UNSUPPORTED
    del caught  # its traceback holds the capsule
    gc.collect()


def test_dlpack_of_page_locked_memory(device):
    _cuda(device)
    shared = device.buffer(100, shared=True)
    shared.fill(9)
    assert shared.__dlpack_device__() == (1, 0)
    assert not hasattr(shared, "__cuda_array_interface__")

    class Locked:
        """A producer of page-locked memory."""

        def __dlpack_device__(self):
            return (3, 0)

        def __dlpack__(self, **options):
            return shared.__dlpack__(dl_device=(3, 0), **options)

    assert device.from_dlpack(Locked()).read() == b"\t" * 100
