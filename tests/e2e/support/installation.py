"""A release of the chart in a cluster that has no nodes: everything is applied, and pods are run by hand as they say.

What runs is the image, as the rendered Deployment says, with a token of the chart's service account: so that what the
chart grants is what lets it work, and nothing more.
"""

from __future__ import annotations

import secrets
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from pods import Container, account_folder, account_token, container_of, running_pod, wait_until

from libbucket.testing.binaries import helm_binary
from libbucket.testing.processes import fresh_directory
from testkit.chart.permissions import rights_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from builders import Builder
    from libbucket.testing.controlplane import Cluster
    from libbucket.testing.provisioner_process import ProvisionerProcess
    from testkit.chart.permissions import Right

Manifest = dict[str, Any]
ROOT: Final = Path(__file__).parents[3]
CHART: Final = ROOT / "charts/libbucket"
_RIGHTS: Final = ("ClusterRole", "Role")


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
        """The one that says how the image runs."""
        return next(body for body in self.manifests if body["kind"] == "Deployment")

    @property
    def lease_path(self) -> str:
        """Of the lease that its replicas agree by."""
        name = f"libbucket-{self.provisioner_name.replace('/', '-')}"
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/{name}"

    @property
    def grace_seconds(self) -> float:
        """How long a pod may take to end."""
        return float(self.deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"])

    @property
    def start_seconds(self) -> int:
        """How long a kubelet waits for a container to answer before it gives it up."""
        probe = self._container["startupProbe"]
        return int(probe["periodSeconds"] * probe["failureThreshold"])

    @property
    def requested_mebibytes(self) -> int:
        """The memory that a node has to have left for a container."""
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

    def has_all_rights(self) -> bool:
        """Whether its service account may do everything that its roles let it."""
        return all(self.is_held(right, role) for role, rule in rules_of(self.manifests) for right in rights_of(rule))

    def is_held(self, right: Right, role: Manifest) -> bool:
        """Whether its service account may do what a role of it lets it."""
        account = self.deployment["spec"]["template"]["spec"]["serviceAccountName"]
        where = self.namespace if role["kind"] == "Role" else ""
        return right.is_held(self.cluster.admin, f"{self.namespace}:{account}", where)

    @contextmanager
    def without(self, number: int) -> Iterator[list[Right]]:
        """The release without one of its rules, from when the API server enforces that until the block ends.

        Args:
            number: of the rule, as `rules_of` counts them in the manifests.
        """
        role, rule = rules_of(self.manifests)[number]
        path, rights = self.cluster.admin.path_of(role, namespace=self.namespace), rights_of(rule)
        self.cluster.admin.replace(path, {**role, "rules": [each for each in role["rules"] if each is not rule]})
        wait_until(lambda: not any(self.is_held(right, role) for right in rights))
        try:
            yield rights
        finally:
            self.cluster.admin.replace(path, role)


def rules_of(manifests: list[Manifest]) -> list[tuple[Manifest, Manifest]]:
    """Every rule, with the role that it is in."""
    roles = [body for body in manifests if body["kind"] in _RIGHTS]
    return [(role, rule) for role in roles for rule in role["rules"]]


@contextmanager
def installed(cluster: Cluster, engine: Builder, store: str, *values: str) -> Iterator[Installation]:
    """Applies the chart, and takes it away at the end."""
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
            # An API server takes a moment to know new roles. A kubelet would start the pod again, a test does not.
            wait_until(made.has_all_rights)
            yield made
        finally:
            for body in [namespace, *manifests]:
                cluster.admin.delete(cluster.admin.path_of(body, namespace=release))
