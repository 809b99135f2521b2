"""Drift in the store is found by the drift check and repaired; expiring credentials are rotated in time."""

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
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


class Calls:
    """Records the verbs that are called, and waits for further calls of one."""

    def __init__(self, environment: MemoryEnvironment) -> None:
        self._changed = threading.Condition()
        self.verbs: list[str] = []
        environment.hook = self._note

    def _note(self, verb: str, _request: Any) -> None:
        with self._changed:
            self.verbs.append(verb)
            self._changed.notify_all()

    def wait(self, verb: str, count: int) -> None:
        with self._changed:
            wanted = self.verbs.count(verb) + count
            assert self._changed.wait_for(lambda: self.verbs.count(verb) >= wanted, timeout=20)


def test_a_drift_check_costs_one_store_call_per_bound_claim_and_no_writes(
    environment: MemoryEnvironment,
) -> None:
    environment.claim()
    with environment.core():
        environment.wait_bound()
    before = _versions(environment)
    calls = Calls(environment)
    with environment.core(resync_interval=SOON):
        calls.wait("is_intact", 3)
    assert set(calls.verbs) == {"is_intact"}
    assert _versions(environment) == before
    environment.hook = lambda _verb, _request: None
    with environment.core():
        environment.delete_claim()


def _remove_user(environment: MemoryEnvironment) -> None:
    environment.store.identities.clear()


def _remove_permission(environment: MemoryEnvironment) -> None:
    next(iter(environment.store.identities.values())).grants.clear()


def _bend_address(environment: MemoryEnvironment) -> None:
    environment.admin.patch(
        environment.ob_path(), {"spec": {"endpoint": {"bucketHost": "evil.invalid", "bucketPort": 1}}}
    )


def _change_quota(environment: MemoryEnvironment) -> None:
    next(iter(environment.store.buckets.values())).max_objects = 7


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (_remove_user, ["user"]),
        (_remove_permission, ["permission"]),
        (_change_quota, ["quota"]),
        (_bend_address, ["ObjectBucket spec.endpoint.bucketHost", "ObjectBucket spec.endpoint.bucketPort"]),
    ],
)
def test_out_of_band_changes_are_repaired_and_reported_once_per_field(
    environment: MemoryEnvironment, harm: Callable[[MemoryEnvironment], None], named: list[str]
) -> None:
    with environment.core():
        environment.claim(spec={"generateBucketName": "photos", "additionalConfig": {"maxObjects": "5"}})
        environment.wait_bound()
        before = environment.admin.get(environment.ob_path())["spec"]
    calls = Calls(environment)
    with environment.core(repair_interval=SOON):
        calls.wait("provision", 2)
        assert _repairs(environment) == []
        harm(environment)
        environment.until(lambda: len(_repairs(environment)) >= len(named))
        calls.wait("provision", 2)
        assert _repairs(environment) == [f"Drift repaired: {one} was modified or removed" for one in named]
        assert environment.admin.get(environment.ob_path())["spec"] == before
        assert _works(environment)
        assert next(iter(environment.store.buckets.values())).max_objects == 5
        environment.delete_claim()


