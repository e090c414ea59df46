"""FERRY_TRACE: what is in the trace is what the statistics count, and a trace that cannot be written
does not disturb. Run as: test_trace.py WORK DEVICE DIRECTORY SANITIZER."""

import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

work, device, folder, sanitizer = sys.argv[1:5]
passed, failed = 0, []


def check(name, good, why=""):
    global passed
    passed += bool(good)
    if good:
        print(f"[       OK ] {name}")
    else:
        failed.append(name)
        print(f"[  FAILED  ] {name}: {why}")


def environment(trace, **more):
    kept = {key: value for key, value in os.environ.items()
            if key not in ("FERRY_PATH", "FERRY_HOST", "FERRY_DEVICE", "FERRY_TRACE")}
    return {**kept, "FERRY_TRACE": trace, **more}


def run(what, trace, name=device, **more):
    """What was printed, as one dictionary a device, and what was complained of."""
    done = subprocess.run([work, what, name], env=environment(trace, **more), capture_output=True,
                          text=True, timeout=250)
    check(f"{what}: exit", done.returncode == 0, f"{done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


# --- what a trace says -----------------------------------------------------------------------------


class Device:
    """The events of one device of a trace."""

    def __init__(self, events, pid):
        self.events = [event for event in events if event["pid"] == pid]
        self.name = self.args_of("process_name")[0]["name"]
        self.tracks = {event["tid"]: event["args"]["name"] for event in self.events
                       if event["name"] == "thread_name"}

    def args_of(self, name):
        return [event["args"] for event in self.events
                if event["name"] == name and "args" in event]

    def some(self, category, *phases):
        return [event for event in self.events
                if event.get("cat") == category and event["ph"] in phases]

    def operations(self):
        """Begun, or in a batch: {(operation, path): [arguments]}."""
        found = collections.defaultdict(list)
        for event in self.some("operation", "b", "n"):
            if event["name"] != "batch":
                found[event["name"], event["args"]["path"]].append(event["args"])
        return found


def devices_of(events):
    pids = [event["pid"] for event in events if event["name"] == "process_name"]
    check("a name for each device", len(set(pids)) == len(pids) and pids[0] == 4096, pids)
    return [Device(events, pid) for pid in pids[1:]]


def check_shape(name, events):
    """Begins and ends match, no time runs backwards, no track is without a name."""
    wrong = []
    open_ones = collections.defaultdict(list)
    tracks = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    for event in events:
        key = event["pid"], event.get("cat"), event.get("id")
        if event["ph"] != "M" and event["pid"] != 4096 and (event["pid"],
                                                            event["tid"]) not in tracks:
            wrong.append(("no track", event))
        if event["ph"] == "b":
            open_ones[key].append(event)
        elif event["ph"] == "e":
            begin = open_ones[key].pop() if open_ones[key] else {"name": None, "ts": 0}
            if begin["name"] != event["name"] or begin["ts"] > event["ts"]:
                wrong.append(("end", event))
        elif event["ph"] == "n" and not open_ones[key]:
            wrong.append(("not in a batch", event))
        elif event["ph"] == "X" and event["dur"] < 0:
            wrong.append(("dur", event))
        elif event["ph"] not in "MXin":
            wrong.append(("phase", event))
    check(f"{name}: begins and ends", not wrong and not any(open_ones.values()), wrong[:3])
    ids = collections.Counter(e["id"] for e in events if e["ph"] == "b" and e["name"] != "device")
    check(f"{name}: each id once", not ids or max(ids.values()) == 1)


def check_counts(name, traced, stats):
    """Every operation exactly once, and all else that the statistics count."""
    got = traced.operations()
    wanted = {(one["operation"], one["path"]): (one["operations"], one["bytes"], one["errors"])
              for one in stats["operations"]}
    counted = {key: (len(all_args), sum(args["size"] for args in all_args
                                        if args["status"] == "FERRY_OK"),
                     sum(args["status"] != "FERRY_OK" for args in all_args))
               for key, all_args in got.items()}
    check(f"{name}: operations", counted == wanted, f"{counted}\nnot\n{wanted}")
    queues = [event for event in traced.some("queue", "b") if event["name"] != "device"]
    for what, count, field in (
            ("submissions", len(queues), "submissions"),
            ("operations in them", sum(q["args"]["operations"] for q in queues),
             "submitted_operations"),
            ("commands", sum(q["args"]["commands"] for q in queues), "submitted_commands"),
            ("staging waits", len(traced.some("staging", "b")), "staging_waits"),
            ("callbacks", len(traced.some("callback", "X")), "callbacks"),
            ("external work", len(traced.some("external", "b")), "external_works")):
        check(f"{name}: {what}", count == stats[field], f"{count}, not {stats[field]}")
    sizes = [0] * len(stats["submission_operations"])
    for queue in queues:
        sizes[min(bucket for bucket in range(len(sizes)) if bucket == len(sizes) - 1
                  or queue["args"]["operations"] <= 4 ** bucket)] += 1
    check(f"{name}: operations of each", sizes == stats["submission_operations"],
          f"{sizes}, not {stats['submission_operations']}")
    device_us = sum(args["device_us"] for args in traced.args_of("device"))
    check(f"{name}: device time", abs(device_us * 1000 - stats["device_time_ns"]) < 1000,
          f"{device_us} us, {stats['device_time_ns']} ns")


# --- work ------------------------------------------------------------------------------------------


def check_mix():
    path = f"{folder}/mix.json"
    stats, _ = run("mix", path)
    events = load(path)
    check_shape("mix", events)
    devices = devices_of(events)
    check("mix: devices", len(devices) == 2 and all(d.name.startswith(device) for d in devices))
    for number, (traced, counts) in enumerate(zip(devices, stats)):
        check_counts(f"mix {number}", traced, counts)
        tracks = set(traced.tracks.values())
        check(f"mix {number}: tracks",
              {"operations", "callbacks", "staging waits", "queue 0"} <= tracks, tracks)
    queued, mapped = (traced.operations() for traced in devices)
    everything = [args for found in (queued, mapped) for some in found.values() for args in some]
    labels = {args.get(key) for args in everything for key in ("dst", "src")}
    check("mix: labels", {"wei\"ghts\\\n\x01ä\ufffd\ufffd\ufffd", "buffer", "host"} <= labels, labels)
    check("mix: long labels", any(label and label.startswith("a label that is longer")
                                  for label in labels), labels)
    check("mix: bridged", [(args["size"], args["dst_offset"]) for args in
                           mapped["copy", "bridged"]] == [(150001, 1)], mapped)
    batch = [args for way in ("staged", "blocks") for args in queued["upload", way]
             if args["size"] == 2000]
    check("mix: a batch", sorted(args["dst_offset"] for args in batch)
          == list(range(0, 200000, 2000)) and len({args["ticket"] for args in batch}) == 1, batch)
    check("mix: batches", [args["operations"] for args in devices[0].args_of("batch")]
          == [100])
    check("mix: failed", {"FERRY_ERROR_IO"} == {args["status"] for args in everything}
          - {"FERRY_OK"})


def check_threads():
    path = f"{folder}/threads.json"
    stats, _ = run("threads", path)
    events = load(path)
    check_shape("threads", events)
    for number, (traced, counts) in enumerate(zip(devices_of(events), stats)):
        check_counts(f"threads {number}", traced, counts)


def check_flood():
    """What is lost is counted: the two together are all."""
    path = f"{folder}/flood.json"
    stats, said = run("flood", path)
    events = load(path)
    check_shape("flood", events)
    lost = sum(e["args"]["count"] for e in events if e["name"] == "events lost")
    there = sum(len(some) for some in devices_of(events)[0].operations().values())
    counted = sum(one["operations"] for one in stats[0]["operations"])
    check("flood: lost and found", lost > 0 and there > 0 and there + lost == counted,
          f"{there} + {lost}, not {counted}")
    check("flood: said once", said.count("events come faster") == 1, said)


# --- the life of a trace ---------------------------------------------------------------------------


def uploads(path):
    return [len(traced.operations()["upload", "direct"]) for traced in devices_of(load(path))]


def check_again():
    path = f"{folder}/twice.json"
    run("twice", path, "host")
    check("opened again: goes on", uploads(path) == [5, 5], uploads(path))
    check_shape("opened again", load(path))
    run("few", path, "host")
    check("another process: a new trace", uploads(path) == [5], uploads(path))
    run("few", "")
    check("no name, no trace", not os.path.exists(f"{folder}/.json"))


def check_process_id():
    run("few", f"{folder}/pid-%p.json", "host")
    names = [name for name in os.listdir(folder) if re.fullmatch(r"pid-[0-9]+\.json", name)]
    check("%p", len(names) == 1 and uploads(f"{folder}/{names[0]}") == [5], os.listdir(folder))


def check_fork_process_id():
    run("fork", f"{folder}/fork-%p.json", "host")
    names = [name for name in os.listdir(folder) if name.startswith("fork-")]
    counts = sorted(uploads(f"{folder}/{name}") for name in names)
    check("%p: a fork", counts == [[2], [5]], counts)


def check_fork():
    path = f"{folder}/fork.json"
    _, said = run("fork", path, "host")
    check("fork: the parent's alone", uploads(path) == [2], uploads(path))
    check("fork: the child is told", said.count("another process writes it") == 1, said)


def written(path):
    """Is the trace there? Seen in the middle of a write it may be no JSON."""
    try:
        return any(event["ph"] == "b" for event in load(path))
    except ValueError:
        return False


def check_killed():
    path = f"{folder}/killed.json"
    running = subprocess.Popen([work, "stay", "host"], env=environment(path),
                               stdout=subprocess.PIPE)
    running.stdout.readline()
    while not written(path):
        time.sleep(0.05)
    _, said = run("few", path, "host")
    check("two processes: told", said.count("another process writes it") == 1, said)
    check("two processes: one writes", uploads(path) == [5])
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdout.close()
    check("killed", uploads(path) == [5], uploads(path))


def check_unwritable():
    for name, path, words in (("no folder", f"{folder}/none/x.json", "No such file"),
                              ("a folder", folder, "Is a directory"),
                              ("a long name", "x" * 5000, "longer than"),
                              ("a device", "/dev/full", "no regular file")):
        stats, said = run("mix", path)
        check(f"{name}: told once", said.count("FERRY_TRACE") == 1 and words in said, said)
        check(f"{name}: works", len(stats) == 2)
    path = f"{folder}/full.json"
    stats, said = run("full", path)
    check("full later: told once", said.count("FERRY_TRACE: the trace ends here") == 1, said)
    there = sum(len(traced.some("operation", "b")) for traced in devices_of(load(path)))
    check("full later: the trace until then", there > 100, there)
    check("full later: works", len(stats) == 2)


def check_others_files():
    """Nothing but a trace is written over, and only its owner may read one."""
    def refused(name, path, words):
        before = os.lstat(path)
        _, said = run("few", path, "host")
        check(f"{name}: told once", said.count("FERRY_TRACE") == 1 and words in said, said)
        after = os.lstat(path)
        check(f"{name}: untouched", (before.st_size, before.st_mtime_ns, before.st_mode)
              == (after.st_size, after.st_mtime_ns, after.st_mode), (before, after))

    def write(name, text):
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
        return file.name

    precious = write("precious", "a thesis")
    refused("a file of another kind", precious, "no trace")
    refused("other JSON", write("other.json", '[\n{"name":"process_name"}\n]\n'), "no trace")
    refused("half a beginning", write("half.json", '[\n{"name":"process_name","ph":"M"'), "no trace")
    os.symlink(precious, f"{folder}/link.json")
    refused("a symbolic link", f"{folder}/link.json", "symbolic link")
    os.symlink(f"{folder}/nowhere", f"{folder}/dangling.json")
    refused("a symbolic link to nothing", f"{folder}/dangling.json", "symbolic link")
    check("a symbolic link to nothing: nothing made", not os.path.exists(f"{folder}/nowhere"))
    with open(precious, encoding="utf-8") as file:
        check("the link's file: untouched", file.read() == "a thesis")
    os.mkfifo(f"{folder}/pipe.json")
    refused("a pipe", f"{folder}/pipe.json", "no regular file")

    path = f"{folder}/mine.json"
    mask = os.umask(0)
    run("few", path, "host")
    os.umask(mask)
    check("only its owner's", os.stat(path).st_mode & 0o777 == 0o600, oct(os.stat(path).st_mode))
    os.chmod(path, 0o644)
    run("few", path, "host")
    check("an earlier trace: begun anew, and its owner's", uploads(path) == [5]
          and os.stat(path).st_mode & 0o777 == 0o600, oct(os.stat(path).st_mode))
    os.link(path, f"{folder}/too.json")
    refused("a hard link", path, "hard link")
    os.unlink(f"{folder}/too.json")
    path = write("empty.json", "")
    run("few", path, "host")
    check("an empty file", uploads(path) == [5])
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
        refused("another user's", path, "another user")


def check_lost_device():
    path = f"{folder}/lost.json"
    stats, _ = run("lost", path, "host", FERRY_HOST="lose_at=3")
    events = load(path)
    check_shape("a lost device", events)
    check_counts("a lost device", devices_of(events)[0], stats[0])
    statuses = {args["status"] for args in devices_of(events)[0].args_of("upload")}
    check("a lost device: status", "FERRY_ERROR_DEVICE_LOST" in statuses, statuses)


shutil.rmtree(folder, ignore_errors=True)
os.makedirs(folder)
print("[==========] Running the tests of FERRY_TRACE")
check_mix()
check_threads()
check_flood()
check_unwritable()
check_others_files()
if device == "host":
    check_again()
    check_process_id()
    check_killed()
    if sanitizer not in ("", "OFF"):
        # gcc's: address does not unlock its allocator in the child, thread has no threads there.
        print("fork: not run, sanitizers do not support the child of a program with threads")
    else:
        check_fork()
        check_fork_process_id()
    check_lost_device()
print(f"[  PASSED  ] {passed} test(s).")
if failed:
    print(f"[  FAILED  ] {len(failed)} test(s), listed below:", *failed, sep="\n  ")
sys.exit(bool(failed))
