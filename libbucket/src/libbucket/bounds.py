"""Loops with a bound: waiting for what a store was told to do, and removing more than one call has time for.

Used by provisioner packages, so that no verb goes on for ever and all of them stop in the same way. Knows no store.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from libbucket.errors import PurgeUnfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LONGEST_PAUSE: Final = 2.0


def wait_until(
    is_so: Callable[[], bool],
    seconds: float,
    *,
    pause: float = 0.1,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Polls; gives whether it became so within the bound. Polls once at least.

    Args:
        is_so: the poll.
        seconds: the bound: no poll begins later than this.
        pause: seconds between the first two polls; it doubles, up to two seconds.
        sleep: waits.
        clock: seconds that never run backwards.
    """
    deadline = clock() + seconds
    while not is_so():
        if clock() + pause > deadline:
            return False
        sleep(pause)
        pause = min(2 * pause, max(pause, _LONGEST_PAUSE))
    return True


def drain(batches: Iterable[int], seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
    """Lets batches of objects be removed until there are no more, or the time of this call is over.

    Args:
        batches: removes one batch per step, and gives how many objects that were; ends with the bucket's emptiness.
        seconds: no batch begins later than this; but something is removed first, so that every call gets on.
        clock: seconds that never run backwards.

    Raises:
        PurgeUnfinished: there may be more: says how much went, and is to be called again when others had their turn.
    """
    removed, deadline = 0, clock() + seconds
    for batch in batches:
        removed += batch
        if removed and clock() > deadline:
            raise PurgeUnfinished(removed)
