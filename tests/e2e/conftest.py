"""What all end-to-end tests share: the images that were built, the chart as helm renders it, a control plane."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from images.builders import find_builder
from libbucket.testing.controlplane import ControlPlane, control_plane
from libbucket.testing.fixtures import namespace
from testkit.cluster.store_environment import STORES, StoreEnvironment
from testkit.container_images.installation import Installation, installed
from testkit.repository import CRDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from images.builders import Builder
    from libbucket.testing.admin import KubeAdmin
    from testkit.cluster.store_environment import Store

__all__ = ["namespace"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "one_store: one of the chosen stores is enough")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store", action="append", default=[], choices=sorted(STORES), help="which stores; default: all")
    parser.addoption("--claims", type=int, default=20, help="how many to create where memory is measured")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store_name" in metafunc.fixturenames:
        chosen = sorted(metafunc.config.getoption("--store") or STORES)
        if metafunc.definition.get_closest_marker("one_store"):
            chosen = chosen[-1:]
        metafunc.parametrize("store_name", chosen, scope="module")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A control plane of its own, never an existing cluster: permissions are removed here.

    OpenShift has this plugin: setting blockOwnerDeletion requires permission to set finalizers of the owner.
    """
    capture = request.config.pluginmanager.getplugin("capturemanager")
    crds, plugins = [CRDS], ["OwnerReferencesPermissionEnforcement"]
    with ExitStack() as stack:
        with capture.global_and_fixture_disabled():
            running = stack.enter_context(control_plane(crds=crds, admission_plugins=plugins))
        yield running


@pytest.fixture(scope="session")
def kube_admin(cluster: ControlPlane) -> KubeAdmin:
    """Reads and writes the cluster as its administrator."""
    return cluster.admin


@pytest.fixture(scope="session")
def engine() -> Builder:
    """What runs images: podman or docker."""
    return find_builder(to_run=True)


@pytest.fixture(scope="module")
def store(store_name: str) -> Iterator[Store]:
    """The store, running."""
    with STORES[store_name]() as running:
        yield running


@pytest.fixture
def installation(cluster: ControlPlane, engine: Builder, store_name: str) -> Iterator[Installation]:
    """A release of the chart, without the pods: `installation.pod()` runs one."""
    with installed(cluster, engine, store_name) as made:
        yield made


@pytest.fixture
def environment(
    cluster: ControlPlane, namespace: str, store_name: str, store: Store, installation: Installation
) -> Iterator[StoreEnvironment]:
    """A namespace for claims, and classes that the installed provisioner serves."""
    made = StoreEnvironment(cluster, namespace, store_name, store)
    made.provisioner_name = installation.provisioner_name
    made.open()
    yield made
    made.close()
