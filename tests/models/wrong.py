"""Wrong files: name: (the file's bytes, what the reader says of it, a regular expression)."""

import struct

import writer
from writer import describe, pair, raw_gguf, raw_safetensors


def entry(kind="U8", shape=(4,), begin=0, end=4):
    return {"dtype": kind, "shape": list(shape), "data_offsets": [begin, end]}


WRONG_SAFETENSORS = {  # the file's bytes, what is said of it
    "empty": (b"", "has 0 bytes"),
    "short": (b"1234567", "has 7 bytes"),
    "length past the end": (raw_safetensors({}, length=3), "header is 3 bytes long, the file 10"),
    "length near 2^64": (raw_safetensors({}, length=2**64 - 1), "header is 1844674407370955"),
    "no JSON": (raw_safetensors(b"{"), "JSON is wrong at byte 1: no key"),
    "empty JSON": (raw_safetensors(b""), "JSON is wrong at byte 0: its end is missing"),
    "JSON and more": (raw_safetensors(b"{} x"), "JSON is wrong at byte 3: more after"),
    "not UTF-8": (raw_safetensors(b'{"\xff": 1}'), "JSON is wrong at byte 2: what is not UTF-8"),
    "deep JSON": (raw_safetensors(b'{"a":' + b"[" * 100000), 'tensor "a" is not an object'),
    "deep JSON inside": (raw_safetensors(b'{"a":{"x":' + b"[" * 100000),
                         "JSON is wrong at byte 72: values deeper than 64"),
    "an array": (raw_safetensors(b"[]"), "not an object"),
    "duplicate": (raw_safetensors(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
                                  b'"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', b"12"),
                  'two tensors "a"'),
    "two dtypes": (raw_safetensors(b'{"a":{"dtype":"U8","d\\u0074ype":"U8"}}'), 'has two keys dtype'),
    "two __metadata__": (raw_safetensors(b'{"__metadata__":{},"__metadata__":{}}'),
                         "__metadata__ is there twice"),
    "metadata twice": (raw_safetensors(b'{"__metadata__":{"k":"","b":"","\\u006b":""}}'),
                       '"k" is in __metadata__ twice'),
    "long name": (raw_safetensors({"n" * 65536: entry()}, b"1234"), "a key of over 65535 bytes"),
    "many keys in metadata": (raw_safetensors({"__metadata__": {str(i): "" for i in range(65537)}}),
                              "__metadata__ has over 65536 keys"),
    "lone surrogate": (raw_safetensors(b'{"\\ud800":1}'), "an escape that there is not"),
    "signs": (raw_safetensors(b'{"a":{"shape":[+1]}}'), "JSON is wrong at byte 15: no value"),
    "zeros": (raw_safetensors(b'{"a":{"shape":[01]}}'), "JSON is wrong"),
    "comma at the end": (raw_safetensors(b'{"a":{"shape":[1,]}}'), "JSON is wrong"),
    "tensor is a number": (raw_safetensors({"a": 1}), 'tensor "a" is not an object'),
    "metadata is a number": (raw_safetensors({"__metadata__": 1}), "__metadata__ is not an object"),
    "metadata of numbers": (raw_safetensors({"__metadata__": {"k": 1}}), '"k" in __metadata__'),
    "no dtype": (raw_safetensors({"a": {"shape": [], "data_offsets": [0, 0]}}), "no dtype"),
    "unknown dtype": (raw_safetensors({"a": entry("U7")}, b"1234"), '"U7", which is not known'),
    "no shape": (raw_safetensors({"a": {"dtype": "U8", "data_offsets": [0, 1]}}, b"1"), "no shape"),
    "negative": (raw_safetensors({"a": entry(shape=(-4,))}, b"1234"), "dimension 0"),
    "fraction": (raw_safetensors({"a": entry(shape=(4.0,))}, b"1234"), "dimension 0"),
    "huge number": (raw_safetensors(b'{"a":{"dtype":"U8","shape":[18446744073709551620],'
                                    b'"data_offsets":[0,4]}}', b"1234"), "dimension 0"),
    "shape overflows": (raw_safetensors({"a": entry(shape=(2**62, 4, 2))}, b"1234"), "too large"),
    "bits overflow": (raw_safetensors({"a": entry("F64", (2**60,))}, b"1234"), "too large"),
    "half a byte": (raw_safetensors({"a": entry("F4", (3,), 0, 1)}, b"1"), "no whole bytes"),
    "many dimensions": (raw_safetensors({"a": entry(shape=(1,) * 9)}, b"1234"), "9 dimensions"),
    "no offsets": (raw_safetensors({"a": {"dtype": "U8", "shape": [1]}}, b"1"), "data_offsets"),
    "three offsets": (raw_safetensors({"a": {"dtype": "U8", "shape": [1],
                                             "data_offsets": [0, 1, 2]}}, b"1"), "data_offsets"),
    "offsets the wrong way": (raw_safetensors({"a": entry(begin=4, end=0)}, b"1234"), "4 to 0"),
    "size and shape differ": (raw_safetensors({"a": entry(shape=(3,))}, b"1234"),
                              "3 bytes by its shape"),
    "past the end": (raw_safetensors({"a": entry()}, b"123"), "past the file's end"),
    "far past the end": (raw_safetensors({"a": entry(begin=2**62, end=2**62 + 4)}, b"1234"),
                         "past the file's end"),
    "overlap": (raw_safetensors({"a": entry(), "b": entry(begin=2, end=6)}, b"123456"),
                "before the end of the one before"),
    "hole": (raw_safetensors({"a": entry(), "b": entry(begin=5, end=9)}, b"123456789"),
             "belong to none"),
    "bytes after": (raw_safetensors({"a": entry()}, b"12345"), "the file at"),
    "0 in a name": (raw_safetensors(b'{"a\\u0000b":{"dtype":"U8","shape":[0],'
                                    b'"data_offsets":[0,0]}}'), "byte 0"),
}


