"""The real core over a real provisioner, on one thread and a turned clock: hours take milliseconds.

Stands in for the controller: reconciles keys when they are due, by the real requeue policy. Knows no store and no
fault.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import structlog

from libbucket._controller.requeue_policy import RequeuePolicy
from testkit.answers.adapter import Clock
from testkit.api_server import claim_path, secret_path
from testkit.core import Core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from libbucket._backoff import Backoff
    from libbucket._reconcile.model.outcome import Outcome
    from libbucket._reconcile.model.snapshot import Recheck
    from testkit.answers.adapter import Adapter
    from testkit.answers.injector import Injector
    from testkit.api_server import Json

RECONCILE_SECONDS: Final = 0.05
"""What a reconcile takes on the turned clock, so that a loop without a pause is seen as one."""


class Queue:
    """As much of `WorkQueue` as the requeue policy uses, without threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._random = Random(1)
        self._attempts: dict[str, int] = {}
        self.due: dict[str, float] = {}

    def add(self, key: str) -> None:
        self.add_after(key, 0.0)

    def add_after(self, key: str, seconds: float) -> None:
        at = self._clock() + seconds
        self.due[key] = min(at, self.due.get(key, at))

    def retry(self, key: str, backoff: Backoff, *, at_least: float = 0.0) -> float:
        self._attempts[key] = self._attempts.get(key, 0) + 1
        seconds = max(backoff.delay(self._attempts[key], self._random), at_least)
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: str) -> None:
        self._attempts.pop(key, None)

    def note_class(self, _key: str, *, answers: bool) -> None:
        del answers

    def note_response(self, _key: str, *, throttled: bool, succeeded: str) -> None:
        del throttled, succeeded

    def limit_namespace(self, _key: str, *, is_limited: bool) -> None:
        del is_limited


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """One reconcile.

    Attributes:
        key: of the claim.
        at: when, in seconds of the turned clock.
        took: seconds of the turned clock, and those for which a proxy held an answer back.
        outcome: what came of it.
    """

    key: str
    at: float
    took: float
    outcome: Outcome


@dataclass
class Log:
    """Everything that was logged, at every level.

    Attributes:
        lines: of the standard library's loggers.
        entries: of structlog's.
    """

    lines: list[str] = field(default_factory=list)
    entries: list[Any] = field(default_factory=list)

    def text(self) -> str:
        """All of it."""
        return "\n".join([*self.lines, *map(str, self.entries)])


