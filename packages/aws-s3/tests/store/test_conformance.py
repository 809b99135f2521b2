"""AWS S3 keeps every promise of the conformance suite, on a server that checks each request against IAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aws_backend import AwsBackend

from libbucket.testing.conformance import Conformance

if TYPE_CHECKING:
    from aws_servers import AwsServer


class TestAwsS3(Conformance):
    @pytest.fixture
    def backend(self, server: AwsServer) -> AwsBackend:
        return AwsBackend(server)
