"""Gives everything back when a claim is deleted, in the order of the wire contract. Each step may come again.

    ObjectBucket: Released -> the store -> Secret and ConfigMap -> ObjectBucket -> the claim's finalizer

The finalizer goes last, and only when everything before it succeeded. A bucket that waits for its purge is revoked
only, and its ObjectBucket stays with the time on it; later it is deleted and released as an orphan. All that is needed
is on the ObjectBucket: neither the class nor, for an orphan, the claim has to exist. Acts only.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC
from typing import TYPE_CHECKING, Any

import structlog

from libbucket import _api
from libbucket._api import Phase
from libbucket._kube.errors import Conflict, NotFound
from libbucket._kube.resources import BUCKETS, CLAIMS, CONFIG_MAPS, SECRETS
from libbucket._reconcile import objects
from libbucket._reconcile.bucket_objects import BucketObjects
from libbucket._reconcile.deletion import DeletionPolicy
from libbucket._reconcile.record import Record, for_provisioner, observed_of, record_of
from libbucket.errors import BucketExists, BucketNotEmpty, Reason, RetrySlowly
from libbucket.types import ReclaimPolicy

if TYPE_CHECKING:
    from libbucket._api import ObjectBucketClaim, ObjectBucketObject
    from libbucket._kube.cache import Cache
    from libbucket._kube.client import KubeClient
    from libbucket._kube.resources import Resource
    from libbucket._reconcile.decide import Release
    from libbucket._reconcile.deletion import DeletionPlan
    from libbucket._reconcile.report import Reporter
    from libbucket._reconcile.store import Store
    from libbucket._reconcile.surroundings import Caches, Identity
    from libbucket.types import ObjectBucket


class Releaser:
    """Carries out `Release`, `LetGo`, `ReleaseOrphan`, `BeginPurge` and `Keep`."""

    def __init__(
        self, client: KubeClient, caches: Caches, identity: Identity, store: Store, reporter: Reporter
    ) -> None:
        self._client = client
        self._caches = caches
        self._identity = identity
        self._store = store
        self._reporter = reporter
        self._buckets = BucketObjects(client, caches)
        self._log = structlog.get_logger()

    def release(
        self,
        claim: ObjectBucketClaim,
        ob: ObjectBucketObject,
        what: Release,
        *,
        twin: ObjectBucketObject | None = None,
    ) -> None:
        """Gives back what the claim had, and lets it go.

        Args:
            claim: being deleted.
            ob: its ObjectBucket.
            what: was decided.
            twin: another one of its, left by a replacement that was cut off.

        Raises:
            ProvisionerError: the store's side failed; nothing after it was done.
            KubeError: the cluster's side failed.
        """
        ob = self._released(ob)
        stays = what.waits and self._is_purged(ob) and not self._known(ob)[0].is_unasked
        if stays:
            ob = self._plan_purge(claim, ob, what.plan)
        else:
            self._give_back(claim, ob, what.plan)
        self._delete_owned(SECRETS, self._caches.secrets, claim)
        self._delete_owned(CONFIG_MAPS, self._caches.config_maps, claim)
        if twin is not None:
            self._buckets.discard(twin)
        if not stays:
            self._buckets.discard(ob)
        self.let_go(claim)

    def begin_purge(self, ob: ObjectBucketObject) -> None:
        """From here on the bucket of a claim that is gone can't be had back.

        Raises:
            Conflict: somebody called it off, or had it back, in this moment.
            KubeError: any other refusal, or no answer.
        """
        self._log.info("its time has come: the bucket is purged", object_bucket=ob.metadata.name)
        self._buckets.begin_deletion(ob)

    def keep(self, ob: ObjectBucketObject) -> None:
        """Lets a bucket whose purge was called off stay for good.

        Raises:
            KubeError: it could not be written.
        """
        self._log.info("its purge was called off: the bucket stays", object_bucket=ob.metadata.name)
        self._buckets.patch(ob, objects.keep_patch(ob, policy=ReclaimPolicy.RETAIN))

    def count_purged(self, ob: ObjectBucketObject, removed: int) -> int:
        """Adds what one call removed to what is noted on the ObjectBucket; gives the sum.

        Raises:
            KubeError: it could not be written.
        """
        ob = self._caches.buckets.get(ob.metadata.name) or ob
        before = ob.metadata.annotation(_api.PURGED)
        so_far = removed + (int(before) if before.isascii() and before.isdigit() else 0)
        self._buckets.patch(ob, {"metadata": {"annotations": {_api.PURGED: str(so_far)}}})
        return so_far

    def release_orphan(self, ob: ObjectBucketObject, plan: DeletionPlan) -> None:
        """Gives back what an ObjectBucket without a claim stands for, since it is being deleted.

        Raises:
            ProvisionerError: the store's side failed.
            KubeError: the cluster's side failed.
        """
        ob = self._released(ob)
        self._give_back(None, ob, plan)
        self._buckets.discard(ob)
        self._reporter.forget(ob.metadata.uid)
        self._log.info("released an ObjectBucket whose claim no longer exists", object_bucket=ob.metadata.name)

    def let_go(self, claim: ObjectBucketClaim) -> None:
        """Takes our finalizer off the claim.

        Raises:
            KubeError: it could not be written.
        """
        meta = claim.metadata
        if not meta.has_finalizer():
            return
        patch = objects.finalizer_patch(meta, objects.without_finalizer(meta))
        with suppress(NotFound):
            written = self._client.patch(CLAIMS, meta.name, patch, namespace=meta.namespace)
            if written.metadata.finalizers:
                self._caches.claims.observe(written)
                return
        # That was the last finalizer, and the answer carries no newer version: take the claim out of the cache
        # ourselves, or a change of its ObjectBucket would have it looked at as if it were still there.
        self._caches.claims.remove(claim)

    def _released(self, ob: ObjectBucketObject) -> ObjectBucketObject:
        """The ObjectBucket, as Released, and as it is now: what it says decides whether data goes.

        Between two tries an administrator may have set it to Retain, and the watch may be late.
        """
        if ob.phase != Phase.RELEASED:
            return self._reporter.bucket_phase(ob, Phase.RELEASED)
        now = self._client.read(BUCKETS, ob.metadata.name)
        if now.metadata.uid != ob.metadata.uid:
            raise Conflict(f"ObjectBucket {ob.metadata.name} is another one now")
        self._caches.buckets.observe(now)
        return now

    def _known(self, ob: ObjectBucketObject) -> tuple[Record, ObjectBucket]:
        # Without a record the ObjectBucket is another program's, taken over while its class was gone already:
        # the bucket can't be known to have been made for the claim, so it stays.
        record = record_of(ob) or Record(provisioner=self._identity.provisioner_name, user_id="", greenfield=False)
        return record, for_provisioner(ob, record, self._identity.cluster_id)

    def _is_purged(self, ob: ObjectBucketObject) -> bool:
        """Whether the bucket goes with its claim, sooner or later."""
        record, known = self._known(ob)
        return record.greenfield and known.reclaim_policy is ReclaimPolicy.DELETE

    def _plan_purge(self, claim: ObjectBucketClaim, ob: ObjectBucketObject, plan: DeletionPlan) -> ObjectBucketObject:
        if ob.metadata.is_being_deleted:
            # Somebody deletes it by hand, which can't be called back: only another one can wait.
            ob = self._reporter.bucket_phase(self._buckets.replace(ob, claim), Phase.RELEASED)
        known = self._known(ob)[1]
        self._store.revoke(known)
        at = (self._identity.now() + plan.purge_after).astimezone(UTC).isoformat(timespec="seconds")
        planned = self._buckets.patch(ob, objects.purge_patch(ob, at=at, policy=str(plan.policy)))
        if planned is not ob:
            message = (
                f"The credentials are gone; bucket {known.bucket_name} is purged after {at}, unless a claim of this "
                f"name and class wants it back, or annotation {_api.PURGE_AT} of ObjectBucket {ob.metadata.name} goes"
            )
            self._reporter.event(claim, "Normal", Reason.RELEASED, message)
        return planned

    def _give_back(self, claim: ObjectBucketClaim | None, ob: ObjectBucketObject, plan: DeletionPlan) -> None:
        record, known = self._known(ob)
        if record.is_unasked:
            return
        if not self._is_purged(ob):
            self._store.revoke(known)
            self._say_kept(claim, known)
            return
        try:
            self._delete(known, plan)
        except BucketExists:
            if observed_of(ob) is not None or record.earlier_uids:
                raise  # it was made by us, and the stamp is gone: a person has to look before data goes
            self._store.revoke(known)  # refused when it was claimed: the bucket was never ours, only the identity

    def _delete(self, known: ObjectBucket, plan: DeletionPlan) -> None:
        if plan.policy is DeletionPolicy.PURGE:
            self._store.delete(known)
            return
        try:
            self._store.delete_empty(known)
        except RetrySlowly as error:
            if error.reason is not Reason.BUCKET_NOT_EMPTY:
                raise
            raise BucketNotEmpty(f"{error.message}: {plan.mend}") from error

    def _say_kept(self, claim: ObjectBucketClaim | None, known: ObjectBucket) -> None:
        if claim is None or not known.greenfield:
            return
        message = f"The credentials are gone; bucket {known.bucket_name} stays (reclaimPolicy {known.reclaim_policy})"
        self._reporter.event(claim, "Normal", Reason.RELEASED, message)

    def _delete_owned(self, resource: Resource[Any], cache: Cache[_api.Metadata], claim: ObjectBucketClaim) -> None:
        found = cache.get(claim.metadata.key) if cache.is_watched else self._find(resource, claim)
        if found is None or not found.metadata.is_controlled_by(claim.metadata.uid):
            return  # not ours; and what lost its label is collected through its ownerReference
        meta = found.metadata
        with suppress(NotFound):
            if meta.has_finalizer():  # of the Go library
                patch = objects.finalizer_patch(meta, objects.without_finalizer(meta))
                self._client.patch(resource, meta.name, patch, namespace=meta.namespace)
            self._client.delete(resource, meta.name, uid=meta.uid, namespace=meta.namespace)

    def _find(self, resource: Resource[Any], claim: ObjectBucketClaim) -> _api.Object | None:
        try:
            found: _api.Object = self._client.read(resource, claim.metadata.name, namespace=claim.metadata.namespace)
        except NotFound:
            return None
        return found
