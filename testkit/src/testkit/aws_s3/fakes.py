"""A provisioner and its verbs for scripted servers in place of AWS, where only the answers count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aws_s3_provisioner.provisioner import AwsS3Provisioner
from aws_s3_provisioner.sdk_clients import Limits
from libbucket import SecretStr, Services
from libbucket.testing import builders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from libbucket import BucketOptions

SECRET = {"secretName": "admin", "secretNamespace": "aws"}
HELD = {"AWS_ACCESS_KEY_ID": SecretStr("AKIA"), "AWS_SECRET_ACCESS_KEY": SecretStr("s3cr3t")}
SHORT = Limits(connect=0.5, read=0.3)
"""For servers that never answer."""
USUAL = Limits(connect=5.0, read=20.0)
"""For those that do, on a machine with other work."""

each_verb = pytest.mark.parametrize("verb", ["provision", "grant", "delete", "revoke", "is_intact"])


def provisioner_for(
    secret: Mapping[str, SecretStr] | None = None, *, fence: Callable[[], None] = lambda: None, limits: Limits = USUAL
) -> AwsS3Provisioner:
    """A provisioner with an administrator's Secret."""
    return AwsS3Provisioner(Services(read_secret=lambda *_: secret or HELD, before_request=fence), limits=limits)


def request_to(url: str, **parameters: str) -> BucketOptions:
    """A request for a store at `url`, with credentials that the claim's Secret holds."""
    where = {**SECRET, "s3Endpoint": url, "iamEndpoint": url, **parameters}
    return builders.options(parameters=where, credentials=builders.access_keys())


def verbs(provisioner: AwsS3Provisioner, url: str) -> dict[str, Callable[[], object]]:
    """Every verb, with a request for a store at `url`."""
    request = request_to(url)
    record = builders.intent(request)
    return {
        "provision": lambda: provisioner.provision(request),
        "grant": lambda: provisioner.grant(request),
        "delete": lambda: provisioner.delete(record),
        "revoke": lambda: provisioner.revoke(record),
        "is_intact": lambda: provisioner.is_intact(request),
    }
