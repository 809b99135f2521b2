"""Azurite: one server for all tests of this folder, one with TLS and tokens for those that need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from azure_backend import AzureBackend
from azurite_server import AzuriteServer, azurite_server

from libbucket.testing.conformance.world import World

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
def world(backend: AzureBackend) -> Iterator[World]:
    """Claims and containers of one test."""
    world = World(backend)
    yield world
    world.clean_up()
