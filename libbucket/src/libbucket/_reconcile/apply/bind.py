"""Brings a claim to Bound, step by step in the order of the wire contract. Every step is idempotent.

    claim: finalizer, label, names -> ObjectBucket: the intent -> the store -> Secret -> ConfigMap
    -> ObjectBucket: endpoint and state, Bound -> claim: Bound

The intent is sufficient for a deletion, so from the first call to the store on, everything in the store is recorded in
the cluster. Decides nothing: the action was planned.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from libbucket import _api
from libbucket._api import Phase
from libbucket._kube.errors import NotFound
from libbucket._kube.resources import CLAIMS, SECRETS
from libbucket._outcomes import MEANINGS
from libbucket._reconcile.apply import owned_objects
from libbucket._reconcile.apply.bind_events import BindEvents
from libbucket._reconcile.apply.issued_credentials import IssuedCredentials
from libbucket._reconcile.apply.object_buckets import BucketObjects
from libbucket._reconcile.apply.provisioner_request import (
    KnownCredentials,
    bucket_name,
    build_intent,
    build_options,
    class_policy,
)
from libbucket._reconcile.model import manifests
from libbucket._reconcile.model.intent import (
    Intent,
    LastApplied,
    connection_of,
    encode,
    end_adoption,
    own_data,
    secret_hash,
    spec_hash,
    version_of,
)
from libbucket._reconcile.model.names import bucket_object_names
from libbucket._reconcile.model.snapshot import ObjectState
from libbucket.errors import ProvisionerError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket._api import ObjectBucketClaim, ObjectBucketObject
    from libbucket._kube.cache import Cache
    from libbucket._reconcile.apply.context import ApplyContext
    from libbucket._reconcile.model.actions import Bind
    from libbucket._reconcile.model.snapshot import Snapshot
    from libbucket.types import BucketOptions, Connection


_NOTHING_APPLIED: Final = LastApplied(fingerprint="", secret="", config_map="", secret_hash="")


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """The result of the provisioner: the connection, and the Secret's data (None: the Secret stays unchanged)."""

    connection: Connection
    secret_data: dict[str, str] | None
    repairs: tuple[str, ...] = ()

    @property
    def renew_at(self) -> str:
        """When the credentials are rotated, in the recorded form."""
        authentication = self.connection.authentication
        renew_at = authentication.renew_at if authentication is not None else None
        return renew_at.astimezone(UTC).isoformat() if renew_at is not None else ""


