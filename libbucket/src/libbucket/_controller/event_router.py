"""Which claim a change in the cluster concerns: from the informers to the queue. Decides nothing about a claim.

In a standby replica the caches follow the cluster and the queue stays empty: what leads begins with all that the caches
hold (`enqueue_all`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from libbucket import _api
from libbucket._reconcile.model.intent import claim_key_of, encode, intent_of, owner_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket._reconcile.model.context import Caches, Identity


class Keys(Protocol):
    """The part of the work queue that is fed."""

    def add(self, key: str) -> None:
        """As `WorkQueue.add`."""

    def forget(self, key: str) -> None:
        """As `WorkQueue.forget`."""


class EventRouter:
    """Told of each change by the informers.

    Args:
        queue: gets the keys.
        caches: what the informers have filled.
        identity: which claims and classes are served.
        forget: told key and uid of a claim that is gone.
        leads: whether this replica works.
    """

    def __init__(
        self,
        queue: Keys,
        caches: Caches,
        identity: Identity,
        *,
        forget: Callable[[str, str], None],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._queue = queue
        self._caches = caches
        self._identity = identity
        self._forget = forget
        self._leads = leads

    def on_claim(self, old: _api.ObjectBucketClaim | None, new: _api.ObjectBucketClaim | None) -> None:
        """A claim appeared, changed or went."""
        if new is not None:
            if old is None or old.metadata.generation != new.metadata.generation:
                self._queue.forget(new.metadata.key)  # an edit deserves a quick answer, whatever failed before
            self._add(new.metadata.key)
        elif old is not None:
            self._queue.forget(old.metadata.key)
            self._forget(old.metadata.key, old.metadata.uid)
            if self._caches.buckets.grouped(old.metadata.key):
                self._add(old.metadata.key)  # its bucket may wait for a purge, or its finalizer was torn off

    def on_bucket(self, old: _api.ObjectBucketObject | None, new: _api.ObjectBucketObject | None) -> None:
        """An ObjectBucket appeared, changed or went."""
        bucket = new or old
        if bucket is None or (old is not None and new is not None and _without_notes(old) == _without_notes(new)):
            return
        owner = owner_of(bucket, "")
        if owner.name and self._identity.watches(owner.namespace):
            self._add(claim_key_of(bucket))

    def on_class(self, old: _api.StorageClass | None, new: _api.StorageClass | None) -> None:
        """A StorageClass appeared, changed or went: of ours, all its claims are concerned."""
        both = [one for one in (old, new) if one is not None]
        if not any(one.provisioner == self._identity.provisioner_name for one in both):
            return
        for claim in self._caches.claims.all():
            if claim.class_name == both[0].metadata.name:
                self._add(claim.metadata.key)

    def on_owned(self, old: _api.Metadata | None, new: _api.Metadata | None) -> None:
        """A Secret or ConfigMap with our label appeared, changed or went: it is named as its claim."""
        either = new or old
        if either is not None:
            self._add(either.metadata.key)

    def enqueue_all(self) -> None:
        """Every claim, and every claim that an ObjectBucket names: what a new leader begins with."""
        for claim in self._caches.claims.all():
            self._add(claim.metadata.key)
        for bucket in self._caches.buckets.all():
            self.on_bucket(None, bucket)

    def _add(self, key: str) -> None:
        if self._leads():
            self._queue.add(key)


def _without_notes(bucket: _api.ObjectBucketObject) -> _api.ObjectBucketObject:
    """An ObjectBucket without its version and what each call to the store notes in the record.

    A retry takes a note off before its call and writes it again afterwards. The watch may report both before the
    answers to the writes are in the cache; if they woke the claim, retries would follow each other without back-off.
    """
    intent = intent_of(bucket)
    if intent is None:
        return bucket
    plain = encode(msgspec.structs.replace(intent, store_never_called=False, has_worked=False))
    annotations = {**(bucket.metadata.annotations or {}), _api.RECORD: plain}
    metadata = msgspec.structs.replace(bucket.metadata, annotations=annotations, resource_version="")
    return msgspec.structs.replace(bucket, metadata=metadata)
