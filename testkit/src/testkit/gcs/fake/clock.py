"""The fake's clock: the wall's, plus what a test turned it by."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class Clock:
    """Tells the time. What the fake dates itself goes by it: states of keys, ends of tokens.

    Requests are dated by the wall clock of their sender, so their dates are checked against that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turned = timedelta()

    def now(self) -> datetime:
        """Aware, in UTC."""
        return datetime.now(UTC) + self.turned

    @property
    def turned(self) -> timedelta:
        """What it was turned by."""
        with self._lock:
            return self._turned

    def turn(self, seconds: float) -> None:
        """Lets time pass."""
        with self._lock:
            self._turned += timedelta(seconds=seconds)


def spell(moment: datetime) -> str:
    """As Google's APIs spell a moment: RFC 3339, in UTC, with a `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
