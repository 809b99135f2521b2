"""Writes ObjectBuckets: creates, completes, replaces and removes them. Used by the recipes `bind` and `release`.

Knows that the record on an ObjectBucket must never be nowhere: one that somebody deletes is replaced by way of a
stand-in under another name that it may have. Knows nothing of the store, Secrets or ConfigMaps.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from libbucket import _api
from libbucket._kube.errors import AlreadyExists, Conflict, NotFound
from libbucket._kube.resources import BUCKETS
from libbucket._reconcile import objects
from libbucket._reconcile.names import bucket_object_names

if TYPE_CHECKING:
    from libbucket._api import ObjectBucketClaim, ObjectBucketObject
    from libbucket._kube.client import KubeClient
    from libbucket._reconcile.surroundings import Caches


class BucketObjects:
    """Writes ObjectBuckets, and tells the cache."""

    def __init__(self, client: KubeClient, caches: Caches) -> None:
        self._client = client
        self._caches = caches

    def create(self, body: dict[str, Any]) -> ObjectBucketObject:
        """Creates one.

        Raises:
            Conflict: one of that name is there, which the cache did not know: look again whose it is.
            KubeError: any other refusal, or no answer.
        """
        try:
            created = self._client.create(BUCKETS, body)
        except AlreadyExists as error:
            raise Conflict(str(error)) from error
        self._caches.buckets.observe(created)
        return created

    def patch(self, ob: ObjectBucketObject, patch: dict[str, Any]) -> ObjectBucketObject:
        """Merges a patch into one; does nothing where the patch is empty."""
        if not patch:
            return ob
        written = self._client.patch(BUCKETS, ob.metadata.name, patch)
        self._caches.buckets.observe(written)
        return written

    def replace(self, ob: ObjectBucketObject, claim: ObjectBucketClaim) -> ObjectBucketObject:
        """Lets one go that somebody deleted although its claim lives, and writes it again under the same name.

        A deletion can't be called back. Between the going and the coming a stand-in holds the record, so that
        a crash there leaves it to be found.
        """
        stand_in = self._stand_in(ob, claim)
        self.discard(ob)
        again = self.create(_copy(ob, ob.metadata.name))
        if stand_in is not None:
            self.discard(stand_in)
        return again

    def begin_deletion(self, ob: ObjectBucketObject) -> None:
        """Asks for its deletion, which our finalizer holds up: from then on the purge can't be called back.

        Raises:
            Conflict: somebody changed it since it was looked at.
            KubeError: any other refusal, or no answer.
        """
        meta = ob.metadata
        with suppress(NotFound):
            self._client.delete(BUCKETS, meta.name, uid=meta.uid, resource_version=meta.resource_version)

    def discard(self, ob: ObjectBucketObject) -> None:
        """Removes one, with our finalizer; one that is gone is fine."""
        meta = ob.metadata
        with suppress(NotFound):
            if not meta.is_being_deleted:
                self._client.delete(BUCKETS, meta.name, uid=meta.uid)
            # The deletion made a newer version than we know: the uid alone has to say that it is still the same.
            patch = {"metadata": {"uid": meta.uid, "finalizers": objects.without_finalizer(meta)}}
            with suppress(Conflict):
                self._client.patch(BUCKETS, meta.name, patch)

    def _stand_in(self, ob: ObjectBucketObject, claim: ObjectBucketClaim) -> ObjectBucketObject | None:
        meta = claim.metadata
        for name in bucket_object_names(meta.namespace, meta.name, meta.uid):
            with suppress(Conflict):
                if name != ob.metadata.name:
                    return self.create(_copy(ob, name))
        return None  # all those names are somebody's: do without, rather than never


def _copy(ob: ObjectBucketObject, name: str) -> dict[str, Any]:
    meta, spec = ob.metadata, ob.wanted
    ref = spec.claim_ref or _api.ClaimRef()
    endpoint = ob.endpoint
    keys = (
        _api.CLAIM_NAMESPACE,
        _api.CLAIM_NAME,
        _api.CLAIM_UID,
        _api.RECORD,
        _api.OBSERVED,
        _api.DELETION_POLICY,
    )
    return {
        "apiVersion": _api.API_VERSION,
        "kind": _api.BUCKET_KIND,
        "metadata": {
            "name": name,
            "finalizers": [_api.FINALIZER],
            "labels": dict(meta.labels or {}),
            "annotations": {key: meta.annotation(key) for key in keys if meta.annotation(key)},
        },
        "spec": {
            "storageClassName": spec.storage_class_name or "",
            **({"reclaimPolicy": spec.reclaim_policy} if spec.reclaim_policy else {}),
            "claimRef": {
                "apiVersion": _api.API_VERSION,
                "kind": _api.CLAIM_KIND,
                "namespace": meta.annotation(_api.CLAIM_NAMESPACE) or ref.namespace or "",
                "name": meta.annotation(_api.CLAIM_NAME) or ref.name or "",
                "uid": meta.annotation(_api.CLAIM_UID) or ref.uid or "",
            },
            "endpoint": {
                "bucketHost": endpoint.bucket_host or "",
                "bucketPort": endpoint.bucket_port or 0,
                "bucketName": endpoint.bucket_name or "",
                "region": endpoint.region or "",
                "subRegion": endpoint.sub_region or "",
                "additionalConfig": _api.strings(endpoint.additional_config),
            },
            "additionalState": _api.strings(spec.additional_state),
        },
    }
