#!/usr/bin/env python3
"""macos_check.py ARCH FOLDER: looks at what was cross-built for macOS there.

Of each Mach-O file: its architecture, the oldest macOS it asks for, the libraries it loads; of the
library also its exports; of arm64 files also the signature, whose page hashes are computed anew.
"""
import hashlib
import re
import struct
import sys
from pathlib import Path

CPU = {"arm64": 0x0100000C, "x86_64": 0x01000007}
LC_SYMTAB, LC_LOAD_DYLIB, LC_ID_DYLIB, LC_CODE_SIGNATURE, LC_BUILD_VERSION = 2, 12, 13, 29, 50
SYSTEM = "/usr/lib/libSystem.B.dylib"
N_STAB, N_PEXT, N_TYPE, N_EXT, N_UNDF = 0xE0, 0x10, 0x0E, 0x01, 0x00


class MachO:
    def __init__(self, path):
        self.path = path
        self.bytes = path.read_bytes()
        magic, self.cpu, _, _, count, _, _, _ = struct.unpack_from("<8I", self.bytes, 0)
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

    def exports(self):
        at = self.find(LC_SYMTAB)[0]
        symbols, count, strings, _ = struct.unpack_from("<4I", self.bytes, at + 8)
        names = []
        for i in range(count):
            index, kind, _, _, _ = struct.unpack_from("<IBBHQ", self.bytes, symbols + 16 * i)
            external = kind & N_EXT and not kind & (N_STAB | N_PEXT)
            if external and kind & N_TYPE != N_UNDF:
                start = strings + index
                names.append(self.bytes[start:self.bytes.index(0, start)].decode())
        return names

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


def check(path, arch, others=None):
    """others: what it may load besides libSystem, a regular expression."""
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
    for words in wrong:
        print(f"macos-check: {path}: {words}", file=sys.stderr)
    return not wrong


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in CPU:
        raise SystemExit(__doc__)
    arch, folder = sys.argv[1], Path(sys.argv[2])
    good = [
        check((folder / "libferry.dylib").resolve(), arch),
        check(folder / "cli/ferry", arch, r"@rpath/libferry(_triton)?\.1\.dylib"),
        check(folder / "tests/suite/suite", arch, r"@rpath/libcmocka\.0\.dylib"),
    ]
    if not all(good):
        raise SystemExit(1)
    print(f"macos-check: {arch}: the library, the command and the suite are right")


main()
