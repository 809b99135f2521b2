"""A bucket that holds something is kept where somebody says so; one that was released can be had back for a while."""

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
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waiting(world: MemoryEnvironment) -> Iterator[str]:
    """A class with a grace period."""
    name = world.make_class(f"{world.class_name}-waits", parameters=WAITS)
    yield name
    world.delete_class(name)


def bind(world: MemoryEnvironment, storage_class: str, **spec: str) -> tuple[str, Bucket]:
    """A claim that is bound, and has written something."""
    world.claim(storage_class=storage_class, spec=spec or {"generateBucketName": "photos"})
    name = world.wait_bound()["spec"]["bucketName"]
    bucket = world.store.buckets[name]
    bucket.write("kept.txt", b"dear")
    return name, bucket


def annotate(world: MemoryEnvironment, path: str, key: str, value: str | None) -> Wire:
    return world.admin.patch(path, {"metadata": {"annotations": {key: value}}})


def released(world: MemoryEnvironment, path: str = "") -> Wire:
    """The ObjectBucket, once its claim has gone and its purge is planned."""
    world.admin.wait_gone(world.claim_path(), timeout=20)
    found = world.admin.get(path or world.ob_path())
    assert found["status"]["phase"] == "Released"
    return found


def test_a_bucket_that_is_not_empty_is_kept_untouched_until_its_author_says_purge(world: MemoryEnvironment) -> None:
    protecting = world.make_class(f"{world.class_name}-p", parameters=PROTECTS)
    with world.core():
        name, bucket = bind(world, protecting)
        before = world.secret()
        world.delete_claim(wait=False)
        claim = world.wait_reason("BucketNotEmpty")
        assert f"{POLICY}=Purge" in condition(claim)["message"]
        assert bucket.keys() == ["kept.txt"]
        assert world.secret() == before
        assert world.store.identities, "its author can empty it"
        annotate(world, world.claim_path(), POLICY, "Purge")
        world.admin.wait_gone(world.claim_path(), timeout=20)
    assert name not in world.store.buckets
    assert not world.store.identities
    world.delete_class(protecting)


def test_an_emptied_bucket_goes_by_itself_though_it_is_protected(world: MemoryEnvironment) -> None:
    with world.core():
        name, bucket = bind(world, world.class_name)
        annotate(world, world.claim_path(), POLICY, "IfEmpty")
        world.delete_claim(wait=False)
        world.wait_reason("BucketNotEmpty")
        bucket.write("kept.txt", None)
        annotate(world, world.claim_path(), "example.com/try-again", "now")
        world.admin.wait_gone(world.claim_path(), timeout=20)
    assert name not in world.store.buckets


def test_where_the_class_forbids_it_only_an_administrator_allows_the_purge(world: MemoryEnvironment) -> None:
    parameters = {**PROTECTS, "purgeByAnnotation": "false"}
    protecting = world.make_class(f"{world.class_name}-p", parameters=parameters)
    with world.core():
        name, bucket = bind(world, protecting)
        annotate(world, world.claim_path(), POLICY, "Purge")
        world.delete_class(protecting)
        world.delete_claim(wait=False)
        claim = world.wait_reason("BucketNotEmpty")
        assert "purgeByAnnotation" in condition(claim)["message"]
        assert bucket.keys() == ["kept.txt"]
        annotate(world, world.ob_path(), POLICY, "Purge")
        world.admin.wait_gone(world.claim_path(), timeout=20)
    assert name not in world.store.buckets


def test_a_class_whose_rules_nobody_can_read_makes_nothing(world: MemoryEnvironment) -> None:
    wrong = world.make_class(f"{world.class_name}-w", parameters={"deletionPolicy": "perhaps", "purgeAfter": "3 days"})
    with world.core():
        world.claim(storage_class=wrong)
        said = condition(world.wait_reason("InvalidParameters"))["message"]
        assert "deletionPolicy" in said
        assert "purgeAfter" in said
        assert not world.calls
        world.delete_claim()
    world.delete_class(wrong)


