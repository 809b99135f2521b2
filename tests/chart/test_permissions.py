"""Every RBAC permission of the chart is necessary: each is removed in turn, verb by verb, and the failure names it.

A permission counts as removed once the API server enforces that. Permissions used at startup are tested with a
provisioner that starts; all others with one that runs, whose claims have a lifecycle that needs every permission.
"""

from __future__ import annotations

import copy
import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from testkit.chart.environment import CHART, a_release, one, render, rendered_provisioner
from testkit.chart.permissions import permissions_of
from testkit.chart.tenant import FINALIZER, SECONDS, Tenant, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket.testing.controlplane import ControlPlane
    from libbucket.testing.provisioner_process import ProvisionerProcess
    from testkit.chart.environment import Manifest
    from testkit.chart.permissions import Permission
    from testkit.minio.server import MinioServer

NAMESPACE = "permissions"
PROVISIONER = "permissions.test/bucket"
LABEL = {"bucket-provisioner": "permissions.test-bucket"}
LEASE_NAME = "libbucket-permissions.test-bucket"
LEASE_PATH = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{LEASE_NAME}"
MANIFESTS = render(a_release(provisionerName=PROVISIONER, crds={"install": False}), namespace=NAMESPACE)
ROLES = [each for each in MANIFESTS if each["kind"] in {"ClusterRole", "Role"}]


PERMISSIONS = [permission for role in ROLES for rule in role["rules"] for permission in permissions_of(rule)]
# Used at startup only; an established watch continues after its permission is removed.
AT_START = [
    each
    for each in PERMISSIONS
    if each.verb in {"list", "watch"}
    or each.resource == "namespaces"
    or (each.resource, each.verb) == ("leases", "get")
]
LEASE = [each for each in PERMISSIONS if each.resource == "leases" and each not in AT_START]
LIVE = [each for each in PERMISSIONS if each not in AT_START and each not in LEASE]


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
    """A provisioner that runs as the chart configures it."""
    with rendered_provisioner(cluster, one(MANIFESTS, "Deployment")) as process:
        yield process


@contextmanager
def without(cluster: ControlPlane, permission: Permission) -> Iterator[None]:
    """The cluster without one permission, from when the API server enforces it until the block ends."""
    admin = cluster.admin
    (role,) = [each for each in ROLES if any(permission.is_in(rule) for rule in each["rules"])]
    less = copy.deepcopy(role)
    less["rules"] = [part for rule in less["rules"] for part in parts_without(rule, permission)]
    admin.replace(admin.path_of(role), less)
    try:
        wait_until(lambda: not is_allowed(cluster, permission))
        yield
    finally:
        admin.replace(admin.path_of(role), role)
        wait_until(lambda: is_allowed(cluster, permission))


def parts_without(rule: Manifest, permission: Permission) -> list[Manifest]:
    """The rule without one verb on one resource; removing it from all resources would remove several permissions."""
    if not permission.is_in(rule):
        return [rule]
    others = {**rule, "resources": [each for each in rule["resources"] if each != permission.resource]}
    rest = {
        **rule,
        "resources": [permission.resource],
        "verbs": [each for each in rule["verbs"] if each != permission.verb],
    }
    return [each for each in (others, rest) if each["resources"] and each["verbs"]]


def is_allowed(cluster: ControlPlane, permission: Permission) -> bool:
    namespace = NAMESPACE if permission.resource == "leases" else ""
    return permission.is_held(cluster.admin, f"{NAMESPACE}:buckets", namespace)


class Lifecycle:
    """The lifecycle of a claim, step by step; `is_over` ends it early.

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
        for step in (self._bound, self._repaired, self._strayed, self._gone):
            if self._is_over():
                return
            step()

    def end(self) -> None:
        """Deletes the claims, once all permissions are restored."""
        for name in (self._name, self._stray):
            path = self._tenant.claim_path(name)
            self._admin.delete(path)
            if self._admin.find(path) is not None:
                # Any edit requeues the claim immediately.
                self._admin.patch(path, {"metadata": {"annotations": {"example.com/try": "again"}}})
                self._admin.wait_gone(path, timeout=SECONDS)

    def _bound(self) -> None:
        self._tenant.claim(self._name)
        self._until(lambda: self._tenant.is_bound(self._name))

    def _repaired(self) -> None:
        """Out-of-band edits of Secret and ConfigMap are repaired."""
        secret, config = (self._tenant.path(plural, self._name) for plural in ("secrets", "configmaps"))
        held, told = self._tenant.secret(self._name), self._tenant.config(self._name)
        self._admin.patch(config, {"data": {"BUCKET_NAME": "another"}})
        self._until(lambda: self._tenant.config(self._name) == told)
        self._admin.patch(secret, {"data": {"AWS_SECRET_ACCESS_KEY": None}})
        self._until(lambda: set(self._tenant.secret(self._name)) == set(held))

    def _strayed(self) -> None:
        """Deletes a claim without an ObjectBucket: its absence is verified by live reads, not by the cache."""
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

    Lifecycle(tenant, "whole", lambda: False).go()

    said = provisioner.log()[before:]
    assert "forbidden" not in said
    assert not any(permission.is_missed(said) for permission in PERMISSIONS)


@pytest.mark.parametrize("permission", LIVE, ids=str)
def test_a_missing_permission_is_named_while_claims_are_reconciled(
    permission: Permission, cluster: ControlPlane, tenant: Tenant, provisioner: ProvisionerProcess
) -> None:
    before = len(provisioner.log())
    name = re.sub(r"[^a-z]", "-", str(permission))

    def is_said() -> bool:
        return permission.is_missed(provisioner.log()[before:])

    lifecycle = Lifecycle(tenant, name, is_said)
    with ExitStack() as afterwards:
        afterwards.callback(lifecycle.end)
        with without(cluster, permission):
            lifecycle.go()
            wait_until(is_said)


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize("permission", AT_START, ids=str)
def test_a_missing_permission_is_named_at_startup(permission: Permission, cluster: ControlPlane) -> None:
    with (
        without(cluster, permission),
        rendered_provisioner(cluster, one(MANIFESTS, "Deployment"), ready=False) as process,
    ):
        if permission.verb == "watch":
            wait_until(lambda: permission.is_missed(process.log()))
        else:
            assert process.wait_exit() == 1
            assert permission.is_missed(process.log().splitlines()[-1])


@pytest.mark.parametrize("permission", LEASE, ids=str)
def test_a_missing_lease_permission_is_named(
    permission: Permission, cluster: ControlPlane, provisioner: ProvisionerProcess
) -> None:
    wait_renewed(cluster)  # a failure is logged once, until it is over
    before = len(provisioner.log())
    with without(cluster, permission):
        if permission.verb == "create":
            cluster.admin.delete(LEASE_PATH)
        wait_until(lambda: permission.is_missed(provisioner.log()[before:]))


def wait_renewed(cluster: ControlPlane) -> None:
    """Waits until the leader has renewed the Lease once more."""
    before = (cluster.admin.find(LEASE_PATH) or {}).get("spec", {}).get("renewTime")
    cluster.admin.wait_for(LEASE_PATH, lambda lease: lease is not None and lease["spec"]["renewTime"] != before)
