"""`libbucket why` on a real API server, with the core on a store in memory: what an operator reads about each claim."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from click.testing import CliRunner

from libbucket._cli.advice import ADVICE
from libbucket._cli.commands import main
from libbucket._cli.explain import Explanation
from libbucket._cli.permissions import IN_NAMESPACE
from libbucket._cli.why import as_text
from libbucket._kube.discovery import CrdFeatures
from libbucket._kube.lease import lease_name
from libbucket._outcomes import MEANINGS, Retry
from libbucket.errors import BucketNotEmpty, PurgeUnfinished, Reason, RetrySlowly, RetrySoon, Terminal
from testkit.cluster.crd_generations import crds, generation
from testkit.cluster.memory_environment import MemoryEnvironment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from libbucket.testing.controlplane import ControlPlane

CANARY = "canary-7f3a91"
PAGE = Path(__file__).parents[2] / "docs/command-line.md"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


def why(environment: MemoryEnvironment, name: str = "photos") -> dict[str, Any]:
    claim = f"{environment.namespace}/{name}"
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


CLAIM_RULES: list[dict[str, Any]] = [
    {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)} for group, resource, verbs in IN_NAMESPACE
]


def an_account(environment: MemoryEnvironment, rules: Sequence[dict[str, Any]] = (), user: str = "") -> str:
    """A service account, or a user, with these permissions in the namespace, and no others."""
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{environment.namespace}"
    account = {"kind": "ServiceAccount", "name": "provisioner", "namespace": environment.namespace}
    subject = {"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"} if user else account
    if not user:
        body = {"metadata": {"name": "provisioner"}}
        environment.admin.create(f"/api/v1/namespaces/{environment.namespace}/serviceaccounts", body)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "claims"}
    name = {"name": "claims"}
    environment.admin.create(f"{rbac}/roles", {"metadata": name, "rules": list(rules)})
    environment.admin.create(f"{rbac}/rolebindings", {"metadata": name, "roleRef": role, "subjects": [subject]})
    return "provisioner"


@contextmanager
def a_pod(environment: MemoryEnvironment, account: str, **status: Any) -> Iterator[None]:
    """Gone afterwards: pods are found in all namespaces, and other tests count them."""
    pods = f"/api/v1/namespaces/{environment.namespace}/pods"
    pod = {
        "metadata": {"name": "provisioner", "labels": {"app.kubernetes.io/part-of": "libbucket"}},
        "spec": {
            "containers": [{"name": "provisioner", "image": "none"}],
            "automountServiceAccountToken": False,
            "serviceAccountName": account,
        },
    }
    environment.admin.create(pods, pod)
    environment.admin.patch(f"{pods}/provisioner/status", {"status": status})
    yield
    environment.admin.delete(f"{pods}/provisioner?gracePeriodSeconds=0")


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
    environment.make_lease("other.test/bucket")
    environment.claim()

    assert why(environment)["reason"] == "OtherProvisioner"
    check_documented(environment)


def test_standbys_only(environment: MemoryEnvironment) -> None:
    environment.make_lease(age=600)
    account = an_account(environment)
    binding = {"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io"}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": environment.namespace}
    bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    name = {"name": environment.namespace}
    environment.admin.create(bindings, {"metadata": name, "roleRef": binding, "subjects": [subject]})
    environment.claim()

    with a_pod(environment, account, conditions=[{"type": "Ready", "status": "True"}]):
        assert why(environment)["reason"] == "NoLeader"
        check_documented(environment)
    environment.admin.delete(f"{bindings}/{environment.namespace}")


def test_pods_that_are_not_ready_and_lack_permissions(environment: MemoryEnvironment) -> None:
    environment.make_lease(age=600)
    account = an_account(environment, [{**CLAIM_RULES[0], "verbs": ["get", "list", "watch"]}, *CLAIM_RULES[1:]])
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}
    container = {"name": "provisioner", "ready": False, "restartCount": 9, "image": "none", "imageID": ""}
    environment.claim()
    with a_pod(environment, account, containerStatuses=[{**container, "state": {"waiting": waiting}}]):
        found = why(environment)

    assert found["reason"] == "NoProvisioner"
    assert "of its pods (1) none is ready" in found["state"]
    pod = f"Pod {environment.namespace}/provisioner of a provisioner is not ready: CrashLoopBackOff: back-off 5m0s"
    assert pod in found["notes"]
    denied = [note for note in found["notes"] if note.startswith("RBAC ")]
    who = f"RBAC does not let service account {environment.namespace}/provisioner "
    assert denied[0] == f"{who}patch objectbucketclaims.objectbucket.io in namespace {environment.namespace}."
    assert denied[1].startswith(f"{who}get, list, watch, create, patch, delete objectbuckets.objectbucket.io")
    assert denied[-1] == f"{who}get, create, update leases.coordination.k8s.io in namespace {environment.namespace}."


def test_what_may_not_be_read_is_noted(environment: MemoryEnvironment, control_plane: ControlPlane) -> None:
    environment.claim()
    an_account(environment, CLAIM_RULES, user="developer")
    kubeconfig = control_plane.user_kubeconfig("developer")
    arguments = ["why", f"{environment.namespace}/photos", "--kubeconfig", str(kubeconfig), "--json"]
    ran = CliRunner().invoke(main, arguments)
    found = json.loads(ran.stdout)

    assert found["reason"] == "NotReconciled"
    unread = {note.partition(" could not be read")[0] for note in found["notes"]}
    assert {"StorageClass", "Leases", "Pods", "Webhooks", "Events"} <= unread
    assert "Secret" not in unread


STORE_REASONS = [
    *(Reason.ACCESS_DENIED, Reason.STORE_REFUSED, Reason.BUCKET_NOT_FOUND, Reason.QUOTA_EXCEEDED, Reason.NOT_READY),
    *(Reason.THROTTLED, Reason.STORE_UNAVAILABLE, Reason.ADMIN_SECRET_MISSING, Reason.INVALID_ADMIN_SECRET),
    *(Reason.INVALID_PARAMETERS, Reason.INVALID_CLAIM, Reason.INVALID_CONFIG, Reason.BUCKET_EXISTS),
    *(Reason.BUCKET_LOST, Reason.INTERNAL_ERROR, Reason.PROVISIONER_MISCONFIGURED),
]
OF_EVENTS = {
    *(Reason.RELEASED, Reason.RECLAIMED, Reason.RESTORED, Reason.CREDENTIALS_ROTATED, Reason.DRIFT_REPAIRED),
    *(Reason.UNMANAGED_CONFIG, Reason.PROVISIONER_WARNING),
}
"""Reasons that no condition has."""


def tell(environment: MemoryEnvironment, reason: Reason) -> None:
    """A claim that was told this reason: as the core writes it, by a condition or, where none has it, by an Event."""
    name = str(reason).lower()
    claim = environment.claim(name)
    if reason in OF_EVENTS:
        about = {"kind": "ObjectBucketClaim", "namespace": environment.namespace, "name": name}
        event = {
            "metadata": {"name": name},
            "involvedObject": {**about, "uid": claim["metadata"]["uid"]},
            "reason": reason,
            "message": "as the core said",
            "type": "Normal",
            "lastTimestamp": "2026-11-02T09:30:00Z",
        }
        environment.admin.create(f"/api/v1/namespaces/{environment.namespace}/events", event)
        return
    is_bound = reason is Reason.BOUND
    condition = {
        "type": "Ready",
        "status": "True" if is_bound else "False",
        "reason": reason,
        "message": "as the core said",
        "lastTransitionTime": "2026-11-02T09:30:00Z",
    }
    status = {"phase": "Bound" if is_bound else "Pending", "conditions": [condition]}
    environment.admin.patch(f"{environment.claim_path(name)}/status", {"status": status})


def test_every_reason_there_is_has_an_explanation(environment: MemoryEnvironment) -> None:
    """All of `Reason`, so that a new one needs no row here, and one without advice fails."""
    environment.make_lease()
    for reason in Reason:
        tell(environment, reason)
    found = {reason: why(environment, str(reason).lower()) for reason in Reason}

    assert {reason: one["reason"] for reason, one in found.items()} == {reason: str(reason) for reason in Reason}
    told = {reason: (one["waits_for"], one["next_step"]) for reason, one in found.items()}
    assert told == {reason: ADVICE[reason] for reason in Reason}
    assert all("as the core said" in one["state"] for one in found.values())
    assert not [reason for reason, one in found.items() if "unknown" in one["turn"]]
    is_settled = {reason for reason, one in found.items() if one["turn"] == "none"}
    assert is_settled == {Reason.BOUND, *OF_EVENTS}


def test_a_claim_that_is_being_provisioned(environment: MemoryEnvironment) -> None:
    goes_on = Event()

    def hold(_verb: object, _request: object) -> None:
        goes_on.wait(30)

    environment.hook = hold
    environment.make_lease()
    with environment.core():
        environment.claim()
        environment.wait_reason("Provisioning")
        found = why(environment)
        goes_on.set()
        environment.wait_bound()

    assert (found["reason"], found["turn"]) == ("Provisioning", "the provisioner, which continues by itself")


def test_a_bound_claim_with_a_key_that_is_ignored(environment: MemoryEnvironment) -> None:
    with environment.core(allowed_config=frozenset({"maxObjects"})):
        environment.claim(spec={"generateBucketName": "photos", "additionalConfig": {"maxSize": "1G"}})
        environment.wait_bound()
        environment.wait_event("Warning", "UnmanagedConfig")
    found = why(environment)

    (note,) = found["notes"]
    assert (found["reason"], found["waits_for"]) == ("Bound", "nothing")
    assert note.startswith("Event UnmanagedConfig of ")
    assert note.endswith("Remove the key, or add it to --allow-additional-config.")


def test_every_reason_that_a_store_can_cause(environment: MemoryEnvironment) -> None:
    """Each in a claim of its own, with a class of its own: an outage of one must not hold the others back."""
    names = {str(reason).lower(): reason for reason in STORE_REASONS}

    def fail(_verb: object, request: Any) -> None:
        reason = names[request.claim.name]
        if reason is Reason.INTERNAL_ERROR:
            raise RuntimeError(CANARY)
        meaning = MEANINGS[reason]
        kind = {Retry.SOON: RetrySoon, Retry.SLOWLY: RetrySlowly, Retry.NEVER: Terminal}[meaning.retry or Retry.SOON]
        raise kind("as the store said", reason=reason)

    environment.hook = fail
    for name in names:
        host = {"host": f"{name}.invalid"}
        environment.make_class(f"{environment.class_name}-{name}", parameters=host)
    with environment.core():
        for name in names:
            environment.claim(name, storage_class=f"{environment.class_name}-{name}")
        for name, reason in names.items():
            environment.wait_reason(reason, name)
    found = {reason: why(environment, name) for name, reason in names.items()}
    for name in names:
        environment.patch_claim({"metadata": {"finalizers": []}}, name)
        environment.delete_class(f"{environment.class_name}-{name}")

    assert {reason: one["reason"] for reason, one in found.items()} == {reason: reason for reason in names.values()}
    assert all("unknown" not in one["turn"] and one["waits_for"] != "nothing" for one in found.values())


def test_a_config_map_of_another(environment: MemoryEnvironment) -> None:
    body = {"metadata": {"name": "photos"}, "data": {"BUCKET_NAME": CANARY}}
    environment.admin.create(f"/api/v1/namespaces/{environment.namespace}/configmaps", body)
    with environment.core():
        environment.claim()
        environment.wait_reason("ConfigMapConflict")

    assert why(environment)["reason"] == "ConfigMapConflict"


def test_an_edit_that_cannot_be_followed(environment: MemoryEnvironment) -> None:
    with environment.core(allowed_config=frozenset({"maxObjects"})):
        environment.claim()
        environment.wait_bound()
        environment.patch_claim({"spec": {"additionalConfig": {"maxObjects": "many"}}})
        environment.wait_reason("InvalidConfig")
    found = why(environment)

    assert (found["reason"], found["phase"], found["turn"]) == ("InvalidConfig", "Bound", "the claim's author")


def test_the_purge_of_many_objects(environment: MemoryEnvironment) -> None:
    def one_step(verb: object, _request: object) -> None:
        if str(verb) == "delete":
            raise PurgeUnfinished(500)

    with environment.core():
        environment.claim()
        environment.wait_bound()
        environment.hook = one_step
        environment.delete_claim(wait=False)
        environment.wait_reason("Purging")
    found = why(environment)
    environment.patch_claim({"metadata": {"finalizers": []}})

    assert (found["reason"], found["turn"]) == ("Purging", "the provisioner, which continues by itself")


def test_a_deletion_whose_store_is_unknown(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
    environment.admin.patch(environment.ob_path(), {"metadata": {"finalizers": []}})
    environment.admin.delete(environment.ob_path())
    environment.delete_class()
    environment.delete_claim(wait=False)
    with environment.core():
        environment.wait_reason("DeletionBlocked")
    found = why(environment)
    environment.patch_claim({"metadata": {"finalizers": []}})

    assert (found["reason"], found["turn"]) == ("DeletionBlocked", "an administrator")


def test_a_leader_that_has_not_reconciled_yet(environment: MemoryEnvironment) -> None:
    environment.make_lease()
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
