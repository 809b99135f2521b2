"""Maps each change in the cluster to the key of a claim: from the informers to the queue. Decides nothing.

In a standby the caches follow the cluster, and the queue stays empty: a new leader begins with all claims in the caches
(`enqueue_all`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from libbucket import _api
from libbucket._reconcile.model.claim_ref import claim_key_of
from libbucket._reconcile.model.intent import encode, intent_of
from libbucket._reconcile.model.summaries import claim_summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket._reconcile.model.context import Caches, Identity
    from libbucket._reconcile.model.summaries import ClaimSummary


class Keys(Protocol):
    """The part of the work queue that is used here."""

    def add(self, key: str) -> None:
        """As `WorkQueue.add`."""

    def forget(self, key: str) -> None:
        """As `WorkQueue.forget`."""


class EventRouter:
    """The event handlers of the informers.

    Args:
        queue: of keys.
        caches: filled by the informers.
        identity: which claims and classes are served.
        expect: called with the key of a claim without a status, which waits to be bound.
        forget: called with key and uid of a claim that is gone.
        leads: returns whether this replica serves the claim with a key now.
    """

    def __init__(  # noqa: PLR0913 - wiring, called in one place
        self,
        queue: Keys,
        caches: Caches,
        identity: Identity,
        *,
        expect: Callable[[str], None],
        forget: Callable[[str, str], None],
        leads: Callable[[str], bool] = lambda _key: True,
    ) -> None:
        self._queue = queue
        self._caches = caches
        self._identity = identity
        self._expect = expect
        self._forget = forget
        self._leads = leads

    def on_claim(self, old: _api.ObjectBucketClaim | None, new: _api.ObjectBucketClaim | None) -> None:
        """A claim was added, changed or deleted."""
        if new is not None:
            if old is None or old.metadata.generation != new.metadata.generation:
                self._queue.forget(new.metadata.key)  # an edit resets the back-off
            self._add_claim(new.metadata.key, claim_summary(new))
        elif old is not None:
            self._queue.forget(old.metadata.key)
            self._forget(old.metadata.key, old.metadata.uid)
            if self._caches.buckets.keys_of(old.metadata.key):
                self._add(old.metadata.key)  # its bucket may wait for a purge, or its finalizer was removed by force

    def on_bucket(self, old: _api.ObjectBucketObject | None, new: _api.ObjectBucketObject | None) -> None:
        """An ObjectBucket was added, changed or deleted."""
        bucket = new or old
        if bucket is None or (old is not None and new is not None and _without_flags(old) == _without_flags(new)):
            return
        self._add_claim_of_bucket(claim_key_of(bucket))

    def on_class(self, old: _api.StorageClass | None, new: _api.StorageClass | None) -> None:
        """A StorageClass was added, changed or deleted: requeues its claims, if it is served."""
        both = [one for one in (old, new) if one is not None]
        if not any(one.provisioner == self._identity.provisioner_name for one in both):
            return
        for key, claim in self._caches.claim_summaries.items():
            if claim.storage_class == both[0].metadata.name:
                self._add_claim(key, claim)

    def on_owned(self, old: _api.Metadata | None, new: _api.Metadata | None) -> None:
        """A Secret or ConfigMap with our label was added, changed or deleted; its claim has the same name."""
        either = new or old
        if either is not None:
            self._add(either.metadata.key)

    def enqueue_all(self, has_key: Callable[[str], bool] = lambda _key: True) -> None:
        """Queues every claim, and every claim that an ObjectBucket refers to, for a new leader.

        Args:
            has_key: which of them.
        """
        for key, claim in self._caches.claim_summaries.items():
            if has_key(key):
                self._add_claim(key, claim)
        for bucket in self._caches.bucket_summaries.values():
            if has_key(bucket.claim_key) and bucket.claim_key not in self._caches.claims:
                self._add_claim_of_bucket(bucket.claim_key)

    def _add_claim(self, key: str, claim: ClaimSummary) -> None:
        self._add(key)
        if self._leads(key) and not claim.phase and not claim.is_deleted and self._is_ours(claim):
            self._expect(key)

    def _add_claim_of_bucket(self, key: str) -> None:
        namespace, _, name = key.partition("/")
        if name and self._identity.watches(namespace):
            self._add(key)

    def _is_ours(self, claim: ClaimSummary) -> bool:
        is_served = self._caches.serves(self._identity.provisioner_name, claim.storage_class)
        return is_served and claim.label in {"", self._identity.label}

    def _add(self, key: str) -> None:
        if self._leads(key):
            self._queue.add(key)


def _without_flags(bucket: _api.ObjectBucketObject) -> _api.ObjectBucketObject:
    """An ObjectBucket without its version and the flags that each call to the store sets in the intent.

    A retry removes a flag before its call and writes it again afterwards. The watch may report both before the
    responses are in the cache; if they requeued the claim, it would be retried without back-off.
    """
    intent = intent_of(bucket)
    if intent is None:
        return bucket
    plain = encode(msgspec.structs.replace(intent, store_never_called=False, has_worked=False))
    annotations = {**(bucket.metadata.annotations or {}), _api.RECORD: plain}
    metadata = msgspec.structs.replace(bucket.metadata, annotations=annotations, resource_version="")
    return msgspec.structs.replace(bucket, metadata=metadata)
