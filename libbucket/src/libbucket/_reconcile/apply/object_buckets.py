"""Writes ObjectBuckets: creates, completes, replaces and removes them. Used by the recipes `bind` and `release`.

Knows that the record on an ObjectBucket must never be nowhere: one that somebody deletes is replaced by way of a
stand-in under another name that it may have. Knows nothing of the store, Secrets or ConfigMaps.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

from libbucket._kube.errors import AlreadyExists, Conflict, NotFound, Unreadable
from libbucket._kube.resources import BUCKETS
from libbucket._reconcile.model import manifests
from libbucket._reconcile.model.names import bucket_object_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from libbucket._api import ObjectBucketClaim, ObjectBucketObject
    from libbucket._kube.client import KubeClient
    from libbucket._reconcile.model.context import Caches


_TRIES: Final = 5


class BucketObjects:
    """Writes ObjectBuckets, and tells the cache."""

    def __init__(self, client: KubeClient, caches: Caches) -> None:
        self._client = client
        self._caches = caches
        self._log = structlog.get_logger()

    def create(self, body: dict[str, Any], names: Sequence[str] = ()) -> ObjectBucketObject:
        """Creates one.

        Args:
            body: with the name that is tried first.
            names: further names, for when an ObjectBucket that the cache does not know, because it can't be read, has
                the first.

        Raises:
            Conflict: one of that name is there, and the cache knows it now: reconcile again.
            KubeError: any other refusal, or no answer.
        """
        for name in dict.fromkeys((body["metadata"]["name"], *names)):
            try:
                created = self._client.create(BUCKETS, {**body, "metadata": {**body["metadata"], "name": name}})
            except AlreadyExists:
                self._learn_of(name)
            else:
                self._caches.buckets.observe(created)
                return created
        raise Conflict(f"ObjectBucket {body['metadata']['name']} and its other names are taken")

    def _learn_of(self, name: str) -> None:
        """Takes an ObjectBucket that the watch has not delivered yet into the cache; goes on where it can't be read.

        Raises:
            Conflict: it is in the cache now.
        """
        try:
            found = self._client.read(BUCKETS, name)
        except Unreadable as error:
            self._log.warning(
                "ObjectBucket cannot be decoded; using another name", object_bucket=name, error=str(error)
            )
            return
        except NotFound as error:
            raise Conflict(f"ObjectBucket {name} was deleted concurrently") from error
        self._caches.buckets.observe(found)
        raise Conflict(f"ObjectBucket {name} exists already")

    def patch(self, ob: ObjectBucketObject, patch: dict[str, Any]) -> ObjectBucketObject:
        """Merges a patch into one; does nothing where the patch is empty."""
        if not patch:
            return ob
        written = self._client.patch(BUCKETS, ob.metadata.name, patch)
        self._caches.buckets.observe(written)
        return written

    def replace(self, ob: ObjectBucketObject, claim: ObjectBucketClaim) -> ObjectBucketObject:
        """Recreates one that was deleted manually although its claim exists, under the same name.

        A deletion can't be cancelled. Between removal and recreation a stand-in holds the record, so that a crash in
        between loses nothing.
        """
        stand_in = self._stand_in(ob, claim)
        self.discard(ob)
        again = self.create(manifests.bucket_object_copy(ob, ob.metadata.name))
        if stand_in is not None:
            self.discard(stand_in)
        return again

    def begin_deletion(self, ob: ObjectBucketObject) -> None:
        """Asks for its deletion, which our finalizer holds up: from then on the purge can't be cancelled.

        Raises:
            Conflict: it was changed since it was read.
            KubeError: any other refusal, or no answer.
        """
        meta = ob.metadata
        with suppress(NotFound):
            self._client.delete(BUCKETS, meta.name, uid=meta.uid, resource_version=meta.resource_version)

    def discard(self, ob: ObjectBucketObject) -> None:
        """Removes one, with our finalizer and no other; one that is gone is fine.

        Raises:
            Conflict: it was changed again and again meanwhile.
            KubeError: any other refusal, or no answer.
        """
        meta = ob.metadata
        with suppress(NotFound):
            now = ob if meta.is_being_deleted else self._client.delete(BUCKETS, meta.name, uid=meta.uid)
            left = self._without_finalizer(now, meta.uid)
            if left is not None and left.metadata.finalizers:
                self._caches.buckets.observe(left)  # it waits for others' finalizers
                return
        # The watch may tell of it after the claim's own deletion: it must not be taken for an orphan then.
        self._caches.buckets.discard(ob)

    def _without_finalizer(self, ob: ObjectBucketObject | None, uid: str) -> ObjectBucketObject | None:
        """A list in a patch replaces the whole list: it is made from exactly the version that it is written to."""
        for _ in range(_TRIES):
            if ob is None or ob.metadata.uid != uid or not ob.metadata.has_finalizer():
                return None
            patch = manifests.finalizer_patch(ob.metadata, manifests.without_finalizer(ob.metadata))
            try:
                return self._client.patch(BUCKETS, ob.metadata.name, patch)
            except Conflict:
                ob = self._client.read(BUCKETS, ob.metadata.name)
        raise Conflict(f"ObjectBucket {ob.metadata.name if ob else ''} keeps changing")

    def _stand_in(self, ob: ObjectBucketObject, claim: ObjectBucketClaim) -> ObjectBucketObject | None:
        meta = claim.metadata
        for name in bucket_object_names(meta.namespace, meta.name, meta.uid):
            with suppress(Conflict):
                if name != ob.metadata.name:
                    return self.create(manifests.bucket_object_copy(ob, name))
        return None  # all those names are taken: do without, rather than never
