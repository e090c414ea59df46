"""test_rooms.py SOURCE [OBJECTS NM]: the tree is as CONTRIBUTING.md draws it, and each check finds a
fault that is planted for it. Without OBJECTS, the folder of the library's objects, only what the
sources tell. Prints cmocka's closing lines, which scripts/test_summary.awk counts."""

import sys

import rooms


def include(name, path):
    """A fault: a file that includes one more."""
    return lambda house: {"planted": {path: f'#include "{name}"\n' + house.read(path)}}


def text(path, old, new):
    def plant(house):
        assert old in house.read(path), f"{path} has no {old!r} any more: plant another fault"
        return {"planted": {path: house.read(path).replace(old, new, 1)}}
    return plant


def needs(path, name):
    """An object that needs one symbol more."""
    return lambda house: {"planted_nm": {path: f"                 U {name}\n"}}


FAULTS = [
    ("drawing", text("CONTRIBUTING.md", "src/paths/ ", "src/ways/ ")),
    ("drawing", text("CONTRIBUTING.md", "## The rooms of src/", "## Rooms")),
    ("downwards", include("engine/op.h", "src/base/clock.h")),
    ("downwards", include("api/transfer.h", "src/paths/plan.c")),
    ("downwards", include("driver.h", "src/trace/event.h")),
    ("defined_below", needs("src/base/clock.c.o", "ferry_device_open")),
    ("defined_below", needs("src/memory/pool.c.o", "ferry__kick")),
    ("no_circle", include("engine/op.h", "src/memory/staging.h")),
    ("beside", include("engine/op.h", "drivers/host/event.c")),
    ("beside", include("base/log.h", "cli/main.c")),
    ("beside", include("base/log.h", "common/show.c")),
    ("beside", include("models/models.h", "common/env.h")),
    ("lengths", lambda house: {"planted": {"src/base/clock.h": "\n" * 201}}),
    ("lengths", lambda house: {"planted": {"src/base/clock.c": "\n" * 601}}),
    ("lengths", lambda house: {"planted": {
        "src/base/clock.c": "int f(void)\n{\n" + "    f();\n" * 60 + "}\n"}}),
]


def run(name, complaints):
    print(f"[ {'FAILED ' if complaints else '      OK'} ] {name}")
    for complaint in complaints:
        print(f"    {complaint}")
    return not complaints


def main():
    arguments = sys.argv[1:4]
    house = rooms.House(*arguments)
    checks = [check for check in rooms.ALL
              if len(arguments) == 3 or check is not rooms.defined_below]
    names = {check.__name__ for check in checks}
    print("[==========] Running the tree's tests")
    before = {check.__name__: check(house) for check in checks}
    results = [run(name, complaints) for name, complaints in before.items()]
    for number, (name, plant) in enumerate(FAULTS):
        if name not in names:
            continue
        after = getattr(rooms, name)(rooms.House(*arguments, **plant(house)))
        results.append(run(f"fault {number}, for {name}",
                           [] if set(after) - set(before[name]) else ["it was let through"]))
    results.append(run("every check has a fault", sorted(names - {name for name, _ in FAULTS})))
    print(f"[==========] {len(results)} test(s) run.")
    print(f"[  PASSED  ] {sum(results)} test(s).")
    if not all(results):
        print(f"[  FAILED  ] {len(results) - sum(results)} test(s).")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
