"""AWS S3 passes the conformance suite, on a server that checks each request against IAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket.testing.conformance import Conformance
from testkit.aws_s3.backend import AwsBackend

if TYPE_CHECKING:
    from testkit.aws_s3.emulators import AwsServer


class TestAwsS3(Conformance):
    @pytest.fixture
    def backend(self, server: AwsServer) -> AwsBackend:
        return AwsBackend(server)
