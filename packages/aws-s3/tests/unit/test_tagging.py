"""Buckets that are tagged after they were made, and refuse it: those with attribute-based access control."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from libbucket import AccessDenied, ProvisionerError
from testkit.aws_s3.in_memory import InMemoryAws, in_memory_aws, request_for
from testkit.aws_s3.regional_s3 import Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def aws() -> Iterator[InMemoryAws]:
    with in_memory_aws() as running:
        yield running


@pytest.mark.parametrize("code", ["AccessDenied", "MethodNotAllowed", "InvalidRequest", "OperationNotPermitted"])
def test_a_bucket_that_takes_tags_from_tag_resource_only_is_named_and_served_once_it_is_tagged(
    aws: InMemoryAws, code: str
) -> None:
    request = replace(request_for(), taken_over=True)
    found = aws.s3.buckets["photos"] = Bucket(region="eu-central-1", tagging_refused_with=code)
    with pytest.raises(ProvisionerError, match=r"attribute-based access control \(ABAC\), tag it manually") as refused:
        aws.provisioner.provision(request)
    assert "s3:PutBucketTagging" in refused.value.message
    assert refused.value.request_id
    tags = request.owner.ownership_tags()
    assert all(f"{key}={value}" in refused.value.message for key, value in tags.items())
    found.tags = tags
    aws.bind(request)


def test_a_bad_key_of_the_administrator_is_not_taken_for_a_bucket_that_refuses_tags(aws: InMemoryAws) -> None:
    aws.s3.buckets["photos"] = Bucket(region="eu-central-1", tagging_refused_with="InvalidAccessKeyId")
    with pytest.raises(AccessDenied) as refused:
        aws.provisioner.provision(replace(request_for(), taken_over=True))
    assert "ABAC" not in refused.value.message