def test_a_released_bucket_waits_for_its_purge_without_holding_up_anything(
    world: MemoryEnvironment, waiting: str, clock: Clock
) -> None:
    with world.core(now=clock):
        name, bucket = bind(world, waiting)
        world.delete_claim()
        ob = released(world)
        assert ob["metadata"]["annotations"][PURGE_AT] == "2026-01-04T00:00:00+00:00"
        world.wait_event("Normal", "Released")
        assert world.admin.find(world.path("secrets")) is None
        assert world.admin.find(world.path("configmaps")) is None
        assert not world.store.identities
        clock.time += timedelta(hours=71)
        annotate(world, world.ob_path(), "example.com/look", "now")
        world.claim("other")
        world.wait_bound("other")
        assert bucket.keys() == ["kept.txt"]
        clock.time += timedelta(hours=1)
        annotate(world, world.ob_path(), "example.com/look", "again")
        world.admin.wait_gone(world.ob_path(), timeout=20)
        assert name not in world.store.buckets
        world.delete_claim("other")


def test_a_purge_whose_time_came_while_we_were_away_is_carried_out_at_the_start(
    world: MemoryEnvironment, waiting: str, clock: Clock
) -> None:
    with world.core(now=clock):
        name, _ = bind(world, waiting)
        world.delete_claim()
    clock.time += LATER
    with world.core(now=clock):
        world.admin.wait_gone(world.ob_path(), timeout=20)
    assert name not in world.store.buckets


def test_a_purge_that_is_called_off_keeps_the_bucket_for_good(
    world: MemoryEnvironment, waiting: str, clock: Clock
) -> None:
    with world.core(now=clock):
        name, bucket = bind(world, waiting)
        world.delete_claim()
        annotate(world, world.ob_path(), PURGE_AT, None)
        world.admin.wait_for(world.ob_path(), lambda ob: ob is not None and ob["spec"]["reclaimPolicy"] == "Retain")
    clock.time += LATER
    with world.core(now=clock):
        world.claim("other")
        world.wait_bound("other")
        world.admin.delete(world.ob_path())
        world.admin.wait_gone(world.ob_path(), timeout=20)
        world.delete_claim("other")
    assert world.store.buckets[name] is bucket
    assert bucket.keys() == ["kept.txt"]


@pytest.mark.parametrize("called_off", [False, True], ids=["waiting", "called off"])
def test_a_claim_of_the_same_name_and_class_gets_the_bucket_back(
    world: MemoryEnvironment, waiting: str, clock: Clock, *, called_off: bool
) -> None:
    with world.core(now=clock):
        name, bucket = bind(world, waiting)
        first = world.secret()
        world.delete_claim()
        if called_off:
            annotate(world, world.ob_path(), PURGE_AT, None)
            world.admin.wait_for(world.ob_path(), lambda ob: ob is not None and ob["spec"]["reclaimPolicy"] == "Retain")
        clock.time += LATER if called_off else timedelta(hours=1)
        claim = world.claim(storage_class=waiting)
        assert world.wait_bound()["spec"]["bucketName"] == name
        ob = world.admin.get(world.ob_path())
        assert ob["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"] == bucket.stamp["objectbucket_claim_uid"]
        assert ob["spec"]["reclaimPolicy"] == "Delete"
        assert PURGE_AT not in ob["metadata"]["annotations"]
        assert ob["status"]["phase"] == "Bound"
        assert bucket.keys() == ["kept.txt"]
        assert world.secret() != first
        assert len(world.store.identities) == 1
        world.wait_event("Normal", "Reclaimed")
        clock.time += LATER
        annotate(world, world.ob_path(), "example.com/look", "now")
        world.delete_claim()
        annotate(world, world.ob_path(), PURGE_AT, clock.time.isoformat())
        world.admin.wait_gone(world.ob_path(), timeout=20)
    assert not world.store.buckets


