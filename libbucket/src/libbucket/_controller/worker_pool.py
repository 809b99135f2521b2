"""How many worker threads there are: one more than work, up to a maximum, and fewer after a time without work.

Between the controller, which starts the first, and the workers, which report when they are busy. A thread costs memory,
and most of the time one is enough. Knows nothing of keys.
"""

from __future__ import annotations

import threading
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable


class _State(Enum):
    IDLE = auto()
    BUSY = auto()
    FAILED = auto()
    """After an unexpected exception, until its supervisor restarts it."""


class WorkerPool:
    """The worker threads. Safe for threads.

    Args:
        start: starts a thread for some work, under a name; see `Threads.start`.
        most: maximum number of threads.
    """

    def __init__(self, start: Callable[[Callable[[], None], str], None], most: int) -> None:
        self._start = start
        self._most = most
        self._lock = threading.Lock()
        self._states: dict[int, _State] = {}
        self._work: Callable[[int], None] = _nothing
        self._log = structlog.get_logger()

    def __len__(self) -> int:
        return len(self._states)

    def begin(self, work: Callable[[int], None]) -> None:
        """Starts the first thread.

        Args:
            work: of each thread, called with its number; it calls the other methods with it.
        """
        self._work = work
        self._add_spare()

    def busy(self, number: int) -> None:
        """A worker took a key: if none is left for the next key, another thread is started."""
        with self._lock:
            self._states[number] = _State.BUSY
        self._add_spare()

    def idle(self, number: int) -> None:
        """A worker finished its key."""
        with self._lock:
            self._states[number] = _State.IDLE

    def leave(self, number: int) -> bool:
        """A worker had nothing to do for a while; returns whether its thread ends, because another one is idle."""
        with self._lock:
            if sum(each is _State.IDLE for each in self._states.values()) < 2:
                return False
            del self._states[number]
            return True

    def _add_spare(self) -> None:
        with self._lock:
            if _State.IDLE in self._states.values() or len(self._states) >= self._most:
                return
            number = next(each for each in range(self._most) if each not in self._states)
            self._states[number] = _State.IDLE
        try:
            self._start(partial(self._run, number), f"worker-{number}")
        except RuntimeError as error:
            with self._lock:
                del self._states[number]
                left = len(self._states)
            self._log.warning("no further worker thread; continuing with fewer", workers=left, error=str(error))

    def _run(self, number: int) -> None:
        self.idle(number)
        try:
            self._work(number)
        except Exception:
            with self._lock:
                self._states[number] = _State.FAILED
            raise


def _nothing(_number: int) -> None:
    """Before `begin`."""
