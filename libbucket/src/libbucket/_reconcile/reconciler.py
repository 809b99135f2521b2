"""One reconcile: observe, plan, apply, report; and what each kind of failure means for the next try.

Called by a worker with a key; answers when the key is to be requeued. The only place where errors become decisions:
what a reason means is in `_outcomes`, and whether a failed request to the API server concerns everybody or this claim
alone is asked of the API server itself.
"""

from __future__ import annotations

import traceback
from dataclasses import replace
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
from libbucket._reconcile.status.reporter import Reporter
from libbucket.errors import ProvisionerError, PurgeUnfinished, Reason, RetrySoon

if TYPE_CHECKING:
    from libbucket._api import ObjectBucketClaim
    from libbucket._kube.client import KubeClient
    from libbucket._reconcile.apply.provisioner_calls import ProvisionerCalls
    from libbucket._reconcile.model.actions import Action
    from libbucket._reconcile.model.context import Caches, Identity
    from libbucket._reconcile.model.intent import LastApplied
    from libbucket._reconcile.model.snapshot import Snapshot


class ClusterCircuit(Protocol):
    """Tells a failure of the API server from one that concerns one claim: see `ProbedCircuitBreaker`."""

    def confirm(self, key: str, *, failure: str, delay: float) -> bool:
        """Whether the API server is down."""


T = TypeVar("T")

_STORE_ANSWERED: Final = StoreSignal.ANSWERED


