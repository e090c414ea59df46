"""`ferry load` on files of another writer: every tensor is told as that wrote it, wrong files are
refused in words. Run as: test_load.py FERRY DIRECTORY JSON (1: with safetensors)."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys

import writer
from writer import METADATA, gguf, pair, raw_gguf, safetensors, write
from wrong import WRONG_GGUF, WRONG_SAFETENSORS

ferry, folder = sys.argv[1], sys.argv[2]
environment = {key: value for key, value in os.environ.items()
               if key not in ("FERRY_PATH", "FERRY_HOST", "FERRY_DEVICE")}
passed, failed = 0, []


def check(name, good, why=""):
    global passed
    passed += bool(good)
    if good:
        print(f"[       OK ] {name}")
    else:
        failed.append(name)
        print(f"[  FAILED  ] {name}: {why}")


def load(path, *options):
    return subprocess.run([ferry, "load", "--device", "host", *options, path], env=environment,
                          capture_output=True, text=True, timeout=250)


# --- files that are right ------------------------------------------------------------------------


def check_tensors(name, path, expected, *options):
    """expected: {tensor: (type, shape, file, offset in the file, bytes)}."""
    done = load(path, "--json", *options)
    check(f"{name}: exit", done.returncode == 0, done.stderr)
    if done.returncode != 0:
        return
    model = json.loads(done.stdout)["files"][0]
    got = {t["name"]: (t["type"], t["shape"], os.path.basename(model["parts"][t["file"]]),
                       t["file_offset"], t["bytes"]) for t in model["tensors"]}
    wanted = {key: (kind, list(shape), file, offset, len(data))
              for key, (kind, shape, file, offset, data) in expected.items()}
    check(f"{name}: tensors", got == wanted and len(model["tensors"]) == len(wanted),
          f"{got}\nnot\n{wanted}")
    check(f"{name}: verified", model["verified"] is True)
    if "--bench" in options:
        times = [model["bench"]["warm"]] + [model["bench"]["cold"] or model["bench"]["warm"]]
        check(f"{name}: times", all(t["load_seconds"] > 0 and t["read_seconds"] > 0 for t in times))
    if "--separate" not in options:
        ends = sorted((t["offset"], t["offset"] + t["bytes"]) for t in model["tensors"])
        check(f"{name}: arena", all(offset % 256 == 0 for offset, _ in ends)
              and all(a[1] <= b[0] for a, b in zip(ends, ends[1:])))


def expect(tensors, places, file):
    return {name: (kind, shape, file, *places[name]) for name, kind, shape in tensors}


SAFE = [("embed", "F32", (7, 33)), ("layer.0", "BF16", (3, 5, 2)), ("scalar", "I64", ()),
        ("empty", "F16", (0, 4)), ("bits", "F4", (6,)), ("six", "F6_E2M3", (4, 1)),
        ("line\nfeed \u00fc", "U8", (1,)), ("big", "F16", (1500, 3001)), ("c", "C64", (2,))]
GGUF = [("token_embd.weight", "Q4_K", (3, 512)), ("norm", "F32", (33,)), ("one", "I8", (1,)),
        ("half", "F16", (2, 3, 4, 5)), ("q", "Q8_0", (1, 64)), ("mx", "MXFP4", (2, 32)),
        ("none", "F32", (0,)), ("big", "BF16", (1501, 3000)), ("end", "Q6_K", (256,))]


def check_right_files():
    data, places = safetensors(SAFE, {"format": "pt"}, pad=5)
    path = write(f"{folder}/right/model.safetensors", data)
    check_tensors("safetensors", path, expect(SAFE, places, "model.safetensors"))
    check_tensors("safetensors, separate", path, expect(SAFE, places, "model.safetensors"),
                  "--separate")
    check_tensors("safetensors, staged", path, expect(SAFE, places, "model.safetensors"),
                  "--path", "staged")
    path = write(f"{folder}/right/other-name.bin", data)
    check_tensors("safetensors by content", path, expect(SAFE, places, "other-name.bin"))
    data, places = safetensors([])
    check_tensors("no tensors", write(f"{folder}/right/none.safetensors", data), {})
    for version in (2, 3):
        for alignment in (32, 8, 4096):
            name = f"v{version}-{alignment}.gguf"
            data, places = gguf(GGUF, METADATA, version, alignment)
            path = write(f"{folder}/right/{name}", data)
            check_tensors(name, path, expect(GGUF, places, name))
    check_tensors("gguf, separate", path, expect(GGUF, places, name), "--separate")
    check_tensors("gguf, bench", path, expect(GGUF, places, name), "--bench")
    check_tensors("gguf by content", write(f"{folder}/right/g", data), expect(GGUF, places, "g"))
    check_tensors("empty gguf", write(f"{folder}/right/none.gguf", raw_gguf()), {})


def check_plain_bytes():
    for name, data in (("plain.bin", writer.content("plain", 9000001)), ("one", b"x"), ("empty", b""),
                       ("magic", b"GGU"), ("length", struct.pack("<Q", 1000) + b"{}")):
        path = write(f"{folder}/plain/{name}", data)
        done = load(path)
        check(f"{name} is plain bytes", done.returncode == 0
              and "not a model: moved as plain bytes" in done.stdout, done.stdout + done.stderr)
        check_tensors(name, path, {name: ("U8", (len(data),), name, 0, data)})


def check_shards():
    parts, expected, weight_map = [SAFE[:3], SAFE[3:8], SAFE[8:]], {}, {}
    for i, part in enumerate(parts):
        name = f"model-0000{i + 1}-of-00003.safetensors"
        data, places = safetensors(part)
        write(f"{folder}/shards/{name}", data)
        expected.update(expect(part, places, name))
        weight_map.update({tensor[0]: name for tensor in part})
    check_tensors("shards without an index", f"{folder}/shards", expected)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    path = write(f"{folder}/shards/model.safetensors.index.json", json.dumps(index).encode())
    check_tensors("index", path, expected)
    check_tensors("directory with an index", f"{folder}/shards/", expected)
    expected, names = {}, []
    for i, part in enumerate([GGUF[:4], GGUF[4:5], GGUF[5:]]):
        names.append(f"m-0000{i + 1}-of-00003.gguf")
        pairs = [pair("split.no", "u16", i), pair("split.count", "u16", 3),
                 pair("split.tensors.count", "i32", len(GGUF))]
        data, places = gguf(part, pairs)
        write(f"{folder}/split/{names[i]}", data)
        expected.update(expect(part, places, names[i]))
    for name in names:
        check_tensors(name, f"{folder}/split/{name}", expected)
    check_tensors("split in a directory", f"{folder}/split", expected)


# --- what they tell of themselves ---------------------------------------------------------------


def listed(path):
    """The model as --list --json tells it, and the lines of the table."""
    def run(*options):
        return subprocess.run([ferry, "load", "--list", *options, path], env=environment,
                              capture_output=True, text=True, timeout=250)

    return json.loads(run("--json").stdout)["files"][0], run().stdout.splitlines()


def told(model):
    return {pair["key"]: (pair["type"], pair["value"], pair["count"], pair["whole"])
            for pair in model["metadata"]}


def check_metadata():
    model, lines = listed(write(f"{folder}/meta/all.gguf", gguf(GGUF, METADATA)[0]))
    numbers = ", ".join(str(i) for i in range(16))
    wanted = {"general.architecture": ("string", "none", 1, True), "a.u8": ("uint8", "1", 1, True),
              "a.i8": ("int8", "-1", 1, True), "a.u16": ("uint16", "2", 1, True),
              "a.i16": ("int16", "-2", 1, True), "a.i32": ("int32", "-3", 1, True),
              "a.f32": ("float32", "0.5", 1, True), "a.bool": ("bool", "true", 1, True),
              "a.u64": ("uint64", "1099511627776", 1, True), "a.i64": ("int64", "-5", 1, True),
              "a.f64": ("float64", "2.5", 1, True),
              "a.strings": ("string[]", '["x", ""]', 2, True),
              "a.numbers": ("uint32[]", f"[{numbers}, ...]", 20000, False),
              "a.none": ("uint32[]", "[]", 0, True),
              "a.deep": ("array[]", "[[...], [...], [...]]", 3, False)}
    check("metadata of gguf", told(model) == wanted, told(model))
    check("metadata in the table", "  general.architecture = none" in lines and
          "  a.u64 = 1099511627776" in lines and
          any(line.startswith("  a.numbers = [0, 1, ") and line.endswith("(20000)")
              for line in lines), lines)
    texts = {"format": "pt", "quote\"": 'a "b" \\ \u2028', "esc": "\x1b[31mred\nline", "nul\0": "a\0b",
             "long": "\u00fc" * 40000, "empty": ""}
    model, lines = listed(write(f"{folder}/meta/a.safetensors", safetensors(SAFE, texts)[0]))
    got = told(model)
    check("metadata of safetensors", {key: value[1] for key, value in got.items()} == {
        key.replace("\0", "\ufffd"): value.replace("\0", "\ufffd")[:32767]
        for key, value in texts.items()}, str(got)[:500])
    check("metadata that is cut", [key for key, value in got.items() if not value[3]] == ["long"])
    check("metadata is shown", "  format = pt" in lines and "  esc = \\x1b[31mred\\nline" in lines
          and all("\x1b" not in line and len(line) < 200 for line in lines), lines[:12])
    for i, own in ((1, {}), (2, {"mine": "2"})):
        data = safetensors([(f"t{i}", "U8", (3,))], {"format": "pt", **own})[0]
        write(f"{folder}/meta/shards/m-0000{i}-of-00002.safetensors", data)
    model, lines = listed(f"{folder}/meta/shards")
    check("metadata of shards", [(pair["file"], pair["key"]) for pair in model["metadata"]] ==
          [(0, "format"), (1, "format"), (1, "mine")], model["metadata"])
    check("what all say is said once", lines[1] == "  format = pt" and lines[3] == "    mine = 2"
          and lines[2].endswith("m-00002-of-00002.safetensors:"), lines[:6])
    model, lines = listed(write(f"{folder}/meta/plain.bin", b"bytes"))
    check("plain bytes have no metadata", model["metadata"] == [], model)


# --- measuring -----------------------------------------------------------------------------------


TORCH = """
__version__ = "9.9"
uint8 = "bytes"
def zeros(count, device):
    assert device == "cpu"
