"""The delay before the next retry, as an immutable value. Pure: no clock, no sleeping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Exponential back-off with jitter and a ceiling.

    The jitter removes up to half of a delay, so that a thousand claims that failed together are not retried together.

    Attributes:
        base: seconds before the first retry.
        factor: growth with each further retry.
        ceiling: maximum in seconds.
    """

    base: float
    ceiling: float
    factor: float = 2.0

    def delay(self, attempt: int, random: Random) -> float:
        """Seconds to wait after the `attempt`-th failure in a row, counted from 1."""
        exponent = min(max(attempt, 1) - 1, 64)
        whole = min(self.base * self.factor**exponent, self.ceiling)
        return whole * (1 - random.random() / 2)
