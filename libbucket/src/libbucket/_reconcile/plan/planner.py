"""Decides what to do about a claim: a Snapshot in, one Action out. Pure: no I/O, no clock, no chance.

Read it from the top: the first line that applies wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from libbucket._reconcile.model.intent import intent_of, last_applied_of
from libbucket._reconcile.model.snapshot import ObjectState, Recheck
from libbucket.errors import InvalidParameters, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket._api import ObjectBucketClaim, ObjectBucketObject
    from libbucket._reconcile.model.snapshot import Snapshot


def decide(world: Snapshot) -> Action:
    """The one thing to do next."""
    if left := _plan_orphans(world):
        return left
    claim = world.claim
    if claim is None:
        return Ignore("the claim is gone")
    if stranger := _belongs_to_others(world, claim):
        return Ignore(stranger)
    if claim.metadata.is_being_deleted:
        return _decide_deletion(world, claim)
    return _find_obstacle(world, claim) or _decide_binding(world, claim)


def _plan_orphans(world: Snapshot) -> Action | None:
    """What earlier claims of this name have left comes first: it may stand in the way of the one that is there."""
    if world.orphan is not None:
        plan = _plan_for_orphan(world.orphan)
        was_bound = last_applied_of(world.orphan) is not None and not world.orphan.metadata.is_being_deleted
        return ReleaseOrphan(plan=plan, waits=was_bound and bool(plan.purge_after))
    if world.due is not None:
        return BeginPurge()
    return Retain() if world.undone is not None else None


def _belongs_to_others(world: Snapshot, claim: ObjectBucketClaim) -> str:
    """Why this claim is none of ours; "" if it is ours."""
    if world.intent is not None:
        ours = world.intent.provisioner == world.provisioner_name
        return "" if ours else f"its ObjectBucket was made by {world.intent.provisioner}"
    if world.storage_class is not None:
        ours = world.storage_class.provisioner == world.provisioner_name
        return "" if ours else f"its StorageClass is served by {world.storage_class.provisioner}"
    if claim.metadata.label(_api.PROVISIONER_LABEL) == world.label:
        return ""
    # Any provisioner's, once the class appears. A status written now would stay on somebody else's claim.
    return f"its StorageClass {claim.class_name!r} does not exist"


def _find_obstacle(world: Snapshot, claim: ObjectBucketClaim) -> Blocked | None:
    if not world.bucket_object_name:
        return _bucket_object_conflict(claim)
    if world.storage_class is None and world.intent is None:
        return _class_missing(claim)
    if mistakes := _wrong_rules(world):
        return mistakes
    if world.config.mistakes:
        return Blocked(reason=Reason.INVALID_CONFIG, message="; ".join(world.config.mistakes))
    has_name = bool(claim.spec.bucket_name or claim.spec.generate_bucket_name or world.earlier_uid)
    if world.is_greenfield and not has_name:
        return _nameless()
    return _foreign_object(world, claim)


def _decide_deletion(world: Snapshot, claim: ObjectBucketClaim) -> Action:
    if not claim.metadata.has_finalizer():
        return Ignore("we let it go already")
    if world.bucket is not None:
        # What another program made has no record: whether it made the bucket is told by the class, if that is there.
        return _release(world, claim, records_intent=world.intent is None and world.storage_class is not None)
    if not world.has_objects:
        # The ObjectBucket is written before the store is called, and deleted after Secret and ConfigMap: without
        # all three, either nothing was made yet, or everything is given back already.
        return RemoveFinalizer()
    # The ObjectBucket of a bound claim was removed manually.
    if world.storage_class is not None and world.bucket_object_name:
        return _release(world, claim, records_intent=True)
    return Blocked(
        reason=Reason.DELETION_BLOCKED,
        message=(
            "its ObjectBucket and its StorageClass are both gone, so that nobody knows which store holds the bucket: "
            f"create StorageClass {claim.class_name!r} again, "
            f"or remove the finalizer {_api.FINALIZER} and clean up manually"
        ),
    )


def _release(world: Snapshot, claim: ObjectBucketClaim, *, records_intent: bool) -> Release:
    on_bucket = world.bucket.metadata.annotation(_api.DELETION_POLICY) if world.bucket is not None else ""
    plan = plan_deletion(
        world.intent.parameters if world.intent else world.parameters,
        on_claim=claim.metadata.annotation(_api.DELETION_POLICY),
        on_bucket=on_bucket,
    )
    # What was never handed to anybody holds nothing to wait for, unless it was an earlier claim's.
    was_used = world.is_bound or bool(world.intent and world.intent.earlier_uids)
    waits = was_used and bool(plan.purge_after)
    return Release(records_intent=records_intent, plan=plan, waits=waits, fallback=_fallback(world, was_used=was_used))


def _fallback(world: Snapshot, *, was_used: bool) -> Mapping[str, str] | None:
    """The class's parameters as they are now, where no store was ever found at the recorded ones."""
    intent, storage_class = world.intent, world.storage_class
    if intent is None or storage_class is None or was_used or intent.has_worked:
        return None
    now = storage_class.parameters or {}
    is_ours = storage_class.provisioner == world.provisioner_name
    is_same_kind = is_ours and (not now.get("bucketName")) is intent.greenfield
    return now if is_same_kind and now != intent.parameters else None


