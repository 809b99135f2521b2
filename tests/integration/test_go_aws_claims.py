"""Claims that the Go library's AWS provisioner made and left: adopted by ours, as processes and objects really are.

Written as its source has it: the ObjectBucket's `additionalState` with `ARN` and `UserName`, the legacy spelling of the
host, finalizers on Secret and ConfigMap; in AWS a user without tags that has a managed policy, a bucket without tags.
"""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from store_shop import Shop
from stores.aws_s3 import AwsStore
from world import OBC, condition

from libbucket.testing.application import Refused
from libbucket.testing.builders import an_object_bucket

sys.path.append(str(Path(__file__).parents[2] / "packages/aws-s3/tests/support"))
from aws_backend import REGION, AwsAdministrator
from aws_servers import AwsServer, ministack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import Cluster

FINALIZER = ["objectbucket.io/finalizer"]


@dataclass(frozen=True, kw_only=True)
class Left:
    """What the Go provisioner left of one claim."""

    bucket: str
    user: str
    policy: str
    keys: dict[str, str]


@pytest.fixture(scope="module")
def server() -> Iterator[AwsServer]:
    with ministack() as running:
        yield running


@pytest.fixture
def shop(cluster: Cluster, namespace: str, server: AwsServer) -> Iterator[Shop]:
    store = AwsStore(server)
    # Taking over needs more than the README's policy: the administrator lends it for the day.
    store.admin_secret = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    made = Shop(cluster, namespace, "aws-s3", store)
    made.open()
    yield made
    made.close()


@pytest.fixture
def aws(server: AwsServer) -> AwsAdministrator:
    return AwsAdministrator(server)


def in_aws(aws: AwsAdministrator, bucket: str) -> Left:
    """Bucket, user, key and policy, as `cmd/iam.go` makes them."""
    aws.make_bucket(bucket)
    iam = aws.iam
    user = f"{bucket}-aB3xZ"
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    arns = [f"arn:aws:s3:::{bucket}/*", f"arn:aws:s3:::{bucket}"]
    statements = [
        {"Sid": "s3Read", "Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": arns},
        {"Sid": "s3Write", "Effect": "Allow", "Action": ["s3:DeleteObject", "s3:Put*"], "Resource": arns},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    policy = iam.create_policy(PolicyName=user, PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_user_policy(UserName=user, PolicyArn=policy)
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    return Left(bucket=bucket, user=user, policy=policy, keys=keys)


def in_the_cluster(shop: Shop, left: Left, storage_class: str) -> None:
    """Claim, ObjectBucket, Secret and ConfigMap, as the library writes them."""
    label = {"bucket-provisioner": shop.provisioner_name.replace("/", "-")}
    ob_name = f"obc-{shop.namespace}-photos"
    made = shop.claim("photos", storage_class, bucketName=left.bucket, objectBucketName=ob_name)
    shop.admin.patch(shop.claim_path("photos"), {"metadata": {"finalizers": FINALIZER, "labels": label}})
    shop.admin.patch(shop.claim_path("photos") + "/status", {"status": {"phase": "Bound"}})
    ob = an_object_bucket(claim=made, bucket=left.bucket, finalizers=FINALIZER, labels=label)
    ob["spec"]["storageClassName"] = storage_class
    ob["spec"]["endpoint"] |= {
        "bucketHost": f"s3-{REGION}.amazonaws.com",
        "region": REGION,
        "additionalConfig": {"": ""},
    }
    ob["spec"]["additionalState"] = {"ARN": left.policy, "UserName": left.user}
    shop.admin.create(f"{OBC}/objectbuckets", ob)
    shop.admin.patch(f"{OBC}/objectbuckets/{ob_name}/status", {"status": {"phase": "Bound"}})
    owner = {
        "apiVersion": "objectbucket.io/v1alpha1",
        "kind": "ObjectBucketClaim",
        "name": "photos",
        "uid": made["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {"name": "photos", "finalizers": FINALIZER, "labels": label, "ownerReferences": [owner]}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in left.keys.items()}
    address = {
        "BUCKET_NAME": left.bucket,
        "BUCKET_HOST": f"s3-{REGION}.amazonaws.com",
        "BUCKET_PORT": "443",
        "BUCKET_REGION": REGION,
        "BUCKET_SUBREGION": "",
    }
    inside = f"/api/v1/namespaces/{shop.namespace}"
    shop.admin.create(f"{inside}/secrets", {"metadata": metadata, "data": data})
    shop.admin.create(f"{inside}/configmaps", {"metadata": metadata, "data": address})


@pytest.fixture(params=["class.yaml", "brownfield-class.yaml"], ids=["greenfield", "brownfield"])
def file(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_claim_of_the_go_provisioner_keeps_its_key_and_is_given_back_whole(
    shop: Shop, aws: AwsAdministrator, file: str
) -> None:
    bucket = f"{shop.namespace}-go"
    left = in_aws(aws, bucket)
    brownfield = {"bucketName": bucket} if file.startswith("brownfield") else {}
    in_the_cluster(shop, left, shop.make_class(file, region=REGION, **brownfield))
    with shop.provisioner():
        shop.wait_claim("photos", lambda one: condition(one).get("status") == "True")
        bound = shop.wait_bound("photos")
        assert shop.secret("photos") == left.keys
        assert bound.state == {"ARN": left.policy, "UserName": left.user}
        assert bound.environment["BUCKET_HOST"] == "127.0.0.1", "no longer the legacy spelling"
        for kind in ("secrets", "configmaps"):
            found = shop.admin.get(f"/api/v1/namespaces/{shop.namespace}/{kind}/photos")
            assert "finalizers" not in found["metadata"]
        assert aws.keys(left.user) == [left.keys["AWS_ACCESS_KEY_ID"]], "no new key"
        shop.store.application(bound).put(bucket, "a.txt", b"mine")
        shop.delete_claim("photos")
    with pytest.raises(Refused):
        shop.store.application(bound).get(bucket, "a.txt")
    assert shop.store.what_is_there(bound) == (["bucket"] if brownfield else [])
    assert not _policy_exists(aws, left)


def test_a_claim_of_the_go_provisioner_that_is_deleted_before_we_come_is_given_back_whole(
    shop: Shop, aws: AwsAdministrator, file: str
) -> None:
    bucket = f"{shop.namespace}-go"
    left = in_aws(aws, bucket)
    brownfield = {"bucketName": bucket} if file.startswith("brownfield") else {}
    in_the_cluster(shop, left, shop.make_class(file, region=REGION, **brownfield))
    shop.admin.delete(shop.claim_path("photos"))
    with shop.provisioner():
        shop.admin.wait_gone(shop.claim_path("photos"), timeout=60)
    assert not aws.user_exists(left.user)
    assert not _policy_exists(aws, left)
    assert aws.bucket_exists(bucket) is bool(brownfield)


def _policy_exists(aws: AwsAdministrator, left: Left) -> bool:
    return left.policy in {each["Arn"] for each in aws.iam.list_policies(Scope="Local")["Policies"]}
