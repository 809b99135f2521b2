"""VersityGW with its IAM service passes the conformance suite: each claim has a user of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from libbucket.testing.conformance import Conformance
from testkit.aws_s3.backend import README_POLICY, REGION, AwsBackend, without_conditions
from testkit.aws_s3.versitygw import versitygw, versitygw_binary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testkit.aws_s3.emulators import AwsServer


@pytest.fixture(scope="module")
def gateway() -> Iterator[AwsServer]:
    with versitygw(versitygw_binary(), region=REGION) as running:
        yield running


class GatewayBackend(AwsBackend):
    """Has one region, and knows no key of the conditions in the README's policy."""

    regions: ClassVar[Mapping[str, str]] = {}

    def __init__(self, server: AwsServer) -> None:
        super().__init__(server, policy=without_conditions(README_POLICY))


class TestVersityGateway(Conformance):
    @pytest.fixture
    def backend(self, gateway: AwsServer) -> GatewayBackend:
        return GatewayBackend(gateway)
