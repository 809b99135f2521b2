"""Removes what a bucket holds, by the S3 API and with a key. Knows no claim."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error

import libbucket

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

BATCH, SECONDS = 1000, 20


def connect(url: str, region: str, keys: libbucket.AccessKeys, before_request: Callable[[], None]) -> Minio:
    """A client that sends each request once, after the leadership check, and waits for its answer for some time."""
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=5, read=SECONDS), retries=False)
    libbucket.fence_requests(pool, before_request, answer_seconds=SECONDS)
    s3, secret = libbucket.Address.from_url(url), keys.secret_access_key.reveal()
    return Minio(s3.netloc, keys.access_key_id, secret, secure=s3.secure, region=region, http_client=pool)


def purge(s3: Minio, bucket: str, seconds: float) -> None:
    """Removes batch after batch.

    Raises:
        PurgeUnfinished: the time is up, and other claims have their turn.
    """
    with errors():
        libbucket.drain(batches(s3, bucket), seconds)


def batches(client: Minio, bucket: str) -> Iterator[int]:
    while found := [
        DeleteObject(each.object_name or "") for each in islice(client.list_objects(bucket, recursive=True), BATCH)
    ]:
        for refused in client.remove_objects(bucket, found):
            raise libbucket.StoreRefused(f"Garage refuses to delete an object: {refused.code}")
        yield len(found)


@contextmanager
def errors() -> Generator[None]:
    """The S3 API's errors as libbucket's: by their code, never with the text of an answer."""
    try:
        yield
    except S3Error as error:
        if error.code == "AuthorizationHeaderMalformed":
            raise libbucket.InvalidParameters(["region must be the s3_region of Garage's configuration"]) from None
        if error.code == "AccessDenied":  # each node hears of a new key by itself
            raise libbucket.NotReady("the key that empties the bucket is not known to every node yet") from None
        if error.code in {"InternalError", "ServiceUnavailable"}:
            raise libbucket.StoreUnavailable(f"Garage's S3 API fails: {error.code}") from None
        raise libbucket.StoreRefused(f"Garage's S3 API refuses a request: {error.code}") from None
    except (MinioException, urllib3.exceptions.HTTPError):
        raise libbucket.StoreUnavailable("Garage's S3 API does not answer") from None
