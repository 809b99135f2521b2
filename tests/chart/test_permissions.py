"""No right of the chart is too many: each is taken away in turn, verb by verb, and something fails that names it.

Taken away is what the API server enforces, not what a manifest says. What is asked for at the start is tried with a
provisioner that starts; everything else with one that runs, whose claims go through a life that needs every right.
"""

from __future__ import annotations

import copy
import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from testkit.chart.environment import CHART, a_release, one, render, rendered_provisioner
from testkit.chart.permissions import rights_of
from testkit.chart.tenant import FINALIZER, SECONDS, Tenant, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket.testing.controlplane import ControlPlane
    from libbucket.testing.provisioner_process import ProvisionerProcess
    from testkit.chart.environment import Manifest
    from testkit.chart.permissions import Right
    from testkit.minio.server import MinioServer

NAMESPACE = "rights"
PROVISIONER = "rights.test/bucket"
LABEL = {"bucket-provisioner": "rights.test-bucket"}
LEASE_NAME = "libbucket-rights.test-bucket"
LEASE_PATH = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{LEASE_NAME}"
MANIFESTS = render(a_release(provisionerName=PROVISIONER, crds={"install": False}), namespace=NAMESPACE)
ROLES = [each for each in MANIFESTS if each["kind"] in {"ClusterRole", "Role"}]


RIGHTS = [right for role in ROLES for rule in role["rules"] for right in rights_of(rule)]
# What is asked for when a provisioner starts, and never again; a watch goes on after its right has gone.
AT_START = [
    each
    for each in RIGHTS
    if each.verb in {"list", "watch"}
    or each.resource == "namespaces"
    or (each.resource, each.verb) == ("leases", "get")
]
LEASE = [each for each in RIGHTS if each.resource == "leases" and each not in AT_START]
LIVE = [each for each in RIGHTS if each not in AT_START and each not in LEASE]


@pytest.fixture(scope="module")
def installed(cluster: ControlPlane) -> Iterator[None]:
    """The objects of the release."""
    admin = cluster.admin
    admin.install_crds(CHART / "files/crds")
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    for manifest in MANIFESTS:
        admin.apply(manifest)
    yield
    for manifest in reversed(MANIFESTS):
        admin.delete(admin.path_of(manifest))
    admin.delete(f"/api/v1/namespaces/{NAMESPACE}")


@pytest.fixture(scope="module")
def tenant(cluster: ControlPlane, installed: None, minio: MinioServer) -> Iterator[Tenant]:  # noqa: ARG001 - comes first
    cluster.admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant"}})
    made = Tenant(cluster.admin, "tenant", minio, provisioner_name=PROVISIONER)
    made.open()
    yield made
    made.close()
    cluster.admin.delete("/api/v1/namespaces/tenant")


@pytest.fixture(scope="module")
def provisioner(cluster: ControlPlane, tenant: Tenant) -> Iterator[ProvisionerProcess]:  # noqa: ARG001 - comes first
    """One that runs as the chart says."""
    with rendered_provisioner(cluster, one(MANIFESTS, "Deployment")) as process:
        yield process


@contextmanager
def without(cluster: ControlPlane, right: Right) -> Iterator[None]:
    """The cluster without one right, from when the API server enforces it until the block ends."""
    admin = cluster.admin
    (role,) = [each for each in ROLES if any(right.is_in(rule) for rule in each["rules"])]
    less = copy.deepcopy(role)
    less["rules"] = [part for rule in less["rules"] for part in parts_without(rule, right)]
    admin.replace(admin.path_of(role), less)
    try:
        wait_until(lambda: not is_allowed(cluster, right))
        yield
    finally:
        admin.replace(admin.path_of(role), role)
        wait_until(lambda: is_allowed(cluster, right))


def parts_without(rule: Manifest, right: Right) -> list[Manifest]:
    """The rule without one verb on one resource; without it on all of them would be to take too much away."""
    if not right.is_in(rule):
        return [rule]
    others = {**rule, "resources": [each for each in rule["resources"] if each != right.resource]}
    rest = {**rule, "resources": [right.resource], "verbs": [each for each in rule["verbs"] if each != right.verb]}
    return [each for each in (others, rest) if each["resources"] and each["verbs"]]


def is_allowed(cluster: ControlPlane, right: Right) -> bool:
    namespace = NAMESPACE if right.resource == "leases" else ""
    return right.is_held(cluster.admin, f"{NAMESPACE}:buckets", namespace)


