"""The real MinIO: one server for all tests of this folder, one with TLS for those that need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket.testing.conformance.environment import Environment
from testkit.minio.backend import MinioBackend
from testkit.minio.server import MinioServer, minio_binary, minio_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[MinioServer]:
    with minio_server(minio_binary()) as running:
        yield running


@pytest.fixture(scope="session")
def tls_server() -> Iterator[MinioServer]:
    with minio_server(minio_binary(), tls=True) as running:
        yield running


@pytest.fixture(scope="session")
def backend(server: MinioServer) -> MinioBackend:
    return MinioBackend(server)


@pytest.fixture
def environment(backend: MinioBackend) -> Iterator[Environment]:
    """Claims and buckets of one test."""
    environment = Environment(backend)
    yield environment
    environment.clean_up()
