"""The keys that wait for a worker, in the order in which they get one.

Used by the work queue, under its lock. Pure: no lock, no clock, no Kubernetes.

- What a user waits for comes first. Every eighth turn belongs to the rest, if there is any: a stream of new claims does
  not hold up the checks of the others for ever.
- In each of the two, classes take turns, and in each class namespaces.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from libbucket._concurrency import namespace_of

if TYPE_CHECKING:
    from collections.abc import Callable

_SHARE: Final = 8
"""One turn in so many is a turn of the low priority."""

_Turns = OrderedDict[str, deque[str]]
"""Keys by namespace; the next namespace comes first."""


class Priority(IntEnum):
    """How urgent a key is, as in controller-runtime's priority queue."""

    NORMAL = 0
    """A user waits for it: a claim that is new, edited or deleted."""
    LOW = 1
    """A claim that serves: after a start, a drift check, a new version of the provisioner."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A key that waits.

    Attributes:
        since: seconds of the queue's clock.
        priority: see there.
        storage_class: its class.
    """

    since: float
    priority: Priority
    storage_class: str


class ReadyKeys:
    """All of them."""

    def __init__(self) -> None:
        self._ready: dict[str, Ready] = {}
        self._turns: dict[Priority, OrderedDict[str, _Turns]] = {each: OrderedDict() for each in Priority}
        self._taken = 0

    def __len__(self) -> int:
        return len(self._ready)

    def __contains__(self, key: str) -> bool:
        return key in self._ready

    @property
    def oldest(self) -> float | None:
        """Since when the one that a user waits for longest has waited; None where there is none."""
        waiting = (each.since for each in self._ready.values() if each.priority is Priority.NORMAL)
        return min(waiting, default=None)

    @property
    def classes(self) -> set[str]:
        """Those with keys that wait."""
        return {storage_class for turns in self._turns.values() for storage_class in turns}

    def add(self, key: str, ready: Ready) -> bool:
        """Adds a key to the end; one that waits already moves only to a higher priority. Returns whether it is new."""
        known = self._ready.get(key)
        if known is not None and known.priority <= ready.priority:
            return False
        if known is not None:
            self._remove(key, known)
            ready = Ready(since=known.since, priority=ready.priority, storage_class=ready.storage_class)
        self._ready[key] = ready
        turns = self._turns[ready.priority].setdefault(ready.storage_class, OrderedDict())
        turns.setdefault(namespace_of(key), deque()).append(key)
        return known is None

    def take(
        self, may_start: Callable[[str], bool], may_start_in: Callable[[str, str], bool]
    ) -> tuple[str, Ready] | None:
        """The next key of the first class and namespace below its limit; None if all are at their limits.

        Args:
            may_start: whether one more key of a class may be taken.
            may_start_in: whether one more of a namespace in a class may.
        """
        for priority in self._order():
            found = self._next_turn(priority, may_start, may_start_in)
            if found is not None:
                self._taken += 1
                key = self._take_from(priority, *found)
                return key, self._ready.pop(key)
        return None

    def clear(self) -> None:
        """Drops all."""
        self._ready.clear()
        for turns in self._turns.values():
            turns.clear()

    def _order(self) -> tuple[Priority, Priority]:
        is_turn_of_low = self._taken % _SHARE == _SHARE - 1
        return (Priority.LOW, Priority.NORMAL) if is_turn_of_low else (Priority.NORMAL, Priority.LOW)

    def _next_turn(
        self, priority: Priority, may_start: Callable[[str], bool], may_start_in: Callable[[str, str], bool]
    ) -> tuple[str, str] | None:
        for storage_class, turns in self._turns[priority].items():
            if not may_start(storage_class):
                continue
            for namespace in turns:
                if may_start_in(namespace, storage_class):
                    return storage_class, namespace
        return None

    def _take_from(self, priority: Priority, storage_class: str, namespace: str) -> str:
        """The next key of a namespace; class and namespace go to the end, so that others are next."""
        classes = self._turns[priority]
        turns = classes.pop(storage_class)
        keys = turns.pop(namespace)
        key = keys.popleft()
        if keys:
            turns[namespace] = keys
        if turns:
            classes[storage_class] = turns
        return key

    def _remove(self, key: str, known: Ready) -> None:
        classes, namespace = self._turns[known.priority], namespace_of(key)
        turns = classes[known.storage_class]
        turns[namespace].remove(key)
        if not turns[namespace]:
            del turns[namespace]
        if not turns:
            del classes[known.storage_class]
