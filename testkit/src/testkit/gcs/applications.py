"""Applications on both of Google's clients: boto3 with HMAC keys, google-cloud-storage with a key file or a token.

What a claim's Secret lets them do is for them to find out: they know no fake and no provisioner. Applications with HMAC
keys use boto3, those with a service-account key google-cloud-storage, as Google's documentation has it for either.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud import storage
from google.cloud.storage.exceptions import InvalidResponse
from google.oauth2 import credentials as oauth
from google.oauth2 import service_account

from libbucket.testing.application import Application, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import google.auth.credentials


REFUSALS = frozenset(
    {"AccessDenied", "AuthenticationRequired", "InvalidAccessKeyId", "InvalidSecurity", "SignatureDoesNotMatch"}
)


_TIMEOUT = (5, 20)


@contextmanager
def s3_refusals() -> Iterator[None]:
    """The store's refusals, and only those, become `Refused`."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in REFUSALS or (code == "403" and not error.response["Error"].get("Message")):
            raise Refused(code) from error
        raise


@contextmanager
def json_refusals() -> Iterator[None]:
    """As `s3_refusals`; a key with which no token can be got is one of them."""
    try:
        yield
    except (api.Unauthorized, api.Forbidden, auth.RefreshError) as error:
        raise Refused(type(error).__name__) from error
    except InvalidResponse as error:  # of an upload in chunks
        if error.response.status_code not in {401, 403}:
            raise
        raise Refused(f"HTTP {error.response.status_code}") from error


class HmacApplication(Application):
    """An application with an HMAC key and boto3, on the S3-compatible XML API."""

    def __init__(self, *, endpoint: str, access_key: str, secret_key: str) -> None:
        self._url = endpoint
        checksums: Any = {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
        config = Config(
            connect_timeout=5,
            read_timeout=20,
            retries={"total_max_attempts": 1},
            proxies={},
            s3={"addressing_style": "path"},
        )
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="auto",
            config=config.merge(Config(**checksums)),
        )

    def put(self, bucket: str, key: str, data: bytes) -> None:
        with s3_refusals():
            self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def get(self, bucket: str, key: str) -> bytes:
        with s3_refusals():
            data: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
            return data

    def list_keys(self, bucket: str) -> list[str]:
        with s3_refusals():
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            return sorted(found["Key"] for page in pages for found in page.get("Contents", []))

    def delete(self, bucket: str, key: str) -> None:
        with s3_refusals():
            self.client.delete_object(Bucket=bucket, Key=key)

    def batch_delete(self, bucket: str, keys: Sequence[str]) -> None:
        with s3_refusals():
            answer = self.client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
        for error in answer.get("Errors", []):
            assert error["Code"] in REFUSALS, error
            raise Refused(error["Code"])

    def copy(self, source_bucket: str, source_key: str, bucket: str, key: str) -> None:
        with s3_refusals():
            self.client.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": source_bucket, "Key": source_key})

    def multipart(self, bucket: str, key: str, parts: Sequence[bytes]) -> None:
        with s3_refusals():
            upload = self.client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
            tags = [
                {"PartNumber": number, "ETag": self._part(bucket, key, upload, number, part)}
                for number, part in enumerate(parts, start=1)
            ]
            self.client.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": tags}
            )

    def start_multipart(self, bucket: str, key: str) -> None:
        with s3_refusals():
            upload = self.client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
            self._part(bucket, key, upload, 1, b"begun")

    def presigned_get(self, bucket: str, key: str) -> bytes:
        return plain("GET", self.client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}))

    def presigned_put(self, bucket: str, key: str, data: bytes) -> None:
        plain("PUT", self.client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key}), data)

    def anonymous_get(self, bucket: str, key: str) -> bytes:
        return plain("GET", f"{self._url}/{bucket}/{key}")

    def list_all(self) -> list[str]:
        with s3_refusals():
            return [bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]]

    def make_public(self, bucket: str) -> None:
        with s3_refusals():
            self.client.put_bucket_acl(Bucket=bucket, ACL="public-read")

    def remove_bucket(self, bucket: str) -> None:
        with s3_refusals():
            self.client.delete_bucket(Bucket=bucket)

    def _part(self, bucket: str, key: str, upload: str, number: int, data: bytes) -> str:
        answer = self.client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data)
        return str(answer["ETag"])


