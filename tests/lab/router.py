"""The Internet's bad days: a router on a TUN device that loses, delays, jitters and reorders what passes it.

Runs in the `inet` namespace as `python3 router.py SEED`. Reads one JSON object a line from its standard input, such as
{"loss": 0.3, "delay_ms": 40, "jitter_ms": 10, "reorder": 0.01}, and answers each with its counts so far; what is not named
is zero. It changes no byte of a packet. The kernel it was made for has no netem.
"""

import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time

# linux/if_tun.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
# More packets waiting than this are lost, oldest first come first served.
QUEUE_MAX = 20_000
PACKET_MAX = 65_536
# How far a reordered packet is held back.
REORDER_HOLD_S = 0.03


class Router:
    def __init__(self, device, seed):
        self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
        self.random = random.Random(seed)
        self.rules = {}
        self.waiting = []
        self.order = 0
        self.counts = {"passed": 0, "lost": 0, "overflowed": 0, "reordered": 0}

    def serve(self):
        poll = select.poll()
        poll.register(self.tun, select.POLLIN)
        poll.register(sys.stdin, select.POLLIN)
        while True:
            timeout_ms = max(0, (self.waiting[0][0] - time.monotonic()) * 1000) if self.waiting else None
            for descriptor, _ in poll.poll(timeout_ms):
                if descriptor == self.tun:
                    self.take()
                elif not self.obey(sys.stdin.readline()):
                    return
            self.release()

    def obey(self, line):
        if not line:
            return False
        self.rules = json.loads(line)
        print(json.dumps(self.counts), flush=True)
        return True

    def take(self):
        while True:
            try:
                packet = os.read(self.tun, PACKET_MAX)
            except BlockingIOError:
                return
            self.judge(packet)

    def judge(self, packet):
        rule = self.rules.get
        if self.random.random() < rule("loss", 0):
            self.counts["lost"] += 1
            return
        hold_s = rule("delay_ms", 0) / 1000 + self.random.uniform(0, rule("jitter_ms", 0)) / 1000
        if self.random.random() < rule("reorder", 0):
            self.counts["reordered"] += 1
            hold_s += REORDER_HOLD_S
        if hold_s == 0:
            self.send(packet)
        elif len(self.waiting) < QUEUE_MAX:
            self.order += 1
            heapq.heappush(self.waiting, (time.monotonic() + hold_s, self.order, packet))
        else:
            self.counts["overflowed"] += 1

    def release(self):
        now = time.monotonic()
        while self.waiting and self.waiting[0][0] <= now:
            self.send(heapq.heappop(self.waiting)[2])

    def send(self, packet):
        try:
            os.write(self.tun, packet)
            self.counts["passed"] += 1
        except OSError:
            self.counts["overflowed"] += 1


if __name__ == "__main__":
    Router("impair", int(sys.argv[1])).serve()
