"""What all integration tests share: one control plane for the session, with our CRDs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))  # what the tests import, too

# Imported, not named in pytest_plugins, which pytest takes only from the conftest at the root.
from world import World

from libbucket.testing.fixtures import cluster, control_plane, kube_admin, namespace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from libbucket.testing.controlplane import Cluster

__all__ = ["cluster", "control_plane", "crd_directories", "kube_admin", "namespace"]

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def crd_directories() -> Sequence[Path]:
    return (_ROOT / "crds",)


@pytest.fixture
def world(cluster: Cluster, namespace: str) -> Iterator[World]:
    """A namespace with a class of a provisioner of its own; `with world.core():` lets the core at it."""
    made = World(cluster, namespace)
    made.make_class()
    yield made
    made.delete_class()
