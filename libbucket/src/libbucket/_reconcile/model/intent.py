"""What we remember about a claim, in two annotations of its ObjectBucket. Pure.

`Record` is the intent: written before the first call to the store, and all that a deletion needs, so that
neither the class nor the claim has to be there. `Observed` is the result: what was true when the claim was
bound last, so that a restart sees in one comparison that there is nothing to do. Both are in annotations,
because no schema of anybody's CRD prunes those, and tenants can't edit objects of the cluster.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec

from libbucket import _api
from libbucket.types import Connection, Endpoint, ObjectBucket, Owner, ReclaimPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket._api import ObjectBucketObject


class Record(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The intent.

    Attributes:
        provisioner: whose ObjectBucket it is.
        user_id: of the claim's identity in the store.
        greenfield: True if the bucket is made for the claim, False if the class names it.
        parameters: of the class, when it was read last.
        generate_bucket_name: of the claim, to notice an edit of it.
        config: the `additionalConfig` that was applied last.
        taken_over: another program bound the claim, and we have never called the store for it.
        earlier_uids: of claims whose bucket this was, and whose stamp may still be on it.
        is_unasked: the store was never sent anything for this claim (its class is wrong, or the store can't be
            reached): there is nothing to revoke or delete. Taken off before each call.
        has_worked: a store accepted these parameters: what was made is there, and nowhere else.
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
    is_unasked: bool = False
    has_worked: bool = False
    purge_planned: bool = False


class Observed(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The result.

    Attributes:
        fingerprint: of everything that the provisioner's answer depends on.
        secret: version of the Secret that was written (`uid/resourceVersion`).
        config_map: version of the ConfigMap that was written.
        secret_hash: of our keys in the Secret's data, to tell an edit of them from other edits.
        secret_keys: which keys of the Secret are ours; empty where an earlier release wrote it: all are.
        spec: a hash of what was written to the ObjectBucket's spec; "" where it is not known.
        renew_at: when credentials that end are to be renewed, as ISO 8601 in UTC; "" for those that do not end.
    """

    fingerprint: str
    secret: str
    config_map: str
    secret_hash: str
    secret_keys: tuple[str, ...] = ()
    renew_at: str = ""
    spec: str = ""


S = TypeVar("S", Record, Observed)


def encode(value: Record | Observed) -> str:
    """The annotation's text."""
    return msgspec.json.encode(value, order="deterministic").decode()


def record_of(ob: ObjectBucketObject) -> Record | None:
    """The intent recorded on an ObjectBucket; None where another program made it."""
    return _decode(ob.metadata.annotation(_api.RECORD), Record)


def observed_of(ob: ObjectBucketObject) -> Observed | None:
    """The result recorded on an ObjectBucket; None before the claim was bound."""
    return _decode(ob.metadata.annotation(_api.OBSERVED), Observed)


def _decode(text: str, kind: type[S]) -> S | None:
    try:
        return msgspec.json.decode(text, type=kind) if text else None
    except msgspec.DecodeError:
        return None  # edited manually: as good as absent, and rebuilt from the claim and its class


def seconds_to_renewal(observed: Observed | None, now: datetime) -> float | None:
    """Seconds until the credentials are to be renewed, 0 or less once it is time; None where they do not end."""
    if observed is None or not observed.renew_at:
        return None
    try:
        return (datetime.fromisoformat(observed.renew_at) - now).total_seconds()
    except (TypeError, ValueError):
        return 0.0  # edited manually: the next answer of the provisioner says it anew


def fingerprint(*parts: object) -> str:
    """One short text that differs when any of the parts does."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:32]


def spec_hash(endpoint: Mapping[str, object], state: Mapping[str, str]) -> str:
    """Of what an ObjectBucket's spec says of its bucket, to tell an edit of it."""
    return fingerprint(dict(endpoint), dict(state))


def secret_hash(data: Mapping[str, str], uid: str) -> str:
    """Of a Secret's data as it is on the wire, salted with the claim's uid so that equal Secrets don't show."""
    return fingerprint(uid, dict(data))


def version_of(meta: _api.Meta) -> str:
    """One text that changes with every write of an object, and when it is made anew."""
    return f"{meta.uid}/{meta.resource_version}"


def own_data(data: Mapping[str, str] | None, observed: Observed | None) -> dict[str, str]:
    """Our part of a Secret's data: keys that other controllers added are theirs, and left alone."""
    keys = observed.secret_keys if observed is not None else ()
    return {key: value for key, value in (data or {}).items() if not keys or key in keys}


def owner_of(ob: ObjectBucketObject, cluster_id: str, *, earlier_uids: tuple[str, ...] = ()) -> Owner:
    """Whose bucket it is, by our annotations, or by the claimRef that the Go library writes."""
    ref, meta = ob.spec.claim_ref or _api.ClaimRef(), ob.metadata
    return Owner(
        cluster_id=cluster_id,
        namespace=meta.annotation(_api.CLAIM_NAMESPACE) or ref.namespace or "",
        name=meta.annotation(_api.CLAIM_NAME) or ref.name or "",
        uid=meta.annotation(_api.CLAIM_UID) or ref.uid or "",
        earlier_uids=earlier_uids,
    )


def claim_key_of(ob: ObjectBucketObject) -> str:
    """`namespace/name` of the claim that an ObjectBucket says it is of."""
    owner = owner_of(ob, "")
    return f"{owner.namespace}/{owner.name}"


def reclaim_policy_of(ob: ObjectBucketObject) -> ReclaimPolicy:
    """What the ObjectBucket says; Retain where it says nothing, since kept data can still be deleted manually."""
    try:
        return ReclaimPolicy(ob.spec.reclaim_policy or ReclaimPolicy.RETAIN)
    except ValueError:
        return ReclaimPolicy.RETAIN


def for_provisioner(ob: ObjectBucketObject, record: Record, cluster_id: str) -> ObjectBucket:
    """The ObjectBucket as `delete` and `revoke` get it: everything that is recorded, no credentials."""
    endpoint = ob.endpoint
    return ObjectBucket(
        name=ob.metadata.name,
        connection=Connection(
            endpoint=Endpoint(
                bucket_host=endpoint.bucket_host or "",
                bucket_port=endpoint.bucket_port or 0,
                bucket_name=endpoint.bucket_name or "",
                region=endpoint.region or "",
                sub_region=endpoint.sub_region or "",
                additional_config=_api.strings(endpoint.additional_config),
            ),
            additional_state=_api.strings(ob.spec.additional_state),
        ),
        user_id=record.user_id,
        reclaim_policy=reclaim_policy_of(ob),
        parameters=record.parameters,
        owner=owner_of(ob, cluster_id, earlier_uids=record.earlier_uids),
        greenfield=record.greenfield,
        taken_over=record.taken_over,
    )
