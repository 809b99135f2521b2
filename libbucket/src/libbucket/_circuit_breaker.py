"""Circuit breakers: while a server that all claims need is down, one request probes it and the claims wait.

Between the workers and two kinds of server, an object store and the API server. Without them, a thousand claims whose
store is down would each retry on their own, and recover minutes after the store did. States:

- *closed*: every request passes.
- *open*: requests are held back until a back-off with jitter is over.
- *half-open*: the back-off is over; one probe at a time passes. An answer closes the circuit and wakes every claim that
  was held back; a failure opens it again, for longer.

Isolation: the requests of one tenant neither open a circuit for the others nor keep it open.

- The API server is probed by a separate request, which does not depend on any claim, webhook, quota or policy.
- A store has no such request, so claims are the probes, and tenants (namespaces) are distinguished. Failures of one
  namespace alone open the circuit only while no other namespace has had an answer recently; while fewer than three
  namespaces have failed, a claim of another one passes at once; and probes are taken from other namespaces first.

Knows keys of claims (`namespace/name`), and no claim, no store and no Kubernetes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from libbucket._circuit import PROBES, REMEMBERED, Breaker, CircuitOpen
from libbucket._concurrency import namespace_of
from libbucket._outcomes import OUTAGES, StoreSignal

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from libbucket._circuit import Settings

_ANSWER_COUNTS: Final = 60.0
"""Seconds for which an answer to one namespace proves that the store is up, and failures of another are its own."""

_FEW_NAMESPACES: Final = 3
"""With so many failing namespaces the server is taken to be down: claims of further ones do not pass at once."""

_LONG_PROBE: Final = 10.0
_MOST_PROBES: Final = 3
"""A probe may be the purge of a large bucket: after so many seconds another one passes, up to so many at a time."""

_GRACE: Final = 5.0
"""Seconds in which claims of other namespaces may probe, before one that failed may probe again."""


@dataclass(kw_only=True)
class Call:
    """One request that passes. Its caller sets the result.

    Attributes:
        signal: the result.
        delay: seconds that the server asked to wait.
        failure: one sentence about a failure, for the log.
    """

    signal: StoreSignal = StoreSignal.UNKNOWN
    delay: float = 0.0
    failure: str = ""


class ProbedCircuitBreaker(Breaker):
    """For a server that is probed by a separate request: the API server. Safe for threads.

    Args:
        settings: collaborators.
        probe: returns whether the server answers, within a few seconds.
    """

    def __init__(self, settings: Settings, probe: Callable[[], bool]) -> None:
        super().__init__(settings)
        self._probe = probe
        self._is_open = False
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """Whether requests are held back."""
        return self._is_open

    def check(self, key: str) -> None:
        """Returns if a request may be sent. If the circuit is half-open, this thread probes the server first.

        Raises:
            CircuitOpen: the key is held back.
        """
        with self._lock:
            if not self._is_open:
                return
            left = self._circuit.seconds_left()
            if left or self._is_probing:
                self._circuit.held[key] = None
                raise CircuitOpen(self._seconds_to_retry(key, left))
            self._is_probing = True
        try:
            answers = self._probe()
        finally:
            with self._lock:
                self._is_probing = False
        if answers:
            self.close()
            return
        with self._lock:
            self._circuit.extend(0.0)
            self._circuit.held[key] = None
            raise CircuitOpen(self._seconds_to_retry(key, self._circuit.seconds_left()))

    def confirm(self, key: str, *, failure: str, delay: float) -> bool:
        """Probes the server because a request for this key failed; opens the circuit if it is down.

        Args:
            key: of the claim whose request failed.
            failure: one sentence about it, for the log.
            delay: seconds that the server asked to wait.

        Returns:
            Whether the server is down. If it is not, the failure concerns this claim alone.
        """
        if self._probe():
            self.close()
            return False
        with self._lock:
            was_open, self._is_open = self._is_open, True
            self._circuit.note_failure(key, failure)
            self._circuit.extend(delay)
            if not was_open:
                self._settings.on_change(True, self._circuit.last_failures())  # noqa: FBT003 - one bit of news
        return True

    def close(self) -> None:
        """The server answers: wakes every key that is held back."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            failures, woken = self._circuit.last_failures(), self._circuit.close()
            self._settings.on_change(False, failures)  # noqa: FBT003 - one bit of news
        for key in woken:
            self._settings.wake(key, 0.0)

    def _seconds_to_retry(self, key: str, left: float) -> float:
        """The first key that is held back retries for the next probe; the others wait to be woken."""
        if key == next(iter(self._circuit.held)):
            return left + PROBES.base * (1 + self._circuit.jitter(1.0))
        return self._circuit.long_wait()


