"""MinIO as the conformance suite sees it: applications, the administrator's view, and what a test starts from.

Used by this package's tests. Everything goes to the real server through MinIO's own clients, past the provisioner.
"""

from __future__ import annotations

import io
import json
import re
import ssl
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import urllib3
from minio import Minio, MinioAdmin
from minio.commonconfig import ENABLED, CopySource
from minio.credentials.providers import StaticProvider
from minio.datatypes import Part
from minio.deleteobjects import DeleteObject
from minio.error import MinioAdminException, S3Error
from minio.versioningconfig import OFF, VersioningConfig

from libbucket import Services
from libbucket.testing.application import Application, Refused
from libbucket.testing.conformance import Administrator, Backend, Capabilities
from libbucket.testing.conformance.backend import REFUSAL_TEXT, REQUEST_ID
from libbucket.testing.misbehaving import Answer
from minio_provisioner.errors import code_of
from minio_provisioner.provisioner import MinioProvisioner
from testkit.admin_secrets import constant, rotated
from testkit.minio.scripted_node import Asked, node_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from libbucket import Authentication, Endpoint, ObjectBucket, Provisioner
    from testkit.minio.server import MinioServer

REFUSALS = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
PUBLIC = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["s3:GetObject"]}],
}


def a_pool(ca_bundle: str = "") -> urllib3.PoolManager:
    """A pool that waits for nothing and trusts what it is told to."""
    context = ssl.create_default_context(cadata=ca_bundle) if ca_bundle else None
    # A server may close a connection after it has refused a request whose body it did not read: Garage does.
    retries = urllib3.Retry(total=None, connect=0, read=1, other=0, redirect=False, allowed_methods=None)
    return urllib3.PoolManager(timeout=20, retries=retries, maxsize=8, ssl_context=context)


@contextmanager
def refusals() -> Iterator[None]:
    """The server's refusals, and only those, become `Refused`."""
    try:
        yield
    except S3Error as error:
        if error.code in REFUSALS:
            raise Refused(error.code) from error
        raise


