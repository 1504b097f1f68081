#!/usr/bin/env python3
"""Stories of containers: the real engine, the real Dockerfile, networks of their own.

    stories.py BINARY [TEST…]

Run by `make docker`, which builds the static binary first. The image is made
for the run, and with the containers and networks it is gone afterwards, each
removed by its id or a name that nobody else has. Without Docker the tests fail
and say what is missing: they never skip themselves.
"""

import json
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "bench" / "shows"))

import containers  # noqa: E402
import lab  # noqa: E402
import net  # noqa: E402
from containers import docker, state  # noqa: E402

IMAGE = f"dui-stories-{os.getpid()}"
BINARY = None


def setUpModule():
    if os.getuid() != 0:
        raise RuntimeError("these tests chown keys and make namespaces: run them as root")
    lab.need("docker", "install docker.io, or Docker Engine from https://docs.docker.com/engine/install/")
    lab.need("docker-compose", "install docker-compose")
    engine = subprocess.run(["docker", "info"], capture_output=True, text=True)
    if engine.returncode != 0:
        raise RuntimeError(f"no Docker Engine answers: start dockerd ({engine.stderr.strip()})")
    with tempfile.TemporaryDirectory() as context:
        shutil.copy(BINARY, pathlib.Path(context) / "dui")
        (pathlib.Path(context) / "data").mkdir()
        docker("build", "--quiet", "--tag", IMAGE, "--file", REPO / "deploy/docker/Dockerfile", context)
    unittest.addModuleCleanup(docker, "image", "rm", IMAGE)


