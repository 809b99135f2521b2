"""What is said of settings that can't be used, before any call."""

from __future__ import annotations

import pytest

from aws_s3_provisioner.client import Connector
from aws_s3_provisioner.parameters import Admin, parse_parameters
from aws_s3_provisioner.sdk_clients import Limits
from aws_s3_provisioner.settings import parse_settings
from libbucket import InvalidConfig, SecretStr
from libbucket.testing import builders

ADMIN = Admin(access_key="AKIA", secret_key=SecretStr("s3cr3t"), token=SecretStr(""))


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        ('{"Rules": []}', "has no Rules"),
        ("{}", "Rules"),
        ('{"Rules": [{"ID": "old"}]}', "Status"),
        ('{"Rules": [{"ID": 1, "Status": "Enabled"}]}', "ID"),
        ('{"Rules": [{"Status": "Enabled"}], "Extra": 1}', "Extra"),
    ],
)
def test_a_mistake_in_lifecycle_rules_is_told_as_it_is(rules: str, word: str) -> None:
    options = builders.options(config={"bucketLifecycle": rules})
    parameters = parse_parameters({})
    with (
        Connector(Limits(), lambda: None).connect(parameters, ADMIN) as clients,
        pytest.raises(InvalidConfig, match=word) as refused,
    ):
        parse_settings(options, parameters, clients)
    assert "additionalConfig.bucketLifecycle" in refused.value.message


def test_lifecycle_rules_that_s3_takes_are_taken() -> None:
    options = builders.options(config={"bucketLifecycle": '{"Rules": [{"Status": "Enabled", "Filter": {}}]}'})
    parameters = parse_parameters({})
    with Connector(Limits(), lambda: None).connect(parameters, ADMIN) as clients:
        assert parse_settings(options, parameters, clients).lifecycle is not None
