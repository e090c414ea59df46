"""Closing lines in cmocka's form, which scripts/test_summary.awk counts."""


def pytest_terminal_summary(terminalreporter):
    counts = {word: len(terminalreporter.stats.get(word, [])) for word in
              ("passed", "failed", "error", "skipped")}
    terminalreporter.write_line("[==========] Running was pytest's part")
    for word, count in counts.items():
        if count > 0:
            name = "FAILED" if word == "error" else word.upper()
            terminalreporter.write_line(f"[  {name}  ] {count} test(s).")
