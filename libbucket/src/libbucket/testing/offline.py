"""No test reaches the real internet: a guard that fails every attempt, and so proves that there was none.

A pytest plugin, `pytest_plugins = ["libbucket.testing.offline"]`. Watches what this process and, by
`guarded_environment`, Python processes that a test starts ask the operating system for: names to resolve, addresses to
connect to. Only this machine's own are let through. Knows no store and no protocol.

In this process an attempt gets an OSError, and fails the test it happened in, whatever became of the error. A process
that a test started ends at once, with exit code 70 and one line that says where it wanted to go.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from libbucket.testing._destination import destination, never_exists

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHILDREN: Final = Path(__file__).with_name("_offline_child")


def guarded_environment() -> dict[str, str]:
    """Environment that puts the guard into a Python process from its first line on."""
    paths = [str(_CHILDREN), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


class _Guard:
    """Of this process. An audit hook can't be taken out again, so it checks whether it is active."""

    def __init__(self) -> None:
        self.on_duty = False
        self.attempts: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on_duty or not event.startswith("socket."):
            return
        host = destination(event, arguments)
        if never_exists(host):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if host:
            self.attempts.append(host)
            raise ConnectionRefusedError(f"tests stay on this machine, and this one wanted to reach {host}")


@pytest.fixture(scope="session")
def _guard() -> Iterator[_Guard]:
    guard = _Guard()
    sys.addaudithook(guard)
    guard.on_duty = True
    yield guard
    guard.on_duty = False


@pytest.fixture(autouse=True)
def stays_offline(_guard: _Guard) -> Iterator[None]:
    """Fails the test that tried to reach another machine."""
    _guard.attempts.clear()
    yield
    assert not _guard.attempts, f"wanted to reach the real internet: {', '.join(_guard.attempts)}"
