"""The page for operators: its permissions are sufficient and its tables complete, verified with a provisioner."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from libbucket.testing import builders
from libbucket.testing.binaries import kubectl_binary
from libbucket.testing.provisioner_process import provisioner_process

from .conftest import ROOT, blocks, commands

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from libbucket.testing.controlplane import ControlPlane
    from libbucket.testing.provisioner_process import ProvisionerProcess

PAGE = ROOT / "docs" / "operating.md"
PROVISIONER = [sys.executable, "-m", "libbucket.testing.memory"]
ACCOUNT = {"kind": "ServiceAccount", "name": "bucket-provisioner", "namespace": "bucket-provisioner"}

Manifest = dict[str, Any]


def manifests(name: str) -> list[Manifest]:
    """The documents of the page's YAML file of that name."""
    (text,) = [block for block in blocks(PAGE, "yaml") if block.startswith(f"# {name}\n")]
    return list(yaml.safe_load_all(text))


def a_binding(role: Manifest) -> Manifest:
    """The binding that the page leaves to its reader."""
    return {
        "apiVersion": role["apiVersion"],
        "kind": f"{role['kind']}Binding",
        "metadata": role["metadata"],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": role["metadata"]["name"]},
        "subjects": [ACCOUNT],
    }


@pytest.fixture
def kubeconfig(request: pytest.FixtureRequest, control_plane: ControlPlane, namespace: str) -> Iterator[Path]:
    """A kubeconfig of an account with the permissions of one section of the page."""
    admin, section = control_plane.admin, request.param
    granted = manifests("rights.yaml")
    if section == "namespaced":
        roles = manifests("rights-namespaced.yaml")
        (own,) = [role for role in roles if role["kind"] == "Role"]
        own["metadata"]["namespace"] = namespace
        granted = [each for each in granted if not each["kind"].startswith("ClusterRole")]
        granted += [*roles, *(a_binding(role) for role in roles)]
    for each in granted:
        admin.apply(each)
    yield control_plane.service_account_kubeconfig("bucket-provisioner", "bucket-provisioner")
    for each in granted:
        if each["kind"] != "Namespace":
            admin.delete(admin.path_of(each))


def bind_and_release(control_plane: ControlPlane, namespace: str) -> None:
    """Waits until a claim is ready, and until it is deleted."""
    admin = control_plane.admin
    storage_class = builders.a_class(name=f"class-of-{namespace}")
    claim = builders.a_claim(namespace=namespace, storage_class=storage_class["metadata"]["name"])
    path = admin.path_of(claim)
    admin.apply(storage_class)
    try:
        admin.apply(claim)
        admin.wait_for(path, lambda found: (found or {}).get("status", {}).get("phase") == "Bound")
        assert admin.find(f"/api/v1/namespaces/{namespace}/secrets/photos") is not None
        admin.delete(path)
        admin.wait_gone(path)
    finally:
        admin.delete(admin.path_of(storage_class))


def metrics_on_the_page() -> set[str]:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `libbucket_")]
    return {re.match(r"\| `(\w+)`", row)[1] for row in rows}  # type: ignore[index]


def families(process: ProvisionerProcess) -> set[str]:
    """Names of the metrics as the process describes them; counters are described without what they end in."""
    return set(re.findall(r"(?m)^# TYPE (libbucket_\w+)", process.metrics()))


@pytest.mark.parametrize("kubeconfig", ["everywhere"], indirect=True)
def test_the_documented_permissions_are_sufficient(
    kubeconfig: Path, control_plane: ControlPlane, namespace: str
) -> None:
    command = [*PROVISIONER, "--leader-elect", "--leader-elect-namespace", "bucket-provisioner"]
    with provisioner_process(command, kubeconfig=kubeconfig) as process:
        bind_and_release(control_plane, namespace)

        shown = {name for name in families(process) if not name.endswith("_created")}
        assert shown == metrics_on_the_page()
        assert "forbidden" not in process.log()


@pytest.mark.parametrize("kubeconfig", ["namespaced"], indirect=True)
def test_the_documented_permissions_for_some_namespaces_are_sufficient(
    kubeconfig: Path, control_plane: ControlPlane, namespace: str
) -> None:
    with provisioner_process([*PROVISIONER, "--namespace", namespace], kubeconfig=kubeconfig) as process:
        bind_and_release(control_plane, namespace)

        assert "forbidden" not in process.log()


def test_every_flag_and_variable_is_in_the_table() -> None:
    shown = subprocess.run([*PROVISIONER, "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    text = re.sub(r"\s+", " ", shown)
    flags = set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]+|-v)\b", text)) - {"-h", "-logtostderr", "-alsologtostderr"}
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| `--?\w", line)]
    mentioned = PAGE.read_text()

    assert [flag for flag in flags if f"`{flag}" not in mentioned and flag != "--v"] == []
    assert [
        name for name in re.findall(r"LIBBUCKET_[A-Z_]+|LIB_BUCKET_[A-Z_]+", text) if name not in "".join(rows)
    ] == []


