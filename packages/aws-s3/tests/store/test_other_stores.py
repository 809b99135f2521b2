"""A store that speaks S3 and has no IAM API: the real MinIO, whose one user every claim of the class gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket import BucketExists, BucketNotFound
from libbucket.testing import builders
from testkit.aws_s3.backend import AwsApplication, a_provisioner
from testkit.aws_s3.emulators import AwsServer

# The server is started as that package's own tests start it.
from testkit.minio.server import minio_binary, minio_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws_s3_provisioner.provisioner import AwsS3Provisioner
    from libbucket import BucketOptions


@pytest.fixture(scope="module")
def store() -> Iterator[AwsServer]:
    with minio_server(minio_binary()) as running:
        yield AwsServer(url=running.url, access_key=running.user, secret_key=running.password)


@pytest.fixture
def provisioner(store: AwsServer) -> AwsS3Provisioner:
    return a_provisioner(store)


@pytest.fixture
def administrator(store: AwsServer) -> AwsApplication:
    return AwsApplication(url=store.url, access_key=store.access_key, secret_key=store.secret_key, region="us-east-1")


def a_request(store: AwsServer, bucket: str, **config: str) -> BucketOptions:
    parameters = {"s3Endpoint": store.url, "region": "us-east-1", "createBucketUser": "no"}
    parameters |= {"secretName": "admin", "secretNamespace": "minio"}
    return builders.options(bucket_name=bucket, parameters=parameters, config=config)


def test_a_claim_lives_its_whole_life(
    store: AwsServer, provisioner: AwsS3Provisioner, administrator: AwsApplication
) -> None:
    request = a_request(store, "whole-life", bucketVersioning="Enabled")
    answer = provisioner.provision(request)
    endpoint, authentication = answer.connection.endpoint, answer.connection.authentication
    assert authentication is not None
    assert authentication.access_keys is not None
    assert f"http://{endpoint.bucket_host}:{endpoint.bucket_port}" == store.url
    assert endpoint.additional_config == {"BUCKET_SSL": "false", "BUCKET_ENDPOINT": store.url}
    assert authentication.access_keys.access_key_id == store.access_key
    tags = administrator.client.get_bucket_tagging(Bucket="whole-life")["TagSet"]
    assert request.owner.matches({tag["Key"]: tag["Value"] for tag in tags})
    again = builders.again(request, answer)
    assert provisioner.is_intact(again)
    assert provisioner.provision(again).connection == answer.connection
    for content in (b"one", b"two"):
        administrator.put("whole-life", "key", content)
    administrator.delete("whole-life", "key")
    administrator.start_multipart("whole-life", "begun")
    provisioner.delete(builders.recorded(answer, request))
    assert administrator.list_all() == []
    provisioner.delete(builders.recorded(answer, request))


def test_a_bucket_of_another_owner_is_not_touched(
    store: AwsServer, provisioner: AwsS3Provisioner, administrator: AwsApplication
) -> None:
    administrator.client.create_bucket(Bucket="foreign")
    request = a_request(store, "foreign")
    with pytest.raises(BucketExists):
        provisioner.provision(request)
    with pytest.raises(BucketExists):
        provisioner.delete(builders.intent(request))
    assert administrator.list_all() == ["foreign"]
    granted = provisioner.grant(request)
    assert granted.connection.authentication
    provisioner.revoke(builders.recorded(granted, request, greenfield=False))
    assert administrator.list_all() == ["foreign"]
    administrator.remove_bucket("foreign")
    with pytest.raises(BucketNotFound):
        provisioner.grant(request)
