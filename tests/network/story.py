"""Story: what the tests of this directory share: a network of hosts that ends with each test."""

import os
import pathlib
import shutil
import sys
import time
import unittest

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "bench" / "shows"))

import lab  # noqa: E402
import net  # noqa: E402

PEER_PORT = 7781


def binary():
    path = os.environ.get("DUI_BIN") or os.path.join(
        os.environ.get("CARGO_TARGET_DIR", REPO / "target"), "debug", "dui")
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"{path} is missing: build it with `cargo build`, or set DUI_BIN")
    return path


def setUpModule():
    if os.getuid() != 0:
        raise RuntimeError("these tests make network namespaces: run them as root")
    lab.enter_namespace()


class Story(unittest.TestCase):
    """One network of three hosts, unless a test asks for another."""

    count = 0

    def setUp(self):
        Story.count += 1
        self.stage = lab.Stage("network", binary())
        self.bridge = None
        self.addCleanup(self.tidy)

    def tidy(self):
        self.stage.end_processes()
        net.sh("ip", "link", "delete", self.bridge)
        shutil.rmtree(self.stage.dir, ignore_errors=True)

    def hosts(self, count=3, **options):
        self.bridge = f"t{Story.count}"
        return net.hosts(self.stage, count, bridge=self.bridge, **options)

    def cluster(self, hosts, **options):
        return net.HostCluster(self.stage, hosts, key=self.stage.key_file(), **options)

    def together(self, hosts, *flags, **options):
        """A cluster in which all see all."""
        cluster = self.cluster(hosts, **options)
        cluster.start_all(*flags)
        cluster.wait_all_see_all(20)
        return cluster

    def hosts_anew(self, **options):
        """The next of several networks in one test."""
        if self.bridge:
            self.stage.end_processes()
            net.sh("ip", "link", "delete", self.bridge)
            Story.count += 1
        return self.hosts(**options)

    def eventually(self, what, condition, within=5):
        """Waits for what no log tells."""
        deadline = time.monotonic() + within
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"not within {within:.1f} s: {what}")
            time.sleep(0.02)

    def nobody_failed(self, cluster):
        self.assertEqual(cluster.false_failures(), [])

    def watch(self, cluster, seconds, wrong):
        """Looks on for so long, at most until there is a line that `wrong` takes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            cluster.read()
            seen = [f"{node.name}: {line}" for node in cluster.all for line in node.lines if wrong(line)]
            self.assertEqual(seen, [])
            time.sleep(0.2)

    def provider(self, node, name):
        """What a node says of one of its providers."""
        lines = node.get("/v1/discovery")["providers"]
        return next(line for line in lines if line["name"] == name)
