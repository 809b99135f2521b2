"""Without list and watch on Secrets (`--watch-secrets=false`): the drift check finds what a watch would report."""

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
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


def _edit_secret(environment: MemoryEnvironment) -> None:
    environment.admin.patch(environment.path("secrets"), {"stringData": {"AWS_SECRET_ACCESS_KEY": "edited"}})


def _delete_secret(environment: MemoryEnvironment) -> None:
    environment.admin.delete(environment.path("secrets"))


def _works(environment: MemoryEnvironment) -> bool:
    held = (environment.admin.find(environment.path("secrets")) or {}).get("data", {})
    if set(held) != {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}:
        return False
    keys = environment.secret()
    live = next(iter(environment.store.identities.values())).keys
    return live.get(keys["AWS_ACCESS_KEY_ID"]) == keys["AWS_SECRET_ACCESS_KEY"]


@pytest.mark.parametrize("harm", [_edit_secret, _delete_secret])
def test_a_secret_that_drifted_is_restored_by_the_drift_check(
    environment: MemoryEnvironment, harm: Callable[[MemoryEnvironment], None]
) -> None:
    with environment.core(watch_secrets=False, resync_interval=SOON):
        environment.claim()
        environment.wait_bound()
        assert _works(environment)

        harm(environment)

        environment.until(lambda: _works(environment))
        environment.delete_claim()


def test_a_restart_calls_no_store_and_takes_a_bound_claim_for_intact(environment: MemoryEnvironment) -> None:
    with environment.core(watch_secrets=False):
        environment.claim()
        bound = environment.wait_bound()
    with environment.core(watch_secrets=False):
        environment.claim("other")
        environment.wait_bound("other")  # which was queued after the first one

        assert environment.calls == {"provision": 1}
        assert environment.get_claim()["status"] == bound["status"]
        environment.delete_claim("other")
        environment.delete_claim()


@pytest.mark.parametrize("restart", [False, True])
def test_the_secret_of_a_deleted_claim_is_removed_with_the_go_library_s_finalizer(
    environment: MemoryEnvironment, restart: bool
) -> None:
    with environment.core(watch_secrets=False):
        environment.claim()
        environment.wait_bound()
        environment.admin.patch(environment.path("secrets"), {"metadata": {"finalizers": [FINALIZER]}})
        if not restart:
            environment.delete_claim()
    if restart:
        with environment.core(watch_secrets=False):
            environment.delete_claim()

    assert environment.admin.find(environment.path("secrets")) is None


def test_a_foreign_secret_is_left_alone_when_the_claim_is_deleted(environment: MemoryEnvironment) -> None:
    with environment.core(watch_secrets=False):
        environment.claim()
        environment.wait_bound()
        _delete_secret(environment)
        foreign = environment.admin.create(
            f"/api/v1/namespaces/{environment.namespace}/secrets",
            {"metadata": {"name": "photos"}, "stringData": {"a": "b"}},
        )
        environment.delete_claim()

    assert environment.admin.get(environment.path("secrets"))["metadata"]["uid"] == foreign["metadata"]["uid"]


def _edit_claim(environment: MemoryEnvironment, _clock: Clock) -> None:
    environment.patch_claim({"spec": {"additionalConfig": {"maxObjects": "6"}}})


def _edit_bucket(environment: MemoryEnvironment, _clock: Clock) -> None:
    environment.admin.patch(environment.ob_path(), {"spec": {"endpoint": {"bucketHost": "evil.invalid"}}})


def _end_credentials(environment: MemoryEnvironment, clock: Clock) -> None:
    clock.time += timedelta(hours=2)
    environment.patch_claim({"metadata": {"annotations": {"example.com/touched": "yes"}}})


@pytest.mark.parametrize("event", [_edit_claim, _edit_bucket, _end_credentials])
def test_a_missing_secret_is_restored_by_a_store_call_made_for_another_reason(
    environment: MemoryEnvironment, event: Callable[[MemoryEnvironment, Clock], None]
) -> None:
    clock = Clock()
    name = environment.make_class("ending-" + environment.class_name, parameters={"lifetime": "3600"})
    with environment.core(watch_secrets=False, now=clock):
        environment.claim(storage_class=name)
        environment.wait_bound()
        _delete_secret(environment)

        event(environment, clock)

        environment.until(lambda: _works(environment))
        environment.wait_bound()
        assert environment.calls == {"provision": 2}
        environment.delete_claim()
    environment.delete_class(name)


def test_a_claim_that_lost_its_secret_is_not_ready_again_only_because_of_a_restart(
    environment: MemoryEnvironment,
) -> None:
    def fail(verb: Any, _request: Any) -> None:
        if verb == "provision":
            raise StoreUnavailable("the store is down")

    with environment.core(watch_secrets=False):
        environment.claim()
        environment.wait_bound()
    environment.hook = fail
    with environment.core(watch_secrets=False, resync_interval=SOON):
        _delete_secret(environment)
        environment.wait_claim(lambda claim: condition(claim)["status"] == "False")
    environment.hook = lambda _verb, _request: None

    with environment.core(watch_secrets=False):
        environment.until(lambda: _works(environment))
        environment.wait_bound()
        environment.delete_claim()
