"""When the next bucket of a project may be made or deleted: Google takes about one such request every two seconds.

https://cloud.google.com/storage/quotas#buckets. Used by `storage`, held by `connector`. Each bucket gets a turn, so
that many claims at once come one after the other, each by one requeue, rather than all again and again; and a tenant
with many does not keep the others waiting. Nothing sleeps here, and no state depends on it: where a turn is lost, with
the process, another is given.

A turn that is near is taken, and its caller sleeps until then. By a requeue, whose back-off is longer, the claim would
come late, and so would every turn after it.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

MOST_TURNS: Final = 10_000
NEAR_SECONDS: Final = 1.0
"""At most one caller of a project sleeps at a time: the next turn is further away."""
_MARGIN: Final = 0.1
"""Seconds: requests do not all take the same time to arrive."""
_LATE: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class _Turn:
    """A moment that is kept for one bucket."""

    at: datetime
    tenant: str
    bucket: str


class Pace:
    """One per process; its methods may be called from several threads.

    Args:
        now: the clock.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._waiting: dict[Hashable, list[_Turn]] = {}
        self._last: dict[Hashable, datetime] = {}
        self._lock = threading.Lock()

    def take_turn(self, project: Hashable, bucket: str, interval: float, *, tenant: str) -> float:
        """Takes the turn of this bucket, or keeps it for later; gives how many seconds it is away.

        Within `NEAR_SECONDS` it is taken: the caller sends the request after as many seconds. Else it asks again then.

        Args:
            project: what has the rate.
            bucket: whose turn it is.
            interval: seconds between two turns; 0 for no rate.
            tenant: of several that wait, each in turn: the namespace of the claim.
        """
        if not interval:
            return 0.0
        between = timedelta(seconds=interval + _MARGIN)
        with self._lock:
            now = self._now()
            turns = [each for each in self._waiting.get(project, []) if each.at >= now - _LATE]
            mine = next((each for each in turns if each.bucket == bucket), None)
            if mine is None:
                free = max([now, self._free(project, between, now), *(each.at + between for each in turns)])
                turns = _join(turns, tenant, bucket, free)
                mine = next(each for each in turns if each.bucket == bucket)
            at = max(mine.at, now, self._free(project, between, now))
            near = now + timedelta(seconds=NEAR_SECONDS)
            if mine.at <= now and near < at:
                # Others that missed their turns before this one will be back. Were all told of the next free moment,
                # one would get it, and the others ask again and again, and lose to those whose turn it is by then.
                at += between * sum(each.at < mine.at for each in turns)
            if at <= near:
                turns.remove(mine)
                self._last[project] = at
            self._waiting[project] = turns[-MOST_TURNS:]
            return (at - now).total_seconds()

    def _free(self, project: Hashable, between: timedelta, now: datetime) -> datetime:
        """When the last request is far enough away."""
        last = self._last.get(project)
        return now if last is None else last + between


def _join(turns: list[_Turn], tenant: str, bucket: str, free: datetime) -> list[_Turn]:
    """The turns with one more, in their order.

    A tenant that has fewer takes a turn of one that has more, which gets the last one instead: so of those that wait
    each tenant is next in turn, however many claims it has, and no other turn changes.

    Args:
        turns: that are taken.
        tenant: of the new one.
        bucket: of the new one.
        free: the first moment after all of them.
    """
    new, ranks = _Turn(free, tenant, bucket), Counter[str]()
    own = sum(each.tenant == tenant for each in turns)
    for index, each in enumerate(turns):
        ranks[each.tenant] += 1
        if each.tenant != tenant and ranks[each.tenant] > own + 1:
            later = replace(each, at=free)
            return [*turns[:index], replace(new, at=each.at), *turns[index + 1 :], later]
    return [*turns, new]
