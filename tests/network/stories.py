#!/usr/bin/env python3
"""Stories of hosts on a network: real nodes in namespaces that a test cuts.

Run by `make test` with the debug binary. Every test builds its own hosts, and
all of them end with it. Without root there are no namespaces, and the tests
fail and say so: they never skip themselves.
"""

import shutil
import socket
import struct
import time
import unittest

from story import PEER_PORT, Story, net, setUpModule  # noqa: F401


class Stories(Story):

    # --- to be found ---

    def test_each_way_alone_finds_everybody_without_a_default_route(self):
        hosts = self.hosts()
        listed = self.stage.dir / "peers"
        listed.write_text("# hosts\n10.77.0.1\nnonsense\n10.77.0.2\n10.77.0.3\n")
        for way in ("multicast", "broadcast", "static:10.77.0.1", f"file:{listed}"):
            with self.subTest(way):
                cluster = self.together(hosts, "--discovery", way)
                name = way.split(":")[0]
                line = self.provider(cluster.live[1], name)
                if name == "file":
                    self.assertIn("line 3: 'nonsense'", line["error"])
                else:
                    self.assertEqual((line["state"], line["error"]), ("working", None))
                cluster.end()

    def test_ipv6_alone_is_enough(self):
        self.together(self.hosts(ipv4=False, ipv6=True), "--discovery", "multicast")

    def test_a_name_with_120_addresses_is_fetched_whole_and_without_oneself(self):
        hosts = self.hosts()
        dead = [f"10.77.1.{n}" for n in range(1, 118)]
        server = net.NameServer(self.stage, hosts[0], "tasks.town", dead + [host.ip for host in hosts])
        cluster = self.cluster(hosts, wrap=server.asked_by)
        cluster.start_all("--discovery", "dns:tasks.town")
        cluster.wait_all_see_all(20)
        self.assertGreaterEqual(self.provider(cluster.live[2], "dns")["found"], 119)

    def test_names_that_do_not_resolve_are_told_and_keep_nobody_from_working(self):
        hosts = self.hosts()
        server = net.NameServer(self.stage, hosts[0], "tasks.town", [])
        cluster = self.cluster(hosts, wrap=server.asked_by)
        cluster.start_all("--discovery", "multicast,dns:nobody.town")
        cluster.wait_all_see_all(20)
        cluster.wait("the failure is told", lambda: all(
            self.provider(node, "dns")["state"] == "failing" for node in cluster.live), 20)
        self.assertIn("nobody.town", self.provider(cluster.live[0], "dns")["error"])

    def test_garbage_instead_of_a_name_servers_answer_is_survived(self):
        hosts = self.hosts()
        server = net.NameServer(self.stage, hosts[0], "tasks.town", [])
        server.process.kill()
        self.stage.spawn(hosts[0].inside("/usr/bin/env", "python3", "-c", (
            "import os,socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
            f"s.bind(('{hosts[0].ip}',53))\n"
            "while True:\n _,a=s.recvfrom(600)\n s.sendto(os.urandom(90),a)")))
        cluster = self.cluster(hosts, wrap=server.asked_by)
        cluster.start_all("--discovery", "broadcast,dns:tasks.town")
        cluster.wait_all_see_all(20)
        cluster.wait("the failure is told", lambda: self.provider(cluster.live[0], "dns")["error"], 30)

    # --- to be cut off ---

    def test_two_halves_that_were_cut_apart_are_one_again(self):
        hosts = self.hosts(4)
        cluster = self.together(hosts)
        one, other = cluster.live[:2], cluster.live[2:]
        cut_at = time.time()
        net.partition(hosts[:2], hosts[2:], table=self.bridge)
        cluster.wait("each side sees the other failed", lambda: all(
            cluster.last("member_failed", mine, cut_at, id=theirs.id)
            for mine, others in ((one, other), (other, one)) for theirs in others), 60)
        net.heal(self.bridge)
        cluster.wait_all_see_all(20)

    def test_a_host_whose_udp_is_blocked_stays_and_hears_the_news(self):
        hosts = self.hosts(4)
        cluster = self.together(hosts)
        blocked = cluster.live[3]
        hosts[3].nft(("input", "iifname eth0 meta l4proto udp drop"),
                     ("output", "oifname eth0 meta l4proto udp drop"))
        cluster.wait("it is said", lambda: blocked.events("udp_blocked"), 30)
        asked = time.time()
        cluster.live[0].post("/v1/events/news", b"x" * 4_000)
        cluster.wait("news arrives", lambda: cluster.last("user_event", [blocked], asked), 10)
        self.nobody_failed(cluster)
        hosts[3].nft()
        cluster.wait("packets are used again", lambda: blocked.events("udp_restored"), 90)

    def test_an_interface_that_comes_back_is_used_again(self):
        hosts = self.hosts()
        cluster = self.together(hosts)
        gone_at = time.time()
        hosts[2].sh("ip", "address", "flush", "dev", "eth0")
        hosts[2].sh("ip", "link", "set", "eth0", "down")
        cluster.wait("it is missed", lambda: cluster.last(
            "member_failed", cluster.live[:2], gone_at, id=cluster.live[2].id), 60)
        hosts[2].sh("ip", "link", "set", "eth0", "up")
        hosts[2].sh("ip", "address", "add", f"{hosts[2].ip}/24", "brd", "+", "dev", "eth0")
        cluster.wait_all_see_all(20)
        # The sockets of the group are new: a stranger's beacon is heard by all.
        late = net.Host(self.stage, 9, bridge=self.bridge)
        cluster.start("--discovery", "multicast", host=late)
        cluster.wait_all_see_all(20)

    def test_what_a_router_says_of_a_member_is_no_evidence(self):
        hosts = self.hosts(4)
        cluster = self.together(hosts[:3])
        began = time.time()
        told, victim = hosts[0], hosts[1]
        inner = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 108, 0, 0, 64, 17, 0,
                            socket.inet_aton(told.ip), socket.inet_aton(victim.ip))
        inner += struct.pack(">HHHH", PEER_PORT, PEER_PORT, 88, 0)
        # Port unreachable, from a host that is not the victim.
        packet = struct.pack(">BBHI", 3, 3, 0, 0) + inner
        packet = packet[:2] + struct.pack(">H", checksum(packet)) + packet[4:]
        hosts[3].sh("python3", "-c", (
            "import socket,sys,time\ns=socket.socket(socket.AF_INET,socket.SOCK_RAW,socket.IPPROTO_ICMP)\n"
            f"for _ in range(200): s.sendto(bytes.fromhex('{packet.hex()}'),('{told.ip}',0)); time.sleep(0.02)"))
        cluster.read()
        doubts = [line for node in cluster.all for line in node.events("member_suspect") if line["at"] > began]
        self.assertEqual(doubts, [])
        self.nobody_failed(cluster)

    # --- who is who ---

    def test_a_new_node_at_a_reused_address_leaves_no_ghost(self):
        hosts = self.hosts()
        cluster = self.together(hosts)
        old = cluster.live[2]
        cluster.gone(old)
        old.process.kill()
        cluster.start("--join", hosts[0].ip, host=hosts[2], slot=7)
        cluster.wait_all_see_all(20)
        for node in cluster.live:
            members = node.get("/v1/members")["members"]
            at_it = [member["name"] for member in members if member["address"].startswith(hosts[2].ip)]
            self.assertEqual(at_it, ["h07"])

    def test_of_two_nodes_with_one_copied_data_directory_one_stops(self):
        hosts = self.hosts()
        cluster = self.cluster(hosts, data=True)
        cluster.start(host=hosts[0])
        first = cluster.start(host=hosts[1])
        cluster.wait_all_see_all(20)
        first.process.kill()
        shutil.copytree(self.stage.dir / "data-2", self.stage.dir / "data-3")
        again = [cluster.start(host=host) for host in hosts[1:]]
        deadline = time.monotonic() + 30
        codes = []
        while not codes and time.monotonic() < deadline:
            codes = [code for code in (node.process.wait(0.05) for node in again) if code is not None]
        self.assertEqual(codes, [78])

    def test_a_node_with_another_key_is_refused_and_named(self):
        hosts = self.hosts()
        cluster = self.together(hosts[:2])
        other = net.HostCluster(self.stage, hosts[2:], key=self.stage.key_file("other"), tag="other")
        stranger = other.start("--join", hosts[0].ip)
        other.wait("it is ready", lambda: stranger.ready, 10)
        print_of = {node.name: node.get("/v1/self")["key"] for node in (cluster.live[0], stranger)}
        other.wait("both sides say so", lambda: (
            any(print_of[stranger.name] in str(line) for line in cluster.live[0].events("refused"))
            and any(print_of[cluster.live[0].name] in str(line) for line in stranger.events("refused"))
            if cluster.read() is None else False), 20)
        self.assertEqual(len(stranger.get("/v1/members")["members"]), 1)
        self.assertEqual(len(cluster.live[0].get("/v1/members")["members"]), 2)


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


if __name__ == "__main__":
    unittest.main(verbosity=2)
