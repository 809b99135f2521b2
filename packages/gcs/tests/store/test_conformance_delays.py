"""The groups of the conformance suite about binding and withdrawal, with Google's delays by the fake's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket.testing.conformance.withdrawal import Withdrawal
from testkit.gcs.backend import GcsBackend

if TYPE_CHECKING:
    from testkit.gcs.fake import FakeGcs


class TestGcsAsSlowAsGoogle(Withdrawal):
    """Applications with an HMAC key; rates are left out, because the suite itself makes buckets faster."""

    @pytest.fixture
    def backend(self, fake: FakeGcs) -> GcsBackend:
        backend = GcsBackend(fake, credentials="hmac")
        fake.knobs.turn_on()
        fake.knobs.bucket_seconds = fake.knobs.update_seconds = 0.0
        fake.clock.turn(600)
        return backend