def test_a_claim_that_asks_for_another_bucket_leaves_the_released_one_alone(
    world: MemoryEnvironment, waiting: str, clock: Clock
) -> None:
    with world.core(now=clock):
        name, bucket = bind(world, waiting)
        world.delete_claim()
        for number in range(3):
            world.claim(storage_class=waiting, spec={"bucketName": f"another-{number}-{name[-12:]}"})
            world.wait_bound()
            world.delete_claim()
        world.claim(storage_class=world.class_name)
        assert world.wait_bound()["spec"]["bucketName"] != name
        world.delete_claim()
        assert bucket.keys() == ["kept.txt"]
        assert len(world.store.buckets) == 4
    clock.time += LATER
    with world.core(now=clock):
        world.until(lambda: not world.store.buckets)
        world.admin.wait_gone(world.ob_path(), timeout=20)


def test_nobody_else_gets_a_released_bucket_by_naming_it_or_by_a_name_that_looks_alike(
    world: MemoryEnvironment, waiting: str, clock: Clock
) -> None:
    twin, _, rest = world.namespace.rpartition("-")
    assert twin, "the namespace can be taken apart"
    world.admin.create("/api/v1/namespaces", {"metadata": {"name": twin}})
    with world.core(now=clock):
        name, bucket = bind(world, waiting)
        world.delete_claim()
        before = released(world)
        forged = {"bucketName": name, "objectBucketName": before["metadata"]["name"]}
        thief = world.claim(
            f"{rest}-photos", namespace=twin, storage_class=waiting, spec=forged, annotations={POLICY: "Purge"}
        )
        world.wait_reason("BucketExists", f"{rest}-photos", twin)
        world.claim("other", storage_class=waiting, spec=forged)
        world.wait_reason("BucketExists", "other")
        world.delete_claim("other")
        world.delete_claim(f"{rest}-photos", namespace=twin)
        after = released(world)
        assert after["spec"] == before["spec"]
        assert after["metadata"]["annotations"] == before["metadata"]["annotations"]
        assert bucket.keys() == ["kept.txt"]
        assert bucket.stamp["objectbucket_claim_uid"] != thief["metadata"]["uid"]
        world.claim(storage_class=waiting)
        assert world.wait_bound()["spec"]["bucketName"] == name
        world.delete_claim()
        world.admin.delete(world.ob_path())
        world.admin.wait_gone(world.ob_path(), timeout=20)
    world.admin.delete(f"/api/v1/namespaces/{twin}")


@pytest.mark.parametrize("writes", range(1, 9))
def test_a_release_that_dies_anywhere_ends_with_a_bucket_that_waits(
    world: MemoryEnvironment, waiting: str, clock: Clock, writes: int
) -> None:
    with world.core(now=clock):
        _, bucket = bind(world, waiting)
    fence = Mortal(writes)
    world.delete_claim(wait=False)
    with world.core(now=clock, check_leadership=fence):
        world.until(lambda: fence.died.is_set() or world.admin.find(world.claim_path()) is None)
    with world.core(now=clock):
        ob = released(world)
        assert ob["metadata"]["annotations"][PURGE_AT] == "2026-01-04T00:00:00+00:00"
        assert bucket.keys() == ["kept.txt"]
        assert not world.store.identities
        world.admin.delete(world.ob_path())
        world.admin.wait_gone(world.ob_path(), timeout=20)
    assert not world.store.buckets


@pytest.mark.parametrize("writes", range(1, 12))
def test_giving_back_that_dies_anywhere_ends_with_the_bucket_given_back(
    world: MemoryEnvironment, waiting: str, clock: Clock, writes: int
) -> None:
    with world.core(now=clock):
        name, bucket = bind(world, waiting)
        world.delete_claim()
    fence = Mortal(writes)
    claim = world.claim(storage_class=waiting)
    with world.core(now=clock, check_leadership=fence):
        world.until(lambda: fence.died.is_set() or world.get_claim().get("status", {}).get("phase") == "Bound")
    clock.time += LATER  # what waits is not purged while a claim asks for it
    with world.core(now=clock):
        assert world.wait_bound()["spec"]["bucketName"] == name
        assert bucket.keys() == ["kept.txt"]
        assert bucket.stamp["objectbucket_claim_uid"] == claim["metadata"]["uid"]
        assert len(world.store.identities) == 1
        world.delete_claim()
        world.admin.delete(world.ob_path())
        world.admin.wait_gone(world.ob_path(), timeout=20)
    assert not world.store.buckets


