"""Net: hosts of their own on one network, which a show can cut.

A host is a network namespace, kept by a process that does nothing; its cable
(a veth pair) ends at a bridge in the namespace of the show. So everything is
gone when the show is, nothing outside sees any of it, and names clash with
nothing. No host has a default route, as a cable between two laptops has none.

    hosts = net.hosts(show, 10)
    cluster = net.HostCluster(show, hosts, key=show.key_file())
    cluster.start_all("--discovery", "multicast")
    net.partition(hosts[:5], hosts[5:]); net.heal()

What is cut is cut at the bridge, by nftables: ARP too, as with a cable. What
is late, out of order or doubled is so by `Host.worsen`, a relay in the cable.
"""

import ctypes
import json
import os
import pathlib
import socket
import subprocess
import threading
import time

import lab
from nodes import Cluster, Node

BRIDGE = "br0"
NEW_NET = 0x40000000
SO_RCVBUFFORCE = 33
_libc = ctypes.CDLL(None, use_errno=True)


def sh(*argv, stdin=None):
    """Runs a program that must succeed; what it printed."""
    done = subprocess.run([str(arg) for arg in argv], input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise lab.CannotRun(f"{' '.join(map(str, argv))}: {done.stderr.strip()}")
    return done.stdout


class Host:
    """A network namespace with a cable to the bridge.

    `port` is the bridge's end of the cable, `ip` and `ip6` are the addresses
    of its own end, eth0.
    """

    def __init__(self, show, number, ipv4=True, ipv6=False, mtu=1500, bridge=BRIDGE, net=77):
        self.show, self.number, self.bridge = show, number, bridge
        self.ip = f"10.{net}.0.{number}" if ipv4 else None
        self.ip6 = f"fd77::{number:x}" if ipv6 else None
        # Ends with the show, and the namespace with it.
        self.keeper = show.spawn(["/usr/bin/unshare", "--net", "sleep", "infinity"])
        self._wait_for_namespace()
        self.port = self._cable(bridge, "eth0")
        self.sh("ip", "link", "set", "lo", "up")
        self.sh("ip", "link", "set", "eth0", "mtu", mtu, "up")
        if self.ip:
            self.sh("ip", "address", "add", f"{self.ip}/24", "brd", "+", "dev", "eth0")
        if self.ip6:
            self.sh("ip", "address", "add", f"{self.ip6}/64", "dev", "eth0", "nodad")

    @property
    def address(self):
        """What its node binds: IPv4 if it has that."""
        return self.ip or self.ip6

    def inside(self, *argv):
        """`argv` as a command that runs in this host."""
        return ["/usr/bin/nsenter", f"--net=/proc/{self.keeper.pid}/ns/net", *map(str, argv)]

    def sh(self, *argv, stdin=None):
        """Runs a program in this host."""
        return sh(*self.inside(*argv), stdin=stdin)

    def nft(self, *rules):
        """Replaces the firewall of this host; no rules: none."""
        flush = "table inet show\ndelete table inet show\n"
        chains = "".join(
            f"chain {hook} {{\ntype filter hook {hook} priority 0;\n"
            + "".join(f"{rule}\n" for where, rule in rules if where == hook) + "}\n"
            for hook in ("input", "output", "forward")
        )
        self.sh("nft", "-f", "-", stdin=flush + (f"table inet show {{\n{chains}}}\n" if rules else ""))

    def mac(self):
        """The address of its end of the cable (/sys is that of the machine, not of the host)."""
        link = json.loads(self.sh("ip", "-json", "link", "show", "eth0"))[0]
        return bytes.fromhex(link["address"].replace(":", ""))

    def unplug(self):
        """Pulls the cable: nobody is told."""
        sh("ip", "link", "set", self.port, "down")

    def plug(self):
        sh("ip", "link", "set", self.port, "up")

    def worsen(self, delay_ms=0, jitter_ms=0, reorder=0, duplicate=0, seed=None):
        """Puts a relay into the cable, both ways, for good; see `relay`."""
        near, far = f"{self.port}n", f"{self.port}f"
        # port ─ relay ─ far ─ near, and near is what the bridge has now.
        sh("ip", "link", "set", self.port, "nomaster", "addrgenmode", "none")
        sh("ip", "link", "add", near, "type", "veth", "peer", "name", far)
        sh("ip", "link", "set", far, "addrgenmode", "none", "up")
        sh("ip", "link", "set", near, "master", self.bridge, "up")
        script = pathlib.Path(__file__).with_name("relay.py")
        self.relay = self.show.spawn(["/usr/bin/env", "python3", script, self.port, far,
                                      self.number if seed is None else seed, delay_ms, jitter_ms,
                                      reorder, duplicate], self.show.dir / f"{near}.log")
        self.port = near

    def second_cable(self, bridge, address):
        """A cable to another bridge; this host passes on what is for somebody else."""
        self._cable(bridge, "eth1")
        self.sh("ip", "link", "set", "eth1", "up")
        self.sh("ip", "address", "add", address, "dev", "eth1")
        self.sh("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0")

    def _cable(self, bridge, name):
        """A veth pair from a bridge to this host; the bridge's end."""
        port, inside = f"{bridge}p{self.number}", f"{bridge}h{self.number}"
        sh("ip", "link", "add", port, "type", "veth", "peer", "name", inside)
        sh("ip", "link", "set", inside, "netns", self.keeper.pid)
        sh("ip", "link", "set", port, "master", bridge, "up")
        self.sh("ip", "link", "set", inside, "name", name)
        return port

    def _wait_for_namespace(self):
        mine = os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                if os.readlink(f"/proc/{self.keeper.pid}/ns/net") != mine:
                    return
            except FileNotFoundError:
                pass
            time.sleep(0.002)
        raise lab.CannotRun("no network namespace for a host: run the show as root")


class HostNode(Node):
    """A node in a host; its API is asked from inside of it."""

    def __init__(self, show, host, argv, log):
        super().__init__(show, host.inside(*argv), log)
        self.host = host

    @property
    def client(self):
        return "127.0.0.1:" + self.ready["client"].rpartition(":")[2]

    def _request(self, method, path, body=None):
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self.host.keeper.pid}/ns/net", os.O_RDONLY)
        try:
            enter(there)
            return super()._request(method, path, body)
        finally:
            enter(home)
            os.close(home)
            os.close(there)


