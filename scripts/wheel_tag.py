"""wheel_tag.py LIBRARY...: prints the lowest manylinux tag that is true of all of them, from the
versions of glibc's symbols that they use and the libraries that they need (readelf). They may need
each other. Ends with 1, and says why, where one needs a library that such a system need not have."""

import os
import platform
import re
import subprocess
import sys

# Of glibc itself and of GCC: what every manylinux system has.
ALLOWED = re.compile(r"(libc|libm|libdl|librt|libpthread|libgcc_s|ld-linux[\w-]*)\.so\.\d+")


def read(library, option):
    done = subprocess.run(["readelf", "--wide", option, library], capture_output=True, text=True,
                          check=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin:/usr/local/bin"})
    return done.stdout


def needed(dynamic):
    """The libraries of the dynamic section, as readelf -d prints it."""
    return re.findall(r"\(NEEDED\)\s+Shared library: \[([^\]]+)\]", dynamic)


def newest_glibc(versions):
    """(2, 34), of the version needs that readelf -V prints."""
    part = versions.partition("Version needs section")[2]
    found = [tuple(map(int, text.split("."))) for text in
             re.findall(r"Name: GLIBC_(\d+(?:\.\d+)+)", part)]
    return max(found, default=(2, 5))[:2]


def tag(libraries):
    beside = {os.path.basename(library) for library in libraries}
    for library in libraries:
        foreign = [name for name in needed(read(library, "-d"))
                   if name not in beside and not ALLOWED.fullmatch(name)]
        if foreign:
            raise SystemExit(f"wheel_tag: {library} needs {', '.join(foreign)}, which a system need "
                             "not have")
    # Below 2.5 there is no tag, and nothing of today runs there.
    major, minor = max([(2, 5)] + [newest_glibc(read(library, "-V")) for library in libraries])
    return f"manylinux_{major}_{minor}_{platform.machine()}"


if __name__ == "__main__":
    print(tag(sys.argv[1:]))
