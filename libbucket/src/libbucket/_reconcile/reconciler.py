"""One reconcile: gather, decide, act, report; and what each kind of failure means for the next try.

Called by a worker with a key; answers when to come again. The only place where errors become decisions.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import structlog

from libbucket._kube.errors import (
    ClusterUnavailable,
    Conflict,
    Forbidden,
    KubeError,
    LeadershipLost,
    NamespaceTerminating,
    NotFound,
    Rejected,
)
from libbucket._reconcile.bind import Binder
from libbucket._reconcile.decide import (
    BeginPurge,
    Bind,
    Blocked,
    Ignore,
    Keep,
    LetGo,
    Release,
    ReleaseOrphan,
    Retry,
    Settled,
    decide,
)
from libbucket._reconcile.gather import Gatherer
from libbucket._reconcile.record import seconds_to_renewal
from libbucket._reconcile.release import Releaser
from libbucket._reconcile.report import Reporter, Trouble
from libbucket._reconcile.snapshot import Recheck
from libbucket.errors import ProvisionerError, PurgeUnfinished, Reason, RetrySlowly, RetrySoon

if TYPE_CHECKING:
    from libbucket._api import ObjectBucketClaim
    from libbucket._kube.client import KubeClient
    from libbucket._reconcile.decide import Action
    from libbucket._reconcile.record import Observed
    from libbucket._reconcile.snapshot import Snapshot
    from libbucket._reconcile.store import Store
    from libbucket._reconcile.surroundings import Caches, Identity


_ANSWERS: Final = frozenset(
    {
        Reason.ACCESS_DENIED,
        Reason.BUCKET_EXISTS,
        Reason.BUCKET_LOST,
        Reason.BUCKET_NOT_EMPTY,
        Reason.BUCKET_NOT_FOUND,
        Reason.NOT_READY,
        Reason.QUOTA_EXCEEDED,
        Reason.THROTTLED,
    }
)
"""What only a store can have said. The others may have been found before it was asked."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a reconcile.

    Attributes:
        result: one word, for the metric.
        retry: None if there is nothing more to do.
        delay: seconds that somebody asked to wait at least.
        look_in: seconds until something is to be done although nothing changes: credentials to be renewed, a bucket to
            be purged; None where nothing is.
        store_answers: whether the claim's store answered; None where it was not asked, or that is not known.
    """

    result: str
    retry: Retry | None = None
    delay: float = 0.0
    look_in: float | None = None
    store_answers: bool | None = None


class Reconciler:
    """Brings one claim at a time to where it should be. Serves all workers at once."""

    def __init__(self, client: KubeClient, caches: Caches, identity: Identity, store: Store) -> None:
        self._gatherer = Gatherer(client, caches, identity)
        self._reporter = Reporter(client, caches, identity)
        self._binder = Binder(client, caches, identity, store, self._reporter)
        self._releaser = Releaser(client, caches, identity, store, self._reporter)
        self._caches = caches
        self._identity = identity
        self._log = structlog.get_logger()

    def reconcile(self, key: str, *, recheck: Recheck = Recheck.NONE) -> Outcome:
        """Looks at one claim and does what is next.

        Args:
            key: `namespace/name`.
            recheck: how thoroughly to go through the store's side although nothing seems to have changed.

        Returns:
            When to come again. Raises nothing.
        """
        try:
            world = self._gatherer.gather(key, recheck=recheck)
        except KubeError as error:
            return self._cluster_trouble(error)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end the worker; it is logged
            return Outcome(result=str(self._bug(error).reason), retry=Retry.SOON)
        return self._carry_out(world)

    def forget(self, key: str, uid: str) -> None:
        """Drops what is remembered about a claim that is gone."""
        self._gatherer.forget(key)
        self._reporter.forget(uid)

    def _carry_out(self, world: Snapshot) -> Outcome:
        try:
            outcome = self._act(world, decide(world))
            return replace(outcome, look_in=_earlier(outcome.look_in, world.purge_in))
        except PurgeUnfinished as error:
            return replace(self._go_on_purging(world, error), store_answers=True)
        except ProvisionerError as error:
            return replace(self._fail(world, _trouble(error)), store_answers=_store_answers(error))
        except NamespaceTerminating as error:
            return self._fail(
                world, Trouble(reason=Reason.NAMESPACE_TERMINATING, message=str(error), retry=Retry.SLOWLY)
            )
        except (Rejected, Forbidden) as error:
            reason = Reason.REJECTED_BY_CLUSTER
            return self._fail(world, Trouble(reason=reason, message=str(error), retry=Retry.SLOWLY))
        except KubeError as error:
            return self._cluster_trouble(error)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end the worker; it is logged and shown
            return self._fail(world, self._bug(error))

    def _act(self, world: Snapshot, action: Action) -> Outcome:
        if isinstance(action, Blocked):
            return self._fail(world, Trouble(reason=action.reason, message=action.message, retry=action.retry))
        if isinstance(action, ReleaseOrphan) and world.orphan is not None:
            self._releaser.release_orphan(world.orphan, action.plan)
            return Outcome(result="released", retry=Retry.NEXT_TURN)  # the claim that has this name now comes next
        if isinstance(action, BeginPurge) and world.due is not None:
            self._releaser.begin_purge(world.due)
            return Outcome(result="released", retry=Retry.NEXT_TURN)
        if isinstance(action, Keep) and world.undone is not None:
            self._releaser.keep(world.undone)
            return Outcome(result="released", retry=Retry.NEXT_TURN)
        if world.claim is None or isinstance(action, Ignore):
            self._log.debug("left alone", why=action.why if isinstance(action, Ignore) else "the claim is gone")
            return Outcome(result="ignored")
        return self._act_on_claim(world, world.claim, action)

    def _act_on_claim(self, world: Snapshot, claim: ObjectBucketClaim, action: Action) -> Outcome:
        if isinstance(action, Bind):
            look_in = self._renew_in(self._binder.bind(world, claim, action))
            return Outcome(result="bound", look_in=look_in, store_answers=action.calls_store or None)
        if isinstance(action, Release):
            ob = self._binder.record_intent(world, claim)[0] if action.records_first else world.bucket
            assert ob is not None  # noqa: S101 - decide answers so only where there is one
            self._releaser.release(claim, ob, action, twin=world.twin)
            return Outcome(result="released", store_answers=True)
        if isinstance(action, LetGo):
            self._releaser.let_go(claim)
            return Outcome(result="released")
        assert isinstance(action, Settled)  # noqa: S101 - all others are above
        return Outcome(result="settled", look_in=self._renew_in(world.observed))

    def _renew_in(self, observed: Observed | None) -> float | None:
        return seconds_to_renewal(observed, self._identity.now())

    def _go_on_purging(self, world: Snapshot, error: PurgeUnfinished) -> Outcome:
        ob = world.orphan or world.bucket
        assert ob is not None  # noqa: S101 - what is purged has an ObjectBucket
        try:
            removed = self._releaser.count_purged(ob, error.removed)
        except KubeError as trouble:
            return self._cluster_trouble(trouble)
        message = f"bucket {ob.endpoint.bucket_name} is being emptied: {removed:,} objects removed so far"
        return self._fail(world, Trouble(reason=error.reason, message=message, retry=Retry.NEXT_TURN))

    def _fail(self, world: Snapshot, trouble: Trouble) -> Outcome:
        self._log.debug("not done", reason=str(trouble.reason), message=trouble.message, retry=trouble.retry.name)
        # What was written in this reconcile is in the cache: report on that version, not on the one it began with.
        claim = self._caches.claims.get(world.key) or world.claim
        try:
            if world.orphan is not None:
                self._reporter.bucket_failed(self._caches.buckets.get(world.orphan.metadata.name), trouble)
            elif claim is not None:
                self._reporter.failed(world, claim, trouble)
        except KubeError as error:
            return self._cluster_trouble(error)
        retry = trouble.retry
        is_deletion = world.orphan is not None or (claim is not None and claim.metadata.is_being_deleted)
        if retry is Retry.NEVER and is_deletion:
            retry = Retry.SLOWLY  # a deletion is never given up
        return Outcome(result=str(trouble.reason), retry=retry, delay=trouble.delay)

    def _cluster_trouble(self, error: KubeError) -> Outcome:
        if isinstance(error, (Conflict, NotFound)):
            self._log.debug("the cluster moved on; looking again", error=str(error))
            return Outcome(result="conflict", retry=Retry.SOON)
        if isinstance(error, LeadershipLost):
            return Outcome(result="fenced", retry=Retry.SOON)
        delay = error.delay if isinstance(error, ClusterUnavailable) and error.delay else 0.0
        is_outage = isinstance(error, ClusterUnavailable)  # of which the informers and the gate tell, once
        log = self._log.debug if is_outage else self._log.warning
        log("the API server did not do what was asked", error=str(error))
        retry = Retry.SOON if is_outage else Retry.SLOWLY
        return Outcome(result=str(Reason.CLUSTER_UNAVAILABLE), retry=retry, delay=delay)

    def _bug(self, error: Exception) -> Trouble:
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        self._log.error("libbucket has a bug", error=type(error).__name__, where=where)
        message = f"an unexpected {type(error).__name__}; the provisioner's log says where"
        return Trouble(reason=Reason.INTERNAL_ERROR, message=message, retry=Retry.SOON)


def _store_answers(error: ProvisionerError) -> bool | None:
    if error.reason is Reason.STORE_UNAVAILABLE:
        return False
    return True if error.reason in _ANSWERS else None


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _trouble(error: ProvisionerError) -> Trouble:
    if isinstance(error, RetrySoon):
        return Trouble(reason=error.reason, message=error.message, retry=Retry.SOON, delay=error.delay or 0.0)
    retry = Retry.SLOWLY if isinstance(error, RetrySlowly) else Retry.NEVER
    return Trouble(reason=error.reason, message=error.message, retry=retry)
