"""Requests to the API server for a claim that serves, and is reconciled in full or checked. No read is made twice.

What a new claim and a deletion cost is counted by the API server itself, in the integration tests.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from libbucket._reconcile.model.outcome import Result
from libbucket._reconcile.model.snapshot import Recheck
from libbucket.testing.memory import MemoryProvisioner
from testkit.api_server import claim_path, class_path, config_map_path, secret_path
from testkit.core import Core

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket.provisioner import Services

KEY = "shop/photos"
EDITS = {
    secret_path(KEY): {"data": {"AWS_SECRET_ACCESS_KEY": "eA=="}},
    config_map_path(KEY): {"data": {"BUCKET_NAME": "x"}},
}


def bound(on_call: Callable[[], None] = lambda: None) -> Core:
    """A claim that is Bound; `on_call` is called with each call to the store from then on."""
    calls: list[Callable[[], None]] = []

    def hook(_verb: object, _request: object) -> None:
        for call in calls:
            call()

    def made(services: Services) -> MemoryProvisioner:
        return MemoryProvisioner(services, hook=hook)

    core = Core(made)
    core.create_claim("photos")
    core.reconcile(KEY, times=2)
    core.client.requests.clear()
    calls.append(on_call)
    return core


def upgrade(core: Core) -> None:
    """The same caches under a provisioner of another version."""
    core.reconciler._observer._identity = replace(core.reconciler._observer._identity, version="2")


def data_of(core: Core, path: str) -> dict[str, str]:
    found = core.find(path)
    assert found is not None
    data: dict[str, str] = found["data"]
    return data


def test_a_new_version_reads_the_credentials_once_and_records_itself() -> None:
    core = bound()
    upgrade(core)
    assert core.reconcile(KEY).result == Result.BOUND
    assert core.client.requests == ["GET secrets shop/photos", "PATCH objectbuckets obc-shop-photos"]
    core.client.requests.clear()
    assert core.reconcile(KEY).result == Result.SETTLED
    assert core.client.requests == []


@pytest.mark.parametrize("recheck", [Recheck.DRIFT_CHECK, Recheck.FULL])
def test_a_check_reads_secret_and_config_map_once(recheck: Recheck) -> None:
    core = bound()
    assert core.reconcile(KEY, recheck=recheck).result == Result.BOUND
    assert core.client.requests == ["GET secrets shop/photos", "GET configmaps shop/photos"]


@pytest.mark.parametrize("is_delivered", [True, False], ids=["delivered", "not delivered"])
@pytest.mark.parametrize("path", EDITS, ids=["Secret", "ConfigMap"])
@pytest.mark.parametrize("is_edit", [True, False], ids=["edited", "removed"])
def test_what_is_edited_or_removed_during_a_call_of_a_new_version_is_repaired(
    path: str, is_edit: bool, is_delivered: bool
) -> None:
    def during_the_call() -> None:
        if core.find(path) == before:
            core.request("PATCH", path, EDITS[path]) if is_edit else core.request("DELETE", path)
            if is_delivered:
                core.sync()

    core = bound(during_the_call)
    before, config = core.find(path), data_of(core, config_map_path(KEY))
    upgrade(core)
    core.reconcile(KEY, times=4)
    assert core.find(path) != before
    assert core.phase(KEY) == "Bound"
    assert data_of(core, config_map_path(KEY)) == config
    assert opens(core)


def opens(core: Core) -> bool:
    """Whether what the Secret holds is a key of the claim's identity."""
    held = {key: base64.b64decode(value).decode() for key, value in data_of(core, secret_path(KEY)).items()}
    (identity,) = core.store.identities.values()
    return bool(identity.keys == {held["AWS_ACCESS_KEY_ID"]: held["AWS_SECRET_ACCESS_KEY"]})


def test_another_endpoint_of_a_new_version_is_written_to_the_config_map() -> None:
    core = bound()
    upgrade(core)
    core.patch("/apis/storage.k8s.io/v1/storageclasses/buckets", {"parameters": {"host": "other.invalid"}})
    core.reconcile(KEY, times=2)
    assert data_of(core, config_map_path(KEY))["BUCKET_HOST"] == "other.invalid"


def test_other_keys_of_a_new_version_are_written_to_the_secret() -> None:
    core = bound()
    before = data_of(core, secret_path(KEY))
    for identity in core.store.identities.values():
        identity.keys.clear()
    upgrade(core)
    core.reconcile(KEY, times=2)
    assert data_of(core, secret_path(KEY)) != before
    assert opens(core)


@pytest.mark.parametrize("storage_class", ["theirs", "gone"])
@pytest.mark.parametrize("deleted", [False, True], ids=["bound", "being deleted"])
def test_no_request_is_sent_for_a_claim_of_another_provisioner(storage_class: str, deleted: bool) -> None:
    core = Core()
    core.create_class("theirs", provisioner="other.example.com/bucket")
    key = core.create_claim("photos", storage_class=storage_class)
    core.request("PATCH", claim_path(key), {"metadata": {"finalizers": ["objectbucket.io/finalizer"]}})
    core.request("PATCH", f"{claim_path(key)}/status", {"status": {"phase": "Bound"}})
    if deleted:
        core.request("DELETE", claim_path(key))
    core.sync()
    core.client.requests.clear()
    assert core.reconcile(key).result == Result.IGNORED
    assert core.client.requests == []


def test_the_secret_of_a_claim_that_lost_its_class_is_read() -> None:
    """The control case: it is known as ours by its ObjectBucket."""
    core = bound()
    core.request("DELETE", class_path("buckets"))
    core.request("PATCH", secret_path(KEY), EDITS[secret_path(KEY)])
    core.sync()
    core.client.requests.clear()
    core.reconcile(KEY)
    assert f"GET secrets {KEY}" in core.client.requests
