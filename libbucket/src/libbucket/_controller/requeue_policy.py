"""When a claim is requeued: after a failure, before its credentials expire, and for the regular drift checks.

Between the workers, which report outcomes, and the queue. Knows no claim but its key.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import structlog

from libbucket._backoff import Backoff
from libbucket._circuit import LONGEST_DELAY, PROBES
from libbucket._outcomes import OUTAGES, Retry, StoreSignal, meaning_of
from libbucket._reconcile.model.outcome import Result
from libbucket._reconcile.model.snapshot import Recheck
from libbucket.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket._queue import WorkQueue
    from libbucket._reconcile.model.outcome import Outcome

SOON: Final = Backoff(base=1.0, ceiling=300.0)
IN_OUTAGE: Final = PROBES
WHEN_NAMED: Final = Backoff(base=1.0, ceiling=30.0)
"""For a claim whose provisioner said when to go on: what it waits for must not be found out minutes late."""
SLOWLY: Final = Backoff(base=30.0, ceiling=300.0)

_STEP: Final = 900.0
_FLOOR: Final = 10.0
"""Maximum and minimum of seconds until a claim that waits for a point in time is reconciled."""


class RequeuePolicy:
    """Safe for threads.

    Args:
        queue: of keys.
    """

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self._lock = threading.Lock()
        self._rechecks: dict[str, Recheck] = {}
        self._log = structlog.get_logger()

    def schedule_recheck(self, key: str, depth: Recheck, delay: float) -> None:
        """Requeues a claim in `delay` seconds, to check the store although nothing seems to have changed."""
        with self._lock:
            self._rechecks[key] = max(depth, self._rechecks.get(key, Recheck.NONE))
        self._queue.add_after(key, delay)

    def take_recheck(self, key: str) -> Recheck:
        """How thoroughly to check the store in the reconcile that begins."""
        with self._lock:
            return self._rechecks.pop(key, Recheck.NONE)

    def clear(self, has_key: Callable[[str], bool] = lambda _key: True) -> None:
        """This replica no longer serves these keys."""
        with self._lock:
            self._rechecks = {key: depth for key, depth in self._rechecks.items() if not has_key(key)}

    def plan(self, key: str, outcome: Outcome, recheck: Recheck) -> None:
        """Requeues a key after a reconcile with this outcome."""
        if recheck and outcome.retry in {Retry.SOON, Retry.SLOWLY}:
            with self._lock:  # not completed
                self._rechecks[key] = max(recheck, self._rechecks.get(key, Recheck.NONE))
        if outcome.store is not StoreSignal.UNKNOWN:
            self._note_class(key, answers=outcome.store is not StoreSignal.UNAVAILABLE)
            self._queue.note_response(
                key, throttled=outcome.store is StoreSignal.BUSY, succeeded=_kind_of(outcome, recheck)
            )
        self._note_namespace(key, outcome)
        self._requeue(key, outcome)

    def _requeue(self, key: str, outcome: Outcome) -> None:
        at_least = min(outcome.delay, LONGEST_DELAY)
        if outcome.retry is Retry.SOON:
            delay = self._queue.retry(key, _backoff_of(outcome), at_least=at_least)
        elif outcome.retry is Retry.SLOWLY:
            delay = self._queue.retry(key, SLOWLY, at_least=at_least)
        else:
            self._queue.forget(key)
            if outcome.retry is Retry.NEXT_TURN:
                self._queue.add(key)
            elif outcome.requeue_after is not None:
                # In steps, since the queue's monotonic clock may deviate from the wall clock of the point in time.
                self._queue.add_after(key, min(max(outcome.requeue_after, _FLOOR), _STEP))
            return
        self._log.debug("requeued", result=str(outcome.result), seconds=round(delay, 1))

    def _note_class(self, key: str, *, answers: bool) -> None:
        """Limits a class whose store does not answer to one worker, until it answers."""
        storage_class = self._queue.note_class(key, answers=answers)
        if storage_class is not None:
            self._log.debug(
                "updated concurrency limit of StorageClass", storage_class=storage_class, limited=not answers
            )

    def _note_namespace(self, key: str, outcome: Outcome) -> None:
        """Limits a namespace to one worker while the API server fails on its objects, as with a dead webhook."""
        if outcome.cluster_failed:
            self._queue.limit_namespace(key, is_limited=True)
        elif outcome.retry is None or outcome.retry is Retry.NEXT_TURN:
            self._queue.limit_namespace(key, is_limited=False)


def _kind_of(outcome: Outcome, recheck: Recheck) -> str:
    """The kind of a successful reconcile that called the store; "" for all others."""
    is_success = outcome.store is StoreSignal.ANSWERED and isinstance(outcome.result, Result)
    return f"{outcome.result} {recheck.name}" if is_success else ""


def _backoff_of(outcome: Outcome) -> Backoff:
    if _is_outage(outcome):
        return IN_OUTAGE
    return WHEN_NAMED if outcome.result == Reason.NOT_READY and outcome.delay else SOON


def _is_outage(outcome: Outcome) -> bool:
    meaning = meaning_of(outcome.result)
    return outcome.store in OUTAGES or (meaning is not None and meaning.is_outage)