class CircuitBreaker(Breaker):
    """For a server that only claims can probe: an object store. Safe for threads."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._failed_namespaces: set[str] = set()
        self._answered: OrderedDict[str, float] = OrderedDict()
        self._probes: dict[int, float] = {}
        self._next_probe = 0
        self._is_announced = False

    @property
    def is_open(self) -> bool:
        """Whether requests are held back: several claims failed, and the server has not answered since."""
        with self._lock:
            if len(self._circuit.failures) < 2:
                return False
            return len(self._failed_namespaces) > 1 or not self._serves_others()

    @contextmanager
    def request(self, key: str) -> Iterator[Call]:
        """Guards one request on behalf of a key.

        Raises:
            CircuitOpen: the key is held back.
        """
        probe = self._admit(key)
        call = Call()
        try:
            yield call
        finally:
            self._settle(key, call, probe)

    def _serves_others(self) -> bool:
        """Whether a namespace other than the failing one had an answer recently."""
        since = self._settings.clock() - _ANSWER_COUNTS
        return any(at > since for namespace, at in self._answered.items() if namespace not in self._failed_namespaces)

    def _admit(self, key: str) -> int | None:
        """Lets a request pass; returns its number if it is a probe, None while the circuit is closed."""
        with self._lock:
            if not self.is_open:
                self._circuit.held.pop(key, None)
                return None
            if not self._may_probe(key):
                self._circuit.held[key] = None
                raise CircuitOpen(self._seconds_to_retry(key))
            self._circuit.held.pop(key, None)
            self._next_probe += 1
            self._probes[self._next_probe] = self._settings.clock()
            return self._next_probe

    def _may_probe(self, key: str) -> bool:
        now = self._settings.clock()
        if len(self._probes) >= _MOST_PROBES or any(now - since < _LONG_PROBE for since in self._probes.values()):
            return False
        is_fresh = self._is_fresh(key)
        if is_fresh and len(self._failed_namespaces) < _FEW_NAMESPACES:
            return True
        if self._circuit.seconds_left():
            return False
        has_others = any(self._is_fresh(each) for each in self._circuit.held)
        return is_fresh or not has_others or now >= self._circuit.open_until + _GRACE

    def _is_fresh(self, key: str) -> bool:
        return namespace_of(key) not in self._failed_namespaces

    def _seconds_to_retry(self, key: str) -> float:
        left = self._circuit.seconds_left()
        if key in self._circuit.failures:
            return left + _GRACE + self._circuit.jitter(PROBES.ceiling)
        if key == self._candidate():
            return left + PROBES.base + self._circuit.jitter(PROBES.ceiling if self._probes else PROBES.base)
        return self._circuit.long_wait()

    def _candidate(self) -> str | None:
        """The key that was held back for longest, preferably of a namespace that has not failed."""
        fresh = (each for each in self._circuit.held if self._is_fresh(each))
        return next(fresh, next(iter(self._circuit.held), None))

    def _settle(self, key: str, call: Call, probe: int | None) -> None:
        woken: list[str] = []
        with self._lock:
            if probe is not None:
                self._probes.pop(probe, None)
            if call.signal is StoreSignal.ANSWERED:
                woken = self._close(key)
            elif call.signal in OUTAGES:
                self._note_failure(key, call)
            if self.is_open:
                self._announce_open()
                self._wake_candidate()
        for each in woken:
            self._settings.wake(each, 0.0)

    def _close(self, key: str) -> list[str]:
        """The server answered this key; returns the keys to wake."""
        namespace = namespace_of(key)
        self._answered.pop(namespace, None)
        self._answered[namespace] = self._settings.clock()
        if len(self._answered) > REMEMBERED:
            self._answered.popitem(last=False)
        failures, was_announced = self._circuit.last_failures(), self._is_announced
        woken, self._is_announced = self._circuit.close(), False
        self._failed_namespaces.clear()
        if was_announced:
            self._settings.on_change(False, failures)  # noqa: FBT003 - one bit of news
        return woken

    def _note_failure(self, key: str, call: Call) -> None:
        self._circuit.note_failure(key, call.failure)
        self._failed_namespaces.add(namespace_of(key))
        self._circuit.extend(call.delay)

    def _announce_open(self) -> None:
        # Not only after a failure: the circuit also opens when the answer to another namespace is no longer recent.
        if not self._is_announced:
            self._is_announced = True
            self._settings.on_change(True, self._circuit.last_failures())  # noqa: FBT003 - one bit of news

    def _wake_candidate(self) -> None:
        candidate = self._candidate()
        if candidate is not None:
            self._settings.wake(candidate, self._circuit.seconds_left() + self._circuit.jitter(PROBES.base))


class CircuitBreakers:
    """One circuit breaker for each server. Safe for threads.

    Args:
        make: creates the circuit breaker of a server.
    """

    def __init__(self, make: Callable[[Hashable], CircuitBreaker]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._breakers: dict[Hashable, CircuitBreaker] = {}

    def of(self, server: Hashable) -> CircuitBreaker:
        """The circuit breaker of a server."""
        with self._lock:
            found = self._breakers.get(server)
            if found is None:
                found = self._breakers[server] = self._make(server)
            return found

    def forget(self, key: str) -> None:
        """Drops a key whose claim is gone."""
        with self._lock:
            breakers = list(self._breakers.values())
        for each in breakers:
            each.forget(key)
