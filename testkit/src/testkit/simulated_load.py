"""Workers, the real queue and the real requeue policy, on stores with latencies and limits, in virtual time.

One thread, no waiting: what a store would take in minutes takes a fraction of a second, and always the same.
"""

from __future__ import annotations

import heapq
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import TYPE_CHECKING, Final

from libbucket import Reason
from libbucket._circuit import CircuitOpen, Settings
from libbucket._circuit_breaker import CircuitBreaker
from libbucket._concurrency import LimitSettings
from libbucket._controller.requeue_policy import RequeuePolicy
from libbucket._outcomes import Retry, StoreSignal
from libbucket._queue import WorkQueue
from libbucket._reconcile.model.outcome import Outcome, Result
from libbucket._reconcile.model.snapshot import Recheck

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BOUND: Final = Outcome(result=Result.BOUND, store=StoreSignal.ANSWERED)
_THROTTLED: Final = Outcome(result=Reason.THROTTLED, retry=Retry.SOON, store=StoreSignal.BUSY)
_DENIED: Final = Outcome(result=Reason.ACCESS_DENIED, retry=Retry.SLOWLY, store=StoreSignal.ANSWERED)


@dataclass(kw_only=True)
class SimulatedStore:
    """A store that throttles as a token bucket does, and is slower while it is overloaded.

    Attributes:
        latency: seconds of a call.
        per_second: calls that it takes; infinite for no limit.
        burst: calls that it takes at once after a time without any.
        at_once: calls that it works on at once; the others wait.
        jitter: the part by which a latency varies.
        refuses: whether it denies access.
        breaker: its circuit breaker.
    """

    latency: float
    per_second: float = inf
    burst: float = 1.0
    at_once: float = inf
    jitter: float = 0.0
    refuses: bool = False
    random: Random = field(default_factory=lambda: Random(1))
    breaker: CircuitBreaker = field(init=False)
    _tokens: float = field(init=False, default=0.0)
    _filled: float = field(init=False, default=0.0)
    _free_at: list[float] = field(init=False, default_factory=list)

    def call(self, now: float) -> tuple[float, Outcome]:
        """A call that arrives now: when it is answered, and what comes of it."""
        self._tokens = min(self._tokens + (now - self._filled) * self.per_second, self.burst) if now else self.burst
        self._filled = now
        if self.per_second < inf and self._tokens < 1 - 1e-9:
            return now + self.latency, _THROTTLED
        self._tokens -= 1
        seconds = self.latency * (1 + self.jitter * self.random.expovariate(1.0))
        return self._begin(now) + seconds, _DENIED if self.refuses else _BOUND

    def _begin(self, now: float) -> float:
        if self.at_once == inf:
            return now
        while self._free_at and self._free_at[0] <= now:
            heapq.heappop(self._free_at)
        begins = now if len(self._free_at) < self.at_once else heapq.heappop(self._free_at)
        heapq.heappush(self._free_at, begins + self.latency)
        return begins


class SimulatedLoad:
    """Claims of classes with a store each.

    Args:
        stores: by class.
        workers: maximum number.
        first: see `LimitSettings`.

    Attributes:
        now: seconds since the beginning.
        queue: the real one.
        bound: claims that were bound, by class and by namespace.
        throttled: calls that were throttled, by class.
        waits: the longest time until a claim was bound, by namespace.
        most_busy: the highest number of busy workers.
    """

    def __init__(self, stores: Mapping[str, SimulatedStore], *, workers: int = 64, first: int = 4) -> None:
        self.now = 0.0
        self._stores = stores
        self._workers = workers
        self._busy = 0
        self._count = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        limits = LimitSettings(workers=workers, first=first, class_of=_class_of, count=lambda: len(stores))
        self.queue = WorkQueue(clock=lambda: self.now, random=Random(1), limits=limits)
        self._policy = RequeuePolicy(self.queue)
        self.bound: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        self.most_busy = 0
        self.waits: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self._endless: set[str] = set()
        for store in stores.values():
            store.breaker = CircuitBreaker(
                Settings(wake=self.queue.add_after, clock=lambda: self.now, random=Random(1))
            )

    def add(self, storage_class: str, namespace: str, number: int = 1) -> None:
        """So many more claims."""
        for _ in range(number):
            self._count += 1
            key = f"{namespace}/{storage_class}.{self._count}"
            self._since[key] = self.now
            self.queue.add(key)

    def add_endless(self, storage_class: str, namespace: str, number: int) -> None:
        """So many claims, and from then on a new one of that namespace for each that is bound."""
        self._endless.add(namespace)
        self.add(storage_class, namespace, number)

    def run(self, until: float) -> None:
        """Lets time pass."""
        while True:
            self._fill()
            turn = self.now + self.queue.seconds_to_next_turn() if self._busy < self._workers else inf
            at = min(turn, self._events[0][0] if self._events else inf)
            if at > until:
                self.now = until
                return
            self.now = max(at, self.now)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()

    def _fill(self) -> None:
        while self._busy < self._workers:
            key = self.queue.get(timeout=0)
            if key is None:
                return
            self._busy += 1
            self.most_busy = max(self.most_busy, self._busy)
            self._start(key)

    def _start(self, key: str) -> None:
        store, stack = self._stores[_class_of(key)], ExitStack()
        try:
            call = stack.enter_context(store.breaker.request(key))
        except CircuitOpen as held:
            self._end(key, Outcome(result=Reason.THROTTLED, retry=Retry.SOON, delay=held.seconds))
            return
        ends, outcome = store.call(self.now)

        def end() -> None:
            call.signal = outcome.store
            stack.close()
            self._end(key, outcome)

        self._count += 1
        heapq.heappush(self._events, (ends, self._count, end))

    def _end(self, key: str, outcome: Outcome) -> None:
        self._busy -= 1
        storage_class, namespace = _class_of(key), key.partition("/")[0]
        self._policy.plan(key, outcome, Recheck.NONE)
        self.queue.done(key)
        if outcome is _BOUND:
            self.bound[storage_class] += 1
            self.bound[namespace] += 1
            self.waits[namespace] = max(self.waits.get(namespace, 0.0), self.now - self._since.pop(key))
            if namespace in self._endless:
                self.add(storage_class, namespace)
        elif outcome is _THROTTLED:
            self.throttled[storage_class] += 1


def _class_of(key: str) -> str:
    return key.partition("/")[2].partition(".")[0]
