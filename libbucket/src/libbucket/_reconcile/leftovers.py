"""Finds ObjectBuckets whose claim is gone: to be given back, kept for good, or purged. Part of `gather`.

A released bucket that waits for its purge has nothing but its ObjectBucket. Whose it was is said by our annotations
there, which nobody but an administrator can write. Reads and never writes; decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from libbucket import _api
from libbucket._kube.errors import NotFound
from libbucket._kube.resources import CLAIMS
from libbucket._reconcile.deletion import seconds_to_purge
from libbucket._reconcile.record import observed_of, owner_of, reclaim_policy_of, record_of
from libbucket.types import ReclaimPolicy

if TYPE_CHECKING:
    from libbucket._api import ObjectBucketClaim, ObjectBucketObject
    from libbucket._kube.client import KubeClient
    from libbucket._reconcile.surroundings import Caches, Identity


@dataclass(frozen=True, kw_only=True)
class Left:
    """What claims of one name that are gone have left behind.

    Attributes:
        orphan: is being deleted, or was never more than an intent: what it stands for is to be given back.
        given_back: what the claim of that name now may have; of several the one that was released last.
        due: its time has come.
        undone: its purge was called off.
        purge_in: seconds until the next one's time comes; None where none waits.
    """

    orphan: ObjectBucketObject | None = None
    given_back: ObjectBucketObject | None = None
    due: ObjectBucketObject | None = None
    undone: ObjectBucketObject | None = None
    purge_in: float | None = None


class Leftovers:
    """Looks through the cache, and once more at the API server before what can't be called back."""

    def __init__(self, client: KubeClient, caches: Caches, identity: Identity) -> None:
        self._client = client
        self._caches = caches
        self._identity = identity

    def find(self, key: str, claim: ObjectBucketClaim | None) -> Left:
        """What earlier claims of this name left behind.

        Args:
            key: `namespace/name`.
            claim: that has this name now; None where there is none.

        Raises:
            KubeError: whether there is a claim could not be read, although a purge depends on it.
        """
        left = [one for one in self._caches.buckets.grouped(key) if self._is_left(one, claim)]
        released = [one for one in left if one.phase == _api.Phase.RELEASED and not one.metadata.is_being_deleted]
        given_back = self._given_back(claim, released) if claim is not None else None
        purged = [one for one in released if one is not given_back and _goes(one)]
        waits = [seconds for one in purged if (seconds := self._seconds(one)) is not None]
        due = [one for one in purged if (seconds := self._seconds(one)) is not None and seconds <= 0]
        return Left(
            orphan=next((one for one in left if self._is_orphan(one)), None),
            given_back=given_back,
            due=next((one for one in due if self._is_due(one, claim)), None),
            undone=next((one for one in purged if not one.metadata.annotation(_api.PURGE_AT)), None),
            purge_in=min((seconds for seconds in waits if seconds > 0), default=None),
        )

    def _is_left(self, bucket: ObjectBucketObject, claim: ObjectBucketClaim | None) -> bool:
        record = record_of(bucket)
        is_ours = record is not None and record.provisioner == self._identity.provisioner_name
        return is_ours and (claim is None or claim.metadata.uid != owner_of(bucket, "").uid)

    def _is_orphan(self, bucket: ObjectBucketObject) -> bool:
        is_over = bucket.metadata.is_being_deleted or _was_never_bound(bucket)
        return is_over and bucket.metadata.has_finalizer() and self._is_claim_gone(bucket)

    def _is_claim_gone(self, bucket: ObjectBucketObject) -> bool:
        """Whether it is so for the API server, too: the cache may know the ObjectBucket before it knows the claim."""
        owner = owner_of(bucket, "")
        try:
            now = self._client.read(CLAIMS, owner.name, namespace=owner.namespace)
        except NotFound:
            return True
        return now.metadata.uid != owner.uid

    def _given_back(self, claim: ObjectBucketClaim, released: list[ObjectBucketObject]) -> ObjectBucketObject | None:
        may_have = [one for one in released if self._may_have(claim, one)]
        return max(may_have, key=lambda one: one.metadata.annotation(_api.PURGE_AT), default=None)

    def _may_have(self, claim: ObjectBucketClaim, bucket: ObjectBucketObject) -> bool:
        """Whether a claim of the same name asks for the same class, and for this bucket or for none by name."""
        return (
            not claim.metadata.is_being_deleted
            and _is_greenfield(bucket)
            and claim.class_name == (bucket.wanted.storage_class_name or "")
            and (claim.wanted.bucket_name or bucket.endpoint.bucket_name) == bucket.endpoint.bucket_name
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
        """Whether no claim that the cache does not know yet asks for it: a purge can't be called back."""
        owner = owner_of(bucket, "")
        try:
            now = self._client.read(CLAIMS, owner.name, namespace=owner.namespace)
        except NotFound:
            return claim is None
        return claim is not None and now.metadata.uid == claim.metadata.uid and not self._may_have(now, bucket)


def _was_never_bound(bucket: ObjectBucketObject) -> bool:
    """Whether it is an intent and no more.

    Where its claim is gone, a leader wrote it that lost the lease in that moment: its request arrived after the next
    leader had let the claim go, and nothing else would ever look at it.
    """
    return observed_of(bucket) is None and not bucket.endpoint.bucket_host


def _is_greenfield(bucket: ObjectBucketObject) -> bool:
    record = record_of(bucket)
    return record is not None and record.greenfield


def _goes(bucket: ObjectBucketObject) -> bool:
    return _is_greenfield(bucket) and reclaim_policy_of(bucket) is ReclaimPolicy.DELETE
