"""`ferry load --memory` where the system enforces it: in a memory cgroup that has room for the
arena, for what the command takes for a small model, and for what --memory allows.
Run as: test_cgroup.py FERRY DIRECTORY. Exits with 77 where no such group can be made: then this has
not been tested."""

import json
import os
import struct
import subprocess
import sys
import time

ferry, folder = sys.argv[1], sys.argv[2]
MIB = 1 << 20
TENSORS, TENSOR = 7, 41 * MIB + 24  # neither whole blocks nor powers of two
MEMORY, LITTLE = 64 * MIB, 8 * MIB  # the second is less than loading takes if nobody says so


def read(path):
    with open(path) as file:
        return file.read()


class Group:
    """A memory cgroup of either version, made under the nearest of our own that lets us."""
    V1 = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max_usage_in_bytes")
    V2 = ("memory.max", "memory.swap.max", "memory.peak")

    def __init__(self):
        self.path, self.files = None, None
        for parent, files in self.parents():
            path = f"{parent}/ferry-test-{os.getpid()}"
            try:
                os.mkdir(path)
            except OSError:
                continue
            self.path, self.files = path, files
            if self.has(files[0]) and self.has(files[2]):
                return
            self.remove()

    @classmethod
    def parents(cls):
        """Folders that may take one, the nearest first, with their files' names."""
        mounts = [line.split() for line in read("/proc/self/mounts").splitlines()]
        for line in read("/proc/self/cgroup").splitlines():
            _, controllers, own = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            kind, files = ("cgroup", cls.V1) if controllers else ("cgroup2", cls.V2)
            for _, place, type_, options, *_ in mounts:
                if type_ != kind or (controllers and "memory" not in options.split(",")):
                    continue
                while True:
                    yield place + own.rstrip("/"), files
                    if own in ("", "/"):
                        break
                    own = os.path.dirname(own)

    def has(self, name):
        return os.path.exists(f"{self.path}/{name}")

    def limit(self, size):
        # With memory and swap together, the first must never be the larger of the two.
        with open(f"{self.path}/{self.files[0]}", "w") as file:
            file.write(str(size))
        if self.has(self.files[1]):
            with open(f"{self.path}/{self.files[1]}", "w") as file:
                file.write("0" if self.files is self.V2 else str(size))

    def peak(self):
        return int(read(f"{self.path}/{self.files[2]}"))

    def run(self, *command):
        inside = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', f"{self.path}/cgroup.procs", *command]
        return subprocess.run(inside, capture_output=True, text=True, timeout=300)

    def remove(self):
        for _ in range(100):  # who was killed is gone a little later
            try:
                os.rmdir(self.path)
                self.path = None
                return
            except OSError:
                time.sleep(0.05)


def write_model(path, tensors, size):
    """Zeros, which take no room on the disk."""
    header = json.dumps({f"t{i}": {"dtype": "U8", "shape": [size],
                                   "data_offsets": [i * size, (i + 1) * size]}
                         for i in range(tensors)}).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + tensors * size)
    return path


def load(path, memory, limit, *options):
    """In a new group, since the peak of one cannot be set back everywhere."""
    group = Group()
    try:
        if limit:
            group.limit(limit)
        done = group.run(ferry, "load", "--device", "host", "--memory", str(memory), "--json",
                         *options, path)
        return done, group.peak()
    finally:
        group.remove()


def can_test():
    """Whether a group can be made, limited, joined and asked."""
    group = Group()
    if not group.path:
        return False
    try:
        group.limit(MEMORY)
        return group.run("true").returncode == 0 and group.peak() >= 0
    except OSError:
        return False
    finally:
        group.remove()


def main():
    if not can_test():
        print("no memory cgroup can be made and joined here: not tested")
        return 77
    os.makedirs(folder, exist_ok=True)
    small = write_model(f"{folder}/small.safetensors", 3, 1000)
    large = write_model(f"{folder}/large.safetensors", TENSORS, TENSOR)
    arena = TENSORS * (TENSOR + 256)
    done, open_bytes = load(small, MEMORY, 0)
    checks, failed = [], []

    def check(name, good, why=""):
        checks.append(name)
        print(f"[{'       OK' if good else '  FAILED '} ] {name}{'' if good else f': {why}'}")
        if not good:
            failed.append(name)

    check("a small model without a limit", done.returncode == 0, done.stderr)
    for memory, options in ((MEMORY, ()), (LITTLE, ()), (LITTLE, ("--path", "staged")),
                            (LITTLE, ("--separate",))):
        room = arena + open_bytes + memory
        name = " ".join(("load --memory", f"{memory // MIB}M", *options))
        done, peak = load(large, memory, room, "--verify", *options)
        check(f"{name}: exit", done.returncode == 0, f"{done.returncode}: {done.stderr}")
        check(f"{name}: all that it had", arena <= peak <= room, f"{peak} of {room}")
        model = json.loads(done.stdout) if done.returncode == 0 else None
        check(f"{name}: every byte", model and model["files"][0]["verified"])
    # Where the arena itself has no room it must not get through: so the limit is one.
    done, _ = load(large, MEMORY, arena - 16 * MIB, "--verify")
    check("without room for the arena", done.returncode != 0, "it was loaded")
    os.unlink(large)
    print(f"{len(checks) - len(failed)} passed, {len(failed)} failed")
    return len(failed) > 0


sys.exit(main())
