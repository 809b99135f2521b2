"""Bounded loops: wait for a store to complete a change, and delete in batches within a time limit.

Used by provisioner packages, so that no verb blocks a worker for ever. Knows no store.
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
    """Polls a condition until it holds, or time is up; at least once.

    Args:
        is_so: the condition.
        seconds: no poll begins later than this.
        pause: seconds between the first two polls; doubles up to two seconds.
        sleep: waits for a number of seconds.
        clock: monotonic, in seconds.

    Returns:
        Whether it holds.
    """
    deadline = clock() + seconds
    while not is_so():
        if clock() + pause > deadline:
            return False
        sleep(pause)
        pause = min(2 * pause, max(pause, _LONGEST_PAUSE))
    return True


def drain(batches: Iterable[int], seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
    """Removes batches of objects until there are no more, or the time of this call is up.

    Args:
        batches: each step removes one batch and yields its number of objects; ends when the bucket is empty.
        seconds: no batch begins later than this, but every call removes at least one object.
        clock: monotonic, in seconds.

    Raises:
        PurgeUnfinished: there may be more: carries the number of removed objects.
    """
    removed, deadline = 0, clock() + seconds
    for batch in batches:
        removed += batch
        if removed and clock() > deadline:
            raise PurgeUnfinished(removed)
