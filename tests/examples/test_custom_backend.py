"""The complete provisioner in one file: started as its page says, on a real API server, over a real directory."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from libbucket.testing.provisioner_process import provisioner_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import ControlPlane

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom-backend"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
OBC = "/apis/objectbucket.io/v1alpha1"


@pytest.fixture
def storage_class(control_plane: ControlPlane, tmp_path: Path) -> Iterator[str]:
    """The example's class, with its root in a fresh directory."""
    body = yaml.safe_load((EXAMPLE / "class.yaml").read_text())
    name = body["metadata"]["name"] = f"directory-{secrets.token_hex(4)}"
    body["parameters"]["root"] = str(tmp_path)
    control_plane.admin.create(CLASSES, body)
    yield name
    control_plane.admin.delete(f"{CLASSES}/{name}")


def test_the_example_makes_a_directory_for_a_claim_and_removes_it_with_the_claim(
    control_plane: ControlPlane, namespace: str, storage_class: str, tmp_path: Path
) -> None:
    admin, claims = control_plane.admin, f"{OBC}/namespaces/{namespace}/objectbucketclaims"
    body = yaml.safe_load((EXAMPLE / "claim.yaml").read_text())
    body["metadata"]["namespace"] = namespace
    body["spec"]["storageClassName"] = storage_class
    command = [sys.executable, str(EXAMPLE / "provisioner.py")]
    with provisioner_process(command, kubeconfig=control_plane.kubeconfig, name="custom-backend") as provisioner:
        admin.create(claims, body)
        bound = admin.wait_for(
            f"{claims}/photos", lambda c: c is not None and c.get("status", {}).get("phase") == "Bound"
        )
        assert bound is not None
        bucket = tmp_path / bound["spec"]["bucketName"]
        assert bucket.is_dir()
        (bucket / "object").write_text("hello")

        admin.delete(f"{claims}/photos")
        admin.wait_gone(f"{claims}/photos")
        assert not bucket.exists()
        assert admin.find(f"/api/v1/namespaces/{namespace}/secrets/photos") is None
        provisioner.stop()
