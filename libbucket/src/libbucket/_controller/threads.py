"""Long-lived threads: restarted after an unexpected exception, and monitored for the liveness probe.

Started by the controller. A thread that ended silently would leave a stale cache, or a replica that never leads again,
while probes succeed. Knows nothing of the work of the threads.
"""

from __future__ import annotations

import threading
import time
import traceback
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

import structlog

from libbucket._backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

_RESTARTS: Final = Backoff(base=1.0, ceiling=60.0)
_LONG_ENOUGH: Final = 600.0
"""Seconds without an exception after which the back-off is reset."""


@dataclass(frozen=True, kw_only=True)
class _Running:
    name: str
    thread: threading.Thread
    ended: threading.Event


class Threads:
    """The long-lived threads of the process.

    Args:
        on_failure: called with the name of a thread after an unexpected exception.
        random: for jitter.
    """

    def __init__(self, on_failure: Callable[[str], None] = lambda _name: None, random: Random | None = None) -> None:
        self._on_failure = on_failure
        self._random = random or Random()  # noqa: S311 - jitter, not a secret
        self._lock = threading.Lock()
        self._running: list[_Running] = []
        self._stopping = threading.Event()
        self._log = structlog.get_logger()

    def start(self, work: Callable[[], None], name: str) -> None:
        """Runs `work` in a new thread: repeated after a back-off if it raises, ended if it returns.

        Raises:
            RuntimeError: the system has no further thread.
        """
        ended = threading.Event()
        # Daemon threads, so that a call to a store that hangs cannot keep the process alive.
        thread = threading.Thread(target=self._supervise, args=(work, name, ended), name=name, daemon=True)
        with self._lock:
            thread.start()
            self._running = [one for one in self._running if not one.ended.is_set()]
            self._running.append(_Running(name=name, thread=thread, ended=ended))

    def not_alive(self) -> str:
        """Names threads that died without being stopped; "" if none did."""
        if self._stopping.is_set():
            return ""
        dead = sorted(one.name for one in self._all() if not one.thread.is_alive() and not one.ended.is_set())
        return f"threads have died: {', '.join(dead)}" if dead else ""

    def stop(self) -> None:
        """Prevents restarts."""
        self._stopping.set()

    def join(self, seconds: float) -> bool:
        """Waits for all threads to end; returns whether they did in time."""
        deadline = time.monotonic() + seconds
        running = self._all()
        for one in running:
            one.thread.join(max(deadline - time.monotonic(), 0.0))
        return not any(one.thread.is_alive() for one in running)

    def _all(self) -> list[_Running]:
        with self._lock:
            return list(self._running)

    def _supervise(self, work: Callable[[], None], name: str, ended: threading.Event) -> None:
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                work()
            except Exception as error:  # noqa: BLE001 - it is logged and counted, and the thread continues
                failures = 1 if time.monotonic() - started > _LONG_ENOUGH else failures + 1
                self._note(name, error, failures)
                self._stopping.wait(_RESTARTS.delay(failures, self._random))
            else:
                break
        ended.set()

    def _note(self, name: str, error: Exception, failures: int) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        self._on_failure(name)
        try:
            self._log.error(
                "thread failed; restarting it after a back-off",
                thread=name,
                error=type(error).__name__,
                where=where,
                attempt=failures,
            )
        except (OSError, ValueError):
            return  # standard error is closed: that must not end the thread; the metric has counted the failure
