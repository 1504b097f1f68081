"""Containers: nodes that a Docker Engine runs, on a network of their own.

    town = containers.Town(show, image)
    town.start(); town.start(); town.all_see_all()
    asked = time.time(); docker("kill", town.live()[0].container)
    town.last("member_failed", town.live()[0], asked)
    town.end()

A node's log is what Docker keeps of it, followed into a file like that of any
other node. Whatever was made is removed by its id, by `Town.end` at the latest.
"""

import os
import subprocess
import time

import lab
from nodes import FellShort, Node

# The user of the image, who alone may read a key.
USER = 65532


class ContainerNode(Node):
    """The node in a container, from `since` on if the container ran before."""

    def __init__(self, show, container, since=None):
        log = show.dir / f"{container[:12]}-{len(show.processes)}.log"
        follow = ["/usr/bin/env", "docker", "logs", "--follow"]
        if since:
            follow += ["--since", f"{since:.6f}"]
        super().__init__(show, [*follow, container], str(log))
        self.container = container


class Town:
    """Containers and their network. Each runs `dui run` as PID 1 with a read-only root."""

    def __init__(self, show, image="dui", subnet=None):
        self.show, self.image, self.containers, self.nodes = show, image, [], {}
        self.key = show.key_file()
        os.chown(self.key, USER, USER)
        # Only where the subnet was asked for may addresses be.
        fixed = ["--subnet", subnet] if subnet else []
        self.network = docker("network", "create", *fixed, f"dui-town-{os.getpid()}-{time.monotonic_ns()}")

    def flags(self, number):
        """What `docker run` is told for a node of this town."""
        return ["--read-only", "--cap-drop", "ALL", "--network", self.network,
                "--env", f"DUI_NAME=c{number}", "--env", "DUI_LOG_FORMAT=json",
                "--volume", f"{self.key}:/key:ro", "--env", "DUI_KEY_FILE=/key"]

    def start(self, *flags):
        container = docker("run", "--detach", *self.flags(len(self.nodes)), *flags, self.image)
        return self.follow(container)

    def follow(self, container, since=None):
        """Takes a container in, or follows its next run."""
        if container not in self.containers:
            self.containers.append(container)
        self.nodes[container] = ContainerNode(self.show, container, since)
        return self.nodes[container]

    def live(self):
        return [self.nodes[container] for container in self.containers]

    def wait(self, what, condition, timeout_s=30):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for node in self.live():
                node.read()
            value = condition()
            if value:
                return value
            time.sleep(0.02)
        raise FellShort(f"not within {timeout_s} s: {what}")

    def all_see_all(self):
        def seen():
            ids = {node.id for node in self.live() if node.ready}
            return len(ids) == len(self.containers) and all(
                node.view.get(peer, (None,))[0] == "alive" for node in self.live() for peer in ids - {node.id})
        self.wait("all containers see all", seen)

    def last(self, event, gone, since):
        """When the last of the others logged this of `gone`."""
        def when():
            times = [next((line["at"] for line in reversed(node.lines) if line["at"] >= since
                           and line.get("event") == event and line.get("id") == gone.id), None)
                     for node in self.live() if node is not gone]
            return max(times) if all(times) else None
        return self.wait(f"{event} of {gone.name}", when)

    def remove(self, node):
        self.containers.remove(node.container)
        docker("rm", "--force", "--volumes", node.container)

    def end(self):
        for container in self.containers:
            subprocess.run(["docker", "rm", "--force", "--volumes", container], capture_output=True)
        subprocess.run(["docker", "network", "rm", self.network], capture_output=True)


def docker(*argv):
    """Runs a command of Docker's that must succeed; what it printed."""
    done = subprocess.run(["docker", *map(str, argv)], capture_output=True, text=True)
    if done.returncode != 0:
        raise lab.CannotRun(f"docker {argv[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def state(container):
    """What Docker says of a container: `running`, `exited`…, its exit code and PID 1."""
    status, code, pid = docker(
        "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}", container).split()
    return status, int(code), int(pid)
