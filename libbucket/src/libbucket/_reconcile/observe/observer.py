"""Gathers the world around one claim into a Snapshot: from the caches, and from the API server where needed.

First step of a reconcile. Reads and never writes; decides nothing. Secrets are read one at a time and only
when their version is not the one that was seen intact, so that a bound claim costs no request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from libbucket import _api
from libbucket._api import Phase
from libbucket._kube.errors import KindMissing, NotFound
from libbucket._kube.resources import BUCKETS, CLAIMS, CONFIG_MAPS, SECRETS, Resource
from libbucket._reconcile.model.additional_config import SelectedConfig, select_config
from libbucket._reconcile.model.intent import (
    Intent,
    LastApplied,
    fingerprint,
    for_provisioner,
    intent_of,
    last_applied_of,
    own_data,
    owner_of,
    seconds_to_renewal,
    secret_hash,
    spec_hash,
    version_of,
)
from libbucket._reconcile.model.manifests import config_map_data, credentials_in, spec_of
from libbucket._reconcile.model.names import bucket_object_names, is_object_name
from libbucket._reconcile.model.snapshot import ObjectState, Recheck, Snapshot
from libbucket._reconcile.observe.orphans import Orphans

if TYPE_CHECKING:
    from collections.abc import Iterable

    from libbucket._kube.client import KubeClient
    from libbucket._reconcile.model.context import Caches, Identity
    from libbucket.types import Authentication

T = TypeVar("T", bound=_api.Object)

_NO_CONFIG = SelectedConfig(applied={}, warnings=())


class Observer:
    """Makes Snapshots."""

    def __init__(self, client: KubeClient, caches: Caches, identity: Identity) -> None:
        self._client = client
        self._caches = caches
        self._identity = identity
        self._orphans = Orphans(client, caches, identity)
        self._intact: dict[str, tuple[str, str]] = {}

    def observe(self, key: str, *, recheck: Recheck = Recheck.NONE) -> Snapshot:
        """The world around one claim.

        Args:
            key: `namespace/name`.
            recheck: other than NONE, read objects from the API server instead of the cache, and call the store.

        Raises:
            KubeError: the Secret or ConfigMap could not be read.
        """
        claim = self._caches.claims.get(key)
        buckets = self._proven(claim, self._caches.buckets.grouped(key)) if claim is not None else []
        has_objects = False
        if claim is not None and not buckets and claim.metadata.is_being_deleted and claim.metadata.has_finalizer():
            # Letting a claim go, or deleting by what its class says today, can't be undone: no cache is asked.
            claim, buckets, has_objects = self._read_afresh(claim)
        bucket, duplicate = [*buckets, None, None][:2]
        left = self._orphans.find(key, claim)
        reclaimed = left.given_back if bucket is None else None
        bucket = bucket or reclaimed
        intent, last_applied = (intent_of(bucket), last_applied_of(bucket)) if bucket is not None else (None, None)
        config = self._config(claim)
        storage_class = self._storage_class(claim, bucket)
        reads_all = recheck is not Recheck.NONE
        asked = self._fingerprint(claim, storage_class, intent, config)
        secret, credentials = ObjectState.INTACT, None
        if reads_all or reclaimed is not None or not self._believes_secret(claim, bucket, last_applied, asked):
            secret, credentials = self._secret(claim, bucket, last_applied, recheck=reads_all)
        if reclaimed is not None:
            last_applied = None  # whatever an earlier claim was given, this one has nothing yet
        renewal = seconds_to_renewal(last_applied, self._identity.now())
        return Snapshot(
            key=key,
            provisioner_name=self._identity.provisioner_name,
            label=self._identity.label,
            features=self._identity.features,
            claim=claim,
            storage_class=storage_class,
            bucket=bucket,
            duplicate=duplicate,
            intent=intent,
            last_applied=last_applied,
            bucket_object_name=self._bucket_object_name(claim, bucket),
            orphan=left.orphan,
            secret=secret,
            config_map=self._config_map(claim, bucket, last_applied, recheck=reads_all),
            credentials=credentials,
            has_objects=has_objects,
            config=config,
            fingerprint=asked,
            recheck=recheck,
            needs_renewal=renewal is not None and renewal <= 0,
            due=left.due,
            undone=left.undone,
            purge_in=left.purge_in,
            earlier_uid=owner_of(reclaimed, "").uid if reclaimed is not None else "",
            spec_is_edited=_is_edited(bucket, last_applied),
            keeps_data=self._identity.keeps_data,
        )

    def forget(self, key: str) -> None:
        """Drops what is remembered about a claim that is gone."""
        self._intact.pop(key, None)

    def count_unclaimed(self) -> int:
        """How many ObjectBuckets are bound although their claim is gone."""
        return self._orphans.count_unclaimed()

    def _proven(
        self, claim: _api.ObjectBucketClaim, found: Iterable[_api.ObjectBucketObject]
    ) -> list[_api.ObjectBucketObject]:
        """This claim's ObjectBuckets: one, unless a replacement was cut off; one that stays comes first."""
        proven = (one for one in found if self._is_proven(one, claim))
        return sorted(proven, key=lambda one: one.metadata.is_being_deleted)

    def _is_proven(self, bucket: _api.ObjectBucketObject, claim: _api.ObjectBucketClaim) -> bool:
        owner, meta = owner_of(bucket, ""), claim.metadata
        return (owner.namespace, owner.name, owner.uid) == (meta.namespace, meta.name, meta.uid)

    def _read_afresh(
        self, claim: _api.ObjectBucketClaim
    ) -> tuple[_api.ObjectBucketClaim | None, list[_api.ObjectBucketObject], bool]:
        meta = claim.metadata
        now = self._find(CLAIMS, meta.name, namespace=meta.namespace)
        if now is None or now.metadata.uid != meta.uid:
            return None, [], False
        found = [self._find(BUCKETS, name) for name in _names_to_look_up(now)]
        buckets = self._proven(now, [one for one in found if one is not None])
        secret = self._find(SECRETS, meta.name, namespace=meta.namespace)
        config_map = self._find(CONFIG_MAPS, meta.name, namespace=meta.namespace)
        owned = (one is not None and one.metadata.is_controlled_by(meta.uid) for one in (secret, config_map))
        return now, buckets, any(owned)

    def _find(self, resource: Resource[T], name: str, *, namespace: str = "") -> T | None:
        try:
            return self._client.read(resource, name, namespace=namespace)
        except KindMissing:
            raise  # that its kind is not installed says nothing about an object
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
        # All of additionalConfig and not only what is applied, so that a new key is warned about once.
        raw = claim.spec.additional_config if claim is not None else None
        return fingerprint(who.provisioner_name, who.version, parameters or {}, dict(config.applied), _api.strings(raw))

    def _believes_secret(
        self,
        claim: _api.ObjectBucketClaim | None,
        bucket: _api.ObjectBucketObject | None,
        last_applied: LastApplied | None,
        asked: str,
    ) -> bool:
        """Whether a Secret that is not watched is taken to be as it was written, until the next drift check.

        Not where the store will be called: what it answers could not be written to a Secret that is gone, and the
        retry would call it again. And not where the claim is not Ready: then it may be the Secret that is not.
        """
        if self._caches.secrets.is_watched or claim is None or bucket is None or last_applied is None:
            return False
        renewal = seconds_to_renewal(last_applied, self._identity.now())
        return (
            self._is_said_ready(claim)
            and last_applied.fingerprint == asked
            and not _is_edited(bucket, last_applied)
            and not (claim.metadata.is_being_deleted or bucket.metadata.is_being_deleted)
            and (renewal is None or renewal > 0)
        )

    def _is_said_ready(self, claim: _api.ObjectBucketClaim) -> bool:
        ready = claim.status.condition("Ready")
        if not self._identity.features.conditions:
            return claim.status.phase == Phase.BOUND
        return ready is not None and ready.status == "True"

    def _secret(
        self,
        claim: _api.ObjectBucketClaim | None,
        bucket: _api.ObjectBucketObject | None,
        last_applied: LastApplied | None,
        *,
        recheck: bool,
    ) -> tuple[ObjectState, Authentication | None]:
        if claim is None or claim.metadata.is_being_deleted:
            return ObjectState.ABSENT, None
        cached = self._caches.secrets.get(claim.metadata.key)
        if not recheck and self._is_known_intact(cached, last_applied.secret if last_applied else "", claim, slot=0):
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

    def _config_map(
        self,
        claim: _api.ObjectBucketClaim | None,
        bucket: _api.ObjectBucketObject | None,
        last_applied: LastApplied | None,
        *,
        recheck: bool,
    ) -> ObjectState:
        if claim is None or claim.metadata.is_being_deleted:
            return ObjectState.ABSENT
        cached = self._caches.config_maps.get(claim.metadata.key)
        if not recheck and self._is_known_intact(
            cached, last_applied.config_map if last_applied else "", claim, slot=1
        ):
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
        intent = Intent(provisioner="", user_id="", greenfield=False)
        endpoint = for_provisioner(bucket, intent, "").connection.endpoint
        if config_map_data(endpoint).items() - (found.data or {}).items():
            return ObjectState.CHANGED
        self._remember_intact(claim, found.metadata, slot=1)
        return ObjectState.INTACT

    def _is_labelled(self, meta: _api.Meta) -> bool:
        return meta.label(_api.PROVISIONER_LABEL) == self._identity.label

    def _is_known_intact(
        self, cached: _api.Metadata | None, last_applied: str, claim: _api.ObjectBucketClaim, *, slot: int
    ) -> bool:
        if cached is None or not cached.metadata.is_controlled_by(claim.metadata.uid):
            return False
        remembered = self._intact.get(claim.metadata.key, ("", ""))[slot]
        return version_of(cached.metadata) in {last_applied, remembered}

    def _remember_intact(self, claim: _api.ObjectBucketClaim, meta: _api.Meta, *, slot: int) -> None:
        both = list(self._intact.get(claim.metadata.key, ("", "")))
        both[slot] = version_of(meta)
        self._intact[claim.metadata.key] = (both[0], both[1])


def _is_edited(bucket: _api.ObjectBucketObject | None, last_applied: LastApplied | None) -> bool:
    if bucket is None or last_applied is None or not last_applied.spec:
        return False
    return spec_hash(*spec_of(bucket)) != last_applied.spec


def _names_to_look_up(claim: _api.ObjectBucketClaim) -> Iterable[str]:
    """What the ObjectBucket of a claim may be called: what its author wrote there, too, if that can be a name."""
    meta = claim.metadata
    names = (claim.object_bucket_name, *bucket_object_names(meta.namespace, meta.name, meta.uid))
    return (name for name in dict.fromkeys(names) if is_object_name(name))


def _is_new(claim: _api.ObjectBucketClaim, bucket: _api.ObjectBucketObject | None) -> bool:
    """Whether nothing was ever made for this claim: then there is nothing of ours to look for."""
    return bucket is None and not claim.metadata.has_finalizer()
