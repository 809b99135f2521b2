"""How long to wait before the next try, as an immutable value. Knows numbers only: no clock, no sleeping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Exponential back-off with jitter and a ceiling.

    The jitter takes off up to half: enough that a thousand claims that failed together don't come back
    together, and never so much that a retry hammers.

    Attributes:
        base: seconds before the first retry.
        factor: growth per further retry.
        ceiling: seconds, the most that it waits.
    """

    base: float
    ceiling: float
    factor: float = 2.0

    def delay(self, attempt: int, random: Random) -> float:
        """Seconds to wait after the `attempt`-th failure in a row, counted from 1."""
        exponent = min(max(attempt, 1) - 1, 64)
        whole = min(self.base * self.factor**exponent, self.ceiling)
        return whole * (1 - random.random() / 2)
