"""Circuit breakers: while a server that all claims need is down, one request probes it and the claims wait.

Between the workers and two kinds of server, an object store and the API server. Without them, a thousand claims whose
store is down would each retry again and again, and come back minutes after the store did. States, as usual:

- *closed*: every request passes.
- *open*: requests are held back until a back-off with jitter is over.
- *half-open*: the back-off is over; one probe at a time passes. An answer closes the circuit and wakes every claim that
  was held back; no answer opens it again, for longer.

One tenant must not open a circuit for the others, nor be the one whose requests decide whether it closes:

- The API server is probed by a request of its own, which no claim, webhook, quota or policy has a part in.
- A store has no such request, so claims are its probes, and the tenants (namespaces) are told apart. Failures of one
  namespace alone open the circuit only while no other namespace has had an answer lately; while fewer than three
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
"""Seconds for which an answer to one namespace shows that failures of another are that one's own."""

_FEW_NAMESPACES: Final = 3
"""From so many namespaces that failed on, the trouble is the server's: no further one tries at once."""

_LONG_PROBE: Final = 10.0
_MOST_PROBES: Final = 3
"""A probe may be the purge of a large bucket: after so many seconds a further one passes, up to so many at a time."""

_GRACE: Final = 5.0
"""Seconds that claims of other namespaces have for their probe before one that failed may probe again."""


@dataclass(kw_only=True)
class Call:
    """One request that passes; its caller says what came of it.

    Attributes:
        signal: what came of it.
        delay: seconds that the server asked to wait.
        failure: one sentence about a failure, for the log.
    """

    signal: StoreSignal = StoreSignal.UNKNOWN
    delay: float = 0.0
    failure: str = ""


class ProbedCircuitBreaker(Breaker):
    """Before a server that has a request of its own for probing. Safe for threads.

    Args:
        settings: see there.
        probe: whether the server answers now; takes a few seconds at most.
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
        """Lets a key pass. In a half-open circuit its thread probes the server first.

        Raises:
            CircuitOpen: not now.
        """
        with self._lock:
            if not self._is_open:
                return
            left = self._circuit.seconds_left()
            if left or self._is_probing:
                self._circuit.held[key] = None
                raise CircuitOpen(self._patience(key, left))
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
            raise CircuitOpen(self._patience(key, self._circuit.seconds_left()))

    def confirm(self, key: str, *, failure: str, delay: float) -> bool:
        """Probes the server because a request for this key failed; opens the circuit if it is down.

        Args:
            key: whose request it was.
            failure: one sentence about it, for the log.
            delay: seconds that the server asked to wait.

        Returns:
            Whether the server is down. Where it is not, the failure concerns this claim alone.
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

    def _patience(self, key: str, left: float) -> float:
        """The first that is held back comes back for the next probe; the others in case that nothing wakes them."""
        if key == next(iter(self._circuit.held)):
            return left + PROBES.base * (1 + self._circuit.jitter(1.0))
        return self._circuit.long_wait()


class CircuitBreaker(Breaker):
    """Before a server that only claims can probe: an object store. Safe for threads."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._failed_namespaces: set[str] = set()
        self._answered: OrderedDict[str, float] = OrderedDict()
        self._probes: dict[int, float] = {}
        self._next_probe = 0
        self._is_announced = False

    @property
    def is_open(self) -> bool:
        """Whether requests are held back: several claims failed, and nothing was heard of the server since."""
        with self._lock:
            if len(self._circuit.failures) < 2:
                return False
            return len(self._failed_namespaces) > 1 or not self._serves_others()

    @contextmanager
    def request(self, key: str) -> Iterator[Call]:
        """One request on behalf of a key.

        Raises:
            CircuitOpen: not now.
        """
        probe = self._admit(key)
        call = Call()
        try:
            yield call
        finally:
            self._settle(key, call, probe)

    def _serves_others(self) -> bool:
        """Whether a namespace other than the one that fails had an answer lately."""
        since = self._settings.clock() - _ANSWER_COUNTS
        return any(at > since for namespace, at in self._answered.items() if namespace not in self._failed_namespaces)

    def _admit(self, key: str) -> int | None:
        """Lets a request pass; gives its number where it is a probe, None while the circuit is closed."""
        with self._lock:
            if not self.is_open:
                self._circuit.held.pop(key, None)
                return None
            if not self._may_probe(key):
                self._circuit.held[key] = None
                raise CircuitOpen(self._patience(key))
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

    def _patience(self, key: str) -> float:
        left = self._circuit.seconds_left()
        if key in self._circuit.failures:
            return left + _GRACE + self._circuit.jitter(PROBES.ceiling)
        if key == self._candidate():
            return left + PROBES.base + self._circuit.jitter(PROBES.ceiling if self._probes else PROBES.base)
        return self._circuit.long_wait()

    def _candidate(self) -> str | None:
        """The key that has been held back for longest; of namespaces that have not failed, if there is one."""
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
        """The server answered this key; gives the keys to wake."""
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
        # Not only after a failure: an answer to another namespace that is too long ago opens the circuit as well.
        if not self._is_announced:
            self._is_announced = True
            self._settings.on_change(True, self._circuit.last_failures())  # noqa: FBT003 - one bit of news

    def _wake_candidate(self) -> None:
        candidate = self._candidate()
        if candidate is not None:
            self._settings.wake(candidate, self._circuit.seconds_left() + self._circuit.jitter(PROBES.base))


class CircuitBreakers:
    """One for each server that is in use. Safe for threads.

    Args:
        make: a new one, before the server that its argument names.
    """

    def __init__(self, make: Callable[[Hashable], CircuitBreaker]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._breakers: dict[Hashable, CircuitBreaker] = {}

    def of(self, server: Hashable) -> CircuitBreaker:
        """The circuit breaker before this server."""
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
