"""The real API server accepts everything that the chart renders, under the strictest Pod Security Standard."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from testkit.chart.environment import BACKENDS, CHART, ROOT, Manifest, Refused, Tools, a_release, one, pod_of, render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.admin import KubeAdmin

SETS = sorted((CHART / "ci").glob("*.yaml"))
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
DRY_RUN = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts")


@pytest.fixture(scope="module", autouse=True)
def namespaces(kube_admin: KubeAdmin) -> Iterator[None]:
    """Those that the sets of values, and the folders, name; and the definitions of the Prometheus operator."""
    names = ["rendered", "shop", "blog", "vault", *(f"libbucket-{backend}" for backend in BACKENDS)]
    for name in names:
        kube_admin.apply(a_namespace(name, RESTRICTED if name == "rendered" else {}))
    definitions = kube_admin.apply_yaml(Path(__file__).parent / "operator_crds.yaml")
    for definition in definitions:
        kube_admin._wait_usable(definition["metadata"]["name"])
    yield
    for definition in definitions:
        kube_admin.delete(kube_admin.path_of(definition))
    for name in names:
        kube_admin.delete(f"/api/v1/namespaces/{name}")


def a_namespace(name: str, labels: dict[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def dry_run_of_pod(kube_admin: KubeAdmin, deployment: Manifest) -> None:
    """Asks for a pod as the Deployment would make it, in a restricted namespace."""
    kube_admin.create("/api/v1/namespaces/rendered/pods?dryRun=All", pod_of(deployment, "rendered"))


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_the_api_server_accepts_every_manifest_with_strict_validation(path: Path, tools: Tools) -> None:
    manifests = render(path, namespace="rendered")

    answer = tools.kubectl(*DRY_RUN, "--filename", "-", manifests=manifests)

    assert len(answer.splitlines()) == len(manifests)


@pytest.mark.parametrize("break_it", ["replica", "no-name"])
def test_the_api_server_rejects_an_invalid_manifest(break_it: str, tools: Tools) -> None:
    manifests = copy.deepcopy(render(a_release(), namespace="rendered"))
    deployment = one(manifests, "Deployment")
    if break_it == "replica":
        deployment["spec"]["replica"] = 2
    else:
        del deployment["spec"]["template"]["spec"]["containers"][0]["name"]

    with pytest.raises(Refused, match=r"replica|name"):
        tools.kubectl(*DRY_RUN, "--filename", "-", manifests=manifests)


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_a_restricted_namespace_admits_the_pod(path: Path, kube_admin: KubeAdmin) -> None:
    dry_run_of_pod(kube_admin, one(render(path, namespace="rendered"), "Deployment"))


@pytest.mark.parametrize(
    "loose",
    [
        {"securityContext": {"allowPrivilegeEscalation": True}},
        {"securityContext": {"capabilities": {"drop": [], "add": ["NET_ADMIN"]}}},
        {"podSecurityContext": {"runAsUser": 0, "runAsNonRoot": False}},
        {"podSecurityContext": {"seccompProfile": {"type": "Unconfined"}}},
    ],
    ids=["escalation", "capabilities", "root", "seccomp"],
)
def test_a_restricted_namespace_rejects_a_privileged_pod(loose: dict[str, Any], kube_admin: KubeAdmin) -> None:
    deployment = one(render(a_release(**loose), namespace="rendered"), "Deployment")

    with pytest.raises(ApiException) as refused:
        dry_run_of_pod(kube_admin, deployment)

    assert 'violates PodSecurity "restricted:latest"' in json.loads(refused.value.body or "")["message"]


def test_the_root_file_system_is_read_only() -> None:
    # No Pod Security Standard asks for this one.
    (container,) = one(render(a_release()), "Deployment")["spec"]["template"]["spec"]["containers"]

    assert container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_folder_for_kustomize_can_be_applied(backend: str, tools: Tools) -> None:
    answer = tools.kubectl(*DRY_RUN, "--kustomize", str(ROOT / "deploy" / backend))

    assert f"deployment.apps/{backend}-provisioner" in answer
    assert "customresourcedefinition" not in answer


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_namespace_of_a_folder_admits_its_pod(backend: str, kube_admin: KubeAdmin, tools: Tools) -> None:
    manifests = list(yaml.safe_load_all(tools.kubectl("kustomize", str(ROOT / "deploy" / backend))))

    assert one(manifests, "Namespace")["metadata"]["labels"] == RESTRICTED
    dry_run_of_pod(kube_admin, one(manifests, "Deployment"))


def test_an_overlay_says_where_the_images_are(tools: Tools, tmp_path: Path) -> None:
    # Kustomize takes resources by relative paths only.
    (tmp_path / "base").symlink_to(ROOT / "deploy" / "minio")
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        "resources: [../base]\n"
        "images:\n"
        "  - {name: registry.example.com/buckets/minio-provisioner, newName: registry.internal/minio, newTag: 9.9.9}\n"
    )

    assert "image: registry.internal/minio:9.9.9" in tools.kubectl("kustomize", str(overlay))


def test_an_overlay_for_an_older_cluster_leaves_the_admission_policy_out(tools: Tools, tmp_path: Path) -> None:
    page = (ROOT / "deploy/README.md").read_text()
    (text,) = [block for block in re.findall(r"(?ms)^```yaml\n(.*?)^```$", page) if "AdmissionPolicy" in block]
    (tmp_path / "base").symlink_to(ROOT / "deploy" / "minio")
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(text.replace("../deploy/minio", "../base"))

    left = list(yaml.safe_load_all(tools.kubectl("kustomize", str(overlay))))
    whole = list(yaml.safe_load_all(tools.kubectl("kustomize", str(ROOT / "deploy/minio"))))

    assert {each["kind"] for each in whole} - {each["kind"] for each in left} == {
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
    assert len(whole) == len(left) + 2
