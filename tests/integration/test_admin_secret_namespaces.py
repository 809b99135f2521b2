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
def elsewhere(environment: MemoryEnvironment) -> Iterator[str]:
    """A namespace with an administrator's Secret, in which no claim is."""
    name = f"ops-{environment.namespace}"
    environment.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
    secret = {"metadata": {"name": "admin"}, "stringData": {ADMIN_KEY: "it works"}}
    environment.admin.create(f"/api/v1/namespaces/{name}/secrets", secret)
    yield name
    environment.admin.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def storage_class(environment: MemoryEnvironment, elsewhere: str) -> Iterator[str]:
    """A class that names that Secret."""
    parameters = {"secretName": "admin", "secretNamespace": elsewhere}
    name = environment.make_class("named-" + environment.class_name, parameters=parameters)
    yield name
    environment.delete_class(name)


def test_a_class_that_names_another_namespace_is_refused_before_its_secret_is_read(
    environment: MemoryEnvironment, storage_class: str, elsewhere: str
) -> None:
    # A Secret that is missing would be said to be, if it were read.
    environment.admin.delete(f"/api/v1/namespaces/{elsewhere}/secrets/admin")
    with environment.core(admin_secret_namespaces=("vault", "ops")):
        environment.claim(storage_class=storage_class)
        said = condition(environment.wait_reason("InvalidParameters"))["message"]
        assert not environment.store.identities
        environment.delete_claim()

    assert f"secretNamespace must be one of vault, ops, not '{elsewhere}'" in said
    assert "--admin-secret-namespace" in said


@pytest.mark.parametrize("is_limited", [True, False])
def test_a_class_that_names_an_allowed_namespace_is_served(
    environment: MemoryEnvironment, storage_class: str, elsewhere: str, is_limited: bool
) -> None:
    with environment.core(admin_secret_namespaces=("vault", elsewhere) if is_limited else ()):
        environment.claim(storage_class=storage_class)
        environment.wait_bound()
        environment.delete_claim()


def test_a_claim_that_was_bound_before_the_limit_keeps_serving(
    environment: MemoryEnvironment, storage_class: str
) -> None:
    with environment.core():
        environment.claim(storage_class=storage_class)
        environment.wait_bound()
    with environment.core(admin_secret_namespaces=("vault",), repair_interval=0.3):
        claim = environment.wait_reason("InvalidParameters")

        assert claim["status"]["phase"] == "Bound"
        assert condition(claim)["status"] == "True"
    with environment.core():
        environment.delete_claim()
