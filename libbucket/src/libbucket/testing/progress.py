"""Prints what is waited for to the error stream, once a wait takes longer than two seconds.

On a terminal one line per wait that counts the time; elsewhere a plain line at once and every fifteen seconds, which
names what is waited for, so that lines of several waits can be told apart. Knows nothing of what is waited for.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATIENCE: Final = 2.0
_PLAIN_INTERVAL: Final = 15.0
_REDRAW_INTERVAL: Final = 0.5
_DETAIL_LENGTH: Final = 60

console: Final = Console(stderr=True, highlight=False, soft_wrap=True)
"""Where progress goes. Code that prints during a wait prints here, so that lines do not run into each other."""


def _no_detail() -> str:
    return ""


class _Screen:
    """The lines of all waits on a terminal, in one display: two would overwrite each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: Progress | None = None

    @contextmanager
    def line(self, message: str, *, seconds: int) -> Iterator[Callable[[str], None]]:
        """Shows a line for the length of the block; gives what changes its last column."""
        with self._lock:
            progress = self._progress = self._progress or _started_display()
            task = progress.add_task(message, total=None, d="")
            progress.tasks[-1].start_time = progress.get_time() - seconds
        try:
            yield lambda detail: progress.update(task, d=detail)
        finally:
            with self._lock:
                progress.remove_task(task)
                if not progress.task_ids:
                    progress.stop()
                    self._progress = None


def _started_display() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    progress = Progress(*columns, TextColumn("{task.fields[d]}", markup=False), console=console, transient=True)
    progress.start()
    return progress


_screen: Final = _Screen()


class _Ticker:
    """Shows one wait from a thread of its own until it is stopped."""

    def __init__(self, message: str, detail: Callable[[], str]) -> None:
        self._message = message
        self._detail = detail
        self._started = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self.shown = False

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    @property
    def seconds(self) -> int:
        return int(time.monotonic() - self._started)

    def _run(self) -> None:
        if self._over.wait(_PATIENCE):
            return
        self.shown = True
        if console.is_terminal:
            self._redraw()
        else:
            self._print_lines()

    def _redraw(self) -> None:
        with _screen.line(self._message, seconds=self.seconds) as show:
            while not self._over.wait(_REDRAW_INTERVAL):
                show(self._detail()[-_DETAIL_LENGTH:])

    def _print_lines(self) -> None:
        console.print(f"{self._message} ...", markup=False)
        while not self._over.wait(_PLAIN_INTERVAL):
            detail = self._detail()[-_DETAIL_LENGTH:]
            console.print(f"{self._message} ... {self.seconds} s {detail}".rstrip(), markup=False)


@contextmanager
def waiting(message: str, *, detail: Callable[[], str] = _no_detail) -> Iterator[None]:
    """Shows `message` while the block runs, if that takes longer than two seconds.

    Args:
        message: what is waited for: "building the control plane".
        detail: asked again and again for what happens right now; a short line.
    """
    ticker = _Ticker(message, detail)
    ticker.start()
    try:
        yield
    finally:
        ticker.stop()
    if ticker.shown:
        console.print(f"{message}: done after {ticker.seconds} s", markup=False)
