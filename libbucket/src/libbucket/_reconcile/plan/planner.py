"""Plans what to do about a claim: a Snapshot in, one Action out. Pure: no I/O, no clock, no randomness.

A ladder of early returns: the first condition that applies determines the action.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from libbucket import _api
from libbucket._api import Phase
from libbucket._outcomes import meaning_of
from libbucket._reconcile.model.actions import (
    Action,
    BeginPurge,
    Bind,
    Blocked,
    Ignore,
    Release,
    ReleaseOrphan,
    RemoveFinalizer,
    Retain,
    Settled,
    foreign_object,
)
from libbucket._reconcile.model.deletion_policy import DeletionPlan, DeletionPolicy, parse_rules, plan_deletion
from libbucket._reconcile.model.intent import intent_of, is_restored_copy, last_applied_of
from libbucket._reconcile.model.snapshot import ObjectState, Recheck
from libbucket.errors import InvalidParameters, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket._api import ObjectBucketClaim, ObjectBucketObject
    from libbucket._reconcile.model.snapshot import Snapshot


_KEPT_BY_INTENT: Final = (
    "by this ObjectBucket its claim was never bound, so that it may be from an old backup: have a claim adopt the "
    "bucket, or delete the ObjectBucket to have everything removed"
)


def decide(snapshot: Snapshot) -> Action:
    """The next action for a claim."""
    if left := _plan_orphans(snapshot):
        return left
    claim = snapshot.claim
    if claim is None:
        return Ignore("the claim is gone")
    if why := snapshot.served_by_others:
        return Ignore(why)
    if claim.metadata.is_being_deleted:
        return _decide_deletion(snapshot, claim)
    return _find_obstacle(snapshot, claim) or _decide_binding(snapshot, claim)


def _plan_orphans(snapshot: Snapshot) -> Action | None:
    """Orphans of earlier claims of this name come first: they may block the current claim."""
    orphan = snapshot.orphans.unreleased
    if orphan is not None:
        plan = _plan_for_orphan(orphan, keeps_data=snapshot.identity.keeps_data)
        was_bound = last_applied_of(orphan) is not None and not orphan.metadata.is_being_deleted
        return ReleaseOrphan(plan=plan, waits=was_bound and bool(plan.purge_after))
    if snapshot.orphans.due is not None:
        return BeginPurge()
    return Retain() if snapshot.orphans.cancelled is not None else None


def _find_obstacle(snapshot: Snapshot, claim: ObjectBucketClaim) -> Blocked | None:
    if not snapshot.bucket_object_name:
        return _bucket_object_conflict(claim)
    if snapshot.storage_class is None and snapshot.intent is None:
        return _class_missing(claim)
    if snapshot.living_owner:
        return _owned_by_a_living_claim(snapshot)
    if mistakes := _wrong_rules(snapshot):
        return mistakes
    if snapshot.config.mistakes:
        return Blocked(reason=Reason.INVALID_CONFIG, message="; ".join(snapshot.config.mistakes))
    has_name = bool(claim.spec.bucket_name or claim.spec.generate_bucket_name or snapshot.earlier_uid)
    if snapshot.is_greenfield and not has_name:
        return _nameless()
    return _foreign_object(snapshot, claim)


def _decide_deletion(snapshot: Snapshot, claim: ObjectBucketClaim) -> Action:
    if not claim.metadata.has_finalizer():
        return Ignore("the finalizer is removed already")
    if snapshot.bucket is not None:
        # Without an intent, another program created the ObjectBucket; whether also the bucket, is known from the class.
        return _release(snapshot, claim, records_intent=snapshot.intent is None and snapshot.storage_class is not None)
    if not snapshot.has_objects:
        # The ObjectBucket is written before the store is called, and deleted after Secret and ConfigMap: without all
        # three, either nothing was created yet, or everything is released already.
        return RemoveFinalizer()
    # The ObjectBucket of a bound claim was removed manually.
    if snapshot.storage_class is not None and snapshot.bucket_object_name:
        return _release(snapshot, claim, records_intent=True)
    return Blocked(
        reason=Reason.DELETION_BLOCKED,
        message=(
            "its ObjectBucket and its StorageClass are both gone, so the store of the bucket is unknown: "
            f"recreate StorageClass {claim.class_name!r}, "
            f"or remove the finalizer {_api.FINALIZER} and clean up manually"
        ),
    )


def _release(snapshot: Snapshot, claim: ObjectBucketClaim, *, records_intent: bool) -> Release:
    on_bucket = snapshot.bucket.metadata.annotation(_api.DELETION_POLICY) if snapshot.bucket is not None else ""
    plan = plan_deletion(
        snapshot.intent.parameters if snapshot.intent else snapshot.parameters,
        on_claim=claim.metadata.annotation(_api.DELETION_POLICY),
        on_bucket=on_bucket,
    )
    # A bucket that was never in use is not retained, unless it was reclaimed from an earlier claim.
    was_used = snapshot.is_bound or bool(snapshot.intent and snapshot.intent.earlier_uids)
    waits = was_used and bool(plan.purge_after)
    return Release(
        records_intent=records_intent, plan=plan, waits=waits, fallback=_fallback(snapshot, was_used=was_used)
    )


def _fallback(snapshot: Snapshot, *, was_used: bool) -> Mapping[str, str] | None:
    """The class's current parameters, if no store was ever reached with the recorded ones."""
    intent, storage_class = snapshot.intent, snapshot.storage_class
    if intent is None or storage_class is None or was_used or intent.has_worked:
        return None
    now = storage_class.parameters or {}
    is_ours = storage_class.provisioner == snapshot.identity.provisioner_name
    is_same_kind = is_ours and (not now.get("bucketName")) is intent.greenfield
    return now if is_same_kind and now != intent.parameters else None


