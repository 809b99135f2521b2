"""Observes one claim: everything that planning may know about it, from the caches and, where needed, the API server.

First step of a reconcile. Reads and never writes; decides nothing. Secrets are read one at a time, and only if their
version is not the one that was found intact, so that a bound claim costs no request.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from libbucket import _api
from libbucket._api import Phase
from libbucket._kube.errors import KindMissing, NotFound
from libbucket._kube.resources import BUCKETS, CLAIMS, CONFIG_MAPS, SECRETS, Resource
from libbucket._reconcile.model.additional_config import SelectedConfig, select_config
from libbucket._reconcile.model.belonging import served_by_others
from libbucket._reconcile.model.claim_ref import claim_ref_of, claim_ref_to
from libbucket._reconcile.model.intent import (
    Intent,
    LastApplied,
    endpoint_of,
    fingerprint,
    intent_of,
    last_applied_of,
    own_data,
    seconds_to_renewal,
    secret_hash,
    spec_hash,
    version_of,
)
from libbucket._reconcile.model.manifests import config_map_data, credentials_in, spec_of
from libbucket._reconcile.model.names import bucket_object_names, is_object_name
from libbucket._reconcile.model.snapshot import ObjectState, Recheck, Snapshot
from libbucket._reconcile.observe.orphans import OrphanFinder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from libbucket._kube.client import KubeClient
    from libbucket._reconcile.model.context import Caches, Identity
    from libbucket.types import Authentication

T = TypeVar("T", bound=_api.Object)

_NO_CONFIG = SelectedConfig(applied={}, warnings=())


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The claim and its own ObjectBuckets: one, or two after an interrupted replacement."""

    claim: _api.ObjectBucketClaim | None
    buckets: list[_api.ObjectBucketObject]
    has_objects: bool = False


