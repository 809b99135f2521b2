"""Which provisioner serves a claim. Pure.

Asked before anything of a claim is read from the API server, and again when it is decided what to do: of a claim that
another provisioner serves, neither the Secret nor anything else is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libbucket import _api

if TYPE_CHECKING:
    from libbucket._api import ObjectBucketClaim, StorageClass
    from libbucket._reconcile.model.context import Identity
    from libbucket._reconcile.model.intent import Intent


def served_by_others(
    claim: ObjectBucketClaim, identity: Identity, *, intent: Intent | None, storage_class: StorageClass | None
) -> str:
    """Why another provisioner serves a claim; "" if this one does.

    Args:
        claim: as it is.
        identity: what this process serves.
        intent: recorded on its ObjectBucket; None if there is none.
        storage_class: its class; None if it does not exist.
    """
    if intent is not None:
        ours = intent.provisioner == identity.provisioner_name
        return "" if ours else f"its ObjectBucket belongs to provisioner {intent.provisioner}"
    if storage_class is not None:
        ours = storage_class.provisioner == identity.provisioner_name
        return "" if ours else f"its StorageClass is served by {storage_class.provisioner}"
    if claim.metadata.label(_api.PROVISIONER_LABEL) == identity.label:
        return ""
    # Unknown until the class exists. A status written now would stay on another provisioner's claim.
    return f"its StorageClass {claim.class_name!r} does not exist"
