"""Says in one sentence why images can't be built on this machine, or not be run; nothing where they can.

    python tools/images/why_not.py build|run

For sessions that have to know whether they can do their work. What is asked for is only what no commit of this
repository can mend: a builder that works, and Debian's packages. Exit code 0 either way.
"""

from __future__ import annotations

import sys

from choice import find_builder
from contents import read_contents
from context import DOCKER
from libbucket.testing.problems import SetupFailed
from rootfs import PINS, pinned_packages, read_pins


def why_not(*, to_run: bool) -> str:
    """The sentence, or an empty one."""
    try:
        find_builder(to_run=to_run)
        pinned_packages(read_contents(DOCKER / "contents.toml"), read_pins(PINS))
    except SetupFailed as problem:
        return " ".join(str(problem).split())
    return ""


if __name__ == "__main__":
    print(why_not(to_run=sys.argv[1:] == ["run"]))
