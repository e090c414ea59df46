"""test_harden.py READELF CC FOLDER BUILD_TYPE --programs FILE... --libraries FILE...: each file has
every protection, and a program that is built without any lacks each of them: no check is blind."""

import argparse
import os
import re
import subprocess
import sys

arguments = argparse.ArgumentParser()
for name in ("readelf", "cc", "folder", "build_type"):
    arguments.add_argument(name)
arguments.add_argument("--programs", nargs="+")
arguments.add_argument("--libraries", nargs="+")
given = arguments.parse_args()
failed, passed = [], 0


def check(name, good, why=""):
    global passed
    if good:
        passed += 1
    else:
        failed.append(f"{name}: {why}")


def read(path, *options):
    return subprocess.run([given.readelf, "-W", *options, path], check=True, capture_output=True,
                          text=True, env={**os.environ, "LC_ALL": "C"}).stdout


class File:
    def __init__(self, path):
        self.header, self.segments = read(path, "-h"), read(path, "-l")
        self.dynamic = read(path, "-d")
        self.symbols = set(re.findall(r"UND (\w+)", read(path, "--dyn-syms")))
        self.machine = re.search(r"Machine:\s+(.*)", self.header)[1]
        with open(path, "rb") as file:
            self.bytes = file.read()


# Is it there? Each takes a File.
def is_relocated_read_only(file):
    return "GNU_RELRO" in file.segments and bool(
        re.search(r"\(FLAGS\).*BIND_NOW|\(FLAGS_1\).*\bNOW\b", file.dynamic))


def has_no_code_on_the_stack(file):
    stack = re.findall(r"^\s+GNU_STACK\s+(?:0x\w+\s+){5}(.{3})", file.segments, re.M)
    return len(stack) == 1 and "E" not in stack[0]


def writes_no_code(file):
    rights = re.findall(r"^\s+LOAD\s+(?:0x\w+\s+){5}(.{3})", file.segments, re.M)
    return len(rights) > 1 and not any("W" in one and "E" in one for one in rights) and (
        "TEXTREL" not in file.dynamic)


def is_anywhere(file):
    return "DYN" in re.search(r"Type:\s+(.*)", file.header)[1] and bool(
        re.search(r"\(FLAGS_1\).*\bPIE\b", file.dynamic))


def protects_the_stack(file):
    return "__stack_chk_fail" in file.symbols


def calls_checked_functions(file):
    return any(re.fullmatch(r"__\w+_chk", symbol) for symbol in file.symbols)


def checks_branches(file):
    """Functions begin with a place to land. (The file's mark is the linker's to give, and it gives it
    only where the C library's own beginnings have them, which Debian's have not.)"""
    landing = {"Advanced Micro Devices X86-64": b"\xf3\x0f\x1e\xfa",  # endbr64
               "AArch64": b"\x3f\x23\x03\xd5"}  # paciasp
    return file.machine not in landing or file.bytes.count(landing[file.machine]) > 20


EVERY = [is_relocated_read_only, has_no_code_on_the_stack, writes_no_code, protects_the_stack,
         checks_branches]
OPTIMISED = [calls_checked_functions] if given.build_type != "Debug" else []


def build(name, *options):
    source, path = os.path.join(given.folder, "program.c"), os.path.join(given.folder, name)
    with open(source, "w", encoding="utf-8") as file:
        file.write("#include <stdio.h>\n#include <string.h>\n"
                   "int main(int n, char **v) { char t[64]; strcpy(t, v[n - 1]); "
                   "snprintf(t, sizeof t, \"%s!\", v[0]); puts(t); return 0; }\n")
    subprocess.run([given.cc, source, "-o", path, *options], check=True, capture_output=True)
    return File(path)


print("[==========] Running the tests of the files' protections")
for path in given.programs + given.libraries:
    file = File(path)
    checks = EVERY + ([is_anywhere] if path in given.programs else [])
    # A small library may have no call that has a checked form.
    checks += OPTIMISED if path == given.libraries[0] or path in given.programs else []
    for one in checks:
        check(f"{os.path.basename(path)} {one.__name__}", one(file), path)
bare = build("bare", "-O2", "-U_FORTIFY_SOURCE", "-fno-stack-protector", "-fcf-protection=none"
             if os.uname().machine == "x86_64" else "-mbranch-protection=none", "-no-pie",
             "-Wl,-z,norelro,-z,lazy,-z,execstack")
bare.segments = bare.segments.replace("R E", "RWE")  # no linker makes it so any more
for one in EVERY + [is_anywhere, calls_checked_functions]:
    check(f"{one.__name__} sees what is without", not one(bare), "it let a bare program through")
print(f"[==========] {passed + len(failed)} test(s) run.")
print(f"[  PASSED  ] {passed} test(s).")
if failed:
    print(f"[  FAILED  ] {len(failed)} test(s), listed below:", *failed, sep="\n  ")
sys.exit(bool(failed))
