"""Claims with a user-delegation SAS leave the cluster at once, and with them their namespace. The core, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from azure_provisioner.client import Network
from azure_provisioner.provisioner import AzureProvisioner
from libbucket._api import PURGE_AT
from testkit.api_server import bucket_path, claim_path, secret_path
from testkit.azure.fake_storage.model import Container
from testkit.azure.in_memory_world import DELEGATED, World, world_in_memory
from testkit.core import Core

if TYPE_CHECKING:
    from collections.abc import Iterator

OB: Final = bucket_path("obc-shop-photos")
DAY: Final = 24 * 3600


@pytest.fixture
def world() -> Iterator[World]:
    with world_in_memory() as made:
        yield made


def core_of(world: World) -> Core:
    """Of a cluster in which claims of `DELEGATED` classes are served, by Azure's clock."""
    made = Core(
        lambda services: AzureProvisioner(services, Network(wait_seconds=0, clock=world.clock)),
        secrets=lambda *_: world.secret,
    )
    made.clock.now = world.now
    return made


def a_deleted_claim(core: Core, world: World, reclaim_policy: str, **parameters: str) -> str:
    given = {**world.backend.parameters, **DELEGATED, **parameters}
    core.create_class("delegated", parameters=given, reclaim_policy=reclaim_policy)
    bucket = {} if "bucketName" in parameters else {"bucketName": "photos-of-shop"}
    key = core.create_claim("photos", storage_class="delegated", **bucket)
    core.reconcile(key, times=2)
    assert core.phase(key) == "Bound", core.condition(key)
    core.delete_claim(key)
    return key


@pytest.mark.parametrize(
    ("reclaim_policy", "parameters"),
    [
        ("Retain", {}),
        ("Retain", {"expiry": "7d"}),
        ("Delete", {"bucketName": "shared"}),
        ("Delete", {"purgeAfter": "72h"}),
        ("Delete", {}),
    ],
    ids=["retained", "retained for a week", "existing", "purged later", "deleted"],
)
def test_a_revoked_delegated_claim_blocks_no_namespace(
    world: World, reclaim_policy: str, parameters: dict[str, str]
) -> None:
    world.storage.containers["shared"] = Container(metadata={}, modified=world.now)
    core = core_of(world)
    key = a_deleted_claim(core, world, reclaim_policy, **parameters)
    core.reconcile(key)
    assert core.find(claim_path(key)) is None
    assert core.find(secret_path(key)) is None
    is_deleted = reclaim_policy == "Delete" and not parameters
    left = core.find(OB)
    assert (left is None) == is_deleted
    if left is not None:
        said = [event["message"] for event in core.client.events]
        assert any("can't be revoked singly: the last one of this claim ends at" in each for each in said)
        assert (PURGE_AT in left["metadata"].get("annotations", {})) == ("purgeAfter" in parameters)


def test_what_it_leaves_goes_when_its_sas_has_ended(world: World) -> None:
    core = core_of(world)
    key = a_deleted_claim(core, world, "Retain")
    core.reconcile(key)
    for seconds, is_left in ((DAY - 60, True), (120, False)):
        world.pass_time(seconds)
        core.clock.now = world.now
        core.reconcile(key)
        assert (core.find(OB) is not None) == is_left
    assert "photos-of-shop" in world.storage.containers
