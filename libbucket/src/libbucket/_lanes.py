"""Which claims may be taken up now, so that one store that hangs does not take all workers.

Asked by the work queue, under its lock; told by the controller whether a store answered. A lane is what shares a
store's fate: the claims of one StorageClass. Pure: no lock, no clock, no Kubernetes.

- Where there are several lanes, none takes more than three quarters of the workers: the others need no luck.
- A lane whose store does not answer has one worker, until it answers: what waits for a time limit waits once.
- Such lanes together leave a quarter of the workers free, however many they are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def one_lane(_key: str) -> str:
    """The lane of every key where there is nothing to tell them apart by."""
    return ""


@dataclass(frozen=True, kw_only=True)
class LaneSettings:
    """How keys are told apart.

    Attributes:
        workers: how many there are; 0 sets no limit.
        lane_of: the lane of a key.
        count: how many lanes there are altogether, whether or not any of their keys waits.
    """

    workers: int = 0
    lane_of: Callable[[str], str] = one_lane
    count: Callable[[], int] = lambda: 1


class Lanes:
    """Counts what each lane has on workers, and says whether one more may start."""

    def __init__(self, settings: LaneSettings) -> None:
        self._settings = settings
        self._busy: Counter[str] = Counter()
        self._silent: set[str] = set()

    def of(self, key: str) -> str:
        """The lane of a key, now."""
        return self._settings.lane_of(key)

    def may_start(self, lane: str) -> bool:
        """Whether a worker may take up one more of this lane."""
        workers = self._settings.workers
        if not workers:
            return True
        shared = workers - workers // 4 if workers >= 4 else max(workers - 1, 1)
        if lane in self._silent:
            return not self._busy[lane] and sum(self._busy[each] for each in self._silent) < shared
        return self._busy[lane] < (shared if self._settings.count() > 1 else workers)

    def start(self, lane: str) -> None:
        """One of this lane is on a worker."""
        self._busy[lane] += 1

    def end(self, lane: str) -> None:
        """One of this lane is off its worker."""
        self._busy[lane] -= 1
        if not self._busy[lane]:
            del self._busy[lane]

    def note(self, lane: str, *, answers: bool) -> bool:
        """Notes whether the lane's store answered; gives whether that is news."""
        is_news = answers is (lane in self._silent)
        (self._silent.discard if answers else self._silent.add)(lane)
        return is_news