class Bytes:
    def __init__(self, data):
        self.data = data
    def __getitem__(self, part):
        assert part.start <= part.stop <= len(self.data)
        return Bytes(self.data[part])
    def clone(self):
        with open(__file__ + ".cloned", "ab") as cloned:
            cloned.write(self.data)
def from_file(file, shared, size, dtype):
    data = open(file, "rb").read()
    assert not shared and size == len(data) and dtype == uint8
    return Bytes(data)
"""
LOAD_FILE = """
class Tensor:
    def clone(self):
        return self
def load_file(file, device):
    assert device == "cpu" and open(file, "rb").read(1)
    return {"t": Tensor()}
"""


def bench(name, path, torch, load_file):
    """The object bench, where Python has these modules and no others of their names."""
    home = f"{folder}/peer-{name}"
    write(f"{home}/torch.py", torch.encode())
    write(f"{home}/safetensors/torch.py", load_file.encode())
    done = subprocess.run([ferry, "load", "--device", "host", "--bench", "--json", *path],
                          env={**environment, "PYTHONPATH": home}, capture_output=True, text=True,
                          timeout=250)
    return json.loads(done.stdout)["files"][0]["bench"]


def check_bench():
    path = write(f"{folder}/bench/m.safetensors", safetensors(SAFE)[0])
    got = bench("good", [path], TORCH, LOAD_FILE)
    check("load_file is measured", got["load_file"] == got["torch"] == "torch 9.9 on cpu"
          and got["warm"]["load_file_seconds"] > 0 and got["warm"]["torch_seconds"] > 0
          and got["synthetic"] is False, got)
    with open(path, "rb") as file:
        data = file.read()
    with open(f"{folder}/peer-good/torch.py.cloned", "rb") as file:
        cloned = file.read()
    one = data[8 + struct.unpack("<Q", data[:8])[0]:]
    check("torch alone copies every byte", len(cloned) >= len(one)
          and len(cloned) % len(one) == 0 and cloned[:len(one)] == one, len(cloned))
    for name, torch, load_file, words in (
            ("absent", "raise ImportError('no torch of that kind')", LOAD_FILE,
             "ImportError: no torch of that kind"),
            ("missing", TORCH, "raise ImportError('no package')", "ImportError: no package"),
            ("failing", TORCH, "def load_file(file, device):\n    raise ValueError('bad\\x1b file')",
             "ValueError: bad\\x1b file"),
            ("ending", TORCH, "import os\ndef load_file(file, device):\n    os._exit(3)",
             "Python ended without saying why"),
            ("silent", "import os\nos._exit(0)", LOAD_FILE, "Python ended without saying why")):
        got = bench(name, [path], torch, load_file)
        check(f"load_file that is {name}", got["load_file"] == words
              and "load_file_seconds" not in got["warm"] and got["warm"]["load_seconds"] > 0, got)
        check(f"torch alone where load_file is {name}", ("torch_seconds" in got["warm"]) ==
              (name in ("failing", "missing")) and got["torch"] ==
              ("torch 9.9 on cpu" if name in ("failing", "missing") else words), got)
    got = bench("gguf", [write(f"{folder}/bench/m.gguf", gguf(GGUF)[0])], TORCH, LOAD_FILE)
    check("load_file is for safetensors", got["load_file"] == "the model is not in the safetensors format", got)
    done = subprocess.run([ferry, "load", "--device", "host", "--bench", "--json", path],
                          env={**environment, "PATH": folder}, capture_output=True, text=True,
                          timeout=250)
    got = json.loads(done.stdout)["files"][0]["bench"]
    check("there is no Python", got["load_file"] == got["torch"] == "there is no python3", got)
    environment["TMPDIR"] = f"{folder}/bench/made"
    os.makedirs(environment["TMPDIR"])
    got = bench("synthetic", ["--synthetic", "40M"], TORCH, LOAD_FILE)
    check("a synthetic model says so", got["synthetic"] is True, got)
    check("and is taken away", os.listdir(environment["TMPDIR"]) == [])
    del environment["TMPDIR"]


# --- files that are wrong ------------------------------------------------------------------------


def check_wrong(kind, table, suffix):
    for name, (data, words) in table.items():
        path = write(f"{folder}/wrong/{kind}{suffix}", data)
        done = load(path)
        check(f"{kind}, {name}", done.returncode == 3 and re.search(words, done.stderr)
              and "\x1b" not in done.stderr and done.stdout == "",
              f"exit {done.returncode}: {done.stderr}")
        for cut in (len(data) // 3, len(data) * 2 // 3) if len(data) > 40 else ():
            done = load(write(f"{folder}/wrong/{kind}{suffix}", data[:cut]))
            check(f"{kind}, {name}, first {cut} bytes", done.returncode == 3, done.stderr)


def check_wrong_shards():
    def refused(name, path, words):
        done = load(path)
        check(name, done.returncode == 3 and re.search(words, done.stderr),
              f"exit {done.returncode}: {done.stderr}")

    os.makedirs(f"{folder}/bad/nothing", exist_ok=True)
    refused("no model in a directory", f"{folder}/bad/nothing", "has neither safetensors nor GGUF")
    refused("no such file", f"{folder}/bad/none", "No such file")
    refused("a device", "/dev/null", "not a regular file")
    one = gguf(GGUF[:2])[0]
    refused("a part is missing", write(f"{folder}/bad/p/m-00001-of-00002.gguf", one),
            "m-00002-of-00002.gguf: No such file")
    refused("a part is missing in a directory", f"{folder}/bad/p", "1 of a model's 2 parts")
    write(f"{folder}/bad/p/m-00002-of-00002.gguf", one)
    refused("the same tensors in two parts", f"{folder}/bad/p", "two tensors")
    write(f"{folder}/bad/q/m-00001-of-00002.gguf", gguf(GGUF[:1], [
        pair("split.no", "u16", 0), pair("split.count", "u16", 3)])[0])
    write(f"{folder}/bad/q/m-00002-of-00002.gguf", gguf(GGUF[1:2])[0])
    refused("a part of another split", f"{folder}/bad/q", "is part 0 of 3")
    write(f"{folder}/bad/s/m-00001-of-00002.gguf", gguf(GGUF[:1], [
        pair("split.tensors.count", "i32", 7)])[0])
    write(f"{folder}/bad/s/m-00002-of-00002.gguf", gguf(GGUF[1:2])[0])
    refused("the parts lack tensors", f"{folder}/bad/s", "have 2 tensors, and it tells of 7")
    write(f"{folder}/bad/two/a.gguf", one)
    write(f"{folder}/bad/two/b.gguf", one)
    refused("two models", f"{folder}/bad/two", "holds 2 models")
    good = safetensors(SAFE[:2])[0]
    write(f"{folder}/bad/i/x.safetensors", good)
    index = f"{folder}/bad/i/m.safetensors.index.json"
    for name, weight_map, words in (
            ("no map", None, "no weight_map"), ("an empty map", {}, "no weight_map"),
            ("a file that is a number", {"embed": 1}, "in no file"),
            ("a file elsewhere", {"embed": "../right/model.safetensors"}, "in no file"),
            ("an absolute file", {"embed": "/etc/passwd"}, "in no file"),
            ("a hidden file", {"embed": ".."}, "in no file"),
            ("no such file", {"embed": "y.safetensors"}, "cannot open .*y.safetensors"),
            ("a tensor that is missing", {"embed": "x.safetensors", "zzz": "x.safetensors"},
             "tells of 2 tensors, its files hold 1")):
        write(index, json.dumps({"weight_map": weight_map}).encode())
        refused(f"index: {name}", index, words)
    for name, text, words in (
            ("two maps", b'{"weight_map":{"embed":"x.safetensors"},"weight_map":{}}',
             "weight_map is there twice"),
            ("a tensor twice", b'{"weight_map":{"embed":"x.safetensors","\\u0065mbed":"y"}}',
             'tells of tensor "embed" twice'),
            ("0 in a file's name", b'{"weight_map":{"embed":"x.safetensors\\u0000/../.."}}',
             "in no file"),
            ("0 in a tensor's name", b'{"weight_map":{"embed\\u0000":"x.safetensors"}}', "byte 0"),
            ("no JSON", b'{"weight_map":{"embed":}}', "wrong at byte 23: no value"),
            ("no end", b'{"weight_map":{"embed":"x.safetensors"}', "its end is missing")):
        write(index, text)
        refused(f"index: {name}", index, words)
    write(f"{folder}/bad/i/y.safetensors", safetensors(SAFE[2:3])[0])
    write(index, json.dumps({"weight_map": {"embed": "y.safetensors",
                                            "scalar": "x.safetensors"}}).encode())
    refused("index: the wrong file", index, "is to be in y.safetensors")


shutil.rmtree(folder, ignore_errors=True)
print("[==========] Running the tests of ferry load")
check_right_files()
check_plain_bytes()
check_metadata()
check_bench()
check_shards()
check_wrong("gguf", WRONG_GGUF, ".gguf")
check_wrong_shards()
check_wrong("safetensors", WRONG_SAFETENSORS, ".safetensors")
print(f"[  PASSED  ] {passed} test(s).")
if failed:
    print(f"[  FAILED  ] {len(failed)} test(s), listed below:", *failed, sep="\n  ")
sys.exit(bool(failed))
