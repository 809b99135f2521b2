"""Releases what a claim had when it is deleted, in the order of the wire contract. Each step is idempotent.

    ObjectBucket: Released -> the store -> Secret and ConfigMap -> ObjectBucket -> the claim's finalizer

The finalizer is removed last, and only if everything before it succeeded; credentials that expire by themselves are
waited for by the ObjectBucket alone. A bucket that waits for its purge is only
revoked, and its ObjectBucket stays with the time on it; later it is deleted and released as an orphan. Everything that
is needed is on the ObjectBucket: neither the class nor, for an orphan, the claim has to exist. Decides nothing: the
verb was planned.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC
from typing import TYPE_CHECKING, Any, assert_never

import structlog
from msgspec.structs import replace

from libbucket import _api
from libbucket._api import Phase
from libbucket._kube.errors import Conflict, NotFound
from libbucket._kube.resources import BUCKETS, CLAIMS, CONFIG_MAPS, SECRETS
from libbucket._outcomes import MEANINGS
from libbucket._reconcile.apply.object_buckets import BucketObjects
from libbucket._reconcile.model import manifests
from libbucket._reconcile.model.actions import Verb
from libbucket._reconcile.model.claim_ref import claim_ref_of
from libbucket._reconcile.model.intent import Intent, encode, for_provisioner, intent_of
from libbucket.errors import BucketExists, BucketNotEmpty, ExpiresLater, ProvisionerError, Reason, RetrySlowly
from libbucket.types import ReclaimPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket._api import ObjectBucketClaim, ObjectBucketObject
    from libbucket._kube.cache import Cache
    from libbucket._kube.resources import Resource
    from libbucket._reconcile.apply.context import ApplyContext
    from libbucket._reconcile.model.actions import BucketRelease
    from libbucket._reconcile.model.deletion_policy import DeletionPlan
    from libbucket.types import ObjectBucket


class Releaser:
    """Carries out `Release`, `RemoveFinalizer`, `ReleaseOrphan`, `BeginPurge` and `Retain`."""

    def __init__(self, context: ApplyContext) -> None:
        self._client = context.client
        self._caches = context.caches
        self._identity = context.identity
        self._store = context.store
        self._reporter = context.reporter
        self._buckets = BucketObjects(context.client, context.caches)
        self._log = structlog.get_logger()

    def release(
        self,
        claim: ObjectBucketClaim,
        ob: ObjectBucketObject,
        what: BucketRelease,
        *,
        duplicate: ObjectBucketObject | None = None,
    ) -> None:
        """Releases what the claim had, and removes its finalizer.

        Args:
            claim: being deleted.
            ob: its ObjectBucket, marked as released.
            what: the planned verb.
            duplicate: another ObjectBucket of the claim, left by an interrupted replacement.

        Raises:
            ProvisionerError: the provisioner's call failed; nothing after it was done.
            KubeError: a request to the API server failed.
        """
        waits = what.verb is Verb.REVOKE_UNTIL_PURGE
        if waits:
            ob = self._schedule_purge(claim, ob, what.plan)
        else:
            waits = self._outlives_claim(claim, ob, what)
        self._delete_owned(SECRETS, self._caches.secrets, claim)
        self._delete_owned(CONFIG_MAPS, self._caches.config_maps, claim)
        if duplicate is not None:
            self._buckets.discard(duplicate)
        if not waits:
            self._buckets.discard(ob)
        self.remove_finalizer(claim)

    def begin_purge(self, ob: ObjectBucketObject) -> None:
        """Begins the purge of a released bucket: from now on it cannot be cancelled, and the bucket not reclaimed.

        Raises:
            Conflict: the purge was cancelled, or the bucket reclaimed, concurrently.
            KubeError: any other refusal, or no answer.
        """
        self._log.info("purge-at reached: deleting bucket", object_bucket=ob.metadata.name)
        self._buckets.begin_deletion(ob)

    def retain(self, ob: ObjectBucketObject) -> None:
        """Retains a bucket whose purge was cancelled.

        Raises:
            KubeError: it could not be written.
        """
        self._log.info("purge cancelled: retaining bucket", object_bucket=ob.metadata.name)
        self._buckets.patch(ob, manifests.keep_patch(ob, policy=ReclaimPolicy.RETAIN))

    def count_purged(self, ob: ObjectBucketObject, removed: int) -> int:
        """Adds to the count of removed objects on the ObjectBucket; returns the sum.

        Raises:
            KubeError: it could not be written.
        """
        ob = self._caches.buckets.get(ob.metadata.name) or ob
        before = ob.metadata.annotation(_api.PURGED)
        so_far = removed + (int(before) if before.isascii() and before.isdigit() else 0)
        self._buckets.patch(ob, {"metadata": {"annotations": {_api.PURGED: str(so_far)}}})
        return so_far

    def release_orphan(self, ob: ObjectBucketObject, what: BucketRelease) -> None:
        """Releases what an ObjectBucket without a claim represents.

        Args:
            ob: marked as released.
            what: the planned verb.

        Raises:
            ProvisionerError: a call of the provisioner failed.
            KubeError: a request to the API server failed.
        """
        if what.verb is Verb.REVOKE_UNTIL_PURGE:
            self._schedule_purge(None, ob, what.plan)
        else:
            self._release_bucket(None, ob, what)
            self._buckets.discard(ob)
        self._reporter.forget(ob.metadata.uid)
        self._log.info("released an ObjectBucket whose claim no longer exists", object_bucket=ob.metadata.name)

    def remove_finalizer(self, claim: ObjectBucketClaim) -> None:
        """Removes our finalizer from the claim.

        Raises:
            KubeError: it could not be written.
        """
        meta = claim.metadata
        if not meta.has_finalizer():
            return
        patch = manifests.finalizer_patch(meta, manifests.without_finalizer(meta))
        with suppress(NotFound):
            written = self._client.patch(CLAIMS, meta.name, patch, namespace=meta.namespace)
            if written.metadata.finalizers:
                self._caches.claims.observe(written)
                return
        # That was the last finalizer, and the answer carries no newer version: the claim is removed from the cache
        # here, or a change of its ObjectBucket would have it reconciled as if it still existed.
        self._caches.claims.discard(claim)

    def mark_released(self, ob: ObjectBucketObject, claim: ObjectBucketClaim | None) -> ObjectBucketObject:
        """Writes the phase Released, and returns the ObjectBucket as it is now.

        Its content determines whether data is deleted. Between two attempts an administrator may have set it to
        Retain, and the watch may lag behind: its name may even belong to the ObjectBucket of another claim by now.

        Args:
            ob: as it was observed.
            claim: that is being deleted; None for an orphan.

        Raises:
            Conflict: it is no longer the ObjectBucket of this claim.
            KubeError: any other refusal, or no answer.
        """
        now = ob if ob.phase != Phase.RELEASED else self._client.read(BUCKETS, ob.metadata.name)
        if now.phase != Phase.RELEASED:
            now = self._write_released(now)
        self._caches.buckets.observe(now)
        if now.metadata.uid != ob.metadata.uid:
            raise Conflict(f"ObjectBucket {ob.metadata.name} was replaced by another object")
        if claim is not None and claim_ref_of(now).uid != claim.metadata.uid:
            raise Conflict(f"ObjectBucket {ob.metadata.name} now belongs to another claim")
        return now

    def _write_released(self, ob: ObjectBucketObject) -> ObjectBucketObject:
        try:
            return self._reporter.bucket_phase(ob, Phase.RELEASED)
        except Conflict:
            now = self._client.read(BUCKETS, ob.metadata.name)
            if now.metadata.uid != ob.metadata.uid:
                return now  # another object: the caller raises
            return self._reporter.bucket_phase(now, Phase.RELEASED)

    def _known(self, ob: ObjectBucketObject) -> ObjectBucket:
        return for_provisioner(ob, intent_of(ob), self._identity.cluster_id)

    def _intent(self, ob: ObjectBucketObject) -> Intent:
        """The recorded intent, or a new one for brownfield if it was removed."""
        name = self._identity.provisioner_name
        return intent_of(ob) or Intent(provisioner=name, user_id="", greenfield=False)

    def _schedule_purge(
        self, claim: ObjectBucketClaim | None, ob: ObjectBucketObject, plan: DeletionPlan
    ) -> ObjectBucketObject:
        if ob.metadata.is_being_deleted and claim is not None:
            # Deleted manually, which cannot be cancelled: only another ObjectBucket can wait.
            ob = self._reporter.bucket_phase(self._buckets.replace(ob, claim), Phase.RELEASED)
        known = self._known(ob)
        ended = "Credentials revoked"
        try:
            self._store.revoke(known)
        except ExpiresLater as error:  # the bucket waits for its purge anyway, and neither claim nor namespace does
            ended = error.message
        at = (self._identity.now() + plan.purge_after).astimezone(UTC).isoformat(timespec="seconds")
        intent = encode(replace(self._intent(ob), purge_planned=True))
        planned = self._buckets.patch(ob, manifests.purge_patch(ob, at=at, policy=str(plan.policy), intent=intent))
        if planned is not ob and claim is not None:
            message = (
                f"{ended}; bucket {known.bucket_name} will be deleted after {at} unless a claim with the same name and "
                f"class reclaims it, or annotation {_api.PURGE_AT} of ObjectBucket {ob.metadata.name} is removed"
            )
            self._reporter.event(claim, "Normal", Reason.RELEASED, message)
        return planned

    def _release_bucket(self, claim: ObjectBucketClaim | None, ob: ObjectBucketObject, what: BucketRelease) -> None:
        """Calls the planned verb with the recorded parameters; with the fallback if those never worked."""
        try:
            self._call_store(claim, ob, what)
        except ProvisionerError as error:
            if what.fallback is None or not MEANINGS[error.reason].suspects_parameters:
                raise
            ob = self._replace_parameters(claim, ob, what.fallback)
            self._call_store(claim, ob, what)

    def _outlives_claim(self, claim: ObjectBucketClaim, ob: ObjectBucketObject, what: BucketRelease) -> bool:
        """Releases the bucket; True if its ObjectBucket has to stay until the credentials have expired.

        It is being deleted from then on, and released as an orphan when they have. A claim whose bucket is to be
        deleted stays as well: its own deletion policy is not on the ObjectBucket.
        """
        try:
            self._release_bucket(claim, ob, what)
        except ExpiresLater as error:
            if what.verb is not Verb.REVOKE:
                raise
            if not ob.metadata.is_being_deleted:
                self._buckets.begin_deletion(ob)
            message = f"{error.message}; until then ObjectBucket {ob.metadata.name} stays"
            self._reporter.event(claim, "Normal", Reason.RELEASED, message)
            return True
        return False

    def _replace_parameters(
        self, claim: ObjectBucketClaim | None, ob: ObjectBucketObject, parameters: Mapping[str, str]
    ) -> ObjectBucketObject:
        intent = replace(self._intent(ob), parameters=dict(parameters))
        if claim is not None:
            message = (
                "The parameters that were recorded for this claim never worked; its deletion uses those that "
                f"StorageClass {claim.class_name} has now. If a store exists at the earlier ones, check it for bucket "
                f"{ob.endpoint.bucket_name}"
            )
            self._reporter.event(claim, "Warning", Reason.PROVISIONER_WARNING, message)
        return self._buckets.patch(ob, manifests.new_intent_patch(ob, encode(intent)))

    def _call_store(self, claim: ObjectBucketClaim | None, ob: ObjectBucketObject, what: BucketRelease) -> None:
        known = self._known(ob)
        match what.verb:
            case Verb.NOTHING:
                return
            case Verb.REVOKE | Verb.REVOKE_UNTIL_PURGE:
                self._store.revoke(known)
                self._report_retained(claim, known)
            case Verb.DELETE | Verb.DELETE_IF_EMPTY:
                self._delete_or_revoke(known, what)
            case _:
                assert_never(what.verb)

    def _delete_or_revoke(self, known: ObjectBucket, what: BucketRelease) -> None:
        try:
            if what.verb is Verb.DELETE:
                self._store.delete(known)
            else:
                self._delete_empty(known, what.plan)
        except BucketExists:
            if not what.revokes_foreign:
                raise  # created for this claim, and lost its ownership tags: an administrator has to confirm first
            self._store.revoke(known)

    def _delete_empty(self, known: ObjectBucket, plan: DeletionPlan) -> None:
        try:
            self._store.delete_empty(known)
        except RetrySlowly as error:
            if error.reason is not Reason.BUCKET_NOT_EMPTY:
                raise
            raise BucketNotEmpty(f"{error.message}: {plan.remedy}") from error

    def _report_retained(self, claim: ObjectBucketClaim | None, known: ObjectBucket) -> None:
        if claim is None or not known.greenfield:
            return
        message = f"Credentials revoked; bucket {known.bucket_name} is retained (reclaimPolicy {known.reclaim_policy})"
        self._reporter.event(claim, "Normal", Reason.RELEASED, message)

    def _delete_owned(self, resource: Resource[Any], cache: Cache[_api.Metadata], claim: ObjectBucketClaim) -> None:
        found = cache.get(claim.metadata.key) if cache.is_watched else self._find(resource, claim)
        if found is None or not found.metadata.is_controlled_by(claim.metadata.uid):
            return  # not ours; one that lost its label is garbage-collected through its ownerReference
        meta = found.metadata
        with suppress(NotFound):
            if meta.has_finalizer():  # of the Go library
                patch = manifests.finalizer_patch(meta, manifests.without_finalizer(meta))
                self._client.patch(resource, meta.name, patch, namespace=meta.namespace)
            self._client.delete(resource, meta.name, uid=meta.uid, namespace=meta.namespace)

    def _find(self, resource: Resource[Any], claim: ObjectBucketClaim) -> _api.Object | None:
        try:
            found: _api.Object = self._client.read(resource, claim.metadata.name, namespace=claim.metadata.namespace)
        except NotFound:
            return None
        return found
