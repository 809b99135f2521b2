"""Google Cloud Storage passes the conformance suite, with either kind of key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket.testing.conformance import Conformance
from libbucket.testing.conformance.binding import Binding
from libbucket.testing.conformance.failures import Failures
from testkit.gcs.backend import GcsBackend

if TYPE_CHECKING:
    from testkit.gcs.fake import FakeGcs


class TestGcsHmac(Conformance):
    """Applications with an HMAC key and boto3."""

    @pytest.fixture
    def backend(self, fake: FakeGcs) -> GcsBackend:
        return GcsBackend(fake, credentials="hmac")


class TestGcsJsonKey(Conformance):
    """Applications with a service-account key and google-cloud-storage."""

    @pytest.fixture
    def backend(self, fake: FakeGcs) -> GcsBackend:
        return GcsBackend(fake, credentials="json-key")


class TestGcsBoth(Binding, Failures):
    """Claims with both kinds of key; the other groups are tested for each kind alone."""

    @pytest.fixture
    def backend(self, fake: FakeGcs) -> GcsBackend:
        return GcsBackend(fake, credentials="both")