class MinioApplication(Application):
    """An application with MinIO's own client.

    Args:
        netloc: `host:port` of the server.
        secure: whether with TLS.
        access_key: its own.
        secret_key: its own.
        ca_bundle: PEM of the authority to trust; empty for the system's.
        region: of the server; empty to ask for it.
    """

    def __init__(
        self, *, netloc: str, secure: bool, access_key: str, secret_key: str, ca_bundle: str = "", region: str = ""
    ) -> None:
        self._pool = a_pool(ca_bundle)
        self._url = f"{'https' if secure else 'http'}://{netloc}"
        self.client = Minio(
            endpoint=netloc,
            access_key=access_key,
            secret_key=secret_key,
            secure=secure,
            region=region or None,
            http_client=self._pool,
        )

    def put(self, bucket: str, key: str, data: bytes) -> None:
        with refusals():
            self.client.put_object(bucket, key, io.BytesIO(data), len(data))

    def get(self, bucket: str, key: str) -> bytes:
        with refusals():
            response = self.client.get_object(bucket, key)
            try:
                return response.data
            finally:
                response.close()
                response.release_conn()

    def list_keys(self, bucket: str) -> list[str]:
        with refusals():
            return sorted(found.object_name for found in self.client.list_objects(bucket, recursive=True))

    def delete(self, bucket: str, key: str) -> None:
        with refusals():
            self.client.remove_object(bucket, key)

    def batch_delete(self, bucket: str, keys: Sequence[str]) -> None:
        with refusals():
            for error in self.client.remove_objects(bucket, [DeleteObject(key) for key in keys]):
                assert error.code in REFUSALS, error
                raise Refused(error.code)

    def copy(self, source_bucket: str, source_key: str, bucket: str, key: str) -> None:
        with refusals():
            self.client.copy_object(bucket, key, CopySource(source_bucket, source_key))

    def multipart(self, bucket: str, key: str, parts: Sequence[bytes]) -> None:
        with refusals():
            upload = self.client._create_multipart_upload(bucket, key, {})
            tags = [
                Part(number, self.client._upload_part(bucket, key, part, None, upload, number))
                for number, part in enumerate(parts, start=1)
            ]
            self.client._complete_multipart_upload(bucket, key, upload, tags)

    def start_multipart(self, bucket: str, key: str) -> None:
        with refusals():
            upload = self.client._create_multipart_upload(bucket, key, {})
            self.client._upload_part(bucket, key, b"begun", None, upload, 1)

    def presigned_get(self, bucket: str, key: str) -> bytes:
        with refusals():
            url = self.client.presigned_get_object(bucket, key)
        return self._plain("GET", url)

    def presigned_put(self, bucket: str, key: str, data: bytes) -> None:
        with refusals():
            url = self.client.presigned_put_object(bucket, key)
        self._plain("PUT", url, data)

    def anonymous_get(self, bucket: str, key: str) -> bytes:
        return self._plain("GET", f"{self._url}/{bucket}/{key}")

    def list_all(self) -> list[str]:
        with refusals():
            return [bucket.name for bucket in self.client.list_buckets()]

    def make_public(self, bucket: str) -> None:
        statement: dict[str, Any] = {**PUBLIC["Statement"][0], "Resource": [f"arn:aws:s3:::{bucket}/*"]}  # type: ignore[dict-item]
        with refusals():
            self.client.set_bucket_policy(bucket, json.dumps({**PUBLIC, "Statement": [statement]}))

    def remove_bucket(self, bucket: str) -> None:
        with refusals():
            self.client.remove_bucket(bucket)

    def _plain(self, method: str, url: str, data: bytes | None = None) -> bytes:
        response = self._pool.request(method, url, body=data)
        if response.status == 403:
            raise Refused(f"HTTP {response.status}")
        assert response.status == 200, response.data
        return response.data


