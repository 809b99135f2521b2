"""Limits the Events of one claim: alternating reasons must not write one with every retry.

A token bucket, as client-go's spam filter: a burst, then one every few minutes. Used by the reporter.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BURST: Final = 25
SECONDS_PER_EVENT: Final = 300.0
_MOST: Final = 10_000
"""Maximum number of claims; one that is dropped has a full burst again."""


class EventBudget:
    """Token buckets by the uid of the claim. Safe for threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, uid: str) -> bool:
        """Whether one more Event may be written; counts it."""
        with self._lock:
            now = self._clock()
            left, since = self._left.pop(uid, (float(BURST), now))
            left = min(left + (now - since) / SECONDS_PER_EVENT, float(BURST))
            self._left[uid] = (max(left - 1, 0.0) if left >= 1 else left, now)
            if len(self._left) > _MOST:
                self._left.popitem(last=False)
            return left >= 1

    def forget(self, uid: str) -> None:
        """Drops a claim that is gone."""
        with self._lock:
            self._left.pop(uid, None)
