"""Another chart replaces the CRDs while a provisioner runs: claims are still reconciled, and nothing is lost."""

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
def restored(environment: MemoryEnvironment) -> Iterator[None]:
    """Reinstalls the bundled CRDs after the test."""
    yield
    replace_crds(environment.admin, CRDS)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("file", "without_status"), [("rook.yaml", False), ("noobaa.yaml", False), ("rook.yaml", True)]
)
def test_claims_are_bound_edited_and_released_while_the_crds_are_replaced_and_put_back(
    environment: MemoryEnvironment, tmp_path: Path, file: str, *, without_status: bool
) -> None:
    with environment.core(crd_interval=0.5):
        environment.claim("before")
        environment.wait_bound("before")
        environment.claim("going")
        environment.wait_bound("going")
        replace_crds(environment.admin, generation(tmp_path, file, without_status=without_status))
        environment.claim("during")
        environment.wait_claim(lambda claim: claim["status"]["phase"] == "Bound", "during")
        bucket = environment.store.buckets[environment.get_claim("before")["spec"]["bucketName"]]
        environment.patch_claim({"spec": {"additionalConfig": {"maxObjects": "7"}}}, "before")
        environment.until(lambda: bucket.max_objects == 7)
        environment.delete_claim("going")
        assert len(environment.store.buckets) == 2
        assert environment.admin.find(environment.ob_path("going")) is None

        replace_crds(environment.admin, CRDS)
        environment.wait_bound("during")
        environment.claim("after")
        environment.wait_bound("after")
        for name in ("before", "during", "after"):
            assert condition(environment.get_claim(name))["reason"] == "Bound"
            assert environment.admin.get(environment.ob_path(name))["status"]["phase"] == "Bound"
            environment.delete_claim(name)
    assert not environment.store.buckets
    assert not environment.store.identities
