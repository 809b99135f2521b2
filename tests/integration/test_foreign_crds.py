"""A claim lives its life under the CRDs that other programs install: less is kept, and nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket._kube.discovery import CrdFeatures
from testkit.cluster.crd_generations import crds, generation
from testkit.cluster.memory_environment import MemoryEnvironment

if TYPE_CHECKING:
    from pathlib import Path

    from libbucket.testing.controlplane import ControlPlane


@pytest.mark.parametrize(
    ("file", "without_status", "features"),
    [
        ("rook.yaml", False, CrdFeatures()),
        ("noobaa.yaml", False, CrdFeatures(conditions=False, claim_ref=False, bucket_conditions=False)),
        ("rook.yaml", True, CrdFeatures(claim_status=False, bucket_status=False)),
    ],
)
def test_a_claim_is_bound_edited_restarted_and_released(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, file: str, without_status: bool, features: CrdFeatures
) -> None:
    with crds(control_plane.admin, generation(tmp_path, file, without_status=without_status)):
        world = MemoryEnvironment(control_plane, namespace)
        world.make_class()
        with world.core(features=features):
            world.claim()
            bound = world.wait_claim(lambda claim: claim["status"]["phase"] == "Bound")
            assert bool(bound["status"].get("conditions")) is features.conditions
            bucket = world.store.buckets[bound["spec"]["bucketName"]]
            world.patch_claim({"spec": {"additionalConfig": {"maxObjects": "7"}}})
            world.admin.wait_for(world.ob_path(), lambda ob: '"maxObjects":"7"' in str(ob))
            assert bucket.max_objects == 7
        with world.core(features=features):
            world.claim("other")
            world.wait_claim(lambda claim: claim["status"]["phase"] == "Bound", "other")
            assert world.calls == {"provision": 1}
            world.delete_claim()
            world.delete_claim("other")
        assert not world.store.buckets
        assert not world.store.identities
        world.delete_class()
