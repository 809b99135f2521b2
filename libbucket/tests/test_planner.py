"""Every branch of the plan, as tables of snapshots and actions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from libbucket._api import ObjectBucketClaim, ObjectBucketObject, StorageClass
from libbucket._clock import utc_now
from libbucket._kube.discovery import CrdFeatures, InstalledCrds
from libbucket._outcomes import Retry
from libbucket._reconcile.model.actions import (
    BeginPurge,
    Bind,
    Blocked,
    Ignore,
    Release,
    ReleaseOrphan,
    RemoveFinalizer,
    Retain,
    Settled,
)
from libbucket._reconcile.model.additional_config import SelectedConfig
from libbucket._reconcile.model.context import Identity
from libbucket._reconcile.model.deletion_policy import DeletionPolicy
from libbucket._reconcile.model.intent import Intent, LastApplied, encode
from libbucket._reconcile.model.snapshot import ObjectState, Orphans, Recheck, Snapshot
from libbucket._reconcile.plan.planner import decide
from libbucket.errors import Reason
from libbucket.testing import builders
from testkit.core import FakeClient

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = "memory.libbucket.io/bucket"
THEIRS = "other.example.com/bucket"
LABEL = "memory.libbucket.io-bucket"
OB_NAME = "obc-shop-photos"
FINALIZERS = ["objectbucket.io/finalizer"]
DELETED = "2026-01-01T00:00:00Z"
READY = {"type": "Ready", "status": "True", "reason": "Bound", "message": "bound"}

ABSENT, INTACT, CHANGED, FOREIGN = ObjectState


def a_claim(spec: builders.Wire | None = None, status: builders.Wire | None = None, **rest: Any) -> ObjectBucketClaim:
    """A new claim."""
    metadata = {"uid": "uid-1", "generation": 1, "resourceVersion": "7", **rest}
    return msgspec.convert(builders.a_claim(spec=spec, status=status, **metadata), ObjectBucketClaim)


def a_bound_claim(*, spec: builders.Wire | None = None, **rest: Any) -> ObjectBucketClaim:
    """A bound claim; `spec` overrides its fields."""
    wanted = {"generateBucketName": "photos", "bucketName": "photos-1", "objectBucketName": OB_NAME, **(spec or {})}
    status = {"phase": "Bound", "conditions": [READY], "observedGeneration": 1}
    metadata = {"labels": {"bucket-provisioner": LABEL}, "finalizers": FINALIZERS}
    return a_claim(wanted, rest.pop("status", status), **{**metadata, **rest})


def a_class(**rest: Any) -> StorageClass:
    return msgspec.convert(builders.a_class(**{"provisioner": OURS, **rest}), StorageClass)


def a_bucket(**rest: Any) -> ObjectBucketObject:
    """The ObjectBucket of the bound claim."""
    metadata = {"labels": {"bucket-provisioner": LABEL}, "finalizers": FINALIZERS, "status": {"phase": "Bound"}}
    return msgspec.convert(builders.an_object_bucket(**{**metadata, **rest}), ObjectBucketObject)


def an_intent(**rest: Any) -> Intent:
    what = {"provisioner": OURS, "user_id": "user-1", "greenfield": True, "generate_bucket_name": "photos"}
    return Intent(**{**what, **rest})


def an_identity(*, keeps_data: bool = True) -> Identity:
    """The identity of a provisioner that can, or cannot, delete a bucket only if it is empty."""
    return Identity(
        provisioner_name=OURS,
        version="1",
        cluster_id="cluster-1",
        allowed_config=frozenset(),
        supported_config=frozenset(),
        installed=InstalledCrds(FakeClient(), CrdFeatures()),
        now=utc_now,
        keeps_data=keeps_data,
    )


OBSERVED = LastApplied(fingerprint="print-1", secret="s/1", config_map="c/1", secret_hash="hash")


def a_new_snapshot(**rest: Any) -> Snapshot:
    """A new greenfield claim, and its class."""
    snapshot = Snapshot(
        key="shop/photos",
        identity=an_identity(),
        features=CrdFeatures(),
        claim=a_claim(),
        storage_class=a_class(),
        bucket=None,
        duplicate=None,
        intent=None,
        last_applied=None,
        bucket_object_name=OB_NAME,
        config=SelectedConfig(applied={}, warnings=()),
        fingerprint="print-1",
    )
    return replace(snapshot, **rest)


def a_bound_snapshot(**rest: Any) -> Snapshot:
    """The same claim, bound, with everything in place."""
    bound: dict[str, Any] = {
        "claim": a_bound_claim(),
        "bucket": a_bucket(),
        "intent": an_intent(),
        "last_applied": OBSERVED,
        "secret": INTACT,
        "config_map": INTACT,
    }
    return a_new_snapshot(**{**bound, **rest})


def a_deleted_snapshot(*, spec: builders.Wire | None = None, phase: str = "Bound", **rest: Any) -> Snapshot:
    """The bound claim, while it is being deleted."""
    claim = a_bound_claim(spec=spec, status={"phase": phase}, deletionTimestamp=DELETED)
    return a_bound_snapshot(**{"claim": claim, "secret": ABSENT, "config_map": ABSENT, **rest})


BROWNFIELD = {"bucketName": "archive"}
THE_STORE = Bind(calls_store=True)
THE_CLUSTER = Bind(calls_store=False)


@pytest.mark.parametrize(
    "snapshot",
    [
        pytest.param(a_new_snapshot(), id="a new claim of a class without bucketName"),
        pytest.param(
            a_new_snapshot(storage_class=a_class(parameters=BROWNFIELD)), id="a new claim of a brownfield class"
        ),
        pytest.param(
            a_new_snapshot(claim=a_claim({}), storage_class=a_class(parameters=BROWNFIELD)),
            id="a nameless claim of a brownfield class, which needs no name",
        ),
        pytest.param(
            a_new_snapshot(
                claim=a_claim({"bucketName": "mine", "generateBucketName": "other"}),
                storage_class=a_class(parameters=BROWNFIELD),
            ),
            id="a claim with names of a brownfield class, which ignores them",
        ),
        pytest.param(a_new_snapshot(claim=a_claim({"bucketName": "mine"})), id="a new claim with bucketName"),
        pytest.param(
            a_new_snapshot(claim=a_claim({"bucketName": "mine", "generateBucketName": "other"})),
            id="a new claim with both names",
        ),
        pytest.param(
            a_new_snapshot(claim=a_claim(finalizers=FINALIZERS, status={"phase": "Pending"}), bucket=a_bucket()),
            id="a claim whose ObjectBucket the Go library wrote",
        ),
        pytest.param(
            a_new_snapshot(claim=a_claim(status={"phase": "Failed"}), bucket=a_bucket(status=None), intent=an_intent()),
            id="a claim that failed, looked at again",
        ),
        pytest.param(a_bound_snapshot(last_applied=None), id="intent recorded, and never finished"),
        pytest.param(
            a_bound_snapshot(last_applied=None, storage_class=None), id="intent recorded, and the class gone since"
        ),
        pytest.param(
            a_bound_snapshot(fingerprint="print-2"), id="additionalConfig or the parameters of the class edited"
        ),
        pytest.param(a_bound_snapshot(secret=ABSENT), id="the Secret removed"),
        pytest.param(a_bound_snapshot(secret=CHANGED), id="the Secret edited"),
        pytest.param(a_bound_snapshot(secret=ABSENT, config_map=ABSENT), id="both removed"),
        pytest.param(a_bound_snapshot(bucket=None, intent=None, last_applied=None), id="the ObjectBucket removed"),
        pytest.param(
            a_bound_snapshot(bucket=a_bucket(deletionTimestamp=DELETED)), id="the ObjectBucket being deleted manually"
        ),
        pytest.param(a_bound_snapshot(recheck=Recheck.FULL), id="full reconciliation is due"),
        pytest.param(
            a_bound_snapshot(recheck=Recheck.FULL, storage_class=None), id="drift of a claim whose class is gone"
        ),
        pytest.param(a_bound_snapshot(needs_renewal=True), id="the credentials are about to end"),
        pytest.param(a_bound_snapshot(needs_renewal=True, recheck=Recheck.DRIFT_CHECK), id="both at once"),
        pytest.param(
            a_new_snapshot(
                claim=a_claim({}), bucket=a_bucket(), intent=an_intent(), orphans=Orphans(reclaimable=a_bucket())
            ),
            id="a nameless claim that reclaims the bucket of an earlier one",
        ),
        pytest.param(
            a_new_snapshot(storage_class=a_class(parameters={"deletionPolicy": "IfEmpty", "purgeAfter": "72h"})),
            id="a class that protects",
        ),
        pytest.param(
            a_new_snapshot(
                storage_class=a_class(parameters={"deletionPolicy": "Purge"}), identity=an_identity(keeps_data=False)
            ),
            id="an explicit Purge with a provisioner without EmptyBucketDeleter",
        ),
        pytest.param(
            a_new_snapshot(storage_class=a_class(parameters={**BROWNFIELD, "deletionPolicy": "?"})),
            id="a brownfield class, whose bucket is never deleted",
        ),
    ],
)
def test_the_store_is_called_if_its_state_may_differ_from_the_spec(snapshot: Snapshot) -> None:
    assert decide(snapshot) == THE_STORE


@pytest.mark.parametrize(
    "snapshot",
    [
        pytest.param(a_bound_snapshot(recheck=Recheck.DRIFT_CHECK), id="in order"),
        pytest.param(a_bound_snapshot(recheck=Recheck.DRIFT_CHECK, config_map=ABSENT), id="wrong in the cluster only"),
        pytest.param(a_bound_snapshot(recheck=Recheck.DRIFT_CHECK, storage_class=None), id="its class gone"),
    ],
)
def test_a_drift_check_precedes_the_call_of_the_verb(snapshot: Snapshot) -> None:
    assert decide(snapshot) == Bind(calls_store=True, checks_drift_first=True)


@pytest.mark.parametrize(
    "snapshot",
    [
        pytest.param(a_bound_snapshot(config_map=ABSENT), id="the ConfigMap removed"),
        pytest.param(a_bound_snapshot(config_map=CHANGED), id="the ConfigMap edited"),
        pytest.param(a_bound_snapshot(claim=a_bound_claim(finalizers=[])), id="our finalizer gone from the claim"),
        pytest.param(a_bound_snapshot(claim=a_bound_claim(labels=None)), id="our label missing from the claim"),
        pytest.param(
            a_bound_snapshot(claim=a_bound_claim(spec={"objectBucketName": None})), id="objectBucketName removed"
        ),
        pytest.param(
            a_bound_snapshot(claim=a_bound_claim(spec={"objectBucketName": None, "ObjectBucketName": OB_NAME})),
            id="objectBucketName in the legacy spelling only",
        ),
        pytest.param(a_bound_snapshot(claim=a_bound_claim(spec={"bucketName": None})), id="bucketName removed"),
        pytest.param(a_bound_snapshot(claim=a_bound_claim(status={"phase": "Pending"})), id="the phase lost"),
        pytest.param(a_bound_snapshot(claim=a_bound_claim(status=None)), id="the whole status lost"),
        pytest.param(
            a_bound_snapshot(claim=a_bound_claim(status={"phase": "Bound", "observedGeneration": 1})),
            id="Bound without the condition Ready",
        ),
        pytest.param(
            a_bound_snapshot(
                claim=a_bound_claim(
                    status={"phase": "Bound", "conditions": [READY | {"status": "False"}], "observedGeneration": 1}
                )
            ),
            id="Ready is still False after a failure that is over",
        ),
        pytest.param(a_bound_snapshot(claim=a_bound_claim(generation=2)), id="an edit that is not yet observed"),
        pytest.param(
            a_bound_snapshot(
                claim=a_bound_claim(
                    status={
                        "phase": "Bound",
                        "conditions": [READY, {"type": "Stalled", "status": "True", "message": "an old edit"}],
                        "observedGeneration": 1,
                    }
                )
            ),
            id="an invalid edit was taken back",
        ),
        pytest.param(a_bound_snapshot(bucket=a_bucket(status={"phase": "Released"})), id="phase of the ObjectBucket"),
        pytest.param(a_bound_snapshot(bucket=a_bucket(finalizers=[])), id="finalizer of the ObjectBucket"),
        pytest.param(a_bound_snapshot(bucket=a_bucket(labels={})), id="label of the ObjectBucket"),
    ],
)
def test_drift_in_the_cluster_is_repaired_without_the_store(snapshot: Snapshot) -> None:
    assert decide(snapshot) == THE_CLUSTER


@pytest.mark.parametrize(
    "snapshot",
    [
        pytest.param(a_bound_snapshot(), id="greenfield"),
        pytest.param(
            a_bound_snapshot(
                storage_class=a_class(parameters=BROWNFIELD),
                intent=an_intent(greenfield=False, generate_bucket_name=""),
                bucket=a_bucket(bucket="archive"),
            ),
            id="brownfield, whatever bucketName says",
        ),
        pytest.param(a_bound_snapshot(storage_class=None), id="the class gone since"),
        pytest.param(a_bound_snapshot(claim=a_bound_claim(spec={"generateBucketName": None})), id="without a prefix"),
        pytest.param(
            a_bound_snapshot(
                claim=a_bound_claim(status={"phase": "Bound"}, generation=9), features=CrdFeatures(conditions=False)
            ),
            id="CRDs that keep no conditions: the phase says all",
        ),
    ],
)
def test_a_bound_claim_with_everything_in_place_is_settled(snapshot: Snapshot) -> None:
    assert decide(snapshot) == Settled()


@pytest.mark.parametrize(
    ("snapshot", "why"),
    [
        pytest.param(a_new_snapshot(claim=None), "the claim is gone", id="gone"),
        pytest.param(
            a_new_snapshot(storage_class=a_class(provisioner=THEIRS)), f"served by {THEIRS}", id="class of another"
        ),
        pytest.param(
            a_bound_snapshot(intent=an_intent(provisioner=THEIRS)),
            f"provisioner {THEIRS}",
            id="ObjectBucket of another",
        ),
        pytest.param(a_new_snapshot(storage_class=None), "'buckets' does not exist", id="class missing, not our label"),
        pytest.param(
            a_new_snapshot(storage_class=None, claim=a_claim(labels={"bucket-provisioner": "other"})),
            "'buckets' does not exist",
            id="class missing, label of another",
        ),
        pytest.param(
            a_deleted_snapshot(intent=an_intent(provisioner=THEIRS)),
            f"provisioner {THEIRS}",
            id="another's, being deleted",
        ),
        pytest.param(
            a_new_snapshot(claim=a_claim(finalizers=["other/finalizer"], deletionTimestamp=DELETED)),
            "finalizer is removed",
            id="being deleted, and waiting for others only",
        ),
    ],
)
def test_claims_of_other_provisioners_are_ignored(snapshot: Snapshot, why: str) -> None:
    action = decide(snapshot)

    assert isinstance(action, Ignore)
    assert why in action.why


@pytest.mark.parametrize(
    ("snapshot", "reason", "names", "retry"),
    [
        pytest.param(
            a_new_snapshot(claim=a_claim({})),
            Reason.INVALID_CLAIM,
            ["spec.bucketName", "spec.generateBucketName"],
            Retry.NEVER,
            id="neither name",
        ),
        pytest.param(
            a_new_snapshot(claim=a_claim({"bucketName": "", "generateBucketName": ""})),
            Reason.INVALID_CLAIM,
            ["spec.bucketName"],
            Retry.NEVER,
            id="both names empty",
        ),
        pytest.param(
            a_new_snapshot(storage_class=None, claim=a_claim(labels={"bucket-provisioner": LABEL})),
            Reason.STORAGE_CLASS_MISSING,
            ["spec.storageClassName", "'buckets'"],
            Retry.SLOWLY,
            id="class missing",
        ),
        pytest.param(
            a_bound_snapshot(storage_class=None, intent=None, last_applied=None),
            Reason.STORAGE_CLASS_MISSING,
            ["'buckets'"],
            Retry.SLOWLY,
            id="class missing, and the Go library's ObjectBucket does not say what it said",
        ),
        pytest.param(
            a_new_snapshot(bucket_object_name=""),
            Reason.OBJECT_BUCKET_CONFLICT,
            ["shop/photos"],
            Retry.SLOWLY,
            id="both names of the ObjectBucket taken",
        ),
        pytest.param(
            a_new_snapshot(secret=FOREIGN), Reason.SECRET_CONFLICT, ["Secret shop/photos"], Retry.SOON, id="Secret"
        ),
        pytest.param(
            a_new_snapshot(config_map=FOREIGN),
            Reason.CONFIG_MAP_CONFLICT,
            ["ConfigMap shop/photos"],
            Retry.SOON,
            id="ConfigMap",
        ),
        pytest.param(
            a_new_snapshot(secret=FOREIGN, config_map=FOREIGN),
            Reason.SECRET_CONFLICT,
            ["Secret shop/photos"],
            Retry.SOON,
            id="both: one at a time",
        ),
        pytest.param(
            a_bound_snapshot(secret=FOREIGN),
            Reason.SECRET_CONFLICT,
            ["stays unchanged"],
            Retry.SOON,
            id="our Secret replaced by another owner's",
        ),
        pytest.param(
            a_new_snapshot(storage_class=a_class(parameters={"deletionPolicy": "purge", "purgeAfter": "soon"})),
            Reason.INVALID_PARAMETERS,
            ["deletionPolicy", "'purge'", "purgeAfter", "'soon'"],
            Retry.SLOWLY,
            id="what the class says of deletions can't be read",
        ),
        pytest.param(
            a_new_snapshot(
                storage_class=a_class(parameters={"deletionPolicy": "IfEmpty"}), identity=an_identity(keeps_data=False)
            ),
            Reason.INVALID_PARAMETERS,
            ["deletionPolicy"],
            Retry.SLOWLY,
            id="the class asks for what this provisioner can't",
        ),
        pytest.param(
            a_deleted_snapshot(bucket=None, intent=None, last_applied=None, storage_class=None, has_objects=True),
            Reason.DELETION_BLOCKED,
            ["'buckets'", "objectbucket.io/finalizer"],
            Retry.SLOWLY,
            id="deleted, and the store is unknown",
        ),
    ],
)
def test_an_obstacle_is_named_in_the_message(
    snapshot: Snapshot, reason: Reason, names: list[str], retry: Retry
) -> None:
    action = decide(snapshot)

    assert isinstance(action, Blocked)
    assert (action.reason, action.retry) == (reason, retry)
    for name in names:
        assert name in action.message


@pytest.mark.parametrize(
    ("field", "then", "now"),
    [
        ("storageClassName", "buckets", "faster"),
        ("bucketName", "photos-1", "photos-2"),
        ("generateBucketName", "photos", "videos"),
    ],
)
@pytest.mark.parametrize("reported", [False, True])
def test_an_edit_that_cant_be_followed_is_named_once_and_the_bucket_keeps_serving(
    field: str, then: str, now: str, *, reported: bool
) -> None:
    sentence = f"spec.{field} cannot be changed from {then!r} to {now!r}: the claim stays bound to its bucket"
    conditions = [READY, *([{"type": "Stalled", "status": "True", "message": sentence}] if reported else [])]
    status = {"phase": "Bound", "conditions": conditions, "observedGeneration": 2}
    snapshot = a_bound_snapshot(claim=a_bound_claim(spec={field: now}, generation=2, status=status))

    assert decide(snapshot) == (Settled() if reported else Bind(calls_store=False, invalid_update=sentence))


def test_an_invalid_edit_does_not_delay_a_valid_one() -> None:
    snapshot = a_bound_snapshot(claim=a_bound_claim(spec={"bucketName": "photos-2"}), fingerprint="print-2")

    action = decide(snapshot)

    assert isinstance(action, Bind)
    assert action.calls_store
    assert "spec.bucketName" in action.invalid_update


@pytest.mark.parametrize("field", ["bucketName", "generateBucketName"])
def test_before_a_claim_is_bound_its_names_may_still_change(field: str) -> None:
    snapshot = a_bound_snapshot(claim=a_bound_claim(spec={field: "another"}), last_applied=None)

    assert decide(snapshot) == THE_STORE


def test_names_in_a_brownfield_claim_are_ignored_also_after_an_edit() -> None:
    snapshot = a_bound_snapshot(
        claim=a_bound_claim(spec={"bucketName": "whatever"}),
        storage_class=a_class(parameters=BROWNFIELD),
        intent=an_intent(greenfield=False),
        bucket=a_bucket(bucket="archive"),
    )

    assert decide(snapshot) == Settled()


def _without_bucket(**rest: Any) -> Snapshot:
    return a_deleted_snapshot(**{"bucket": None, "intent": None, "last_applied": None, **rest})


@pytest.mark.parametrize(
    ("snapshot", "action"),
    [
        pytest.param(a_deleted_snapshot(), Release(), id="bound"),
        pytest.param(a_deleted_snapshot(storage_class=None), Release(), id="bound, class gone: never needed"),
        pytest.param(
            a_deleted_snapshot(intent=an_intent(greenfield=False), storage_class=None), Release(), id="brownfield"
        ),
        pytest.param(
            a_deleted_snapshot(intent=None, last_applied=None),
            Release(records_intent=True),
            id="ObjectBucket of the Go library: its class says what it made",
        ),
        pytest.param(
            a_deleted_snapshot(intent=None, last_applied=None, storage_class=None),
            Release(),
            id="ObjectBucket of the Go library, class gone",
        ),
        pytest.param(
            a_deleted_snapshot(last_applied=None, phase="Pending"), Release(), id="intent recorded, never bound"
        ),
        pytest.param(
            a_deleted_snapshot(bucket=a_bucket(deletionTimestamp=DELETED)), Release(), id="ObjectBucket deleted as well"
        ),
        pytest.param(
            a_deleted_snapshot(secret=FOREIGN, config_map=FOREIGN), Release(), id="objects of others are not in the way"
        ),
        pytest.param(
            _without_bucket(has_objects=True), Release(records_intent=True), id="ObjectBucket removed manually"
        ),
        pytest.param(
            _without_bucket(has_objects=True, spec={"bucketName": None}, storage_class=a_class(parameters=BROWNFIELD)),
            Release(records_intent=True),
            id="brownfield, ObjectBucket removed manually",
        ),
        pytest.param(_without_bucket(), RemoveFinalizer(), id="all released, and killed before the last write"),
        pytest.param(_without_bucket(phase="Pending"), RemoveFinalizer(), id="killed before anything was created"),
        pytest.param(_without_bucket(bucket_object_name=""), RemoveFinalizer(), id="it never got an ObjectBucket"),
        pytest.param(
            _without_bucket(storage_class=None, phase="Pending"), RemoveFinalizer(), id="it waited for its class"
        ),
        pytest.param(
            _without_bucket(storage_class=None, phase="Failed"), RemoveFinalizer(), id="it failed, and its class went"
        ),
    ],
)
def test_a_deleted_claim_is_released(snapshot: Snapshot, action: object) -> None:
    assert decide(snapshot) == action


def _deleted_by(annotation: str = "", *, on_bucket: str = "", parameters: dict[str, str], **rest: Any) -> Snapshot:
    key = "objectbucket.io/deletion-policy"
    claim = a_bound_claim(deletionTimestamp=DELETED, annotations={key: annotation} if annotation else {})
    bucket = a_bucket(annotations={key: on_bucket} if on_bucket else {})
    intent = an_intent(parameters=parameters, **rest.pop("intent", {}))
    return a_deleted_snapshot(claim=claim, bucket=bucket, intent=intent, **rest)


PROTECTS = {"deletionPolicy": "IfEmpty"}
FORBIDS = {"deletionPolicy": "IfEmpty", "purgeByAnnotation": "false"}
WAITS = {"purgeAfter": "72h"}


@pytest.mark.parametrize(
    ("snapshot", "policy"),
    [
        pytest.param(_deleted_by(parameters={}), "Purge", id="default"),
        pytest.param(_deleted_by(parameters=PROTECTS), "IfEmpty", id="the class protects"),
        pytest.param(_deleted_by("IfEmpty", parameters={}), "IfEmpty", id="the claim protects itself"),
        pytest.param(_deleted_by("Purge", parameters=PROTECTS), "Purge", id="the claim allows its own purge"),
        pytest.param(_deleted_by("Purge", parameters=FORBIDS), "IfEmpty", id="the class forbids the claim"),
        pytest.param(_deleted_by("purge!", parameters={}), "IfEmpty", id="an invalid value protects"),
        pytest.param(_deleted_by(parameters={"deletionPolicy": "?"}), "IfEmpty", id="in the class, too"),
        pytest.param(
            _deleted_by(on_bucket="Purge", parameters=FORBIDS), "Purge", id="an administrator allows it nevertheless"
        ),
        pytest.param(
            _deleted_by("Purge", on_bucket="IfEmpty", parameters={}), "IfEmpty", id="an administrator protects"
        ),
        pytest.param(
            _deleted_by(parameters=PROTECTS, storage_class=a_class(parameters={})),
            "IfEmpty",
            id="recorded parameters count, not the current ones",
        ),
    ],
)
def test_the_deletion_policy_follows_the_precedence_of_annotations_and_class(snapshot: Snapshot, policy: str) -> None:
    action = decide(snapshot)

    assert isinstance(action, Release)
    assert action.plan.policy == DeletionPolicy(policy)
    assert bool(action.plan.remedy) is (policy == "IfEmpty")


@pytest.mark.parametrize(
    ("snapshot", "waits"),
    [
        pytest.param(_deleted_by(parameters=WAITS), True, id="bound once"),
        pytest.param(_deleted_by(parameters=WAITS, last_applied=None), False, id="never bound: no data"),
        pytest.param(
            _deleted_by(parameters=WAITS, last_applied=None, intent={"earlier_uids": ("uid-0",)}),
            True,
            id="reclaimed, and not bound again: it has an earlier claim's data",
        ),
        pytest.param(_deleted_by(parameters={}), False, id="the class has no grace period"),
        pytest.param(_deleted_by("IfEmpty", parameters=WAITS), False, id="IfEmpty has no grace period"),
        pytest.param(
            _deleted_by("Purge", parameters={**PROTECTS, **WAITS}), True, id="allowed by annotation, and waits"
        ),
    ],
)
def test_a_used_bucket_waits_for_its_purge_if_the_class_has_a_grace_period(snapshot: Snapshot, *, waits: bool) -> None:
    action = decide(snapshot)

    assert isinstance(action, Release)
    assert action.waits is waits


@pytest.mark.parametrize("claim", [None, a_claim()], ids=["claim gone", "another claim of that name"])
def test_orphans_of_earlier_claims_come_before_the_claim(claim: ObjectBucketClaim | None) -> None:
    released = a_bucket(status={"phase": "Released"})

    assert decide(a_new_snapshot(claim=claim, orphans=Orphans(due=released))) == BeginPurge()
    assert decide(a_new_snapshot(claim=claim, orphans=Orphans(cancelled=released))) == Retain()


def test_an_orphan_is_released_by_its_intent_and_the_administrators_annotation() -> None:
    key = "objectbucket.io/deletion-policy"

    def orphan(**annotations: str) -> ObjectBucketObject:
        intent = encode(an_intent(parameters=PROTECTS))
        return a_bucket(deletionTimestamp=DELETED, annotations={"objectbucket.io/record": intent, **annotations})

    kept, purged = (
        decide(a_new_snapshot(claim=None, orphans=Orphans(unreleased=one)))
        for one in (orphan(), orphan(**{key: "Purge"}))
    )

    assert isinstance(kept, ReleaseOrphan)
    assert kept.plan.policy is DeletionPolicy.IF_EMPTY
    assert purged == ReleaseOrphan()


@pytest.mark.parametrize("make", [lambda: None, a_claim], ids=["claim gone", "claim of that name made again"])
def test_an_orphan_that_is_being_deleted_comes_first(make: Callable[[], ObjectBucketClaim | None]) -> None:
    snapshot = a_new_snapshot(claim=make(), orphans=Orphans(unreleased=a_bucket(deletionTimestamp=DELETED)))

    assert decide(snapshot) == ReleaseOrphan()


def test_recorded_parameters_replace_those_of_a_class_that_is_gone_or_no_longer_ours() -> None:
    recorded = an_intent(parameters={"region": "north"})
    current = a_class(parameters={"region": "south"})
    foreign = a_class(provisioner=THEIRS, parameters={"region": "east"})

    assert a_bound_snapshot(intent=recorded, storage_class=None).parameters == {"region": "north"}
    assert a_bound_snapshot(intent=recorded, storage_class=foreign).parameters == {"region": "north"}
    assert a_bound_snapshot(intent=recorded, storage_class=current).parameters == {"region": "south"}
    assert a_new_snapshot(storage_class=None).parameters == {}


def test_greenfield_never_changes_once_recorded() -> None:
    turned_brownfield = a_class(parameters=BROWNFIELD)

    assert a_bound_snapshot(storage_class=turned_brownfield).is_greenfield
    assert not a_bound_snapshot(intent=an_intent(greenfield=False)).is_greenfield


@pytest.mark.parametrize(
    ("snapshot", "serves"),
    [
        (a_bound_snapshot(), True),
        (a_bound_snapshot(last_applied=None), False),
        (a_bound_snapshot(secret=CHANGED), False),
        (a_bound_snapshot(config_map=ABSENT), False),
    ],
)
def test_a_claim_serves_while_secret_and_config_map_are_in_place(snapshot: Snapshot, *, serves: bool) -> None:
    assert snapshot.is_serving is serves


def test_a_living_claim_keeps_the_bucket_that_was_to_be_adopted_from_it() -> None:
    action = decide(a_new_snapshot(living_owner="shop/other"))

    assert isinstance(action, Blocked)
    assert action.reason is Reason.BUCKET_EXISTS
    assert "claim shop/other, which exists and keeps it" in action.message
