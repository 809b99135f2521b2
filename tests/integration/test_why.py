"""`libbucket why` on a real API server, with the core on a store in memory: what an operator reads about each claim."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from click.testing import CliRunner

from libbucket._cli.commands import as_text, main
from libbucket._cli.explain import Explanation
from libbucket._kube.discovery import CrdFeatures
from libbucket._kube.lease import lease_name
from libbucket.errors import BucketNotEmpty
from testkit.cluster.crd_generations import crds, generation
from testkit.cluster.memory_environment import MemoryEnvironment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import ControlPlane

CANARY = "canary-7f3a91"
PAGE = Path(__file__).parents[2] / "docs/command-line.md"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


def why(environment: MemoryEnvironment) -> dict[str, Any]:
    claim = f"{environment.namespace}/photos"
    arguments = ["why", claim, "--kubeconfig", str(environment.cluster.kubeconfig)]
    ran = CliRunner().invoke(main, [*arguments, "--json"])
    text = CliRunner().invoke(main, arguments)
    assert (ran.exit_code, text.exit_code) == (0, 0), ran.output + text.output
    found: dict[str, Any] = json.loads(ran.stdout)
    unwrapped = " ".join(text.stdout.split())
    assert found["state"] in unwrapped
    assert found["next_step"] in unwrapped
    assert CANARY not in ran.output + text.output
    return found


def check_documented(environment: MemoryEnvironment) -> None:
    """The page shows what is printed for the claim, with other names and times."""
    found = why(environment)
    names = {
        environment.namespace: "shop",
        environment.provisioner_name: "minio.io/bucket",
        lease_name(environment.provisioner_name): lease_name("minio.io/bucket"),
    }
    text = json.dumps(found)
    for actual, shown in names.items():
        text = text.replace(actual, shown)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "2026-11-02T09:30:00Z", text)
    printed = as_text(msgspec.json.decode(text, type=Explanation))
    assert f"$ libbucket why shop/photos\n{printed}\n```" in PAGE.read_text(), printed


def a_lease(environment: MemoryEnvironment, provisioner: str, *, holder: str, age: float = 0) -> None:
    renewed = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    environment.admin.create(
        f"/apis/coordination.k8s.io/v1/namespaces/{environment.namespace}/leases",
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": lease_name(provisioner), "namespace": environment.namespace},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed},
        },
    )


def a_secret(environment: MemoryEnvironment) -> None:
    body = {"metadata": {"name": "photos"}, "stringData": {"password": CANARY}}
    environment.admin.create(f"/api/v1/namespaces/{environment.namespace}/secrets", body)


def test_a_bound_claim_waits_for_nothing(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
    found = why(environment)

    assert (found["reason"], found["phase"], found["waits_for"]) == ("Bound", "Bound", "nothing")
    assert found["notes"] == []


def test_no_provisioner(environment: MemoryEnvironment) -> None:
    environment.claim()

    assert why(environment)["reason"] == "NoProvisioner"
    check_documented(environment)


def test_a_provisioner_of_another_name(environment: MemoryEnvironment) -> None:
    a_lease(environment, "other.test/bucket", holder="pod_1")
    environment.claim()

    assert why(environment)["reason"] == "OtherProvisioner"
    check_documented(environment)


def test_standbys_only(environment: MemoryEnvironment) -> None:
    a_lease(environment, environment.provisioner_name, holder="pod_1", age=600)
    pod = {
        "metadata": {"name": "standby", "labels": {"app.kubernetes.io/part-of": "libbucket"}},
        "spec": {"containers": [{"name": "provisioner", "image": "none"}], "automountServiceAccountToken": False},
    }
    environment.admin.create(f"/api/v1/namespaces/{environment.namespace}/pods", pod)
    environment.claim()

    assert why(environment)["reason"] == "NoLeader"
    check_documented(environment)


def test_a_leader_that_has_not_reconciled_yet(environment: MemoryEnvironment) -> None:
    a_lease(environment, environment.provisioner_name, holder="pod_1")
    environment.claim()

    assert why(environment)["reason"] == "NotReconciled"


def test_a_missing_class(environment: MemoryEnvironment) -> None:
    environment.claim(storage_class="none-such")

    assert why(environment)["reason"] == "StorageClassMissing"
    check_documented(environment)


def test_a_secret_of_another(environment: MemoryEnvironment) -> None:
    a_secret(environment)
    with environment.core():
        environment.claim()
        environment.wait_reason("SecretConflict")
    found = why(environment)

    assert (found["reason"], found["turn"]) == ("SecretConflict", "the claim's author")
    assert f"Secret {environment.namespace}/photos exists and does not belong to the claim." in found["notes"]
    check_documented(environment)


def test_a_terminating_namespace(environment: MemoryEnvironment) -> None:
    environment.claim()
    environment.patch_claim({"metadata": {"finalizers": ["example.com/hold"]}})
    environment.admin.delete(f"/api/v1/namespaces/{environment.namespace}")
    environment.admin.wait_for(
        environment.claim_path(), lambda claim: claim is not None and "deletionTimestamp" in claim["metadata"]
    )
    found = why(environment)
    environment.patch_claim({"metadata": {"finalizers": []}})

    assert (found["reason"], found["waits_for"]) == ("Deleting", "the finalizers example.com/hold")
    assert f"Namespace {environment.namespace} is being deleted." in found["notes"]


def test_locked_objects(environment: MemoryEnvironment) -> None:
    def refuse(verb: object, _request: object) -> None:
        if str(verb) == "delete":
            raise BucketNotEmpty("3 objects are locked")

    with environment.core():
        environment.claim()
        environment.wait_bound()
        environment.hook = refuse
        environment.delete_claim(wait=False)
        environment.wait_reason("BucketNotEmpty")
    found = why(environment)

    assert found["reason"] == "BucketNotEmpty"
    assert "is being deleted and reports BucketNotEmpty: " in found["state"]
    check_documented(environment)
    environment.patch_claim({"metadata": {"finalizers": []}})


@pytest.fixture
def dead_webhook(environment: MemoryEnvironment) -> Iterator[str]:
    name = f"{environment.namespace}.example.com"
    webhook = {
        "name": name,
        "clientConfig": {"service": {"namespace": environment.namespace, "name": "none-such"}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["CREATE"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": environment.namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
    }
    environment.admin.create(WEBHOOKS, {"metadata": {"name": name}, "webhooks": [webhook]})
    yield name
    environment.admin.delete(f"{WEBHOOKS}/{name}")


def test_a_dead_webhook(environment: MemoryEnvironment, dead_webhook: str) -> None:
    with environment.core():
        environment.claim()
        environment.wait_reason("RejectedByCluster")
    found = why(environment)

    assert found["reason"] == "RejectedByCluster"
    assert any(dead_webhook in note and "no ready endpoint" in note for note in found["notes"])


def test_an_exhausted_quota(environment: MemoryEnvironment) -> None:
    quotas = f"/api/v1/namespaces/{environment.namespace}/resourcequotas"
    environment.admin.create(quotas, {"metadata": {"name": "small"}, "spec": {"hard": {"secrets": "0"}}})
    environment.admin.patch(f"{quotas}/small/status", {"status": {"hard": {"secrets": "0"}, "used": {"secrets": "0"}}})
    with environment.core():
        environment.claim()
        environment.wait_reason("RejectedByCluster")
    found = why(environment)

    assert "ResourceQuota small (secrets: 0/0) is exhausted." in found["notes"]


def test_crds_of_another_project(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    with crds(control_plane.admin, generation(tmp_path, "noobaa.yaml", without_status=False)):
        environment = MemoryEnvironment(control_plane, namespace)
        environment.make_class()
        a_secret(environment)
        pruned = CrdFeatures(conditions=False, claim_ref=False, bucket_conditions=False)
        with environment.core(features=pruned):
            environment.claim()
            environment.wait_event("Warning", "SecretConflict")
        found = why(environment)
        environment.patch_claim({"metadata": {"finalizers": []}})
        environment.delete_claim()
        environment.delete_class()

    assert found["reason"] == "SecretConflict", "told by the Event alone"
    assert any("conditions of claims are not kept" in note for note in found["notes"])


@pytest.mark.parametrize(("claim", "said"), [("{}/none-such", "there is no ObjectBucketClaim"), ("photos", "is not")])
def test_a_claim_that_does_not_exist_is_one_sentence(environment: MemoryEnvironment, claim: str, said: str) -> None:
    arguments = ["why", claim.format(environment.namespace), "--kubeconfig", str(environment.cluster.kubeconfig)]
    ran = CliRunner().invoke(main, arguments)

    assert ran.exit_code != 0
    assert said in ran.output
    assert "Traceback" not in ran.output
