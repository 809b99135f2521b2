"""docs/deploying.md: every command runs, in its order, section by section.

The address of MinIO and its password are those of a test. No kubelet runs pods: the test sets
Deployments ready, and runs their provisioners as processes.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from testkit.aws_s3.backend import REGION, AwsAdministrator
from testkit.aws_s3.emulators import ministack
from testkit.chart.environment import ROOT, Tools, rendered_provisioner
from testkit.cluster.go_aws_claims import in_aws, in_the_cluster
from testkit.cluster.store_environment import StoreEnvironment
from testkit.minio.backend import MinioAdministrator
from testkit.stores.aws_s3 import AwsStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import ControlPlane
    from testkit.minio.server import MinioServer

PAGE = (ROOT / "docs" / "deploying.md").read_text()
WITHOUT_HELM = (ROOT / "deploy" / "README.md").read_text()
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DEPLOYMENTS = "/apis/apps/v1/namespaces/libbucket/deployments"
GO_DEPLOYMENTS = "/apis/apps/v1/namespaces/s3-provisioner/deployments"
NAMESPACES = ("minio", "shop", "s3-provisioner")  # that the page creates
LONGEST = 10


def commands(section: str) -> list[list[str]]:
    """The commands of each console block of a section; lines that go on on the next are one."""
    return blocks_of(PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0])


def blocks_of(text: str) -> list[list[str]]:
    blocks = re.findall(r"(?ms)^```console\n(.*?)^```$", text)
    return [[each.replace("\\\n", " ") for each in re.split(r"(?m)^\$ ", block) if each.strip()] for block in blocks]


class Reader:
    """Runs the commands of the page.

    Args:
        tools: helm and kubectl.
        cluster: the test cluster.
        minio: used in place of the reader's MinIO.
    """

    def __init__(self, tools: Tools, cluster: ControlPlane, minio: MinioServer) -> None:
        self._tools = tools
        self._cluster = cluster
        self._minio = minio
        self._running = ExitStack()

    def enter(self, line: str) -> str:
        for documented, actual in (
            ("https://minio.minio.svc:9000", self._minio.url),
            ("MINIO_ROOT_USER=admin", f"MINIO_ROOT_USER={self._minio.user}"),
            ("MINIO_ROOT_PASSWORD=change-me", f"MINIO_ROOT_PASSWORD={self._minio.password}"),
        ):
            line = line.replace(documented, actual)
        if "rollout status" in line:
            self.play_kubelet()
        return self._tools.shell(line, ROOT)

    def play_kubelet(self) -> None:
        """Sets all Deployments ready."""
        for deployment in self._cluster.admin.items(DEPLOYMENTS):
            count, generation = deployment["spec"]["replicas"], deployment["metadata"]["generation"]
            counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
            status = {"status": {**counts, "observedGeneration": generation}}
            self._cluster.admin.patch(f"{DEPLOYMENTS}/{deployment['metadata']['name']}/status", status)

    def run_provisioner(self, name: str) -> None:
        """Runs a Deployment's provisioner until the reader leaves."""
        deployment = self._cluster.admin.get(f"{DEPLOYMENTS}/{name}")
        self._running.enter_context(rendered_provisioner(self._cluster, deployment))

    def leave(self) -> None:
        self._running.close()


@pytest.fixture
def reader(tools: Tools, cluster: ControlPlane, minio: MinioServer) -> Iterator[Reader]:
    """A reader with a cluster without libbucket; everything that is created is deleted afterwards."""
    made, admin = Reader(tools, cluster, minio), cluster.admin
    remove_everything(tools, cluster)
    yield made
    made.leave()
    remove_everything(tools, cluster)
    for name in NAMESPACES:
        admin.delete(f"/api/v1/namespaces/{name}")
        admin.wait_gone(f"/api/v1/namespaces/{name}", timeout=60)