def _plan_for_orphan(bucket: ObjectBucketObject, *, keeps_data: bool) -> DeletionPlan:
    intent = intent_of(bucket)
    on_bucket = bucket.metadata.annotation(_api.DELETION_POLICY)
    plan = plan_deletion(intent.parameters if intent else {}, on_bucket=on_bucket)
    is_intent_only = last_applied_of(bucket) is None and not bucket.metadata.is_being_deleted
    if is_intent_only and keeps_data and not on_bucket and plan.policy is DeletionPolicy.PURGE:
        # No application got into a bucket of a claim that was not bound. One with data is a later one's, and the
        # ObjectBucket was restored from a backup that was made before.
        return DeletionPlan(policy=DeletionPolicy.IF_EMPTY, remedy=_KEPT_BY_INTENT)
    return plan


def _wrong_rules(snapshot: Snapshot) -> Blocked | None:
    """The class's deletion rules are validated before anything is created."""
    if not snapshot.is_greenfield:
        return None
    try:
        rules = parse_rules(snapshot.parameters)
    except InvalidParameters as error:
        return Blocked(reason=error.reason, message=error.message)
    if rules.policy is DeletionPolicy.PURGE or snapshot.identity.keeps_data:
        return None
    message = "StorageClass parameters: this provisioner does not support deletionPolicy IfEmpty"
    return Blocked(reason=Reason.INVALID_PARAMETERS, message=message)


def _bucket_object_conflict(claim: ObjectBucketClaim) -> Blocked:
    return Blocked(
        reason=Reason.OBJECT_BUCKET_CONFLICT,
        message=(
            f"all possible ObjectBuckets of claim {claim.metadata.key} belong to other claims, or to an earlier claim "
            "of this name; the claim binds when one of them is gone"
        ),
    )


def _owned_by_a_living_claim(snapshot: Snapshot) -> Blocked:
    bucket = snapshot.bucket.endpoint.bucket_name if snapshot.bucket is not None else ""
    return Blocked(
        reason=Reason.BUCKET_EXISTS,
        message=f"bucket {bucket} was to be adopted from claim {snapshot.living_owner}, which exists and keeps it",
    )


def _class_missing(claim: ObjectBucketClaim) -> Blocked:
    return Blocked(
        reason=Reason.STORAGE_CLASS_MISSING,
        message=f"spec.storageClassName: StorageClass {claim.class_name!r} does not exist; the claim waits for it",
    )


def _nameless() -> Blocked:
    return Blocked(
        reason=Reason.INVALID_CLAIM,
        message="set spec.bucketName or spec.generateBucketName: the class creates buckets, which need a name",
    )


