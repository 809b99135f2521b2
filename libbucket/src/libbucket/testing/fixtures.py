"""pytest fixtures for tests of a provisioner: a control plane, its administrator, a fresh namespace.

Use it as a plugin, `pytest_plugins = ["libbucket.testing.fixtures"]`, or import the fixtures into a conftest.
Override `crd_directories` to have CRDs installed. A cluster of your own serves instead of ours when both
`LIBBUCKET_TEST_KUBECONFIG` and `LIBBUCKET_TEST_CONTEXT` are set.
"""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from libbucket.testing import controlplane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from libbucket.testing.admin import KubeAdmin
    from libbucket.testing.controlplane import Cluster

__all__ = ["cluster", "control_plane", "crd_directories", "kube_admin", "namespace"]


@pytest.fixture(scope="session")
def crd_directories() -> Sequence[Path]:
    """Directories with CRDs that the cluster gets. Override it."""
    return ()


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, crd_directories: Sequence[Path]) -> Iterator[Cluster]:
    """The cluster of this test session: the one that the environment names, else our own control plane."""
    kubeconfig, context = (os.environ.get(f"LIBBUCKET_TEST_{name}") for name in ("KUBECONFIG", "CONTEXT"))
    with ExitStack() as stack:
        if kubeconfig and context:
            made = controlplane.existing_cluster(Path(kubeconfig), context, crds=crd_directories)
        else:
            made = controlplane.control_plane(crds=crd_directories)
        with _visible(request):
            running = stack.enter_context(made)
        yield running


@pytest.fixture(scope="session")
def control_plane(cluster: Cluster) -> controlplane.ControlPlane:
    """Our own control plane, for tests that stop it or make users: skipped on an existing cluster."""
    if not isinstance(cluster, controlplane.ControlPlane):
        pytest.skip("needs a control plane of its own")
    return cluster


@pytest.fixture(scope="session")
def kube_admin(cluster: Cluster) -> KubeAdmin:
    """Reads and writes the cluster as its administrator."""
    return cluster.admin


@pytest.fixture
def namespace(kube_admin: KubeAdmin) -> Iterator[str]:
    """The name of a fresh namespace, deleted (not waited for) after the test."""
    name = f"test-{secrets.token_hex(4)}"
    kube_admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    kube_admin.delete(f"/api/v1/namespaces/{name}")


def _visible(request: pytest.FixtureRequest) -> ExitStack:
    """Lets the progress of a long wait through pytest's capturing."""
    stack = ExitStack()
    capture = request.config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        stack.enter_context(capture.global_and_fixture_disabled())
    return stack
