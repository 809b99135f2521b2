"""The state of each of our claims, for the metrics. Reads the caches at every scrape; no I/O.

A tenant may write anything into a claim, also its class and labels, so only claims that are proved ours are counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libbucket import _api
from libbucket._metrics import ClaimState
from libbucket._outcomes import Retry, meaning_of
from libbucket._reconcile.model.names import provisioner_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket._api import ObjectBucketClaim
    from libbucket._reconcile.model.context import Caches


def claim_states(caches: Caches, provisioner_name: str) -> Iterator[ClaimState]:
    """The state of each claim that is ours.

    Ours are claims of our classes, claims that have an ObjectBucket of ours, and claims with our label as long as their
    class does not exist.
    """
    label = provisioner_label(provisioner_name)
    for claim in caches.claims:
        is_served = caches.serves(provisioner_name, claim.class_name)
        is_labelled = (
            caches.classes.get(claim.class_name) is None and claim.metadata.label(_api.PROVISIONER_LABEL) == label
        )
        if is_served or is_labelled or _has_our_bucket(claim, caches, label):
            yield ClaimState(
                phase=claim.status.phase or _api.Phase.PENDING,
                storage_class=claim.class_name if is_served else "",
                waits_for=_reason_to_wait(claim),
            )


def _has_our_bucket(claim: ObjectBucketClaim, caches: Caches, label: str) -> bool:
    buckets = caches.buckets.grouped(claim.metadata.key)
    return any(bucket.metadata.label(_api.PROVISIONER_LABEL) == label for bucket in buckets)


def _reason_to_wait(claim: ObjectBucketClaim) -> str | None:
    for condition in claim.status.conditions or ():
        if condition.type in {"Stalled", "Reconciling"} and condition.status == "True":
            return condition.reason
        if condition.type == "Ready" and condition.status != "True":
            meaning = meaning_of(condition.reason)  # a purge in progress waits for nothing
            return None if meaning is not None and meaning.retry is Retry.NEXT_TURN else condition.reason
    return None if claim.status.phase == _api.Phase.BOUND else ""