class Reconciler:
    """Brings one claim at a time to its desired state. Serves all workers at once."""

    def __init__(
        self, client: KubeClient, caches: Caches, identity: Identity, store: ProvisionerCalls, cluster: ClusterCircuit
    ) -> None:
        self._observer = Observer(client, caches, identity)
        self._reporter = Reporter(client, caches, identity)
        self._binder = Binder(client, caches, identity, store, self._reporter)
        self._releaser = Releaser(client, caches, identity, store, self._reporter)
        self._store = store
        self._cluster = cluster
        self._caches = caches
        self._identity = identity
        self._log = structlog.get_logger()

    def reconcile(self, key: str, *, recheck: Recheck = Recheck.NONE) -> Outcome:
        """Reconciles one claim: one step towards its spec.

        Args:
            key: `namespace/name`.
            recheck: how thoroughly to check the store although nothing seems to have changed.

        Returns:
            When to requeue it. Raises nothing.
        """
        try:
            world = self._observer.observe(key, recheck=recheck)
        except KubeError as error:
            return self._cluster_failure(key, None, error)
        except Exception as error:  # noqa: BLE001 - an internal error must not end the worker; it is logged
            return Outcome(result=self._internal_error(error).reason, retry=Retry.SOON)
        return self._carry_out(world)

    def forget(self, key: str, uid: str) -> None:
        """Drops what is remembered about a claim that is gone."""
        self._observer.forget(key)
        self._reporter.forget(uid)
        self._binder.forget(uid)
        self._store.forget(key)

    def leadership_lost(self) -> None:
        """Drops what only the leader may rely on."""
        self._binder.forget_all()

    def count_unclaimed(self) -> int:
        """How many ObjectBuckets are bound although their claim is gone."""
        return self._observer.count_unclaimed()

    def _carry_out(self, world: Snapshot) -> Outcome:
        try:
            outcome = self._act(world, decide(world))
            return replace(outcome, requeue_after=_earlier(outcome.requeue_after, world.purge_in))
        except PurgeUnfinished as error:
            return replace(self._go_on_purging(world, error), store=_STORE_ANSWERED)
        except ProvisionerError as error:
            return self._provisioner_failure(world, error)
        except NamespaceTerminating as error:
            return self._fail(world, _failure(Reason.NAMESPACE_TERMINATING, str(error)))
        except KubeError as error:
            return self._cluster_failure(world.key, world, error)
        except Exception as error:  # noqa: BLE001 - an internal error must not end the worker; it is logged and shown
            return self._fail(world, self._internal_error(error))

    def _act(self, world: Snapshot, action: Action) -> Outcome:
        match action:
            case Blocked():
                return self._fail(world, _failure(action.reason, action.message))
            case ReleaseOrphan():
                self._releaser.release_orphan(_there(world.orphan), action)
            case BeginPurge():
                self._releaser.begin_purge(_there(world.due))
            case Retain():
                self._releaser.keep(_there(world.undone))
            case Ignore():
                self._log.debug("ignored", why=action.why)
                return Outcome(result=Result.IGNORED)
            case Settled():
                return Outcome(result=Result.SETTLED, requeue_after=self._renew_in(world.last_applied))
            case Bind() | Release() | RemoveFinalizer():
                return self._act_on_claim(world, _there(world.claim), action)
            case _:
                assert_never(action)
        # The claim that has this name now comes next.
        return Outcome(result=Result.RELEASED, retry=Retry.NEXT_TURN)

    def _act_on_claim(
        self, world: Snapshot, claim: ObjectBucketClaim, action: Bind | Release | RemoveFinalizer
    ) -> Outcome:
        match action:
            case Bind():
                requeue_after = self._renew_in(self._binder.bind(world, claim, action))
                store = _STORE_ANSWERED if action.calls_store else StoreSignal.UNKNOWN
                return Outcome(result=Result.BOUND, requeue_after=requeue_after, store=store)
            case Release():
                ob = self._binder.record_intent(world, claim)[0] if action.records_intent else _there(world.bucket)
                self._releaser.release(claim, ob, action, duplicate=world.duplicate)
            case RemoveFinalizer():
                self._releaser.remove_finalizer(claim)
            case _:
                assert_never(action)
        self.forget(world.key, claim.metadata.uid)
        # Once more: a bucket that waits for its purge, or an earlier claim's, is this key's business as well.
        store = _STORE_ANSWERED if isinstance(action, Release) else StoreSignal.UNKNOWN
        return Outcome(result=Result.RELEASED, retry=Retry.NEXT_TURN, store=store)

    def _renew_in(self, last_applied: LastApplied | None) -> float | None:
        return seconds_to_renewal(last_applied, self._identity.now())

    def _go_on_purging(self, world: Snapshot, error: PurgeUnfinished) -> Outcome:
        ob = _there(world.orphan or world.bucket)
        try:
            removed = self._releaser.count_purged(ob, error.removed)
        except KubeError as failure:
            return self._cluster_failure(world.key, world, failure)
        message = f"bucket {ob.endpoint.bucket_name} is being emptied: {removed:,} objects removed so far"
        return self._fail(world, _failure(error.reason, message))

    def _provisioner_failure(self, world: Snapshot, error: ProvisionerError) -> Outcome:
        delay = (error.delay or 0.0) if isinstance(error, RetrySoon) else 0.0
        trouble = Failure(reason=error.reason, message=error.message, retry=retry_of(error), delay=delay)
        signal = store_signal(error)
        if isinstance(error, StoreHeldBack):
            return self._hold_back(world, trouble)
        if signal in OUTAGES and _is_only_rechecked(world):
            # The claim serves undisturbed: what could not be checked is checked later.
            return Outcome(result=error.reason, retry=Retry.SOON, delay=delay, store=signal)
        return replace(self._fail(world, trouble), store=signal)

    def _hold_back(self, world: Snapshot, trouble: Failure) -> Outcome:
        """A call that was not made is no news for a claim that shows the same reason already."""
        outcome = Outcome(result=trouble.reason, retry=Retry.SOON, delay=trouble.delay)
        if _is_only_rechecked(world) or self._reporter.shows(world.claim, trouble.reason):
            return outcome
        return self._fail(world, trouble)

    def _cluster_failure(self, key: str, world: Snapshot | None, error: KubeError) -> Outcome:
        """What a failed request to the API server means: for everybody, for this claim, or nothing."""
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
        trouble = _failure(Reason.REJECTED_BY_CLUSTER, str(error))
        outcome = self._fail(world, trouble) if world is not None else self._fail_unseen(key, trouble)
        return replace(outcome, cluster_failed=is_unclear)

    def _fail(self, world: Snapshot, trouble: Failure) -> Outcome:
        # What was written in this reconcile is in the cache: report on that version, not on the one it began with.
        claim = self._caches.claims.get(world.key) or world.claim
        if claim is not None and world.claim is not None and claim.metadata.uid != world.claim.metadata.uid:
            return Outcome(result=Result.CONFLICT, retry=Retry.SOON)  # made again meanwhile: none of its business
        if world.orphan is None:
            return self._report(claim, trouble, is_bound=world.is_bound, is_serving=world.is_serving)
        orphan = self._caches.buckets.get(world.orphan.metadata.name)
        try:
            self._reporter.bucket_failed(orphan, trouble)
        except KubeError as error:
            self._log.debug("status of an ObjectBucket could not be written", error=str(error))
        return _outcome(trouble, is_deletion=True)

    def _fail_unseen(self, key: str, trouble: Failure) -> Outcome:
        """For a claim whose objects could not be read: what serves is taken to go on serving."""
        claim = self._caches.claims.get(key)
        is_bound = claim is not None and self._reporter.shows(claim, Reason.BOUND)
        is_ours = claim is not None and claim.metadata.label(PROVISIONER_LABEL) == self._identity.label
        return self._report(claim if is_ours else None, trouble, is_bound=is_bound, is_serving=is_bound)

    def _report(
        self, claim: ObjectBucketClaim | None, trouble: Failure, *, is_bound: bool, is_serving: bool
    ) -> Outcome:
        self._log.debug(
            "reconcile failed", reason=str(trouble.reason), message=trouble.message, retry=trouble.retry.name
        )
        if claim is None:
            return _outcome(trouble, is_deletion=False)
        outcome = _outcome(trouble, is_deletion=claim.metadata.is_being_deleted)
        try:
            self._reporter.failed(claim, trouble, is_bound=is_bound, is_serving=is_serving)
        except (Conflict, NotFound):
            return Outcome(result=Result.CONFLICT, retry=Retry.SOON)
        except LeadershipLost:
            return Outcome(result=Result.FENCED, retry=Retry.SOON)
        except KubeError as error:
            if isinstance(error, ClusterUnavailable) and self._cluster.confirm(
                claim.metadata.key, failure=str(error), delay=error.delay or 0.0
            ):
                return Outcome(result=Reason.CLUSTER_UNAVAILABLE, retry=Retry.SOON)
            self._reporter.status_refused(claim, trouble, str(error))
            return replace(outcome, result=Reason.REJECTED_BY_CLUSTER, retry=Retry.SLOWLY)
        return outcome

    def _internal_error(self, error: Exception) -> Failure:
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        self._log.error("internal error of libbucket", error=type(error).__name__, where=where)
        return _failure(
            Reason.INTERNAL_ERROR, f"an unexpected {type(error).__name__}; the provisioner's log says where"
        )


def _there(found: T | None) -> T:
    """What the decision rests on, and so is in the snapshot."""
    assert found is not None  # noqa: S101 - `decide` answers so only where it is there
    return found


def _failure(reason: Reason, message: str) -> Failure:
    return Failure(reason=reason, message=message, retry=MEANINGS[reason].retry or Retry.SLOWLY)


def _outcome(trouble: Failure, *, is_deletion: bool) -> Outcome:
    retry = trouble.retry
    if retry is Retry.NEVER and is_deletion:
        retry = Retry.SLOWLY  # a deletion is never given up
    return Outcome(result=trouble.reason, retry=retry, delay=trouble.delay)


def _is_only_rechecked(world: Snapshot) -> bool:
    """Whether nothing but a drift check, or a full reconciliation, asked for the store."""
    return bool(world.recheck) and isinstance(decide(replace(world, recheck=Recheck.NONE)), Settled)


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)
