"""The example for Garage passes the conformance suite on the real server."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from libbucket.testing.conformance import Backend, Conformance
from testkit.garage.backend import GarageBackend
from testkit.garage.server import GarageServer, garage_binary, real_garage

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.skipif(
    not (shutil.which("garage") or shutil.which("cargo")), reason="Garage is built with cargo, which is not on the PATH"
)


@pytest.fixture(scope="module")
def server() -> Iterator[GarageServer]:
    with real_garage(garage_binary()) as running:
        yield running


class TestGarage(Conformance):
    @pytest.fixture
    def backend(self, server: GarageServer) -> Backend:
        return GarageBackend(server)
