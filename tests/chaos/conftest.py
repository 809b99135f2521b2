"""What the samples of chaos share: one control plane for the session, with our CRDs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# What the tests import, and what that imports.
sys.path.extend(str(Path(__file__).parents[1] / folder) for folder in ("chaos/support", "integration/support", "demo"))

from arena import own_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import ControlPlane


@pytest.fixture(scope="session")
def cluster() -> Iterator[ControlPlane]:
    """Shared by all trials that leave it as it was."""
    with own_cluster() as made:
        yield made