class JsonApplication(Application):
    """An application with a service-account key and google-cloud-storage."""

    def __init__(self, *, endpoint: str, key: str, project: str) -> None:
        self._url = endpoint
        self.credentials = _credentials(key, f"{endpoint}/oauth2/token")
        self.client = storage.Client(
            project=project, credentials=self.credentials, client_options={"api_endpoint": endpoint}
        )
        self.client._bucket_metadata_cache = None  # it sends requests of its own, from threads

    def put(self, bucket: str, key: str, data: bytes) -> None:
        with json_refusals():
            self._blob(bucket, key).upload_from_string(data, timeout=_TIMEOUT, retry=None)

    def get(self, bucket: str, key: str) -> bytes:
        with json_refusals():
            data: bytes = self._blob(bucket, key).download_as_bytes(timeout=_TIMEOUT, retry=None)
            return data

    def list_keys(self, bucket: str) -> list[str]:
        with json_refusals():
            return sorted(each.name for each in self.client.list_blobs(bucket, timeout=_TIMEOUT, retry=None))

    def delete(self, bucket: str, key: str) -> None:
        with json_refusals():
            self._blob(bucket, key).delete(timeout=_TIMEOUT, retry=None)

    def batch_delete(self, bucket: str, keys: Sequence[str]) -> None:
        with json_refusals():
            target = self.client.bucket(bucket)
            with self.client.batch():
                for key in keys:
                    target.delete_blob(key, timeout=_TIMEOUT, retry=None)

    def copy(self, source_bucket: str, source_key: str, bucket: str, key: str) -> None:
        with json_refusals():
            token, _, _ = self._blob(bucket, key).rewrite(
                self._blob(source_bucket, source_key), timeout=_TIMEOUT, retry=None
            )
            assert token is None

    def multipart(self, bucket: str, key: str, parts: Sequence[bytes]) -> None:
        """As a resumable upload, chunk by chunk."""
        with json_refusals():
            blob = self._blob(bucket, key)
            blob.chunk_size = 1024 * 1024
            with blob.open("wb", timeout=_TIMEOUT, retry=None, ignore_flush=True) as file:
                for part in parts:
                    file.write(part)

    def start_multipart(self, bucket: str, key: str) -> None:
        with json_refusals():
            url = self._blob(bucket, key).create_resumable_upload_session(timeout=_TIMEOUT, retry=None)
        chunk = b"b" * 256 * 1024
        answer = requests.put(url, chunk, headers={"Content-Range": f"bytes 0-{len(chunk) - 1}/*"}, timeout=20)
        assert answer.status_code == 308, answer.status_code

    def presigned_get(self, bucket: str, key: str) -> bytes:
        return plain("GET", self._signed(bucket, key, "GET"))

    def presigned_put(self, bucket: str, key: str, data: bytes) -> None:
        plain("PUT", self._signed(bucket, key, "PUT"), data)

    def anonymous_get(self, bucket: str, key: str) -> bytes:
        return plain("GET", f"{self._url}/{bucket}/{key}")

    def list_all(self) -> list[str]:
        with json_refusals():
            return [bucket.name for bucket in self.client.list_buckets(timeout=_TIMEOUT, retry=None)]

    def make_public(self, bucket: str) -> None:
        with json_refusals():
            target = self.client.bucket(bucket)
            target.iam_configuration.public_access_prevention = "inherited"
            target.patch(timeout=_TIMEOUT, retry=None)
            policy = target.get_iam_policy(requested_policy_version=3, timeout=_TIMEOUT, retry=None)
            policy.version = 3
            policy.bindings.append({"role": "roles/storage.objectViewer", "members": {"allUsers"}})
            target.set_iam_policy(policy, timeout=_TIMEOUT, retry=None)

    def remove_bucket(self, bucket: str) -> None:
        with json_refusals():
            self.client.bucket(bucket).delete(timeout=_TIMEOUT, retry=None)

    def _blob(self, bucket: str, key: str) -> Any:
        return self.client.bucket(bucket).blob(key)

    def _signed(self, bucket: str, key: str, method: str) -> str:
        url: str = self._blob(bucket, key).generate_signed_url(
            version="v4", expiration=300, method=method, credentials=self.credentials, api_access_endpoint=self._url
        )
        return url


class TokenApplication(JsonApplication):
    """A pod that gets its tokens from the metadata server of GKE: it has no key, and can sign nothing."""

    def __init__(self, *, endpoint: str, token: str, project: str) -> None:
        super().__init__(endpoint=endpoint, key="{}", project=project)
        self.credentials = oauth.Credentials(token=token)
        self.client._credentials = self.credentials
        self.client._http_internal = None


def plain(method: str, url: str, data: bytes | None = None) -> bytes:
    """A request without any credentials but what the URL says."""
    response = requests.request(method, url, data=data, timeout=20)
    if response.status_code in {401, 403}:
        raise Refused(f"HTTP {response.status_code}")
    assert response.status_code == 200, response.content
    return response.content


class OfflineCredentials(service_account.Credentials):
    """Without the request to iamcredentials.googleapis.com that google-auth sends in the background."""

    def before_request(self, request: Any, method: str, url: str, headers: Any) -> None:
        if not self.valid:
            self.refresh(request)  # type: ignore[no-untyped-call]
        self.apply(headers)  # type: ignore[no-untyped-call]


def _credentials(key: str, token_uri: str) -> google.auth.credentials.Credentials:
    """What an application makes of its Secret; one that holds no key sends what it has, and Google refuses that.

    Args:
        key: the key file. It names Google's own token endpoint, whatever API gave it out.
        token_uri: the fake's.
    """
    try:
        found: OfflineCredentials = OfflineCredentials.from_service_account_info(
            {**json.loads(key), "token_uri": token_uri}
        )  # type: ignore[no-untyped-call]
    except ValueError:
        return oauth.Credentials(token="no-token")
    return found