class HostCluster(Cluster):
    """One node in each host, called `label` and its number; `wrap` turns its command into another.

    It binds the address of its host, unless `bind` says another place.
    """

    def __init__(self, show, hosts, wrap=lambda argv: argv, label="h", bind=None, **options):
        super().__init__(show, **options)
        self.hosts = hosts
        self.bind = bind
        self.label = label
        self.wrap = wrap

    def start(self, *flags, host=None, slot=None, role="worker"):
        """Starts the node of a host (of the next one, unless it is said)."""
        host = host or self.hosts[len(self.all)]
        slot = host.number if slot is None else slot
        argv = [self.show.binary, "run", "--log-format", "json", "--role", role,
                "--bind", self.bind or host.address, "--name", f"{self.label}{slot:02}"]
        if self.name:
            argv += ["--cluster", self.name]
        argv += ["--key-file", self.key] if self.key else ["--insecure"]
        if self.data:
            argv += ["--data-dir", self.show.dir / f"data-{slot}"]
        log = self.show.dir / f"{self.name}{self.tag}-{len(self.show.processes):04}.log"
        node = HostNode(self.show, host, self.wrap([*argv, *flags]), str(log))
        node.bind, node.slot = host.address, slot
        self.all.append(node)
        self.live.append(node)
        return node

    def start_all(self, *flags):
        """Starts a node in every host; when the last was spawned."""
        for _ in self.hosts:
            self.start(*flags)
        return self.all[-1].process.spawned


def network(bridge=BRIDGE):
    """A bridge that forwards at once and filters nothing."""
    for program, package in (("ip", "iproute2"), ("nft", "nftables"), ("nsenter", "util-linux")):
        lab.need(program, f"install {package}")
    sh("ip", "link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0",
       "mcast_snooping", "0")
    sh("ip", "link", "set", bridge, "up")


