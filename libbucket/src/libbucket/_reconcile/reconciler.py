"""One reconcile: observe, plan, apply, report; and how each kind of failure is retried.

Called by a worker with a key; returns when the key is to be requeued. The only place where errors are handled: what a
reason means is in `_outcomes`, and whether a failed request to the API server concerns all claims or this one alone is
determined by a probe of the API server.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, assert_never

import structlog

from libbucket._api import PROVISIONER_LABEL
from libbucket._kube.errors import (
    ClusterUnavailable,
    Conflict,
    KubeError,
    LeadershipLost,
    NamespaceTerminating,
    NotFound,
    Unauthorized,
)
from libbucket._outcomes import MEANINGS, OUTAGES, Retry, StoreSignal, retry_of, store_signal
from libbucket._reconcile.apply.bind import Binder
from libbucket._reconcile.apply.context import ApplyContext
from libbucket._reconcile.apply.provisioner_calls import StoreHeldBack
from libbucket._reconcile.apply.release import Releaser
from libbucket._reconcile.model.actions import (
    BeginPurge,
    Bind,
    Blocked,
    Ignore,
    Release,
    ReleaseOrphan,
    RemoveFinalizer,
    Retain,
    Settled,
)
from libbucket._reconcile.model.intent import seconds_to_renewal
from libbucket._reconcile.model.outcome import Failure, Outcome, Result
from libbucket._reconcile.model.snapshot import Recheck
from libbucket._reconcile.observe.observer import Observer
from libbucket._reconcile.plan.planner import decide
from libbucket._reconcile.plan.release_planner import plan_release
from libbucket._reconcile.status.pending_status import PendingStatus, serve_all
from libbucket._reconcile.status.reporter import Reporter
from libbucket.errors import ProvisionerError, PurgeUnfinished, Reason, RetrySoon

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket._api import ObjectBucketClaim
    from libbucket._kube.client import KubeClient
    from libbucket._reconcile.apply.provisioner_calls import ProvisionerCalls
    from libbucket._reconcile.model.actions import Action
    from libbucket._reconcile.model.context import Caches, Identity
    from libbucket._reconcile.model.intent import LastApplied
    from libbucket._reconcile.model.snapshot import Snapshot
    from libbucket._reconcile.status.events import EventSink
    from libbucket._reconcile.status.pending_status import WorkOn


class ClusterCircuit(Protocol):
    """Distinguishes an outage of the API server from a failure of one claim: see `ProbedCircuitBreaker`."""

    def confirm(self, key: str, *, failure: str, delay: float) -> bool:
        """Whether the API server is down."""


T = TypeVar("T")

_STORE_ANSWERED: Final = StoreSignal.ANSWERED
_PENDING_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Collaborators:
    """What a reconciler works with.

    Attributes:
        client: reads and writes at the API server.
        caches: kept up to date by informers, and after each write.
        identity: what this process serves.
        store: calls the provisioner.
        cluster: distinguishes an outage of the API server.
        events: where Events go.
        work: binds what is written in between to the term in which it begins.
    """

    client: KubeClient
    caches: Caches
    identity: Identity
    store: ProvisionerCalls
    cluster: ClusterCircuit
    events: EventSink
    work: WorkOn = serve_all


class Reconciler:
    """Reconciles claims. Safe for threads: all workers share it.

    Args:
        others: what it works with.

    Attributes:
        pending: publishes claims that wait; its `run` needs a thread.
    """

    def __init__(self, others: Collaborators) -> None:
        client, caches, identity = others.client, others.caches, others.identity
        self._caches, self._identity = caches, identity
        self._store, self._cluster = others.store, others.cluster
        self._observer = Observer(client, caches, identity)
        self._reporter = Reporter(client, caches, identity, others.events)
        impatient = Reporter(client.impatient(_PENDING_SECONDS), caches, identity, others.events)
        self.pending = PendingStatus(impatient.pending, work=others.work)
        context = ApplyContext(
            client=client,
            caches=caches,
            identity=identity,
            store=others.store,
            reporter=self._reporter,
            pending=self.pending,
        )
        self._binder = Binder(context)
        self._releaser = Releaser(context)
        self._log = structlog.get_logger()

    def reconcile(self, key: str, *, recheck: Recheck = Recheck.NONE) -> Outcome:
        """Reconciles one claim: one action towards its spec.

        Args:
            key: `namespace/name`.
            recheck: how thoroughly to check the store although nothing seems to have changed.

        Returns:
            When to requeue it. Raises nothing.
        """
        self.pending.withdraw(key)
        try:
            snapshot = self._observer.observe(key, recheck=recheck)
        except KubeError as error:
            return self._cluster_failure(key, None, error)
        except Exception as error:  # noqa: BLE001 - an internal error must not end the worker; it is logged
            return Outcome(result=self._internal_error(error).reason, retry=Retry.SOON)
        return self._carry_out(snapshot)

    def forget(self, key: str, uid: str) -> None:
        """Drops what is remembered about a claim that is gone."""
        self._observer.forget(key)
        self._reporter.forget(uid)
        self._binder.forget(uid)
        self._store.forget(key)

    def leadership_lost(self, has_key: Callable[[str], bool]) -> None:
        """Drops state of claims that another replica may serve from now on."""
        self._binder.forget_keys(has_key)
        self.pending.clear(has_key)

    def count_unclaimed(self) -> int:
        """The number of ObjectBuckets that are bound although their claim is gone."""
        return self._observer.count_unclaimed()

    def _carry_out(self, snapshot: Snapshot) -> Outcome:
        try:
            outcome = self._act(snapshot, decide(snapshot))
            return replace(outcome, requeue_after=_earlier(outcome.requeue_after, snapshot.orphans.next_purge_in))
        except PurgeUnfinished as error:
            return replace(self._go_on_purging(snapshot, error), store=_STORE_ANSWERED)
        except ProvisionerError as error:
            return self._provisioner_failure(snapshot, error)
        except NamespaceTerminating as error:
            return self._fail(snapshot, _failure(Reason.NAMESPACE_TERMINATING, str(error)))
        except KubeError as error:
            return self._cluster_failure(snapshot.key, snapshot, error)
        except Exception as error:  # noqa: BLE001 - an internal error must not end the worker; it is logged and shown
            return self._fail(snapshot, self._internal_error(error))

    def _act(self, snapshot: Snapshot, action: Action) -> Outcome:
        match action:
            case Blocked():
                return self._fail(snapshot, _failure(action.reason, action.message))
            case ReleaseOrphan():
                orphan = self._releaser.mark_released(_there(snapshot.orphans.unreleased), None)
                self._releaser.release_orphan(orphan, plan_release(orphan, action))
            case BeginPurge():
                self._releaser.begin_purge(_there(snapshot.orphans.due))
            case Retain():
                self._releaser.retain(_there(snapshot.orphans.cancelled))
            case Ignore():
                self._log.debug("ignored", why=action.why)
                return Outcome(result=Result.IGNORED)
            case Settled():
                return Outcome(result=Result.SETTLED, requeue_after=self._renew_in(snapshot.last_applied))
            case Bind() | Release() | RemoveFinalizer():
                return self._act_on_claim(snapshot, _there(snapshot.claim), action)
            case _:
                assert_never(action)
        # The claim that has this name now is reconciled next.
        return Outcome(result=Result.RELEASED, retry=Retry.NEXT_TURN)

    def _act_on_claim(
        self, snapshot: Snapshot, claim: ObjectBucketClaim, action: Bind | Release | RemoveFinalizer
    ) -> Outcome:
        match action:
            case Bind():
                requeue_after = self._renew_in(self._binder.bind(snapshot, claim, action))
                store = _STORE_ANSWERED if action.calls_store else StoreSignal.UNKNOWN
                return Outcome(result=Result.BOUND, requeue_after=requeue_after, store=store)
            case Release():
                ob = (
                    self._binder.record_intent(snapshot, claim)[0] if action.records_intent else _there(snapshot.bucket)
                )
                ob = self._releaser.mark_released(ob, claim)
                self._releaser.release(claim, ob, plan_release(ob, action), duplicate=snapshot.duplicate)
            case RemoveFinalizer():
                self._releaser.remove_finalizer(claim)
            case _:
                assert_never(action)
        self.forget(snapshot.key, claim.metadata.uid)
        # Requeued: this key also covers a bucket that waits for its purge, and buckets of earlier claims.
        store = _STORE_ANSWERED if isinstance(action, Release) else StoreSignal.UNKNOWN
        return Outcome(result=Result.RELEASED, retry=Retry.NEXT_TURN, store=store)

    def _renew_in(self, last_applied: LastApplied | None) -> float | None:
        return seconds_to_renewal(last_applied, self._identity.now())

    def _go_on_purging(self, snapshot: Snapshot, error: PurgeUnfinished) -> Outcome:
        ob = _there(snapshot.orphans.unreleased or snapshot.bucket)
        try:
            removed = self._releaser.count_purged(ob, error.removed)
        except KubeError as failure:
            return self._cluster_failure(snapshot.key, snapshot, failure)
        message = f"bucket {ob.endpoint.bucket_name} is being emptied: {removed:,} objects removed so far"
        return self._fail(snapshot, _failure(error.reason, message))

    def _provisioner_failure(self, snapshot: Snapshot, error: ProvisionerError) -> Outcome:
        delay = (error.delay or 0.0) if isinstance(error, RetrySoon) else 0.0
        failure = Failure(reason=error.reason, message=error.message, retry=retry_of(error), delay=delay)
        signal = store_signal(error)
        if isinstance(error, StoreHeldBack):
            return self._hold_back(snapshot, failure)
        if signal in OUTAGES and _is_only_rechecked(snapshot):
            # The claim keeps serving; the check is repeated later.
            return Outcome(result=error.reason, retry=Retry.SOON, delay=delay, store=signal)
        return replace(self._fail(snapshot, failure), store=signal)

    def _hold_back(self, snapshot: Snapshot, failure: Failure) -> Outcome:
        """A call that was held back is reported, unless the claim shows the same reason already."""
        outcome = Outcome(result=failure.reason, retry=Retry.SOON, delay=failure.delay)
        if _is_only_rechecked(snapshot) or self._reporter.shows(snapshot.claim, failure.reason):
            return outcome
        return self._fail(snapshot, failure)

    def _cluster_failure(self, key: str, snapshot: Snapshot | None, error: KubeError) -> Outcome:
        """A failed request to the API server: an outage, a problem of this claim, or a conflict."""
        if isinstance(error, (Conflict, NotFound)):
            self._log.debug("conflict: requeueing", error=str(error))
            return Outcome(result=Result.CONFLICT, retry=Retry.SOON)
        if isinstance(error, LeadershipLost):
            return Outcome(result=Result.FENCED, retry=Retry.SOON)
        is_unclear = isinstance(error, (ClusterUnavailable, Unauthorized))
        if is_unclear:
            delay = (error.delay or 0.0) if isinstance(error, ClusterUnavailable) else 0.0
            if self._cluster.confirm(key, failure=str(error), delay=delay):
                self._log.debug("API server unavailable", error=str(error))
                return Outcome(result=Reason.CLUSTER_UNAVAILABLE, retry=Retry.SOON, delay=delay)
        failure = _failure(Reason.REJECTED_BY_CLUSTER, str(error))
        outcome = self._fail(snapshot, failure) if snapshot is not None else self._fail_unseen(key, failure)
        return replace(outcome, cluster_failed=is_unclear)

    def _fail(self, snapshot: Snapshot, failure: Failure) -> Outcome:
        # Writes of this reconcile are in the cache: status is compared with that version, not with the observed one.
        claim = self._caches.claims.get(snapshot.key) or snapshot.claim
        if claim is not None and snapshot.claim is not None and claim.metadata.uid != snapshot.claim.metadata.uid:
            return Outcome(result=Result.CONFLICT, retry=Retry.SOON)  # recreated in the meantime: another claim
        orphan = snapshot.orphans.unreleased
        if orphan is None:
            return self._report(claim, failure, is_bound=snapshot.is_bound, is_serving=snapshot.is_serving)
        try:
            self._reporter.bucket_failed(self._caches.buckets.get(orphan.metadata.name), failure)
        except KubeError as error:
            self._log.debug("status of an ObjectBucket could not be written", error=str(error))
        return _outcome(failure, is_deletion=True)

    def _fail_unseen(self, key: str, failure: Failure) -> Outcome:
        """For a claim whose objects could not be read: one that is bound is assumed to keep serving."""
        claim = self._caches.claims.get(key)
        is_bound = claim is not None and self._reporter.shows(claim, Reason.BOUND)
        is_ours = claim is not None and claim.metadata.label(PROVISIONER_LABEL) == self._identity.label
        return self._report(claim if is_ours else None, failure, is_bound=is_bound, is_serving=is_bound)

    def _report(
        self, claim: ObjectBucketClaim | None, failure: Failure, *, is_bound: bool, is_serving: bool
    ) -> Outcome:
        self._log.debug(
            "reconcile failed", reason=str(failure.reason), message=failure.message, retry=failure.retry.name
        )
        if claim is None:
            return _outcome(failure, is_deletion=False)
        outcome = _outcome(failure, is_deletion=claim.metadata.is_being_deleted)
        try:
            self._reporter.failed(claim, failure, is_bound=is_bound, is_serving=is_serving)
        except (Conflict, NotFound):
            return Outcome(result=Result.CONFLICT, retry=Retry.SOON)
        except LeadershipLost:
            return Outcome(result=Result.FENCED, retry=Retry.SOON)
        except KubeError as error:
            if isinstance(error, ClusterUnavailable) and self._cluster.confirm(
                claim.metadata.key, failure=str(error), delay=error.delay or 0.0
            ):
                return Outcome(result=Reason.CLUSTER_UNAVAILABLE, retry=Retry.SOON)
            self._reporter.status_refused(claim, failure, str(error))
            return replace(outcome, result=Reason.REJECTED_BY_CLUSTER, retry=Retry.SLOWLY)
        return outcome

    def _internal_error(self, error: Exception) -> Failure:
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        self._log.error("internal error of libbucket", error=type(error).__name__, where=where)
        return _failure(Reason.INTERNAL_ERROR, f"an unexpected {type(error).__name__}; see the provisioner's log")


def _there(found: T | None) -> T:
    """An object that the planned action implies."""
    assert found is not None  # noqa: S101 - `decide` plans the action only if the object exists
    return found


def _failure(reason: Reason, message: str) -> Failure:
    return Failure(reason=reason, message=message, retry=MEANINGS[reason].retry or Retry.SLOWLY)


def _outcome(failure: Failure, *, is_deletion: bool) -> Outcome:
    retry = failure.retry
    if retry is Retry.NEVER and is_deletion:
        retry = Retry.SLOWLY  # deletions are always retried
    return Outcome(result=failure.reason, retry=retry, delay=failure.delay)


def _is_only_rechecked(snapshot: Snapshot) -> bool:
    """Whether only a drift check, or a full reconciliation, required a call to the store."""
    return bool(snapshot.recheck) and isinstance(decide(replace(snapshot, recheck=Recheck.NONE)), Settled)


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)
