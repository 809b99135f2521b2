"""Concurrency limits (bulkheads): no store and no namespace may occupy all workers.

Used by the work queue, under its lock; the requeue policy reports responses of stores, and degraded namespaces. Claims
of one StorageClass share a store, and therefore a limit. Pure: no lock, no clock, no Kubernetes.

- A class has an adaptive limit, and a rate limit while its store throttles: see `_adaptive_limit`, `_adaptive_rate`.
- If there are several classes, each may occupy at most three quarters of the workers.
- If there are several namespaces, each may occupy at most three quarters of the limit of its class: claims of one that
  hang (a webhook, a store that is slow for one bucket) leave a worker for the others.
- A degraded class, whose store does not answer, is limited to one worker until it answers.
- A namespace on whose objects the API server fails (a dead admission webhook) is limited to one worker until a claim
  succeeds.
- All such classes together, and all such namespaces together, leave a quarter of the workers free.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar

from libbucket._adaptive_limit import AdaptiveLimit
from libbucket._adaptive_rate import AdaptiveRate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")

_FORGOTTEN: Final = 600.0
"""Seconds without a reconcile after which a class starts anew, and takes no memory."""


def same_class(_key: str) -> str:
    """The class of every key if there are no limits."""
    return ""


def namespace_of(key: str) -> str:
    """The namespace of `namespace/name`."""
    return key.partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """How keys are grouped.

    Attributes:
        workers: maximum number of workers; 0 for no limit.
        first: reconciles of a class at once, before it is known what its store takes; 0 for no adaptive limits.
        class_of: returns the StorageClass of a key.
        count: returns the number of classes, also of those without keys in the queue.
    """

    workers: int = 0
    first: int = 0
    class_of: Callable[[str], str] = same_class
    count: Callable[[], int] = lambda: 1


class _Degraded:
    """Groups of one kind (classes or namespaces). Degraded ones have one worker each, and a common limit."""

    def __init__(self) -> None:
        self.busy: Counter[str] = Counter()
        self.degraded: set[str] = set()

    def may_start(self, group: str, shared: int) -> bool:
        return not self.busy[group] and sum(self.busy[each] for each in self.degraded) < shared

    def note(self, group: str, *, is_degraded: bool) -> bool:
        is_news = is_degraded is not (group in self.degraded)
        (self.degraded.add if is_degraded else self.degraded.discard)(group)
        return is_news


@dataclass(frozen=True, kw_only=True)
class StoreResponse:
    """What a reconcile that called its store says about what the store takes.

    Attributes:
        started: when the reconcile started.
        throttled: whether the store asked for fewer requests.
        succeeded: kind of the reconcile, if it succeeded: those of one kind take as long. "" if it did not.
    """

    started: float
    throttled: bool = False
    succeeded: str = ""


class _Load:
    """What the store of one class takes: at once, and per second."""

    def __init__(self, first: int, most: int) -> None:
        self.at_once = AdaptiveLimit(first=first or most, most=most)
        self.per_second = AdaptiveRate()
        self.used = 0.0

    def note(self, response: StoreResponse, now: float) -> None:
        if response.succeeded:
            self.per_second.succeeded()
            self.at_once.succeeded(response.succeeded, now - response.started, now)
        elif response.throttled and self.per_second.throttled(now, started=response.started):
            self.at_once.decrease(at_least=self.per_second.rate)


class ConcurrencyLimits:
    """Counts the workers of each class and namespace, and decides whether one more may start."""

    def __init__(self, settings: LimitSettings) -> None:
        self._settings = settings
        self._classes = _Degraded()
        self._namespaces = _Degraded()
        self._shares: Counter[tuple[str, str]] = Counter()
        self._loads: dict[str, _Load] = {}
        self._first_namespace = ""
        self._has_several_namespaces = False

    def class_of(self, key: str) -> str:
        """The current class of a key."""
        return self._settings.class_of(key)

    def may_start(self, storage_class: str, now: float = 0.0) -> bool:
        """Whether a worker may take one more key of this class."""
        if not self._settings.workers:
            return True
        if storage_class in self._classes.degraded:
            return self._classes.may_start(storage_class, self._shared)
        load = self._load(storage_class)
        if self._classes.busy.get(storage_class, 0) >= self._limit(load):
            load.at_once.want()
            return False
        return not load.per_second.seconds_left(now)

    def may_start_in(self, namespace: str, storage_class: str) -> bool:
        """Whether a worker may take one more key of this namespace, from a class that may start."""
        if not self._settings.workers:
            return True
        self._note_namespace(namespace)
        if namespace in self._namespaces.degraded:
            return self._namespaces.may_start(namespace, self._shared)
        load = self._load(storage_class)
        limit = self._limit(load)
        share = _three_quarters(limit) if self._has_several_namespaces else limit
        if self._shares[storage_class, namespace] < share:
            return True
        load.at_once.want()
        return False

    def seconds_to_turn(self, waiting: Iterable[str], now: float) -> float:
        """Seconds until one of these classes may start, if it is its rate that keeps it; else infinite."""
        turns = (self._loads[each].per_second.seconds_left(now) for each in waiting if each in self._loads)
        return min((each for each in turns if each > 0), default=inf)

    def start(self, storage_class: str, key: str, now: float = 0.0) -> None:
        """A worker took a key of this class."""
        namespace = namespace_of(key)
        self._classes.busy[storage_class] += 1
        self._namespaces.busy[namespace] += 1
        self._shares[storage_class, namespace] += 1
        if self._settings.first:
            self._start(self._load(storage_class), now)

    def end(self, storage_class: str, key: str, *, called_store: bool = True) -> None:
        """A worker finished a key of this class."""
        namespace = namespace_of(key)
        _count_down(self._classes.busy, storage_class)
        _count_down(self._namespaces.busy, namespace)
        _count_down(self._shares, (storage_class, namespace))
        if self._settings.first and not called_store:
            self._load(storage_class).per_second.give_back()

    def note_class(self, storage_class: str, *, answers: bool) -> bool:
        """Records whether the class's store answered; returns whether that is a change."""
        is_change = self._classes.note(storage_class, is_degraded=not answers)
        if is_change and not answers and self._settings.first:
            self._load(storage_class).at_once.decrease()
        return is_change

    def note_response(self, storage_class: str, response: StoreResponse, now: float) -> None:
        """Adapts the limits of a class."""
        if self._settings.first:
            self._load(storage_class).note(response, now)

    def note_namespace(self, namespace: str, *, is_limited: bool) -> bool:
        """Records whether the API server fails on a namespace's objects; returns whether that is a change."""
        return self._namespaces.note(namespace, is_degraded=is_limited)

    def limits(self, now: float) -> Mapping[str, int]:
        """The adaptive limit of each class in use, for metrics."""
        self._forget_unused(now)
        return {each: self._limit(load) for each, load in sorted(self._loads.items())} if self._settings.first else {}

    def _load(self, storage_class: str) -> _Load:
        load = self._loads.get(storage_class)
        if load is None:
            load = self._loads[storage_class] = _Load(self._settings.first, self._settings.workers)
        return load

    def _start(self, load: _Load, now: float) -> None:
        if not load.used:
            self._forget_unused(now)
        load.used = now
        load.per_second.start(now)

    def _forget_unused(self, now: float) -> None:
        for each in [each for each, load in self._loads.items() if now - load.used > _FORGOTTEN]:
            if each not in self._classes.busy:
                del self._loads[each]

    def _note_namespace(self, namespace: str) -> None:
        self._first_namespace = self._first_namespace or namespace
        self._has_several_namespaces |= namespace != self._first_namespace

    @property
    def _shared(self) -> int:
        return _three_quarters(self._settings.workers)

    def _limit(self, load: _Load) -> int:
        """Of one class."""
        return min(load.at_once.limit, self._shared if self._settings.count() > 1 else self._settings.workers)


def _count_down(counter: Counter[T], key: T) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


def _three_quarters(workers: int) -> int:
    return workers - workers // 4 if workers >= 4 else max(workers - 1, 1)