class Life:
    """What a claim goes through, step by step; `is_over` ends it early.

    Args:
        tenant: whose claims.
        name: of the claim, and the beginning of the others' names.
        is_over: whether nothing more needs to be waited for.
    """

    def __init__(self, tenant: Tenant, name: str, is_over: Callable[[], bool]) -> None:
        self._tenant = tenant
        self._admin = tenant.admin
        self._name = name
        self._stray = f"{name}-stray"
        self._is_over = is_over

    def go(self) -> None:
        for step in (self._bound, self._mended, self._strayed, self._gone):
            if self._is_over():
                return
            step()

    def end(self) -> None:
        """Leaves nothing, once all rights are there again."""
        for name in (self._name, self._stray):
            path = self._tenant.claim_path(name)
            self._admin.delete(path)
            if self._admin.find(path) is not None:
                # Any edit has the claim looked at again at once.
                self._admin.patch(path, {"metadata": {"annotations": {"example.com/try": "again"}}})
                self._admin.wait_gone(path, timeout=SECONDS)

    def _bound(self) -> None:
        self._tenant.claim(self._name)
        self._until(lambda: self._tenant.is_bound(self._name))

    def _mended(self) -> None:
        """Somebody edits Secret and ConfigMap by hand."""
        secret, config = (self._tenant.path(plural, self._name) for plural in ("secrets", "configmaps"))
        held, told = self._tenant.secret(self._name), self._tenant.config(self._name)
        self._admin.patch(config, {"data": {"BUCKET_NAME": "another"}})
        self._until(lambda: self._tenant.config(self._name) == told)
        self._admin.patch(secret, {"data": {"AWS_SECRET_ACCESS_KEY": None}})
        self._until(lambda: set(self._tenant.secret(self._name)) == set(held))

    def _strayed(self) -> None:
        """A claim goes that nothing is known of: no cache is asked whether that is true."""
        self._tenant.claim(self._stray, finalizers=[FINALIZER], labels=LABEL, storage_class="gone")
        path = self._tenant.claim_path(self._stray)
        self._admin.delete(path)
        self._until(lambda: self._admin.find(path) is None)

    def _gone(self) -> None:
        path = self._tenant.claim_path(self._name)
        self._admin.delete(path)
        self._until(lambda: self._admin.find(path) is None)

    def _until(self, is_so: Callable[[], bool]) -> None:
        wait_until(lambda: self._is_over() or is_so())


def test_the_chart_s_permissions_are_sufficient_for_a_claim_s_lifecycle(
    tenant: Tenant, provisioner: ProvisionerProcess
) -> None:
    before = len(provisioner.log())

    Life(tenant, "whole", lambda: False).go()

    said = provisioner.log()[before:]
    assert "forbidden" not in said
    assert not any(right.is_missed(said) for right in RIGHTS)


@pytest.mark.parametrize("right", LIVE, ids=str)
def test_a_missing_permission_is_named_while_claims_are_reconciled(
    right: Right, cluster: ControlPlane, tenant: Tenant, provisioner: ProvisionerProcess
) -> None:
    before = len(provisioner.log())
    name = re.sub(r"[^a-z]", "-", str(right))

    def is_said() -> bool:
        return right.is_missed(provisioner.log()[before:])

    life = Life(tenant, name, is_said)
    with ExitStack() as afterwards:
        afterwards.callback(life.end)
        with without(cluster, right):
            life.go()
            wait_until(is_said)


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize("right", AT_START, ids=str)
def test_a_missing_permission_is_named_at_startup(right: Right, cluster: ControlPlane) -> None:
    with (
        without(cluster, right),
        rendered_provisioner(cluster, one(MANIFESTS, "Deployment"), ready=False) as process,
    ):
        if right.verb == "watch":
            wait_until(lambda: right.is_missed(process.log()))
        else:
            assert process.wait_exit() == 1
            assert right.is_missed(process.log().splitlines()[-1])


@pytest.mark.parametrize("right", LEASE, ids=str)
def test_a_missing_lease_permission_is_named(
    right: Right, cluster: ControlPlane, provisioner: ProvisionerProcess
) -> None:
    wait_renewed(cluster)  # a failure is said once, until it is over
    before = len(provisioner.log())
    with without(cluster, right):
        if right.verb == "create":
            cluster.admin.delete(LEASE_PATH)
        wait_until(lambda: right.is_missed(provisioner.log()[before:]))


def wait_renewed(cluster: ControlPlane) -> None:
    """Waits until whoever leads has said so once more."""
    before = (cluster.admin.find(LEASE_PATH) or {}).get("spec", {}).get("renewTime")
    cluster.admin.wait_for(LEASE_PATH, lambda lease: lease is not None and lease["spec"]["renewTime"] != before)
