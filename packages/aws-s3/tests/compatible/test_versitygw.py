"""VersityGW with its IAM service passes the conformance suite: each claim has a user of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

import pytest

from libbucket import StoreRefused
from libbucket.testing.conformance import Conformance
from testkit.aws_s3.backend import README_POLICY, REGION, USER, AwsBackend, as_for_versitygw, rules
from testkit.aws_s3.versitygw import versitygw, versitygw_binary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from libbucket.testing.conformance.environment import Environment
    from testkit.aws_s3.emulators import AwsServer

RULES: Final = "bucketLifecycle"


@pytest.fixture(scope="module")
def gateway() -> Iterator[AwsServer]:
    with versitygw(versitygw_binary(), region=REGION) as running:
        yield running


class GatewayBackend(AwsBackend):
    """Has one region, and takes the README's policy as written there for it."""

    regions: ClassVar[Mapping[str, str]] = {}
    capabilities = replace(
        AwsBackend.capabilities,
        config={key: values for key, values in AwsBackend.capabilities.config.items() if key != RULES},
        silent=AwsBackend.capabilities.silent - {RULES},
    )

    def __init__(self, server: AwsServer) -> None:
        super().__init__(server, policy=as_for_versitygw(README_POLICY))
        # It takes no policy of a bucket for a user that it does not know.
        name = USER.rpartition("/")[2]
        if not self.administrator.user_exists(name):
            self.administrator.iam.create_user(UserName=name)


class TestVersityGateway(Conformance):
    @pytest.fixture
    def backend(self, gateway: AwsServer) -> GatewayBackend:
        return GatewayBackend(gateway)

    def test_every_supported_key_is_tried_by_this_suite(self, environment: Environment) -> None:
        """But for rules, which the gateway has not: a claim with some says so."""
        assert environment.provisioner.supported_config - set(environment.backend.capabilities.config) == {RULES}
        with pytest.raises(StoreRefused, match="s3:PutLifecycleConfiguration"):
            environment.greenfield(environment.request(config={RULES: rules(3)}))
