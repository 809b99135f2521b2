"""Namespaces in which the API server fails, as with a dead admission webhook: writes that can wait are left out there.

Used by the threads that write Events and the status Pending. Knows no request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS: Final = 60.0


class SkippedNamespaces:
    """Not safe for threads: each belongs to one.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def note_failure(self, namespace: str) -> None:
        """Skips a namespace for a minute."""
        now = self._clock()
        self._until = {name: until for name, until in self._until.items() if until > now}
        self._until[namespace] = now + SECONDS

    def __contains__(self, namespace: str) -> bool:
        return self._until.get(namespace, 0.0) > self._clock()
