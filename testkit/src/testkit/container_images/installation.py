"""A release of the chart in a cluster without nodes: manifests are applied, and an engine runs the pods.

The image runs as the rendered Deployment says, with a token of the chart's service account, and so with no permissions
but those that the chart grants.
"""

from __future__ import annotations

import secrets
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from libbucket.testing.binaries import helm_binary
from libbucket.testing.processes import fresh_directory
from testkit.chart.permissions import permissions_of
from testkit.container_images.pods import (
    Container,
    account_folder,
    account_token,
    container_of,
    running_pod,
    wait_until,
)
from testkit.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from images.builders import Builder
    from libbucket.testing.controlplane import Cluster
    from libbucket.testing.provisioner_process import ProvisionerProcess
    from testkit.chart.permissions import Permission

Manifest = dict[str, Any]
CHART: Final = ROOT / "charts/libbucket"
_ROLES: Final = ("ClusterRole", "Role")


def rendered(release: str, namespace: str, *values: str) -> list[Manifest]:
    """The chart's manifests, as helm renders them."""
    command = [str(helm_binary()), "template", release, str(CHART), "--namespace", namespace]
    for value in values:
        command += ["--set", value]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [body for body in yaml.safe_load_all(done.stdout) if body]


@dataclass(kw_only=True)
class Installation:
    """One release.

    Attributes:
        cluster: where it is.
        engine: what runs its image.
        store: whose provisioner it is.
        folder: for this release's files.
        namespace: of the release.
        provisioner_name: which classes it serves.
        manifests: all of it.
    """

    cluster: Cluster
    engine: Builder
    store: str
    folder: Path
    namespace: str
    provisioner_name: str
    manifests: list[Manifest]

    @property
    def deployment(self) -> Manifest:
        """The Deployment."""
        return next(body for body in self.manifests if body["kind"] == "Deployment")

    @property
    def lease_path(self) -> str:
        """The Lease of its replicas."""
        name = f"libbucket-{self.provisioner_name.replace('/', '-')}"
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/{name}"

    @property
    def grace_seconds(self) -> float:
        """How long a pod may take to end."""
        return float(self.deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"])

    @property
    def start_seconds(self) -> int:
        """How long a kubelet lets a container start before it restarts it."""
        probe = self._container["startupProbe"]
        return int(probe["periodSeconds"] * probe["failureThreshold"])

    @property
    def requested_mebibytes(self) -> int:
        """The memory request of a container."""
        return int(self._container["resources"]["requests"]["memory"].removesuffix("Mi"))

    @property
    def _container(self) -> Manifest:
        (found,) = self.deployment["spec"]["template"]["spec"]["containers"]
        return dict(found)

    def container(self) -> Container:
        """What the Deployment runs, with a fresh token of its service account."""
        pod = self.deployment["spec"]["template"]["spec"]
        token = account_token(self.cluster, self.namespace, pod["serviceAccountName"])
        folder = account_folder(self.folder / secrets.token_hex(4), self.cluster, token, self.namespace)
        return container_of(pod, namespace=self.namespace).with_account(folder, self.cluster)

    def pod(self, *, ready: bool = True) -> AbstractContextManager[ProvisionerProcess]:
        """Runs one replica until the block ends."""
        return running_pod(self.engine, self.container(), ready=ready)

    def has_all_permissions(self) -> bool:
        """Whether the API server already grants its service account every permission of its roles."""
        return all(
            self.is_held(right, role) for role, rule in rules_of(self.manifests) for right in permissions_of(rule)
        )

    def is_held(self, right: Permission, role: Manifest) -> bool:
        """Whether its service account has one permission of a role."""
        account = self.deployment["spec"]["template"]["spec"]["serviceAccountName"]
        where = self.namespace if role["kind"] == "Role" else ""
        return right.is_held(self.cluster.admin, f"{self.namespace}:{account}", where)

    @contextmanager
    def without(self, number: int) -> Iterator[list[Permission]]:
        """Removes one of its rules, waits until the API server enforces that, and restores it at the end of the block.

        Args:
            number: of the rule, as `rules_of` counts them in the manifests.
        """
        role, rule = rules_of(self.manifests)[number]
        path, rights = self.cluster.admin.path_of(role, namespace=self.namespace), permissions_of(rule)
        self.cluster.admin.replace(path, {**role, "rules": [each for each in role["rules"] if each is not rule]})
        wait_until(lambda: not any(self.is_held(right, role) for right in rights))
        try:
            yield rights
        finally:
            self.cluster.admin.replace(path, role)


def rules_of(manifests: list[Manifest]) -> list[tuple[Manifest, Manifest]]:
    """Every rule, with the role that it is in."""
    roles = [body for body in manifests if body["kind"] in _ROLES]
    return [(role, rule) for role in roles for rule in role["rules"]]


@contextmanager
def installed(cluster: Cluster, engine: Builder, store: str, *values: str) -> Iterator[Installation]:
    """Applies the chart, and deletes it at the end of the block."""
    release = f"e2e-{secrets.token_hex(4)}"
    provisioner_name = f"{secrets.token_hex(4)}.test/bucket"
    chosen = [f"backend={store}", "image.registry=localhost", f"provisionerName={provisioner_name}", *values]
    manifests = [body for body in rendered(release, release, *chosen) if body["kind"] != "CustomResourceDefinition"]
    namespace: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": release}}
    with fresh_directory("e2e-") as folder:
        folder.chmod(0o755)
        try:
            for body in [namespace, *manifests]:
                cluster.admin.apply(body, namespace=release)
            made = Installation(
                cluster=cluster,
                engine=engine,
                store=store,
                folder=folder,
                namespace=release,
                provisioner_name=provisioner_name,
                manifests=manifests,
            )
            # An API server takes a moment to enforce new roles. A kubelet would restart the pod, a test does not.
            wait_until(made.has_all_permissions)
            yield made
        finally:
            for body in [namespace, *manifests]:
                cluster.admin.delete(cluster.admin.path_of(body, namespace=release))
