"""When the next bucket of a project may be made or deleted: Google takes about one such request every two seconds.

https://cloud.google.com/storage/quotas#buckets. Used by `storage`, held by `connector`. Each bucket gets a turn, so
that many claims at once come one after the other, each by one requeue, rather than all again and again. Nothing sleeps
here, and no state depends on it: where a turn is lost, with the process, another is given.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from datetime import datetime

MOST_TURNS: Final = 10_000
_MARGIN: Final = 0.1
"""Seconds: requests do not all take the same time to arrive."""
_LATE: Final = timedelta(minutes=5)


class Pace:
    """One per process; its methods may be called from several threads.

    Args:
        now: the clock.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._next: dict[Hashable, datetime] = {}
        self._last: dict[Hashable, datetime] = {}
        self._turns: OrderedDict[Hashable, datetime] = OrderedDict()
        self._lock = threading.Lock()

    def seconds_left(self, project: Hashable, bucket: str, interval: float) -> float:
        """Takes the turn of this bucket; gives how many seconds it is away, and 0 if the request may be sent now.

        Args:
            project: what has the rate.
            bucket: whose turn it is.
            interval: seconds between two turns; 0 for no rate.
        """
        if not interval:
            return 0.0
        between = timedelta(seconds=interval + _MARGIN)
        with self._lock:
            now, key = self._now(), (project, bucket)
            turn = self._turns.get(key)
            if turn is None or turn < now - _LATE:
                turn = max(now, self._next.get(project, now))
                self._next[project] = turn + between
                self._turns[key] = turn
            turn = max(turn, self._last.get(project, turn - between) + between)
            if turn <= now:
                del self._turns[key]
                self._last[project] = now
                return 0.0
            while len(self._turns) > MOST_TURNS:
                self._turns.popitem(last=False)
            return (turn - now).total_seconds()