class MinioAdministrator(Administrator):
    """Root's view of a server."""

    def __init__(self, server: MinioServer) -> None:
        self._server = server
        self._application = MinioApplication(
            netloc=server.netloc,
            secure=server.url.startswith("https"),
            access_key=server.user,
            secret_key=server.password,
            ca_bundle=server.ca_bundle,
        )
        self.s3 = self._application.client
        self.admin = MinioAdmin(
            endpoint=server.netloc,
            credentials=StaticProvider(server.user, server.password),
            secure=server.url.startswith("https"),
            http_client=a_pool(server.ca_bundle),
        )

    def application(self) -> MinioApplication:
        return self._application

    def make_bucket(self, name: str) -> None:
        self.s3.make_bucket(name)

    def purge_bucket(self, name: str) -> None:
        # The server's own way to remove a bucket with all that is in it; the provisioner must not use it.
        try:
            self.s3._execute("DELETE", name, headers={"x-minio-force-delete": "true"})
        except S3Error as error:
            if error.code == "MethodNotAllowed":
                self._purge_with_locks(name)
            elif error.code != "NoSuchBucket":
                raise

    def unlock(self, bucket: str) -> None:
        """Ends all legal holds and removes what is under retention in governance mode."""
        bypass: Any = {"x-amz-bypass-governance-retention": "true"}
        for found in list(self.s3.list_objects(bucket, recursive=True, include_version=True)):
            name, version = found.object_name or "", found.version_id or ""
            if not found.is_delete_marker:
                self.s3.disable_object_legal_hold(bucket, name, version)
            self.s3._execute("DELETE", bucket, name, headers=bypass, query_params={"versionId": version})

    def _purge_with_locks(self, bucket: str) -> None:
        self.unlock(bucket)
        self.s3.remove_bucket(bucket)

    def bucket_exists(self, name: str) -> bool:
        try:
            return self.s3.bucket_exists(name)
        except ValueError:
            return False  # no bucket can have that name

    def users(self, record: ObjectBucket) -> list[str]:
        """The claim's users, of all generations."""
        known = json.loads(self.admin.user_list())
        return sorted(user for user in known if re.fullmatch(rf"{re.escape(record.user_id)}(-[0-9]+)?", user))

    def identity_exists(self, record: ObjectBucket) -> bool:
        return bool(self.users(record)) or self._knows(self.admin.policy_info, record.user_id)

    def remove_identity(self, record: ObjectBucket) -> None:
        for user in self.users(record):
            self._knows(self.admin.user_remove, user)
        self._knows(self.admin.policy_remove, record.user_id)

    def settings(self, bucket: str) -> Mapping[str, object]:
        return {
            "tags": dict(self.s3.get_bucket_tags(bucket) or {}),
            "versioning": self.s3.get_bucket_versioning(bucket).status,
            "quota": self._quota(bucket),
            "lifecycle": self.s3.get_bucket_lifecycle(bucket),
            "encryption": self.s3.get_bucket_encryption(bucket),
            "policy": self._policy(bucket),
        }

    def enable_versioning(self, bucket: str) -> None:
        self.s3.set_bucket_versioning(bucket, VersioningConfig(ENABLED))

    def stored_versions(self, bucket: str) -> int:
        return len(list(self.s3.list_objects(bucket, recursive=True, include_version=True)))

    def unfinished_uploads(self, bucket: str) -> int:
        return len(self.s3._list_multipart_uploads(bucket).uploads)

    def config(self, bucket: str, key: str) -> str | None:
        if key == "bucketVersioning":
            status = self.s3.get_bucket_versioning(bucket).status
            return None if status == OFF else status
        quota = self._quota(bucket)
        return str(quota) if quota else None

    def set_config(self, bucket: str, key: str, value: str) -> None:
        if key == "bucketVersioning":
            self.s3.set_bucket_versioning(bucket, VersioningConfig(value))
        else:
            self.admin.bucket_quota_set(bucket, int(value))

    def _quota(self, bucket: str) -> int:
        found = json.loads(self.admin.bucket_quota_get(bucket))
        return int(found.get("size") or found.get("quota") or 0)

    def _policy(self, bucket: str) -> str | None:
        try:
            return self.s3.get_bucket_policy(bucket)
        except S3Error as error:
            if error.code != "NoSuchBucketPolicy":
                raise
            return None

    def _knows(self, call: Any, name: str) -> bool:
        try:
            call(name)
        except MinioAdminException as error:
            if code_of(error) not in {"XMinioAdminNoSuchUser", "XMinioAdminNoSuchPolicy"}:
                raise
            return False
        return True


