"""The servers that stand in for AWS: one of each for all tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aws_backend import AwsBackend
from aws_servers import AwsServer, ministack

from libbucket.testing.conformance.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[AwsServer]:
    with ministack() as running:
        yield running


@pytest.fixture(scope="session")
def backend(server: AwsServer) -> AwsBackend:
    return AwsBackend(server)


@pytest.fixture
def world(backend: AwsBackend) -> Iterator[World]:
    """Claims and buckets of one test."""
    world = World(backend)
    yield world
    world.clean_up()
