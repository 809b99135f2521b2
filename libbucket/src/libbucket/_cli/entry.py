"""The console scripts: starts the commands, or says in one sentence that the extra is not installed.

Knows the name of the extra; must not import what the extra installs.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> int:
    """Runs the command line; returns the exit code: 0 done, 1 failed, 2 wrong usage."""
    if find_spec("click") is None:
        sys.stderr.write("libbucket: the command line is not installed; run: pip install 'libbucket[cli]'\n")
        return 1
    from libbucket._cli.commands import run

    return run()
