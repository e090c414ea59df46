"""The module beside the C library and in the process: FERRY_SOURCE is the source tree."""

import ctypes
import doctest
import os
import re
import subprocess
import sys

import pytest

import ferry
from ferry import _library

# --- what mirrors the C library ------------------------------------------------------------------


def read_source(path):
    with open(os.path.join(os.environ["FERRY_SOURCE"], path)) as file:
        return file.read()


def test_structures_have_the_sizes_of_the_abi():
    sizes = dict(re.findall(r"ABI_SIZE\((?:struct )?(\w+), (\d+)\)",
                            read_source("tests/unit/abi.inc")))
    mirrored = {
        "ferry_device_params": _library.DeviceParams,
        "ferry_device_info": _library.DeviceInfoStruct,
        "ferry_memory_info": _library.MemoryInfo,
        "ferry_buffer_params": _library.BufferParams,
    }
    for name, struct in mirrored.items():
        assert ctypes.sizeof(struct) == int(sizes[name]), name
    assert int(sizes["ferry_stats"]) <= ferry._objects._STATS_BYTES


def test_statuses_are_those_of_the_list():
    listed = re.findall(r"FERRY_STATUS\((\d+), (?:ERROR_)?(\w+),",
                        read_source("include/ferry/status.inc"))
    assert {(s.value, s.name) for s in ferry.Status} == {(int(v), n) for v, n in listed}


def test_version_is_that_of_the_header():
    header = read_source("include/ferry/ferry.h")
    numbers = [int(re.search(rf"FERRY_VERSION_{part} (\d+)", header)[1])
               for part in ("MAJOR", "MINOR", "PATCH")]
    assert tuple(numbers[:2]) == _library.VERSION
    project = read_source("bindings/python/pyproject.toml")
    assert f'version = "{numbers[0]}.{numbers[1]}.{numbers[2]}"' in project


def test_documentation_examples_run():
    assert doctest.testmod(ferry).failed == 0
    assert doctest.testmod(ferry).attempted > 5
    for name in ferry.__all__:
        assert getattr(ferry, name).__doc__, name


def test_snippets_of_the_documentation_run(tmp_path):
    pytest.importorskip("numpy")
    pages = ["README.md"] + [f"docs/{name}" for name in os.listdir(
        os.path.join(os.environ["FERRY_SOURCE"], "docs")) if name.endswith(".md")]
    snippets = [snippet for page in pages for snippet in
                re.findall(r"^```python\n(.*?)^```", read_source(page), re.M | re.S)]
    assert len(snippets) >= 2
    for snippet in snippets:
        # Others run them at the same time: each has its own files.
        done = run_python(snippet.replace('"/tmp/', f'"{tmp_path}/'))
        assert (done.returncode, done.stderr) == (0, "")


# --- the process ---------------------------------------------------------------------------------


def run_python(code, **environment):
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment},
                          cwd="/", capture_output=True, text=True, timeout=120)


def test_exit_with_work_in_flight():
    done = run_python("import ferry; d = ferry.Device('host', map_private='never')\n"
                      "b = d.buffer(1 << 20); t = b.copy_from_host_async(bytes(1 << 20))",
                      FERRY_HOST="delay_us=100000")
    assert (done.returncode, done.stderr) == (0, "")


def test_exit_with_an_exported_tensor():
    done = run_python("import ferry, numpy; d = ferry.Device('host')\n"
                      "a = numpy.from_dlpack(d.buffer(100, shared=True, zeroed=True))\n"
                      "import atexit; atexit.register(lambda: print(a.sum()))")
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_fork():
    done = run_python("import ferry, os, sys; d = ferry.Device('host'); b = d.upload(b'1')\n"
                      "if os.fork() == 0:\n"
                      "    try: b.read(); sys.exit(1)\n"
                      "    except ferry.Error as e: sys.exit(e.status != e.status.DEVICE_LOST)\n"
                      "sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))")
    assert (done.returncode, done.stderr) == (0, "")


def test_library_is_looked_for():
    done = run_python("import ferry", FERRY_LIBRARY="/no/such/library.so")
    assert done.returncode != 0 and "FERRY_LIBRARY" in done.stderr
    libc = ctypes.util.find_library("c")
    done = run_python("import ferry", FERRY_LIBRARY=libc)
    assert done.returncode != 0 and "not a libferry" in done.stderr


def test_library_beside_the_module(tmp_path):
    package = tmp_path / "ferry"
    package.mkdir()
    for name in os.listdir(os.path.dirname(ferry.__file__)):
        if name.endswith(".py"):
            (package / name).symlink_to(os.path.join(os.path.dirname(ferry.__file__), name))
    suffix = "libferry.dylib" if sys.platform == "darwin" else "libferry.so"
    (package / suffix).symlink_to(os.environ["FERRY_LIBRARY"])
    done = run_python("import ferry; print(ferry._library.lib._name)", PYTHONPATH=str(tmp_path),
                      FERRY_LIBRARY="")
    assert done.stdout.strip() == str(package / suffix), done.stderr
