"""Whether a claim may adopt a bucket, and what is written for it. Pure.

The proof is in the store, where this program has no access: the provisioner compares the bucket's ownership tags with
what is written here. Decision 24 has the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from libbucket import _api
from libbucket._reconcile.model import manifests
from libbucket._reconcile.model.claim_ref import claim_ref_of, claim_ref_to
from libbucket._reconcile.model.intent import (
    Intent,
    encode,
    end_adoption,
    intent_of,
    is_restored_copy,
    last_applied_of,
)
from libbucket._reconcile.model.names import bucket_object_names, provisioner_label
from libbucket.types import ReclaimPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What is known of the cluster.

    Attributes:
        claim: that adopts.
        storage_class: of the claim; None if it does not exist.
        buckets: all ObjectBuckets.
        claims: `namespace/name` of every existing claim, by uid.
    """

    claim: _api.ObjectBucketClaim
    storage_class: _api.StorageClass | None
    buckets: tuple[_api.ObjectBucketObject, ...]
    claims: dict[str, str]

    @property
    def own(self) -> _api.ObjectBucketObject | None:
        """The claim's ObjectBucket."""
        return next((one for one in self.buckets if claim_ref_of(one) == claim_ref_to(self.claim)), None)


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """The bucket, and whose it was.

    Attributes:
        bucket: its name.
        uid: of the earlier claim; "" for a bucket without ownership tags.
        cluster: uid of the namespace kube-system of the earlier claim's cluster; "" for this cluster.
    """

    bucket: str
    uid: str
    cluster: str = ""


def candidates(of: Situation) -> list[_api.ObjectBucketObject]:
    """ObjectBuckets of earlier claims of this name, as a backup restores them."""
    return [one for one in of.buckets if _is_left_over(of, one)]


def _is_left_over(of: Situation, bucket: _api.ObjectBucketObject) -> bool:
    ref = claim_ref_of(bucket)
    if ref.key != of.claim.metadata.key or ref.uid in of.claims:
        return False  # before anything is decoded: there may be thousands
    intent = intent_of(bucket)
    waits_for_purge = bool(bucket.metadata.annotation(_api.PURGE_AT)) and not is_restored_copy(bucket)
    return (
        intent is not None
        and intent.greenfield
        and bool(bucket.endpoint.bucket_name)
        and not (bucket.metadata.is_being_deleted or waits_for_purge)
    )


def described(bucket: _api.ObjectBucketObject) -> Earlier:
    """The bucket that an ObjectBucket names, and its claim."""
    return Earlier(bucket=bucket.endpoint.bucket_name or "", uid=claim_ref_of(bucket).uid)


def why_not(of: Situation, earlier: Earlier) -> str:
    """Why the claim may not adopt this bucket; "" if it may ask the store."""
    return next((why for why in _obstacles(of, earlier) if why), "")


def _obstacles(of: Situation, earlier: Earlier) -> Iterator[str]:
    claim, storage_class, named = of.claim, of.storage_class, of.claim.spec.bucket_name
    if claim.metadata.is_being_deleted:
        yield "the claim is being deleted"
    if storage_class is None:
        yield f"its StorageClass {claim.class_name!r} does not exist"
    elif (storage_class.parameters or {}).get("bucketName"):
        yield "its class names an existing bucket: its claims need no adoption"
    if named and named != earlier.bucket:
        yield (
            f"the claim names bucket {named}, and that cannot be edited: "
            f"delete it and make it with spec.bucketName: {earlier.bucket}"
        )
    own = of.own
    if own is not None and last_applied_of(own) is not None and own.endpoint.bucket_name != earlier.bucket:
        yield f"the claim is bound to bucket {own.endpoint.bucket_name}"
    if earlier.uid == claim.metadata.uid and not earlier.cluster:
        yield "the earlier claim is this claim"
    if earlier.uid in of.claims and earlier.uid != claim.metadata.uid:
        yield f"claim {of.claims[earlier.uid]} has that uid and exists: it keeps its bucket"
    yield from _other_owners(of, earlier)


def _other_owners(of: Situation, earlier: Earlier) -> Iterator[str]:
    for one in of.buckets:
        if one.endpoint.bucket_name != earlier.bucket:
            continue
        ref, intent = claim_ref_of(one), intent_of(one)
        is_same_store = intent is None or of.storage_class is None or intent.provisioner == of.storage_class.provisioner
        is_living = ref.uid in of.claims and ref.uid != of.claim.metadata.uid
        if is_living and is_same_store and last_applied_of(one):
            yield f"bucket {earlier.bucket} is that of claim {ref.key}, which exists"


def adopting_intent(of: Situation, earlier: Earlier) -> Intent:
    """The intent by which the provisioner asks the store."""
    assert of.storage_class is not None  # noqa: S101 - `why_not` refuses that
    known = intent_of(of.own) if of.own is not None else None
    draft = known or Intent(provisioner=of.storage_class.provisioner, user_id="", greenfield=True)
    return msgspec.structs.replace(
        draft,
        parameters=of.storage_class.parameters or {},
        taken_over=not earlier.uid,
        earlier_uids=(earlier.uid,) if earlier.uid else (),
        earlier_clusters=(earlier.cluster,) if earlier.cluster else (),
        adopted=True,
        store_never_called=False,
    )


def patch(own: _api.ObjectBucketObject, intent: Intent, bucket: str) -> dict[str, Any]:
    """Changes the claim's ObjectBucket, if it is unchanged; what was applied before is checked in the store again."""
    return {
        "metadata": {
            "annotations": {_api.RECORD: encode(intent), _api.OBSERVED: None},
            "resourceVersion": own.metadata.resource_version,
        },
        "spec": {"reclaimPolicy": str(ReclaimPolicy.RETAIN), "endpoint": {"bucketName": bucket}},
    }


def new_object(of: Situation, intent: Intent, bucket: str) -> dict[str, Any]:
    """An ObjectBucket for a claim that has none yet."""
    meta = of.claim.metadata
    return manifests.new_bucket_object(
        of.claim,
        name=_free_name(meta, (one.metadata.name for one in of.buckets)),
        label=provisioner_label(intent.provisioner),
        intent=encode(intent),
        bucket_name=bucket,
        reclaim_policy=ReclaimPolicy.RETAIN,
    )


def _free_name(meta: _api.Meta, taken: Iterable[str]) -> str:
    names, held = bucket_object_names(meta.namespace, meta.name, meta.uid), set(taken)
    return next((name for name in names if name not in held), names[-1])


def undo_patch(own: _api.ObjectBucketObject) -> dict[str, Any]:
    """Withdraws an adoption that the store has not accepted yet; {} if there is none."""
    intent = intent_of(own)
    if intent is None or not intent.adopted:
        return {}
    metadata = {"annotations": {_api.RECORD: encode(end_adoption(intent))}}
    return {"metadata": {**metadata, "resourceVersion": own.metadata.resource_version}}
