"""docs/drivers.md shows all of drivers/template/device.c, in order, but for its first comment."""
import os
import re
import sys


def main(root):
    with open(os.path.join(root, "docs/drivers.md"), encoding="utf-8") as file:
        page = file.read()
    with open(os.path.join(root, "drivers/template/device.c"), encoding="utf-8") as file:
        driver = file.read()
    blocks = re.findall(r"<!-- drivers/template/device\.c -->\n```c\n(.*?)^```$", page, re.M | re.S)
    shown, real = "\n".join(blocks), driver[driver.index("#include"):]
    if shown == real:
        return 0
    for number, (ours, theirs) in enumerate(zip(shown.splitlines(), real.splitlines())):
        if ours != theirs:
            print(f"line {number + 1} of what the page shows is {ours!r}, the driver has {theirs!r}")
            return 1
    print(f"the page shows {len(shown.splitlines())} lines of {len(real.splitlines())}")
    return 1


sys.exit(main(sys.argv[1]))
