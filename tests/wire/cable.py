#!/usr/bin/env python3
"""A cable between two hosts, each a network namespace: far0 in the first, far1 in the second. Each
packet passes through here, and some do not pass as they should, counted, not by chance.

    cable.py HOST HOST [delay=MS] [lose=N] [twice=N] [late=N] [flip=N] [cut=BYTES] [pause=BYTES]

Of N packets one is lost, comes twice, comes 5 ms later than those behind it, or has a wrong bit. After
BYTES the cable is cut, or carries nothing for a second. It says "ready", and at the end how many
packets each has met.
"""
import collections
import fcntl
import heapq
import os
import select
import signal
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
MTU = 1500
LATE, PAUSE = 0.005, 1.0


def make_end(host, number):
    """An interface of the host, and its packets."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    name, own = f"ferry{number}-{os.getpid()}"[:15], f"far{number}"
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", name, "netns", host, "name", own], check=True)
    inside = ["ip", "-n", host]
    for words in (["address", "add", f"10.78.0.{number + 1}/24", "dev", own],
                  ["link", "set", own, "mtu", str(MTU), "up"]):
        subprocess.run(inside + words, check=True)
    return fd


class Cable:
    def __init__(self, fds, faults):
        self.fds, self.faults = fds, faults
        self.counts = collections.Counter()
        self.bytes = 0
        self.quiet_until = 0.0
        self.queue = []  # of (when, number, to, packet)

    def meets(self, fault):
        """Is this packet one of those?"""
        return fault in self.faults and self.counts["packets"] % self.faults[fault] == 0

    def is_dead(self, now):
        if "cut" in self.faults and self.bytes > self.faults["cut"]:
            return True
        if "pause" in self.faults and self.bytes > self.faults["pause"]:
            self.quiet_until = now + PAUSE
            del self.faults["pause"]
        return now < self.quiet_until

    def take(self, packet, to, now):
        self.counts["packets"] += 1
        self.bytes += len(packet)
        if self.is_dead(now):
            self.counts["unheard"] += 1
            return
        if self.meets("lose"):
            self.counts["lost"] += 1
            return
        if self.meets("flip"):
            self.counts["flipped"] += 1
            wrong = bytearray(packet)
            wrong[-1] ^= 4
            packet = bytes(wrong)
        when = now + self.faults.get("delay", 0) / 1000
        if self.meets("late"):
            self.counts["late"] += 1
            when += LATE
        for _ in range(1 + self.meets("twice")):
            self.counts["sent"] += 1
            heapq.heappush(self.queue, (when, self.counts["sent"], to, packet))
        self.counts["twice"] += self.meets("twice")

    def give(self, now):
        while self.queue and self.queue[0][0] <= now:
            _, _, to, packet = heapq.heappop(self.queue)
            try:
                os.write(to, packet)
            except OSError:
                self.counts["refused"] += 1

    def run(self):
        poll = select.poll()
        for fd in self.fds:
            poll.register(fd, select.POLLIN)
        others = {self.fds[0]: self.fds[1], self.fds[1]: self.fds[0]}
        while True:
            now = time.monotonic()
            self.give(now)
            wait = max(0, self.queue[0][0] - now) * 1000 if self.queue else None
            for fd, _ in poll.poll(wait):
                try:
                    for _ in range(64):
                        self.take(os.read(fd, MTU), others[fd], time.monotonic())
                except BlockingIOError:
                    pass


class Over(Exception):
    pass


def main():
    faults = {name: int(value) for name, value in (word.split("=") for word in sys.argv[3:])}

    def end(*_):
        raise Over

    signal.signal(signal.SIGTERM, end)
    cable = Cable([make_end(host, number) for number, host in enumerate(sys.argv[1:3])], faults)
    print("ready", flush=True)
    try:
        cable.run()
    except Over:
        print(" ".join(f"{name}={count}" for name, count in sorted(cable.counts.items())))


main()
