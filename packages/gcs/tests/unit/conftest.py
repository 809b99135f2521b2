"""The fake, and an administrator who may do everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testkit.gcs.fake import FakeGcs, fake_gcs
from testkit.gcs.raw import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fake() -> Iterator[FakeGcs]:
    with fake_gcs() as running:
        yield running


@pytest.fixture
def admin(fake: FakeGcs) -> Caller:
    return Caller(fake, fake.add_admin("admin"))
