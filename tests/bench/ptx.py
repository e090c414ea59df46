#!/usr/bin/env python3
"""ptx.py PTXAS SOURCE: assembles the PTX in a C file, for the oldest and the newest machine that the
assembler knows."""
import ast
import re
import subprocess
import sys
import tempfile

ptxas, source = sys.argv[1:]
with open(source) as file:
    literals = re.search(r"ptx\[\] =(.*?);\n\n", file.read(), re.S).group(1)
text = "".join(ast.literal_eval(part) for part in re.findall(r'"(?:[^"\\]|\\.)*"', literals))


def assemble(ptx, machine):
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        return subprocess.run([ptxas, "-arch", machine, "-o", "/dev/null", file.name],
                              capture_output=True, text=True)


named = subprocess.run([ptxas, "--help"], capture_output=True, text=True).stdout
empty = ".version 7.0\n.target sm_52\n.address_size 64\n"
machines = [m for m in sorted(set(re.findall(r"sm_\d+", named)), key=lambda m: int(m[3:]))
            if assemble(empty, m).returncode == 0]
for machine in (machines[0], machines[-1]):
    result = assemble(text, machine)
    if result.returncode:
        sys.exit(f"{machine}: {result.stderr or result.stdout}")
    print(f"assembled for {machine}")
