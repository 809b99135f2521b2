"""The state that both kinds of circuit breaker share: how long a circuit stays open, and which keys it holds back.

Knows keys, and nothing of what is behind a circuit.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

from libbucket._backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

PROBES: Final = Backoff(base=1.0, ceiling=30.0)
"""Between two probes of a server that is down. Its ceiling bounds how long a recovery goes unnoticed."""

LONGEST_DELAY: Final = 300.0
"""Maximum in seconds that a claim waits, also after a longer Retry-After."""

REMEMBERED: Final = 64
"""Failures, and namespaces with an answer, that are remembered."""

_SHOWN: Final = 3
"""Failures that are logged when a circuit opens."""


class CircuitOpen(Exception):
    """The server is down, and another claim probes it. The key is woken when the circuit closes.

    Attributes:
        seconds: after which to retry if the key is not woken before.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"circuit open: held back for {seconds:.0f} s")
        self.seconds = seconds


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Collaborators of a circuit breaker.

    Attributes:
        wake: has a key reconciled in a number of seconds.
        on_change: called with whether the circuit is open now, and with the last failures, one sentence each.
        clock: monotonic, in seconds.
        random: for jitter.
    """

    wake: Callable[[str, float], None]
    on_change: Callable[[bool, tuple[str, ...]], None] = lambda _is_open, _failures: None
    clock: Callable[[], float] = time.monotonic
    random: Random = field(default_factory=Random)


class Circuit:
    """How long a circuit stays open, and which keys it holds back. Callers hold the lock."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rounds = 0
        self.open_until = 0.0
        self.held: OrderedDict[str, None] = OrderedDict()
        self.failures: OrderedDict[str, str] = OrderedDict()

    def seconds_left(self) -> float:
        return max(self.open_until - self._settings.clock(), 0.0)

    def extend(self, delay: float) -> None:
        now = self._settings.clock()
        if self.open_until <= now:  # concurrent requests that fail together count once
            self._rounds += 1
        pause = max(PROBES.delay(self._rounds, self._settings.random), min(delay, LONGEST_DELAY))
        self.open_until = max(self.open_until, now + pause)

    def note_failure(self, key: str, sentence: str) -> None:
        self.failures.pop(key, None)
        self.failures[key] = sentence
        if len(self.failures) > REMEMBERED:
            self.failures.popitem(last=False)

    def last_failures(self) -> tuple[str, ...]:
        shown = list(self.failures.items())[-_SHOWN:]
        return tuple(f"{key}: {sentence}" for key, sentence in shown)

    def close(self) -> list[str]:
        """Closes the circuit; returns the keys to wake."""
        woken = list(self.held)
        self.held.clear()
        self.failures.clear()
        self._rounds = 0
        self.open_until = 0.0
        return woken

    def jitter(self, seconds: float) -> float:
        return seconds * self._settings.random.random()

    def long_wait(self) -> float:
        """A fallback for keys that are woken when the circuit closes."""
        return LONGEST_DELAY * (1 - self.jitter(0.5))


class Breaker:
    """Base of both kinds. Safe for threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.RLock()
        self._circuit = Circuit(settings)

    def forget(self, key: str) -> None:
        """Drops a key whose claim is gone: it will not probe."""
        with self._lock:
            self._circuit.held.pop(key, None)
