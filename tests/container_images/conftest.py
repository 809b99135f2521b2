"""What all tests of images share: which were built, and what runs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/images/support"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tools/images"))

from archive import ImageArchive
from choice import find_builder
from context import Provisioner, read_provisioner, stores
from images import OUT
from libbucket.testing.fixtures import cluster, control_plane, kube_admin, namespace
from libbucket.testing.problems import SetupFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builders import Builder

__all__ = ["cluster", "control_plane", "crd_directories", "kube_admin", "namespace"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store", action="append", default=[], choices=stores(), help="whose image; all without it")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "provisioner" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--store") or stores()
        metafunc.parametrize("provisioner", [read_provisioner(name) for name in chosen], ids=chosen, scope="session")


@pytest.fixture(scope="session")
def crd_directories() -> Sequence[Path]:
    return (Path(__file__).parents[2] / "crds",)


@pytest.fixture(scope="session")
def folder(provisioner: Provisioner) -> Path:
    """Where `nox -s image` left everything about one image."""
    return OUT / provisioner.store


@pytest.fixture(scope="session")
def image(provisioner: Provisioner, folder: Path) -> ImageArchive:
    """The image as it was built."""
    return ImageArchive(folder / f"{provisioner.name}-{provisioner.version}.oci.tar")


@pytest.fixture(scope="session")
def engine() -> Builder:
    """What runs images: podman or docker. buildah alone can't, and what it built can still be looked into."""
    try:
        return find_builder(to_run=True)
    except SetupFailed as problem:
        pytest.skip(str(problem))