def _foreign_object(snapshot: Snapshot, claim: ObjectBucketClaim) -> Blocked | None:
    for state, kind, reason in (
        (snapshot.secret, "Secret", Reason.SECRET_CONFLICT),
        (snapshot.config_map, "ConfigMap", Reason.CONFIG_MAP_CONFLICT),
    ):
        if state is ObjectState.FOREIGN:
            return foreign_object(kind, reason, claim.metadata.key)
    return None


def _decide_binding(snapshot: Snapshot, claim: ObjectBucketClaim) -> Action:
    edit = invalid_update(snapshot, claim)
    must_call, may_check = _needs_store(snapshot), snapshot.recheck is Recheck.DRIFT_CHECK or _misses_bucket(claim)
    if must_call or may_check or not _is_in_order(snapshot, claim, edit):
        return Bind(
            calls_store=must_call or may_check, checks_drift_first=may_check and not must_call, invalid_update=edit
        )
    return Settled()


def invalid_update(snapshot: Snapshot, claim: ObjectBucketClaim) -> str:
    """A sentence about an edit that cannot be applied to a bound claim; "" if there is none."""
    if snapshot.last_applied is None or snapshot.bucket is None or snapshot.intent is None:
        return ""
    wanted, bound = claim.spec, snapshot.bucket
    bucket_name = bound.endpoint.bucket_name if snapshot.intent.greenfield else wanted.bucket_name
    for field, now, then in (
        ("storageClassName", wanted.storage_class_name, bound.spec.storage_class_name),
        ("bucketName", wanted.bucket_name, bucket_name),
        ("generateBucketName", wanted.generate_bucket_name, snapshot.intent.generate_bucket_name),
    ):
        if now and then and now != then:
            return f"spec.{field} cannot be changed from {then!r} to {now!r}: the claim stays bound to its bucket"
    return ""


def _misses_bucket(claim: ObjectBucketClaim) -> bool:
    """Whether the status reports that the bucket is gone: only the store can tell whether it is back."""
    ready = claim.status.condition("Ready")
    return ready is not None and ready.status == "False" and is_bucket_missing(ready.reason)


def is_bucket_missing(reason: str) -> bool:
    """Whether no application can work with this reason, even if Secret and ConfigMap are intact."""
    meaning = meaning_of(reason)
    return meaning is not None and meaning.bucket_missing


def _needs_store(snapshot: Snapshot) -> bool:
    return (
        snapshot.recheck is Recheck.FULL
        or snapshot.needs_renewal
        or snapshot.last_applied is None
        or snapshot.last_applied.fingerprint != snapshot.fingerprint
        or snapshot.spec_is_edited
        or snapshot.secret is not ObjectState.INTACT
        or (snapshot.bucket is not None and snapshot.bucket.metadata.is_being_deleted)
    )


def _is_in_order(snapshot: Snapshot, claim: ObjectBucketClaim, edit: str) -> bool:
    return (
        snapshot.config_map is ObjectState.INTACT
        and snapshot.bucket is not None
        and snapshot.duplicate is None
        and _bucket_object_is_in_order(snapshot, snapshot.bucket)
        and claim.metadata.has_finalizer()
        and claim.metadata.label(_api.PROVISIONER_LABEL) == snapshot.identity.label
        and claim.spec.object_bucket_name == snapshot.bucket.metadata.name
        and bool(claim.spec.bucket_name)
        and claim.status.phase == Phase.BOUND
        and (not snapshot.features.conditions or _conditions_are_in_order(claim, edit))
    )


def _bucket_object_is_in_order(snapshot: Snapshot, bucket: ObjectBucketObject) -> bool:
    return (
        bucket.phase == Phase.BOUND
        and bucket.metadata.has_finalizer()
        and bucket.metadata.label(_api.PROVISIONER_LABEL) == snapshot.identity.label
        and not is_restored_copy(bucket)  # its record is written again, with its own uid
    )


def _conditions_are_in_order(claim: ObjectBucketClaim, edit: str) -> bool:
    ready, stalled = claim.status.condition("Ready"), claim.status.condition("Stalled")
    says_edit = stalled.message if stalled is not None else ""
    return (
        ready is not None
        and ready.status == "True"
        and says_edit == edit
        and claim.status.condition("Reconciling") is None
        and claim.status.observed_generation == claim.metadata.generation
    )