def test_an_edit_of_the_claim_is_no_drift(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim(spec={"generateBucketName": "photos", "additionalConfig": {"maxObjects": "5"}})
        environment.wait_bound()
        environment.store.identities.clear()
        environment.patch_claim({"spec": {"additionalConfig": {"maxObjects": "6"}}})
        environment.until(lambda: next(iter(environment.store.buckets.values())).max_objects == 6)
        environment.until(lambda: _works(environment))
        assert _repairs(environment) == []
        environment.delete_claim()


def test_a_missing_bucket_is_reported_as_lost_and_never_recreated(
    environment: MemoryEnvironment,
) -> None:
    with environment.core(resync_interval=SOON):
        environment.claim()
        name = environment.wait_bound()["spec"]["bucketName"]
        saved = environment.store.buckets.pop(name)
        claim = environment.wait_reason("BucketLost")
        assert claim["status"]["phase"] == "Bound"
        assert condition(claim)["status"] == "False"
        environment.wait_event("Warning", "BucketLost")
        calls = Calls(environment)
        calls.wait("provision", 1)
        assert name not in environment.store.buckets
    with environment.core():
        calls.wait("is_intact", 1)
        assert condition(environment.wait_reason("BucketLost"))["status"] == "False", "also after a restart"
    environment.store.buckets[name] = saved
    with environment.core(resync_interval=SOON):
        environment.wait_bound()
        assert environment.events().count(("Warning", "BucketLost")) == 1
        environment.store.buckets.clear()
        environment.wait_reason("BucketLost")
        environment.delete_claim()
        environment.claim()
        assert environment.wait_bound()["spec"]["bucketName"] != name
        environment.delete_claim()


def test_drift_checks_and_full_reconciliations_of_an_unchanged_claim_write_nothing(
    environment: MemoryEnvironment,
) -> None:
    with environment.core():
        environment.claim(spec={"generateBucketName": "photos", "additionalConfig": {"maxObjects": "5"}})
        environment.wait_bound()
    before, said = _versions(environment), len(_all_events(environment))
    calls, check = Calls(environment), Mortal(100_000)
    with environment.core(resync_interval=0.05, check_leadership=check):
        calls.wait("is_intact", 50)
    with environment.core(repair_interval=0.05, check_leadership=check):
        calls.wait("provision", 10)
    asked = 2 * len(calls.verbs)  # the core asks before each call, and the provisioner before its request
    assert check.left == 100_000 - asked, "nothing but the store was asked: no write to the API server"
    assert _versions(environment) == before
    assert len(_all_events(environment)) == said
    with environment.core():
        environment.delete_claim()


@pytest.mark.parametrize("harm", [_remove_user, _remove_permission])
def test_drift_found_by_the_drift_check_is_repaired(
    environment: MemoryEnvironment, harm: Callable[[MemoryEnvironment], None]
) -> None:
    with environment.core(resync_interval=SOON):
        environment.claim()
        environment.wait_bound()
        harm(environment)
        environment.until(lambda: _works(environment))
        environment.delete_claim()


def test_drift_invisible_to_the_drift_check_is_repaired_by_the_full_reconciliation(
    environment: MemoryEnvironment,
) -> None:
    with environment.core(resync_interval=SOON):
        environment.claim(spec={"additionalConfig": {"maxObjects": "5"}, "generateBucketName": "photos"})
        environment.wait_bound()
    bucket = next(iter(environment.store.buckets.values()))
    bucket.max_objects = None
    calls = Calls(environment)
    with environment.core(resync_interval=SOON):
        calls.wait("is_intact", 2)
        assert bucket.max_objects is None
    with environment.core(repair_interval=SOON):
        environment.until(lambda: bucket.max_objects == 5)
        environment.delete_claim()


def test_expiring_credentials_are_rotated_when_due_and_not_before(environment: MemoryEnvironment) -> None:
    clock = Clock()
    name = environment.make_class("ending-" + environment.class_name, parameters={"lifetime": "3600"})
    with environment.core(now=clock):
        environment.claim(storage_class=name)
        environment.wait_bound()
        first = environment.secret()
    clock.time += HOUR - timedelta(seconds=1)
    calls = Calls(environment)
    with environment.core(now=clock, resync_interval=SOON):
        calls.wait("is_intact", 2)
        assert environment.secret() == first
        clock.time += timedelta(seconds=1)
        environment.until(lambda: environment.secret() != first)
        environment.until(lambda: _works(environment))
        second = environment.secret()
        calls.wait("is_intact", 2)
        assert environment.secret() == second, "replaced once"
        events = environment.admin.items(f"/api/v1/namespaces/{environment.namespace}/events")
        assert [event["reason"] for event in events].count("CredentialsRotated") == 1
        environment.delete_claim()
    environment.delete_class(name)


def test_credentials_that_expired_during_downtime_are_rotated_at_startup(environment: MemoryEnvironment) -> None:
    clock = Clock()
    name = environment.make_class("ending-" + environment.class_name, parameters={"lifetime": "3600"})
    with environment.core(now=clock):
        environment.claim(storage_class=name)
        environment.wait_bound()
        first = environment.secret()
    clock.time += 24 * HOUR
    with environment.core(now=clock):
        environment.until(lambda: environment.secret() != first)
        environment.delete_claim()
    environment.delete_class(name)


@pytest.mark.parametrize("writes", range(1, 8))
def test_expiry_is_recorded_before_credentials_are_published_despite_crashes(
    environment: MemoryEnvironment, writes: int
) -> None:
    clock = Clock()
    name = environment.make_class("ending-" + environment.class_name, parameters={"lifetime": "3600"})
    with environment.core(now=clock):
        environment.claim(storage_class=name)
        environment.wait_bound()
        first = environment.secret()
    clock.time += 2 * HOUR
    check = Mortal(writes)
    with environment.core(now=clock, check_leadership=check):
        environment.until(lambda: check.died.is_set() or environment.secret() != first)
    recorded = environment.admin.get(environment.ob_path())["spec"]["additionalState"]["RenewAt"]
    if environment.secret() != first:
        assert recorded == (clock.time + HOUR).isoformat()
    with environment.core(now=clock):
        environment.until(lambda: environment.secret() != first and _works(environment))
        environment.delete_claim()
    environment.delete_class(name)


def _all_events(environment: MemoryEnvironment) -> list[dict[str, Any]]:
    return environment.admin.items(f"/api/v1/namespaces/{environment.namespace}/events")


def _repairs(environment: MemoryEnvironment) -> list[str]:
    return sorted(event["message"] for event in _all_events(environment) if event["reason"] == "DriftRepaired")


def _works(environment: MemoryEnvironment) -> bool:
    """Whether what the Secret holds reaches the claim's bucket."""
    bucket = environment.admin.get(environment.path("configmaps"))["data"]["BUCKET_NAME"]
    held = environment.secret()
    return any(
        bucket in environment.store.buckets
        and bucket in identity.grants
        and identity.keys.get(held["AWS_ACCESS_KEY_ID"]) == held["AWS_SECRET_ACCESS_KEY"]
        for identity in list(environment.store.identities.values())
    )


def _versions(environment: MemoryEnvironment) -> list[str]:
    paths = [
        environment.claim_path(),
        environment.ob_path(),
        environment.path("secrets"),
        environment.path("configmaps"),
    ]
    return [environment.admin.get(path)["metadata"]["resourceVersion"] for path in paths]
