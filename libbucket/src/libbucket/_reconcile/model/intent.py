"""What is remembered about a claim, in two annotations of its ObjectBucket. Pure.

`Intent` is written before the first call to the store. It is sufficient for a deletion: neither the class nor the
claim has to exist. `LastApplied` is written when the claim is bound: a restart compares it, and finds without calling
the store that there is nothing to do. Both are annotations, because no CRD schema prunes those, and tenants cannot
edit cluster-scoped objects.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec

from libbucket import _api
from libbucket._reconcile.model.claim_ref import claim_ref_of
from libbucket.types import Connection, Endpoint, ObjectBucket, Owner, ReclaimPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket._api import ObjectBucketObject


class Intent(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What is about to be done for a claim: the annotation `objectbucket.io/record`.

    Attributes:
        provisioner: name of the provisioner that serves the claim.
        user_id: of the claim's identity in the store.
        greenfield: True if the bucket is created for the claim, False if the class names it.
        parameters: of the class, when it was read last.
        generate_bucket_name: of the claim, to detect an edit.
        config: the `additionalConfig` that was applied last.
        taken_over: another program bound the claim, and this one has not called the store for it yet.
        earlier_uids: of claims that owned this bucket before, and whose ownership tags may still be on it.
        earlier_clusters: ids of other clusters that those claims were in.
        adopted: an administrator gave an existing bucket to this claim, and the store has not been called for it yet: a
            bucket that does not exist is not created.
        store_never_called: the store was never sent a request for this claim (its class is wrong, or the store cannot
            be reached): there is nothing to revoke or delete. Removed before each call.
        has_worked: a store accepted these parameters: what was created is there, and nowhere else.
        purge_planned: a purge was planned when the claim was deleted; removing `purge-at` cancels it.
    """

    provisioner: str
    user_id: str
    greenfield: bool
    parameters: dict[str, str] = {}
    generate_bucket_name: str = ""
    config: dict[str, str] = {}
    taken_over: bool = False
    earlier_uids: tuple[str, ...] = ()
    earlier_clusters: tuple[str, ...] = ()
    adopted: bool = False
    store_never_called: bool = msgspec.field(default=False, name="isUnasked")
    has_worked: bool = False
    purge_planned: bool = False


