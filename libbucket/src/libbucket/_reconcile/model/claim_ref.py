"""Which claim an ObjectBucket belongs to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from libbucket import _api

if TYPE_CHECKING:
    from libbucket._api import ObjectBucketClaim, ObjectBucketObject


@dataclass(frozen=True, kw_only=True)
class ClaimRef:
    """A reference to a claim that may not exist. Each field is "" if unknown."""

    namespace: str
    name: str
    uid: str

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


def claim_ref_to(claim: ObjectBucketClaim) -> ClaimRef:
    """The reference to an existing claim."""
    meta = claim.metadata
    return ClaimRef(namespace=meta.namespace, name=meta.name, uid=meta.uid)


def claim_ref_of(ob: ObjectBucketObject) -> ClaimRef:
    """The claim of an ObjectBucket, by our annotations, or by the `spec.claimRef` that the Go library writes."""
    ref, meta = ob.spec.claim_ref or _api.ClaimRefSpec(), ob.metadata
    return ClaimRef(
        namespace=meta.annotation(_api.CLAIM_NAMESPACE) or ref.namespace or "",
        name=meta.annotation(_api.CLAIM_NAME) or ref.name or "",
        uid=meta.annotation(_api.CLAIM_UID) or ref.uid or "",
    )


def claim_key_of(ob: ObjectBucketObject) -> str:
    """`namespace/name` of the claim of an ObjectBucket."""
    return claim_ref_of(ob).key
