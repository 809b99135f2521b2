"""A release from its installation to its end, on a real API server: what runs as the manifest says serves claims."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chart.helm_chart import CHART
from testkit.chart.environment import BACKENDS, Refused, Tools, a_release, one, rendered_provisioner
from testkit.chart.permissions import Permission
from testkit.chart.tenant import Tenant, wait_until
from testkit.minio.backend import MinioAdministrator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import ControlPlane
    from testkit.chart.environment import Manifest
    from testkit.minio.server import MinioServer

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CLAIMS = f"{CRDS}/objectbucketclaims.objectbucket.io"


class Release:
    """A release in a namespace of its own."""

    def __init__(self, tools: Tools, name: str, namespace: str) -> None:
        self._tools = tools
        self.name = name
        self.namespace = namespace

    def install(self, **values: Any) -> None:
        self._do("install", values, "--create-namespace")

    def upgrade(self, **values: Any) -> None:
        self._do("upgrade", values)

    def uninstall(self) -> str:
        return self._tools.helm("uninstall", self.name, "--namespace", self.namespace, "--wait")

    def deployment(self) -> Manifest:
        """The Deployment that it has now."""
        shown = self._tools.helm("get", "manifest", self.name, "--namespace", self.namespace)
        return one([each for each in yaml.safe_load_all(shown) if each], "Deployment")

    def _do(self, verb: str, values: dict[str, Any], *more: str) -> None:
        where = ["--namespace", self.namespace, *more]
        self._tools.helm(verb, self.name, str(CHART), *where, values=a_release(**values))


@pytest.fixture
def release(tools: Tools, cluster: ControlPlane, namespace: str) -> Iterator[Release]:
    """A release that is not installed yet; everything that it leaves behind is deleted afterwards."""
    made = Release(tools, f"r-{namespace}", f"of-{namespace}")
    yield made
    tools.helm("uninstall", made.name, "--namespace", made.namespace, "--ignore-not-found")
    for crd in cluster.admin.items(CRDS):
        cluster.admin.delete(f"{CRDS}/{crd['metadata']['name']}")
        cluster.admin.wait_gone(f"{CRDS}/{crd['metadata']['name']}", timeout=120)
    cluster.admin.delete(f"/api/v1/namespaces/{made.namespace}")


@pytest.fixture
def tenant(cluster: ControlPlane, namespace: str, minio: MinioServer) -> Iterator[Tenant]:
    made = Tenant(cluster.admin, namespace, minio, provisioner_name="minio.io/bucket")
    made.open()
    yield made
    made.close()


def established(cluster: ControlPlane) -> None:
    """Waits until claims can be made, as `helm install --wait` does."""
    for name in ("objectbucketclaims", "objectbuckets"):
        cluster.admin._wait_usable(f"{name}.objectbucket.io")


def buckets(minio: MinioServer) -> set[str]:
    return set(MinioAdministrator(minio).application().list_all())


def test_a_bucket_outlives_the_release_that_provisioned_it(
    release: Release, tenant: Tenant, cluster: ControlPlane, minio: MinioServer
) -> None:
    before = buckets(minio)
    release.install()
    established(cluster)
    with rendered_provisioner(cluster, release.deployment()) as process:
        for name in ("first", "second"):
            tenant.claim(name)
            tenant.wait_bound(name)
        tenant.delete("first")
        assert "forbidden" not in process.log()
        lease = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/libbucket-minio.io-bucket"
        assert cluster.admin.get(lease.format(release.namespace))["spec"]["holderIdentity"]
        assert memory_of(process.metrics()) < mebibytes(release.deployment(), "requests")

    release.upgrade(workers=3, logFormat="json")
    assert "--workers=3" in release.deployment()["spec"]["template"]["spec"]["containers"][0]["args"]
    with rendered_provisioner(cluster, release.deployment()):
        tenant.claim("third")
        tenant.wait_bound("third")
        assert tenant.is_bound("second")

    kept = release.uninstall()
    assert "CustomResourceDefinition" in kept
    assert cluster.admin.find(CLAIMS) is not None
    assert cluster.admin.find(f"/api/v1/namespaces/{release.namespace}/serviceaccounts/{release.name}") is None
    assert {tenant.config(name)["BUCKET_NAME"] for name in ("second", "third")} == buckets(minio) - before

    release.install()
    with rendered_provisioner(cluster, release.deployment()):
        for name in ("second", "third"):
            assert tenant.is_bound(name)
            tenant.delete(name)
    assert buckets(minio) == before


def memory_of(metrics: str) -> float:
    (found,) = re.findall(r"(?m)^process_resident_memory_bytes (\S+)$", metrics)
    return float(found) / 2**20


def mebibytes(deployment: Manifest, which: str) -> int:
    resources = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]
    return int(resources[which]["memory"].removesuffix("Mi"))


def test_existing_crds_are_reported_and_kept_if_requested(
    release: Release, cluster: ControlPlane, tools: Tools, namespace: str
) -> None:
    release.install()
    other = Release(tools, f"other-{namespace}", release.namespace)
    before = cluster.admin.get(CLAIMS)["metadata"]

    with pytest.raises(Refused, match=r"exists already and does not belong to this release: set crds.install: false"):
        other.install()
    other.install(crds={"install": False})

    other.uninstall()
    assert cluster.admin.get(CLAIMS)["metadata"]["resourceVersion"] == before["resourceVersion"]


def test_crds_are_kept_when_an_upgrade_no_longer_installs_them(release: Release, cluster: ControlPlane) -> None:
    release.install()
    release.upgrade(crds={"install": False})

    assert cluster.admin.find(CLAIMS) is not None


def test_a_release_for_one_namespace_serves_it_and_leaves_the_others_alone(
    release: Release, cluster: ControlPlane, minio: MinioServer, namespace: str
) -> None:
    vault, other = f"vault-{namespace}", f"next-{namespace}"
    for name in (vault, other):
        cluster.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
    served = Tenant(cluster.admin, namespace, minio, provisioner_name="minio.io/bucket", secret_namespace=vault)
    served.open()
    others = Tenant(cluster.admin, other, minio, provisioner_name="minio.io/bucket")
    try:
        release.install(namespaces=[namespace], adminSecrets=[{"namespace": vault, "name": "minio-admin"}])
        established(cluster)
        with rendered_provisioner(cluster, release.deployment()) as process:
            others.claim("ignored", storage_class=served.storage_class)
            served.claim("photos")
            served.wait_bound("photos")
            assert "status" not in cluster.admin.get(others.claim_path("ignored"))
            served.delete("photos")
            assert "forbidden" not in process.log()

        # The control: without adminSecrets the same class fails, and the claim reports why.
        release.upgrade(namespaces=[namespace])
        with rendered_provisioner(cluster, release.deployment()):
            served.claim("photos")
            claim = served.wait_claim("photos", lambda one: "may not be read" in str(one.get("status")))
            assert f"Secret {vault}/minio-admin" in str(claim["status"])
        release.upgrade(namespaces=[namespace], adminSecrets=[{"namespace": vault, "name": "minio-admin"}])
        reads = Permission(verb="get", group="", resource="secrets", name="minio-admin")
        wait_until(lambda: reads.is_held(cluster.admin, f"{release.namespace}:{release.name}", vault))
        with rendered_provisioner(cluster, release.deployment()):
            served.wait_bound("photos")
            served.delete("photos")
    finally:
        served.close()
        for name in (vault, other):
            cluster.admin.delete(f"/api/v1/namespaces/{name}")


def test_a_release_without_a_watch_on_secrets_finds_drift_without_the_permission_to_list_them(
    release: Release, cluster: ControlPlane, tenant: Tenant
) -> None:
    release.install(watchSecrets=False, resyncInterval="1s")
    established(cluster)
    account = f"{release.namespace}:{release.name}"
    with rendered_provisioner(cluster, release.deployment()) as process:
        tenant.claim("photos")
        tenant.wait_bound("photos")
        held = tenant.secret("photos")
        cluster.admin.patch(tenant.path("secrets", "photos"), {"data": {"AWS_SECRET_ACCESS_KEY": None}})
        wait_until(lambda: set(tenant.secret("photos")) == set(held))
        tenant.delete("photos")
        cluster.admin.wait_gone(tenant.path("secrets", "photos"))

        assert "forbidden" not in process.log()
    for verb, is_held in (("get", True), ("list", False), ("watch", False)):
        assert Permission(verb=verb, group="", resource="secrets").is_held(cluster.admin, account, "") is is_held


def test_an_installed_release_has_the_admission_policy_until_that_is_turned_off(
    release: Release, cluster: ControlPlane
) -> None:
    kinds = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
    paths = [f"/apis/admissionregistration.k8s.io/v1/{kind}/{release.name}-{release.namespace}" for kind in kinds]
    release.install()
    assert all(cluster.admin.find(path) for path in paths)

    release.upgrade(admissionPolicy={"enabled": False})

    assert not any(cluster.admin.find(path) for path in paths)


def test_a_release_without_a_cluster_role_works_once_an_administrator_granted_the_rest(
    release: Release, cluster: ControlPlane, tenant: Tenant, tools: Tools, namespace: str
) -> None:
    values: dict[str, Any] = {"namespaces": [namespace], "rbac": {"clusterScope": False}, "crds": {"install": False}}
    cluster.admin.install_crds(CHART / "files/crds")
    release.install(**values)
    with rendered_provisioner(cluster, release.deployment(), ready=False) as refused:
        assert refused.wait_exit() == 1
        assert "RBAC does not let this account get namespaces named kube-system" in refused.log()
        assert "list objectbuckets.objectbucket.io in the whole cluster" in refused.log()

    asked = ["template", release.name, str(CHART), "--namespace", release.namespace]
    shown = tools.helm(
        *asked,
        "--set=rbac.clusterScope=true",
        "--show-only=templates/clusterscope.yaml",
        values=a_release(**values),
    )
    granted = [each for each in yaml.safe_load_all(shown) if each]
    assert "ValidatingAdmissionPolicy" in {each["kind"] for each in granted}
    tools.kubectl("apply", "--filename", "-", manifests=granted)
    try:
        with rendered_provisioner(cluster, release.deployment()):
            tenant.claim("photos")
            tenant.wait_bound("photos")
            tenant.delete("photos")
    finally:
        tools.kubectl("delete", "--filename", "-", manifests=granted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_provisioner_of_every_backend_starts_as_its_manifest_says_and_fits_into_its_memory(
    backend: str, release: Release, cluster: ControlPlane
) -> None:
    release.install(backend=backend)
    established(cluster)

    with rendered_provisioner(cluster, release.deployment()) as process:
        used = memory_of(process.metrics())
        print(f"{backend}: {used:.1f} MiB idle")

        assert used < mebibytes(release.deployment(), "requests")
        assert "forbidden" not in process.log()