def hosts(show, count, bridge=BRIDGE, **options):
    """A network with so many hosts."""
    network(bridge)
    return [Host(show, number, bridge=bridge, **options) for number in range(1, count + 1)]


def wait_for(what, condition, timeout_s):
    """Waits until `condition()` is true, and returns its value."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise lab.FellShort(f"not within {timeout_s} s: {what}")


def partition(one, other, table="part"):
    """Cuts two groups of hosts from each other."""
    a, b = ports(one), ports(other)
    drop(table, f"iifname {a} oifname {b} drop", f"iifname {b} oifname {a} drop")


def drop(table, *rules):
    """Rules of the bridge, until `heal(table)`."""
    text = "\n".join(rules)
    sh("nft", "-f", "-", stdin=f"table bridge {table} {{\nchain f {{\n"
       f"type filter hook forward priority 0;\n{text}\n}}\n}}\n")


def heal(table="part"):
    """Takes the rules of the bridge back."""
    sh("nft", "delete", "table", "bridge", table)


def ports(some):
    return "{ " + ", ".join(f'"{host.port}"' for host in some) + " }"


class Capture:
    """Every frame that a host sends, as the bridge gets it, until `stop`."""

    OUTGOING = 4

    def __init__(self):
        self.frames = []
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._socket.settimeout(0.2)
        self._going = True
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def stop(self):
        self._going = False
        self._thread.join()
        self._socket.close()
        return self.frames

    def _read(self):
        while self._going:
            try:
                frame, (port, _, kind, _, _) = self._socket.recvfrom(65_536)
            except TimeoutError:
                continue
            # At the bridge itself and at the port it leaves by, it is seen again.
            if kind != self.OUTGOING and BRIDGE + "p" in port:
                self.frames.append(frame)


def replay(frames, some):
    """Sends captured frames to the hosts that they were for, in their order."""
    for host in some:
        # A captured frame may be many segments that the kernel has not cut yet.
        sh("ip", "link", "set", host.port, "mtu", 65_535)
        host.sh("ip", "link", "set", "eth0", "mtu", 65_535)
    ports_of = {host.mac(): host.port for host in some}
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        for number, frame in enumerate(frames):
            to = ports_of.get(frame[:6])
            for port in [to] if to else list(ports_of.values()) if frame[0] & 1 else []:
                sender.sendto(whole(frame), (port, 0))
            if number % 50 == 49:
                time.sleep(0.01)


def whole(frame):
    """The frame with its checksum: between namespaces the kernel leaves it out."""
    if frame[12:14] != b"\x08\x00" or frame[23] not in (6, 17):
        return frame
    at, end = 14 + (frame[14] & 15) * 4, 14 + int.from_bytes(frame[16:18], "big")
    place = at + (16 if frame[23] == 6 else 6)
    body = frame[at:place] + b"\0\0" + frame[place + 2 : end]
    pseudo = frame[26:34] + bytes([0, frame[23]]) + len(body).to_bytes(2, "big")
    data = pseudo + body + b"\0" * (len(body) % 2)
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return frame[:place] + (~total & 0xFFFF).to_bytes(2, "big") + frame[place + 2 :]


def enter(fd):
    """Moves this process to another network namespace."""
    if _libc.setns(fd, NEW_NET) != 0:
        raise lab.CannotRun(f"setns: {os.strerror(ctypes.get_errno())}")


class NameServer:
    """A name server in a host, and `/etc/resolv.conf` for those that ask it.

    Its one name has the addresses of all hosts.
    """

    def __init__(self, show, host, name, addresses):
        self.conf = pathlib.Path(show.dir) / "resolv.conf"
        self.conf.write_text(f"nameserver {host.address}\noptions timeout:1\n")
        script = pathlib.Path(__file__).with_name("nameserver.py")
        self.process = show.spawn(host.inside("/usr/bin/env", "python3", script, host.address, name,
                                              *addresses))

    def asked_by(self, argv):
        """`argv` as a command for which this is the name server."""
        mount = f"mount --bind {self.conf} /etc/resolv.conf && exec \"$@\""
        return ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", mount, "sh", *map(str, argv)]
