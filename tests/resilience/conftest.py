"""What the samples of chaos share: one control plane for the session, with our CRDs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testkit.resilience.proxied_environment import own_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import ControlPlane


@pytest.fixture(scope="session")
def cluster() -> Iterator[ControlPlane]:
    """Shared by all trials that leave it as it was."""
    with own_cluster() as made:
        yield made
