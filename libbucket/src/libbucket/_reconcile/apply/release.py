"""Releases what a claim had when it is deleted, in the order of the wire contract. Each step is idempotent.

    ObjectBucket: Released -> the store -> Secret and ConfigMap -> ObjectBucket -> the claim's finalizer

The finalizer goes last, and only when everything before it succeeded; but credentials that the store can't revoke are
waited for by the ObjectBucket alone. A bucket that waits for its purge is revoked
only, and its ObjectBucket stays with the time on it; later it is deleted and released as an orphan. All that is needed
is on the ObjectBucket: neither the class nor, for an orphan, the claim has to exist. Acts only.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

import structlog
from msgspec.structs import replace

from libbucket import _api
from libbucket._api import Phase
from libbucket._kube.errors import Conflict, NotFound
from libbucket._kube.resources import BUCKETS, CLAIMS, CONFIG_MAPS, SECRETS
from libbucket._outcomes import MEANINGS
from libbucket._reconcile.apply.object_buckets import BucketObjects
from libbucket._reconcile.model import manifests
from libbucket._reconcile.model.actions import Release
from libbucket._reconcile.model.deletion_policy import DeletionPolicy
from libbucket._reconcile.model.intent import Intent, encode, for_provisioner, intent_of, last_applied_of, owner_of
from libbucket.errors import BucketExists, BucketNotEmpty, ExpiresLater, ProvisionerError, Reason, RetrySlowly
from libbucket.types import ReclaimPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket._api import ObjectBucketClaim, ObjectBucketObject
    from libbucket._kube.cache import Cache
    from libbucket._kube.client import KubeClient
    from libbucket._kube.resources import Resource
    from libbucket._reconcile.apply.provisioner_calls import ProvisionerCalls
    from libbucket._reconcile.model.actions import ReleaseOrphan
    from libbucket._reconcile.model.context import Caches, Identity
    from libbucket._reconcile.model.deletion_policy import DeletionPlan
    from libbucket._reconcile.status.reporter import Reporter
    from libbucket.types import ObjectBucket


_PASSING: Final = frozenset({Reason.THROTTLED, Reason.CLUSTER_UNAVAILABLE, Reason.INTERNAL_ERROR})


class Releaser:
    """Carries out `Release`, `RemoveFinalizer`, `ReleaseOrphan`, `BeginPurge` and `Keep`."""

    def __init__(
        self, client: KubeClient, caches: Caches, identity: Identity, store: ProvisionerCalls, reporter: Reporter
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
        duplicate: ObjectBucketObject | None = None,
    ) -> None:
        """Releases what the claim had, and removes its finalizer.

        Args:
            claim: being deleted.
            ob: its ObjectBucket.
            what: was decided.
            duplicate: another one of its, left by a replacement that was cut off.

        Raises:
            ProvisionerError: the provisioner's call failed; nothing after it was done.
            KubeError: the cluster's side failed.
        """
        ob = self._released(ob, claim)
        stays = what.waits and self._is_purged(ob) and not self._known(ob)[0].store_never_called
        if stays:
            ob = self._plan_purge(claim, ob, what.plan)
        else:
            stays = self._outlives_claim(claim, ob, what)
        self._delete_owned(SECRETS, self._caches.secrets, claim)
        self._delete_owned(CONFIG_MAPS, self._caches.config_maps, claim)
        if duplicate is not None:
            self._buckets.discard(duplicate)
        if not stays:
            self._buckets.discard(ob)
        self.remove_finalizer(claim)

    def begin_purge(self, ob: ObjectBucketObject) -> None:
        """From here on the bucket of a claim that is gone can't be reclaimed.

        Raises:
            Conflict: the purge was cancelled, or the bucket reclaimed, in this moment.
            KubeError: any other refusal, or no answer.
        """
        self._log.info("purge-at reached: deleting bucket", object_bucket=ob.metadata.name)
        self._buckets.begin_deletion(ob)

    def keep(self, ob: ObjectBucketObject) -> None:
        """Retains a bucket whose purge was cancelled.

        Raises:
            KubeError: it could not be written.
        """
        self._log.info("purge cancelled: retaining bucket", object_bucket=ob.metadata.name)
        self._buckets.patch(ob, manifests.keep_patch(ob, policy=ReclaimPolicy.RETAIN))

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

    def release_orphan(self, ob: ObjectBucketObject, what: ReleaseOrphan) -> None:
        """Releases what an ObjectBucket without a claim stands for.

        Raises:
            ProvisionerError: a call of the provisioner failed.
            KubeError: a request to the API server failed.
        """
        ob = self._released(ob, None)
        if what.waits and self._is_purged(ob) and not self._known(ob)[0].store_never_called:
            self._plan_purge(None, ob, what.plan)
        else:
            self._release_bucket(None, ob, Release(plan=what.plan))
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
        # That was the last finalizer, and the answer carries no newer version: take the claim out of the cache
        # ourselves, or a change of its ObjectBucket would have it looked at as if it were still there.
        self._caches.claims.discard(claim)

    def _released(self, ob: ObjectBucketObject, claim: ObjectBucketClaim | None) -> ObjectBucketObject:
        """The ObjectBucket, as Released, and as it is now: what it says decides whether data goes.

        Between two tries an administrator may have set it to Retain, and the watch may be late: its name may even
        belong to the ObjectBucket of another claim by now.

        Raises:
            Conflict: it is not the ObjectBucket of this claim any more.
        """
        now = ob if ob.phase != Phase.RELEASED else self._client.read(BUCKETS, ob.metadata.name)
        if now.phase != Phase.RELEASED:
            now = self._write_released(now)
        self._caches.buckets.observe(now)
        if now.metadata.uid != ob.metadata.uid:
            raise Conflict(f"ObjectBucket {ob.metadata.name} was replaced by another object")
        if claim is not None and owner_of(now, "").uid != claim.metadata.uid:
            raise Conflict(f"ObjectBucket {ob.metadata.name} now belongs to another claim")
        return now

    def _write_released(self, ob: ObjectBucketObject) -> ObjectBucketObject:
        try:
            return self._reporter.bucket_phase(ob, Phase.RELEASED)
        except Conflict:
            now = self._client.read(BUCKETS, ob.metadata.name)
            if now.metadata.uid != ob.metadata.uid:
                return now  # for the caller to refuse
            return self._reporter.bucket_phase(now, Phase.RELEASED)

    def _known(self, ob: ObjectBucketObject) -> tuple[Intent, ObjectBucket]:
        # Without a record the ObjectBucket is another program's, taken over while its class was gone already:
        # the bucket can't be known to have been made for the claim, so it stays.
        intent = intent_of(ob) or Intent(provisioner=self._identity.provisioner_name, user_id="", greenfield=False)
        return intent, for_provisioner(ob, intent, self._identity.cluster_id)

    def _is_purged(self, ob: ObjectBucketObject) -> bool:
        """Whether the bucket goes with its claim, sooner or later."""
        intent, known = self._known(ob)
        return intent.greenfield and known.reclaim_policy is ReclaimPolicy.DELETE

    def _plan_purge(
        self, claim: ObjectBucketClaim | None, ob: ObjectBucketObject, plan: DeletionPlan
    ) -> ObjectBucketObject:
        if ob.metadata.is_being_deleted and claim is not None:
            # Deleted manually, which can't be cancelled: only another one can wait.
            ob = self._reporter.bucket_phase(self._buckets.replace(ob, claim), Phase.RELEASED)
        intent, known = self._known(ob)
        self._store.revoke(known)
        at = (self._identity.now() + plan.purge_after).astimezone(UTC).isoformat(timespec="seconds")
        noted = encode(replace(intent, purge_planned=True))
        planned = self._buckets.patch(ob, manifests.purge_patch(ob, at=at, policy=str(plan.policy), intent=noted))
        if planned is not ob and claim is not None:
            message = (
                f"Credentials revoked; bucket {known.bucket_name} will be deleted after {at} unless a claim with the "
                f"same name and class reclaims it, or annotation {_api.PURGE_AT} of ObjectBucket {ob.metadata.name} is "
                "removed"
            )
            self._reporter.event(claim, "Normal", Reason.RELEASED, message)
        return planned

    def _release_bucket(self, claim: ObjectBucketClaim | None, ob: ObjectBucketObject, what: Release) -> None:
        """Deletes or revokes by the recorded parameters; by the class's as they are now where those never worked."""
        try:
            self._undo(claim, ob, what.plan)
        except ProvisionerError as error:
            if what.fallback is None or not _are_useless(error):
                raise
            ob = self._replace_parameters(claim, ob, what.fallback)
            self._undo(claim, ob, what.plan)

    def _outlives_claim(self, claim: ObjectBucketClaim, ob: ObjectBucketObject, what: Release) -> bool:
        """Releases the bucket; True where its ObjectBucket has to stay until the credentials have expired.

        Being deleted, it is released as an orphan, however often that takes. Where the bucket is to be deleted the
        claim stays as well: what it says of that is not on the ObjectBucket.
        """
        try:
            self._release_bucket(claim, ob, what)
        except ExpiresLater as error:
            if self._is_purged(ob):
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
        intent = replace(self._known(ob)[0], parameters=dict(parameters))
        if claim is not None:
            message = (
                "The parameters that were recorded for this claim never worked; its deletion uses those that "
                f"StorageClass {claim.class_name} has now. If a store exists at the earlier ones, check it for bucket "
                f"{ob.endpoint.bucket_name}"
            )
            self._reporter.event(claim, "Warning", Reason.PROVISIONER_WARNING, message)
        return self._buckets.patch(ob, manifests.new_intent_patch(ob, encode(intent)))

    def _undo(self, claim: ObjectBucketClaim | None, ob: ObjectBucketObject, plan: DeletionPlan) -> None:
        intent, known = self._known(ob)
        if intent.store_never_called:
            return
        if not self._is_purged(ob):
            self._store.revoke(known)
            self._say_kept(claim, known)
            return
        try:
            self._delete(known, plan)
        except BucketExists:
            if last_applied_of(ob) is not None or intent.earlier_uids:
                raise  # it was made by us, and the stamp is gone: an administrator has to confirm before data goes
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
            raise BucketNotEmpty(f"{error.message}: {plan.remedy}") from error

    def _say_kept(self, claim: ObjectBucketClaim | None, known: ObjectBucket) -> None:
        if claim is None or not known.greenfield:
            return
        message = f"Credentials revoked; bucket {known.bucket_name} is retained (reclaimPolicy {known.reclaim_policy})"
        self._reporter.event(claim, "Normal", Reason.RELEASED, message)

    def _delete_owned(self, resource: Resource[Any], cache: Cache[_api.Metadata], claim: ObjectBucketClaim) -> None:
        found = cache.get(claim.metadata.key) if cache.is_watched else self._find(resource, claim)
        if found is None or not found.metadata.is_controlled_by(claim.metadata.uid):
            return  # not ours; and what lost its label is collected through its ownerReference
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


def _are_useless(error: ProvisionerError) -> bool:
    """Whether a call that ended so may never have reached a store that accepts these parameters."""
    return not MEANINGS[error.reason].proves_access and error.reason not in _PASSING
