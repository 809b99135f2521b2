"""How many reconciles a store takes at once, found out by trying: the concurrency limit of one class.

Used by the concurrency limits. Pure: no lock, no clock, no Kubernetes.

Follows TCP Vegas (Brakmo, Peterson: TCP Vegas, IEEE JSAC 1995) as Netflix' concurrency-limits applies it to servers
(https://github.com/Netflix/concurrency-limits, VegasLimit): what a reconcile takes, compared with what it takes when
few run, says how many of them only wait. As Gradient2Limit there, it tolerates half as much again, since latencies of
stores vary. One round is as many successes as the limit.

- It starts with few, and doubles each round until the first sign of waiting: slow start.
- From then on it grows by one each round while hardly any wait, and shrinks by a quarter of those that wait while many
  do.
- It grows only if it is the limit that keeps claims waiting.
- It is halved when the store throttles or fails.

The duration is that of the whole reconcile, so that a busy API server, or a busy processor, ends the growth as a busy
store does. Reconciles of different kinds are compared with their own kind only.
"""

from __future__ import annotations

from math import ceil
from statistics import median
from typing import Final

_TOLERANCE: Final = 1.5
_HARDLY_ANY: Final = 3.0
_MANY: Final = 6.0
"""Reconciles that wait, as alpha and beta of TCP Vegas in concurrency-limits."""

_LESS: Final = 0.25
"""Of those that wait, by which the limit shrinks."""

_WEIGHT: Final = 0.2
_OUTLIER: Final = 2.0
"""A duration counts as at most so many times the typical one: one webhook that hangs says nothing about the store."""

_FIRST_SAMPLES: Final = 5
_AGEING: Final = 600.0
"""Seconds after which a store that became slower for good is taken as it is."""


class _Durations:
    """What reconciles of one kind take, in seconds: typically, and when few run."""

    def __init__(self, seconds: float, now: float) -> None:
        self.typical = self.unloaded = seconds
        self._count = 1
        self._at = now

    def add(self, seconds: float, now: float) -> None:
        self._count += 1
        weight = max(_WEIGHT, 1 / self._count)
        self.typical += (min(seconds, _OUTLIER * self.typical) - self.typical) * weight
        if self.typical <= self.unloaded or self._count <= _FIRST_SAMPLES:
            self.unloaded = self.typical
        else:
            self.unloaded += (self.typical - self.unloaded) * min((now - self._at) / _AGEING, 1.0)
        self._at = now

    @property
    def inflation(self) -> float:
        return self.typical / self.unloaded if self.unloaded > 0 else 1.0


class AdaptiveLimit:
    """The concurrency limit of one class.

    Args:
        first: where it starts.
        most: its maximum.

    Attributes:
        limit: reconciles at once.
    """

    def __init__(self, *, first: int, most: int) -> None:
        self.limit = min(first, most)
        self._most = most
        self._is_slow_start = True
        self._is_wanted = False
        self._durations: dict[str, _Durations] = {}
        self._round: list[float] = []

    def want(self) -> None:
        """A key waits because of this limit."""
        self._is_wanted = True

    def succeeded(self, kind: str, seconds: float, now: float) -> None:
        """A reconcile succeeded.

        Args:
            kind: which others take as long.
            seconds: how long it took.
            now: of the clock.
        """
        durations = self._durations.get(kind)
        if durations is None:
            durations = self._durations[kind] = _Durations(seconds, now)
        else:
            durations.add(seconds, now)
        self._round.append(durations.inflation)
        if len(self._round) >= self.limit:
            self._end_round(median(self._round))

    def decrease(self, *, at_least: float = 0.0) -> None:
        """Halves the limit: the store throttled, or failed.

        Args:
            at_least: reconciles per second that the store takes all the same, if that is known. As the rate limit keeps
                to them, slow start may go on.
        """
        self._is_slow_start &= at_least > 0
        self._round.clear()
        shortest = max((each.unloaded for each in self._durations.values()), default=0.0)
        needed = ceil(_TOLERANCE * at_least * shortest) + 1
        self.limit = max(self.limit // 2, min(self.limit, needed))

    def _end_round(self, inflation: float) -> None:
        self._round.clear()
        is_wanted, self._is_wanted = self._is_wanted, False
        waiting = self.limit * max(1 - _TOLERANCE / inflation, 0.0)
        if waiting >= _HARDLY_ANY:
            self._is_slow_start = False
        if waiting > _MANY:
            self.limit -= int(waiting * _LESS)
        elif is_wanted and waiting < _HARDLY_ANY:
            self.limit = min(self.limit * 2 if self._is_slow_start else self.limit + 1, self._most)
