"""Kills and removes what a dead parent left: a program of its own, one per process that starts others.

Reads lines from its standard input, which only the parent holds open: `+group PID`, `-group PID`,
`+directory PATH`, `-directory PATH`. When the input ends, the parent is gone, in whatever way; what it has not
taken back is killed and removed. That also covers SIGKILL, which no `finally` and no `atexit` sees, and, unlike
a parent-death signal, it does not depend on which thread started what.

Runs with the standard library only, isolated from the environment. Must not import libbucket.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

_PATIENCE = 2.0


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return not _is_zombie(group)


def _is_zombie(pid: int) -> bool:
    """Whether it has ended and only waits to be waited for, which in a container may never happen."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def _kill(groups: set[int]) -> None:
    for group in groups:
        if _is_alive(group):
            os.killpg(group, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE
    while any(_is_alive(group) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.02)


def main() -> None:
    """Waits for the parent's end, then cleans up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    directories: set[str] = set()
    for line in sys.stdin:
        verb, _, value = line.rstrip("\n").partition(" ")
        if verb == "+group":
            groups.add(int(value))
        elif verb == "-group":
            groups.discard(int(value))
        elif verb == "+directory":
            directories.add(value)
        elif verb == "-directory":
            directories.discard(value)
    _kill(groups)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
