"""Azurite: one server for all tests of this folder, one with TLS and tokens for those that need it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from azure_provisioner.client import Network
from libbucket.testing.conformance.environment import Environment
from testkit.azure.azurite import AzuriteServer, azurite_server
from testkit.azure.backend import AzureBackend
from testkit.azure.fake_entra import FakeEntra, fake_entra
from testkit.azure.front_end import Front, azure_front

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[AzuriteServer]:
    with azurite_server() as running:
        yield running


@pytest.fixture(scope="session")
def tls_server() -> Iterator[AzuriteServer]:
    with azurite_server(tls=True) as running:
        yield running


@pytest.fixture
def backend(server: AzuriteServer) -> Iterator[AzureBackend]:
    backend = AzureBackend(server)
    yield backend
    backend.close()


@pytest.fixture
def environment(backend: AzureBackend) -> Iterator[Environment]:
    """Claims and containers of one test."""
    environment = Environment(backend)
    yield environment
    environment.clean_up()


@pytest.fixture(scope="session")
def entra() -> Iterator[FakeEntra]:
    with fake_entra() as running:
        yield running


@pytest.fixture
def front(server: AzuriteServer) -> Iterator[Front]:
    with azure_front(server) as running:
        yield running


@pytest.fixture
def tls_front(tls_server: AzuriteServer) -> Iterator[Front]:
    with azure_front(tls_server) as running:
        yield running


@pytest.fixture
def trusting(tls_server: AzuriteServer, entra: FakeEntra, tmp_path: Path) -> Network:
    """Connections that trust the authorities of azurite and of the fake Entra ID."""
    both = tmp_path / "authorities.pem"
    both.write_bytes(Path(tls_server.ca_file).read_bytes() + entra.authority_pem)
    return Network(ca_file=str(both))


@pytest.fixture
def tls_backend(tls_server: AzuriteServer) -> Iterator[AzureBackend]:
    backend = AzureBackend(tls_server)
    yield backend
    backend.close()


@pytest.fixture
def tls_world(tls_backend: AzureBackend) -> Iterator[Environment]:
    environment = Environment(tls_backend)
    yield environment
    environment.clean_up()
