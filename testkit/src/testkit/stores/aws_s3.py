"""AWS S3 for the demo, played by a server that checks every request against IAM."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

# The server is started as that package's own tests start it.
from testkit.aws_s3.backend import README_POLICY, AwsAdministrator
from testkit.aws_s3.emulators import AwsServer, ministack, servers_python
from testkit.stores.base import Bound, Store
from testkit.stores.s3_application import S3Application

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["aws_s3", "servers_python"]

_REGION: Final = "eu-central-1"


class AwsStore(Store):
    title = "AWS S3"
    program = "aws-s3-provisioner"
    provisioner_name = "aws-s3.io/bucket"
    brownfield_bucket = "reports"
    module = "aws_s3_provisioner"
    config = ("bucketVersioning", "Enabled", "Suspended")

    def __init__(self, server: AwsServer) -> None:
        self.server = server
        self._admin = AwsAdministrator(server)
        self.address = server.url
        self.parameters = {"s3Endpoint": server.url, "iamEndpoint": server.url}
        # The policy of the package's README, and nothing else.
        self.admin_secret = self._admin.make_user("bucket-provisioner", README_POLICY)
        self._s3 = self.administrator().client

    def application(self, bound: Bound) -> S3Application:
        return S3Application.from_environment(bound.environment)

    def administrator(self) -> S3Application:
        return S3Application(
            endpoint=self.address,
            access_key=self.server.access_key,
            secret_key=self.server.secret_key,
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

    def census(self) -> frozenset[str]:
        iam, found = self._admin.iam, set()
        for bucket in self._s3.list_buckets()["Buckets"]:
            found |= {f"bucket {bucket['Name']}", f"policy of bucket {bucket['Name']}: {self._policy(bucket['Name'])}"}
        for user in (each["UserName"] for each in iam.list_users()["Users"]):
            keys = [each["AccessKeyId"] for each in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]]
            inline = iam.list_user_policies(UserName=user)["PolicyNames"]
            attached = [
                each["PolicyArn"] for each in iam.list_attached_user_policies(UserName=user)["AttachedPolicies"]
            ]
            found |= {f"user {user}", *(f"key {key} of user {user}" for key in keys)}
            found |= {f"policy {name} of user {user}" for name in (*inline, *attached)}
        return frozenset(found | {f"policy {each['Arn']}" for each in iam.list_policies(Scope="Local")["Policies"]})

    def setting(self, bucket: str) -> str:
        return str(self._s3.get_bucket_versioning(Bucket=bucket).get("Status", ""))

    def remove_ownership_tags(self, bound: Bound) -> None:
        self._s3.delete_bucket_tagging(Bucket=bound.bucket)
        iam, user = self._admin.iam, bound.state["UserName"]
        keys = [each["Key"] for each in iam.list_user_tags(UserName=user)["Tags"]]
        iam.untag_user(UserName=user, TagKeys=keys)

    def _policy(self, bucket: str) -> str:
        try:
            return str(self._s3.get_bucket_policy(Bucket=bucket)["Policy"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucketPolicy":
                raise
            return ""


@contextmanager
def aws_s3() -> Iterator[AwsStore]:
    """Starts a server on a free port, in a fresh directory."""
    with ministack() as server:
        yield AwsStore(server)
