"""Gives everything back when a claim is deleted, in the order of the wire contract. Each step may come again.

    ObjectBucket: Released -> the store -> Secret and ConfigMap -> ObjectBucket -> the claim's finalizer

The finalizer goes last, and only when everything before it succeeded. All that is needed is on the
ObjectBucket: neither the class nor, for an orphan, the claim has to exist. Acts only.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from libbucket._api import Phase
from libbucket._kube.errors import NotFound
from libbucket._kube.resources import CLAIMS, CONFIG_MAPS, SECRETS
from libbucket._reconcile import objects
from libbucket._reconcile.bucket_objects import BucketObjects
from libbucket._reconcile.record import Record, for_provisioner, observed_of, record_of
from libbucket.errors import BucketExists, Reason
from libbucket.types import ReclaimPolicy

if TYPE_CHECKING:
    from libbucket import _api
    from libbucket._api import ObjectBucketClaim, ObjectBucketObject
    from libbucket._kube.cache import Cache
    from libbucket._kube.client import KubeClient
    from libbucket._kube.resources import Resource
    from libbucket._reconcile.gather import Caches, Identity
    from libbucket._reconcile.report import Reporter
    from libbucket._reconcile.store import Store
    from libbucket.types import ObjectBucket


class Releaser:
    """Carries out `Release`, `LetGo` and `ReleaseOrphan`."""

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
        self, claim: ObjectBucketClaim, ob: ObjectBucketObject, *, twin: ObjectBucketObject | None = None
    ) -> None:
        """Gives back what the claim had, and lets it go.

        Args:
            claim: being deleted.
            ob: its ObjectBucket.
            twin: another one of its, left by a replacement that was cut off.

        Raises:
            ProvisionerError: the store's side failed; nothing after it was done.
            KubeError: the cluster's side failed.
        """
        ob = self._reporter.bucket_phase(ob, Phase.RELEASED)
        self._give_back(claim, ob)
        self._delete_owned(SECRETS, self._caches.secrets, claim)
        self._delete_owned(CONFIG_MAPS, self._caches.config_maps, claim)
        if twin is not None:
            self._buckets.discard(twin)
        self._buckets.discard(ob)
        self.let_go(claim)

    def release_orphan(self, ob: ObjectBucketObject) -> None:
        """Gives back what an ObjectBucket without a claim stands for, since somebody deletes it.

        Raises:
            ProvisionerError: the store's side failed.
            KubeError: the cluster's side failed.
        """
        ob = self._reporter.bucket_phase(ob, Phase.RELEASED)
        self._give_back(None, ob)
        self._buckets.discard(ob)
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

    def _give_back(self, claim: ObjectBucketClaim | None, ob: ObjectBucketObject) -> None:
        # Without a record the ObjectBucket is another program's, taken over while its class was gone already:
        # the bucket can't be known to have been made for the claim, so it stays.
        record = record_of(ob) or Record(provisioner=self._identity.provisioner_name, user_id="", greenfield=False)
        known = for_provisioner(ob, record, self._identity.cluster_id)
        if not (record.greenfield and known.reclaim_policy is ReclaimPolicy.DELETE):
            self._store.revoke(known)
            self._say_kept(claim, known)
            return
        try:
            self._store.delete(known)
        except BucketExists:
            if observed_of(ob) is not None:
                raise  # we had made it, and the stamp is gone: a person has to look before data goes
            self._store.revoke(known)  # refused when it was claimed: the bucket was never ours, only the identity

    def _say_kept(self, claim: ObjectBucketClaim | None, known: ObjectBucket) -> None:
        if claim is None or not known.greenfield:
            return
        message = f"The credentials are gone; bucket {known.bucket_name} stays (reclaimPolicy {known.reclaim_policy})"
        self._reporter.event(claim, "Normal", Reason.RELEASED, message)

    def _delete_owned(self, resource: Resource[Any], cache: Cache[_api.Metadata], claim: ObjectBucketClaim) -> None:
        cached = cache.get(claim.metadata.key)
        if cached is None or not cached.metadata.is_controlled_by(claim.metadata.uid):
            return  # not ours; and what lost its label is collected through its ownerReference
        meta = cached.metadata
        with suppress(NotFound):
            if meta.has_finalizer():  # of the Go library
                patch = objects.finalizer_patch(meta, objects.without_finalizer(meta))
                self._client.patch(resource, meta.name, patch, namespace=meta.namespace)
            self._client.delete(resource, meta.name, uid=meta.uid, namespace=meta.namespace)
