"""Nodes: real `dui run` processes, and what their logs and API say.

A node's log is replayed into the view it had of its peers: that view, with the
time of the last change to each entry, answers every question of the shows
without asking the node anything while it is being measured.
"""

import datetime
import http.client
import json
import os
import signal
import time

STATES = {
    "member_alive": "alive",
    "member_suspect": "suspect",
    "member_failed": "failed",
    "member_left": "left",
}


class FellShort(Exception):
    """What had to happen did not; says what was seen instead."""


class Process:
    """A child process in its own session: no terminal, no shared signals."""

    def __init__(self, argv, log):
        env = {name: value for name, value in os.environ.items() if not name.startswith("DUI_")}
        create = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.spawned = time.time()
        # posix_spawn, not fork: a hundred in a row take tens of milliseconds.
        self.pid = os.posix_spawn(argv[0], argv, env, setsid=True, file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, log, create, 0o600),
        ])
        self.exit = None

    def signal(self, number):
        """Sends a signal unless the process has been waited for."""
        if self.exit is None:
            os.kill(self.pid, number)

    def wait(self, timeout_s):
        """The exit code (negative: the signal), or None after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self.exit is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                return None
            else:
                time.sleep(0.005)
        return self.exit

    def kill(self):
        """kill -9, and reaps it; the time just before."""
        before = time.time()
        self.signal(signal.SIGKILL)
        self.wait(5)
        return before


class Node:
    """One `dui run`."""

    def __init__(self, show, argv, log):
        self.log = log
        self.process = show.spawn(argv, log)
        self.ready = None      # fields of its `ready` line
        self.view = {}         # id of a peer -> (state, since, fields of the line)
        self.lines = []        # every line of its log so far
        self._offset = 0

    @property
    def id(self):
        return self.ready["id"]

    @property
    def name(self):
        return self.ready["member"]

    @property
    def peer(self):
        return self.ready["address"]

    @property
    def client(self):
        return self.ready["client"]

    def log_size(self):
        """Bytes logged so far: cheap enough to ask for while measuring."""
        try:
            return os.stat(self.log).st_size
        except FileNotFoundError:
            return 0

    def read(self):
        """Takes in the whole lines logged since the last call."""
        try:
            with open(self.log, "rb") as file:
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for text in whole.splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                raise FellShort(f"{self.log}: not JSON: {text[:200]!r}") from None
            line["at"] = datetime.datetime.fromisoformat(line["ts"]).timestamp()
            self._take(line)

    def _take(self, line):
        self.lines.append(line)
        event = line.get("event")
        if event == "log_lines_dropped":
            raise FellShort(f"{self.log}: the log has gaps, so it proves nothing")
        if event == "ready":
            self.ready = line
        elif event == "member_forgotten":
            self.view.pop(line["id"], None)
        elif event in STATES:
            self.view[line["id"]] = (STATES[event], line["at"], line)

    def events(self, kind):
        """Its log lines of one event, oldest first."""
        return [line for line in self.lines if line.get("event") == kind]

    def get(self, path):
        """GET from its API."""
        return self._request("GET", path)

    def post(self, path, body=b""):
        """POST to its API."""
        return self._request("POST", path, body)

    def put(self, path, body):
        """PUT to its API."""
        return self._request("PUT", path, body)

    def _request(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.client, timeout=10)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read()
        except OSError as error:
            raise FellShort(f"{method} {path} at {self.name}: {error}") from None
        finally:
            connection.close()
        if answer.status not in (200, 201, 202, 204):
            raise FellShort(f"{method} {path} at {self.name}: {answer.status} {text[:300]!r}")
        return json.loads(text) if text else None


class Cluster:
    """Nodes that should see one another. `live` ones run; `all` ever did.

    Without a name it is the default one: the namespace keeps shows apart.
    """

    def __init__(self, show, name="", key=None, own_addresses=True, data=False, tag=""):
        self.show = show
        self.name = name
        self.key = key
        self.own_addresses = own_addresses
        self.data = data
        self.tag = tag
        self.all = []
        self.live = []

    def start(self, *flags, slot=None, bind=None, role="worker"):
        """Starts a node; `slot` (name, data directory) and `bind` put it in the place of another."""
        count = len(self.all)
        slot = count if slot is None else slot
        argv = [self.show.binary, "run", "--log-format", "json"]
        if self.name:
            argv += ["--cluster", self.name]
        if self.own_addresses:
            bind = bind or f"127.0.{1 + count // 250}.{1 + count % 250}"
            argv += ["--role", role, "--bind", bind, "--name", f"n{slot:03}"]
        if self.key:
            argv += ["--key-file", self.key]
        if self.data:
            argv += ["--data-dir", self.show.dir / f"data-{slot}"]
        log = self.show.dir / f"{self.name}{self.tag}-{len(self.show.processes):04}.log"
        node = Node(self.show, [*argv, *flags], str(log))
        node.bind, node.slot = bind, slot
        self.all.append(node)
        self.live.append(node)
        return node

    def gone(self, node):
        """The node is not expected to run any more."""
        self.live.remove(node)

    def read(self):
        for node in self.all:
            node.read()

    def wait(self, what, condition, timeout_s):
        """Waits until the logs make `condition()` true, and returns its value.

        Logs are parsed when they have been quiet for a moment (at the latest
        every second), so that the work does not compete with what is measured.
        """
        started = read_at = time.monotonic()
        sizes, unread, quiet = None, True, 0
        while True:
            time.sleep(0.03)
            now = time.monotonic()
            before, sizes = sizes, [node.log_size() for node in self.live]
            quiet = quiet + 1 if sizes == before else 0
            unread = unread or not quiet
            if unread and (quiet >= 3 or now - read_at > 1.0):
                self.read()
                unread, read_at = False, now
                value = condition()
                if value:
                    return value
            if now - started > timeout_s:
                raise FellShort(f"not within {timeout_s} s: {what}; {self.describe()}")

    def complete_since(self):
        """When the last live node learned of the last other one; None: not yet."""
        if not all(node.ready for node in self.live):
            return None
        ids = {node.id for node in self.live}
        last = max(node.ready["at"] for node in self.live)
        for node in self.live:
            for peer in ids - {node.id}:
                state, since, _ = node.view.get(peer, ("unknown", 0.0, None))
                if state != "alive":
                    return None
                last = max(last, since)
        return last

    def wait_all_see_all(self, timeout_s):
        """Waits until every live node sees every live node alive; since when."""
        return self.wait(f"all {len(self.live)} see all", self.complete_since, timeout_s)

    def leader(self, observers=None):
        """The one that all of these (of the live ones) were told of last, as the line says it."""
        said = [node.events("leader_changed") for node in observers or self.live]
        if not all(said):
            return None
        newest = [lines[-1] for lines in said]
        same = {(line["id"], line["revision"], line["cluster_id"]) for line in newest}
        return newest[0] if len(same) == 1 else None

    def last(self, event, observers, after, **fields):
        """When the last of `observers` logged `event` with these fields, not before `after`.

        None while one of them has not.
        """
        last = 0.0
        for node in observers:
            for line in reversed(node.lines):
                if line["at"] < after:
                    return None
                if line.get("event") == event and all(line.get(k) == v for k, v in fields.items()):
                    break
            else:
                return None
            last = max(last, line["at"])
        return last

    def false_failures(self, killed=()):
        """Every `member_failed` ever logged by anybody about a node that was not killed."""
        self.read()
        return [
            f"{node.name} says {line['member']} failed"
            for node in self.all for line in node.events("member_failed") if line["id"] not in killed
        ]

    def confirm(self, show):
        """Asks every live node over HTTP: exactly the live nodes are alive."""
        ids = {node.id for node in self.live}
        wrong = []
        for node in self.live:
            members = node.get("/v1/members")["members"]
            alive = {member["id"] for member in members if member["state"] == "alive"}
            if alive != ids:
                wrong.append(f"{node.name} (lacks {len(ids - alive)}, has {len(alive - ids)} too many)")
        show.must(not wrong, f"GET /v1/members: {len(ids)} alive at every node" + listed(wrong))

    def replace(self, node):
        """Starts a new node for one that is gone; waits until all see all, and 3 s more."""
        if node in self.live:
            self.gone(node)
        new = self.start("--join", self.live[0].peer)
        self.wait_all_see_all(30)
        time.sleep(3)
        return new

    def end(self):
        """Ends every node at once."""
        for node in self.all:
            node.process.signal(signal.SIGKILL)
        for node in self.all:
            node.process.wait(5)
            os.unlink(node.log)
        self.live = []

    def describe(self):
        """What the logs say now, for whoever looks for the reason."""
        self.read()
        silent = [node.log for node in self.live if not node.ready]
        if silent:
            return f"{len(silent)} not ready, as {silent[0]}: {tail(silent[0])}"
        ids = {node.id for node in self.live}
        lacking = []
        for node in self.live:
            known = {peer for peer, (state, _, _) in node.view.items() if state == "alive"}
            missing = ids - known - {node.id}
            if missing:
                lacking.append(f"{node.name} lacks {len(missing)}")
        return ", ".join(lacking[:5]) or "all see all"


def tail(path):
    """The end of a log."""
    try:
        with open(path, "rb") as file:
            return file.read()[-300:].decode(errors="replace").strip() or "(nothing logged)"
    except FileNotFoundError:
        return "(no log)"


def listed(items):
    """`: a, b, c…`, or nothing."""
    return ": " + ", ".join(items[:5]) + ("…" if len(items) > 5 else "") if items else ""
