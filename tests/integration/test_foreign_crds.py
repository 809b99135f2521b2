"""The claim lifecycle under CRDs that other programs install: some fields are pruned, and nothing is lost."""

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
        environment = MemoryEnvironment(control_plane, namespace)
        environment.make_class()
        with environment.core(features=features):
            environment.claim()
            bound = environment.wait_claim(lambda claim: claim["status"]["phase"] == "Bound")
            assert bool(bound["status"].get("conditions")) is features.conditions
            bucket = environment.store.buckets[bound["spec"]["bucketName"]]
            environment.patch_claim({"spec": {"additionalConfig": {"maxObjects": "7"}}})
            environment.admin.wait_for(environment.ob_path(), lambda ob: '"maxObjects":"7"' in str(ob))
            assert bucket.max_objects == 7
        with environment.core(features=features):
            environment.claim("other")
            environment.wait_claim(lambda claim: claim["status"]["phase"] == "Bound", "other")
            assert environment.calls == {"provision": 1}
            environment.delete_claim()
            environment.delete_claim("other")
        assert not environment.store.buckets
        assert not environment.store.identities
        environment.delete_class()
