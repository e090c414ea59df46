#!/usr/bin/env python3
"""make_headers.py TRITON_API_FOLDER OUT: headers named as Triton's, that say what our lists say.

For trying the comparison with the real ones (check.c) where those are not there.
"""
import os
import re
import sys

source, out = sys.argv[1:]


def read(name):
    text = open(os.path.join(source, name)).read()
    return text[text.index("*/") + 2:]


types = re.findall(r"TRITON_TYPE\((\w+)\)", read("types.inc"))
enums = re.findall(r"TRITON_ENUM\((\w+)\)(.*?)TRITON_ENUM_END", read("enums.inc"), re.S)
call = re.compile(r"TRITON_(?:CALL|OPTIONAL)\((.*?), (TRITON\w+),\s*(\(.*?\))\)\n", re.S)
calls = [m for name in ("calls.inc", "host.inc", "backend.inc") for m in call.findall(read(name))]
own = open(os.path.join(source, "../triton_api.h")).read()
callbacks = own[own.index("typedef TRITONSERVER_Error *(*"):own.index("#define TRITON_CALL")]

os.makedirs(os.path.join(out, "triton/core"), exist_ok=True)
with open(os.path.join(out, "triton/core/tritonserver.h"), "w") as file:
    print("#pragma once\n#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n"
          "#define TRITONSERVER_API_VERSION_MAJOR 1", file=file)
    for name in types:
        print(f"struct {name};", file=file)
    for name, body in enums:
        values = ", ".join("%s = %s" % v for v in re.findall(r"TRITON_VALUE\((\w+), (\d+)\)", body))
        print(f"typedef enum {name.lower()}_enum {{ {values} }} {name};", file=file)
    print(callbacks, file=file)
    for returns, name, parameters in calls:
        print(f"{returns} {name}{parameters};", file=file)
with open(os.path.join(out, "triton/core/tritonbackend.h"), "w") as file:
    print('#pragma once\n#include "tritonserver.h"\n#define TRITONBACKEND_API_VERSION_MAJOR 1',
          file=file)
