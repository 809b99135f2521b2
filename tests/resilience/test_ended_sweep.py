"""A sweep that is ended from outside leaves no process behind: real processes, and the store in memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from testkit.resilience.trials import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

SWEEP: Final = [sys.executable, "-m", "testkit.resilience.chaos", "answers", "--store", "memory", "--exhaustive"]
WORKERS: Final = 2


def workers_of(pid: int) -> set[int]:
    """The processes that hold the stores, and not the one that keeps track of semaphores."""
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return {int(child) for text in lists for child in text.split() if b"spawn_main" in command_of(int(child))}


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def sweep(output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A sweep whose processes all run, and which are all ended when the test fails."""
    # Into a file: a pipe that is not read until the end would stop the sweep when it is full.
    with output.open("wb") as file, subprocess.Popen(SWEEP, stdout=file, stderr=subprocess.STDOUT) as process:
        workers: set[int] = set()

        def have_started() -> None:
            workers.update(workers_of(process.pid))
            assert len(workers) == WORKERS

        try:
            eventually(have_started, seconds=600)
            yield process
        finally:
            for pid in [process.pid, *(each for each in workers if b"spawn_main" in command_of(each))]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
def test_a_sweep_that_is_ended_leaves_no_process_behind(
    sweep: subprocess.Popen[bytes], output: Path, by: signal.Signals
) -> None:
    workers = workers_of(sweep.pid)
    sweep.send_signal(by)
    sweep.wait(timeout=600)  # after the trial that runs, or after loading

    def are_gone() -> None:
        assert [each for each in workers if command_of(each)] == []

    eventually(are_gone, seconds=600)
    if by is not signal.SIGKILL:
        assert "stopped; what was tried until then:" in output.read_text()
