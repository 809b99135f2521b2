"""The work queue: which claim is looked at next, and when.

Between the informers, which add keys, and the workers, which take them. Holds keys only, never objects: a
worker reads the world again. Knows nothing of Kubernetes, except that a key is `namespace/name`.

- A key is on at most one worker. Added while it is worked on, it comes again afterwards.
- Added many times, it waits once; added with a delay, the earliest time wins.
- Namespaces take turns, so that five hundred claims of one tenant don't hold up the one of another.
- Lanes take turns too, and each has a limit, so that a store that hangs doesn't hold up another (`Lanes`).
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from libbucket._lanes import Lanes, LaneSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket._backoff import Backoff

_Turns = OrderedDict[str, deque[str]]
"""Ready keys by namespace; the one whose turn is next comes first."""


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """A picture of the queue, for metrics.

    Attributes:
        ready: keys that wait for a worker.
        delayed: keys that wait for their time.
        working: keys on a worker now.
        longest_wait: seconds that the oldest ready key has waited.
    """

    ready: int
    delayed: int
    working: int
    longest_wait: float


class WorkQueue:
    """A de-duplicating, delaying queue that is fair between lanes, and in each between namespaces. Safe for threads.

    Args:
        clock: in seconds.
        pace: how many of its seconds go by in a real one; tests have a fast clock.
        random: for jitter.
        lanes: how keys are told apart, and how many of a kind may be on workers.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        pace: float = 1.0,
        random: Random | None = None,
        lanes: LaneSettings | None = None,
    ) -> None:
        self._clock = clock
        self._pace = pace
        self._random = random or Random()  # noqa: S311 - jitter, not a secret
        self._changed = threading.Condition()
        self._lanes = Lanes(lanes or LaneSettings())
        self._turns: OrderedDict[str, _Turns] = OrderedDict()
        self._ready_since: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._timers: list[tuple[float, str]] = []
        self._working: dict[str, str] = {}
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._closed = False

    def add(self, key: str) -> None:
        """Has the key looked at as soon as a worker is free."""
        with self._changed:
            self._due.pop(key, None)
            self._make_ready(key)

    def add_after(self, key: str, delay: float) -> None:
        """Has the key looked at in `delay` seconds, or earlier if something else asks for it."""
        with self._changed:
            due = self._clock() + max(delay, 0.0)
            if key in self._ready_since or key in self._again or self._due.get(key, due + 1) <= due:
                return
            self._due[key] = due
            heapq.heappush(self._timers, (due, key))
            self._changed.notify()

    def retry(self, key: str, backoff: Backoff, *, at_least: float = 0.0) -> float:
        """Counts a failure of the key and has it looked at again after the back-off; gives the delay in seconds."""
        with self._changed:
            attempt = self._failures[key] = self._failures.get(key, 0) + 1
            delay = max(backoff.delay(attempt, self._random), at_least)
        self.add_after(key, delay)
        return delay

    def forget(self, key: str) -> None:
        """Forgets the key's failures: the next one starts from the first delay."""
        with self._changed:
            self._failures.pop(key, None)

    def failures(self, key: str) -> int:
        """How often the key failed in a row."""
        with self._changed:
            return self._failures.get(key, 0)

    def get(self) -> str | None:
        """The next key, waiting for one; None once the queue is closed. Call `done` when finished with it."""
        with self._changed:
            while not self._closed:
                self._promote_due()
                key = self._take()
                if key is not None:
                    return key
                self._changed.wait(self._seconds_to_next_timer())
            return None

    def done(self, key: str) -> None:
        """Gives the key back; if it was added meanwhile it becomes ready again."""
        with self._changed:
            lane = self._working.pop(key, None)
            if lane is not None:
                self._lanes.end(lane)
                self._changed.notify()  # the lane may have been at its limit
            if key in self._again:
                self._again.discard(key)
                self._make_ready(key)

    def note(self, key: str, *, answers: bool) -> str | None:
        """Notes of a key on a worker whether its store answered.

        Returns:
            Its lane where that is news; None where it is not.
        """
        with self._changed:
            lane = self._working.get(key)
            if lane is None or not self._lanes.note(lane, answers=answers):
                return None
            self._changed.notify_all()
            return lane

    def close(self) -> None:
        """Wakes every waiting worker with None. Keys that are left are dropped: a restart lists them again."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def state(self) -> QueueState:
        """What waits now."""
        with self._changed:
            oldest = min(self._ready_since.values(), default=self._clock())
            return QueueState(
                ready=len(self._ready_since),
                delayed=len(self._due),
                working=len(self._working),
                longest_wait=self._clock() - oldest,
            )

    def _make_ready(self, key: str) -> None:
        if key in self._working:
            self._again.add(key)
        elif key not in self._ready_since:
            self._ready_since[key] = self._clock()
            lane = self._turns.setdefault(self._lanes.of(key), OrderedDict())
            lane.setdefault(key.partition("/")[0], deque()).append(key)
            self._changed.notify()

    def _take(self) -> str | None:
        """The next key of the first lane that may have one more worker; None where none may."""
        lane = next((each for each in self._turns if self._lanes.may_start(each)), None)
        if lane is None:
            return None
        turns = self._turns.pop(lane)
        key = _next_of(turns)
        if turns:
            self._turns[lane] = turns  # to the end: the other lanes come first
        del self._ready_since[key]
        self._working[key] = lane
        self._lanes.start(lane)
        return key

    def _promote_due(self) -> None:
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            due, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                del self._due[key]
                self._make_ready(key)

    def _seconds_to_next_timer(self) -> float | None:
        return max(self._timers[0][0] - self._clock(), 0.0) / self._pace if self._timers else None


def _next_of(turns: _Turns) -> str:
    namespace, keys = turns.popitem(last=False)
    key = keys.popleft()
    if keys:
        turns[namespace] = keys  # to the end: the other namespaces come first
    return key
