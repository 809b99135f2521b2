"""What holds at a store without an IAM API, where every claim of a class gets the administrator's own keys.

The conformance suite is about claims that are shut out of each other's buckets, which such a class can't promise. For
subclasses with a fixture `store`; each test uses buckets of its own.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, ClassVar

import pytest

from libbucket import BucketExists, BucketLost, BucketNotFound, BucketOptions
from libbucket.testing import builders
from testkit.aws_s3.backend import AwsAdministrator, a_provisioner, rules

if TYPE_CHECKING:
    from aws_s3_provisioner.provisioner import AwsS3Provisioner
    from testkit.aws_s3.emulators import AwsServer


class SharedKeys:
    """Guarantees; subclass it.

    Attributes:
        region: class parameter.
    """

    region: ClassVar[str] = "us-east-1"

    @pytest.fixture
    def provisioner(self, store: AwsServer) -> AwsS3Provisioner:
        return a_provisioner(store)

    @pytest.fixture
    def administrator(self, store: AwsServer) -> AwsAdministrator:
        return AwsAdministrator(store)

    def request_for(self, store: AwsServer, bucket: str = "", **config: str) -> BucketOptions:
        """A new claim, for a bucket with a name of its own if none is given."""
        parameters = {"s3Endpoint": store.url, "region": self.region, "createBucketUser": "no"}
        parameters |= {"secretName": "admin", "secretNamespace": "store"}
        name = bucket or f"bucket-{uuid.uuid4()}"
        return builders.options(bucket_name=name, parameters=parameters, config=config)

    def test_a_claim_lives_its_whole_life(
        self, store: AwsServer, provisioner: AwsS3Provisioner, administrator: AwsAdministrator
    ) -> None:
        request = self.request_for(store, bucketVersioning="Enabled", bucketLifecycle=rules(3))
        bucket = request.bucket_name
        answer = provisioner.provision(request)
        endpoint, authentication = answer.connection.endpoint, answer.connection.authentication
        assert authentication is not None
        assert authentication.access_keys is not None
        assert authentication.access_keys.access_key_id == store.access_key
        assert endpoint.additional_config == {"BUCKET_SSL": "false", "BUCKET_ENDPOINT": store.url}
        assert request.owner.matches(administrator.tags(bucket))
        again = builders.again(request, answer)
        assert provisioner.is_intact(again)
        assert provisioner.provision(again).connection == answer.connection
        application = administrator.application()
        for content in (b"one", b"two"):
            application.put(bucket, "key", content)
        application.delete(bucket, "key")
        application.start_multipart(bucket, "begun")
        assert administrator.stored_versions(bucket) == 3
        assert administrator.unfinished_uploads(bucket) == 1
        provisioner.delete(builders.recorded(answer, request))
        assert not administrator.bucket_exists(bucket)
        provisioner.delete(builders.recorded(answer, request))

    def test_a_bucket_of_another_owner_is_not_touched(
        self, store: AwsServer, provisioner: AwsS3Provisioner, administrator: AwsAdministrator
    ) -> None:
        request = self.request_for(store)
        bucket = request.bucket_name
        administrator.s3.create_bucket(Bucket=bucket)
        with pytest.raises(BucketExists):
            provisioner.provision(request)
        with pytest.raises(BucketExists):
            provisioner.delete(builders.intent(request))
        granted = provisioner.grant(request)
        assert granted.connection.authentication
        provisioner.revoke(builders.recorded(granted, request, greenfield=False))
        assert administrator.bucket_exists(bucket)
        administrator.s3.delete_bucket(Bucket=bucket)
        with pytest.raises(BucketNotFound):
            provisioner.grant(request)

    def test_a_bucket_of_another_claim_is_not_touched(self, store: AwsServer, provisioner: AwsS3Provisioner) -> None:
        request = self.request_for(store)
        answer = provisioner.provision(request)
        other = self.request_for(store, request.bucket_name)
        with pytest.raises(BucketExists):
            provisioner.provision(other)
        with pytest.raises(BucketExists):
            provisioner.delete(builders.intent(other))
        provisioner.delete(builders.recorded(answer, request))

    def test_a_bucket_that_is_not_empty_is_only_deleted_with_what_it_holds(
        self, store: AwsServer, provisioner: AwsS3Provisioner, administrator: AwsAdministrator
    ) -> None:
        request = self.request_for(store)
        record = builders.recorded(provisioner.provision(request), request)
        application = administrator.application()
        for number in range(1100):
            application.put(request.bucket_name, f"key/{number}", b"")
        provisioner.delete(record)
        assert not administrator.bucket_exists(request.bucket_name)

    def test_a_bucket_that_was_removed_manually_is_reported_as_lost(
        self, store: AwsServer, provisioner: AwsS3Provisioner, administrator: AwsAdministrator
    ) -> None:
        request = self.request_for(store)
        again = builders.again(request, provisioner.provision(request))
        administrator.s3.delete_bucket(Bucket=request.bucket_name)
        assert not provisioner.is_intact(again)
        with pytest.raises(BucketLost):
            provisioner.provision(again)
