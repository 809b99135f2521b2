"""What the tests of the chart share: a control plane without CRDs, which the chart brings, and a real MinIO."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket.testing.controlplane import ControlPlane, control_plane
from libbucket.testing.fixtures import namespace
from testkit.chart.environment import Tools
from testkit.minio.server import MinioServer, minio_binary, minio_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.admin import KubeAdmin

__all__ = ["namespace"]


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A control plane of its own, never an existing cluster: CRDs are installed and removed here.

    OpenShift has this plugin: setting blockOwnerDeletion requires permission to set finalizers of the owner.
    """
    capture = request.config.pluginmanager.getplugin("capturemanager")
    made = control_plane(admission_plugins=["OwnerReferencesPermissionEnforcement"])
    with capture.global_and_fixture_disabled():
        running = made.__enter__()
    try:
        yield running
    finally:
        made.__exit__(None, None, None)


@pytest.fixture(scope="session")
def kube_admin(cluster: ControlPlane) -> KubeAdmin:
    """Reads and writes the cluster as its administrator."""
    return cluster.admin


@pytest.fixture(scope="session")
def tools(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Tools:
    """helm and kubectl against the cluster."""
    return Tools(cluster.kubeconfig, tmp_path_factory.mktemp("tools"))


@pytest.fixture(scope="session")
def minio() -> Iterator[MinioServer]:
    """A real MinIO."""
    with minio_server(minio_binary()) as running:
        yield running
