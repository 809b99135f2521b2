"""The admission policy of the chart, on the real API server: the provisioner's account writes objects of claims only.

Two releases have the same RBAC permissions. One has the policy, the other has not: every request that the first is
refused succeeds for the second, which shows that the policy refuses it.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from libbucket.testing.admin import KubeAdmin
from libbucket.testing.builders import a_claim
from testkit.chart.environment import CHART, a_release, one, render, rendered_provisioner
from testkit.chart.tenant import FINALIZER, OBC, Tenant, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket.testing.controlplane import ControlPlane
    from testkit.chart.environment import Manifest
    from testkit.minio.server import MinioServer

PROVISIONER = "policy.test/bucket"
SYSTEM, TENANT = "/api/v1/namespaces/kube-system", "/api/v1/namespaces/policy-tenant"
NOT_OWNED = "may write only Secrets and ConfigMaps whose controller is an ObjectBucketClaim"
NOT_OPAQUE = "may write only Secrets of type Opaque"
TOKEN_TYPE = "kubernetes.io/service-account-token"

Request = tuple["Callable[[KubeAdmin, dict[str, Any]], object]", str]


@dataclass(frozen=True, kw_only=True)
class Account:
    """A release's service account.

    Attributes:
        release: its manifests.
        api: reads and writes the cluster as this account.
        policy: name of its policy.
    """

    release: list[Manifest]
    api: KubeAdmin
    policy: str


@contextmanager
def a_released_account(cluster: ControlPlane, namespace: str, **values: Any) -> Iterator[Account]:
    admin = cluster.admin
    manifests = render(a_release(provisionerName=PROVISIONER, crds={"install": False}, **values), namespace=namespace)
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    for manifest in manifests:
        admin.apply(manifest)
    api = KubeAdmin(cluster.service_account_kubeconfig(namespace, "buckets"))
    yield Account(release=manifests, api=api, policy=f"buckets-{namespace}")
    api.close()
    for manifest in reversed(manifests):
        admin.delete(admin.path_of(manifest))
    admin.delete(f"/api/v1/namespaces/{namespace}")


@pytest.fixture(scope="module")
def definitions(cluster: ControlPlane) -> Iterator[None]:
    """The CRDs, and a namespace for claims."""
    admin = cluster.admin
    admin.install_crds(CHART / "files/crds")
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "policy-tenant"}})
    yield
    admin.delete("/api/v1/namespaces/policy-tenant")
    admin.wait_gone("/api/v1/namespaces/policy-tenant", timeout=60)
    for path in sorted((CHART / "files/crds").glob("*.yaml")):
        crd = admin.path_of(yaml.safe_load(path.read_text()))
        admin.delete(crd)
        admin.wait_gone(crd, timeout=120)  # tried again with back-off while its storage is set up


@pytest.fixture(scope="module")
def guarded(cluster: ControlPlane, definitions: None) -> Iterator[Account]:  # noqa: ARG001 - comes first
    """An account with the policy, from when the API server enforces it."""
    with a_released_account(cluster, "policy-on") as account:
        wait_until(lambda: is_refused(account, lambda api: api.create(f"{TENANT}/secrets?dryRun=All", secret("probe"))))
        yield account


@pytest.fixture(scope="module")
def unguarded(cluster: ControlPlane, definitions: None) -> Iterator[Account]:  # noqa: ARG001 - comes first
    """The control: an account with the same RBAC permissions, and no policy."""
    with a_released_account(cluster, "policy-off", admissionPolicy={"enabled": False}) as account:
        yield account


@pytest.fixture
def claim(cluster: ControlPlane, definitions: None) -> Iterator[dict[str, Any]]:  # noqa: ARG001 - comes first
    """A claim that no provisioner works on."""
    body = a_claim(name="photos", namespace="policy-tenant", storage_class="none")
    path = f"{OBC}/namespaces/policy-tenant/objectbucketclaims"
    yield cluster.admin.create(path, body)
    cluster.admin.delete(f"{path}/photos")


def owned_by(claim: dict[str, Any], **changes: Any) -> dict[str, Any]:
    owner = {
        "apiVersion": claim["apiVersion"],
        "kind": claim["kind"],
        "name": claim["metadata"]["name"],
        "uid": claim["metadata"]["uid"],
        "controller": True,
    }
    return {"ownerReferences": [{**owner, **changes}]}


def secret(name: str, metadata: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **(metadata or {})}, "stringData": {"key": "value"}, **fields}


def a_token(metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    account = {"annotations": {"kubernetes.io/service-account.name": "default"}}
    return {"metadata": {"name": "minted", **account, **(metadata or {})}, "type": TOKEN_TYPE}


def refusal(request: Callable[[], object]) -> str:
    with pytest.raises(ApiException) as refused:
        request()
    said: str = json.loads(refused.value.body or "")["message"]
    return said


def is_refused(account: Account, request: Callable[[KubeAdmin], object]) -> bool:
    try:
        request(account.api)
    except ApiException as error:
        return account.policy in (error.body or "")
    return False


@pytest.fixture
def victims(cluster: ControlPlane, claim: dict[str, Any]) -> Iterator[None]:
    """Objects that the provisioner must not write, and one that it may write."""
    admin = cluster.admin
    admin.create(f"{SYSTEM}/serviceaccounts", {"metadata": {"name": "default"}})
    admin.create(f"{SYSTEM}/configmaps", {"metadata": {"name": "coredns"}, "data": {"Corefile": "."}})
    admin.create(f"{TENANT}/secrets", secret("foreign"))
    admin.create(f"{TENANT}/secrets", secret("photos", owned_by(claim)))
    yield
    for path in (
        f"{SYSTEM}/serviceaccounts/default",
        f"{SYSTEM}/secrets/minted",
        f"{SYSTEM}/configmaps/coredns",
        f"{TENANT}/secrets/foreign",
        f"{TENANT}/secrets/minted",
        f"{TENANT}/secrets/photos",
        f"{TENANT}/configmaps/taken",
    ):
        admin.delete(path)


REFUSED: dict[str, Request] = {
    "a service account token in kube-system": (
        lambda api, _: api.create(f"{SYSTEM}/secrets", a_token()),
        NOT_OWNED,
    ),
    "a service account token that names a claim": (
        lambda api, claim: api.create(f"{TENANT}/secrets", a_token(owned_by(claim))),
        NOT_OPAQUE,
    ),
    "an edit of coredns": (
        lambda api, _: api.patch(f"{SYSTEM}/configmaps/coredns", {"data": {"Corefile": "forward . 192.0.2.1"}}),
        NOT_OWNED,
    ),
    "an edit of coredns that names a claim": (
        lambda api, claim: api.patch(
            f"{SYSTEM}/configmaps/coredns", {"metadata": owned_by(claim), "data": {"Corefile": "forward . 192.0.2.1"}}
        ),
        NOT_OWNED,
    ),
    "the deletion of a foreign Secret": (
        lambda api, _: api.delete(f"{TENANT}/secrets/foreign"),
        NOT_OWNED,
    ),
    "the deletion of a foreign ConfigMap": (
        lambda api, _: api.delete(f"{SYSTEM}/configmaps/coredns"),
        NOT_OWNED,
    ),
    "a Secret without an owner": (
        lambda api, _: api.create(f"{TENANT}/secrets", secret("minted")),
        NOT_OWNED,
    ),
    "a Secret of a claim that gets another owner": (
        lambda api, _: api.patch(f"{TENANT}/secrets/photos", {"metadata": {"ownerReferences": None}}),
        NOT_OWNED,
    ),
    "an owner that is not the controller": (
        lambda api, claim: api.create(f"{TENANT}/secrets", secret("minted", owned_by(claim, controller=False))),
        NOT_OWNED,
    ),
    "an owner of another kind": (
        lambda api, claim: api.create(f"{TENANT}/secrets", secret("minted", owned_by(claim, kind="ObjectBucket"))),
        NOT_OWNED,
    ),
    "an owner of another API group": (
        lambda api, claim: api.create(
            f"{TENANT}/configmaps", {"metadata": {"name": "taken", **owned_by(claim, apiVersion="example.com/v1")}}
        ),
        NOT_OWNED,
    ),
}


@pytest.mark.usefixtures("victims")
@pytest.mark.parametrize("what", REFUSED)
def test_the_policy_refuses_requests_that_rbac_allows(
    what: str, guarded: Account, unguarded: Account, claim: dict[str, Any]
) -> None:
    request, sentence = REFUSED[what]

    said = refusal(lambda: request(guarded.api, claim))

    assert guarded.policy in said
    assert sentence in said
    request(unguarded.api, claim)  # the control: nothing else refuses it


@pytest.mark.usefixtures("victims")
@pytest.mark.parametrize("plural", ["secrets", "configmaps"])
def test_objects_of_a_claim_are_created_patched_adopted_and_deleted(
    plural: str, guarded: Account, claim: dict[str, Any], cluster: ControlPlane
) -> None:
    path = f"{TENANT}/{plural}"
    guarded.api.create(path, {"metadata": {"name": "minted", **owned_by(claim)}, "data": {"key": "b25l"}})

    guarded.api.patch(f"{path}/minted", {"data": {"key": "dHdv"}})
    # As the Go library left it.
    cluster.admin.patch(f"{path}/minted", {"metadata": {"finalizers": [FINALIZER, "example.com/other"]}})
    guarded.api.patch(f"{path}/minted", {"metadata": {"finalizers": ["example.com/other"]}})
    cluster.admin.patch(f"{path}/minted", {"metadata": {"finalizers": None}})
    guarded.api.delete(f"{path}/minted")

    assert cluster.admin.find(f"{path}/minted") is None


@pytest.mark.usefixtures("victims")
def test_objects_that_a_tenant_modified_can_be_deleted(
    guarded: Account, claim: dict[str, Any], cluster: ControlPlane
) -> None:
    typed = {"stringData": {"username": "u", "password": "p"}, "type": "kubernetes.io/basic-auth"}
    cluster.admin.create(f"{TENANT}/secrets", {"metadata": {"name": "minted", **owned_by(claim)}, **typed})

    said = refusal(lambda: guarded.api.patch(f"{TENANT}/secrets/minted", {"stringData": {"username": "v"}}))
    guarded.api.delete(f"{TENANT}/secrets/minted")

    assert NOT_OPAQUE in said
    assert cluster.admin.find(f"{TENANT}/secrets/minted") is None


@pytest.mark.usefixtures("guarded")
def test_a_policy_that_cannot_be_evaluated_refuses_only_the_provisioner(
    guarded: Account, cluster: ControlPlane, claim: dict[str, Any]
) -> None:
    path = f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{guarded.policy}"
    policy = one(guarded.release, "ValidatingAdmissionPolicy")
    broken = {"expression": "dyn(request).nowhere == 1", "message": "broken"}
    owned = secret("photos", owned_by(claim))
    cluster.admin.patch(path, {"spec": {"validations": [broken]}})
    try:
        wait_until(lambda: is_refused(guarded, lambda api: api.create(f"{TENANT}/secrets?dryRun=All", owned)))

        cluster.admin.create(f"{TENANT}/secrets?dryRun=All", owned)
    finally:
        cluster.admin.patch(path, {"spec": {"validations": policy["spec"]["validations"]}})
        wait_until(lambda: not is_refused(guarded, lambda api: api.create(f"{TENANT}/secrets?dryRun=All", owned)))


@pytest.fixture
def tenant(cluster: ControlPlane, definitions: None, minio: MinioServer) -> Iterator[Tenant]:  # noqa: ARG001
    made = Tenant(cluster.admin, "policy-tenant", minio, provisioner_name=PROVISIONER)
    made.open()
    yield made
    made.close()


def test_claim_lifecycle_succeeds_under_the_policy(guarded: Account, tenant: Tenant, cluster: ControlPlane) -> None:
    deployment = one(guarded.release, "Deployment")
    secret_path, config_path = tenant.path("secrets", "photos"), tenant.path("configmaps", "photos")
    with rendered_provisioner(cluster, deployment) as process:
        tenant.claim("photos")
        tenant.wait_bound("photos")
        held, told = tenant.secret("photos"), tenant.config("photos")

        cluster.admin.patch(config_path, {"data": {"BUCKET_NAME": "another"}})
        wait_until(lambda: tenant.config("photos") == told)
        cluster.admin.patch(secret_path, {"data": {"AWS_SECRET_ACCESS_KEY": None}})
        wait_until(lambda: set(tenant.secret("photos")) == set(held))
        cluster.admin.delete(secret_path)
        wait_until(lambda: set(tenant.secret("photos")) == set(held))

        # As the Go library leaves them; the next repair adopts the ConfigMap, the deletion the Secret.
        for path in (secret_path, config_path):
            cluster.admin.patch(path, {"metadata": {"finalizers": [FINALIZER]}})
        cluster.admin.patch(config_path, {"data": {"BUCKET_NAME": "another"}})
        wait_until(lambda: "finalizers" not in cluster.admin.get(config_path)["metadata"])
        tenant.delete("photos")

        for path in (secret_path, config_path):
            cluster.admin.wait_gone(path)
        assert "ValidatingAdmissionPolicy" not in process.log()
