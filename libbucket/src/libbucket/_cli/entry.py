"""The console scripts: starts the commands, or says in one sentence that the extra is not installed.

Knows the name of the extra; must not import what the extra installs.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from importlib.util import find_spec
from typing import Final

_MISSING: Final = "libbucket: the command line is not installed; run: pip install 'libbucket[cli]'\n"


def main() -> int:
    """Runs the command line; returns the exit code: 0 done, 1 failed, 2 wrong usage."""
    if any(find_spec(name) is None for name in ("click", "rich")):
        return _without_extra(sys.argv[1:])
    from libbucket._cli.commands import run

    return run()


def _without_extra(arguments: list[str]) -> int:
    """Answers `--version` and `--help`; the help is how to install the rest."""
    if arguments == ["--version"]:
        sys.stdout.write(f"libbucket, version {version('libbucket')}\n")
        return 0
    is_help = arguments == ["--help"]
    (sys.stdout if is_help else sys.stderr).write(_MISSING)
    return 0 if is_help else 1
