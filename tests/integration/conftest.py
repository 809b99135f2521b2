"""What all integration tests share: one control plane for the session, with the bundled CRDs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from libbucket.testing.fixtures import cluster, control_plane, kube_admin, namespace

# Imported, not named in pytest_plugins, which pytest takes only from the conftest at the root.
from testkit.cluster.memory_environment import MemoryEnvironment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from libbucket.testing.controlplane import Cluster

__all__ = ["cluster", "control_plane", "crd_directories", "kube_admin", "namespace"]

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def crd_directories() -> Sequence[Path]:
    return (_ROOT / "crds",)


@pytest.fixture
def environment(cluster: Cluster, namespace: str) -> Iterator[MemoryEnvironment]:
    """A namespace with a class of a provisioner of its own; `with environment.core():` runs the core on it."""
    made = MemoryEnvironment(cluster, namespace)
    made.make_class()
    yield made
    made.delete_class()
