"""The fake of Google, new for every test: its clock is turned, and its knobs too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket.testing.conformance.environment import Environment
from testkit.gcs.backend import GcsBackend
from testkit.gcs.fake import FakeGcs, fake_gcs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fake() -> Iterator[FakeGcs]:
    with fake_gcs() as running:
        yield running


@pytest.fixture
def backend(fake: FakeGcs) -> GcsBackend:
    return GcsBackend(fake)


@pytest.fixture
def environment(backend: GcsBackend) -> Iterator[Environment]:
    """Claims and buckets of one test."""
    environment = Environment(backend)
    yield environment
    environment.clean_up()
