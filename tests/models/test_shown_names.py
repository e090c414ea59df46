"""test_shown_names.py FERRY DIRECTORY: names that forge lines, command terminals or turn what is read, in
models, in their files' names and on the command line. Whatever ferry prints of them, and in whatever
form, holds none of that raw."""

import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from writer import describe, gguf, raw_gguf, raw_safetensors, safetensors, write  # noqa: E402

ferry, folder = sys.argv[1], sys.argv[2]
failed, passed = [], 0

# Each class of what must not come out, and how a name of it is shown.
FORGED = {
    "line feed": ("x\n  every byte as in the file", r"x\n  every"),
    "carriage return": ("x\rok", r"x\x0dok"),
    "escape": ("x\x1b[2J\x1b]0;title\x07", r"x\x1b[2J\x1b]0;title\x07"),
    "backspace": ("bad\b\b\bgood", r"bad\x08\x08\x08good"),
    "DEL": ("x\x7fy", r"x\x7fy"),
    "C1": ("x\x9b2Jy\x85z", r"x\u009b2Jy\u0085z"),
    "override": ("x\u202egpj.exe", r"x\u202egpj.exe"),
    "isolate": ("x\u2066y\u2069", r"x\u2066y\u2069"),
    "mark": ("x\u200fy\u061cz", r"x\u200fy\u061cz"),
    "line separator": ("x\u2028y", r"x\u2028y"),
    "tag": ("x\U000e0041y", r"x\U000e0041y"),
    "byte order mark": ("x\ufeffy", r"x\ufeffy"),
}
# In names of files and in GGUF also what is not UTF-8.
BYTES = {
    "a lone byte": (b"x\xff\xfey", rb"x\xff\xfey"),
    "an overlong escape": (b"x\xc0\x9b2J", rb"x\xc0\x9b2J"),
    "a raw C1": (b"x\x9b2J", rb"x\x9b2J"),
    "a surrogate": (b"x\xed\xa0\x80y", rb"x\xed\xa0\x80y"),
}
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff"
                 "\U000e0000-\U000e007f]")


def check(name, good, why=""):
    global passed
    if good:
        passed += 1
    else:
        failed.append(f"{name}: {why!r}")


def run(*arguments):
    # The host's device: looking for others takes time, and changes nothing here.
    return subprocess.run([ferry, *arguments], env={**os.environ, "FERRY_DEVICE": "host"},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)


def look(name, done, lines, shown):
    """Nothing raw on either stream, no line more than there should be, and the name as it is shown."""
    for stream in (done.stdout, done.stderr):
        try:
            text = stream.decode()
        except UnicodeDecodeError as error:
            check(name, False, f"{error}: {stream!r}")
            continue
        check(name, not RAW.search(text), text)
    check(f"{name}: lines", len(done.stdout.splitlines()) + len(done.stderr.splitlines()) == lines,
          (done.stdout, done.stderr))
    check(f"{name}: shown", shown in done.stdout + done.stderr, (shown, done.stdout, done.stderr))


def in_models(name, forged, shown):
    """A tensor of this name: in a table, in JSON, and in the reason why it is refused."""
    data = gguf([(forged, "I8", (1,))])[0]
    path = write(f"{folder}/m.gguf", data)
    look(f"{name}, table", run("load", path), 6, shown)
    wrong = raw_gguf(descriptions=[describe(forged, (4,), 4, 0)], data=b"1234")
    look(f"{name}, refused", run("load", write(f"{folder}/w.gguf", wrong)), 1, shown)


def in_json(name, forged, shown):
    data = safetensors([(forged, "U8", (1,))])[0]
    path = write(f"{folder}/m.safetensors", data)
    look(f"{name}, safetensors", run("load", path), 6, shown)
    done = run("load", "--json", path)
    check(f"{name}, JSON", not RAW.search(done.stdout.decode()), done.stdout)
    tensors = json.loads(done.stdout)["files"][0]["tensors"]
    check(f"{name}, JSON says it", [tensor["name"] for tensor in tensors] == [forged], tensors)
    wrong = raw_safetensors({forged: {"dtype": forged, "shape": [1], "data_offsets": [0, 1]}}, b"1")
    done = run("load", write(f"{folder}/w.safetensors", wrong))
    look(f"{name}, dtype", done, 1, shown)
    done = run("load", "--json", f"{folder}/w.safetensors")
    check(f"{name}, error in JSON", not RAW.search((done.stdout + done.stderr).decode()), done)
    json.loads(done.stdout)
    wrong = raw_safetensors({"__metadata__": {forged: 1}})
    look(f"{name}, metadata", run("load", write(f"{folder}/w.safetensors", wrong)), 1, shown)
    index = {"weight_map": {forged: "/x"}}
    path = write(f"{folder}/i.safetensors.index.json", json.dumps(index).encode())
    look(f"{name}, index", run("load", path), 1, shown)
    index = {"weight_map": {"a": forged}}
    path = write(f"{folder}/i.safetensors.index.json", json.dumps(index).encode())
    look(f"{name}, a file that is missing", run("load", path), 1, shown)


def in_paths(name, forged, shown):
    """A file, a directory and an option's value of this name."""
    here = os.path.join(folder.encode(), b"files")
    shutil.rmtree(here, ignore_errors=True)
    os.makedirs(here)
    path = os.path.join(here, forged)
    with open(path, "wb") as file:
        file.write(b"bytes")
    look(f"{name}, a file", run("load", path), 4, shown)
    if name in ("line feed", "a raw C1"):  # it also measures, which takes a second
        done = run("transfer", "--device", "host", path)
        check(f"{name}, transfer", shown in done.stdout and not RAW.search(done.stdout.decode()),
              done)
    look(f"{name}, no such file", run("load", path + b".gguf"), 1, shown)
    look(f"{name}, nothing to transfer", run("transfer", "--quiet", path + b"-"), 1, shown)
    os.rename(path, path + b".gguf")
    look(f"{name}, a wrong file", run("load", path + b".gguf"), 1, shown)
    with open(path + b"2.gguf", "wb"):
        pass
    look(f"{name}, two models", run("load", here), 1, shown)
    os.mkdir(path)
    look(f"{name}, an empty directory", run("load", path), 1, shown)
    look(f"{name}, a device", run("load", "--device", forged, "x"), 1, shown)
    look(f"{name}, a command", run(forged), 1, shown)


print("[==========] Running the tests of names")
for name, (forged, shown) in FORGED.items():
    in_models(name, forged, shown.encode())
    in_json(name, forged, shown.encode())
    in_paths(name, forged.encode(), shown.encode())
for name, (forged, shown) in BYTES.items():
    in_models(name, forged, shown)
    in_paths(name, forged, shown)
print(f"[  PASSED  ] {passed} test(s).")
if failed:
    print(f"[  FAILED  ] {len(failed)} test(s), listed below:", *failed, sep="\n  ")
sys.exit(bool(failed))