class MinioBackend(Backend):
    """A running server, ready for the suite."""

    capabilities = Capabilities(
        config={
            "maxSize": {"1Gi": str(2**30), "2G": str(2 * 10**9)},
            "bucketMaxSize": {"1Mi": str(2**20), "5k": "5000"},
            "bucketVersioning": {"Enabled": "Enabled", "Suspended": "Suspended"},
        },
        reset={"bucketVersioning": "Suspended"},  # S3 can't take it back to never-was
    )

    def __init__(self, server: MinioServer) -> None:
        self._server = server
        self._administrator = MinioAdministrator(server)

    @property
    def parameters(self) -> Mapping[str, str]:
        return {"endpoint": self._server.url, "secretName": "admin", "secretNamespace": "minio"}

    @property
    def administrator(self) -> MinioAdministrator:
        return self._administrator

    def provisioner(self) -> Provisioner:
        return a_provisioner(self._server)

    def fenced(self, before_request: Callable[[], None]) -> Provisioner:
        return MinioProvisioner(replace(_services(self._server), before_request=before_request))

    def stepwise_provisioner(self) -> Provisioner:
        return MinioProvisioner(_services(self._server), purge_seconds=0.0)

    def misled(self, url: str, seconds: float) -> tuple[Provisioner, Mapping[str, str]]:
        return MinioProvisioner(_services(self._server), read_seconds=seconds), {**self.parameters, "endpoint": url}

    def refusal(self, status: int, code: str) -> Answer:
        return refused_with(status, code, request_id=REQUEST_ID)

    @contextmanager
    def distrusting(self) -> Iterator[Provisioner]:
        def refuse(asked: Asked) -> Answer | None:
            return None if asked.access_key == self._server.user else refused_with(403, "InvalidAccessKeyId")

        with node_before(self._server, refuse) as node:
            yield Rerouted(_services(self._server), node.url)

    @property
    def secrets(self) -> list[str]:
        return [self._server.password]

    def broken_provisioners(self) -> Mapping[str, Provisioner]:
        wrong = {"MINIO_ROOT_USER": self._server.user, "MINIO_ROOT_PASSWORD": self._server.password[::-1]}
        return {"wrong password": a_provisioner(self._server, **wrong)}

    def rotating(self, is_spoilt: Callable[[], bool]) -> Provisioner:
        root = _root(self._server)
        other = {**root, "MINIO_ROOT_PASSWORD": self._server.password[::-1]}
        return MinioProvisioner(Services(read_secret=rotated(root, other, is_spoilt)))

    def application(self, endpoint: Endpoint, credentials: Authentication) -> MinioApplication:
        keys = credentials.access_keys
        assert keys is not None
        return MinioApplication(
            netloc=f"{endpoint.bucket_host}:{endpoint.bucket_port}",
            secure=endpoint.additional_config["BUCKET_SSL"] == "true",
            access_key=keys.access_key_id,
            secret_key=keys.secret_access_key.reveal(),
            ca_bundle=endpoint.additional_config.get("BUCKET_CA_CERT", ""),
        )


def refused_with(status: int, code: str, *, request_id: str = "0") -> Answer:
    """A refusal of MinIO's: in XML, with which it answers on the paths of its admin API, too.

    Source: MinIO's `cmd/auth-handler.go`, `setAuthMiddleware`, and `writeErrorResponse` in `cmd/api-response.go`.
    """
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{REFUSAL_TEXT}</Message>'
        f"<Resource>/</Resource><RequestId>{request_id}</RequestId><HostId>1</HostId></Error>"
    )
    headers = {"Content-Type": "application/xml", "x-amz-request-id": request_id}
    return Answer(status=status, headers=headers, body=body.encode())


def refused_by_admin_api(status: int, code: str, *, request_id: str = "0") -> Answer:
    """A refusal of MinIO's admin API: `writeErrorResponseJSON` in `cmd/api-response.go`."""
    body = json.dumps({"Code": code, "Message": REFUSAL_TEXT, "RequestId": request_id, "HostId": "1"})
    headers = {"Content-Type": "application/json", "x-amz-request-id": request_id}
    return Answer(status=status, headers=headers, body=body.encode())


class Rerouted(MinioProvisioner):
    """A provisioner whose classes are as they are, and which reaches their MinIO another way."""

    def __init__(self, services: Services, url: str, **settings: Any) -> None:
        super().__init__(services, **settings)
        self._url = url

    def _request(self, of: Any) -> Any:
        parameters = {"publicEndpoint": of.parameters["endpoint"], **of.parameters, "endpoint": self._url}
        return super()._request(replace(of, parameters=parameters))


def a_provisioner(server: MinioServer, **secret: str) -> MinioProvisioner:
    """A provisioner whose administrator's Secret is root's, or what is given."""
    return MinioProvisioner(_services(server, **secret))


def _services(server: MinioServer, **secret: str) -> Services:
    return Services(read_secret=constant(secret or _root(server)))


def _root(server: MinioServer) -> dict[str, str]:
    return {"MINIO_ROOT_USER": server.user, "MINIO_ROOT_PASSWORD": server.password}
