"""When the permissions of claims that go were withdrawn: Google lets them in for minutes more.

Kept in memory only, within bounds: of a claim that is not known here, the permission may have been withdrawn by an
earlier process, in the moment before this one started. So may it if the claim was forgotten for newer ones.

Used by `withdrawal`; held by `provisioner`. Knows no client.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING

from gcs_provisioner.unfinished import MOST_ENTRIES

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


class Withdrawn:
    """One per process; its methods may be called from several threads.

    Args:
        now: the clock.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._unknown = now()  # the latest moment for claims that are not known here
        self._at: OrderedDict[str, datetime] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, uid: str) -> None:
        """The permission of the claim with this uid was withdrawn just now, or may have been: the answer was lost."""
        with self._lock:
            self._at[uid] = self._now()
            self._at.move_to_end(uid)
            while len(self._at) > MOST_ENTRIES:
                _, self._unknown = self._at.popitem(last=False)

    def seconds_left(self, uid: str, seconds: float) -> float:
        """How long a claim without a permission may be let in, yet, in whole seconds.

        Args:
            uid: of the claim.
            seconds: that Google may take to refuse it everywhere.
        """
        with self._lock:
            moment = self._at.get(uid, self._unknown)
        return max(0.0, math.ceil((moment + timedelta(seconds=seconds) - self._now()).total_seconds()))
