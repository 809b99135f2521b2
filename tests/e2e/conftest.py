"""What all end-to-end tests share: the images that were built, the chart as helm renders it, a control plane."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/e2e/support"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests/images/support"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tools/images"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests/integration/support"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests/demo"))

from installation import Installation, installed
from store_shop import STORES, Shop

from choice import find_builder
from libbucket.testing.fixtures import cluster, control_plane, kube_admin, namespace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from store_shop import Store

    from builders import Builder
    from libbucket.testing.controlplane import Cluster

__all__ = ["cluster", "control_plane", "crd_directories", "kube_admin", "namespace"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store", action="append", default=[], choices=sorted(STORES), help="which; all without it")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store_name" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--store") or sorted(STORES)
        metafunc.parametrize("store_name", chosen, scope="module")


@pytest.fixture(scope="session")
def crd_directories() -> Sequence[Path]:
    return (Path(__file__).parents[2] / "crds",)


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
def installation(cluster: Cluster, engine: Builder, store_name: str) -> Iterator[Installation]:
    """A release of the chart, without the pods: `installation.pod()` runs one."""
    with installed(cluster, engine, store_name) as made:
        yield made


@pytest.fixture
def shop(cluster: Cluster, namespace: str, store_name: str, store: Store, installation: Installation) -> Iterator[Shop]:
    """Where claims are made, of classes that the installed provisioner serves."""
    made = Shop(cluster, namespace, store_name, store)
    made.provisioner_name = installation.provisioner_name
    made.open()
    yield made
    made.close()
