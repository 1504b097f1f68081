"""The simulator as a show runs it: built in release, and nice to its neighbours."""

import os
import pathlib
import subprocess

import lab

BUGS = ("flat-refutation", "runless-window", "stale-suspicion", "adopted-leaver", "strangers-ack")


def binary(profile="release", bugs=False):
    """`dui-sim` of this repository, up to date; with `bugs`, one whose nodes can make mistakes."""
    lab.need("cargo", "install Rust from https://rustup.rs")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", lab.REPO / "target"))
    argv = ["nice", "cargo", "build", "--quiet", "-p", "dui-sim"]
    if profile == "release":
        argv.append("--release")
    if bugs:
        # Beside the other, not over it.
        target /= "bugs"
        argv += ["--features", "bugs", "--target-dir", str(target)]
    subprocess.run(argv, cwd=lab.REPO, check=True)
    return str(target / ("release" if profile == "release" else "debug") / "dui-sim")


def start(argv):
    """Starts a run; its output is read with `communicate`."""
    return subprocess.Popen(["nice", *map(str, argv)], stdout=subprocess.PIPE, text=True)


def run(*argv):
    """Exit code and output of a run."""
    process = start(argv)
    output, _ = process.communicate()
    return process.returncode, output
