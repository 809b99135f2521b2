"""What the provisioner is asked: the intent that is recorded before the call, and the options of the call. Pure.

Used by `bind`: the same snapshot gives the same request, whenever it is repeated. No I/O, except that the provisioner
names a new identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from libbucket import _api
from libbucket._reconcile.model.intent import Intent, for_provisioner, owner_of, reclaim_policy_of
from libbucket._reconcile.model.names import generated_bucket_name, is_generated_bucket_name
from libbucket.types import BucketOptions, Claim, ReclaimPolicy

if TYPE_CHECKING:
    from libbucket._api import ObjectBucketClaim, ObjectBucketObject
    from libbucket._reconcile.model.context import Identity
    from libbucket._reconcile.model.snapshot import Snapshot
    from libbucket.provisioner import Provisioner
    from libbucket.types import Authentication


@dataclass(frozen=True, kw_only=True)
class KnownCredentials:
    """What a claim's application has now.

    Attributes:
        authentication: the credentials; None if there are none.
        are_unchanged: whether they are exactly those that the store issued.
    """

    authentication: Authentication | None = None
    are_unchanged: bool = False


def bucket_name(snapshot: Snapshot, claim: ObjectBucketClaim) -> str:
    """The recorded name; for brownfield the class's; else the one that the claim names; else a generated one."""
    if snapshot.bucket is not None and snapshot.bucket.endpoint.bucket_name:
        return snapshot.bucket.endpoint.bucket_name
    if not snapshot.is_greenfield:
        return snapshot.parameters["bucketName"]
    return claim.spec.bucket_name or generated_bucket_name(claim.spec.generate_bucket_name or "")


def class_policy(snapshot: Snapshot) -> ReclaimPolicy:
    """The class's reclaim policy; Delete by default, as in Kubernetes; Retain if the class is gone."""
    if snapshot.storage_class is None:
        return ReclaimPolicy.RETAIN
    return ReclaimPolicy(snapshot.storage_class.reclaim_policy or ReclaimPolicy.DELETE)


def build_intent(snapshot: Snapshot, claim: ObjectBucketClaim, identity: Identity, provisioner: Provisioner) -> Intent:
    """The intent of a claim: the recorded one, completed."""
    known, previous = snapshot.bucket, snapshot.intent
    is_same_class = previous is not None and previous.parameters == snapshot.parameters
    who = Claim(namespace=claim.metadata.namespace, name=claim.metadata.name, uid=claim.metadata.uid)
    draft = previous or Intent(provisioner=identity.provisioner_name, user_id="", greenfield=snapshot.is_greenfield)
    if snapshot.earlier_uid:
        earlier = tuple(dict.fromkeys((*draft.earlier_uids, snapshot.earlier_uid)))
        names = {"user_id": "", "generate_bucket_name": ""}  # a new identity, never the earlier claim's
        draft, known = replace(draft, earlier_uids=earlier, **names), None
    seen = for_provisioner(known, draft, identity.cluster_id) if known is not None else None
    return Intent(
        provisioner=identity.provisioner_name,
        user_id=draft.user_id or provisioner.generate_user_id(who, seen),
        greenfield=draft.greenfield,
        parameters=snapshot.parameters,
        generate_bucket_name=draft.generate_bucket_name or claim.spec.generate_bucket_name or "",
        config=draft.config,
        taken_over=draft.taken_over if previous is not None else _was_bound_by_others(known),
        earlier_uids=draft.earlier_uids,
        earlier_clusters=draft.earlier_clusters,
        adopted=draft.adopted,
        has_worked=draft.has_worked and is_same_class,
    )


def build_options(
    snapshot: Snapshot,
    claim: ObjectBucketClaim,
    ob: ObjectBucketObject,
    intent: Intent,
    credentials: KnownCredentials,
) -> BucketOptions:
    """The options of `provision` and `grant`."""
    meta = claim.metadata
    name = ob.endpoint.bucket_name or bucket_name(snapshot, claim)
    return BucketOptions(
        reclaim_policy=reclaim_policy_of(ob),
        bucket_name=name,
        user_id=intent.user_id,
        claim=Claim(
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            labels=meta.labels or {},
            annotations=meta.annotations or {},
            additional_config=snapshot.config.applied,
        ),
        parameters=intent.parameters,
        owner=owner_of(ob, snapshot.identity.cluster_id, intent),
        credentials=credentials.authentication,
        credentials_unchanged=credentials.are_unchanged,
        additional_state=_api.strings(ob.spec.additional_state),
        previous_config=intent.config,
        taken_over=intent.taken_over,
        was_bound=snapshot.last_applied is not None or intent.adopted,
        is_name_generated=intent.greenfield and is_generated_bucket_name(name, intent.generate_bucket_name),
    )


def _was_bound_by_others(known: ObjectBucketObject | None) -> bool:
    """Whether another program bound the claim: its ObjectBucket has an address, and no intent."""
    return known is not None and bool(known.endpoint.bucket_host)