def enter(line: str, directory: Path, kubeconfig: Path) -> None:
    """Runs a line of the page in a shell, as its reader would."""
    path = f"{kubectl_binary().parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": path}
    subprocess.run(["bash", "-c", line], cwd=directory, env=environment, check=True, timeout=60)


@pytest.fixture(scope="module")
def page_namespace(control_plane: ControlPlane) -> Iterator[str]:
    """The namespace of the page's examples; for all tests, because a deleted one takes some seconds to go."""
    control_plane.admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    yield "shop"
    control_plane.admin.delete("/api/v1/namespaces/shop")


@pytest.fixture
def orphaned(control_plane: ControlPlane, page_namespace: str) -> Iterator[tuple[str, str]]:
    """A claim and its ObjectBucket, named as on the page, whose provisioner is gone for good; gives their paths."""
    admin, held = control_plane.admin, ["objectbucket.io/finalizer"]
    claim = admin.apply(builders.a_claim(namespace=page_namespace, finalizers=held))
    bucket = admin.apply(builders.an_object_bucket(claim=claim, finalizers=held))
    paths = admin.path_of(claim), admin.path_of(bucket)
    yield paths
    for path in paths:
        if admin.find(path) is not None:
            admin.patch(path, {"metadata": {"finalizers": None}})
            admin.delete(path)


def lines_with(word: str) -> list[str]:
    return [line for line in commands(PAGE, "kubectl") if word in line]


def test_the_manual_rescue_removes_a_claim_and_retains_the_bucket(
    control_plane: ControlPlane, orphaned: tuple[str, str], tmp_path: Path
) -> None:
    admin, (claim, bucket) = control_plane.admin, orphaned
    admin.delete(claim)
    assert admin.find(claim) is not None

    for line in [*lines_with("photos-before.yaml"), *lines_with('"op":"remove"'), *lines_with("delete ob/")]:
        enter(line, tmp_path, control_plane.kubeconfig)

    assert (admin.find(claim), admin.find(bucket)) == (None, None)
    kept = yaml.safe_load((tmp_path / "photos-before.yaml").read_text())
    assert kept["spec"]["endpoint"]["bucketName"]


def test_a_bucket_is_kept_by_an_edit_of_its_object_bucket(
    control_plane: ControlPlane, orphaned: tuple[str, str], tmp_path: Path
) -> None:
    for line in lines_with("Retain"):
        enter(line, tmp_path, control_plane.kubeconfig)

    assert control_plane.admin.get(orphaned[1])["spec"]["reclaimPolicy"] == "Retain"


@pytest.mark.parametrize(
    "line",
    [
        "get obc --",
        "describe obc/",
        "try-again=",
        "deletion-policy=Purge",
        "purge-at}",
        "get storageclass",
        "get lease",
    ],
)
def test_documented_kubectl_commands_succeed(
    line: str, control_plane: ControlPlane, orphaned: tuple[str, str], tmp_path: Path
) -> None:
    assert all(control_plane.admin.find(path) for path in orphaned)
    commands = lines_with(line)
    assert commands
    for command in commands:
        enter(command, tmp_path, control_plane.kubeconfig)


def test_every_row_of_bad_input_says_how_it_ends() -> None:
    section = PAGE.read_text().partition("## Bad input")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]

    assert len(rows) >= 25
    assert [row for row in rows if row.count(" | ") != 3 or not row.rstrip("| ").strip()] == []
