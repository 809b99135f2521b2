"""The work queue: which claim is reconciled next, and when.

Between the informers, which add keys, and the workers, which take them. Holds keys only, never objects: a worker
observes the cluster anew. Knows nothing of Kubernetes, except that a key is `namespace/name`.

- At most one worker has a key. A key that is added while a worker has it is requeued afterwards.
- Keys are deduplicated; of several delays the earliest time counts.
- Fair between namespaces, so that five hundred claims of one tenant do not delay the one claim of another.
- Fair between classes, each with a concurrency limit, so that a store that hangs does not block another.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from libbucket._backoff import Backoff
from libbucket._concurrency import ConcurrencyLimits, LimitSettings, namespace_of

if TYPE_CHECKING:
    from collections.abc import Callable

_AFTER_INTERNAL_ERROR = Backoff(base=1.0, ceiling=300.0)

_Turns = OrderedDict[str, deque[str]]
"""Ready keys by namespace; the next namespace comes first."""


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """The state of the queue, for metrics.

    Attributes:
        ready: keys that wait for a worker.
        delayed: keys that wait for a point in time.
        working: keys that workers have.
        longest_wait: seconds that the oldest ready key has waited.
    """

    ready: int
    delayed: int
    working: int
    longest_wait: float


class WorkQueue:
    """A deduplicating, delaying queue, fair between classes, and in each between namespaces. Safe for threads.

    Args:
        clock: monotonic, in seconds.
        pace: seconds of the clock in one real second; more than 1 in tests.
        random: for jitter.
        limits: groups of keys, and their concurrency limits.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        pace: float = 1.0,
        random: Random | None = None,
        limits: LimitSettings | None = None,
    ) -> None:
        self._clock = clock
        self._pace = pace
        self._random = random or Random()  # noqa: S311 - jitter, not a secret
        self._changed = threading.Condition()
        self._limits = ConcurrencyLimits(limits or LimitSettings())
        self._turns: OrderedDict[str, _Turns] = OrderedDict()
        self._ready_since: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._timers: list[tuple[float, str]] = []
        self._working: dict[str, str] = {}
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._closed = False

    def add(self, key: str) -> None:
        """Adds a key, to be reconciled as soon as a worker is free."""
        with self._changed:
            self._due.pop(key, None)
            self._make_ready(key)

    def add_after(self, key: str, delay: float) -> None:
        """Adds a key, to be reconciled in `delay` seconds, or earlier if it is added again."""
        with self._changed:
            due = self._clock() + max(delay, 0.0)
            if key in self._ready_since or key in self._again or self._due.get(key, due + 1) <= due:
                return
            self._due[key] = due
            heapq.heappush(self._timers, (due, key))
            self._changed.notify()

    def retry(self, key: str, backoff: Backoff, *, at_least: float = 0.0) -> float:
        """Counts a failure of the key and requeues it after the back-off; returns the delay in seconds."""
        with self._changed:
            attempt = self._failures[key] = self._failures.get(key, 0) + 1
            delay = max(backoff.delay(attempt, self._random), at_least)
        self.add_after(key, delay)
        return delay

    def failure_delay(self, key: str) -> float:
        """Counts an internal error of the key; returns the seconds after which to retry."""
        with self._changed:
            attempt = self._failures[key] = self._failures.get(key, 0) + 1
            return _AFTER_INTERNAL_ERROR.delay(attempt, self._random)

    def forget(self, key: str) -> None:
        """Resets the back-off of the key."""
        with self._changed:
            self._failures.pop(key, None)

    def failures(self, key: str) -> int:
        """The number of consecutive failures of the key."""
        with self._changed:
            return self._failures.get(key, 0)

    def get(self) -> str | None:
        """Waits for the next key; None once the queue is closed. The caller calls `done` afterwards."""
        with self._changed:
            while not self._closed:
                self._promote_due()
                key = self._take()
                if key is not None:
                    return key
                self._changed.wait(self._seconds_to_next_timer())
            return None

    def done(self, key: str) -> None:
        """The worker finished the key; if it was added in the meantime, it is ready again."""
        with self._changed:
            storage_class = self._working.pop(key, None)
            if storage_class is not None:
                self._limits.end(storage_class, key)
                self._changed.notify()  # the class or the namespace may have been at its limit
            if key in self._again:
                self._again.discard(key)
                self._make_ready(key)

    def note_class(self, key: str, *, answers: bool) -> str | None:
        """Records whether the store of a key that a worker has answered.

        Returns:
            The class of the key if that is a change, else None.
        """
        with self._changed:
            storage_class = self._working.get(key)
            if storage_class is None or not self._limits.note_class(storage_class, answers=answers):
                return None
            self._changed.notify_all()
            return storage_class

    def limit_namespace(self, key: str, *, is_limited: bool) -> None:
        """Limits the namespace of a key to one worker, or removes that limit."""
        with self._changed:
            if self._limits.note_namespace(namespace_of(key), is_limited=is_limited):
                self._changed.notify_all()

    def clear(self) -> None:
        """Drops every key that waits, and its back-off; workers keep the keys that they have."""
        with self._changed:
            for each in (self._turns, self._ready_since, self._due, self._timers, self._again, self._failures):
                each.clear()

    def close(self) -> None:
        """Wakes every waiting worker with None. Remaining keys are dropped: a restart lists them again."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def state(self) -> QueueState:
        """The current state, for metrics."""
        with self._changed:
            now = self._clock()
            return QueueState(
                ready=len(self._ready_since),
                delayed=len(self._due),
                working=len(self._working),
                longest_wait=now - min(self._ready_since.values(), default=now),
            )

    def _make_ready(self, key: str) -> None:
        if key in self._working:
            self._again.add(key)
        elif key not in self._ready_since:
            self._ready_since[key] = self._clock()
            turns = self._turns.setdefault(self._limits.class_of(key), OrderedDict())
            turns.setdefault(namespace_of(key), deque()).append(key)
            self._changed.notify()

    def _take(self) -> str | None:
        """The next key of the first class and namespace below its limit; None if all are at their limits."""
        found = self._next_turn()
        if found is None:
            return None
        storage_class, namespace = found
        turns = self._turns.pop(storage_class)
        key = _next_of(turns, namespace)
        if turns:
            self._turns[storage_class] = turns  # to the end: other classes are next
        del self._ready_since[key]
        self._working[key] = storage_class
        self._limits.start(storage_class, key)
        return key

    def _next_turn(self) -> tuple[str, str] | None:
        for storage_class, turns in self._turns.items():
            if not self._limits.may_start(storage_class):
                continue
            for namespace in turns:
                if self._limits.may_start_in(namespace, storage_class):
                    return storage_class, namespace
        return None

    def _promote_due(self) -> None:
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            due, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                del self._due[key]
                self._make_ready(key)

    def _seconds_to_next_timer(self) -> float | None:
        return max(self._timers[0][0] - self._clock(), 0.0) / self._pace if self._timers else None


def _next_of(turns: _Turns, namespace: str) -> str:
    keys = turns.pop(namespace)
    key = keys.popleft()
    if keys:
        turns[namespace] = keys  # to the end: other namespaces are next
    return key
