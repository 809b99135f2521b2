"""Concurrency limits (bulkheads): no store and no namespace may occupy all workers.

Used by the work queue, under its lock; the requeue policy reports degraded stores and namespaces. Claims of one
StorageClass share a store, and therefore a limit. Pure: no lock, no clock, no Kubernetes.

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
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


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
        workers: number of workers; 0 for no limit.
        class_of: returns the StorageClass of a key.
        count: returns the number of classes, also of those without keys in the queue.
    """

    workers: int = 0
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


class ConcurrencyLimits:
    """Counts the workers of each class and namespace, and decides whether one more may start."""

    def __init__(self, settings: LimitSettings) -> None:
        self._settings = settings
        self._classes = _Degraded()
        self._namespaces = _Degraded()
        self._shares: Counter[tuple[str, str]] = Counter()
        self._first_namespace = ""
        self._has_several_namespaces = False

    def class_of(self, key: str) -> str:
        """The current class of a key."""
        return self._settings.class_of(key)

    def may_start(self, storage_class: str) -> bool:
        """Whether a worker may take one more key of this class."""
        if not self._settings.workers:
            return True
        if storage_class in self._classes.degraded:
            return self._classes.may_start(storage_class, self._shared)
        return self._classes.busy[storage_class] < self._limit

    def may_start_in(self, namespace: str, storage_class: str) -> bool:
        """Whether a worker may take one more key of this namespace, from a class that may start."""
        if not self._settings.workers:
            return True
        self._note_namespace(namespace)
        if namespace in self._namespaces.degraded:
            return self._namespaces.may_start(namespace, self._shared)
        share = _three_quarters(self._limit) if self._has_several_namespaces else self._limit
        return self._shares[storage_class, namespace] < share

    def start(self, storage_class: str, key: str) -> None:
        """A worker took a key of this class."""
        namespace = namespace_of(key)
        self._classes.busy[storage_class] += 1
        self._namespaces.busy[namespace] += 1
        self._shares[storage_class, namespace] += 1

    def end(self, storage_class: str, key: str) -> None:
        """A worker finished a key of this class."""
        namespace = namespace_of(key)
        _count_down(self._classes.busy, storage_class)
        _count_down(self._namespaces.busy, namespace)
        _count_down(self._shares, (storage_class, namespace))

    def note_class(self, storage_class: str, *, answers: bool) -> bool:
        """Records whether the class's store answered; returns whether that is a change."""
        return self._classes.note(storage_class, is_degraded=not answers)

    def note_namespace(self, namespace: str, *, is_limited: bool) -> bool:
        """Records whether the API server fails on a namespace's objects; returns whether that is a change."""
        return self._namespaces.note(namespace, is_degraded=is_limited)

    def _note_namespace(self, namespace: str) -> None:
        self._first_namespace = self._first_namespace or namespace
        self._has_several_namespaces |= namespace != self._first_namespace

    @property
    def _shared(self) -> int:
        return _three_quarters(self._settings.workers)

    @property
    def _limit(self) -> int:
        """Of one class."""
        return self._shared if self._settings.count() > 1 else self._settings.workers


def _count_down(counter: Counter[T], key: T) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


def _three_quarters(workers: int) -> int:
    return workers - workers // 4 if workers >= 4 else max(workers - 1, 1)
