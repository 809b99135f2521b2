"""Faults at one step of a flow: a process killed, an answer lost, a request that arrives twice, a claim that goes.

Each is a `FaultInjector` that counts steps and acts at one of them. Knows which requests are steps, and nothing of
their purpose.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from testkit.resilience.proxied_environment import is_step
from testkit.resilience.proxy import FaultInjector, Instead, Request, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

_STALE_SECONDS: Final = 2.0


class Steps(FaultInjector):
    """Counts steps, and lets them pass."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.last = time.monotonic()
        self._lock = threading.Lock()
        self._numbers: dict[int, int] = {}

    @property
    def idle_seconds(self) -> float:
        """Since the last step, or since the beginning."""
        return time.monotonic() - self.last

    def before(self, request: Request) -> Verdict | Instead:
        if not is_step(request):
            return Verdict.PASS
        with self._lock:
            self.seen.append(f"{request.proxy}: {request.method} {request.path}")
            number = self._numbers[id(request)] = len(self.seen)
            self.last = time.monotonic()
        return self.reached(number)

    def after(self, request: Request, status: int) -> Verdict:
        number = self._numbers.pop(id(request), 0)
        return self.answered(number) if number else Verdict.PASS

    def reached(self, number: int) -> Verdict:
        """A step has come and has not been passed on; counted from 1."""
        return Verdict.PASS

    def answered(self, number: int) -> Verdict:
        """A step was answered, and no client has seen the answer."""
        return Verdict.PASS


class Fault(Steps):
    """Acts at one step.

    Args:
        at: the step, counted from 1; 0 only for what happens before the first.
        act: what it does besides the verdict on the request.

    Attributes:
        happened: set once it has acted.
    """

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        super().__init__()
        self.at = at
        self.act = act
        self.happened = threading.Event()
        self._is_armed = True
        self._acting = threading.Lock()

    def disarm(self) -> None:
        """Disarms the fault: a step may still be in flight when the trial continues."""
        with self._acting:
            self._is_armed = False

    def _do(self) -> bool:
        """Acts; False where it is too late for that."""
        with self._acting:
            if self._is_armed:
                self.act()
                self.happened.set()
            return self._is_armed


class Kill(Fault):
    """The process dies once this step was answered and before it saw so; step 0 dies before the first is passed on.

    What a process does after one answer and before its next request, only it could know, and it is dead. So these are
    all the boundaries that there are: before the first request, and after each.
    """

    def reached(self, number: int) -> Verdict:
        return Verdict.DROP if self.at == 0 and number == 1 and self._do() else Verdict.PASS

    def answered(self, number: int) -> Verdict:
        return Verdict.DROP if number == self.at and self._do() else Verdict.PASS


class Lose(Fault):
    """The step arrives, and its answer does not."""

    def answered(self, number: int) -> Verdict:
        return Verdict.DROP if number == self.at and self._do() else Verdict.PASS


class Repeat(Fault):
    """The step arrives twice, as when a network sends it again; the second answer is the one that is seen."""

    def reached(self, number: int) -> Verdict:
        return Verdict.TWICE if number == self.at and self._do() else Verdict.PASS


class Interfere(Fault):
    """Something else changes while the step is on its way."""

    def reached(self, number: int) -> Verdict:
        if number == self.at:
            self._do()
        return Verdict.PASS


class StaleKill(Kill):
    """As Kill, with caches that receive every event some seconds late."""

    def stream_delay(self, request: Request) -> float:
        return _STALE_SECONDS if request.is_watch else 0.0
