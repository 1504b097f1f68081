#!/usr/bin/env python3
"""What `dui doctor` finds on hosts whose network a test has cut, blocked or narrowed.

Every single cause and every pair of them is shown by `bench/shows/doctor`; here
is what only one of two firewalls does, what hides behind something else, and
what an examination leaves behind.
"""

import json
import subprocess
import unittest

from story import PEER_PORT, Story, net, setUpModule  # noqa: F401


class Doctor(Story):

    def ask(self, host, *flags, key=None):
        """What the doctor says in a host; the exit code has to agree with it."""
        flags = ["--key-file", key, *flags] if key else flags
        command = host.inside(self.stage.binary, "doctor", "--json", "--bind", host.ip, *flags)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual((found["healthy"], done.returncode), (not found["findings"], bool(found["findings"])))
        return found

    def finds(self, found, *codes):
        self.assertEqual(sorted({finding["code"] for finding in found["findings"]}), sorted(codes), found)

    def test_nothing_is_wrong_and_every_check_was_made(self):
        hosts = self.hosts()
        self.together(hosts)
        found = self.ask(hosts[0])
        self.finds(found)
        states = {check["name"]: check["state"] for check in found["checks"]}
        self.assertEqual({name for name, state in states.items() if state != "ok"}, {"names"})

    def test_over_ipv6_too(self):
        hosts = self.hosts(ipv4=False, ipv6=True)
        self.together(hosts, "--discovery", "multicast")
        command = hosts[0].inside(self.stage.binary, "doctor", "--json")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.finds(json.loads(done.stdout))

    def test_streams_alone_blocked(self):
        hosts = self.hosts()
        self.together(hosts)
        hosts[1].nft(("input", f"iifname eth0 tcp dport {PEER_PORT} ct state new drop"))
        found = self.ask(hosts[0])
        self.finds(found, "tcp_blocked")
        self.assertIn("h02", found["findings"][0]["subject"])

    def test_the_own_firewall_is_named_as_the_own_one(self):
        hosts = self.hosts()
        self.together(hosts)
        hosts[0].nft(("output", f"oifname eth0 udp dport {PEER_PORT} drop"))
        found = self.ask(hosts[0])
        self.finds(found, "udp_blocked")
        self.assertIn("own firewall", found["findings"][0]["detail"])

    def test_a_firewall_that_rejects_packets_blocks_them(self):
        hosts = self.hosts()
        self.together(hosts)
        hosts[1].nft(("input", f"iifname eth0 udp dport {PEER_PORT} reject"))
        self.finds(self.ask(hosts[0]), "udp_blocked")

    def test_a_narrow_interface_is_found_from_afar(self):
        hosts = self.hosts()
        cluster = self.together(hosts)
        hosts[2].sh("ip", "link", "set", "eth0", "mtu", 900)
        found = self.ask(hosts[0])
        self.finds(found, "mtu")
        self.assertIn("h03", found["findings"][0]["subject"])
        found = self.ask(hosts[2])
        self.finds(found, "mtu")
        self.assertIn("at most 900 bytes", found["findings"][0]["detail"])
        self.nobody_failed(cluster)

    def test_where_beacons_never_passed_and_nobody_is_known_somebody_is_found(self):
        hosts = self.hosts(2)
        net.drop("deaf", "udp dport 7791 drop")
        self.addCleanup(net.heal, "deaf")
        cluster = self.cluster(hosts)
        cluster.start_all()
        cluster.wait("both are ready", lambda: all(node.ready for node in cluster.live), 10)
        found = self.ask(hosts[0])
        self.finds(found, "multicast_blocked", "broadcast_blocked")
        self.assertIn("10.77.0.2", found["findings"][0]["subject"])

    def test_a_doctor_without_a_node_finds_what_is_wrong_and_joins_nothing(self):
        hosts = self.hosts()
        key = self.stage.key_file()
        cluster = net.HostCluster(self.stage, hosts[:2], key=key)
        cluster.start_all()
        cluster.wait_all_see_all(20)
        self.finds(self.ask(hosts[2], key=key))
        self.finds(self.ask(hosts[2], "--cluster", "green", key=key), "other_cluster")
        self.finds(self.ask(hosts[2], key=self.stage.key_file("other")), "other_key")
        for node in cluster.live:
            self.assertEqual(len(node.get("/v1/members")["members"]), 2)
        cluster.read()
        forgotten = [line for node in cluster.live for line in node.lines
                     if line["event"] in ("member_failed", "member_forgotten", "member_left")]
        self.assertEqual(forgotten, [])

    def test_a_host_that_is_gone_is_unreachable(self):
        hosts = self.hosts()
        cluster = self.together(hosts)
        hosts[2].unplug()
        cluster.wait("it is shown failed", lambda: cluster.last(
            "member_failed", cluster.live[:2], 0, id=cluster.live[2].id), 30)
        found = self.ask(hosts[0])
        self.finds(found, "unreachable")


if __name__ == "__main__":
    unittest.main(verbosity=2)