class Story(unittest.TestCase):
    """Three containers, unless a test asks for others."""

    def setUp(self):
        self.stage = lab.Stage("docker", BINARY)
        self.addCleanup(shutil.rmtree, self.stage.dir, ignore_errors=True)
        self.addCleanup(self.stage.end_processes)

    def town(self, count=3, **options):
        town = containers.Town(self.stage, IMAGE, **options)
        self.addCleanup(town.end)
        for _ in range(count):
            town.start()
        town.all_see_all()
        return town

    def ended(self, container):
        """The exit code, once it has ended."""
        net.wait_for("it has ended", lambda: state(container)[0] == "exited", 15)
        return state(container)[1]

    # --- to stop ---

    def test_who_is_stopped_says_goodbye(self):
        town = self.town()
        node = town.live()[0]
        docker("exec", node.container, "/dui", "health", "--live")
        asked = time.time()
        docker("stop", node.container)
        self.assertLess(time.time() - asked, 8, "Docker did not have to kill it")
        town.last("member_left", node, asked)
        self.assertEqual(self.ended(node.container), 0)

    def test_pid_1_takes_sigint_and_buries_orphans(self):
        town = self.town()
        node = town.live()[0]
        pid = state(node.container)[2]
        # Their parent ends before them, so that PID 1 is left with them.
        net.sh("nsenter", f"--target={pid}", "--pid", "sh", "-c", "(sleep 1 & sleep 1 & sleep 1 &) >&- 2>&-")
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
        self.assertEqual(len(children.read_text().split()), 3)
        net.wait_for("none is left, not even a zombie", lambda: not children.read_text().split(), 10)
        asked = time.time()
        docker("kill", "--signal", "INT", node.container)
        town.last("member_left", node, asked)
        self.assertEqual(self.ended(node.container), 0)

    def test_control_c_at_a_terminal_with_init_is_a_goodbye(self):
        town = self.town(2)
        asked = time.time()
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        cid = self.stage.dir / "cid"
        run = subprocess.Popen(
            ["docker", "run", "--rm", "-ti", "--init", "--cidfile", cid, *town.flags(9), IMAGE],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.addCleanup(lambda: subprocess.run(
            ["docker", "rm", "--force", cid.read_text()], capture_output=True) if cid.exists() else None)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)

        def seen(event):
            screen(master)
            return all(any(line.get("event") == event and line.get("member") == "c9" and line["at"] >= asked
                           for line in node.lines) for node in town.live())

        town.wait("it is seen", lambda: seen("member_alive"))
        os.write(master, b"\x03")
        town.wait("it said goodbye", lambda: seen("member_left"))
        net.wait_for("the command has ended", lambda: (screen(master), run.poll() is not None)[1], 15)
        self.assertEqual(run.returncode, 0)
        gone = subprocess.run(["docker", "inspect", cid.read_text()], capture_output=True)
        self.assertNotEqual(gone.returncode, 0, "--rm removed it")

    def test_who_is_killed_failed(self):
        town = self.town()
        node = town.live()[0]
        asked = time.time()
        docker("kill", node.container)
        town.last("member_failed", node, asked)
        self.assertEqual(self.ended(node.container), 137)

    # --- to be cut off and moved ---

    def test_who_is_disconnected_failed_and_connected_again_is_alive(self):
        town = self.town()
        node = town.live()[2]
        asked = time.time()
        docker("network", "disconnect", town.network, node.container)
        town.last("member_failed", node, asked)
        asked = time.time()
        docker("network", "connect", town.network, node.container)
        town.last("member_alive", node, asked)
        town.all_see_all()

    def test_who_starts_again_at_another_address_with_its_data_is_the_same_member(self):
        subnet = free_subnet()
        town = self.town(2, subnet=f"{subnet}.0/24")
        data = self.stage.dir / "data"
        data.mkdir()
        os.chown(data, containers.USER, containers.USER)
        node = town.start("--ip", f"{subnet}.100", "--volume", f"{data}:/data", "--env", "DUI_DATA_DIR=/data")
        town.all_see_all()
        asked = time.time()
        docker("stop", node.container)
        town.last("member_left", node, asked)
        docker("network", "disconnect", town.network, node.container)
        docker("network", "connect", "--ip", f"{subnet}.200", town.network, node.container)
        asked = time.time()
        docker("start", node.container)
        again = town.follow(node.container, since=asked)
        town.wait("it is ready", lambda: again.ready)
        self.assertEqual(again.id, node.id)
        town.last("member_alive", again, asked)
        for other in town.live()[:2]:
            state_now, _, line = other.view[again.id]
            self.assertEqual((state_now, line["address"]), ("alive", f"{subnet}.200:7781"))
        town.all_see_all()

    def test_a_new_volume_at_data_is_the_users_own_and_keeps_the_member(self):
        town = self.town(1)
        volume = docker("volume", "create")
        self.addCleanup(docker, "volume", "rm", volume)
        keeps = ["--volume", f"{volume}:/data", "--env", "DUI_DATA_DIR=/data"]
        first = town.start(*keeps)
        town.all_see_all()
        docker("stop", first.container)
        town.remove(first)
        again = town.start(*keeps)
        town.all_see_all()
        self.assertEqual(again.id, first.id)
        town.remove(again)

    def test_who_is_connected_again_at_another_address_is_the_same_member(self):
        subnet = free_subnet()
        town = self.town(2, subnet=f"{subnet}.0/24")
        node = town.start("--ip", f"{subnet}.100")
        town.all_see_all()
        asked = time.time()
        docker("network", "disconnect", town.network, node.container)
        town.last("member_failed", node, asked)
        asked = time.time()
        docker("network", "connect", "--ip", f"{subnet}.200", town.network, node.container)
        town.last("member_alive", node, asked)
        town.all_see_all()
        for other in town.live()[:2]:
            self.assertEqual(other.view[node.id][2]["address"], f"{subnet}.200:7781")
            members = json.loads(docker("exec", other.container, "/dui", "members", "--json"))["members"]
            self.assertEqual([member["id"] for member in members if member["name"] == "c2"], [node.id])

    # --- to have little ---

    def test_a_root_with_nothing_but_the_binary_is_enough(self):
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        lab.enter_namespace()
        self.addCleanup(os.close, home)
        self.addCleanup(net.enter, home)
        root = self.stage.dir / "root"
        root.mkdir()
        shutil.copy(BINARY, root / "dui")
        shutil.copy(self.stage.key_file(), root / "key")
        cluster = net.HostCluster(
            self.stage, net.hosts(self.stage, 2), key="/key",
            wrap=lambda argv: ["/usr/sbin/chroot", root, "/dui", *argv[1:]])
        cluster.start_all("--discovery", "multicast,dns:nobody.town")
        cluster.wait_all_see_all(20)
        self.assertEqual(sorted(os.listdir(root)), ["dui", "key"])
        lines = {line["name"]: line for line in cluster.live[0].get("/v1/discovery")["providers"]}
        self.assertIn("/etc/resolv.conf cannot be read", lines["dns"]["error"])
        for node in cluster.live:
            node.process.signal(signal.SIGTERM)
        self.assertEqual([node.process.wait(10) for node in cluster.live], [0, 0])

    # --- compose ---

    def test_compose_brings_three_up_and_down(self):
        shutil.copy(self.stage.key_file(), self.stage.dir / "cluster.key")
        os.chown(self.stage.dir / "cluster.key", containers.USER, containers.USER)
        (self.stage.dir / "image.yaml").write_text(
            f"services:\n  node:\n    image: {IMAGE}\n    environment:\n      DUI_LOG_FORMAT: json\n")
        compose = ["docker-compose", "--project-directory", self.stage.dir, "--project-name", IMAGE,
                   "--file", REPO / "deploy/docker/compose.yaml", "--file", self.stage.dir / "image.yaml"]
        self.addCleanup(lambda: subprocess.run([*compose, "down", "--volumes"], capture_output=True))
        net.sh(*compose, "up", "--detach")
        town = Ours(self.stage, net.sh(*compose, "ps", "--quiet").split())
        self.assertEqual(len(town.containers), 3)
        town.all_see_all()
        led = town.wait("all know the leader", lambda: leaders(town.containers))
        net.sh(*compose, "stop")
        self.assertEqual([self.ended(container) for container in town.containers], [0, 0, 0])
        # The same managers, of the same cluster.
        net.sh(*compose, "start")
        self.assertEqual(town.wait("all know it again", lambda: leaders(town.containers)), led)
        net.sh(*compose, "stop")
        # With the volumes that the containers have, which nobody else has.
        net.sh(*compose, "down", "--volumes")
        left = docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={IMAGE}")
        self.assertEqual(left, "")


