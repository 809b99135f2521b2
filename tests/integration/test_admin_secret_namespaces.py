"""`--admin-secret-namespace`: which Secrets a StorageClass may name, where RBAC lets the provisioner read every one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket.testing.memory import ADMIN_KEY
from testkit.cluster.memory_environment import condition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.cluster.memory_environment import MemoryEnvironment


@pytest.fixture
def elsewhere(world: MemoryEnvironment) -> Iterator[str]:
    """A namespace with an administrator's Secret, in which no claim is."""
    name = f"ops-{world.namespace}"
    world.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
    secret = {"metadata": {"name": "admin"}, "stringData": {ADMIN_KEY: "it works"}}
    world.admin.create(f"/api/v1/namespaces/{name}/secrets", secret)
    yield name
    world.admin.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def storage_class(world: MemoryEnvironment, elsewhere: str) -> Iterator[str]:
    """A class that names that Secret."""
    parameters = {"secretName": "admin", "secretNamespace": elsewhere}
    name = world.make_class("named-" + world.class_name, parameters=parameters)
    yield name
    world.delete_class(name)


def test_a_class_that_names_another_namespace_is_refused_before_its_secret_is_read(
    world: MemoryEnvironment, storage_class: str, elsewhere: str
) -> None:
    # A Secret that is missing would be said to be, if it were read.
    world.admin.delete(f"/api/v1/namespaces/{elsewhere}/secrets/admin")
    with world.core(admin_secret_namespaces=("vault", "ops")):
        world.claim(storage_class=storage_class)
        said = condition(world.wait_reason("InvalidParameters"))["message"]
        assert not world.store.identities
        world.delete_claim()

    assert f"secretNamespace must be one of vault, ops, not '{elsewhere}'" in said
    assert "--admin-secret-namespace" in said


@pytest.mark.parametrize("is_limited", [True, False])
def test_a_class_that_names_an_allowed_namespace_is_served(
    world: MemoryEnvironment, storage_class: str, elsewhere: str, is_limited: bool
) -> None:
    with world.core(admin_secret_namespaces=("vault", elsewhere) if is_limited else ()):
        world.claim(storage_class=storage_class)
        world.wait_bound()
        world.delete_claim()


def test_a_claim_that_was_bound_before_the_limit_keeps_serving(world: MemoryEnvironment, storage_class: str) -> None:
    with world.core():
        world.claim(storage_class=storage_class)
        world.wait_bound()
    with world.core(admin_secret_namespaces=("vault",), repair_interval=0.3):
        claim = world.wait_reason("InvalidParameters")

        assert claim["status"]["phase"] == "Bound"
        assert condition(claim)["status"] == "True"
    with world.core():
        world.delete_claim()
