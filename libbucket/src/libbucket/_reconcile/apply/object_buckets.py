"""Writes ObjectBuckets: creates, completes, replaces and removes them. Used by the recipes `bind` and `release`.

The intent must be recorded at all times: an ObjectBucket that was deleted manually is replaced by way of a temporary
copy under another of its possible names. Knows nothing of the store, Secrets or ConfigMaps.
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
    """Writes ObjectBuckets, and updates the cache."""

    def __init__(self, client: KubeClient, caches: Caches) -> None:
        self._client = client
        self._caches = caches
        self._log = structlog.get_logger()

    def create(self, body: dict[str, Any], names: Sequence[str] = ()) -> ObjectBucketObject:
        """Creates one.

        Args:
            body: the manifest, with the preferred name.
            names: alternative names, in case an ObjectBucket that cannot be decoded, and is not in the cache, has the
                first.

        Raises:
            Conflict: one of that name exists, and is in the cache now.
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
        """Reads an ObjectBucket that the watch has not delivered yet into the cache; returns if it cannot be decoded.

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
        """Merges a patch; does nothing if it is empty."""
        if not patch:
            return ob
        written = self._client.patch(BUCKETS, ob.metadata.name, patch)
        self._caches.buckets.observe(written)
        return written

    def replace(self, ob: ObjectBucketObject, claim: ObjectBucketClaim) -> ObjectBucketObject:
        """Recreates one that was deleted manually although its claim exists, under the same name.

        A deletion cannot be cancelled. Between removal and recreation a temporary copy has the intent, so that a crash
        loses nothing.
        """
        copy = self._create_copy(ob, claim)
        self.discard(ob)
        again = self.create(manifests.bucket_object_copy(ob, ob.metadata.name))
        if copy is not None:
            self.discard(copy)
        return again

    def begin_deletion(self, ob: ObjectBucketObject) -> None:
        """Requests its deletion, which waits for our finalizer: from then on the purge cannot be cancelled.

        Raises:
            Conflict: it was changed since it was read.
            KubeError: any other refusal, or no answer.
        """
        meta = ob.metadata
        with suppress(NotFound):
            self._client.delete(BUCKETS, meta.name, uid=meta.uid, resource_version=meta.resource_version)

    def discard(self, ob: ObjectBucketObject) -> None:
        """Deletes one and removes our finalizer only; succeeds if it is gone.

        Raises:
            Conflict: it was changed concurrently, several times in a row.
            KubeError: any other refusal, or no answer.
        """
        meta = ob.metadata
        with suppress(NotFound):
            now = ob if meta.is_being_deleted else self._client.delete(BUCKETS, meta.name, uid=meta.uid)
            left = self._without_finalizer(now, meta.uid)
            if left is not None and left.metadata.finalizers:
                self._caches.buckets.observe(left)  # it waits for others' finalizers
                return
        # The watch may deliver it after the claim's deletion: it must not be treated as an orphan then.
        self._caches.buckets.discard(ob)

    def _without_finalizer(self, ob: ObjectBucketObject | None, uid: str) -> ObjectBucketObject | None:
        """A list in a patch replaces the whole list, so the patch is conditional on the version that it is based on."""
        for _ in range(_TRIES):
            if ob is None or ob.metadata.uid != uid or not ob.metadata.has_finalizer():
                return None
            patch = manifests.finalizer_patch(ob.metadata, manifests.without_finalizer(ob.metadata))
            try:
                return self._client.patch(BUCKETS, ob.metadata.name, patch)
            except Conflict:
                ob = self._client.read(BUCKETS, ob.metadata.name)
        raise Conflict(f"ObjectBucket {ob.metadata.name if ob else ''} keeps changing")

    def _create_copy(self, ob: ObjectBucketObject, claim: ObjectBucketClaim) -> ObjectBucketObject | None:
        meta = claim.metadata
        for name in bucket_object_names(meta.namespace, meta.name, meta.uid):
            with suppress(Conflict):
                if name != ob.metadata.name:
                    return self.create(manifests.bucket_object_copy(ob, name))
        return None  # all names are taken: continue without a copy
