"""When permissions were withdrawn that a store goes on accepting for minutes, without a way to ask it whether it does.

Used by provisioner packages whose claims have no credentials of their own to try: `revoke` may return only when the
store refuses them. Kept in memory only, within bounds. Knows no store.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

_MOST_ENTRIES: Final = 4096


class Withdrawals:
    """One per process; its methods may be called from several threads.

    Of a claim that is not known here, the permission may have been withdrawn by an earlier process in the moment before
    this one started, or by this one before so many others that it was forgotten: that moment counts then.

    Args:
        now: the clock, `Services.now`.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._unknown = now()
        self._at: OrderedDict[str, datetime] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def withdrawing(self, uid: str) -> Iterator[None]:
        """Around the requests that withdraw the permission of the claim with this uid.

        Where one fails, the permission may have gone all the same: its answer was lost, and the next call finds none.
        """
        try:
            yield
        except BaseException:
            self.note(uid)
            raise

    def note(self, uid: str) -> None:
        """The permission of the claim with this uid was withdrawn just now."""
        with self._lock:
            self._at[uid] = self._now()
            self._at.move_to_end(uid)
            while len(self._at) > _MOST_ENTRIES:
                _, self._unknown = self._at.popitem(last=False)

    def seconds_left(self, uid: str, seconds: float) -> float:
        """How long the store may go on accepting a claim that has no permission any more, in whole seconds.

        Args:
            uid: of the claim.
            seconds: that the store may take to refuse it everywhere.
        """
        with self._lock:
            moment = self._at.get(uid, self._unknown)
        return max(0.0, math.ceil((moment + timedelta(seconds=seconds) - self._now()).total_seconds()))
