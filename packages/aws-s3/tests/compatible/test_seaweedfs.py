"""SeaweedFS with its IAM API passes the conformance suite: each claim has a user of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from libbucket.testing.conformance import Conformance
from testkit.aws_s3.backend import AwsAdministrator, AwsBackend
from testkit.aws_s3.seaweedfs import seaweedfs, seaweedfs_binary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testkit.aws_s3.emulators import AwsServer


class Weeder(AwsAdministrator):
    """Removes what SeaweedFS does not: where versioning is suspended, a delete marker that is removed is there again.

    An object in its place is not.
    """

    def remove_version(self, bucket: str, key: str, version: str) -> None:
        if version == "null" and self.config(bucket, "bucketVersioning") == "Suspended":
            self.s3.put_object(Bucket=bucket, Key=key)
        super().remove_version(bucket, key, version)


class SeaweedBackend(AwsBackend):
    """Has one region. Its policies can't say all that the provisioner needs, which so has root's keys."""

    regions: ClassVar[Mapping[str, str]] = {}

    def __init__(self, server: AwsServer) -> None:
        super().__init__(server, policy="")
        self._administrator = Weeder(server)


@pytest.fixture(scope="module")
def weed() -> Iterator[AwsServer]:
    with seaweedfs(seaweedfs_binary()) as running:
        yield running


class TestSeaweedFS(Conformance):
    @pytest.fixture
    def backend(self, weed: AwsServer) -> SeaweedBackend:
        return SeaweedBackend(weed)
