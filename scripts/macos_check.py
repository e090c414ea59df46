#!/usr/bin/env python3
"""macos_check.py ARCH FOLDER: looks at what was cross-built for macOS there.

Of each Mach-O file: its architecture, the oldest macOS it asks for, the libraries it loads, the
compiler's and the linker's protections; of the library also its exports; of arm64 files also the
signature, whose page hashes are computed anew. Each check of a protection is then tried on the same
file with that protection taken away: no check is blind.
"""
import hashlib
import re
import struct
import sys
from pathlib import Path

CPU = {"arm64": 0x0100000C, "x86_64": 0x01000007}
LC_SEGMENT_64 = 0x19
LC_SYMTAB, LC_LOAD_DYLIB, LC_ID_DYLIB, LC_CODE_SIGNATURE, LC_BUILD_VERSION = 2, 12, 13, 29, 50
SYSTEM = "/usr/lib/libSystem.B.dylib"
MH_EXECUTE, MH_ALLOW_STACK_EXECUTION, MH_PIE = 2, 0x20000, 0x200000
VM_WRITE, VM_EXECUTE = 2, 4
N_STAB, N_PEXT, N_TYPE, N_EXT, N_UNDF = 0xE0, 0x10, 0x0E, 0x01, 0x00


class MachO:
    def __init__(self, path, data=None):
        self.path = path
        self.bytes = path.read_bytes() if data is None else data
        magic, self.cpu, _, self.kind, count, _, self.flags, _ = struct.unpack_from(
            "<8I", self.bytes, 0)
        if magic != 0xFEEDFACF:
            raise SystemExit(f"{path}: no 64-bit Mach-O file")
        self.commands, at = [], 32
        for _ in range(count):
            command, size = struct.unpack_from("<2I", self.bytes, at)
            self.commands.append((command & 0x7FFFFFFF, at, size))
            at += size

    def find(self, wanted):
        return [at for command, at, _ in self.commands if command == wanted]

    def dylibs(self):
        names = []
        for at in self.find(LC_LOAD_DYLIB):
            start = at + struct.unpack_from("<I", self.bytes, at + 8)[0]
            names.append(self.bytes[start:self.bytes.index(0, start)].decode())
        return names

    def symbols(self, defined):
        """The names that it gives to others, or (not defined) that it wants of them."""
        at = self.find(LC_SYMTAB)[0]
        symbols, count, strings, _ = struct.unpack_from("<4I", self.bytes, at + 8)
        names = []
        for i in range(count):
            index, kind, _, _, _ = struct.unpack_from("<IBBHQ", self.bytes, symbols + 16 * i)
            external = kind & N_EXT and not kind & (N_STAB | N_PEXT)
            if external and (kind & N_TYPE != N_UNDF) == defined:
                start = strings + index
                names.append(self.bytes[start:self.bytes.index(0, start)].decode())
        return names

    def exports(self):
        return self.symbols(True)

    def segments(self):
        """(name, what its pages may become, what they begin as, where these two are written)"""
        for at in self.find(LC_SEGMENT_64):
            name = self.bytes[at + 8:at + 24].rstrip(b"\0").decode()
            most, first = struct.unpack_from("<2I", self.bytes, at + 56)
            yield name, most, first, at + 56

    def check_signature(self):
        """Every page hash of the code directory is the page's own."""
        at = self.find(LC_CODE_SIGNATURE)
        if not at:
            return "it is not signed"
        offset = struct.unpack_from("<I", self.bytes, at[0] + 8)[0]
        _, _, blobs = struct.unpack_from(">3I", self.bytes, offset)
        for i in range(blobs):
            kind, where = struct.unpack_from(">2I", self.bytes, offset + 12 + 8 * i)
            if kind == 0:
                return self.check_pages(offset + where)
        return "its signature has no code directory"

    def check_pages(self, at):
        hashes, = struct.unpack_from(">I", self.bytes, at + 16)
        slots, limit = struct.unpack_from(">2I", self.bytes, at + 28)
        hash_size, hash_type, _, page_log2 = struct.unpack_from("4B", self.bytes, at + 36)
        if (hash_size, hash_type) != (32, 2):
            return f"its hashes are of type {hash_type}"
        for i in range(slots):
            page = self.bytes[i << page_log2:min((i + 1) << page_log2, limit)]
            start = at + hashes + hash_size * i
            if hashlib.sha256(page).digest() != self.bytes[start:start + hash_size]:
                return f"the hash of page {i} is wrong"
        return None