def remove_everything(tools: Tools, cluster: ControlPlane) -> None:
    admin = cluster.admin
    for release in tools.helm("list", "--namespace", "libbucket", "--short").split():
        tools.helm("uninstall", release, "--namespace", "libbucket")
    for storage_class in admin.items("/apis/storage.k8s.io/v1/storageclasses"):
        admin.delete(admin.path_of({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", **storage_class}))
    for crd in admin.items(CRDS):
        admin.delete(f"{CRDS}/{crd['metadata']['name']}")
        # Tried again with back-off while its storage is set up.
        admin.wait_gone(f"{CRDS}/{crd['metadata']['name']}", timeout=120)


def test_install_and_uninstall_with_minio(reader: Reader, cluster: ControlPlane, minio: MinioServer) -> None:
    (install,) = commands("MinIO")
    (upgrade,) = commands("Upgrading, and back")
    uninstall, everything = commands("Removing")
    before = set(MinioAdministrator(minio).application().list_all())

    for line in install:
        if "rollout status" in line:
            reader.run_provisioner("minio-provisioner")
        reader.enter(line)
    for line in upgrade:
        reader.enter(line)
    workers = cluster.admin.get(f"{DEPLOYMENTS}/minio-provisioner")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--workers=64" in workers

    for line in uninstall:
        reader.enter(line)
    reader.leave()  # as the kubelet ends the pod; one that stayed would give up its Lease after a while, and exit
    assert cluster.admin.find(f"{DEPLOYMENTS}/minio-provisioner") is None
    claim = cluster.admin.get("/apis/objectbucket.io/v1alpha1/namespaces/default/objectbucketclaims/photos")
    assert claim["spec"]["bucketName"] in set(MinioAdministrator(minio).application().list_all())

    (again,) = [line for line in install if line.startswith("helm install")]
    reader.enter(again)
    reader.run_provisioner("minio-provisioner")
    for line in everything:
        reader.enter(line)
    assert cluster.admin.items(CRDS) == []
    assert set(MinioAdministrator(minio).application().list_all()) == before


def test_a_claim_applied_by_gitops_has_no_conflict_and_no_diff(reader: Reader) -> None:
    (install,) = commands("MinIO")
    (apply,) = commands("GitOps")

    for line in install:
        if "rollout status" in line:
            reader.run_provisioner("minio-provisioner")
        if "examples/minio/claim.yaml" not in line and "kubectl wait" not in line:
            reader.enter(line)
    shown = [reader.enter(line) for line in apply]
    assert shown[-1] == ""
    reader.enter("kubectl delete obc/photos --timeout=60s")


def test_a_claim_of_the_go_provisioner_is_adopted(reader: Reader, cluster: ControlPlane) -> None:
    (take_over,) = commands("Migration from a Go provisioner")
    reader.enter("kubectl apply --server-side --filename crds/")
    for name in ("shop", "s3-provisioner"):
        reader.enter(f"kubectl create namespace {name}")
    reader.enter("kubectl create deployment aws-s3-provisioner --namespace s3-provisioner --image=go --replicas=1")
    with ministack() as server:
        environment = StoreEnvironment(cluster, "shop", "aws-s3", AwsStore(server))
        environment.provisioner_name = "aws-s3.io/bucket"
        keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
        environment.make_admin_secret("admin", keys)
        left = in_aws(AwsAdministrator(server), "photos-of-the-shop")
        in_the_cluster(environment, left, environment.make_class(region=REGION))

        for line in take_over:
            if "rollout status" in line:
                reader.run_provisioner("aws-s3-provisioner")
            shown = reader.enter(line)

        assert cluster.admin.get(f"{GO_DEPLOYMENTS}/aws-s3-provisioner")["spec"]["replicas"] == 0
        assert re.search(r"Reason: +Bound", shown)
        assert environment.secret("photos") == left.keys
        environment.delete_claim("photos")


@pytest.mark.parametrize(
    ("section", "name", "annotation"),
    [
        ("AWS S3", "aws-s3", "eks.amazonaws.com/role-arn"),
        ("Google Cloud Storage", "gcs", "iam.gke.io/gcp-service-account"),
        ("Azure Blob Storage", "azure", "azure.workload.identity/client-id"),
    ],
)
def test_a_provisioner_for_a_cloud(
    section: str, name: str, annotation: str, reader: Reader, cluster: ControlPlane
) -> None:
    (install,) = commands(section)

    for line in install:
        reader.enter(line)

    account = cluster.admin.get(f"/api/v1/namespaces/libbucket/serviceaccounts/{name}-provisioner")
    assert annotation in account["metadata"]["annotations"]
    assert f"system:serviceaccount:libbucket:{name}-provisioner" in PAGE or f"libbucket/{name}-provisioner" in PAGE
    assert cluster.admin.find(f"/apis/storage.k8s.io/v1/storageclasses/{name}-bucket") is not None


def test_a_second_store_beside_the_first(reader: Reader, cluster: ControlPlane) -> None:
    (first,) = commands("AWS S3")
    (second,) = commands("Several stores in one cluster")

    for line in [*first, *second]:
        reader.enter(line)

    assert {each["metadata"]["name"] for each in cluster.admin.items(DEPLOYMENTS)} == {
        "aws-s3-provisioner",
        "second-store",
    }


def test_some_namespaces_only_with_a_cluster_role_and_without(
    reader: Reader, cluster: ControlPlane, tools: Tools
) -> None:
    whole, without = commands("Some namespaces only")
    cluster.admin.create("/api/v1/namespaces", {"metadata": {"name": "minio"}})

    for line in whole:
        reader.enter(line)
    reader.run_provisioner("shop-buckets")
    reader.leave()
    tools.helm("uninstall", "shop-buckets", "--namespace", "libbucket")

    for line in without:
        reader.enter(line)
    reader.run_provisioner("shop-buckets")
    reader.leave()
    for group, plural in (
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
    ):
        path = f"/apis/{group}/v1/{plural}/shop-buckets-libbucket"
        assert cluster.admin.find(path) is not None, "applied by the administrator"
        cluster.admin.delete(path)


def test_install_and_uninstall_without_helm_keeps_the_crds(reader: Reader, cluster: ControlPlane) -> None:
    admin, where = cluster.admin, "/apis/apps/v1/namespaces/libbucket-minio/deployments/minio-provisioner"
    (install,) = blocks_of(WITHOUT_HELM)
    (remove,) = re.findall(r"`(kubectl delete [^`]+)`", WITHOUT_HELM)

    for line in install:
        reader.enter(line)
    deployment = admin.get(where)
    with rendered_provisioner(cluster, deployment) as process:
        assert "forbidden" not in process.log()
    reader.enter(remove)

    assert admin.find(where) is None
    assert len(admin.items(CRDS)) == 2


@pytest.mark.parametrize("section", ["MinIO", "AWS S3", "Google Cloud Storage", "Azure Blob Storage"])
def test_values_for_a_store_take_ten_lines(section: str) -> None:
    text = PAGE.partition(f"\n## {section}\n")[2].partition("```console\n")[2].partition("```")[0]

    assert 0 < len(text.splitlines()) <= LONGEST


def test_no_command_of_these_sections_is_left_out() -> None:
    here = {"MinIO", "AWS S3", "Google Cloud Storage", "Azure Blob Storage", "Several stores in one cluster"}
    here |= {"Some namespaces only", "Upgrading, and back", "Removing", "GitOps", "Migration from a Go provisioner"}

    assert {section for section in re.findall(r"(?m)^## (.+)$", PAGE) if commands(section)} == here
