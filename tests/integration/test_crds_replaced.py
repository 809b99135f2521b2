"""Somebody's chart replaces the CRDs under a running provisioner: it goes on, and nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testkit.cluster.crd_generations import generation, replace_crds
from testkit.cluster.memory_environment import condition
from testkit.repository import CRDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testkit.cluster.memory_environment import MemoryEnvironment


@pytest.fixture
def restored(world: MemoryEnvironment) -> Iterator[None]:
    """Our own CRDs again, whatever the test did."""
    yield
    replace_crds(world.admin, CRDS)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("file", "without_status"), [("rook.yaml", False), ("noobaa.yaml", False), ("rook.yaml", True)]
)
def test_claims_are_bound_edited_and_released_while_the_crds_are_replaced_and_put_back(
    world: MemoryEnvironment, tmp_path: Path, file: str, *, without_status: bool
) -> None:
    with world.core(crd_interval=0.5):
        world.claim("before")
        world.wait_bound("before")
        world.claim("going")
        world.wait_bound("going")
        replace_crds(world.admin, generation(tmp_path, file, without_status=without_status))
        world.claim("during")
        world.wait_claim(lambda claim: claim["status"]["phase"] == "Bound", "during")
        bucket = world.store.buckets[world.get_claim("before")["spec"]["bucketName"]]
        world.patch_claim({"spec": {"additionalConfig": {"maxObjects": "7"}}}, "before")
        world.until(lambda: bucket.max_objects == 7)
        world.delete_claim("going")
        assert len(world.store.buckets) == 2
        assert world.admin.find(world.ob_path("going")) is None

        replace_crds(world.admin, CRDS)
        world.wait_bound("during")
        world.claim("after")
        world.wait_bound("after")
        for name in ("before", "during", "after"):
            assert condition(world.get_claim(name))["reason"] == "Bound"
            assert world.admin.get(world.ob_path(name))["status"]["phase"] == "Bound"
            world.delete_claim(name)
    assert not world.store.buckets
    assert not world.store.identities
