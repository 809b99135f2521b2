"""AWS S3 for the demo, played by a server that checks every request against IAM."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stores.base import Bound, Store
from stores.s3 import S3Application

# The server is started as that package's own tests start it.
sys.path.append(str(Path(__file__).parents[3] / "packages/aws-s3/tests/support"))
from aws_backend import README_POLICY, AwsAdministrator
from aws_servers import AwsServer, ministack

if TYPE_CHECKING:
    from collections.abc import Iterator

_REGION: Final = "eu-central-1"


class AwsStore(Store):
    title = "AWS S3"
    program = "aws-s3-provisioner"
    provisioner_name = "aws-s3.io/bucket"
    brownfield_bucket = "reports"

    def __init__(self, server: AwsServer) -> None:
        self._server = server
        self._admin = AwsAdministrator(server)
        self.address = server.url
        self.parameters = {"s3Endpoint": server.url, "iamEndpoint": server.url}
        # The policy of the package's README, and nothing else.
        self.admin_secret = self._admin.make_user("bucket-provisioner", README_POLICY)

    def application(self, bound: Bound) -> S3Application:
        return S3Application(
            endpoint=bound.environment["BUCKET_ENDPOINT"],
            access_key=bound.environment["AWS_ACCESS_KEY_ID"],
            secret_key=bound.environment["AWS_SECRET_ACCESS_KEY"],
            region=bound.environment["BUCKET_REGION"],
        )

    def administrator(self) -> S3Application:
        return S3Application(
            endpoint=self.address,
            access_key=self._server.access_key,
            secret_key=self._server.secret_key,
            region=_REGION,
        )

    def make_bucket(self, name: str) -> None:
        self._admin.make_bucket(name, region=_REGION)

    def what_is_there(self, bound: Bound) -> list[str]:
        found = {
            "bucket": self._admin.bucket_exists(bound.bucket),
            "user": self._admin.user_exists(bound.state["UserName"]),
        }
        return [name for name, is_there in found.items() if is_there]


@contextmanager
def aws_s3() -> Iterator[AwsStore]:
    """Starts a server on a free port, in a fresh directory."""
    with ministack() as server:
        yield AwsStore(server)
