"""The examples of the first release run unchanged: what was written against libbucket 0.1 keeps working.

The files in `first_release` are as they were then, with the names of that time, and are never edited. If one of them
fails, the change to libbucket is incompatible: keep the earlier name or behaviour, or raise the major version.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from libbucket import BucketExists, Provisioner, SecretStr, Services
from libbucket.testing import builders
from libbucket.testing.provisioner_process import provisioner_process

from .conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from libbucket.testing.controlplane import ControlPlane

FOLDER = ROOT / "tests" / "examples" / "first_release"
OBC = "/apis/objectbucket.io/v1alpha1"


def loaded(name: str) -> dict[str, Any]:
    """The names of a file, which is run as a module."""
    made: dict[str, Any] = {"__name__": name}
    exec(compile((FOLDER / f"{name}.txt").read_text(), name, "exec"), made)
    return made


def read_secret(namespace: str, name: str) -> Mapping[str, SecretStr]:
    assert (namespace, name) == ("storage", "admin")
    return {"SHELF_TOKEN": SecretStr("token")}


@pytest.fixture(params=["directory", "shelf"])
def example(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Provisioner, dict[str, str]]:
    """The provisioner of an example, and parameters of a class for it."""
    made = loaded(request.param)
    services = Services(read_secret=read_secret)
    if request.param == "directory":
        return made["DirectoryProvisioner"](services), {"root": str(tmp_path)}
    made["Shelf"].create(str(tmp_path / "shelf"), "token")
    secret = {"secretName": "admin", "secretNamespace": "storage"}
    return made["ShelfProvisioner"](services), {"path": str(tmp_path / "shelf"), **secret}


def test_the_verbs_of_the_first_release_bind_and_delete(example: tuple[Provisioner, dict[str, str]]) -> None:
    provisioner, parameters = example
    request = builders.options(parameters=parameters)
    answer = provisioner.provision(request)
    assert answer.connection.authentication is not None
    assert provisioner.provision(builders.again(request, answer)).connection == answer.connection

    other = builders.options(parameters=parameters, bucket_name=request.bucket_name)
    with pytest.raises(BucketExists):
        provisioner.provision(other)
    guest = provisioner.grant(other)
    provisioner.revoke(builders.recorded(guest, other))
    for _ in range(2):
        provisioner.delete(builders.recorded(answer, request))
    provisioner.provision(other)


def test_the_program_of_the_first_release_serves_a_claim(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    admin, program, root = control_plane.admin, tmp_path / "provisioner.py", tmp_path / "root"
    program.write_text((FOLDER / "directory.txt").read_text())
    root.mkdir()
    storage_class = builders.a_class(
        name="first-release", provisioner="directory.example/bucket", parameters={"root": str(root)}
    )
    claim = builders.a_claim(namespace=namespace, storage_class="first-release")
    path = f"{OBC}/namespaces/{namespace}/objectbucketclaims/photos"
    with provisioner_process([sys.executable, program], kubeconfig=control_plane.kubeconfig) as provisioner:
        admin.apply(storage_class)
        admin.apply(claim)
        admin.wait_for(path, lambda found: found is not None and found.get("status", {}).get("phase") == "Bound")
        assert len([each for each in root.iterdir() if not each.name.startswith(".")]) == 1
        admin.delete(path)
        admin.wait_gone(path)
        assert [each for each in root.iterdir() if not each.name.startswith(".")] == []
        provisioner.stop()
    admin.delete("/apis/storage.k8s.io/v1/storageclasses/first-release")
