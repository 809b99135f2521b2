"""Network faults of an outage: `FaultInjector`s that treat every request alike, and count.

Knows HTTP; knows no trial.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Final

from testkit.resilience.proxy import FaultInjector, Instead, Request, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST: Final = 600.0
"""Seconds: nothing is held for longer, whatever the trial does."""


class NetworkFault(FaultInjector):
    """Lets everything pass, and counts.

    Attributes:
        requests: those that came.
        connections: those that were made.
        first: when the first request came, on the clock `time.monotonic`; infinity before.
        over: set when the outage is over; held requests go on then.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.connections = 0
        self.first = math.inf
        self.over = threading.Event()
        self._lock = threading.Lock()

    def opened(self) -> None:
        with self._lock:
            self.connections += 1

    def before(self, request: Request) -> Verdict | Instead:
        with self._lock:
            self.requests += 1
            self.first = min(self.first, time.monotonic())
        return self.handle(request)

    def handle(self, request: Request) -> Verdict | Instead:
        """The verdict on a request."""
        return Verdict.PASS

    def wait(self) -> None:
        """Until it is over."""
        self.over.wait(_LONGEST)


class Reset(NetworkFault):
    """Every request is answered with a TCP reset."""

    def handle(self, request: Request) -> Verdict | Instead:
        return Verdict.RESET


class Answers(NetworkFault):
    """Every request is answered by an intermediary, with the same answer.

    Args:
        status: HTTP status.
        headers: of the answer.
        body: of the answer.
    """

    def __init__(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        super().__init__()
        self._answer = Instead(status=status, headers=headers or {}, body=body)

    def handle(self, request: Request) -> Verdict | Instead:
        return self._answer


class Slow(NetworkFault):
    """Every request waits before it is passed on.

    Args:
        seconds: how long.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def handle(self, request: Request) -> Verdict | Instead:
        self.over.wait(self._seconds)
        return Verdict.PASS


class HalfOpen(NetworkFault):
    """Connections stay open, and no data passes in either direction."""

    def handle(self, request: Request) -> Verdict | Instead:
        self.wait()
        return Verdict.DROP

    def hold_stream(self, request: Request) -> None:
        self.wait()


class Silent(NetworkFault):
    """Watches go silent at their next event, for good, while everything else is answered, new watches too."""

    def hold_stream(self, request: Request) -> None:
        if request.is_watch:
            threading.Event().wait(_LONGEST)


class HangingHandshake(NetworkFault):
    """Connections are accepted, and the handshake never completes."""

    def opened(self) -> None:
        super().opened()
        self.wait()