@pytest.mark.parametrize("writes", range(1, 5))
def test_a_purge_that_dies_anywhere_is_finished_and_nothing_is_given_back_half_emptied(
    world: MemoryEnvironment, waiting: str, clock: Clock, writes: int
) -> None:
    with world.core(now=clock):
        name, _ = bind(world, waiting)
        world.delete_claim()
    clock.time += LATER
    fence = Mortal(writes)
    with world.core(now=clock, check_leadership=fence):
        world.until(lambda: fence.died.is_set() or world.admin.find(world.ob_path()) is None)
    begun = world.admin.find(world.ob_path())
    is_begun = begun is None or "deletionTimestamp" in begun["metadata"]
    world.claim(storage_class=waiting)
    with world.core(now=clock):
        got = world.wait_bound()["spec"]["bucketName"]
        assert (got != name) is is_begun
        world.until(lambda: list(world.store.buckets) == [got])
        world.delete_claim()
        annotate(world, f"{OBC}/objectbuckets/{_object_bucket(world)}", PURGE_AT, clock.time.isoformat())
        world.until(lambda: not world.store.buckets)


def _object_bucket(world: MemoryEnvironment) -> str:
    every = world.admin.items(f"{OBC}/objectbuckets")
    of = {"namespace": world.namespace, "name": "photos"}
    return next(str(ob["metadata"]["name"]) for ob in every if of.items() <= ob["spec"]["claimRef"].items())


def test_a_large_purge_shows_how_far_it_is_and_lets_others_have_their_turn(world: MemoryEnvironment) -> None:
    world.batch = 100
    seen = threading.Event()
    with world.core(workers=1):
        _, bucket = bind(world, world.class_name)
        for number in range(350):
            bucket.write(f"{number}", b"x")

        def pause(verb: Any, _request: Any) -> None:
            if verb == "delete" and len(bucket.keys()) < 200:
                assert seen.wait(20)

        world.hook = pause
        world.delete_claim(wait=False)
        claim = world.wait_reason("Purging")
        world.wait_claim(lambda c: "200 objects removed so far" in condition(c).get("message", ""))
        assert condition(claim)["status"] == "False"
        world.wait_event("Normal", "Purging")
        seen.set()
        world.admin.wait_gone(world.claim_path(), timeout=20)
    assert not world.store.buckets
    assert world.events().count(("Normal", "Purging")) == 1


def test_other_claims_are_served_between_the_steps_of_a_purge(world: MemoryEnvironment) -> None:
    world.batch = 1
    with world.core(workers=1):
        _, bucket = bind(world, world.class_name)
        for number in range(2000):
            bucket.write(f"{number}", b"x")
        world.delete_claim(wait=False)
        world.wait_reason("Purging")
        world.claim("other")
        world.wait_bound("other")
        assert bucket.keys(), "it was served while the purge went on"
        annotate(world, world.claim_path(), POLICY, "IfEmpty")
        world.wait_reason("BucketNotEmpty")
        left = len(bucket.keys())
        assert 0 < left < 2001
        world.batch = None
    with world.core():
        annotate(world, world.claim_path(), POLICY, "Purge")
        world.admin.wait_gone(world.claim_path(), timeout=20)
        world.delete_claim("other")


def test_an_object_bucket_without_a_claim_says_itself_why_it_stays(world: MemoryEnvironment) -> None:
    protecting = world.make_class(f"{world.class_name}-p", parameters=PROTECTS)
    with world.core():
        name, _ = bind(world, protecting)
    world.admin.patch(world.claim_path(), {"metadata": {"finalizers": None}})
    world.delete_claim()
    world.admin.delete(world.ob_path())
    with world.core():
        ob = world.admin.wait_for(world.ob_path(), lambda found: condition(found).get("reason") == "BucketNotEmpty")
        assert f"{POLICY}=Purge" in condition(ob)["message"]
        assert name in world.store.buckets
        annotate(world, world.ob_path(), POLICY, "Purge")
        world.admin.wait_gone(world.ob_path(), timeout=20)
    assert name not in world.store.buckets
    world.delete_class(protecting)
