"""Containers with a name of Azure's own that a class names: granted, checked for drift, and revoked. In memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from libbucket import BucketNotFound, InvalidParameters, NotReady, QuotaExceeded, StoreRefused
from libbucket.testing.application import Refused
from testkit.azure.fake_storage.model import Container, Policy
from testkit.azure.in_memory_world import DELEGATED, World, world_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS: Final[dict[str, dict[str, str]]] = {
    "policy": {},
    "policy without listing": {"permissions": "rw"},
    "policy without reading": {"permissions": "lw"},
    "delegated": DELEGATED,
}


@pytest.fixture
def world() -> Iterator[World]:
    with world_in_memory() as made:
        yield made


@pytest.mark.parametrize("given", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("name", ["$web", "$root", "photos"])
def test_a_claim_on_it_is_bound_and_has_not_drifted(world: World, name: str, given: dict[str, str]) -> None:
    world.storage.containers[name] = Container(metadata={}, modified=world.now)
    bound = world.bind(world.request(name, **given), greenfield=False)
    world.requests.clear()
    assert world.provisioner.is_intact(bound.again())
    assert len(world.requests) == 1
    assert world.bind(bound.again(), greenfield=False).credentials == bound.credentials


@pytest.mark.parametrize("name", ["$web", "$root"])
def test_a_policy_on_it_that_is_gone_is_found_and_revoked(world: World, name: str) -> None:
    world.storage.containers[name] = Container(metadata={}, modified=world.now)
    bound = world.bind(world.request(name), greenfield=False)
    policies = dict(world.storage.containers[name].policies)
    world.storage.containers[name].policies.clear()
    assert not world.provisioner.is_intact(bound.again())
    world.storage.containers[name].policies.update(policies)
    with pytest.raises(NotReady, match="30 seconds"):
        world.provisioner.revoke(bound.record)
    with pytest.raises(Refused):
        world.application(bound).list_keys(name)


@pytest.mark.parametrize("name", ["$logs", "$blobchangefeed"])
def test_a_container_that_azure_writes_itself_is_refused_for_what_it_is(world: World, name: str) -> None:
    world.storage.containers[name] = Container(metadata={}, modified=world.now)
    with pytest.raises(BucketNotFound, match=r"no container that claims can be let into"):
        world.bind(world.request(name), greenfield=False)
    assert world.requests == []


def test_new_containers_of_a_class_with_an_encryption_scope_have_it_and_no_other(world: World) -> None:
    world.storage.scopes = {"tenant-a"}
    bound = world.bind(world.request(encryptionScope="tenant-a"))
    world.application(bound).put("photos", "a", b"1")
    header = {"x-ms-default-encryption-scope": "tenant-a", "x-ms-deny-encryption-scope-override": "true"}
    assert world.storage.containers["photos"].encryption == header
    assert world.provisioner.is_intact(world.bind(bound.again()).again())
    world.bind(world.request("plain"))
    assert world.storage.containers["plain"].encryption == {}


def test_an_encryption_scope_that_the_account_does_not_have_is_named_by_azures_code(world: World) -> None:
    with pytest.raises(StoreRefused, match="EncryptionScopeNotFound"):
        world.bind(world.request(encryptionScope="tenant-a"))
    assert world.storage.containers == {}


@pytest.mark.parametrize("scope", ["ab", "Tenant", "a--b", "-ab", "ab\n", "a" * 64])
def test_what_can_be_no_encryption_scope_is_refused_at_once(world: World, scope: str) -> None:
    with pytest.raises(InvalidParameters, match="encryptionScope is no name"):
        world.bind(world.request(encryptionScope=scope))
    assert world.requests == []


@pytest.mark.parametrize("given", [{}, {"expiry": "30d"}])
def test_five_policies_of_others_are_left_and_named(world: World, given: dict[str, str]) -> None:
    others = {f"manual-{number}": Policy(permission="r", expiry="2040-01-01") for number in range(5)}
    world.storage.containers["full"] = Container(metadata={}, modified=world.now, policies=dict(others))
    with pytest.raises(QuotaExceeded, match="5 stored access policies already, 0 of them of claims"):
        world.bind(world.request("full", **given), greenfield=False)
    assert world.storage.containers["full"].policies == others
    assert world.storage.containers["full"].lease.state(world.now) == "available", "others can edit them at once"
    del world.storage.containers["full"].policies["manual-0"]
    bound = world.bind(world.request("full", **given), greenfield=False)
    assert world.application(bound).list_keys("full") == []
    with pytest.raises(NotReady, match="30 seconds"):
        world.provisioner.revoke(bound.record)
    assert set(world.storage.containers["full"].policies) == set(others) - {"manual-0"}


@pytest.mark.parametrize("name", ["Photos", "a--b", "ph", "$", "$web/x", "photos\n"])
def test_a_name_that_no_container_has_is_not_asked_for(world: World, name: str) -> None:
    with pytest.raises(BucketNotFound):
        world.bind(world.request(name), greenfield=False)
    assert world.requests == []
