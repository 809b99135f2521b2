"""The double of Google, new for every test: its clock is turned, and its knobs too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gcs_backend import GcsBackend
from gcs_double import GcsDouble, gcs_double

from libbucket.testing.conformance.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def double() -> Iterator[GcsDouble]:
    with gcs_double() as running:
        yield running


@pytest.fixture
def backend(double: GcsDouble) -> GcsBackend:
    return GcsBackend(double)


@pytest.fixture
def world(backend: GcsBackend) -> Iterator[World]:
    """Claims and buckets of one test."""
    world = World(backend)
    yield world
    world.clean_up()
