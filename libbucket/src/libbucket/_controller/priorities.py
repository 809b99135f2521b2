"""Which claims a user waits for: those come before the checks of claims that serve.

Asked by the work queue when a key becomes ready. Decides by what the cache shows, and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from libbucket._ready_keys import Priority

if TYPE_CHECKING:
    from libbucket._api import ObjectBucketClaim

_BOUND: Final = "Bound"


def priority_of(claim: ObjectBucketClaim | None) -> Priority:
    """The priority of a claim: low once it is Bound as it was last written, until it is deleted.

    Args:
        claim: as cached; None where there is none, and only its bucket is left.
    """
    return Priority.LOW if claim is None or _serves(claim) else Priority.NORMAL


def _serves(claim: ObjectBucketClaim) -> bool:
    metadata, status = claim.metadata, claim.status
    # CRDs of others prune the observed generation.
    is_seen = status.observed_generation in {None, metadata.generation}
    return status.phase == _BOUND and is_seen and not metadata.is_being_deleted