class Observer:
    """Takes Snapshots."""

    def __init__(self, client: KubeClient, caches: Caches, identity: Identity) -> None:
        self._client = client
        self._caches = caches
        self._identity = identity
        self._orphans = OrphanFinder(client, caches, identity)
        self._intact: dict[str, tuple[str, str]] = {}

    def observe(self, key: str, *, recheck: Recheck = Recheck.NONE) -> Snapshot:
        """Everything that is known about one claim.

        Args:
            key: `namespace/name`.
            recheck: other than NONE, read objects from the API server instead of the cache, and call the store.

        Raises:
            KubeError: an object could not be read.
        """
        snapshot = self._without_objects(key, recheck)
        if snapshot.served_by_others:
            return snapshot
        secret, credentials = self._secret(snapshot)
        return replace(snapshot, secret=secret, credentials=credentials, config_map=self._config_map(snapshot))

    def _without_objects(self, key: str, recheck: Recheck) -> Snapshot:
        """The snapshot without Secret and ConfigMap."""
        found = self._find_claim(key)
        claim = found.claim
        own, duplicate = [*found.buckets, None, None][:2]
        orphans = self._orphans.find(key, claim)
        bucket = own or orphans.reclaimable
        intent = intent_of(bucket) if bucket is not None else None
        # Whatever an earlier claim was given, a claim that reclaims its bucket has nothing yet.
        last_applied = last_applied_of(own) if own is not None else None
        config, storage_class = self._config(claim), self._storage_class(claim, bucket)
        renewal = seconds_to_renewal(last_applied, self._identity.now())
        return Snapshot(
            key=key,
            identity=self._identity,
            features=self._identity.features,
            claim=claim,
            storage_class=storage_class,
            bucket=bucket,
            duplicate=duplicate,
            orphans=orphans,
            living_owner=self._living_owner(intent),
            intent=intent,
            last_applied=last_applied,
            bucket_object_name=self._bucket_object_name(claim, bucket),
            has_objects=found.has_objects,
            config=config,
            fingerprint=self._fingerprint(claim, storage_class, intent, config),
            recheck=recheck,
            needs_renewal=renewal is not None and renewal <= 0,
            spec_is_edited=_is_edited(bucket, last_applied),
        )

    def _living_owner(self, intent: Intent | None) -> str:
        """An adoption names an earlier claim by its uid: one that exists keeps its bucket."""
        earlier = intent.earlier_uids if intent is not None else ()
        if not earlier:
            return ""
        return next((key for key, one in self._caches.claim_summaries.items() if one.uid in earlier), "")

    def forget(self, key: str) -> None:
        """Drops what is remembered about a claim that is gone."""
        self._intact.pop(key, None)

    def count_unclaimed(self) -> int:
        """The number of ObjectBuckets that are bound although their claim is gone."""
        return self._orphans.count_unclaimed()

    def _find_claim(self, key: str) -> _Found:
        claim = self._caches.claims.get(key)
        if claim is None:
            return _Found(claim=None, buckets=[])
        buckets = self._proven(claim, self._caches.buckets.grouped(key))
        if buckets or not claim.metadata.is_being_deleted or not claim.metadata.has_finalizer():
            return _Found(claim=claim, buckets=buckets)
        storage_class = self._storage_class(claim, None)
        if served_by_others(claim, self._identity, intent=None, storage_class=storage_class):
            return _Found(claim=claim, buckets=[])
        # Removing the finalizer, or deleting by the class's current parameters, is irreversible: no cache is used.
        return self._read_afresh(claim)

    def _proven(
        self, claim: _api.ObjectBucketClaim, found: Iterable[_api.ObjectBucketObject]
    ) -> list[_api.ObjectBucketObject]:
        """This claim's ObjectBuckets; one that is not being deleted comes first."""
        proven = (one for one in found if self._is_proven(one, claim))
        return sorted(proven, key=lambda one: one.metadata.is_being_deleted)

    def _is_proven(self, bucket: _api.ObjectBucketObject, claim: _api.ObjectBucketClaim) -> bool:
        return claim_ref_of(bucket) == claim_ref_to(claim)

    def _read_afresh(self, claim: _api.ObjectBucketClaim) -> _Found:
        meta = claim.metadata
        now = self._find(CLAIMS, meta.name, namespace=meta.namespace)
        if now is None or now.metadata.uid != meta.uid:
            return _Found(claim=None, buckets=[])
        found = [self._find(BUCKETS, name) for name in _names_to_look_up(now)]
        buckets = self._proven(now, [one for one in found if one is not None])
        secret = self._find(SECRETS, meta.name, namespace=meta.namespace)
        config_map = self._find(CONFIG_MAPS, meta.name, namespace=meta.namespace)
        owned = (one is not None and one.metadata.is_controlled_by(meta.uid) for one in (secret, config_map))
        return _Found(claim=now, buckets=buckets, has_objects=any(owned))

    def _find(self, resource: Resource[T], name: str, *, namespace: str = "") -> T | None:
        try:
            return self._client.read(resource, name, namespace=namespace)
        except KindMissing:
            raise  # the resource definition is gone: this says nothing about the object
        except NotFound:
            return None

    def _bucket_object_name(self, claim: _api.ObjectBucketClaim | None, bucket: _api.ObjectBucketObject | None) -> str:
        if claim is None or bucket is not None:
            return bucket.metadata.name if bucket is not None else ""
        names = bucket_object_names(claim.metadata.namespace, claim.metadata.name, claim.metadata.uid)
        return next((name for name in names if self._caches.buckets.get(name) is None), "")

    def _storage_class(
        self, claim: _api.ObjectBucketClaim | None, bucket: _api.ObjectBucketObject | None
    ) -> _api.StorageClass | None:
        recorded = (bucket.spec.storage_class_name if bucket is not None else None) or ""
        name = recorded or (claim.class_name if claim is not None else "")
        return self._caches.classes.get(name) if name else None

    def _config(self, claim: _api.ObjectBucketClaim | None) -> SelectedConfig:
        if claim is None:
            return _NO_CONFIG
        who = self._identity
        return select_config(claim.spec.additional_config, allowed=who.allowed_config, supported=who.supported_config)

    def _fingerprint(
        self,
        claim: _api.ObjectBucketClaim | None,
        storage_class: _api.StorageClass | None,
        intent: Intent | None,
        config: SelectedConfig,
    ) -> str:
        who = self._identity
        is_ours = storage_class is not None and storage_class.provisioner == who.provisioner_name
        current = storage_class.parameters if storage_class is not None and is_ours else None
        parameters = current if is_ours else intent.parameters if intent else None
        # All of additionalConfig and not only the applied part, so that a new key is warned about once.
        raw = claim.spec.additional_config if claim is not None else None
        return fingerprint(who.provisioner_name, who.version, parameters or {}, dict(config.applied), _api.strings(raw))

    def _is_assumed_intact(self, snapshot: Snapshot) -> bool:
        """Whether a Secret that is not watched is assumed to be as it was written, until the next drift check.

        Not if the store will be called: its answer could not be written to a Secret that is gone, and the retry would
        call it again. And not if the claim is not Ready: its Secret may be the reason.
        """
        claim, bucket, last_applied = snapshot.claim, snapshot.bucket, snapshot.last_applied
        if self._caches.secrets.is_watched or claim is None or bucket is None or last_applied is None:
            return False
        return (
            snapshot.recheck is Recheck.NONE
            and self._is_shown_ready(claim)
            and snapshot.is_unchanged
            and not snapshot.spec_is_edited
            and not (claim.metadata.is_being_deleted or bucket.metadata.is_being_deleted)
        )

    def _is_shown_ready(self, claim: _api.ObjectBucketClaim) -> bool:
        ready = claim.status.condition("Ready")
        if not self._identity.features.conditions:
            return claim.status.phase == Phase.BOUND
        return ready is not None and ready.status == "True"

    def _secret(self, snapshot: Snapshot) -> tuple[ObjectState, Authentication | None]:
        claim, bucket = snapshot.claim, snapshot.bucket
        if self._is_assumed_intact(snapshot):
            return ObjectState.INTACT, None
        if claim is None or claim.metadata.is_being_deleted:
            return ObjectState.ABSENT, None
        last_applied = last_applied_of(bucket) if bucket is not None else None
        cached = self._caches.secrets.get(claim.metadata.key)
        if self._is_known_intact(snapshot, cached, last_applied.secret if last_applied else "", slot=0):
            return ObjectState.INTACT, None
        if cached is None and _is_new(claim, bucket):
            return ObjectState.ABSENT, None
        secret = self._find(SECRETS, claim.metadata.name, namespace=claim.metadata.namespace)
        if secret is None:
            return ObjectState.ABSENT, None
        if not secret.metadata.is_controlled_by(claim.metadata.uid):
            return ObjectState.FOREIGN, None
        own, written = own_data(secret.data, last_applied), last_applied.secret_hash if last_applied else ""
        if secret_hash(own, claim.metadata.uid) != written or not self._is_labelled(secret.metadata):
            return ObjectState.CHANGED, credentials_in(own)
        self._remember_intact(claim, secret.metadata, slot=0)
        return ObjectState.INTACT, credentials_in(own)

    def _config_map(self, snapshot: Snapshot) -> ObjectState:
        claim, bucket, last_applied = snapshot.claim, snapshot.bucket, snapshot.last_applied
        if claim is None or claim.metadata.is_being_deleted:
            return ObjectState.ABSENT
        cached = self._caches.config_maps.get(claim.metadata.key)
        if self._is_known_intact(snapshot, cached, last_applied.config_map if last_applied else "", slot=1):
            return ObjectState.INTACT
        if cached is None and _is_new(claim, bucket):
            return ObjectState.ABSENT
        found = self._find(CONFIG_MAPS, claim.metadata.name, namespace=claim.metadata.namespace)
        if found is None:
            return ObjectState.ABSENT
        if not found.metadata.is_controlled_by(claim.metadata.uid):
            return ObjectState.FOREIGN
        if bucket is None or last_applied is None or not self._is_labelled(found.metadata):
            return ObjectState.CHANGED
        if config_map_data(endpoint_of(bucket)).items() - (found.data or {}).items():
            return ObjectState.CHANGED
        self._remember_intact(claim, found.metadata, slot=1)
        return ObjectState.INTACT

    def _is_labelled(self, meta: _api.Meta) -> bool:
        return meta.label(_api.PROVISIONER_LABEL) == self._identity.label

    def _is_known_intact(self, snapshot: Snapshot, cached: _api.Metadata | None, written: str, *, slot: int) -> bool:
        claim = snapshot.claim
        if snapshot.recheck is not Recheck.NONE or cached is None or claim is None:
            return False
        if not cached.metadata.is_controlled_by(claim.metadata.uid):
            return False
        remembered = self._intact.get(claim.metadata.key, ("", ""))[slot]
        return version_of(cached.metadata) in {written, remembered}

    def _remember_intact(self, claim: _api.ObjectBucketClaim, meta: _api.Meta, *, slot: int) -> None:
        both = list(self._intact.get(claim.metadata.key, ("", "")))
        both[slot] = version_of(meta)
        self._intact[claim.metadata.key] = (both[0], both[1])


def _is_edited(bucket: _api.ObjectBucketObject | None, last_applied: LastApplied | None) -> bool:
    if bucket is None or last_applied is None or not last_applied.spec:
        return False
    return spec_hash(*spec_of(bucket)) != last_applied.spec


def _names_to_look_up(claim: _api.ObjectBucketClaim) -> Iterable[str]:
    """Possible names of the ObjectBucket of a claim, also the one that its author wrote, if it is a valid name."""
    meta = claim.metadata
    names = (claim.object_bucket_name, *bucket_object_names(meta.namespace, meta.name, meta.uid))
    return (name for name in dict.fromkeys(names) if is_object_name(name))


def _is_new(claim: _api.ObjectBucketClaim, bucket: _api.ObjectBucketObject | None) -> bool:
    """Whether nothing was provisioned for this claim yet: it has no Secret and ConfigMap."""
    return bucket is None and not claim.metadata.has_finalizer()
