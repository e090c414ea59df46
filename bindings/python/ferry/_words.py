"""What the user gave, checked, with complaints in the user's words."""


def name_of(thing):
    """"numpy.ndarray", "int"."""
    kind = type(thing)
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def whole(number, what):
    """A size or an offset. ctypes would wrap a negative or huge number round."""
    if isinstance(number, (str, bytes)) or not hasattr(number, "__index__"):
        raise TypeError(f"{what} must be a whole number of bytes, not {name_of(number)}")
    number = number.__index__()
    if not 0 <= number < 2**64:
        raise ValueError(f"{what} must be from 0 to 2**64 - 1, not {number}")
    return number


def text(value, what):
    """Text for the C library, or None."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{what} must be text or None, not {name_of(value)}")
    return value.encode()


def choice(value, choices, what):
    if value not in choices:
        raise ValueError(f"{what} is one of {', '.join(choices)}, not {value!r}")
    return choices.index(value)


# Python's own types, as NumPy takes them.
_PYTHON = {float: "float64", int: "int64", bool: "bool", complex: "complex128"}


def dtype_name(dtype):
    """The name of a type in any form that NumPy takes: "float32", "<f4", float, numpy.float32,
    numpy.dtype("f4"); also a torch.dtype, and types of ml_dtypes."""
    if isinstance(dtype, str) and dtype.isidentifier() and not dtype[1:].isdigit():
        return dtype
    if isinstance(dtype, type) and dtype in _PYTHON:
        return _PYTHON[dtype]
    if type(dtype).__module__.split(".")[0] == "torch":
        return str(dtype).rpartition(".")[2]
    try:
        import numpy
    except ImportError:
        raise TypeError(f"dtype {dtype!r} needs NumPy; a name such as \"float32\" does not"
                        ) from None
    try:
        found = numpy.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype {dtype!r} is not a type that NumPy knows") from None
    if not found.isnative:
        raise ValueError(f"dtype {found.str} has the other byte order, which DLPack does not have")
    return found.name
