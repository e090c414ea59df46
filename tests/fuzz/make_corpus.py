"""make_corpus.py DIRECTORY: small files for the fuzz targets to begin with, right and wrong, in
DIRECTORY/gguf, safetensors, index, json, config
and wire."""

import json
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "models"))
from writer import GGUF_TYPES, METADATA, SAFE_BITS, gguf, pair, safetensors, write  # noqa: E402
from wrong import WRONG_GGUF, WRONG_SAFETENSORS  # noqa: E402

LARGEST = 1 << 16  # bytes; more teaches a fuzzer nothing


def right_gguf():
    every = [(f"t.{kind}", kind, (2, elements)) for kind, (_, elements, _) in GGUF_TYPES.items()]
    yield gguf([])[0]
    yield gguf(every)[0]
    yield gguf(every[:2], METADATA[:12] + METADATA[13:], 2, 8)[0]
    yield gguf([("x", "F32", (1, 2, 3, 4)), ("none", "I8", (0,))], [
        pair("split.no", "u16", 0), pair("split.count", "u16", 1),
        pair("split.tensors.count", "i32", 2)])[0]


def right_safetensors():
    yield safetensors([])[0]
    yield safetensors([(f"t.{kind}", kind, (2, 4)) for kind in SAFE_BITS], {"format": "pt"}, 3)[0]
    yield safetensors([("scalar", "I64", ()), ("none", "U8", (0, 7))])[0]


def indexes():
    for value in ({"weight_map": {"a": "x.safetensors", "b": "y.safetensors"}}, {}, [],
                  {"metadata": {"total_size": 3}, "weight_map": {"a": "../x"}},
                  {"weight_map": {"a": 1}}, {"weight_map": []}, {"weight_map": {"\u00fc": ""}}):
        yield json.dumps(value).encode()


def texts():
    yield from indexes()
    for text in (' [1, -2.5e+3, 0, {"a": [true, false, null]}, "x"]\r\n', '"\\u00e9\\ud83d\\ude00\\n\\/\u00fc"',
                 '{"a\\u0000b": {"a\\u0000c": {}}, "": ""}', "[" * 64 + "]" * 64, "[" * 65, "-", "01",
                 '"\\udc00"', '["\t"]', "nul", "[1 2]", '{"a" 1}', "{,}", "1e", "\ufeff1"):
        yield text.encode()
    yield b'"\xc0\x80\xed\xa0\x80"'


def configurations():
    yield from texts()
    yield json.dumps({"name": "m", "max_batch_size": 8, "parameters": {
        "device": {"string_value": "host"}, "in_flight": {"string_value": "2"}},
        "input": [{"name": "A", "data_type": "TYPE_FP32", "dims": ["-1", 16]}]}).encode()
    yield b'{"a":1,"b":{"c":[],"c":{}}}'


def frame(kind, payload=b"", size=None):
    return struct.pack("<IHH", len(payload) if size is None else size, kind, 0) + payload


def frames():
    hello = struct.pack("<8sHHHHII", b"FERYWIRE", 1, 1, 0, 0, 1, 1000) + bytes(range(32))
    served = hello[:12] + struct.pack("<H", 1) + hello[14:]
    prove = bytes(32) + b"an address of a worker"
    announce = struct.pack("<QQQQII", 1, 7, 1 << 20, 0, 1 << 20, 1) + bytes(16)
    right = [frame(1, hello), frame(2, prove), frame(3, struct.pack("<H", 13) + b"no"), frame(16),
             frame(17, b"bye"), frame(18, announce), frame(19, struct.pack("<Q", 1)),
             frame(20, struct.pack("<Q", 1)), frame(21, struct.pack("<QQQI", 1, 1, 0, 1 << 20)),
             frame(22, struct.pack("<QQIH", 1, 1, 1 << 20, 0)),
             frame(23, struct.pack("<QHH", 1, 1, 13) + "w\u00f6rds".encode())]
    yield from right
    yield b"".join(right)
    yield frame(1, served) + frame(2, prove)
    yield frame(1, hello) + frame(2, prove)
    yield frame(999, b"later") + frame(16)
    yield frame(16, size=1 << 31)
    yield struct.pack("<QIII", 1, 0, 4096, 0) + bytes(64)


def main(directory):
    for kind, right, wrong in (("gguf", right_gguf(), WRONG_GGUF),
                               ("safetensors", right_safetensors(), WRONG_SAFETENSORS),
                               ("index", indexes(), {}), ("json", texts(), {}),
                               ("config", configurations(), {}), ("wire", frames(), {})):
        files = list(right) + [data for data, _ in wrong.values()]
        for i, data in enumerate(files):
            write(f"{directory}/{kind}/{i:03}", data[:LARGEST])


main(sys.argv[1])
