"""The example for Garage: the conformance suite on a fake, and its manifests and commands on a real API server."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from base64 import b64decode
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import pytest
import yaml

from libbucket.testing.binaries import kubectl_binary
from libbucket.testing.conformance import Ability, Backend, Capabilities, Conformance
from libbucket.testing.provisioner_process import provisioner_process
from testkit.garage.backend import GarageBackend, an_application, parameters_for
from testkit.garage.fake.server import fake_garage
from testkit.garage.server import TOKEN

from .conftest import ROOT, commands

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from libbucket.testing.controlplane import ControlPlane
    from testkit.garage.server import GarageServer

FOLDER = ROOT / "examples" / "s3-compatible"


@pytest.fixture(scope="module")
def garage() -> Iterator[GarageServer]:
    with fake_garage() as running:
        yield running


class FakeGarageBackend(GarageBackend):
    """The fake has less than the server, which `tests/stores` runs."""

    capabilities: ClassVar[Capabilities] = replace(
        GarageBackend.capabilities,
        cannot={**GarageBackend.capabilities.cannot, Ability.PRESIGNED: "the fake verifies signatures of headers only"},
    )


class TestGarage(Conformance):
    @pytest.fixture
    def backend(self, garage: GarageServer) -> Backend:
        return FakeGarageBackend(garage)


@pytest.fixture
def workplace(garage: GarageServer, control_plane: ControlPlane, tmp_path: Path) -> Iterator[Path]:
    """The example's folder, whose class names the Garage of this test."""
    for name in ("class.yaml", "claim.yaml"):
        body = yaml.safe_load((FOLDER / name).read_text())
        if "parameters" in body:
            body["parameters"] = {**body["parameters"], **parameters_for(garage)}
        (tmp_path / name).write_text(yaml.safe_dump(body))
    control_plane.admin.create("/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": "garage"}})
    yield tmp_path
    control_plane.admin.delete("/apis/storage.k8s.io/v1/storageclasses/garage")
    control_plane.admin.delete("/api/v1/namespaces/garage")


def enter(line: str, folder: Path, kubeconfig: Path) -> None:
    """Runs a line of the README as its reader would."""
    _, *arguments = shlex.split(line.replace("change-me", TOKEN))
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    subprocess.run([kubectl_binary(), *arguments], cwd=folder, env=environment, check=True, timeout=120)


def test_the_readme_leads_to_a_bucket_that_its_application_can_use(
    garage: GarageServer, control_plane: ControlPlane, workplace: Path
) -> None:
    admin, kubeconfig = control_plane.admin, control_plane.kubeconfig
    lines = [line for line in commands(FOLDER / "README.md", "kubectl") if "crds" not in line]
    command = [sys.executable, "-m", "garage_provisioner"]
    search = os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])
    with provisioner_process(command, kubeconfig=kubeconfig, environment={"PYTHONPATH": search}) as provisioner:
        for line in lines:
            enter(line, workplace, kubeconfig)
        data = admin.get("/api/v1/namespaces/default/configmaps/photos")["data"]
        held = admin.get("/api/v1/namespaces/default/secrets/photos")["data"]
        keys = {name: b64decode(value).decode() for name, value in held.items()}
        application = an_application(garage, keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
        application.put(data["BUCKET_NAME"], "hello", b"hello")
        assert data["BUCKET_ENDPOINT"] == garage.s3_url
        assert garage.call("GET", "GetBucketInfo", globalAlias=data["BUCKET_NAME"])["quotas"]["maxSize"] == 10 * 2**30

        claim = "/apis/objectbucket.io/v1alpha1/namespaces/default/objectbucketclaims/photos"
        admin.delete(claim)
        admin.wait_gone(claim)
        assert garage.call("GET", "GetBucketInfo", globalAlias=data["BUCKET_NAME"]) is None
        provisioner.stop()
