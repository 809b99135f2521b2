"""Azure Blob Storage passes the conformance suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket.testing.conformance import Conformance
from testkit.azure.backend import AzureBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.azure.azurite import AzuriteServer


class TestAzure(Conformance):
    @pytest.fixture
    def backend(self, server: AzuriteServer) -> Iterator[AzureBackend]:
        backend = AzureBackend(server)
        yield backend
        backend.close()
