"""The verb of a deletion: every combination of what is recorded on an ObjectBucket, as a table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from libbucket._api import ObjectBucketObject
from libbucket._reconcile.model.actions import BucketRelease, Release, ReleaseOrphan, Verb
from libbucket._reconcile.model.deletion_policy import DeletionPlan, DeletionPolicy
from libbucket._reconcile.model.intent import Intent, LastApplied, encode
from libbucket._reconcile.plan.release_planner import plan_release
from libbucket.testing import builders

IF_EMPTY = DeletionPlan(policy=DeletionPolicy.IF_EMPTY, remedy="empty it")
LATER = DeletionPlan(purge_after=timedelta(hours=72))
LAST_APPLIED = LastApplied(fingerprint="print-1", secret="s/1", config_map="c/1", secret_hash="hash")


def a_bucket(*, reclaim_policy: str = "Delete", is_bound: bool = True, **intent: Any) -> ObjectBucketObject:
    recorded = Intent(**{"provisioner": "p", "user_id": "user-1", "greenfield": True, **intent})
    annotations = {"objectbucket.io/record": encode(recorded)}
    if is_bound:
        annotations["objectbucket.io/observed"] = encode(LAST_APPLIED)
    body = builders.an_object_bucket(reclaim_policy=reclaim_policy, annotations=annotations)
    return msgspec.convert(body, ObjectBucketObject)


def a_bucket_of_another_program(reclaim_policy: str) -> ObjectBucketObject:
    return msgspec.convert(builders.an_object_bucket(reclaim_policy=reclaim_policy), ObjectBucketObject)


@pytest.mark.parametrize(
    ("bucket", "action", "verb"),
    [
        pytest.param(a_bucket(), Release(), Verb.DELETE, id="greenfield, Delete"),
        pytest.param(a_bucket(), Release(plan=IF_EMPTY), Verb.DELETE_IF_EMPTY, id="deletion policy IfEmpty"),
        pytest.param(a_bucket(), Release(plan=LATER, waits=True), Verb.REVOKE_UNTIL_PURGE, id="grace period"),
        pytest.param(a_bucket(), Release(plan=LATER), Verb.DELETE, id="grace period, never used"),
        pytest.param(a_bucket(reclaim_policy="Retain"), Release(), Verb.REVOKE, id="Retain"),
        pytest.param(
            a_bucket(reclaim_policy="Retain"), Release(plan=LATER, waits=True), Verb.REVOKE, id="Retain, grace period"
        ),
        pytest.param(a_bucket(greenfield=False), Release(), Verb.REVOKE, id="brownfield"),
        pytest.param(a_bucket(store_never_called=True), Release(), Verb.NOTHING, id="store never called"),
        pytest.param(
            a_bucket(store_never_called=True),
            Release(plan=LATER, waits=True),
            Verb.NOTHING,
            id="store never called, grace period",
        ),
        pytest.param(a_bucket_of_another_program("Delete"), Release(), Verb.REVOKE, id="no recorded intent"),
        pytest.param(a_bucket(), ReleaseOrphan(), Verb.DELETE, id="orphan"),
        pytest.param(
            a_bucket(), ReleaseOrphan(plan=LATER, waits=True), Verb.REVOKE_UNTIL_PURGE, id="orphan, grace period"
        ),
        pytest.param(a_bucket(reclaim_policy="Retain"), ReleaseOrphan(), Verb.REVOKE, id="orphan, Retain"),
    ],
)
def test_the_verb_follows_from_the_object_bucket_as_it_is_now(
    bucket: ObjectBucketObject, action: Release | ReleaseOrphan, verb: Verb
) -> None:
    assert plan_release(bucket, action).verb is verb


@pytest.mark.parametrize(
    ("bucket", "revokes"),
    [
        (a_bucket(), False),
        (a_bucket(is_bound=False), True),
        (a_bucket(is_bound=False, earlier_uids=("uid-0",)), False),
    ],
    ids=["bound once", "never bound", "reclaimed and never bound"],
)
def test_a_foreign_bucket_is_expected_only_if_the_claim_never_had_one(
    bucket: ObjectBucketObject, *, revokes: bool
) -> None:
    assert plan_release(bucket, Release()).revokes_foreign is revokes


def test_parameters_to_fall_back_to_are_handed_on() -> None:
    assert plan_release(a_bucket(), Release(plan=IF_EMPTY, fallback={"host": "new"})) == BucketRelease(
        verb=Verb.DELETE_IF_EMPTY, plan=IF_EMPTY, fallback={"host": "new"}
    )
