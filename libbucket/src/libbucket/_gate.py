"""Holds work back from a server that does not answer: one claim asks, the others wait for what it hears.

Between whoever works on claims and a server that all of them need: a store, or the cluster. Without it, a thousand
claims whose store is down would each ask again and again, and come back minutes after the store did.

*Down* is a server that failed two different claims in a row: one alone may be that claim's own trouble. Then one call
at a time goes through, after a back-off. As soon as one is answered, everybody who was held is let in.

Knows keys of claims; no claim, no store, no Kubernetes.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import TYPE_CHECKING, Final

from libbucket._backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

PROBES: Final = Backoff(base=1.0, ceiling=30.0)
"""Between two calls to a server that is down. Its ceiling bounds how long a recovery goes unnoticed."""

LONGEST_DELAY: Final = 300.0
"""Seconds: nobody is made to wait longer, whatever a server's Retry-After says."""

_REMEMBERED: Final = 8
"""How many of the claims that failed go on asking, each in its turn. One would do, but claims are deleted, too."""


class Answer(Enum):
    """What came of a call, as far as the server is concerned."""

    GIVEN = auto()
    """It answered, if only to refuse."""
    MISSING = auto()
    """It did not answer, or asked for fewer requests."""
    UNKNOWN = auto()
    """It may not even have been asked."""


class Held(Exception):
    """The server is down, and somebody else asks it: wait until you are woken.

    Attributes:
        seconds: after which to come again if nobody wakes you.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"held back for {seconds:.0f} s")
        self.seconds = seconds


@dataclass(kw_only=True)
class Call:
    """One call that goes through; whoever makes it says what came of it.

    Attributes:
        answer: what came of it.
        delay: seconds that the server asked to wait.
    """

    answer: Answer = Answer.UNKNOWN
    delay: float = 0.0


class Gate:
    """Before one server. Safe for threads.

    Args:
        wake: has a key looked at again now.
        on_change: told True when the server is found to be down, and False when it answers again.
        clock: in seconds.
        random: for jitter.
    """

    def __init__(
        self,
        wake: Callable[[str], None],
        *,
        on_change: Callable[[bool], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self._wake = wake
        self._on_change = on_change
        self._clock = clock
        self._random = random or Random()  # noqa: S311 - jitter, not a secret
        self._lock = threading.RLock()
        self._calls = 0
        self._failed: set[str] = set()
        self._rounds = 0
        self._closed_until = 0.0
        self._held: dict[str, None] = {}

    @property
    def is_down(self) -> bool:
        """Whether the server failed different claims, and has not been heard of since."""
        return len(self._failed) > 1

    @contextmanager
    def passing(self, key: str) -> Iterator[Call]:
        """One call on behalf of a key.

        Raises:
            Held: not now.
        """
        self._enter(key)
        call = Call()
        try:
            yield call
        finally:
            self._leave(key, call)

    def _enter(self, key: str) -> None:
        with self._lock:
            left = self._closed_until - self._clock()
            if self.is_down and (left > 0 or self._calls):
                self._held[key] = None
                raise Held(self._patience(key, max(left, 0.0)))
            self._held.pop(key, None)
            self._calls += 1

    def _patience(self, key: str, left: float) -> float:
        """Those who ask come back when somebody may ask again; the others only in case that nobody wakes them."""
        asks = key in self._failed or key == next(iter(self._held))
        if asks:
            return left + PROBES.base + (PROBES.ceiling if self._calls else 0.0) * self._random.random()
        return LONGEST_DELAY * (1 - self._random.random() / 2)

    def _leave(self, key: str, call: Call) -> None:
        with self._lock:
            self._calls -= 1
            was_down = self.is_down
            if call.answer is Answer.MISSING:
                self._note_failure(key, min(call.delay, LONGEST_DELAY))
            elif call.answer is Answer.GIVEN:
                self._failed.clear()
                self._rounds = 0
            woken = [] if self.is_down else list(self._held)
            if not self.is_down:
                self._held.clear()
            if was_down is not self.is_down:
                self._on_change(self.is_down)
        for each in woken:
            self._wake(each)

    def _note_failure(self, key: str, delay: float) -> None:
        if len(self._failed) < _REMEMBERED:
            self._failed.add(key)
        now = self._clock()
        if self._closed_until <= now:  # calls that were under way together fail together, and count once
            self._rounds += 1
        pause = max(PROBES.delay(self._rounds, self._random), delay)
        self._closed_until = max(self._closed_until, now + pause)


class Gates:
    """A gate for each server that is in use. Safe for threads.

    Args:
        make: a new gate, before the server that is named by the argument.
    """

    def __init__(self, make: Callable[[Hashable], Gate]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._gates: dict[Hashable, Gate] = {}

    @contextmanager
    def passing(self, server: Hashable, key: str) -> Iterator[Call]:
        """One call to a server, on behalf of a key.

        Raises:
            Held: not now.
        """
        with self._lock:
            gate = self._gates.get(server) or self._gates.setdefault(server, self._make(server))
        with gate.passing(key) as call:
            yield call
