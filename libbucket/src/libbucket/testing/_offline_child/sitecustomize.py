# ruff: noqa: INP001 - a folder of its own that goes on the path, not a package

"""Keeps a process that a test started on this machine: Python runs this before anything else of the process.

Stands alone in its folder, which `libbucket.testing.offline` puts on the path of such processes.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not event.startswith("socket."):
        return
    # Not earlier: the interpreter is only starting when this module is read.
    from libbucket.testing._destination import destination, never_exists

    host = destination(event, arguments)
    if host and not never_exists(host):
        os.write(2, f"tests stay on this machine, and this process wanted to reach {host}\n".encode())
        os._exit(70)  # at once: an exception could be taken for a store that is down


sys.addaudithook(_watch)
