"""What all integration tests share: one control plane for the session, with our CRDs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Imported, not named in pytest_plugins, which pytest takes only from the conftest at the root.
from libbucket.testing.fixtures import cluster, control_plane, kube_admin, namespace

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["cluster", "control_plane", "crd_directories", "kube_admin", "namespace"]

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def crd_directories() -> Sequence[Path]:
    return (_ROOT / "crds",)
