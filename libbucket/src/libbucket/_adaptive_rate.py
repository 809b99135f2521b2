"""How many reconciles per second a store takes that throttles, found out by trying: the rate limit of one class.

Used by the concurrency limits. Pure: no lock, no clock, no Kubernetes.

A limit on concurrency alone is no answer to a store that takes five requests per second and answers each in 20 ms: one
worker sends fifty. So the first time that a store throttles, the starts of reconciles are spaced, and the interval is
adapted as the AWS SDKs' adaptive mode does it, with the function of CUBIC (RFC 9438):

- The rate falls below the one at which the store was seen to succeed, once for all reconciles that were on their way.
- It returns to that rate, stays near it for a while, and then grows faster and faster: a quota that was raised is found
  within half a minute.
- The longer the store did not throttle, the longer the next attempt to exceed its rate takes.
- When it has grown tenfold without throttling, there is no rate limit any more.

Time in which claims do not use the rate does not count.
"""

from __future__ import annotations

from math import inf
from typing import Final

_STEP_BACK: Final = 0.9
_HALF: Final = 0.5
"""Of the rate, if the store throttles again before the rate could be measured."""

_MARGIN: Final = 1.05
"""The rate grew while it was measured."""

_LEAST: Final = 0.1
_SHORTEST: Final = 2.0
_LONGEST: Final = 10.0
"""Seconds until the rate is back where it was."""

_LIFTED: Final = 10.0
_ENOUGH: Final = 5
_LONG_ENOUGH: Final = 2.0
"""Successes, and seconds, by which a rate is measured."""

_IDLE: Final = 1.0
"""Seconds between two starts that are no use of a store that has not throttled."""

_SHORT: Final = 0.05
_LATE: Final = 0.25
"""Of an interval: a start that is late by so much does not delay the next one."""


class AdaptiveRate:
    """The rate limit of one class.

    Attributes:
        rate: reconciles per second; infinite while the store has not throttled.
    """

    def __init__(self) -> None:
        self.rate = inf
        self._known = inf
        self._is_settled = False
        self._returns_in = _SHORTEST
        self._used = 0.0
        self._measured = _Measured()
        self._next = 0.0
        self._last = -inf
        self._throttled = -inf

    def seconds_left(self, now: float) -> float:
        """Seconds until the next reconcile may start."""
        return max(self._next - now, 0.0) if self.rate < inf else 0.0

    def start(self, now: float) -> None:
        """A reconcile starts."""
        gap, self._last = now - self._last, now
        if self.rate == inf:
            if gap > _IDLE:
                self._measured = _Measured()
            else:
                self._measured.pass_time(gap)
            return
        gap = min(gap, 2 / self.rate)
        self._used += gap
        self._measured.pass_time(gap)
        self._grow()
        self._next = max(self._next, now - _LATE / self.rate) + 1 / self.rate

    def give_back(self) -> None:
        """A reconcile that started has not called the store."""
        self._next -= 1 / self.rate

    def succeeded(self) -> None:
        """A reconcile that called the store succeeded."""
        self._measured.successes += 1

    def throttled(self, now: float, *, started: float) -> bool:
        """The store throttled a reconcile; returns whether the rate was changed.

        Args:
            now: of the clock.
            started: when the reconcile started. One that started before the rate fell is no news.
        """
        if started <= self._throttled:
            return False
        if self.rate == inf:
            self._known, self._is_settled = self._measured.per_second(now - started), False
        elif self._used >= _LONG_ENOUGH and self._measured.successes >= _ENOUGH:
            self._known, self._is_settled = min(self.rate, _MARGIN * self._measured.per_second(0.0)), True
            self._returns_in = min(max(self._used, _SHORTEST), _LONGEST)
        else:
            self._known = self.rate if self._is_settled else self.rate * _HALF
        self._known = max(self._known, _LEAST)
        self._used, self._measured, self._throttled = 0.0, _Measured(), now
        self.rate = self._known * _STEP_BACK
        self._next = now + 1 / self.rate
        return True

    def _grow(self) -> None:
        beyond = self._used / self._returns_in - 1
        growth = 1 + (1 - _STEP_BACK) * beyond**3
        if growth > _LIFTED:
            self.rate, self._used, self._returns_in = inf, 0.0, _SHORTEST
        else:
            self.rate = max(self.rate, self._known * growth)


class _Measured:
    """Successes per second, lately."""

    def __init__(self) -> None:
        self.successes = 0.0
        self._seconds = 0.0

    def pass_time(self, seconds: float) -> None:
        self._seconds += seconds
        if self._seconds > 2 * _LONG_ENOUGH and self.successes > 2 * _ENOUGH:
            self._seconds /= 2
            self.successes /= 2

    def per_second(self, at_least: float) -> float:
        return max(self.successes, 1.0) / max(self._seconds, at_least, _SHORT)
