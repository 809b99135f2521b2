"""Finds ObjectBuckets whose claim is gone: to be released, reclaimed, purged, or retained for good.

Used by the observer. A released bucket that waits for its purge has nothing left but its ObjectBucket, whose
annotations, which only an administrator can edit, say which claim it belonged to. An ObjectBucket that is bound
although its claim is gone had a claim whose finalizer was removed by force: that counts as its deletion. Unless it is a
copy that a backup tool created: of that, neither the phase nor the time of a purge is believed. Reads and never writes;
decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from libbucket import _api
from libbucket._kube.errors import KindMissing, NotFound
from libbucket._kube.resources import BUCKETS, CLAIMS
from libbucket._reconcile.model.claim_ref import claim_ref_of
from libbucket._reconcile.model.deletion_policy import is_planned, seconds_to_purge, was_planned
from libbucket._reconcile.model.intent import (
    intent_of,
    is_restored_copy,
    last_applied_of,
    reclaim_policy_of,
)
from libbucket._reconcile.model.snapshot import Orphans
from libbucket._reconcile.model.summaries import is_unreleased
from libbucket.types import ReclaimPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket._api import ObjectBucketClaim, ObjectBucketObject
    from libbucket._kube.client import KubeClient
    from libbucket._reconcile.model.context import Caches, Identity
    from libbucket._reconcile.model.summaries import BucketSummary


_FEW_UNCLAIMED: Final = 3
"""Up to so many ObjectBuckets without a claim, or a tenth of all, are released automatically; more need a person."""


class OrphanFinder:
    """Searches the cache, and reads from the API server before an irreversible step."""

    def __init__(self, client: KubeClient, caches: Caches, identity: Identity) -> None:
        self._client = client
        self._caches = caches
        self._identity = identity

    def find(self, key: str, claim: ObjectBucketClaim | None) -> Orphans:
        """Finds the ObjectBuckets of earlier claims of one name.

        Args:
            key: `namespace/name`.
            claim: the claim that has this name now; None if there is none.

        Raises:
            KubeError: it could not be read whether a claim exists, although a purge depends on it.
        """
        left = self._left_by_earlier_claims(key, claim)
        released = [one for one in left if one.phase == _api.Phase.RELEASED and not one.metadata.is_being_deleted]
        reclaimable = self._reclaimable(claim, released) if claim is not None else None
        purged = [one for one in released if one is not reclaimable and _is_purged(one)]
        waits = [(seconds, one) for one in purged if (seconds := self._seconds(one)) is not None]
        due = [one for seconds, one in waits if seconds <= 0]
        return Orphans(
            unreleased=next(filter(None, map(self._unreleased, left)), None),
            reclaimable=reclaimable,
            due=next((one for one in due if self._is_due(one, claim)), None),
            cancelled=next((one for one in purged if was_planned(one) and not is_planned(one)), None),
            next_purge_in=min((seconds for seconds, _ in waits if seconds > 0), default=None),
        )

    def _left_by_earlier_claims(self, key: str, claim: ObjectBucketClaim | None) -> list[ObjectBucketObject]:
        uid = claim.metadata.uid if claim is not None else None
        names = self._caches.buckets.keys_of(key)
        # Nearly always the one ObjectBucket is this claim's, and need not be unpacked.
        if all(one is not None and one.claim_uid == uid for one in map(self._caches.bucket_summaries.get, names)):
            return []
        return [one for one in self._caches.buckets.grouped(key) if self._is_of_earlier_claim(one, claim)]

    def _is_of_earlier_claim(self, bucket: ObjectBucketObject, claim: ObjectBucketClaim | None) -> bool:
        intent = intent_of(bucket)
        is_ours = intent is not None and intent.provisioner == self._identity.provisioner_name
        return is_ours and (claim is None or claim.metadata.uid != claim_ref_of(bucket).uid)

    def count_unclaimed(self) -> int:
        """How many ObjectBuckets of ours are bound although, as far as the cache knows, their claim is gone."""
        return sum(one.is_unreleased and self._has_lost_its_claim(one) for one in self._our_buckets())

    def _our_buckets(self) -> Iterator[BucketSummary]:
        ours = self._identity.provisioner_name
        return (one for one in self._caches.bucket_summaries.values() if one.provisioner == ours)

    def _has_lost_its_claim(self, bucket: BucketSummary) -> bool:
        namespace, _, _ = bucket.claim_key.partition("/")
        claim = self._caches.claim_summaries.get(bucket.claim_key)
        return self._identity.watches(namespace) and (claim is None or claim.uid != bucket.claim_uid)

    def _unreleased(self, bucket: ObjectBucketObject) -> ObjectBucketObject | None:
        """The ObjectBucket as it is now, if it has to be released."""
        if not bucket.metadata.has_finalizer():
            return None
        if bucket.metadata.is_being_deleted or _was_never_bound(bucket):
            return bucket if self._is_claim_gone(bucket) else None
        if not is_unreleased(bucket) or is_restored_copy(bucket) or self._too_many_are_unclaimed():
            return None
        # Before data is deleted the API server is read, not the cache, which may lag behind.
        now = self._read_again(bucket)
        if now is None or not is_unreleased(now) or is_restored_copy(now):
            return None
        return now if self._is_claim_gone(now) else None

    def _too_many_are_unclaimed(self) -> bool:
        """Whether so many claims are missing at once that a mistake is more likely than so many forced deletions."""
        all_ours = sum(1 for _ in self._our_buckets())
        return self.count_unclaimed() > max(_FEW_UNCLAIMED, all_ours // 10)

    def _read_again(self, bucket: ObjectBucketObject) -> ObjectBucketObject | None:
        try:
            now = self._client.read(BUCKETS, bucket.metadata.name)
        except KindMissing:
            raise
        except NotFound:
            return None
        self._caches.buckets.observe(now)
        return now if now.metadata.uid == bucket.metadata.uid else None

    def _is_claim_gone(self, bucket: ObjectBucketObject) -> bool:
        """Whether the API server has no such claim: the cache may know the ObjectBucket before it knows the claim."""
        ref = claim_ref_of(bucket)
        try:
            now = self._client.read(CLAIMS, ref.name, namespace=ref.namespace)
        except KindMissing:
            raise  # without its resource definition, no claim can be read
        except NotFound:
            return True
        return now.metadata.uid != ref.uid

    def _reclaimable(self, claim: ObjectBucketClaim, released: list[ObjectBucketObject]) -> ObjectBucketObject | None:
        found = [one for one in released if self._may_reclaim(claim, one)]
        return max(found, key=lambda one: one.metadata.annotation(_api.PURGE_AT), default=None)

    def _may_reclaim(self, claim: ObjectBucketClaim, bucket: ObjectBucketObject) -> bool:
        """Whether a claim of the same name has the same class, and names this bucket or none."""
        return (
            not claim.metadata.is_being_deleted
            and _is_greenfield(bucket)
            and claim.class_name == (bucket.spec.storage_class_name or "")
            and (claim.spec.bucket_name or bucket.endpoint.bucket_name) == bucket.endpoint.bucket_name
            and self._makes_buckets(claim.class_name)
        )

    def _makes_buckets(self, class_name: str) -> bool:
        storage_class = self._caches.classes.get(class_name)
        if storage_class is None or storage_class.provisioner != self._identity.provisioner_name:
            return False
        return not (storage_class.parameters or {}).get("bucketName")

    def _seconds(self, bucket: ObjectBucketObject) -> float | None:
        return seconds_to_purge(bucket.metadata.annotation(_api.PURGE_AT), self._identity.now())

    def _is_due(self, bucket: ObjectBucketObject, claim: ObjectBucketClaim | None) -> bool:
        """Whether no claim that the cache does not know yet reclaims it: a purge is irreversible."""
        ref = claim_ref_of(bucket)
        try:
            now = self._client.read(CLAIMS, ref.name, namespace=ref.namespace)
        except KindMissing:
            raise
        except NotFound:
            return claim is None
        return claim is not None and now.metadata.uid == claim.metadata.uid and not self._may_reclaim(now, bucket)


def _was_never_bound(bucket: ObjectBucketObject) -> bool:
    """Whether it is only a recorded intent.

    If its claim is gone, it was written by a leader that lost the lease in that moment: its request arrived after the
    next leader had removed the claim's finalizer, and nothing else would ever release it.
    """
    return last_applied_of(bucket) is None and not bucket.endpoint.bucket_host


def _is_greenfield(bucket: ObjectBucketObject) -> bool:
    intent = intent_of(bucket)
    return intent is not None and intent.greenfield


def _is_purged(bucket: ObjectBucketObject) -> bool:
    """Whether the bucket is deleted with its claim, at once or later."""
    is_deleted = _is_greenfield(bucket) and reclaim_policy_of(bucket) is ReclaimPolicy.DELETE
    return is_deleted and not is_restored_copy(bucket)
