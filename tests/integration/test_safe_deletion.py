"""Deletion policies: non-empty buckets are protected, and released buckets can be reclaimed until their purge."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from testkit.cluster.memory_environment import OBC, Mortal, condition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.memory_store import Bucket
    from testkit.cluster.memory_environment import MemoryEnvironment, Wire

POLICY = "objectbucket.io/deletion-policy"
PURGE_AT = "objectbucket.io/purge-at"
PROTECTS = {"deletionPolicy": "IfEmpty"}
WAITS = {"purgeAfter": "72h"}
LATER = timedelta(hours=73)


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waiting(environment: MemoryEnvironment) -> Iterator[str]:
    """A class with a grace period."""
    name = environment.make_class(f"{environment.class_name}-waits", parameters=WAITS)
    yield name
    environment.delete_class(name)


def bind(environment: MemoryEnvironment, storage_class: str, **spec: str) -> tuple[str, Bucket]:
    """A claim that is bound, and has written something."""
    environment.claim(storage_class=storage_class, spec=spec or {"generateBucketName": "photos"})
    name = environment.wait_bound()["spec"]["bucketName"]
    bucket = environment.store.buckets[name]
    bucket.write("kept.txt", b"dear")
    return name, bucket


def annotate(environment: MemoryEnvironment, path: str, key: str, value: str | None) -> Wire:
    return environment.admin.patch(path, {"metadata": {"annotations": {key: value}}})


def released(environment: MemoryEnvironment, path: str = "") -> Wire:
    """The ObjectBucket, once its claim has gone and its purge is planned."""
    environment.admin.wait_gone(environment.claim_path(), timeout=20)
    found = environment.admin.get(path or environment.ob_path())
    assert found["status"]["phase"] == "Released"
    return found


def test_a_non_empty_bucket_is_kept_until_its_claim_requests_a_purge(
    environment: MemoryEnvironment,
) -> None:
    protecting = environment.make_class(f"{environment.class_name}-p", parameters=PROTECTS)
    with environment.core():
        name, bucket = bind(environment, protecting)
        before = environment.secret()
        environment.delete_claim(wait=False)
        claim = environment.wait_reason("BucketNotEmpty")
        assert f"{POLICY}=Purge" in condition(claim)["message"]
        assert bucket.keys() == ["kept.txt"]
        assert environment.secret() == before
        assert environment.store.identities, "its author can empty it"
        annotate(environment, environment.claim_path(), POLICY, "Purge")
        environment.admin.wait_gone(environment.claim_path(), timeout=20)
    assert name not in environment.store.buckets
    assert not environment.store.identities
    environment.delete_class(protecting)


def test_a_protected_bucket_is_deleted_once_it_is_empty(environment: MemoryEnvironment) -> None:
    with environment.core():
        name, bucket = bind(environment, environment.class_name)
        annotate(environment, environment.claim_path(), POLICY, "IfEmpty")
        environment.delete_claim(wait=False)
        environment.wait_reason("BucketNotEmpty")
        bucket.write("kept.txt", None)
        annotate(environment, environment.claim_path(), "example.com/try-again", "now")
        environment.admin.wait_gone(environment.claim_path(), timeout=20)
    assert name not in environment.store.buckets


def test_only_an_administrator_can_request_a_purge_that_the_class_forbids(environment: MemoryEnvironment) -> None:
    parameters = {**PROTECTS, "purgeByAnnotation": "false"}
    protecting = environment.make_class(f"{environment.class_name}-p", parameters=parameters)
    with environment.core():
        name, bucket = bind(environment, protecting)
        annotate(environment, environment.claim_path(), POLICY, "Purge")
        environment.delete_class(protecting)
        environment.delete_claim(wait=False)
        claim = environment.wait_reason("BucketNotEmpty")
        assert "purgeByAnnotation" in condition(claim)["message"]
        assert bucket.keys() == ["kept.txt"]
        annotate(environment, environment.ob_path(), POLICY, "Purge")
        environment.admin.wait_gone(environment.claim_path(), timeout=20)
    assert name not in environment.store.buckets


def test_a_class_with_invalid_deletion_parameters_provisions_nothing(environment: MemoryEnvironment) -> None:
    wrong = environment.make_class(
        f"{environment.class_name}-w", parameters={"deletionPolicy": "perhaps", "purgeAfter": "3 days"}
    )
    with environment.core():
        environment.claim(storage_class=wrong)
        said = condition(environment.wait_reason("InvalidParameters"))["message"]
        assert "deletionPolicy" in said
        assert "purgeAfter" in said
        assert not environment.calls
        environment.delete_claim()
    environment.delete_class(wrong)


def test_a_released_bucket_awaits_its_purge_without_blocking_other_objects(
    environment: MemoryEnvironment, waiting: str, clock: Clock
) -> None:
    with environment.core(now=clock):
        name, bucket = bind(environment, waiting)
        environment.delete_claim()
        ob = released(environment)
        assert ob["metadata"]["annotations"][PURGE_AT] == "2026-01-04T00:00:00+00:00"
        environment.wait_event("Normal", "Released")
        assert environment.admin.find(environment.path("secrets")) is None
        assert environment.admin.find(environment.path("configmaps")) is None
        assert not environment.store.identities
        clock.time += timedelta(hours=71)
        annotate(environment, environment.ob_path(), "example.com/requeue", "now")
        environment.claim("other")
        environment.wait_bound("other")
        assert bucket.keys() == ["kept.txt"]
        clock.time += timedelta(hours=1)
        annotate(environment, environment.ob_path(), "example.com/requeue", "again")
        environment.admin.wait_gone(environment.ob_path(), timeout=20)
        assert name not in environment.store.buckets
        environment.delete_claim("other")


def test_a_purge_due_during_downtime_is_executed_at_startup(
    environment: MemoryEnvironment, waiting: str, clock: Clock
) -> None:
    with environment.core(now=clock):
        name, _ = bind(environment, waiting)
        environment.delete_claim()
    clock.time += LATER
    with environment.core(now=clock):
        environment.admin.wait_gone(environment.ob_path(), timeout=20)
    assert name not in environment.store.buckets


def test_a_cancelled_purge_retains_the_bucket(environment: MemoryEnvironment, waiting: str, clock: Clock) -> None:
    with environment.core(now=clock):
        name, bucket = bind(environment, waiting)
        environment.delete_claim()
        annotate(environment, environment.ob_path(), PURGE_AT, None)
        environment.admin.wait_for(
            environment.ob_path(), lambda ob: ob is not None and ob["spec"]["reclaimPolicy"] == "Retain"
        )
    clock.time += LATER
    with environment.core(now=clock):
        environment.claim("other")
        environment.wait_bound("other")
        environment.admin.delete(environment.ob_path())
        environment.admin.wait_gone(environment.ob_path(), timeout=20)
        environment.delete_claim("other")
    assert environment.store.buckets[name] is bucket
    assert bucket.keys() == ["kept.txt"]


@pytest.mark.parametrize("called_off", [False, True], ids=["waiting", "called off"])
def test_a_claim_with_the_same_name_and_class_reclaims_the_bucket(
    environment: MemoryEnvironment, waiting: str, clock: Clock, *, called_off: bool
) -> None:
    with environment.core(now=clock):
        name, bucket = bind(environment, waiting)
        first = environment.secret()
        environment.delete_claim()
        if called_off:
            annotate(environment, environment.ob_path(), PURGE_AT, None)
            environment.admin.wait_for(
                environment.ob_path(), lambda ob: ob is not None and ob["spec"]["reclaimPolicy"] == "Retain"
            )
        clock.time += LATER if called_off else timedelta(hours=1)
        claim = environment.claim(storage_class=waiting)
        assert environment.wait_bound()["spec"]["bucketName"] == name
        ob = environment.admin.get(environment.ob_path())
        assert ob["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"] == bucket.tags["objectbucket_claim_uid"]
        assert ob["spec"]["reclaimPolicy"] == "Delete"
        assert PURGE_AT not in ob["metadata"]["annotations"]
        assert ob["status"]["phase"] == "Bound"
        assert bucket.keys() == ["kept.txt"]
        assert environment.secret() != first
        assert len(environment.store.identities) == 1
        environment.wait_event("Normal", "Reclaimed")
        clock.time += LATER
        annotate(environment, environment.ob_path(), "example.com/requeue", "now")
        environment.delete_claim()
        annotate(environment, environment.ob_path(), PURGE_AT, clock.time.isoformat())
        environment.admin.wait_gone(environment.ob_path(), timeout=20)
    assert not environment.store.buckets


def test_a_claim_for_another_bucket_does_not_reclaim_the_released_one(
    environment: MemoryEnvironment, waiting: str, clock: Clock
) -> None:
    with environment.core(now=clock):
        name, bucket = bind(environment, waiting)
        environment.delete_claim()
        for number in range(3):
            environment.claim(storage_class=waiting, spec={"bucketName": f"another-{number}-{name[-12:]}"})
            environment.wait_bound()
            environment.delete_claim()
        environment.claim(storage_class=environment.class_name)
        assert environment.wait_bound()["spec"]["bucketName"] != name
        environment.delete_claim()
        assert bucket.keys() == ["kept.txt"]
        assert len(environment.store.buckets) == 4
    clock.time += LATER
    with environment.core(now=clock):
        environment.until(lambda: not environment.store.buckets)
        environment.admin.wait_gone(environment.ob_path(), timeout=20)


def test_a_released_bucket_cannot_be_reclaimed_by_other_tenants(
    environment: MemoryEnvironment, waiting: str, clock: Clock
) -> None:
    prefix, _, rest = environment.namespace.rpartition("-")
    assert prefix, "the namespace can be taken apart"
    environment.admin.create("/api/v1/namespaces", {"metadata": {"name": prefix}})
    with environment.core(now=clock):
        name, bucket = bind(environment, waiting)
        environment.delete_claim()
        before = released(environment)
        forged = {"bucketName": name, "objectBucketName": before["metadata"]["name"]}
        thief = environment.claim(
            f"{rest}-photos", namespace=prefix, storage_class=waiting, spec=forged, annotations={POLICY: "Purge"}
        )
        environment.wait_reason("BucketExists", f"{rest}-photos", prefix)
        environment.claim("other", storage_class=waiting, spec=forged)
        environment.wait_reason("BucketExists", "other")
        environment.delete_claim("other")
        environment.delete_claim(f"{rest}-photos", namespace=prefix)
        after = released(environment)
        assert after["spec"] == before["spec"]
        assert after["metadata"]["annotations"] == before["metadata"]["annotations"]
        assert bucket.keys() == ["kept.txt"]
        assert bucket.tags["objectbucket_claim_uid"] != thief["metadata"]["uid"]
        environment.claim(storage_class=waiting)
        assert environment.wait_bound()["spec"]["bucketName"] == name
        environment.delete_claim()
        environment.admin.delete(environment.ob_path())
        environment.admin.wait_gone(environment.ob_path(), timeout=20)
    environment.admin.delete(f"/api/v1/namespaces/{prefix}")


@pytest.mark.parametrize("writes", range(1, 9))
def test_a_release_interrupted_at_any_write_ends_with_a_released_bucket(
    environment: MemoryEnvironment, waiting: str, clock: Clock, writes: int
) -> None:
    with environment.core(now=clock):
        _, bucket = bind(environment, waiting)
    check = Mortal(writes)
    environment.delete_claim(wait=False)
    with environment.core(now=clock, check_leadership=check):
        environment.until(lambda: check.died.is_set() or environment.admin.find(environment.claim_path()) is None)
    with environment.core(now=clock):
        ob = released(environment)
        assert ob["metadata"]["annotations"][PURGE_AT] == "2026-01-04T00:00:00+00:00"
        assert bucket.keys() == ["kept.txt"]
        assert not environment.store.identities
        environment.admin.delete(environment.ob_path())
        environment.admin.wait_gone(environment.ob_path(), timeout=20)
    assert not environment.store.buckets


@pytest.mark.parametrize("writes", range(1, 12))
def test_a_reclaim_interrupted_at_any_write_ends_with_the_bucket_reclaimed(
    environment: MemoryEnvironment, waiting: str, clock: Clock, writes: int
) -> None:
    with environment.core(now=clock):
        name, bucket = bind(environment, waiting)
        environment.delete_claim()
    check = Mortal(writes)
    claim = environment.claim(storage_class=waiting)
    with environment.core(now=clock, check_leadership=check):
        environment.until(
            lambda: check.died.is_set() or environment.get_claim().get("status", {}).get("phase") == "Bound"
        )
    clock.time += LATER  # a released bucket is not purged while a claim reclaims it
    with environment.core(now=clock):
        assert environment.wait_bound()["spec"]["bucketName"] == name
        assert bucket.keys() == ["kept.txt"]
        assert bucket.tags["objectbucket_claim_uid"] == claim["metadata"]["uid"]
        assert len(environment.store.identities) == 1
        environment.delete_claim()
        environment.admin.delete(environment.ob_path())
        environment.admin.wait_gone(environment.ob_path(), timeout=20)
    assert not environment.store.buckets


@pytest.mark.parametrize("writes", range(1, 5))
def test_a_purge_interrupted_at_any_write_completes_and_partial_buckets_are_not_reclaimed(
    environment: MemoryEnvironment, waiting: str, clock: Clock, writes: int
) -> None:
    with environment.core(now=clock):
        name, _ = bind(environment, waiting)
        environment.delete_claim()
    clock.time += LATER
    check = Mortal(writes)
    with environment.core(now=clock, check_leadership=check):
        environment.until(lambda: check.died.is_set() or environment.admin.find(environment.ob_path()) is None)
    begun = environment.admin.find(environment.ob_path())
    is_begun = begun is None or "deletionTimestamp" in begun["metadata"]
    environment.claim(storage_class=waiting)
    with environment.core(now=clock):
        got = environment.wait_bound()["spec"]["bucketName"]
        assert (got != name) is is_begun
        environment.until(lambda: list(environment.store.buckets) == [got])
        environment.delete_claim()
        annotate(environment, f"{OBC}/objectbuckets/{_object_bucket(environment)}", PURGE_AT, clock.time.isoformat())
        environment.until(lambda: not environment.store.buckets)


def _object_bucket(environment: MemoryEnvironment) -> str:
    every = environment.admin.items(f"{OBC}/objectbuckets")
    of = {"namespace": environment.namespace, "name": "photos"}
    return next(str(ob["metadata"]["name"]) for ob in every if of.items() <= ob["spec"]["claimRef"].items())


def test_a_large_purge_reports_progress_and_yields_to_other_claims(environment: MemoryEnvironment) -> None:
    environment.batch = 100
    seen = threading.Event()
    with environment.core(workers=1):
        _, bucket = bind(environment, environment.class_name)
        for number in range(350):
            bucket.write(f"{number}", b"x")

        def pause(verb: Any, _request: Any) -> None:
            if verb == "delete" and len(bucket.keys()) < 200:
                assert seen.wait(20)

        environment.hook = pause
        environment.delete_claim(wait=False)
        claim = environment.wait_reason("Purging")
        environment.wait_claim(lambda c: "200 objects removed so far" in condition(c).get("message", ""))
        assert condition(claim)["status"] == "False"
        environment.wait_event("Normal", "Purging")
        seen.set()
        environment.admin.wait_gone(environment.claim_path(), timeout=20)
    assert not environment.store.buckets
    assert environment.events().count(("Normal", "Purging")) == 1


def test_other_claims_are_served_between_the_steps_of_a_purge(environment: MemoryEnvironment) -> None:
    environment.batch = 1
    with environment.core(workers=1):
        _, bucket = bind(environment, environment.class_name)
        for number in range(2000):
            bucket.write(f"{number}", b"x")
        environment.delete_claim(wait=False)
        environment.wait_reason("Purging")
        environment.claim("other")
        environment.wait_bound("other")
        assert bucket.keys(), "it was served while the purge went on"
        annotate(environment, environment.claim_path(), POLICY, "IfEmpty")
        environment.wait_reason("BucketNotEmpty")
        left = len(bucket.keys())
        assert 0 < left < 2001
        environment.batch = None
    with environment.core():
        annotate(environment, environment.claim_path(), POLICY, "Purge")
        environment.admin.wait_gone(environment.claim_path(), timeout=20)
        environment.delete_claim("other")


def test_an_object_bucket_without_a_claim_reports_why_it_is_kept(environment: MemoryEnvironment) -> None:
    protecting = environment.make_class(f"{environment.class_name}-p", parameters=PROTECTS)
    with environment.core():
        name, _ = bind(environment, protecting)
    environment.admin.patch(environment.claim_path(), {"metadata": {"finalizers": None}})
    environment.delete_claim()
    environment.admin.delete(environment.ob_path())
    with environment.core():
        ob = environment.admin.wait_for(
            environment.ob_path(), lambda found: condition(found).get("reason") == "BucketNotEmpty"
        )
        assert f"{POLICY}=Purge" in condition(ob)["message"]
        assert name in environment.store.buckets
        annotate(environment, environment.ob_path(), POLICY, "Purge")
        environment.admin.wait_gone(environment.ob_path(), timeout=20)
    assert name not in environment.store.buckets
    environment.delete_class(protecting)
