"""MinIO passes the conformance suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket.testing.conformance import Conformance
from testkit.minio.backend import MinioBackend

if TYPE_CHECKING:
    from testkit.minio.server import MinioServer


class TestMinio(Conformance):
    @pytest.fixture
    def backend(self, server: MinioServer) -> MinioBackend:
        return MinioBackend(server)
