#!/usr/bin/env python3
"""wire.py FERRY [--transports LIST]... [--size BYTES]... [--device NAME] [--rounds N] [--seconds S]
[--json]: the wire on this machine's loopback, between two processes, beside UCX's own measure
(ucx_perftest -e, active messages, the same transports). Both in turns, in one run, so that what else
the machine does meets both: the ratio is of medians. Without ucx_perftest there is no ratio, and it
says so. --seconds: about how long Ferry measures a size, in each round.
"""
import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time

SIZES = [64, 4 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20]
LIMIT = 300  # seconds, of each run


def environment(transports):
    """Nothing of the caller's but this, for both: what the wire sets for itself, too."""
    kept = {name: value for name, value in os.environ.items()
            if not re.match(r"(FERRY_)?UCX_", name)}
    return dict(kept, UCX_TLS=transports, UCX_NET_DEVICES="lo", UCX_MM_ERROR_HANDLING="y",
                UCX_LOG_LEVEL="fatal", UCX_MEM_EVENTS="n")


def measure_ferry(given, transports, size):
    """(messages a second, in flight), and what carried them."""
    ferry = given.ferry
    words = ["--device", given.device, "--transports", transports]
    receiver = subprocess.Popen([ferry, "receive", "--listen", "127.0.0.1:0"] + words,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                env=environment(transports))
    try:
        line = receiver.stderr.readline()
        if not line.startswith("listening on "):
            raise SystemExit(f"wire.py: {line.strip()}")
        address = line.split()[-1]
        told = subprocess.run([ferry, "bench", "--wire", address, "--json", "--size", str(size),
                               "--seconds", str(given.seconds)] + words, check=False,
                              stdout=subprocess.PIPE, text=True, timeout=LIMIT,
                              env=environment(transports))
        receiver.wait(timeout=LIMIT)
    finally:
        receiver.kill()
        receiver.wait()
    if told.returncode:
        raise SystemExit("wire.py: ferry bench has failed")
    wire = json.loads(told.stdout)["wire"]
    row = wire["rows"][0]
    return row["messages_per_second"], row["in_flight"], wire["transports"]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def try_ucx(perftest, transports, size, in_flight, messages):
    """Messages a second, over all that it sent; None and why: its server has not come up."""
    port = str(free_port())  # that another may take before the server does
    server = subprocess.Popen([perftest, "-p", port], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, env=environment(transports))
    command = [perftest, "127.0.0.1", "-p", port, "-t", "ucp_am_bw", "-e", "-s", str(size), "-n",
               str(messages), "-w", "2", "-O", str(in_flight), "-f", "-v"]
    try:
        for _ in range(100):  # until the server listens
            told = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT,
                                  check=False, env=environment(transports))
            rows = [line.split(",") for line in told.stdout.splitlines() if line.count(",") == 7]
            if told.returncode == 0 and len(rows) > 1:
                return 1e6 / float(rows[-1][rows[0].index("overall_lat")]), ""
            if server.poll() is not None:
                break
            time.sleep(0.1)
        return None, told.stderr.strip() or told.stdout.strip()
    finally:
        server.kill()
        server.wait()


def measure_ucx(perftest, transports, size, in_flight, messages):
    why = ""
    for _ in range(5):
        rate, why = try_ucx(perftest, transports, size, in_flight, messages)
        if rate:
            return rate
    raise SystemExit(f"wire.py: ucx_perftest: {why}")


def measure_size(given, perftest, transports, size):
    ours, theirs, in_flight, way = [], [], 0, ""
    for _ in range(given.rounds):
        rate, in_flight, way = measure_ferry(given, transports, size)
        ours.append(rate)
        if perftest:
            # UCX sends for about as long as Ferry did.
            messages = max(2 * in_flight, int(rate * given.seconds))
            theirs.append(measure_ucx(perftest, transports, size, in_flight, messages))
    row = {"size": size, "in_flight": in_flight, "messages_per_second": statistics.median(ours),
           "bytes_per_second": statistics.median(ours) * size}
    if perftest:
        row["ucx_bytes_per_second"] = statistics.median(theirs) * size
        row["ratio"] = row["bytes_per_second"] / row["ucx_bytes_per_second"]
    return row, way


def measure(given, perftest, transports):
    rows, way = [], ""
    for size in given.size or SIZES:
        row, way = measure_size(given, perftest, transports, size)
        rows.append(row)
    return {"transports": way, "rows": rows}


def show(size):
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size and size % (1 << shift) == 0:
            return f"{size >> shift} {unit}"
    return f"{size} B"


def tell(report):
    print(f"two processes on the loopback of {report['processors']} processors, medians of "
          f"{report['rounds']} rounds; load before {report['load_before']:.1f}, after "
          f"{report['load_after']:.1f}")
    print(f"ucx_perftest: {report['ucx'] or 'not installed (ucx-utils): nothing to compare with'}")
    for wire in report["wires"]:
        print(f"\nby {wire['transports']}\n{'size':>8} {'in flight':>9} {'messages/s':>11} "
              f"{'GB/s':>8} {'UCX GB/s':>8} {'ratio':>6}")
        for row in wire["rows"]:
            other = (f"{row['ucx_bytes_per_second'] * 1e-9:8.3f} {row['ratio']:6.2f}"
                     if "ratio" in row else f"{'-':>8} {'-':>6}")
            print(f"{show(row['size']):>8} {row['in_flight']:9} {row['messages_per_second']:11.0f} "
                  f"{row['bytes_per_second'] * 1e-9:8.3f} {other}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ferry")
    parser.add_argument("--transports", action="append")
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--device", default="host")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    perftest = shutil.which("ucx_perftest")
    version = subprocess.run(["ucx_info", "-v"], capture_output=True, text=True,
                             check=False).stdout if shutil.which("ucx_info") else ""
    found = re.search(r"\d+\.\d+\.\d+", version)
    report = {"processors": os.cpu_count(), "rounds": given.rounds, "load_before": os.getloadavg()[0],
              "ucx": f"UCX {found.group(0) if found else ''}".strip() if perftest else None}
    report["wires"] = [measure(given, perftest, transports)
                       for transports in given.transports or ["tcp", "posix"]]
    report["load_after"] = os.getloadavg()[0]
    if given.json:
        json.dump(report, sys.stdout, indent=1)
        print()
    else:
        tell(report)


main()
