"""How many requests per second go to IAM: as many as an account bears, found out by increasing and halving.

Used by `client`, for all claims of one account, or where its number is not known, of the same administrator. IAM
throttles an account as a whole, with limits that AWS does not publish, status 400 and no `Retry-After`:
https://github.com/cloud-custodian/cloud-custodian/issues/6351. Makes no call and does not wait itself.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

LONGEST_WAIT: Final = 2.0
"""Seconds that a worker waits for its turn; what would take longer is requeued."""

_START: Final = 10.0
_MOST: Final = 20.0
_LEAST: Final = 0.5
_STEP: Final = 0.05
_BURST: Final = 10
"""Requests that are not spaced after a time without any."""
_SAME_BURST: Final = 1.0
_DOUBLES_IN: Final = 10.0
"""Seconds without throttling after which a pace that was halved is doubled, up to what it was at first: one claim whose
requests are throttled, each some time after the last one, does not slow down all others for as long."""
_MOST_DOUBLINGS: Final = 10.0
_MOST_PACERS: Final = 1000


class Pacer:
    """The pace of one account's requests to IAM, in requests per second. Safe for threads.

    Args:
        clock: seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rate = self._slowed_to = _START
        self._next = clock()
        self._slowed = clock() - _SAME_BURST
        self._lock = threading.Lock()

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self._rate

    def reserve(self) -> float:
        """Seconds until the next request may be sent; its turn is taken unless that is beyond `LONGEST_WAIT`."""
        with self._lock:
            now = self._clock()
            self._recover(now)
            wait = max(0.0, self._next - _BURST / self._rate - now)
            if wait <= LONGEST_WAIT:
                self._next = max(self._next, now) + 1 / self._rate
            return wait

    def _recover(self, now: float) -> None:
        doublings = min((now - self._slowed) / _DOUBLES_IN, _MOST_DOUBLINGS)
        self._rate = max(self._rate, min(_START, self._slowed_to * 2**doublings))

    def succeeded(self) -> None:
        """A request was not throttled: the pace increases a little."""
        with self._lock:
            self._rate = min(_MOST, self._rate + _STEP)

    def throttled(self) -> None:
        """A request was throttled: the pace is halved, once for all requests that were on their way."""
        with self._lock:
            now = self._clock()
            if now - self._slowed < _SAME_BURST:
                return
            self._slowed = now
            self._rate = self._slowed_to = max(_LEAST, self._rate / 2)
            self._next = max(self._next, now + (_BURST + 1) / self._rate)  # the burst is spent


class Pacers:
    """The pacers of all accounts; the oldest are forgotten beyond a bound. Safe for threads."""

    def __init__(self) -> None:
        self._pacers: dict[Hashable, Pacer] = {}
        self._lock = threading.Lock()

    def of(self, account: Hashable) -> Pacer:
        """The one pacer of this account."""
        with self._lock:
            found = self._pacers.setdefault(account, Pacer())
            while len(self._pacers) > _MOST_PACERS:
                del self._pacers[next(iter(self._pacers))]
        return found
