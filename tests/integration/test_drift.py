"""Drift in the store is found by a cheap look and repaired; credentials that end are replaced in time."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from testkit.cluster.memory_environment import Mortal, condition

if TYPE_CHECKING:
    from collections.abc import Callable

    from testkit.cluster.memory_environment import MemoryEnvironment

SOON = 0.3
HOUR = timedelta(hours=1)


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


class Calls:
    """Notes the verbs that are called, and lets a test wait until one was called some times more."""

    def __init__(self, world: MemoryEnvironment) -> None:
        self._changed = threading.Condition()
        self.verbs: list[str] = []
        world.hook = self._note

    def _note(self, verb: str, _request: Any) -> None:
        with self._changed:
            self.verbs.append(verb)
            self._changed.notify_all()

    def wait(self, verb: str, count: int) -> None:
        with self._changed:
            wanted = self.verbs.count(verb) + count
            assert self._changed.wait_for(lambda: self.verbs.count(verb) >= wanted, timeout=20)


def test_looking_for_drift_costs_one_look_for_each_bound_claim_and_writes_nothing(world: MemoryEnvironment) -> None:
    world.claim()
    with world.core():
        world.wait_bound()
    before = _versions(world)
    calls = Calls(world)
    with world.core(resync_interval=SOON):
        calls.wait("is_intact", 3)
    assert set(calls.verbs) == {"is_intact"}
    assert _versions(world) == before
    world.hook = lambda _verb, _request: None
    with world.core():
        world.delete_claim()


def _remove_user(world: MemoryEnvironment) -> None:
    world.store.identities.clear()


def _remove_permission(world: MemoryEnvironment) -> None:
    next(iter(world.store.identities.values())).grants.clear()


def _bend_address(world: MemoryEnvironment) -> None:
    world.admin.patch(world.ob_path(), {"spec": {"endpoint": {"bucketHost": "evil.invalid", "bucketPort": 1}}})


def _change_quota(world: MemoryEnvironment) -> None:
    next(iter(world.store.buckets.values())).max_objects = 7


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (_remove_user, ["user"]),
        (_remove_permission, ["permission"]),
        (_change_quota, ["quota"]),
        (_bend_address, ["ObjectBucket spec.endpoint.bucketHost", "ObjectBucket spec.endpoint.bucketPort"]),
    ],
)
def test_what_was_changed_behind_our_back_is_repaired_and_named_once_for_each_field(
    world: MemoryEnvironment, harm: Callable[[MemoryEnvironment], None], named: list[str]
) -> None:
    with world.core():
        world.claim(spec={"generateBucketName": "photos", "additionalConfig": {"maxObjects": "5"}})
        world.wait_bound()
        before = world.admin.get(world.ob_path())["spec"]
    calls = Calls(world)
    with world.core(repair_interval=SOON):
        calls.wait("provision", 2)
        assert _repairs(world) == []
        harm(world)
        world.until(lambda: len(_repairs(world)) >= len(named))
        calls.wait("provision", 2)
        assert _repairs(world) == [f"Drift repaired: {one} was modified or removed" for one in named]
        assert world.admin.get(world.ob_path())["spec"] == before
        assert _works(world)
        assert next(iter(world.store.buckets.values())).max_objects == 5
        world.delete_claim()


def test_an_edit_of_the_claim_is_no_drift(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim(spec={"generateBucketName": "photos", "additionalConfig": {"maxObjects": "5"}})
        world.wait_bound()
        world.store.identities.clear()
        world.patch_claim({"spec": {"additionalConfig": {"maxObjects": "6"}}})
        world.until(lambda: next(iter(world.store.buckets.values())).max_objects == 6)
        world.until(lambda: _works(world))
        assert _repairs(world) == []
        world.delete_claim()


def test_a_bucket_that_is_gone_is_said_to_be_lost_until_it_is_back_and_is_never_made_anew(
    world: MemoryEnvironment,
) -> None:
    with world.core(resync_interval=SOON):
        world.claim()
        name = world.wait_bound()["spec"]["bucketName"]
        saved = world.store.buckets.pop(name)
        claim = world.wait_reason("BucketLost")
        assert claim["status"]["phase"] == "Bound"
        assert condition(claim)["status"] == "False"
        world.wait_event("Warning", "BucketLost")
        calls = Calls(world)
        calls.wait("provision", 1)
        assert name not in world.store.buckets
    with world.core():
        calls.wait("is_intact", 1)
        assert condition(world.wait_reason("BucketLost"))["status"] == "False", "also after a restart"
    world.store.buckets[name] = saved
    with world.core(resync_interval=SOON):
        world.wait_bound()
        assert world.events().count(("Warning", "BucketLost")) == 1
        world.store.buckets.clear()
        world.wait_reason("BucketLost")
        world.delete_claim()
        world.claim()
        assert world.wait_bound()["spec"]["bucketName"] != name
        world.delete_claim()


def test_fifty_looks_and_ten_repairs_of_an_untouched_claim_write_nothing_and_say_nothing(
    world: MemoryEnvironment,
) -> None:
    with world.core():
        world.claim(spec={"generateBucketName": "photos", "additionalConfig": {"maxObjects": "5"}})
        world.wait_bound()
    before, said = _versions(world), len(_all_events(world))
    calls, fence = Calls(world), Mortal(100_000)
    with world.core(resync_interval=0.05, check_leadership=fence):
        calls.wait("is_intact", 50)
    with world.core(repair_interval=0.05, check_leadership=fence):
        calls.wait("provision", 10)
    asked = 2 * len(calls.verbs)  # the core asks before each call, and the provisioner before its request
    assert fence.left == 100_000 - asked, "nothing but the store was asked: no write to the API server"
    assert _versions(world) == before
    assert len(_all_events(world)) == said
    with world.core():
        world.delete_claim()


@pytest.mark.parametrize("harm", [_remove_user, _remove_permission])
def test_what_a_look_finds_broken_is_repaired(
    world: MemoryEnvironment, harm: Callable[[MemoryEnvironment], None]
) -> None:
    with world.core(resync_interval=SOON):
        world.claim()
        world.wait_bound()
        harm(world)
        world.until(lambda: _works(world))
        world.delete_claim()


def test_what_one_look_can_not_see_is_repaired_too_only_less_often(world: MemoryEnvironment) -> None:
    with world.core(resync_interval=SOON):
        world.claim(spec={"additionalConfig": {"maxObjects": "5"}, "generateBucketName": "photos"})
        world.wait_bound()
    bucket = next(iter(world.store.buckets.values()))
    bucket.max_objects = None
    calls = Calls(world)
    with world.core(resync_interval=SOON):
        calls.wait("is_intact", 2)
        assert bucket.max_objects is None
    with world.core(repair_interval=SOON):
        world.until(lambda: bucket.max_objects == 5)
        world.delete_claim()


def test_credentials_that_end_are_replaced_when_it_is_time_and_not_before(world: MemoryEnvironment) -> None:
    clock = Clock()
    name = world.make_class("ending-" + world.class_name, parameters={"lifetime": "3600"})
    with world.core(now=clock):
        world.claim(storage_class=name)
        world.wait_bound()
        first = world.secret()
    clock.time += HOUR - timedelta(seconds=1)
    calls = Calls(world)
    with world.core(now=clock, resync_interval=SOON):
        calls.wait("is_intact", 2)
        assert world.secret() == first
        clock.time += timedelta(seconds=1)
        world.until(lambda: world.secret() != first)
        world.until(lambda: _works(world))
        second = world.secret()
        calls.wait("is_intact", 2)
        assert world.secret() == second, "replaced once"
        events = world.admin.items(f"/api/v1/namespaces/{world.namespace}/events")
        assert [event["reason"] for event in events].count("CredentialsRotated") == 1
        world.delete_claim()
    world.delete_class(name)


def test_credentials_that_ended_while_we_were_away_are_replaced_at_the_start(world: MemoryEnvironment) -> None:
    clock = Clock()
    name = world.make_class("ending-" + world.class_name, parameters={"lifetime": "3600"})
    with world.core(now=clock):
        world.claim(storage_class=name)
        world.wait_bound()
        first = world.secret()
    clock.time += 24 * HOUR
    with world.core(now=clock):
        world.until(lambda: world.secret() != first)
        world.delete_claim()
    world.delete_class(name)


@pytest.mark.parametrize("writes", range(1, 8))
def test_when_credentials_end_is_recorded_before_they_can_be_read_whenever_the_core_dies(
    world: MemoryEnvironment, writes: int
) -> None:
    clock = Clock()
    name = world.make_class("ending-" + world.class_name, parameters={"lifetime": "3600"})
    with world.core(now=clock):
        world.claim(storage_class=name)
        world.wait_bound()
        first = world.secret()
    clock.time += 2 * HOUR
    fence = Mortal(writes)
    with world.core(now=clock, check_leadership=fence):
        world.until(lambda: fence.died.is_set() or world.secret() != first)
    recorded = world.admin.get(world.ob_path())["spec"]["additionalState"]["RenewAt"]
    if world.secret() != first:
        assert recorded == (clock.time + HOUR).isoformat()
    with world.core(now=clock):
        world.until(lambda: world.secret() != first and _works(world))
        world.delete_claim()
    world.delete_class(name)


def _all_events(world: MemoryEnvironment) -> list[dict[str, Any]]:
    return world.admin.items(f"/api/v1/namespaces/{world.namespace}/events")


def _repairs(world: MemoryEnvironment) -> list[str]:
    return sorted(event["message"] for event in _all_events(world) if event["reason"] == "DriftRepaired")


def _works(world: MemoryEnvironment) -> bool:
    """Whether what the Secret holds reaches the claim's bucket."""
    bucket = world.admin.get(world.path("configmaps"))["data"]["BUCKET_NAME"]
    held = world.secret()
    return any(
        bucket in world.store.buckets
        and bucket in identity.grants
        and identity.keys.get(held["AWS_ACCESS_KEY_ID"]) == held["AWS_SECRET_ACCESS_KEY"]
        for identity in list(world.store.identities.values())
    )


def _versions(world: MemoryEnvironment) -> list[str]:
    paths = [world.claim_path(), world.ob_path(), world.path("secrets"), world.path("configmaps")]
    return [world.admin.get(path)["metadata"]["resourceVersion"] for path in paths]
