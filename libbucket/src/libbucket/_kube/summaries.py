"""A small part of each cached object, kept as it is: for questions about all of them, or asked very often.

The cache of a resource writes it, with each version that it keeps. Unpacking an object instead lets other threads in
each time: with busy workers, a scrape of the metrics that unpacked ten thousand claims took a minute. No I/O.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
S = TypeVar("S")


class Summaries(Generic[T, S]):
    """Summaries of the objects of one resource, by key. Safe for threads.

    Args:
        summarize: returns the summary of an object. It must be small: one is kept for every object.
    """

    def __init__(self, summarize: Callable[[T], S]) -> None:
        self._summarize = summarize
        self._lock = threading.Lock()
        self._by_key: dict[str, S] = {}

    def get(self, key: str) -> S | None:
        """The summary of an object; None if it is not known to exist."""
        with self._lock:
            return self._by_key.get(key)

    def items(self) -> list[tuple[str, S]]:
        """Key and summary of every object, of one moment."""
        with self._lock:
            return list(self._by_key.items())

    def values(self) -> list[S]:
        """The summary of every object, of one moment."""
        with self._lock:
            return list(self._by_key.values())

    def put(self, key: str, new: T | None) -> None:
        """Keeps the summary of a new version; None removes it. Called by the cache alone."""
        made = self._summarize(new) if new is not None else None
        with self._lock:
            if made is None:
                self._by_key.pop(key, None)
            else:
                self._by_key[key] = made
