"""Devices for the tests; closing lines in cmocka's form, which scripts/test_summary.awk counts."""

import os

import ferry
import pytest


@pytest.fixture
def device():
    with ferry.Device() as device:
        yield device


@pytest.fixture
def slow():
    """A host device whose copies take long enough to be seen in flight: a second a submission."""
    os.environ["FERRY_HOST"] = "delay_us=1000000"
    try:
        device = ferry.Device("host", map_private="never")
    finally:
        del os.environ["FERRY_HOST"]
    with device:
        yield device


def pytest_terminal_summary(terminalreporter):
    counts = {word: len(terminalreporter.stats.get(word, [])) for word in
              ("passed", "failed", "error", "skipped")}
    terminalreporter.write_line("[==========] Running was pytest's part")
    for word, count in counts.items():
        if count > 0:
            name = "FAILED" if word == "error" else word.upper()
            terminalreporter.write_line(f"[  {name}  ] {count} test(s).")