class Binder:
    """Carries out `Bind`."""

    def __init__(self, context: ApplyContext) -> None:
        self._client = context.client
        self._caches = context.caches
        self._identity = context.identity
        self._store = context.store
        self._reporter = context.reporter
        self._pending = context.pending
        self._buckets = BucketObjects(context.client, context.caches)
        self._issued = IssuedCredentials()

    def forget(self, uid: str) -> None:
        """Drops what is remembered about a claim that is gone."""
        self._issued.drop(uid)

    def forget_keys(self, has_key: Callable[[str], bool]) -> None:
        """Drops what is remembered about the claims with these keys, after a loss of leadership."""
        self._issued.drop_keys(has_key)

    def bind(self, snapshot: Snapshot, claim: ObjectBucketClaim, action: Bind) -> LastApplied:
        """Brings the claim to Bound, and returns the last-applied state.

        Raises:
            ProvisionerError: the provisioner's call failed, or another object has the name of the Secret or ConfigMap.
            KubeError: a request to the API server failed.
        """
        started = time.monotonic()
        is_first = snapshot.bucket is None and not claim.metadata.has_finalizer()
        claim = self._prepare_claim(snapshot, claim)
        ob, intent = self.record_intent(snapshot, claim)
        what = "Creating the bucket" if snapshot.is_greenfield else "Granting access to the bucket"
        try:
            with self._pending.during(claim.metadata.key, what, since=started):
                answer = self._ask_store(snapshot, claim, ob, intent, action)
        except ProvisionerError as error:
            self._note_failure(ob, intent, error, store_never_called=is_first or _store_never_called(snapshot))
            raise
        claim = self._current(claim)
        if answer.renew_at:
            # Such credentials cannot be revoked, so their expiry is recorded before they can be read.
            ob = self._buckets.patch(ob, manifests.state_patch(ob, answer.connection.additional_state))
        last_applied = self._ensure_objects(snapshot, claim, answer)
        self._finish_bucket_object(snapshot, ob, intent, answer, last_applied)
        self._reporter.bound(claim, invalid_update=action.invalid_update)
        events = BindEvents(self._reporter, snapshot, claim)
        if intent.adopted:
            events.adopted(ob.endpoint.bucket_name or "")
        events.restored()
        events.repaired(ob, answer.connection, answer.repairs)
        events.rotated(last_applied)
        return last_applied

    def _current(self, claim: ObjectBucketClaim) -> ObjectBucketClaim:
        """The claim with the status that may have been published meanwhile; an edited one is reconciled again."""
        cached = self._caches.claims.get(claim.metadata.key)
        was = claim.metadata
        if cached is None or (cached.metadata.uid, cached.metadata.generation) != (was.uid, was.generation):
            return claim
        return cached

    def _note_failure(
        self, ob: ObjectBucketObject, intent: Intent, error: ProvisionerError, *, store_never_called: bool
    ) -> None:
        """Records the consequences of a failed call for a deletion, if they have changed."""
        noted = intent
        if store_never_called and self._store.sent_nothing(error):
            # Else a claim without any successful call (a wrong class, an unknown host) could not be deleted.
            noted = replace(noted, store_never_called=True)
        elif MEANINGS[error.reason].proves_access and not intent.has_worked:
            noted = replace(noted, has_worked=True)
        if noted != intent:
            self._buckets.patch(ob, manifests.new_intent_patch(ob, encode(noted)))

    def record_intent(self, snapshot: Snapshot, claim: ObjectBucketClaim) -> tuple[ObjectBucketObject, Intent]:
        """Writes the ObjectBucket with everything that a deletion needs, or completes the one that is there.

        Raises:
            KubeError: it could not be written.
        """
        intent = build_intent(snapshot, claim, self._identity, self._store.provisioner)
        if snapshot.duplicate is not None:
            self._buckets.discard(snapshot.duplicate)  # of an interrupted replacement
        known = snapshot.bucket
        if known is None:
            return self._create_bucket_object(snapshot, claim, intent), intent
        if known.metadata.is_being_deleted:
            known = self._buckets.replace(known, claim)
        if snapshot.earlier_uid:
            policy = class_policy(snapshot)
            known = self._buckets.patch(
                known, manifests.reclaim_patch(known, claim, intent=encode(intent), reclaim_policy=policy)
            )
            message = f"Bucket {known.endpoint.bucket_name} of the earlier claim of this name was reclaimed"
            self._reporter.event(claim, "Normal", Reason.RECLAIMED, message)
        patch = manifests.intent_patch(known, claim, label=self._identity.label, intent=encode(intent))
        return self._buckets.patch(known, patch), intent

    def _prepare_claim(self, snapshot: Snapshot, claim: ObjectBucketClaim) -> ObjectBucketClaim:
        patch = manifests.claim_patch(
            claim,
            label=self._identity.label,
            bucket_name=bucket_name(snapshot, claim),
            object_bucket_name=snapshot.bucket_object_name,
        )
        if not patch:
            return claim
        meta = claim.metadata
        claim = self._client.patch(CLAIMS, meta.name, patch, namespace=meta.namespace)
        self._caches.claims.observe(claim)
        return claim

    def _create_bucket_object(self, snapshot: Snapshot, claim: ObjectBucketClaim, intent: Intent) -> ObjectBucketObject:
        body = manifests.new_bucket_object(
            claim,
            name=snapshot.bucket_object_name,
            label=self._identity.label,
            intent=encode(intent),
            bucket_name=bucket_name(snapshot, claim),
            reclaim_policy=class_policy(snapshot),
        )
        meta = claim.metadata
        return self._buckets.create(body, bucket_object_names(meta.namespace, meta.name, meta.uid))

    def _ask_store(
        self, snapshot: Snapshot, claim: ObjectBucketClaim, ob: ObjectBucketObject, intent: Intent, action: Bind
    ) -> _Answer:
        if not action.calls_store:
            return _recorded_answer(ob)
        options = build_options(snapshot, claim, ob, intent, self._credentials(snapshot, claim))
        if action.checks_drift_first and self._store.is_intact(options):
            return _recorded_answer(ob)
        return self._call_store(snapshot, claim, intent, options)

    def _call_store(
        self, snapshot: Snapshot, claim: ObjectBucketClaim, intent: Intent, options: BucketOptions
    ) -> _Answer:
        verb = self._store.provision if intent.greenfield else self._store.grant
        answer = verb(options)
        if snapshot.is_edited:  # else the warnings were reported before
            self._reporter.warn(claim, Reason.UNMANAGED_CONFIG, snapshot.config.warnings)
            self._reporter.warn(claim, Reason.PROVISIONER_WARNING, answer.warnings)
        connection = answer.connection
        secret_data = manifests.secret_data(connection.authentication)
        if connection.authentication is not None and connection.authentication != options.credentials:
            self._issued.keep(claim.metadata.uid, claim.metadata.key, connection.authentication)
        return _Answer(connection=connection, secret_data=secret_data, repairs=answer.repairs)

    def _credentials(self, snapshot: Snapshot, claim: ObjectBucketClaim) -> KnownCredentials:
        """The claim's credentials.

        They are in the Secret, which is read now if its version was sufficient for planning; or they were issued
        before and could not be written to the Secret.
        """
        uid = claim.metadata.uid
        if snapshot.secret is not ObjectState.INTACT:
            issued = self._issued.find(uid)
            known = issued if issued is not None else snapshot.credentials
            return KnownCredentials(authentication=known, are_unchanged=issued is not None)
        if snapshot.credentials is not None:
            return KnownCredentials(authentication=snapshot.credentials, are_unchanged=True)
        try:
            secret = self._client.read(SECRETS, claim.metadata.name, namespace=claim.metadata.namespace)
        except NotFound:
            return KnownCredentials()
        if not secret.metadata.is_controlled_by(uid):
            return KnownCredentials()
        own = own_data(secret.data, snapshot.last_applied)
        is_unchanged = snapshot.last_applied is not None and secret_hash(own, uid) == snapshot.last_applied.secret_hash
        return KnownCredentials(authentication=manifests.credentials_in(own), are_unchanged=is_unchanged)

    def _ensure_objects(self, snapshot: Snapshot, claim: ObjectBucketClaim, answer: _Answer) -> LastApplied:
        applied, data = snapshot.last_applied or _NOTHING_APPLIED, answer.secret_data
        if data is not None:
            secret = self._ensure_secret(snapshot, claim, data)
            self._issued.drop(claim.metadata.uid)
            content, keys = secret_hash(data, claim.metadata.uid), tuple(sorted(data))
            applied = replace(applied, secret=secret, secret_hash=content, secret_keys=keys, renew_at=answer.renew_at)
        config_map = self._ensure_config_map(snapshot, claim, answer.connection)
        spec = _hash_of(answer.connection)
        return replace(applied, fingerprint=snapshot.fingerprint, config_map=config_map, spec=spec)

    def _ensure_secret(self, snapshot: Snapshot, claim: ObjectBucketClaim, data: dict[str, str]) -> str:
        """Returns its version."""
        known = snapshot.last_applied or _NOTHING_APPLIED
        is_intact = snapshot.secret is ObjectState.INTACT and _is_newest(self._caches.secrets, claim, known.secret)
        if is_intact and secret_hash(data, claim.metadata.uid) == known.secret_hash:
            return known.secret
        wanted = owned_objects.secret(snapshot, data, ours=known.secret_keys)
        secret = owned_objects.ensure(self._client, claim, wanted, label=self._identity.label)
        self._caches.secrets.observe(_api.Metadata(metadata=secret.metadata))
        return version_of(secret.metadata)

    def _ensure_config_map(self, snapshot: Snapshot, claim: ObjectBucketClaim, connection: Connection) -> str:
        """Returns its version."""
        known, cache = snapshot.last_applied or _NOTHING_APPLIED, self._caches.config_maps
        is_intact = snapshot.config_map is ObjectState.INTACT and _is_newest(cache, claim, known.config_map)
        if is_intact and _hash_of(connection) == known.spec:
            return known.config_map
        data = manifests.config_map_data(connection.endpoint)
        earlier = _api.strings(snapshot.bucket.endpoint.additional_config) if snapshot.bucket is not None else {}
        wanted = owned_objects.config_map(snapshot, data, ours=earlier)
        config_map = owned_objects.ensure(self._client, claim, wanted, label=self._identity.label)
        cache.observe(_api.Metadata(metadata=config_map.metadata))
        return version_of(config_map.metadata)

    def _finish_bucket_object(
        self, snapshot: Snapshot, ob: ObjectBucketObject, intent: Intent, answer: _Answer, last_applied: LastApplied
    ) -> None:
        if answer.secret_data is not None:  # the store was called, and the desired state is applied
            applied = dict(snapshot.config.applied)
            intent = replace(end_adoption(intent), config=applied, has_worked=True)
        last_applied = replace(last_applied, object=ob.metadata.uid)
        patch = manifests.bound_patch(
            ob,
            endpoint=answer.connection.endpoint,
            state=answer.connection.additional_state,
            intent=encode(intent),
            last_applied=encode(last_applied),
        )
        written = self._buckets.patch(ob, patch)
        kept = spec_hash(*manifests.spec_of(written))
        if last_applied.spec and kept != last_applied.spec:  # an older CRD prunes fields: not an edit
            notes = {_api.OBSERVED: encode(replace(last_applied, spec=kept))}
            written = self._buckets.patch(written, {"metadata": {"annotations": notes}})
        self._reporter.bucket_phase(written, Phase.BOUND)


def _is_newest(cache: Cache[_api.Metadata], claim: ObjectBucketClaim, version: str) -> bool:
    """Whether the version that was last applied is the newest one that is known, so that it need not be read."""
    cached = cache.get(claim.metadata.key)
    return cached is not None and version_of(cached.metadata) == version


def _recorded_answer(ob: ObjectBucketObject) -> _Answer:
    return _Answer(connection=connection_of(ob), secret_data=None)


def _hash_of(connection: Connection) -> str:
    return spec_hash(manifests.endpoint_json(connection.endpoint, was={}), connection.additional_state)


def _store_never_called(snapshot: Snapshot) -> bool:
    return snapshot.intent is not None and snapshot.intent.store_never_called