class Ours(containers.Town):
    """Containers that somebody else has started."""

    def __init__(self, show, ids):
        self.show, self.containers, self.nodes = show, [], {}
        for container in ids:
            self.follow(container)


def leaders(containers):
    """The one formed cluster in which all of them know who leads."""
    told = []
    for container in containers:
        asked = subprocess.run(["docker", "exec", container, "/dui", "leader", "--json"], capture_output=True, text=True)
        told.append(json.loads(asked.stdout) if asked.returncode == 0 else {})
    clusters = {leader.get("cluster_id") for leader in told}
    return clusters.pop() if len(clusters) == 1 and len({leader.get("id") for leader in told}) == 1 else None


def screen(master):
    """What a terminal shows now; a program that nobody reads would wait."""
    seen = b""
    while select.select([master], [], [], 0)[0]:
        try:
            seen += os.read(master, 65_536)
        except OSError:  # nobody has it open any more
            break
    return seen


def free_subnet():
    """The first three numbers of a subnet that no network of the engine and no route has."""
    ids = docker("network", "ls", "--quiet", "--no-trunc").split()
    taken = docker("network", "inspect", "--format", "{{json .IPAM.Config}}", *ids) + net.sh("ip", "route")
    return next(f"10.213.{n}" for n in range(os.getpid() % 200, 256) if f"10.213.{n}." not in taken)


if __name__ == "__main__":
    BINARY = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if not os.access(BINARY, os.X_OK):
        sys.exit(f"'{BINARY}' is no executable: run `make docker`, which builds it")
    # Interrupted, the story that is told ends first, and with it its containers.
    unittest.installHandler()
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    unittest.main(verbosity=2)
