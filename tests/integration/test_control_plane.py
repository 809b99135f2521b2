"""The control plane that all other tests run on behaves like a real cluster."""

from __future__ import annotations

import json
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client.exceptions import ApiException

from libbucket.testing.admin import KubeAdmin
from libbucket.testing.binaries import kubectl_binary
from libbucket.testing.controlplane import existing_cluster
from libbucket.testing.problems import SetupFailed

if TYPE_CHECKING:
    from pathlib import Path

    from libbucket.testing.controlplane import ControlPlane

CLAIMS = "/apis/objectbucket.io/v1alpha1/namespaces/{}/objectbucketclaims"
SECRETS = "/api/v1/namespaces/{}/secrets"


def a_claim(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "objectbucket.io/v1alpha1",
        "kind": "ObjectBucketClaim",
        "metadata": {"name": name},
        "spec": {"storageClassName": "none", "generateBucketName": "x"},
    }


def kubectl(kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(kubectl_binary()), "--kubeconfig", str(kubeconfig), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_kubectl_reads_claims_by_their_short_name(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.admin.apply(a_claim("photos"), namespace=namespace)

    answer = kubectl(control_plane.kubeconfig, "get", "obc", "-n", namespace, "-o", "name")

    assert answer.stdout.strip() == "objectbucketclaim.objectbucket.io/photos", answer.stderr


def test_a_user_has_no_permissions_until_rbac_grants_them(control_plane: ControlPlane, namespace: str) -> None:
    kubeconfig = control_plane.user_kubeconfig("mallory", ["visitors"])
    user = KubeAdmin(kubeconfig)
    with pytest.raises(ApiException) as refused:
        user.get(SECRETS.format(namespace))
    assert refused.value.status == 403

    binding = {
        "metadata": {"name": "visitors-read"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "visitors"}],
    }
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
    control_plane.admin.create(path, binding)

    assert kubectl(kubeconfig, "auth", "can-i", "list", "secrets", "-n", namespace).stdout.strip() == "yes"
    user.close()


def test_an_issued_token_authenticates_its_service_account(control_plane: ControlPlane, namespace: str) -> None:
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    control_plane.admin.create(accounts, {"metadata": {"name": "robot"}})

    kubeconfig = control_plane.service_account_kubeconfig(namespace, "robot")

    answer = json.loads(kubectl(kubeconfig, "auth", "whoami", "-o", "json").stdout)
    assert answer["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:robot"


def test_a_wrong_token_is_refused(control_plane: ControlPlane) -> None:
    unauthenticated = KubeAdmin(control_plane.token_kubeconfig("no-such-token"))
    with pytest.raises(ApiException) as refused:
        unauthenticated.get("/api/v1/namespaces")
    assert refused.value.status == 401
    unauthenticated.close()


def test_objects_of_a_claim_are_garbage_collected(control_plane: ControlPlane, namespace: str) -> None:
    admin = control_plane.admin
    claim = admin.apply(a_claim("owner"), namespace=namespace)
    owner = {key: claim[key] for key in ("apiVersion", "kind")} | {"name": "owner", "uid": claim["metadata"]["uid"]}
    secrets = SECRETS.format(namespace)
    admin.create(secrets, {"metadata": {"name": "owned", "ownerReferences": [owner]}})
    admin.create(secrets, {"metadata": {"name": "free"}})

    admin.delete(CLAIMS.format(namespace) + "/owner")

    admin.wait_gone(f"{secrets}/owned", timeout=20)
    assert admin.find(f"{secrets}/free") is not None


def test_deleting_a_namespace_deletes_its_objects(control_plane: ControlPlane) -> None:
    admin = control_plane.admin
    admin.create("/api/v1/namespaces", {"metadata": {"name": "short-lived"}})
    admin.apply(a_claim("photos"), namespace="short-lived")

    admin.delete("/api/v1/namespaces/short-lived")

    admin.wait_gone("/api/v1/namespaces/short-lived", timeout=60)


def test_objects_persist_across_a_restart_of_the_api_server(control_plane: ControlPlane, namespace: str) -> None:
    admin = control_plane.admin
    admin.apply(a_claim("stays"), namespace=namespace)

    control_plane.restart_api_server()

    assert admin.get(CLAIMS.format(namespace) + "/stays")["metadata"]["name"] == "stays"


def test_waiting_observes_a_later_change(control_plane: ControlPlane, namespace: str) -> None:
    admin = control_plane.admin
    secrets = SECRETS.format(namespace)
    later = threading.Timer(0.3, lambda: admin.create(secrets, {"metadata": {"name": "late"}}))
    later.start()

    found = admin.wait_for(f"{secrets}/late", lambda secret: secret is not None, timeout=10)

    later.join()
    assert found is not None


def test_a_wait_timeout_shows_the_last_state_without_secret_data(control_plane: ControlPlane, namespace: str) -> None:
    admin = control_plane.admin
    secrets = SECRETS.format(namespace)
    admin.create(secrets, {"metadata": {"name": "mine"}, "stringData": {"key": "value"}})

    with pytest.raises(TimeoutError) as over:
        admin.wait_gone(f"{secrets}/mine", timeout=1)

    assert '"name": "mine"' in str(over.value)
    assert "dmFsdWU" not in str(over.value)


def test_requests_are_counted_by_what_they_asked(control_plane: ControlPlane, namespace: str) -> None:
    def posted() -> float:
        labels = {"verb": "POST", "group": "objectbucket.io", "resource": "objectbucketclaims"}
        return control_plane.metric_total("apiserver_request_total", **labels)

    before = posted()
    for name in ("one", "two"):
        control_plane.admin.create(CLAIMS.format(namespace), a_claim(name))

    assert posted() - before == 2


def test_a_cluster_that_exists_is_used_by_the_context_that_is_named(control_plane: ControlPlane) -> None:
    with existing_cluster(control_plane.kubeconfig, "test") as cluster:
        assert cluster.admin.get("/api/v1/namespaces/default")["metadata"]["name"] == "default"


def test_a_context_that_is_not_there_is_named_with_those_that_are(control_plane: ControlPlane) -> None:
    with (
        pytest.raises(SetupFailed, match=r"has no context 'production'; it has: test"),
        existing_cluster(control_plane.kubeconfig, "production"),
    ):
        pass


def test_the_administrators_kubeconfig_is_readable_by_its_owner_only(control_plane: ControlPlane) -> None:
    assert control_plane.kubeconfig.stat().st_mode & 0o077 == 0
