#!/usr/bin/env python3
"""Ten thousand strangers: `half_handshakes.py ADDRESS PORT FINGERPRINT SOURCE…`.

Each opens a stream to a node from one of the sources, in turn one that knows
the key's fingerprint and stops in the middle of its first message, one with
another key, and one that speaks something else. All stay until they are shown
the door, and it is a mistake if one is not. Prints how it ended for how many
of each.
"""

import asyncio
import collections
import json
import os
import socket
import struct
import sys

STRANGERS = 10_000
AT_ONCE = 1_500
# Longer than any stranger may stay.
PATIENCE_S = 10
REST_S = 0.5

ADDRESS, PORT, FINGERPRINT, SOURCES = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3]), sys.argv[4:]
VERSION, REFUSED = 1, 2
# Fingerprint, clock and check: what a stranger is told.
CARD_BYTES = 14


def speech(number):
    if number % 3 == 0:
        return "half", bytes([VERSION]) + FINGERPRINT + struct.pack(">H", 64) + os.urandom(20)
    if number % 3 == 1:
        return "other key", bytes([VERSION]) + os.urandom(4) + struct.pack(">H", 64) + os.urandom(64)
    return "nonsense", b"GET / HTTP/1.1\r\nHost: dui\r\n\r\n"


async def stranger(number, seats, ends):
    loop = asyncio.get_running_loop()
    kind, words = speech(number)
    # Not a stream of asyncio: where a reset follows, that loses what came before it.
    async with seats, asyncio.timeout(PATIENCE_S):
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.bind((SOURCES[number % len(SOURCES)], 0))
            answer = b""
            try:
                await loop.sock_connect(sock, (ADDRESS, PORT))
                await loop.sock_sendall(sock, words)
                while more := await loop.sock_recv(sock, 64):
                    answer += more
            except ConnectionError:
                pass
        # Their seats stay taken, or all would be over before anybody could join.
        await asyncio.sleep(REST_S)
    refused = answer[:5] == bytes([REFUSED]) + FINGERPRINT and len(answer) == 1 + CARD_BYTES
    end = "refused by fingerprint" if refused else "answered" if answer else "turned away"
    ends[f"{kind}: {end}"] += 1


async def main():
    seats, ends = asyncio.Semaphore(AT_ONCE), collections.Counter()
    await asyncio.gather(*(stranger(number, seats, ends) for number in range(STRANGERS)))
    print(json.dumps(ends))


asyncio.run(main())