class Simulation:
    """One replica and its claims.

    Args:
        adapter: of the store.
        injector: told which claim is being reconciled.
        url: of the proxy before the store's server.
        log: what is logged while it runs.

    Attributes:
        core: the core.
        history: every reconcile so far.
    """

    def __init__(self, adapter: Adapter, injector: Injector, url: str, log: Log) -> None:
        self.adapter, self.injector, self.log = adapter, injector, log
        self.history: list[Reconciled] = []
        self._url = url
        clock = Clock(seconds=self._elapsed, sleep=self.turn)
        self.core = Core(
            lambda services: adapter.provisioner(services, clock), secrets=adapter.secrets, config=adapter.config
        )
        self._queue = Queue(lambda: self.core.seconds)
        self._policy = RequeuePolicy(self._queue)  # type: ignore[arg-type] # all that it uses of a queue

    @property
    def now(self) -> float:
        """Seconds of the turned clock."""
        return self.core.seconds

    def _elapsed(self) -> float:
        """Seconds of the turned clock; none while the provisioner is made, which may ask for the time as well."""
        return self.core.seconds if hasattr(self, "core") else 0.0

    def turn(self, seconds: float) -> None:
        """Lets time pass."""
        self.core.seconds += seconds
        self.core.clock.turn(seconds)

    def create_class(
        self,
        name: str,
        *,
        direct: bool = False,
        reclaim_policy: str = "Delete",
        extra: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """A StorageClass whose requests pass the proxy, or not."""
        url = (self.adapter.upstream or self.adapter.elsewhere) if direct else self._url
        parameters = {**self.adapter.parameters(url), **extra}
        self.core.create_class(name, parameters=parameters, reclaim_policy=reclaim_policy)

    def create_claim(self, name: str, *, namespace: str, storage_class: str, **spec: Any) -> str:
        """A claim; gives its key."""
        key = self.core.create_claim(name, namespace=namespace, storage_class=storage_class, **spec)
        self._queue.add(key)
        return key

    def edit(self, key: str, body: Json) -> None:
        """A merge patch of a claim, by its author."""
        self.core.patch(claim_path(key), body)
        self._queue.add(key)

    def delete_claim(self, key: str) -> None:
        """Asks for its deletion."""
        if self.claim(key) is not None:
            self.core.delete_claim(key)
            self._queue.add(key)

    def delete_secret(self, key: str) -> None:
        """Removes a claim's Secret, as its author may."""
        self.core.request("DELETE", secret_path(key))
        self._queue.add(key)

    def recheck(self, key: str, depth: Recheck) -> None:
        """Has the store checked, as the timers do."""
        self._policy.schedule_recheck(key, depth, 0.0)

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False, most: int = 400) -> bool:
        """Reconciles what is due, until something is so, or for so long; gives whether it is so.

        Args:
            seconds: of the turned clock.
            until: checked before each reconcile.
            most: reconciles after which it ends, which is a loop without a pause.
        """
        end = self.now + seconds
        for _ in range(most):
            if until():
                return True
            key = min(self._queue.due, key=lambda each: self._queue.due[each], default=None)
            if key is None or self._queue.due[key] > end:
                break
            self.turn(max(self._queue.due.pop(key) - self.now, 0.0))
            self._reconcile(key)
        if not until():
            self.turn(max(end - self.now, 0.0))
        return until()

    def reconcile_next(self, *, not_before: float) -> tuple[str, float] | None:
        """Reconciles the claim that is due first, for callers who count workers.

        The clock is turned back afterwards, to its beginning: other workers reconcile meanwhile.

        Args:
            not_before: when the next worker is free.

        Returns:
            Its key, and when it ends; None where none is due.
        """
        key = min(self._queue.due, key=lambda each: self._queue.due[each], default=None)
        if key is None:
            return None
        self.turn(max(self._queue.due.pop(key), not_before, self.now) - self.now)
        begin = self.now
        self._reconcile(key)
        end = self.now
        self.turn(begin - end)
        return key, end

    def is_idle(self, key: str) -> bool:
        """Whether nothing is due for a claim within the next seconds."""
        return self._queue.due.get(key, self.now + RECONCILE_SECONDS * 100) > self.now + RECONCILE_SECONDS

    def claim(self, key: str) -> Json | None:
        """The claim as it is; None where it is gone."""
        return self.core.find(claim_path(key))

    def secret(self, key: str) -> Json | None:
        """The data of its Secret; None where there is none."""
        found = self.core.find(secret_path(key))
        return found["data"] if found is not None else None

    def phase(self, key: str) -> str:
        """Its phase; "" where it is gone, or has none."""
        found = self.claim(key)
        return str((found or {}).get("status", {}).get("phase", ""))

    def condition(self, key: str, kind: str = "Ready") -> Json:
        """One of its conditions; {} where it has none."""
        return self.core.condition(key, kind) if self.claim(key) is not None else {}

    def _reconcile(self, key: str, *, seconds: float = RECONCILE_SECONDS) -> None:
        recheck = self._policy.take_recheck(key)
        self.injector.active = key
        at, held = self.now, self.injector.held
        try:
            outcome = self.core.reconcile(key, recheck=recheck)
        finally:
            self.injector.active = ""
        took = self.now - at + self.injector.held - held
        self.history.append(Reconciled(key=key, at=at, took=took, outcome=outcome))
        self._policy.plan(key, outcome, recheck)
        self.turn(seconds)
        for woken, delay in self.core.woken:
            self._queue.add_after(woken, delay)
        self.core.woken.clear()


class _Lines(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__(logging.DEBUG)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.lines.append(record.getMessage())
        if record.exc_info:
            self._log.lines.append(logging.Formatter().formatException(record.exc_info))


@contextmanager
def logged() -> Iterator[Log]:
    """What structlog and the standard library's loggers are given within the block."""
    log, root = Log(), logging.getLogger()
    handler = _Lines(log)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with structlog.testing.capture_logs() as entries:
            log.entries = entries
            yield log
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@contextmanager
def warnings_only(logger: str) -> Iterator[None]:
    """As `libbucket.run` has it at every verbosity: the SDK's debugging shows bodies and secrets."""
    found = logging.getLogger(logger)
    level = found.level
    found.setLevel(logging.WARNING)
    try:
        yield
    finally:
        found.setLevel(level)
