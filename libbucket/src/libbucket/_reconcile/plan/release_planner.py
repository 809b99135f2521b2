"""Names the verb of a deletion: an ObjectBucket in, one verb out. Pure.

Called a second time within a reconcile, after the ObjectBucket was marked as released, and with it as it is then: an
administrator may have set it to Retain in the meantime, and data that is deleted cannot be restored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libbucket._reconcile.model.actions import BucketRelease, Release, ReleaseOrphan, Verb
from libbucket._reconcile.model.deletion_policy import DeletionPolicy
from libbucket._reconcile.model.intent import intent_of, last_applied_of, reclaim_policy_of
from libbucket.types import ReclaimPolicy

if TYPE_CHECKING:
    from libbucket._api import ObjectBucketObject


def plan_release(ob: ObjectBucketObject, action: Release | ReleaseOrphan) -> BucketRelease:
    """What to do with the bucket of a claim that is deleted.

    Args:
        ob: its ObjectBucket, as it is now.
        action: what was planned for the claim.
    """
    intent = intent_of(ob)
    is_reclaimed = intent is not None and bool(intent.earlier_uids)
    return BucketRelease(
        verb=_choose_verb(ob, action),
        plan=action.plan,
        fallback=action.fallback if isinstance(action, Release) else None,
        revokes_foreign=last_applied_of(ob) is None and not is_reclaimed,
    )


def _choose_verb(ob: ObjectBucketObject, action: Release | ReleaseOrphan) -> Verb:
    intent = intent_of(ob)
    if intent is not None and intent.store_never_called:
        return Verb.NOTHING
    if intent is None or not intent.greenfield or reclaim_policy_of(ob) is not ReclaimPolicy.DELETE:
        return Verb.REVOKE
    if action.waits:
        return Verb.REVOKE_UNTIL_PURGE
    return Verb.DELETE if action.plan.policy is DeletionPolicy.PURGE else Verb.DELETE_IF_EMPTY
