#!/usr/bin/env python3
"""A name server with one name: `nameserver.py ADDRESS NAME ADDRESS…`.

Answers over UDP as far as 512 bytes go and says when that was not all; over
TCP it says all. Every other name does not exist.
"""

import ipaddress
import socketserver
import struct
import sys
import threading

A, AAAA, IN = 1, 28, 1
HERE, NAME, ADDRESSES = sys.argv[1], sys.argv[2].lower().rstrip("."), sys.argv[3:]


def answer(question, limit):
    (number, flags, count), rest = struct.unpack(">HHH", question[:6]), question[12:]
    labels, at = [], 0
    while rest[at]:
        labels.append(rest[at + 1 : at + 1 + rest[at]].decode(errors="replace"))
        at += 1 + rest[at]
    kind, = struct.unpack(">H", rest[at + 1 : at + 3])
    asked = rest[: at + 5]
    known = ".".join(labels).lower() == NAME
    family = {A: 4, AAAA: 6}.get(kind)
    records = [
        b"\xc0\x0c" + struct.pack(">HHIH", kind, IN, 600, len(ip.packed)) + ip.packed
        for ip in map(ipaddress.ip_address, ADDRESSES) if known and ip.version == family
    ]
    cut = 0
    while 12 + len(asked) + sum(map(len, records)) > limit:
        cut, records = 0x0200, records[:-1]
    code = 0 if known else 3
    head = struct.pack(">HHHHHH", number, 0x8180 | cut | code, 1, len(records), 0, 0)
    return head + asked + b"".join(records)


class Packet(socketserver.BaseRequestHandler):
    def handle(self):
        question, sock = self.request
        sock.sendto(answer(question, 512), self.client_address)


class Stream(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.read(2):
            reply = answer(self.rfile.read(*struct.unpack(">H", head)), 65_000)
            self.wfile.write(struct.pack(">H", len(reply)) + reply)


socketserver.TCPServer.allow_reuse_address = True
tcp = socketserver.ThreadingTCPServer((HERE, 53), Stream)
threading.Thread(target=tcp.serve_forever, daemon=True).start()
socketserver.UDPServer((HERE, 53), Packet).serve_forever()
