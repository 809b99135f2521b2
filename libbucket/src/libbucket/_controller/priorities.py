"""Which claims a user waits for: those come before the checks of claims that serve.

Asked by the work queue when a key becomes ready. Decides by what the cache shows, and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libbucket._ready_keys import Priority

if TYPE_CHECKING:
    from libbucket._reconcile.model.summaries import ClaimSummary


def priority_of(claim: ClaimSummary | None) -> Priority:
    """The priority of a claim: low once it is Bound as it was last written, until it is deleted.

    Args:
        claim: in brief; None where there is none, and only its bucket is left.
    """
    return Priority.LOW if claim is None or claim.serves else Priority.NORMAL
