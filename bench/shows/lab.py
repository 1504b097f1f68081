"""The lab: what the shows share.

A show starts the real release binary, does one thing to the running nodes
again and again, and judges what they say about it. It disturbs them little:
every node writes its JSON log to a file of its own in memory, and times are
read from those lines afterwards (`ts` and this module's `time.time()` are the
same clock). While a sample runs, the lab only looks at file sizes.

Everything happens in a network namespace that ends with the show, so that no
other traffic is counted and no other cluster is heard.

A show exits 0 when it holds, 1 when it falls short, 2 when it cannot run.
Its output is kept in `bench/shows/out/NAME.txt`, every sample of it.
"""

import base64
import ctypes
import datetime
import fcntl
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from nodes import Cluster, FellShort, Process, listed

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent


class CannotRun(Exception):
    """Something that the show needs is missing; says what."""


class Stage:
    """Where nodes play: their binary, a directory, and every process to be ended."""

    def __init__(self, name, path=None):
        self.processes = []
        self.binary = path
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"dui-{name}-", dir=memory))

    def key_file(self, name="key"):
        """A fresh cluster key, as `dui keys generate` makes one."""
        path = self.dir / name
        path.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
        path.chmod(0o600)
        return path

    def spawn(self, argv, log="/dev/null"):
        """Starts a process that ends with the stage at the latest."""
        process = Process([str(arg) for arg in argv], log)
        self.processes.append(process)
        return process

    def end_processes(self):
        """Ends every process by its id."""
        for process in self.processes:
            process.signal(signal.SIGKILL)
        for process in self.processes:
            process.wait(5)


class Show(Stage):
    """One run of one show: its printed output, its processes, its verdict."""

    def __init__(self, name, limits):
        super().__init__(name)
        self.name = name
        self.failures = []
        out = HERE / "out"
        out.mkdir(exist_ok=True)
        self._file = open(out / f"{name}.txt", "w", encoding="utf-8")
        now = datetime.datetime.now(datetime.timezone.utc)
        self.say(f"# {name} · {now:%Y-%m-%d %H:%M:%S} UTC · commit {commit()}")
        self.say(f"# {platform.system()} {platform.release()} {platform.machine()} · "
                 f"{len(os.sched_getaffinity(0))} cores")
        for limit in limits:
            self.say(f"# limit: {limit}")

    def say(self, text=""):
        """Prints a line and keeps it."""
        print(text, flush=True)
        self._file.write(text + "\n")
        self._file.flush()

    def must(self, holds, text):
        """Notes whether something that has to hold does."""
        self.say(f"{'ok  ' if holds else 'SHORT'} {text}")
        if not holds:
            self.failures.append(text)

    def judge(self, what, samples, unit, median_max=None, worst_max=None):
        """Prints every sample, and holds their median and worst to the limits."""
        self.say(f"     {what}: " + " ".join(f"{sample:.1f}" for sample in samples) + f" {unit}")
        median, worst = statistics.median(samples), max(samples)
        summary = f"{what}: median {median:.1f}, worst {worst:.1f} {unit} of {len(samples)}"
        if median_max is not None:
            self.must(median <= median_max, f"{summary}; limit of the median {median_max} {unit}")
        if worst_max is not None:
            self.must(worst <= worst_max, f"{summary}; limit of the worst {worst_max} {unit}")

    def cluster(self, **options):
        """An empty cluster; see `Cluster`."""
        return Cluster(self, **options)

    def grown(self, workers, cluster=None):
        """A sealed cluster of this many workers that all see one another."""
        cluster = cluster or self.cluster(key=self.key_file())
        seed = cluster.start()
        cluster.wait("the seed is ready", lambda: seed.ready, 10)
        for _ in range(workers - 1):
            cluster.start("--join", seed.peer)
        cluster.wait_all_see_all(60)
        return cluster

    def end(self):
        """Ends every process of the show; logs stay only if it fell short."""
        self.end_processes()
        if self.failures:
            self.say(f"     logs are kept in {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


def run(name, main, limits, namespace=True):
    """Runs a show: `main(show)` between a header and a verdict, then exits.

    With `namespace`, it has the release binary and a network of its own.
    """
    # SIGTERM unwinds like ^C, so that whatever ends the show ends its nodes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    show = Show(name, limits)
    try:
        if namespace:
            show.binary = binary()
            enter_namespace()
        main(show)
    except FellShort as short:
        show.must(False, str(short))
    except KeyboardInterrupt:
        show.must(False, "interrupted before the end")
    except (CannotRun, OSError, subprocess.CalledProcessError) as missing:
        show.say(f"cannot run: {missing}")
        sys.exit(2)
    finally:
        show.end()
    show.say(f"{name}: " + ("FALLS SHORT" if show.failures else "holds"))
    sys.exit(1 if show.failures else 0)


def binary():
    """The static release binary, which is what is shipped: `DUI_BIN`, or this repository's, built if missing."""
    override = os.environ.get("DUI_BIN")
    if override:
        if not os.access(override, os.X_OK):
            raise CannotRun(f"DUI_BIN={override} is no executable")
        return override
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target"))
    path = target / "x86_64-unknown-linux-gnu" / "release" / "dui"
    if not path.exists():
        need("cargo", "install Rust from https://rustup.rs")
        subprocess.run(["make", "--silent", "static"], cwd=REPO, check=True)
    return str(path)


def need(program, remedy):
    """Insists on a program in PATH."""
    if not shutil.which(program):
        raise CannotRun(f"{program} is missing: {remedy}")


def commit():
    """The commit that is shown, and whether the tree differs from it."""
    def git(*args):
        return subprocess.run(["git", *args], cwd=REPO, capture_output=True, text=True).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!bench/shows/out")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (" with changes" if changed else "")


def enter_namespace():
    """Moves this process and its children to a fresh network namespace with lo up.

    Without root a user namespace of our own comes with it.
    """
    new_user, new_net = 0x10000000, 0x40000000
    uid, gid = os.getuid(), os.getgid()
    if not sys.platform.startswith("linux"):
        raise CannotRun(f"the shows need Linux, this is {sys.platform}")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(new_net if uid == 0 else new_net | new_user) != 0:
        why = os.strerror(ctypes.get_errno())
        raise CannotRun(f"no network namespace ({why}): run the show as root")
    if uid != 0:
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    siocsifflags, iff_up_running = 0x8914, 0x41
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, siocsifflags, struct.pack("16sH14x", b"lo", iff_up_running))


def ms(seconds):
    """Milliseconds."""
    return seconds * 1000.0


def pause(seconds):
    """Lets the nodes be."""
    time.sleep(seconds)
