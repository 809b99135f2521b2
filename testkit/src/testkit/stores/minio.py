"""The real MinIO server for the demo."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException

# The server is started as that package's own tests start it.
from testkit.minio.server import MinioServer, minio_binary, minio_server
from testkit.stores.base import Bound, Store
from testkit.stores.s3_application import S3Application

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["minio", "minio_binary"]


class MinioStore(Store):
    title = "MinIO"
    program = "minio-provisioner"
    provisioner_name = "minio.io/bucket"
    brownfield_bucket = "reports"
    module = "minio_provisioner"
    config = ("maxSize", "1Gi", "2Gi")

    def __init__(self, server: MinioServer) -> None:
        self.server = server
        self.address = server.url
        self.parameters = {"endpoint": server.url}
        self.admin_secret = {"MINIO_ROOT_USER": server.user, "MINIO_ROOT_PASSWORD": server.password}
        netloc = server.url.partition("://")[2]
        self._admin = MinioAdmin(
            endpoint=netloc, credentials=StaticProvider(server.user, server.password), secure=False
        )

    def application(self, bound: Bound) -> S3Application:
        return S3Application.from_environment(bound.environment)

    def administrator(self) -> S3Application:
        return S3Application(
            endpoint=self.address, access_key=self.server.user, secret_key=self.server.password, region=""
        )

    def make_bucket(self, name: str) -> None:
        self.administrator().client.create_bucket(Bucket=name)

    def what_is_there(self, bound: Bound) -> list[str]:
        buckets = self.administrator().client.list_buckets()["Buckets"]
        found = {
            "bucket": any(each["Name"] == bound.bucket for each in buckets),
            "user": _knows(self._admin.user_info, bound.state["UserName"]),
            "policy": _knows(self._admin.policy_info, bound.state["PolicyName"]),
        }
        return [name for name, is_there in found.items() if is_there]

    def census(self) -> frozenset[str]:
        buckets = self.administrator().client.list_buckets()["Buckets"]
        users, policies = json.loads(self._admin.user_list()), json.loads(self._admin.policy_list())
        found = {f"bucket {each['Name']}" for each in buckets} | {f"policy {name}" for name in policies}
        for name, user in users.items():
            found |= {f"user {name}", f"policies of user {name}: {user.get('policyName', '')}"}
        return frozenset(found)

    def setting(self, bucket: str) -> str:
        quota = json.loads(self._admin.bucket_quota_get(bucket)).get("quota", 0)
        return f"{quota // 2**30}Gi" if quota else ""

    def remove_ownership_tags(self, bound: Bound) -> None:
        client = self.administrator().client
        client.delete_bucket_tagging(Bucket=bound.bucket)
        client.delete_bucket_policy(Bucket=bound.bucket)


def _knows(ask: Callable[[str], str], name: str) -> bool:
    try:
        ask(name)
    except MinioAdminException as error:
        if "NoSuch" not in str(error):
            raise
        return False
    return True


@contextmanager
def minio() -> Iterator[MinioStore]:
    """Starts a server on a free port, in a fresh directory."""
    with minio_server(minio_binary()) as server:
        yield MinioStore(server)
