#!/usr/bin/env python3
"""Relay: a cable that is slow, uneven and stutters, for kernels without netem.

    relay.py ONE OTHER SEED DELAY_MS JITTER_MS REORDER DUPLICATE

Every frame that comes in at one interface goes out at the other, both ways,
`delay ± jitter` later, each frame with a wait of its own, so that jitter alone
already lets frames overtake. A share `reorder` does not wait at all, past
whatever does; a share `duplicate` is sent twice, each copy with its own wait.
A seed makes the choices; their times are those of the machine.

Frames between namespaces are not finished: the kernel has left out checksums
and not yet cut segments. A header in front of each (`PACKET_VNET_HDR`) says
what is left to do, and passes from one socket to the other, so that the
kernel at the far end takes such a frame as if it had come by the cable.

What waits is bounded: of a frame too many is made what a full router makes of
it. The relay ends when an interface does, or with whoever started it.
"""

import ctypes
import errno
import heapq
import itertools
import random
import select
import signal
import socket
import sys
import time

SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
ALL_FRAMES = 3
PR_SET_PDEATHSIG = 1
# A segment that the kernel has not cut yet, and the header in front of it.
FRAME_BYTES_MAX = 65_536 + 64
WAITING_MAX = 4_096
# Bytes that the kernel keeps for us while we are busy.
BUFFER_BYTES = 4 << 20


class Relay:
    """Two ends of a cable, and what is on its way between them."""

    def __init__(self, one, other, seed, delay_s, jitter_s, reorder, duplicate):
        self.ends = [end(one), end(other)]
        self.chance = random.Random(seed)
        self.delay_s, self.jitter_s = delay_s, jitter_s
        self.reorder, self.duplicate = reorder, duplicate
        self.waiting = []              # heap of (due, number, end to leave by, frame)
        self.numbers = itertools.count()

    def run(self):
        poll = select.poll()
        for socket_ in self.ends:
            poll.register(socket_, select.POLLIN)
        place = {socket_.fileno(): at for at, socket_ in enumerate(self.ends)}
        while True:
            # Up to a millisecond early would spin, up to one late is jitter.
            left = self.waiting and max(0, self.waiting[0][0] - time.monotonic())
            for fd, _ in poll.poll(1_000 * left + 1 if self.waiting else None):
                self.take(place[fd])
            self.give(time.monotonic())

    def take(self, at):
        """Takes what came in at one end, until nothing is left."""
        while True:
            try:
                frame = self.ends[at].recv(FRAME_BYTES_MAX)
            except BlockingIOError:
                return
            for _ in range(2 if self.chance.random() < self.duplicate else 1):
                if len(self.waiting) < WAITING_MAX:
                    due = time.monotonic() + self.wait()
                    heapq.heappush(self.waiting, (due, next(self.numbers), 1 - at, frame))

    def wait(self):
        if self.chance.random() < self.reorder:
            return 0
        return max(0, self.delay_s + self.chance.uniform(-self.jitter_s, self.jitter_s))

    def give(self, now):
        """Sends what is due."""
        while self.waiting and self.waiting[0][0] <= now:
            _, _, to, frame = heapq.heappop(self.waiting)
            try:
                self.ends[to].send(frame)
            except OSError as error:
                # Too long for the other end, or no room in it: a cable tells nobody.
                if error.errno in (errno.ENETDOWN, errno.ENXIO, errno.ENODEV):
                    raise


def end(interface):
    """Every frame that comes in at an interface; what is sent to it leaves by it."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.setblocking(False)
    raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    raw.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    # Bound last: not one frame of another interface gets in.
    raw.bind((interface, ALL_FRAMES))
    return raw


def main(one, other, seed, delay_ms, jitter_ms, reorder, duplicate):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    Relay(one, other, int(seed), float(delay_ms) / 1e3, float(jitter_ms) / 1e3,
          float(reorder), float(duplicate)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
