"""Names of buckets that are being made: two claims that ask for one name in the same moment do not share its bucket.

One per process, used by `ownership` from several threads. Where a server takes a bucket of the account for made, the
tags tell whose it is, and two workers between look and tags could each write their own. Makes no call, does not wait.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from libbucket import NotReady

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator


class Creations:
    """The names that workers of this process are making buckets of."""

    def __init__(self) -> None:
        self._names: set[Hashable] = set()
        self._lock = threading.Lock()

    @contextmanager
    def only(self, name: Hashable) -> Iterator[None]:
        """Until the block ends, nobody else looks for a bucket of this name in order to make it.

        Raises:
            NotReady: another worker does.
        """
        with self._lock:
            if name in self._names:
                raise NotReady("a bucket of this name is being made for another claim", delay=2)
            self._names.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._names.remove(name)
