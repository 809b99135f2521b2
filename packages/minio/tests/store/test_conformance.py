"""MinIO keeps every promise of the conformance suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from minio_backend import MinioBackend

from libbucket.testing.conformance import Conformance

if TYPE_CHECKING:
    from minio_server import MinioServer


class TestMinio(Conformance):
    @pytest.fixture
    def backend(self, server: MinioServer) -> MinioBackend:
        return MinioBackend(server)
