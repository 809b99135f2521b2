"""Waits for SIGTERM and SIGINT in the main thread, while other threads work.

Uses a queue instead of an Event, because a handler may interrupt the thread that waits on it, and only the queue is
reentrant. Handlers are set in the main thread only, and restored at the end.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class Interrupted(Exception):
    """A signal was received."""


class Signals:
    """Signals, for the main thread to wait for."""

    def __init__(self) -> None:
        self._happened: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()

    def wait(self) -> None:
        """Waits for a signal."""
        self._happened.get()

    def run(self, work: Callable[[], T]) -> T:
        """Runs a function in another thread, and returns its result or raises its error.

        Raises:
            Interrupted: a signal was received first. The thread is abandoned.
        """
        threading.Thread(target=self._work, args=(work,), name="main-work", daemon=True).start()
        outcome = self._happened.get()
        if outcome is None:
            raise Interrupted
        result: T = outcome()
        return result

    def notice(self, *_: object) -> None:
        """The signal handler."""
        self._happened.put(None)

    def _work(self, work: Callable[[], T]) -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            failure = error
            self._happened.put(lambda: _throw(failure))
        else:
            self._happened.put(lambda: result)


def _throw(error: BaseException) -> None:
    raise error


@contextmanager
def caught_signals() -> Iterator[Signals]:
    """Catches SIGTERM and SIGINT until the block ends, if this is the main thread."""
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {number: signal.signal(number, signals.notice) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
