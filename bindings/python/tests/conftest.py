"""Devices for the tests; closing lines in cmocka's form, which scripts/test_summary.awk counts."""

import contextlib
import ctypes
import os

import ferry
import pytest
from ferry._dlpack import _External, _Use
from ferry._library import check, lib


@pytest.fixture
def device():
    with ferry.Device() as device:
        yield device


@pytest.fixture
def slow():
    """A host device that takes a second a submission: long, but nothing may depend on how long."""
    os.environ["FERRY_HOST"] = "delay_us=1000000"
    try:
        device = ferry.Device("host", map_private="never")
    finally:
        del os.environ["FERRY_HOST"]
    with device:
        yield device


@pytest.fixture
def held():
    """A host device, and hold(buffer): while that is entered, somebody else's work writes the buffer,
    and what comes later stays in flight, however busy the machine."""
    @contextlib.contextmanager
    def hold(buffer, offset=0, size=0):
        use, work = _Use(access=2, offset=offset, size=size), _External()
        with device._handle.use() as owner, buffer._handle.use() as handle:
            use.buffer = handle
            check(lib.ferry_external_begin(owner, ctypes.byref(use),
                                           ctypes.c_size_t(1), ctypes.byref(work)))
            try:
                yield
            finally:
                check(lib.ferry_external_end(owner, ctypes.c_uint64(work.ticket),
                                             ctypes.c_int(0)))

    with ferry.Device("host", map_private="never") as device:
        yield device, hold


def pytest_terminal_summary(terminalreporter):
    counts = {word: len(terminalreporter.stats.get(word, [])) for word in
              ("passed", "failed", "error", "skipped")}
    terminalreporter.write_line("[==========] Running was pytest's part")
    for word, count in counts.items():
        if count > 0:
            name = "FAILED" if word == "error" else word.upper()
            terminalreporter.write_line(f"[  {name}  ] {count} test(s).")
