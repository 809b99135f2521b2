"""What the Go library's AWS provisioner leaves of a claim, in the cluster and in AWS.

Written as its source has it: the ObjectBucket's `additionalState` with `ARN` and `UserName`, the legacy spelling of the
host, finalizers on Secret and ConfigMap; in AWS a user without tags that has a managed policy, a bucket without tags.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from libbucket.testing.builders import an_object_bucket
from testkit.aws_s3.backend import REGION
from testkit.cluster.memory_environment import OBC

if TYPE_CHECKING:
    from testkit.aws_s3.backend import AwsAdministrator
    from testkit.cluster.store_environment import StoreEnvironment

FINALIZER = ["objectbucket.io/finalizer"]


@dataclass(frozen=True, kw_only=True)
class Left:
    """What the Go provisioner left of one claim."""

    bucket: str
    user: str
    policy: str
    keys: dict[str, str]


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


def in_the_cluster(environment: StoreEnvironment, left: Left, storage_class: str) -> None:
    """Claim, ObjectBucket, Secret and ConfigMap, as the library writes them."""
    label = {"bucket-provisioner": environment.provisioner_name.replace("/", "-")}
    ob_name = f"obc-{environment.namespace}-photos"
    made = environment.claim("photos", storage_class, bucketName=left.bucket, objectBucketName=ob_name)
    environment.admin.patch(environment.claim_path("photos"), {"metadata": {"finalizers": FINALIZER, "labels": label}})
    environment.admin.patch(environment.claim_path("photos") + "/status", {"status": {"phase": "Bound"}})
    ob = an_object_bucket(claim=made, bucket=left.bucket, finalizers=FINALIZER, labels=label)
    ob["spec"]["storageClassName"] = storage_class
    ob["spec"]["endpoint"] |= {
        "bucketHost": f"s3-{REGION}.amazonaws.com",
        "region": REGION,
        "additionalConfig": {"": ""},
    }
    ob["spec"]["additionalState"] = {"ARN": left.policy, "UserName": left.user}
    environment.admin.create(f"{OBC}/objectbuckets", ob)
    environment.admin.patch(f"{OBC}/objectbuckets/{ob_name}/status", {"status": {"phase": "Bound"}})
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
    inside = f"/api/v1/namespaces/{environment.namespace}"
    environment.admin.create(f"{inside}/secrets", {"metadata": metadata, "data": data})
    environment.admin.create(f"{inside}/configmaps", {"metadata": metadata, "data": address})
