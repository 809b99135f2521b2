"""Completion of `kubectl libbucket`: the program that kubectl runs by the name `kubectl_complete-libbucket`.

kubectl calls it with the words after the plugin's name, the last of which is to be completed, and reads one candidate a
line, then a directive of cobra. Source: kubectl's `pkg/cmd/plugin/plugin_completion.go`, and
https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/. Sends no request.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_FILES: Final = ":4"
_FILES: Final = ":0"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the candidates for the last word; nothing where the command line is not installed."""
    try:
        from click.shell_completion import ShellComplete

        from libbucket._cli.commands import main as commands
    except ImportError:
        return 0
    words = list(sys.argv[1:] if argv is None else argv) or [""]
    found = ShellComplete(commands, {}, "libbucket", "").get_completions(words[:-1], words[-1])
    for item in found:
        if item.type == "plain":
            sys.stdout.write(f"{item.value}\t{item.help}\n" if item.help else f"{item.value}\n")
    takes_file = any(item.type in {"file", "dir"} for item in found)
    sys.stdout.write(f"{_FILES if takes_file else _NO_FILES}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
