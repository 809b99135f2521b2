"""Which claims a user waits for."""

from __future__ import annotations

import msgspec
import pytest

from libbucket._api import ClaimStatus, Meta, ObjectBucketClaim
from libbucket._controller.priorities import priority_of
from libbucket._ready_keys import Priority
from libbucket._reconcile.model.summaries import claim_summary

SERVES = ObjectBucketClaim(
    metadata=Meta(name="photos", namespace="shop", generation=2),
    status_or_none=ClaimStatus(phase="Bound", observed_generation=2),
)


def changed(*, phase: str = "Bound", observed: int | None = 2, deleted: str | None = None) -> ObjectBucketClaim:
    metadata = msgspec.structs.replace(SERVES.metadata, deletion_timestamp=deleted)
    status = ClaimStatus(phase=phase, observed_generation=observed)
    return msgspec.structs.replace(SERVES, metadata=metadata, status_or_none=status)


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (SERVES, Priority.LOW),
        (changed(observed=None), Priority.LOW),
        (None, Priority.LOW),
        (changed(phase="Pending"), Priority.NORMAL),
        (changed(observed=1), Priority.NORMAL),
        (changed(deleted="2026-01-01T00:00:00Z"), Priority.NORMAL),
        (ObjectBucketClaim(metadata=SERVES.metadata), Priority.NORMAL),
    ],
    ids=["serves", "foreign CRD", "gone", "pending", "edited", "deleted", "new"],
)
def test_a_user_waits_for_what_is_new_edited_or_deleted(claim: ObjectBucketClaim | None, expected: Priority) -> None:
    assert priority_of(claim_summary(claim) if claim is not None else None) is expected
