"""The work queue: which claim is reconciled next, and when.

Between the informers, which add keys, and the workers, which take them. Holds keys only, never objects: a worker
observes the cluster anew. Knows nothing of Kubernetes, except that a key is `namespace/name`.

- At most one worker has a key. A key that is added while a worker has it is requeued afterwards.
- Keys are deduplicated; of several delays the earliest time counts.
- What a user waits for comes before checks of claims that serve, which keep a share.
- Fair between namespaces, so that five hundred claims of one tenant do not delay the one claim of another.
- Fair between classes, each with a concurrency limit, so that a store that hangs does not block another.
"""

from __future__ import annotations

import heapq
import threading
import time
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import TYPE_CHECKING

from libbucket._backoff import Backoff
from libbucket._concurrency import ConcurrencyLimits, LimitSettings, StoreResponse, namespace_of
from libbucket._ready_keys import Priority, Ready, ReadyKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_AFTER_INTERNAL_ERROR = Backoff(base=1.0, ceiling=300.0)


def always_normal(_key: str) -> Priority:
    """The priority of every key if there is one only."""
    return Priority.NORMAL


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """The state of the queue, for metrics.

    Attributes:
        ready: keys that wait for a worker.
        delayed: keys that wait for a point in time.
        working: keys that workers have.
        longest_wait: seconds that the oldest ready key of normal priority has waited.
        limits: the adaptive concurrency limit of each class that was used lately.
    """

    ready: int
    delayed: int
    working: int
    longest_wait: float
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(kw_only=True)
class _Work:
    """A key that a worker has."""

    storage_class: str
    started: float
    called_store: bool = False


class WorkQueue:
    """A deduplicating, delaying queue, fair between classes, and in each between namespaces. Safe for threads.

    Args:
        clock: monotonic, in seconds.
        pace: seconds of the clock in one real second; more than 1 in tests.
        random: for jitter.
        limits: groups of keys, and their concurrency limits.
        priority_of: returns the priority of a key when it becomes ready, or is added again while it is.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        pace: float = 1.0,
        random: Random | None = None,
        limits: LimitSettings | None = None,
        priority_of: Callable[[str], Priority] = always_normal,
    ) -> None:
        self._clock = clock
        self._pace = pace
        self._random = random or Random()  # noqa: S311 - jitter, not a secret
        self._changed = threading.Condition()
        self._limits = ConcurrencyLimits(limits or LimitSettings())
        self._priority_of = priority_of
        self._ready = ReadyKeys()
        self._due: dict[str, float] = {}
        self._timers: list[tuple[float, str]] = []
        self._working: dict[str, _Work] = {}
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._watched = inf
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
            if key in self._ready or key in self._again or self._due.get(key, due + 1) <= due:
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

    def get(self, timeout: float = inf) -> str | None:
        """Waits for the next key; None once the queue is closed. The caller calls `done` afterwards.

        Args:
            timeout: seconds of the clock after which it returns None, too.
        """
        with self._changed:
            until = self._clock() + timeout
            while not self._closed:
                self._promote_due()
                key = self._take()
                if key is not None:
                    if self._watched == inf:
                        self._changed.notify()  # another one has to watch the time
                    return key
                if self._clock() >= until:
                    self._changed.notify()  # likewise
                    break
                self._wait(until)
            return None

    def done(self, key: str) -> None:
        """The worker finished the key; if it was added in the meantime, it is ready again."""
        with self._changed:
            work = self._working.pop(key, None)
            if work is not None:
                self._limits.end(work.storage_class, key, called_store=work.called_store)
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
            work = self._working.get(key)
            if work is None or not self._limits.note_class(work.storage_class, answers=answers):
                return None
            self._changed.notify_all()
            return work.storage_class

    def note_response(self, key: str, *, throttled: bool = False, succeeded: str = "") -> None:
        """Adapts the limits of the class of a key that a worker has, and whose reconcile called the store.

        Args:
            key: `namespace/name`.
            throttled: whether the store asked for fewer requests.
            succeeded: kind of the reconcile, if it succeeded: those of one kind take as long.
        """
        with self._changed:
            work = self._working.get(key)
            if work is not None:
                work.called_store = True
                response = StoreResponse(started=work.started, throttled=throttled, succeeded=succeeded)
                self._limits.note_response(work.storage_class, response, self._clock())

    def limit_namespace(self, key: str, *, is_limited: bool) -> None:
        """Limits the namespace of a key to one worker, or removes that limit."""
        with self._changed:
            if self._limits.note_namespace(namespace_of(key), is_limited=is_limited):
                self._changed.notify_all()

    def clear(self) -> None:
        """Drops every key that waits, and its back-off; workers keep the keys that they have."""
        with self._changed:
            for each in (self._ready, self._due, self._timers, self._again, self._failures):
                each.clear()

    def close(self) -> None:
        """Wakes every waiting worker with None. Remaining keys are dropped: a restart lists them again."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def seconds_to_next_turn(self) -> float:
        """Seconds of the clock until a key is due, or until a class that only its rate keeps may start."""
        with self._changed:
            now = self._clock()
            timer = max(self._timers[0][0] - now, 0.0) if self._timers else inf
            return min(timer, self._limits.seconds_to_turn(self._ready.classes, now))

    def state(self) -> QueueState:
        """The current state, for metrics."""
        with self._changed:
            now = self._clock()
            return QueueState(
                ready=len(self._ready),
                delayed=len(self._due),
                working=len(self._working),
                longest_wait=now - (now if self._ready.oldest is None else self._ready.oldest),
                limits=self._limits.limits(now),
            )

    def _wait(self, until: float) -> None:
        """Waits for a change, at most until a point in time.

        Of several workers one watches the time of the next turn; otherwise all of them would wake at each.
        """
        now = self._clock()
        turn = now + self.seconds_to_next_turn()
        is_watching = turn < self._watched
        if is_watching:
            self._watched = turn
        seconds = (min(turn, until) if is_watching else until) - now
        self._changed.wait(seconds / self._pace if seconds < inf else None)
        if is_watching and self._watched == turn:
            self._watched = inf

    def _make_ready(self, key: str) -> None:
        if key in self._working:
            self._again.add(key)
            return
        ready = Ready(since=self._clock(), priority=self._priority_of(key), storage_class=self._limits.class_of(key))
        if self._ready.add(key, ready):
            self._changed.notify()

    def _take(self) -> str | None:
        now = self._clock()
        found = self._ready.take(lambda each: self._limits.may_start(each, now), self._limits.may_start_in)
        if found is None:
            return None
        key, ready = found
        self._working[key] = _Work(storage_class=ready.storage_class, started=now)
        self._limits.start(ready.storage_class, key, now)
        return key

    def _promote_due(self) -> None:
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            due, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                del self._due[key]
                self._make_ready(key)
