"""A class with a KMS key: S3 takes any key for a bucket, so that a claim is Bound when it has written with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from libbucket import NotReady, RetrySlowly
from libbucket.testing import builders
from testkit.aws_s3.in_memory import InMemoryAws, in_memory_aws, key_of, request_for
from testkit.aws_s3.regional_s3 import OWN, Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = f"arn:aws:kms:eu-central-1:{OWN}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
READ_ONLY = json.dumps({"Statement": [{"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"]}]})


@pytest.fixture
def aws() -> Iterator[InMemoryAws]:
    with in_memory_aws() as running:
        yield running


@pytest.mark.parametrize("versioning", ["true", "false"])
def test_the_test_of_a_key_leaves_nothing_behind(aws: InMemoryAws, versioning: str) -> None:
    request = request_for(kmsKeyId=KEY, versioning=versioning)
    answer, _ = aws.bind(request)
    assert [each for each in aws.s3.requests if each == "PUT photos?" or each.startswith("DELETE")] == [
        "PUT photos?",  # CreateBucket
        "PUT photos?",
        f"DELETE photos?versionId={'version-1' if versioning == 'true' else 'null'}",
    ]
    assert aws.s3.buckets["photos"].objects.versions == []
    aws.s3.requests.clear()
    aws.bind(builders.again(request, answer))
    assert not [each for each in aws.s3.requests if each == "PUT photos?"], "a key that is held is not tried again"


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("KMS.DisabledException", RetrySlowly, "key in parameter kmsKeyId can't be used"),
        ("KMS.NotFoundException", RetrySlowly, "key in parameter kmsKeyId can't be used"),
        ("AccessDenied", NotReady, "parameter kmsKeyId must let the account's policies decide"),
    ],
)
def test_a_claim_that_could_not_write_is_not_bound(
    aws: InMemoryAws, code: str, error: type[Exception], words: str
) -> None:
    request = request_for(kmsKeyId=KEY)
    with pytest.raises(NotReady):
        aws.provisioner.provision(request)
    aws.clock.now += 4
    aws.s3.buckets["photos"].key_refused_with = code
    for _ in range(5):
        with pytest.raises(error, match=words) as refused:
            aws.provisioner.provision(request)
        assert refused.value.request_id  # type: ignore[attr-defined]
        aws.clock.now += 300
    assert len(aws.iam.keys) == 1, "no other key would help"
    aws.s3.buckets["photos"].key_refused_with = ""
    answer, _ = aws.bind(request)
    assert list(aws.iam.keys) == [key_of(answer)]


def test_a_class_that_lets_nobody_write_is_not_tried_so(aws: InMemoryAws) -> None:
    aws.bind(request_for(kmsKeyId=KEY, iamPolicy=READ_ONLY))
    assert "PUT photos?" not in aws.s3.requests[2:]


def test_nothing_is_written_into_a_bucket_of_others(aws: InMemoryAws) -> None:
    aws.s3.buckets["photos"] = Bucket(region="eu-central-1", account=OWN)
    aws.bind(request_for(kmsKeyId=KEY), is_greenfield=False)
    assert "PUT photos?" not in aws.s3.requests


def test_a_class_without_a_key_is_not_tried_so(aws: InMemoryAws) -> None:
    aws.bind(request_for())
    assert aws.s3.requests.count("PUT photos?") == 1, "CreateBucket"
