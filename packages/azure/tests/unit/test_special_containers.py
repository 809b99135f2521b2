"""Containers with a name of Azure's own that a class names: granted, checked for drift, and revoked. In memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from libbucket import BucketNotFound, NotReady
from libbucket.testing.application import Refused
from testkit.azure.fake_storage.model import Container
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


@pytest.mark.parametrize("name", ["Photos", "a--b", "ph", "$", "$web/x", "photos\n"])
def test_a_name_that_no_container_has_is_not_asked_for(world: World, name: str) -> None:
    with pytest.raises(BucketNotFound):
        world.bind(world.request(name), greenfield=False)
    assert world.requests == []
