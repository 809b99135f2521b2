"""A store that speaks S3 and has no IAM API: the real MinIO, whose one user every claim of the class gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testkit.aws_s3.emulators import AwsServer
from testkit.aws_s3.shared_keys import SharedKeys

# The server is started as that package's own tests start it.
from testkit.minio.server import minio_binary, minio_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def store() -> Iterator[AwsServer]:
    with minio_server(minio_binary()) as running:
        yield AwsServer(url=running.url, access_key=running.user, secret_key=running.password)


class TestMinio(SharedKeys):
    """With the keys of its root user."""
