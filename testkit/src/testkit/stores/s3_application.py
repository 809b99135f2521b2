"""An application that speaks S3 with the client that most applications use. For every store that speaks S3."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from libbucket.testing.application import Application, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REFUSALS = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})


class S3Application(Application):
    """Talks to an endpoint with one pair of keys."""

    def __init__(self, *, endpoint: str, access_key: str, secret_key: str, region: str) -> None:
        # As applications do: a server may close a connection that it kept open in the moment in which it is used again.
        config = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 3, "mode": "standard"})
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name=region or "us-east-1",
            config=config.merge(Config(s3={"addressing_style": "path"}, proxies={})),
        )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> S3Application:
        """With what a pod is given: the keys of a claim's Secret and ConfigMap as variables."""
        return cls(
            endpoint=environment["BUCKET_ENDPOINT"],
            access_key=environment["AWS_ACCESS_KEY_ID"],
            secret_key=environment["AWS_SECRET_ACCESS_KEY"],
            region=environment["BUCKET_REGION"],
        )

    def put(self, bucket: str, key: str, data: bytes) -> None:
        with _refusals():
            self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def get(self, bucket: str, key: str) -> bytes:
        with _refusals():
            data: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
            return data

    def list_keys(self, bucket: str) -> list[str]:
        with _refusals():
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            return sorted(found["Key"] for page in pages for found in page.get("Contents", []))

    def delete(self, bucket: str, key: str) -> None:
        with _refusals():
            self.client.delete_object(Bucket=bucket, Key=key)

    def remove_bucket(self, bucket: str) -> None:
        with _refusals():
            self.client.delete_bucket(Bucket=bucket)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in _REFUSALS:
            raise Refused(error.response["Error"]["Code"]) from error
        raise
