"""Simulations: `dui sim` as a show sees it.

What it prints depends on its flags alone; only the time that it takes and the
memory that it needs are this machine's.
"""

import json
import os
import subprocess
import time


class Result:
    """Figures of one simulation, and what it took to get them."""

    def __init__(self, figures, wall_s, rss_mib):
        self.figures, self.wall_s, self.rss_mib = figures, wall_s, rss_mib

    def __getitem__(self, name):
        return self.figures[name]


def run(show, **flags):
    """Runs `dui sim --json`; `kill=1` is `--kill 1`, `acquainted=True` a flag without value."""
    argv = [show.binary, "sim", "--json"]
    for name, value in flags.items():
        for each in value if isinstance(value, list) else [value]:
            argv.append("--" + name.replace("_", "-"))
            if each is not True:
                argv.append(str(each))
    started = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        out = process.stdout.read()
    except BaseException:
        process.kill()
        raise
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise OSError(f"{' '.join(argv)} ended with {process.returncode}")
    result = Result(json.loads(out), time.monotonic() - started, usage.ru_maxrss / 1024)
    show.say(f"     dui {' '.join(argv[1:])}")
    show.say(f"     {json.dumps(result.figures)}")
    show.say(f"     {result['virtual_s']:.0f} s simulated in {result.wall_s:.0f} s, "
             f"{result.rss_mib:.0f} MiB")
    return result
