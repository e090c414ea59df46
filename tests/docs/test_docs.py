"""test_docs.py SOURCE FERRY LIBRARY CC CXX: pages say what is so, as far as a program can tell; and
each check finds a fault that is planted for it. Prints cmocka's closing lines, which
scripts/test_summary.awk counts."""

import sys

import checks
from tree import Tree

# (check, file, what stands there, what stands there in its place): the check must complain.
FAULTS = [
    ("links", "README.md", "](docs/order.md)", "](docs/ordre.md)"),
    ("links", "docs/python.md", "[dlpack.md](dlpack.md)", "[dlpack.md](dlpack.md#nowhere)"),
    ("links", "README.md", "[ownership](docs/ownership.md)", "ownership"),
    ("quotes", "README.md", "    ferry_device *device = NULL;\n", "    ferry_device *device;\n"),
    ("quotes", "examples/batch.c", "sizeof blank);", "sizeof *blank);"),
    ("snippets", "docs/metal.md", "ferry_external_begin(device", "ferry_external_start(device"),
    ("snippets", "docs/cpp.md", "buffer->CopyToHost(", "buffer->CopyHome("),
    ("snippets", "README.md", "```sh\n", "```sh\nif then\n"),
    ("snippets", "README.md", "```sh\n", "```\n"),
    ("snippets", "README.md", "```sh\n", "```fortran\n"),
    ("commands", "README.md", "`ferry verify`", "`ferry prove`"),
    ("commands", "docs/benchmarks.md", "ferry bench --quick", "ferry bench --quickly"),
    ("commands", "README.md", "make run ", "make runs "),
    ("commands", "README.md", "--preset release", "--preset optimal"),
    ("commands", "README.md", "-DFERRY_DRIVER_HOST=OFF", "-DFERRY_DRIVER_HOSTS=OFF"),
    ("words", "docs/order.md", "`ferry_wait_idle`", "`ferry_wait_lazy`"),
    ("words", "docs/seed.md", "`ferry_batch_...`", "`ferry_bunch_...`"),
    ("paths", "docs/models.md", "`tests/fuzz/`", "`tests/fizz/`"),
    ("statuses", "docs/errors.md", "| `TIMEOUT` |", "| `TIMED_OUT` |"),
    ("statuses", "include/ferry/status.inc", "ERROR_TIMEOUT", "ERROR_LATE"),
    ("metrics", "docs/metrics.md", "Batches submitted", "Batches seen"),
    ("metrics", "include/ferry/stats.inc", "Batches submitted", "Batches seen"),
    ("environment", "man/ferry-environment.7", ".It Ev FERRY_PATH", ".It Ev FERRY_WAY"),
    ("environment", "docs/environment.md", "`pipelined`", "`piped`"),
    ("environment", "include/ferry/environment.inc", "auto blit", "automatic blit"),
    ("environment", "src/api/device.c", '"FERRY_PATH"', '"FERRY_WAY"'),
    ("secure", "drivers/vulkan/loader.c", "ferry__env(", "getenv("),
    ("secure", "triton/device.c", "ferry__env(", "secure_getenv("),
    ("knobs", "docs/host-driver.md", "| `no_map` |", "| `no_maps` |"),
    ("knobs", "drivers/host/knobs.c", '{"no_map"', '{"mapless"'),
    ("folders", "CONTRIBUTING.md", "| `drivers/` |", "| `driver/` |"),
    ("folders", "scripts/setup.sh", " cmake ", " cmake scons "),
    ("rules", "docs/engine.md", "- **R9 Failure.**", "- **R99 Failure.**"),
    ("locks", "docs/engine.md", "(`src/memory/pool.h`)", "(`src/memory/pond.h`)"),
    ("locks", "src/base/range.h", "static inline", "static pthread_mutex_t all;\nstatic inline"),
    ("global_state", "src/base/text.c", "\n\n", "\n\nstatic const char *last;\n\n"),
    ("global_state", "docs/engine.md", "`src/base/alloc.c`", "the allocator"),
    ("promises", "include/ferry/ferry.h", "writes have covered it", "a write has covered it"),
    ("messages", "docs/errors.md", "size 4097 at offset", "4097 bytes at offset"),
]


def run(name, complaints):
    print(f"[ {'FAILED ' if complaints else '      OK'} ] {name}")
    for complaint in complaints:
        print(f"    {complaint}")
    return not complaints


def planted(tree, programs, fault):
    """What is wrong with a check: it does not see a fault."""
    name, path, old, new = fault
    text = tree.read(path)
    if old not in text:
        return [f"{path} has no {old!r} any more: plant another fault"]
    if getattr(checks, name)(Tree(tree.root, {path: text.replace(old, new, 1)}), programs):
        return []
    return [f"{path} with {new!r} in place of {old!r} was let through"]


def main():
    tree = Tree(sys.argv[1])
    programs = dict(zip(("ferry", "library", "cc", "cxx"), sys.argv[2:]), python=sys.executable)
    print("[==========] Running the documents' tests")
    results = [run(check.__name__, check(tree, programs)) for check in checks.ALL]
    for fault in FAULTS:
        results.append(run(f"a fault for {fault[0]} in {fault[1]}",
                           planted(tree, programs, fault)))
    unplanted = [check.__name__ for check in checks.ALL
                 if check.__name__ not in {fault[0] for fault in FAULTS}]
    results.append(run("every check has a fault", unplanted))
    print(f"[==========] {len(results)} test(s) run.")
    print(f"[  PASSED  ] {sum(results)} test(s).")
    if not all(results):
        print(f"[  FAILED  ] {len(results) - sum(results)} test(s).")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
