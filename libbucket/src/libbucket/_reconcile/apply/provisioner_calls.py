"""Calls the provisioner: each call is timed, counted, logged and fenced, and internal errors are contained.

Between the recipes (bind, release) and the provisioner. Each store, which the provisioner identifies (`store_id`), has
a circuit breaker: see `_circuit_breaker`. Knows nothing of Kubernetes objects.
"""

from __future__ import annotations

import time
import traceback
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog

from libbucket._circuit import CircuitOpen
from libbucket._circuit_breaker import CircuitBreaker, CircuitBreakers
from libbucket._outcomes import MEANINGS, OUTAGES, StoreSignal, store_signal
from libbucket.errors import ProvisionerError, PurgeUnfinished, Reason, RetrySlowly, RetrySoon
from libbucket.provisioner import EmptyBucketDeleter, Inspector

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from libbucket._circuit_breaker import Call
    from libbucket._metrics import Metrics
    from libbucket._reconcile.apply.request_tracker import RequestTracker
    from libbucket.provisioner import Provisioner
    from libbucket.types import BucketOptions, ObjectBucket

    OnChange = Callable[[bool, tuple[str, ...]], None]

T = TypeVar("T")


class StoreHeldBack(RetrySoon):
    """The circuit of the store is open: the call was not made, and the claim is requeued when the store answers."""


class ProvisionerCalls:
    """The guarded verbs of the provisioner.

    Args:
        provisioner: of this process.
        metrics: counts calls.
        check_leadership: called before and after each call; raises `LeadershipLost` to hold it back.
        requests: tracks whether a call has sent a request.
        new_breaker: creates a circuit breaker with a callback for changes of its state.
    """

    def __init__(
        self,
        provisioner: Provisioner,
        metrics: Metrics,
        check_leadership: Callable[[], None],
        requests: RequestTracker,
        new_breaker: Callable[[OnChange], CircuitBreaker],
    ) -> None:
        self.provisioner = provisioner
        self._metrics = metrics
        self._check_leadership = check_leadership
        self._requests = requests
        self._breakers = CircuitBreakers(lambda store: new_breaker(partial(self._log_change, store)))
        self._outages: dict[Hashable, ProvisionerError] = {}
        self._log = structlog.get_logger()

    def provision(self, options: BucketOptions) -> ObjectBucket:
        """`Provisioner.provision`."""
        return self._call("provision", options, lambda: self.provisioner.provision(options))

    def grant(self, options: BucketOptions) -> ObjectBucket:
        """`Provisioner.grant`."""
        return self._call("grant", options, lambda: self.provisioner.grant(options))

    def delete(self, ob: ObjectBucket) -> None:
        """`Provisioner.delete`."""
        self._call("delete", ob, lambda: self.provisioner.delete(ob))

    def delete_empty(self, ob: ObjectBucket) -> None:
        """`EmptyBucketDeleter.delete_empty`, if the provisioner implements it.

        Raises:
            RetrySlowly: it does not; nothing was changed.
        """
        provisioner = self.provisioner
        if not isinstance(provisioner, EmptyBucketDeleter):
            raise RetrySlowly(
                f"this provisioner cannot determine whether bucket {ob.bucket_name} is empty; it stays unchanged",
                reason=Reason.BUCKET_NOT_EMPTY,
            )
        self._call("delete_empty", ob, lambda: provisioner.delete_empty(ob))

    def revoke(self, ob: ObjectBucket) -> None:
        """`Provisioner.revoke`."""
        self._call("revoke", ob, lambda: self.provisioner.revoke(ob))

    def is_intact(self, options: BucketOptions) -> bool:
        """`Inspector.is_intact`; False if the provisioner does not implement it."""
        provisioner = self.provisioner
        if not isinstance(provisioner, Inspector):
            return False
        return self._call("is_intact", options, lambda: provisioner.is_intact(options))

    def sent_nothing(self, error: ProvisionerError) -> bool:
        """Whether this thread's call, which failed with this error, has sent the store no request.

        If the provisioner does not track all requests (`tracks_requests`), only errors of the class count, which occur
        before the first request.
        """
        meaning = MEANINGS[error.reason]
        can_tell = self.provisioner.tracks_requests and meaning.before_first_request
        return (can_tell or meaning.of_the_class) and not self._requests.has_sent

    def forget(self, key: str) -> None:
        """Drops a claim that is gone from every circuit breaker."""
        self._breakers.forget(key)

    def _call(self, verb: str, request: BucketOptions | ObjectBucket, act: Callable[[], T]) -> T:
        self._check_leadership()
        self._requests.begin_call()
        store = self._store_id(request.parameters)
        try:
            with self._breakers.of(store).request(f"{request.owner.namespace}/{request.owner.name}") as call:
                return self._ask(store, verb, act, call)
        except CircuitOpen as held:
            outage = self._outages[store]
            raise StoreHeldBack(outage.message, delay=held.seconds, reason=outage.reason) from None

    def _store_id(self, parameters: Mapping[str, str]) -> Hashable:
        try:
            return self.provisioner.store_id(parameters)
        except Exception as error:  # noqa: BLE001 - unchecked parameters, of which a provisioner should not make anything
            self._log.error("store_id failed; using all parameters", error=type(error).__name__)
            return frozenset(parameters.items())

    def _ask(self, store: Hashable, verb: str, act: Callable[[], T], call: Call) -> T:
        started, failure = time.monotonic(), ""
        try:
            answer = act()
            call.signal = StoreSignal.ANSWERED
        except ProvisionerError as error:
            failure = str(error.reason)
            self._check_leadership()  # a failure due to a loss of leadership says nothing about the store
            self._note(store, error, call)
            self._log_failure(verb, error, time.monotonic() - started)
            raise
        except Exception as error:  # noqa: BLE001 - whatever an SDK throws must not end a worker
            failure = str(Reason.INTERNAL_ERROR)
            self._check_leadership()
            raise self._contain(verb, error) from None
        else:
            return answer
        finally:
            self._metrics.backend_call(verb, time.monotonic() - started, failure)

    def _note(self, store: Hashable, error: ProvisionerError, call: Call) -> None:
        call.signal = store_signal(error)
        if call.signal in OUTAGES:
            call.delay = (error.delay or 0.0) if isinstance(error, RetrySoon) else 0.0
            call.failure = f"{error.reason}: {error.message}"
            self._outages[store] = error

    def _log_failure(self, verb: str, error: ProvisionerError, seconds: float) -> None:
        log = self._log.debug if isinstance(error, PurgeUnfinished) else self._log.info
        log(
            "provisioner call failed",
            verb=verb,
            reason=str(error.reason),
            error=error.message,
            request_id=error.request_id or "none",
            seconds=round(seconds, 2),
        )

    def _log_change(self, store: Hashable, is_open: bool, failures: tuple[str, ...]) -> None:  # noqa: FBT001
        if is_open:
            self._log.warning(
                "object store unavailable: circuit open, claims wait and one of them probes",
                store=str(store),
                last_answers=list(failures),
            )
        else:
            self._log.info("object store answers again: circuit closed, claims resume", store=str(store))

    def _contain(self, verb: str, error: Exception) -> RetrySoon:
        """Translates an internal error into one without its text, which may contain a secret."""
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        self._log.error("internal error of the provisioner", verb=verb, error=type(error).__name__, where=where)
        message = f"{verb} failed with an unexpected {type(error).__name__}; see the provisioner's log"
        return RetrySoon(message, reason=Reason.INTERNAL_ERROR)