# --- protections: what is wrong, or None ------------------------------------------------------------
# Of a 64-bit process the heap is never executed, whatever a file says; arm64's branch targets are
# for another architecture, arm64e, which only the system's own programs have.

def protects_the_stack(file):
    return None if "___stack_chk_fail" in file.symbols(False) else "nothing guards its stack"


def calls_checked_functions(file):
    checked = any(re.fullmatch(r"___\w+_chk", name) for name in file.symbols(False))
    return None if checked else "it calls no checked function of the C library"


def is_anywhere(file):
    good = file.kind != MH_EXECUTE or file.flags & MH_PIE
    return None if good else "it is loaded at one address"


def has_no_code_on_the_stack(file):
    return "its stack may be executed" if file.flags & MH_ALLOW_STACK_EXECUTION else None


def writes_no_code(file):
    both = [name for name, most, first, _ in file.segments()
            if first & VM_WRITE and first & VM_EXECUTE
            or name == "__TEXT" and (most | first) & VM_WRITE]
    return f"{both[0]} can be written and executed" if both else None


def with_flags(on, off):
    def take(file):
        return struct.pack("<I", file.flags & ~off | on), 24
    return take


def renamed(pattern):
    """Another name in the string table, of the same length."""
    def take(file):
        at = file.find(LC_SYMTAB)[0]
        _, _, strings, size = struct.unpack_from("<4I", file.bytes, at + 8)
        table = file.bytes[strings:strings + size]
        return re.sub(pattern, lambda name: b"x" * len(name[0]), table), strings
    return take


def written_text(file):
    at = next(at for name, _, _, at in file.segments() if name == "__TEXT")
    return struct.pack("<2I", 7, 7), at


# Each with what takes it away: the bytes, and where they go.
PROTECTIONS = [
    (protects_the_stack, renamed(rb"___stack_chk_fail")),
    (calls_checked_functions, renamed(rb"___\w+_chk\b")),
    (is_anywhere, with_flags(0, MH_PIE)),
    (has_no_code_on_the_stack, with_flags(MH_ALLOW_STACK_EXECUTION, 0)),
    (writes_no_code, written_text),
]


def check_protections(file):
    wrong = [protection(file) for protection, _ in PROTECTIONS]
    for protection, take in PROTECTIONS:
        if protection is is_anywhere and file.kind != MH_EXECUTE:
            continue
        data, at = take(file)
        bare = MachO(file.path, file.bytes[:at] + data + file.bytes[at + len(data):])
        if not protection(bare):
            wrong.append(f"{protection.__name__} is blind")
    return [words for words in wrong if words]


# --- the whole --------------------------------------------------------------------------------------

def check(path, arch, others=None, protected=True):
    """others: what it may load besides libSystem, a regular expression. protected: it is shipped."""
    file, wrong = MachO(path), []
    if file.cpu != CPU[arch]:
        wrong.append(f"its CPU is 0x{file.cpu:x}, not that of {arch}")
    platform, oldest = struct.unpack_from("<2I", file.bytes, file.find(LC_BUILD_VERSION)[0] + 8)
    if (platform, oldest) != (1, 13 << 16):
        wrong.append(f"it is for platform {platform}, version 0x{oldest:x}")
    loads = file.dylibs()
    strangers = [n for n in loads if n != SYSTEM and not (others and re.fullmatch(others, n))]
    if strangers or SYSTEM not in loads:
        wrong.append(f"it loads {loads}")
    if arch == "arm64" and file.check_signature():
        wrong.append(file.check_signature())
    if file.find(LC_ID_DYLIB):
        strangers = [n for n in file.exports() if not re.fullmatch("_ferry_[a-z0-9][a-z0-9_]*", n)]
        if strangers or len(file.exports()) < 40:
            wrong.append(f"it exports {len(file.exports())} names, and {strangers[:5]}")
    if protected:
        wrong += check_protections(file)
    for words in wrong:
        print(f"macos-check: {path}: {words}", file=sys.stderr)
    return not wrong


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in CPU:
        raise SystemExit(__doc__)
    arch, folder = sys.argv[1], Path(sys.argv[2])
    good = [
        check((folder / "libferry.dylib").resolve(), arch),
        check(folder / "cli/ferry", arch, r"@rpath/libferry(_triton|_wire)?\.1\.dylib"),
        check(folder / "tests/suite/suite", arch, r"@rpath/libcmocka\.0\.dylib", False),
    ]
    if not all(good):
        raise SystemExit(1)
    print(f"macos-check: {arch}: the library, the command and the suite are right")


main()
