"""Adoption of claims that the Go library's AWS provisioner bound: a real process, real objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket.testing.application import Refused
from testkit.aws_s3.backend import REGION, AwsAdministrator
from testkit.aws_s3.emulators import AwsServer, ministack
from testkit.cluster.go_aws_claims import Left, in_aws, in_the_cluster
from testkit.cluster.memory_environment import condition
from testkit.cluster.store_environment import StoreEnvironment
from testkit.stores.aws_s3 import AwsStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import Cluster


@pytest.fixture(scope="module")
def server() -> Iterator[AwsServer]:
    with ministack() as running:
        yield running


@pytest.fixture
def environment(cluster: Cluster, namespace: str, server: AwsServer) -> Iterator[StoreEnvironment]:
    store = AwsStore(server)
    # Adoption needs more permissions than the README's policy: they are granted for the test.
    store.admin_secret = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    made = StoreEnvironment(cluster, namespace, "aws-s3", store)
    made.open()
    yield made
    made.close()


@pytest.fixture
def aws(server: AwsServer) -> AwsAdministrator:
    return AwsAdministrator(server)


@pytest.fixture(params=["class.yaml", "brownfield-class.yaml"], ids=["greenfield", "brownfield"])
def file(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_an_adopted_claim_keeps_its_key_and_is_deprovisioned_completely(
    environment: StoreEnvironment, aws: AwsAdministrator, file: str
) -> None:
    bucket = f"{environment.namespace}-go"
    left = in_aws(aws, bucket)
    brownfield = {"bucketName": bucket} if file.startswith("brownfield") else {}
    in_the_cluster(environment, left, environment.make_class(file, region=REGION, **brownfield))
    with environment.provisioner():
        environment.wait_claim("photos", lambda one: condition(one).get("status") == "True")
        bound = environment.wait_bound("photos")
        assert environment.secret("photos") == left.keys
        key_id = bound.environment["AWS_ACCESS_KEY_ID"]
        assert bound.state == {"ARN": left.policy, "UserName": left.user, "AccessKeyId": key_id}
        assert bound.environment["BUCKET_HOST"] == "127.0.0.1", "no longer the legacy spelling"
        for kind in ("secrets", "configmaps"):
            found = environment.admin.get(f"/api/v1/namespaces/{environment.namespace}/{kind}/photos")
            assert "finalizers" not in found["metadata"]
        assert aws.keys(left.user) == [left.keys["AWS_ACCESS_KEY_ID"]], "no new key"
        environment.store.application(bound).put(bucket, "a.txt", b"mine")
        environment.delete_claim("photos")
    with pytest.raises(Refused):
        environment.store.application(bound).get(bucket, "a.txt")
    assert environment.store.what_is_there(bound) == (["bucket"] if brownfield else [])
    assert not _policy_exists(aws, left)


def test_a_claim_deleted_before_adoption_is_deprovisioned_completely(
    environment: StoreEnvironment, aws: AwsAdministrator, file: str
) -> None:
    bucket = f"{environment.namespace}-go"
    left = in_aws(aws, bucket)
    brownfield = {"bucketName": bucket} if file.startswith("brownfield") else {}
    in_the_cluster(environment, left, environment.make_class(file, region=REGION, **brownfield))
    environment.admin.delete(environment.claim_path("photos"))
    with environment.provisioner():
        environment.admin.wait_gone(environment.claim_path("photos"), timeout=60)
    assert not aws.user_exists(left.user)
    assert not _policy_exists(aws, left)
    assert aws.bucket_exists(bucket) is bool(brownfield)


def _policy_exists(aws: AwsAdministrator, left: Left) -> bool:
    return left.policy in {each["Arn"] for each in aws.iam.list_policies(Scope="Local")["Policies"]}
