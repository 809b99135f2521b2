"""The state of each of our claims, for the metrics. Reads summaries at every scrape, and no object; no I/O.

A tenant may write anything into a claim, also its class and labels, so only claims that are proved ours are counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libbucket import _api
from libbucket._metrics import ClaimState
from libbucket._reconcile.model.names import provisioner_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket._reconcile.model.context import Caches


def claim_states(caches: Caches, provisioner_name: str) -> Iterator[ClaimState]:
    """The state of each claim that is ours.

    Ours are claims of our classes, claims that have an ObjectBucket of ours, and claims with our label as long as their
    class does not exist.
    """
    label = provisioner_label(provisioner_name)
    provisioners = {one.metadata.name: one.provisioner for one in caches.classes}
    for key, claim in caches.claim_summaries.items():
        provisioner = provisioners.get(claim.storage_class)
        is_served = provisioner == provisioner_name
        is_labelled = provisioner is None and claim.label == label
        if is_served or is_labelled or _has_our_bucket(key, caches, label):
            yield ClaimState(
                phase=claim.phase or _api.Phase.PENDING,
                storage_class=claim.storage_class if is_served else "",
                waits_for=claim.waits_for,
            )


def _has_our_bucket(key: str, caches: Caches, label: str) -> bool:
    buckets = map(caches.bucket_summaries.get, caches.buckets.keys_of(key))
    return any(bucket is not None and bucket.label == label for bucket in buckets)
