"""Without list and watch on Secrets (`--watch-secrets=false`): the drift check finds what a watch would have told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from libbucket.errors import StoreUnavailable
from testkit.cluster.memory_environment import condition

if TYPE_CHECKING:
    from collections.abc import Callable

    from testkit.cluster.memory_environment import MemoryEnvironment

SOON = 0.3
FINALIZER = "objectbucket.io/finalizer"


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


def _edit_secret(world: MemoryEnvironment) -> None:
    world.admin.patch(world.path("secrets"), {"stringData": {"AWS_SECRET_ACCESS_KEY": "edited"}})


def _delete_secret(world: MemoryEnvironment) -> None:
    world.admin.delete(world.path("secrets"))


def _works(world: MemoryEnvironment) -> bool:
    held = (world.admin.find(world.path("secrets")) or {}).get("data", {})
    if set(held) != {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}:
        return False
    keys = world.secret()
    live = next(iter(world.store.identities.values())).keys
    return live.get(keys["AWS_ACCESS_KEY_ID"]) == keys["AWS_SECRET_ACCESS_KEY"]


@pytest.mark.parametrize("harm", [_edit_secret, _delete_secret])
def test_a_secret_that_drifted_is_restored_by_the_drift_check(
    world: MemoryEnvironment, harm: Callable[[MemoryEnvironment], None]
) -> None:
    with world.core(watch_secrets=False, resync_interval=SOON):
        world.claim()
        world.wait_bound()
        assert _works(world)

        harm(world)

        world.until(lambda: _works(world))
        world.delete_claim()


def test_a_restart_calls_no_store_and_takes_a_bound_claim_for_intact(world: MemoryEnvironment) -> None:
    with world.core(watch_secrets=False):
        world.claim()
        bound = world.wait_bound()
    with world.core(watch_secrets=False):
        world.claim("other")
        world.wait_bound("other")  # which was queued after the first one

        assert world.calls == {"provision": 1}
        assert world.get_claim()["status"] == bound["status"]
        world.delete_claim("other")
        world.delete_claim()


@pytest.mark.parametrize("restart", [False, True])
def test_the_secret_of_a_deleted_claim_is_removed_with_the_go_library_s_finalizer(
    world: MemoryEnvironment, restart: bool
) -> None:
    with world.core(watch_secrets=False):
        world.claim()
        world.wait_bound()
        world.admin.patch(world.path("secrets"), {"metadata": {"finalizers": [FINALIZER]}})
        if not restart:
            world.delete_claim()
    if restart:
        with world.core(watch_secrets=False):
            world.delete_claim()

    assert world.admin.find(world.path("secrets")) is None


def test_a_foreign_secret_is_left_alone_when_the_claim_is_deleted(world: MemoryEnvironment) -> None:
    with world.core(watch_secrets=False):
        world.claim()
        world.wait_bound()
        _delete_secret(world)
        foreign = world.admin.create(
            f"/api/v1/namespaces/{world.namespace}/secrets", {"metadata": {"name": "photos"}, "stringData": {"a": "b"}}
        )
        world.delete_claim()

    assert world.admin.get(world.path("secrets"))["metadata"]["uid"] == foreign["metadata"]["uid"]


def _edit_claim(world: MemoryEnvironment, _clock: Clock) -> None:
    world.patch_claim({"spec": {"additionalConfig": {"maxObjects": "6"}}})


def _edit_bucket(world: MemoryEnvironment, _clock: Clock) -> None:
    world.admin.patch(world.ob_path(), {"spec": {"endpoint": {"bucketHost": "evil.invalid"}}})


def _end_credentials(world: MemoryEnvironment, clock: Clock) -> None:
    clock.time += timedelta(hours=2)
    world.patch_claim({"metadata": {"annotations": {"example.com/touched": "yes"}}})


@pytest.mark.parametrize("event", [_edit_claim, _edit_bucket, _end_credentials])
def test_a_missing_secret_is_written_again_by_the_one_call_that_something_else_asks_for(
    world: MemoryEnvironment, event: Callable[[MemoryEnvironment, Clock], None]
) -> None:
    clock = Clock()
    name = world.make_class("ending-" + world.class_name, parameters={"lifetime": "3600"})
    with world.core(watch_secrets=False, now=clock):
        world.claim(storage_class=name)
        world.wait_bound()
        _delete_secret(world)

        event(world, clock)

        world.until(lambda: _works(world))
        world.wait_bound()
        assert world.calls == {"provision": 2}
        world.delete_claim()
    world.delete_class(name)


def test_a_claim_that_lost_its_secret_is_not_ready_again_only_because_of_a_restart(world: MemoryEnvironment) -> None:
    def fail(verb: Any, _request: Any) -> None:
        if verb == "provision":
            raise StoreUnavailable("the store is down")

    with world.core(watch_secrets=False):
        world.claim()
        world.wait_bound()
    world.hook = fail
    with world.core(watch_secrets=False, resync_interval=SOON):
        _delete_secret(world)
        world.wait_claim(lambda claim: condition(claim)["status"] == "False")
    world.hook = lambda _verb, _request: None

    with world.core(watch_secrets=False):
        world.until(lambda: _works(world))
        world.wait_bound()
        world.delete_claim()
