"""What is asked about all claims and all ObjectBuckets at once, or each time a key is queued. Pure.

Kept for every object beside its packed form, see `_kube/summaries.py`.
"""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING

import msgspec

from libbucket import _api
from libbucket._outcomes import Retry, meaning_of
from libbucket._reconcile.model.claim_ref import claim_ref_of
from libbucket._reconcile.model.deletion_policy import was_planned
from libbucket._reconcile.model.intent import intent_of, last_applied_of

if TYPE_CHECKING:
    from libbucket._api import ObjectBucketClaim, ObjectBucketObject


class ClaimSummary(msgspec.Struct, frozen=True, gc=False):
    """A claim, in brief.

    Attributes:
        uid: of the claim.
        storage_class: its class, which may not exist.
        label: its label `bucket-provisioner`, which a tenant may edit; "" if it has none.
        phase: from its status; "" before the first.
        waits_for: reason in its conditions; "" if it waits and they have none, None if it does not wait.
        is_deleted: whether it is being deleted.
        serves: whether it is Bound as it was last written, until it is deleted.
    """

    uid: str
    storage_class: str
    label: str
    phase: str
    waits_for: str | None
    is_deleted: bool
    serves: bool


class BucketSummary(msgspec.Struct, frozen=True, gc=False):
    """An ObjectBucket, in brief.

    Attributes:
        claim_key: `namespace/name` of its claim, which may not exist.
        claim_uid: of its claim.
        label: its label `bucket-provisioner`; "" if it has none.
        provisioner: name of the provisioner that recorded its intent on it; "" if none did.
        is_unreleased: see `is_unreleased`.
    """

    claim_key: str
    claim_uid: str
    label: str
    provisioner: str
    is_unreleased: bool


def claim_summary(claim: ObjectBucketClaim) -> ClaimSummary:
    """The summary of a claim. Texts that many claims share are kept once."""
    metadata, status = claim.metadata, claim.status
    # CRDs of others prune the observed generation.
    is_seen = status.observed_generation in {None, metadata.generation}
    waits_for = _reason_to_wait(claim)
    return ClaimSummary(
        uid=metadata.uid,
        storage_class=intern(claim.class_name),
        label=intern(metadata.label(_api.PROVISIONER_LABEL)),
        phase=intern(status.phase or ""),
        waits_for=intern(waits_for) if waits_for is not None else None,
        is_deleted=metadata.is_being_deleted,
        serves=status.phase == _api.Phase.BOUND and is_seen and not metadata.is_being_deleted,
    )


def bucket_summary(bucket: ObjectBucketObject) -> BucketSummary:
    """The summary of an ObjectBucket. Texts that many of them share are kept once."""
    ref, intent = claim_ref_of(bucket), intent_of(bucket)
    return BucketSummary(
        claim_key=ref.key,
        claim_uid=ref.uid,
        label=intern(bucket.metadata.label(_api.PROVISIONER_LABEL)),
        provisioner=intern(intent.provisioner) if intent is not None else "",
        is_unreleased=is_unreleased(bucket),
    )


def is_unreleased(bucket: ObjectBucketObject) -> bool:
    """Whether it still represents a bound claim, or an interrupted deletion."""
    is_over = bucket.metadata.is_being_deleted or last_applied_of(bucket) is None or was_planned(bucket)
    return not is_over and bucket.phase in {_api.Phase.BOUND, _api.Phase.RELEASED}


def _reason_to_wait(claim: ObjectBucketClaim) -> str | None:
    for condition in claim.status.conditions or ():
        if condition.type in {"Stalled", "Reconciling"} and condition.status == "True":
            return condition.reason
        if condition.type == "Ready" and condition.status != "True":
            meaning = meaning_of(condition.reason)  # a purge in progress waits for nothing
            return None if meaning is not None and meaning.retry is Retry.NEXT_TURN else condition.reason
    return None if claim.status.phase == _api.Phase.BOUND else ""