class LastApplied(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What was true when the claim was last bound: the annotation `objectbucket.io/observed`.

    Attributes:
        fingerprint: of everything that the provisioner's answer depends on.
        secret: version of the Secret that was written (`uid/resourceVersion`).
        config_map: version of the ConfigMap that was written.
        secret_hash: of our keys in the Secret's data, to distinguish an edit of them from other edits.
        secret_keys: keys of the Secret that are ours; empty if an earlier release wrote it, then all are.
        spec: hash of what was written to the ObjectBucket's spec; "" if unknown.
        renew_at: when to rotate credentials that expire, as ISO 8601 in UTC; "" if they do not expire.
        object: uid of the ObjectBucket that this was written on; "" if an earlier release wrote it.
    """

    fingerprint: str
    secret: str
    config_map: str
    secret_hash: str
    secret_keys: tuple[str, ...] = ()
    renew_at: str = ""
    spec: str = ""
    object: str = ""


S = TypeVar("S", Intent, LastApplied)


def encode(value: Intent | LastApplied) -> str:
    """The annotation's text."""
    return msgspec.json.encode(value, order="deterministic").decode()


def end_adoption(intent: Intent) -> Intent:
    """The intent once the store has accepted this claim as the bucket's owner, or an administrator gave it up."""
    return msgspec.structs.replace(intent, taken_over=False, earlier_uids=(), earlier_clusters=(), adopted=False)


def intent_of(ob: ObjectBucketObject) -> Intent | None:
    """The intent recorded on an ObjectBucket; None if another program created it."""
    return _decode(ob.metadata.annotation(_api.RECORD), Intent)


def last_applied_of(ob: ObjectBucketObject) -> LastApplied | None:
    """The last-applied state recorded on an ObjectBucket; None before the claim was bound."""
    return _decode(ob.metadata.annotation(_api.OBSERVED), LastApplied)


def is_restored_copy(ob: ObjectBucketObject) -> bool:
    """Whether a backup tool created an ObjectBucket that was bound before: another object has its annotations.

    The API server gives each object a uid of its own. A copy represents what was true when the backup was made: it is
    no proof that a claim was deleted since.
    """
    last_applied = last_applied_of(ob)
    return last_applied is not None and last_applied.object not in {"", ob.metadata.uid}


def _decode(text: str, kind: type[S]) -> S | None:
    try:
        return msgspec.json.decode(text, type=kind) if text else None
    except msgspec.DecodeError:
        return None  # edited manually: treated as absent, and rebuilt from the claim and its class


def seconds_to_renewal(last_applied: LastApplied | None, now: datetime) -> float | None:
    """Seconds until the credentials are rotated, 0 or less when due; None if they do not expire."""
    if last_applied is None or not last_applied.renew_at:
        return None
    try:
        return (datetime.fromisoformat(last_applied.renew_at) - now).total_seconds()
    except (TypeError, ValueError):
        return 0.0  # edited manually: the next call of the provisioner sets it again


def fingerprint(*parts: object) -> str:
    """A hash of all parts; independent of the order of mappings."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:32]


def spec_hash(endpoint: Mapping[str, object], state: Mapping[str, str]) -> str:
    """A hash of endpoint and state in an ObjectBucket's spec, to detect edits."""
    return fingerprint(dict(endpoint), dict(state))


def secret_hash(data: Mapping[str, str], uid: str) -> str:
    """A hash of a Secret's data as it is on the wire, salted with the claim's uid so that equal Secrets don't show."""
    return fingerprint(uid, dict(data))


def version_of(meta: _api.Meta) -> str:
    """Identifies one version of an object: it changes with every write, and when the object is recreated."""
    return f"{meta.uid}/{meta.resource_version}"


def own_data(data: Mapping[str, str] | None, last_applied: LastApplied | None) -> dict[str, str]:
    """Our part of a Secret's data, without keys that other controllers added."""
    keys = last_applied.secret_keys if last_applied is not None else ()
    return {key: value for key, value in (data or {}).items() if not keys or key in keys}


def owner_of(ob: ObjectBucketObject, cluster_id: str, intent: Intent | None = None) -> Owner:
    """The owner of the bucket that an ObjectBucket represents; the intent names its earlier owners."""
    claim = claim_ref_of(ob)
    return Owner(
        cluster_id=cluster_id,
        namespace=claim.namespace,
        name=claim.name,
        uid=claim.uid,
        earlier_uids=intent.earlier_uids if intent is not None else (),
        earlier_clusters=intent.earlier_clusters if intent is not None else (),
    )


def reclaim_policy_of(ob: ObjectBucketObject) -> ReclaimPolicy:
    """The recorded reclaim policy; Retain if it is absent or unknown, since retained data can still be deleted."""
    try:
        return ReclaimPolicy(ob.spec.reclaim_policy or ReclaimPolicy.RETAIN)
    except ValueError:
        return ReclaimPolicy.RETAIN


def endpoint_of(ob: ObjectBucketObject) -> Endpoint:
    """The endpoint recorded on an ObjectBucket, with the empty value of its type for each absent field."""
    endpoint = ob.endpoint
    return Endpoint(
        bucket_host=endpoint.bucket_host or "",
        bucket_port=endpoint.bucket_port or 0,
        bucket_name=endpoint.bucket_name or "",
        region=endpoint.region or "",
        sub_region=endpoint.sub_region or "",
        additional_config=_api.strings(endpoint.additional_config),
    )


def connection_of(ob: ObjectBucketObject) -> Connection:
    """Endpoint and state recorded on an ObjectBucket; credentials are never recorded."""
    return Connection(endpoint=endpoint_of(ob), additional_state=_api.strings(ob.spec.additional_state))


def for_provisioner(ob: ObjectBucketObject, intent: Intent | None, cluster_id: str) -> ObjectBucket:
    """The ObjectBucket as `delete` and `revoke` get it: everything that is recorded, no credentials.

    Args:
        ob: as it is in the cluster.
        intent: recorded on it; None if another program created it, and its class was gone when it was taken over. It
            is not known then whether the bucket was created for the claim, so it counts as brownfield.
        cluster_id: uid of the namespace kube-system.
    """
    known = ObjectBucket(
        name=ob.metadata.name,
        connection=connection_of(ob),
        reclaim_policy=reclaim_policy_of(ob),
        owner=owner_of(ob, cluster_id),
    )
    if intent is None:
        return known
    return replace(
        known,
        user_id=intent.user_id,
        parameters=intent.parameters,
        owner=owner_of(ob, cluster_id, intent),
        greenfield=intent.greenfield,
        taken_over=intent.taken_over,
    )