def _plan_for_orphan(bucket: ObjectBucketObject) -> DeletionPlan:
    intent = intent_of(bucket)
    on_bucket = bucket.metadata.annotation(_api.DELETION_POLICY)
    return plan_deletion(intent.parameters if intent else {}, on_bucket=on_bucket)


def _wrong_rules(world: Snapshot) -> Blocked | None:
    """What the class says of deletions is read before anything is made that may have to be deleted by it."""
    if not world.is_greenfield:
        return None
    try:
        rules = parse_rules(world.parameters)
    except InvalidParameters as error:
        return Blocked(reason=error.reason, message=error.message)
    if rules.policy is DeletionPolicy.PURGE or world.keeps_data:
        return None
    message = "StorageClass parameters: this provisioner does not support deletionPolicy IfEmpty"
    return Blocked(reason=Reason.INVALID_PARAMETERS, message=message)


def _bucket_object_conflict(claim: ObjectBucketClaim) -> Blocked:
    return Blocked(
        reason=Reason.OBJECT_BUCKET_CONFLICT,
        message=(
            f"the ObjectBuckets that claim {claim.metadata.key} could have belong to other claims, or to an earlier "
            "claim of this name; the claim binds when one of them is gone"
        ),
    )


def _class_missing(claim: ObjectBucketClaim) -> Blocked:
    return Blocked(
        reason=Reason.STORAGE_CLASS_MISSING,
        message=f"spec.storageClassName: StorageClass {claim.class_name!r} does not exist; the claim waits for it",
    )


def _nameless() -> Blocked:
    return Blocked(
        reason=Reason.INVALID_CLAIM,
        message="set spec.bucketName or spec.generateBucketName: the class makes new buckets, and they need a name",
    )


def _foreign_object(world: Snapshot, claim: ObjectBucketClaim) -> Blocked | None:
    for state, kind, reason in (
        (world.secret, "Secret", Reason.SECRET_CONFLICT),
        (world.config_map, "ConfigMap", Reason.CONFIG_MAP_CONFLICT),
    ):
        if state is ObjectState.FOREIGN:
            return foreign_object(kind, reason, claim.metadata.key)
    return None


def _decide_binding(world: Snapshot, claim: ObjectBucketClaim) -> Action:
    edit = invalid_update(world, claim)
    must_call, may_check = _needs_store(world), world.recheck is Recheck.DRIFT_CHECK or _misses_bucket(claim)
    if must_call or may_check or not _is_in_order(world, claim, edit):
        return Bind(
            calls_store=must_call or may_check, checks_drift_first=may_check and not must_call, invalid_update=edit
        )
    return Settled()


def invalid_update(world: Snapshot, claim: ObjectBucketClaim) -> str:
    """A sentence about an edit that a bound claim can't follow; "" if there was none."""
    if world.last_applied is None or world.bucket is None or world.intent is None:
        return ""
    wanted, bound = claim.spec, world.bucket
    bucket_name = bound.endpoint.bucket_name if world.intent.greenfield else wanted.bucket_name
    for field, now, then in (
        ("storageClassName", wanted.storage_class_name, bound.spec.storage_class_name),
        ("bucketName", wanted.bucket_name, bucket_name),
        ("generateBucketName", wanted.generate_bucket_name, world.intent.generate_bucket_name),
    ):
        if now and then and now != then:
            return f"spec.{field} can't be changed from {then!r} to {now!r}: the claim is bound, and keeps its bucket"
    return ""


def _misses_bucket(claim: ObjectBucketClaim) -> bool:
    """Whether the claim says that its bucket is gone: only the store can say that it is back."""
    ready = claim.status.condition("Ready")
    return ready is not None and ready.status == "False" and is_bucket_missing(ready.reason)


def is_bucket_missing(reason: str) -> bool:
    """Whether no application can work for this reason, whatever Secret and ConfigMap say."""
    meaning = meaning_of(reason)
    return meaning is not None and meaning.bucket_missing


def _needs_store(world: Snapshot) -> bool:
    return (
        world.recheck is Recheck.FULL
        or world.needs_renewal
        or world.last_applied is None
        or world.last_applied.fingerprint != world.fingerprint
        or world.spec_is_edited
        or world.secret is not ObjectState.INTACT
        or (world.bucket is not None and world.bucket.metadata.is_being_deleted)
    )


def _is_in_order(world: Snapshot, claim: ObjectBucketClaim, edit: str) -> bool:
    return (
        world.config_map is ObjectState.INTACT
        and world.bucket is not None
        and world.duplicate is None
        and _bucket_object_is_in_order(world, world.bucket)
        and claim.metadata.has_finalizer()
        and claim.metadata.label(_api.PROVISIONER_LABEL) == world.label
        and claim.spec.object_bucket_name == world.bucket.metadata.name
        and bool(claim.spec.bucket_name)
        and claim.status.phase == Phase.BOUND
        and (not world.features.conditions or _conditions_are_in_order(claim, edit))
    )


def _bucket_object_is_in_order(world: Snapshot, bucket: ObjectBucketObject) -> bool:
    return (
        bucket.phase == Phase.BOUND
        and bucket.metadata.has_finalizer()
        and bucket.metadata.label(_api.PROVISIONER_LABEL) == world.label
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
