"""Publishes that a claim is Pending if it is not bound soon: most claims of a quick store save this write.

A claim that waits for a worker is published at a limited rate, the oldest first, so that a burst of claims does not
double its own writes. One thread writes; a worker withdraws a claim before it writes to it, so that both never do at
once. Knows when to write, not what.
"""

from __future__ import annotations

import heapq
import threading
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

import structlog

from libbucket._kube.errors import ClusterUnavailable, Conflict, KubeError, LeadershipLost, NotFound
from libbucket._reconcile.status.skipped_namespaces import SkippedNamespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    WorkOn = Callable[[str], AbstractContextManager[bool]]

PATIENCE: Final = 0.3
"""Seconds after which a claim that is not bound says that it is Pending."""

_PAUSE: Final = 0.1
"""Seconds between two writes."""

IN_QUEUE: Final = "Waiting for other claims, which are served first"


def serve_all(_key: str) -> AbstractContextManager[bool]:
    """The work of a process that is the only replica."""
    return nullcontext(enter_result=True)


class PendingStatus:
    """Safe for threads. `run` needs its own thread; without one nothing is published.

    Args:
        publish: writes the status of the claim with this key, with this message, if it has none.
        work: gives, for the time of a write, whether this replica serves the claim; binds the write to its term.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        publish: Callable[[str, str], None],
        *,
        work: WorkOn = serve_all,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish = publish
        self._work = work
        self._clock = clock
        self._changed = threading.Condition()
        self._messages: dict[str, str] = {}
        self._due: list[tuple[float, str]] = []
        self._writing = ""
        self._skipped = SkippedNamespaces(clock)
        self._stopping = threading.Event()
        self._log = structlog.get_logger()

    def expect(self, key: str, message: str = IN_QUEUE, *, since: float | None = None) -> None:
        """Has a claim published after `PATIENCE`, unless it is withdrawn before.

        Args:
            key: of the claim.
            message: for its author.
            since: when it began to wait, on the clock; now by default.
        """
        with self._changed:
            if key not in self._messages:
                heapq.heappush(self._due, ((self._clock() if since is None else since) + PATIENCE, key))
                self._changed.notify_all()
            self._messages[key] = message

    def withdraw(self, key: str) -> None:
        """Call it before writing to a claim: it is not published from now on. Waits for a write that has begun."""
        with self._changed:
            self._messages.pop(key, None)
            while self._writing == key:
                self._changed.wait()

    @contextmanager
    def during(self, key: str, message: str, *, since: float) -> Iterator[None]:
        """Has a claim published if the block takes long. The block must not write to the claim."""
        self.expect(key, message, since=since)
        try:
            yield
        finally:
            self.withdraw(key)

    def clear(self, has_key: Callable[[str], bool] = lambda _key: True) -> None:
        """Withdraws these claims: this replica no longer serves them."""
        with self._changed:
            self._messages = {key: message for key, message in self._messages.items() if not has_key(key)}
            self._due = [(due, key) for due, key in self._due if key in self._messages]
            heapq.heapify(self._due)

    def run(self) -> None:
        """Publishes until `stop`."""
        while not self._stopping.is_set():
            if self.publish_next():
                self._stopping.wait(_PAUSE)

    def publish_next(self) -> bool:
        """Waits for the next claim that is due, and publishes it; returns whether it did."""
        with self._changed:
            key, message = self._take()
            if not key:
                if not self._stopping.is_set():
                    self._changed.wait(max(self._due[0][0] - self._clock(), 0.0) if self._due else None)
                return False
            self._writing = key
        try:
            return self._write(key, message)
        finally:
            with self._changed:
                self._writing = ""
                self._changed.notify_all()

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def _take(self) -> tuple[str, str]:
        now = self._clock()
        while self._due and self._due[0][0] <= now:
            _, key = heapq.heappop(self._due)
            message = self._messages.pop(key, "")
            if message and _namespace(key) not in self._skipped:
                return key, message
        return "", ""

    def _write(self, key: str, message: str) -> bool:
        try:
            with self._work(key) as is_served:
                if not is_served:
                    return False
                self._publish(key, message)
        except (Conflict, NotFound, LeadershipLost):
            return False
        except KubeError as error:
            if isinstance(error, ClusterUnavailable):
                self._skipped.note_failure(_namespace(key))
            self._log.debug("status Pending not written", claim=key, error=str(error))
        return True


def _namespace(key: str) -> str:
    return key.partition("/")[0]