def tensor(name="a", shape=(4,), number=24, offset=0):
    return describe(name, shape, number, offset)


HUGE = 2**64 - 1
WRONG_GGUF = {
    "empty": (b"", "too soon"),
    "magic alone": (b"GGUF", "too soon"),
    "other magic": (raw_gguf(magic=b"GGML"), "does not begin with GGUF"),
    "version 1": (raw_gguf(version=1), "GGUF version 1; 2 and 3"),
    "version 4": (raw_gguf(version=4), "GGUF version 4"),
    "big-endian": (raw_gguf(version=3 << 24), "big-endian"),
    "many tensors": (raw_gguf(tensor_count=HUGE), "no room for 18446744073709551615 tensors"),
    "many keys": (raw_gguf(pair_count=HUGE), "no room for 18446744073709551615 keys"),
    "too few keys": (raw_gguf(pair_count=1, data=b"\xff" * 40), "type of value 4294967295"),
    "endless key": (raw_gguf([b"\xff" * 13]), "a key .* is 18446744073709551615 bytes long"),
    "long key": (raw_gguf([struct.pack("<Q", 70000) + b"k" * 70000 + b"\0" * 5]), "over 65535"),
    "type of value": (raw_gguf([writer.text("k") + struct.pack("<IQ", 13, 0)]), "type of value 13"),
    "string past the end": (raw_gguf([writer.text("k") + struct.pack("<IQ", 8, 1000)]),
                            "past the file's end"),
    "array past the end": (raw_gguf([writer.text("k") + struct.pack("<IIQ", 9, 10, HUGE // 4)]),
                           "no room for an array"),
    "type of array": (raw_gguf([writer.text("k") + struct.pack("<IIQ", 9, 99, 1)]), "value 99"),
    "deep arrays": (raw_gguf([writer.text("k") + struct.pack("<I", 9)
                              + struct.pack("<IQ", 9, 1) * 50]), "deeper than 4"),
    "alignment 0": (raw_gguf([pair("general.alignment", "u32", 0)]), "general.alignment is 0"),
    "alignment 24": (raw_gguf([pair("general.alignment", "u32", 24)]), "is 24: not a power"),
    "alignment huge": (raw_gguf([pair("general.alignment", "u64", 1 << 63)]), "not a power"),
    "alignment in words": (raw_gguf([pair("general.alignment", "str", "32")]), "not a whole"),
    "alignment twice": (raw_gguf([pair("general.alignment", "u32", 32)] * 2), "there twice"),
    "long name": (raw_gguf(descriptions=[tensor("n" * 1025)], data=b"1234"), "over 1024"),
    "0 in a name": (raw_gguf(descriptions=[tensor("a\0b")], data=b"1234"), "byte 0"),
    "many dimensions": (raw_gguf(descriptions=[tensor(shape=(1,) * 5)], data=b"1"), "5 dimensions"),
    "type 4": (raw_gguf(descriptions=[tensor(number=4)], data=b"1234"), "type 4, which is not"),
    "type 2^32": (raw_gguf(descriptions=[tensor(number=2**32 - 1)], data=b"1"), "type 4294967295"),
    "part of a block": (raw_gguf(descriptions=[tensor(shape=(33,), number=2)], data=b"1" * 99),
                        "rows of 33, and Q4_0 comes in blocks of 32"),
    "rows of parts": (raw_gguf(descriptions=[tensor(shape=(32, 1), number=2)], data=b"1" * 99),
                      "rows of 1, and Q4_0"),
    "shape overflows": (raw_gguf(descriptions=[tensor(shape=(2**33, 2**33))], data=b"1"),
                        "too large"),
    "size overflows": (raw_gguf(descriptions=[tensor(shape=(2**62,), number=28)], data=b"1"),
                       "too large"),
    "not aligned": (raw_gguf(descriptions=[tensor(offset=8)], data=b"1" * 64), "multiple of 32"),
    "past the end": (raw_gguf(descriptions=[tensor()], data=b"123"), "past the file's end"),
    "offset wraps": (raw_gguf(descriptions=[tensor(offset=2**64 - 32)], data=b"1234"),
                     "past the file's end"),
    "overlap": (raw_gguf(descriptions=[tensor(shape=(33,)), tensor("b", offset=32)],
                         data=b"1" * 64), "before the end of the one before"),
    "same name": (raw_gguf(descriptions=[tensor(), tensor(offset=32)], data=b"1" * 64),
                  'two tensors "a"'),
    "escape in a name": (raw_gguf(descriptions=[tensor("\x1b[2J", offset=8)], data=b"1" * 64),
                         r'"\\x1b\[2J"'),
}
