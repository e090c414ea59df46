"""Writes small safetensors and GGUF files, right and wrong: by the formats' descriptions, and with
nothing of the library that reads them."""

import json
import os
import struct

GGUF_TYPES = {  # name: (number, elements of a block, bytes of a block)
    "F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q8_0": (8, 32, 34),
    "Q4_K": (12, 256, 144), "Q6_K": (14, 256, 210), "I8": (24, 1, 1), "I64": (27, 1, 8),
    "BF16": (30, 1, 2), "MXFP4": (39, 32, 17),
}
SAFE_BITS = {"BOOL": 8, "U8": 8, "F8_E4M3": 8, "F4": 4, "F6_E2M3": 6, "I16": 16, "F16": 16,
             "BF16": 16, "F32": 32, "I64": 64, "C64": 64}


def product(shape):
    result = 1
    for n in shape:
        result *= n
    return result


def content(name, size):
    """Bytes that tell one tensor from another."""
    seed = sum(name if isinstance(name, bytes) else name.encode())
    period = bytes((i * 31 + i // 253 + seed) & 0xFF for i in range(min(size, 65537)))
    return (period * (size // 65537 + 1))[:size]


# --- safetensors ---------------------------------------------------------------------------------


def safetensors(tensors, metadata=None, pad=0):
    """tensors: (name, type, shape). Returns the file's bytes and {name: (offset, bytes)}."""
    header, data, places = {}, b"", {}
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, kind, shape in tensors:
        size = product(shape) * SAFE_BITS[kind] // 8
        header[name] = {"dtype": kind, "shape": list(shape),
                        "data_offsets": [len(data), len(data) + size]}
        places[name] = (len(data), content(name, size))
        data += content(name, size)
    text = json.dumps(header).encode() + b" " * pad
    start = 8 + len(text)
    return (struct.pack("<Q", len(text)) + text + data,
            {name: (start + offset, bytes_) for name, (offset, bytes_) in places.items()})


def raw_safetensors(text, data=b"", length=None):
    """A file with this header, right or wrong."""
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


# --- GGUF ----------------------------------------------------------------------------------------


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(value)) + value


def value(kind, item):
    """A typed value of the metadata: "u32", "str", or ("array", kind)."""
    formats = {"u8": (0, "<B"), "i8": (1, "<b"), "u16": (2, "<H"), "i16": (3, "<h"),
               "u32": (4, "<I"), "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<B"),
               "u64": (10, "<Q"), "i64": (11, "<q"), "f64": (12, "<d")}
    if isinstance(kind, tuple):
        inner = [value(kind[1], one) for one in item]
        number = inner[0][0] if inner else formats.get(kind[1], (8,))[0]
        return 9, struct.pack("<IQ", number, len(item)) + b"".join(one[1] for one in inner)
    if kind == "str":
        return 8, text(item)
    return formats[kind][0], struct.pack(formats[kind][1], item)


def pair(key, kind, item):
    number, data = value(kind, item)
    return text(key) + struct.pack("<I", number) + data


def describe(name, shape, number, offset):
    """shape: the outermost first; the file has it the other way round."""
    return (text(name) + struct.pack("<I", len(shape))
            + b"".join(struct.pack("<Q", n) for n in reversed(shape))
            + struct.pack("<IQ", number, offset))


def raw_gguf(pairs=(), descriptions=(), data=b"", version=3, pair_count=None, tensor_count=None,
             alignment=32, magic=b"GGUF"):
    head = magic + struct.pack(
        "<IQQ", version, len(descriptions) if tensor_count is None else tensor_count,
        len(pairs) if pair_count is None else pair_count)
    head += b"".join(pairs) + b"".join(descriptions)
    return head + b"\0" * (-len(head) % alignment) + data


def gguf(tensors, pairs=(), version=3, alignment=32):
    """tensors: (name, type, shape). Returns the file's bytes and {name: (offset, bytes)}."""
    descriptions, data, places = [], b"", {}
    for name, kind, shape in tensors:
        number, elements, bytes_ = GGUF_TYPES[kind]
        size = product(shape) // elements * bytes_
        data += b"\0" * (-len(data) % alignment)
        descriptions.append(describe(name, shape, number, len(data)))
        places[name] = (len(data), content(name, size))
        data += content(name, size)
    if alignment != 32:
        pairs = list(pairs) + [pair("general.alignment", "u32", alignment)]
    file = raw_gguf(pairs, descriptions, data, version, alignment=alignment)
    start = len(file) - len(data)
    return file, {name: (start + offset, bytes_) for name, (offset, bytes_) in places.items()}


METADATA = [  # a value of every type, arrays of some
    pair("general.architecture", "str", "none"), pair("a.u8", "u8", 1), pair("a.i8", "i8", -1),
    pair("a.u16", "u16", 2), pair("a.i16", "i16", -2), pair("a.i32", "i32", -3),
    pair("a.f32", "f32", 0.5), pair("a.bool", "bool", 1), pair("a.u64", "u64", 1 << 40),
    pair("a.i64", "i64", -5), pair("a.f64", "f64", 2.5), pair("a.strings", ("array", "str"), ["x", ""]),
    pair("a.numbers", ("array", "u32"), list(range(20000))), pair("a.none", ("array", "u32"), []),
    pair("a.deep", ("array", ("array", "u8")), [[1, 2], [], [3]]),
]


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    return path
