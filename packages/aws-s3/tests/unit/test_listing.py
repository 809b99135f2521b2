"""The account's buckets with ownership tags, for `--list-orphans`: page by page, and one region of AWS at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket import AccessDenied
from libbucket.testing import builders
from testkit.aws_s3.fakes import SECRET
from testkit.aws_s3.in_memory import InMemoryAws, in_memory_aws
from testkit.aws_s3.regional_s3 import Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

REGION = "eu-central-1"
OWNED = builders.options().owner.ownership_tags()


@pytest.fixture
def aws() -> Iterator[InMemoryAws]:
    """With buckets of claims, one of which is in another region, and buckets without an owner."""
    with in_memory_aws() as running:
        for name in ("logs", "music", "photos"):
            running.s3.buckets[name] = Bucket(region=REGION, tags={**OWNED, "team": name})
        running.s3.buckets["elsewhere"] = Bucket(region="us-east-1", tags=OWNED)
        running.s3.buckets["untagged"] = Bucket(region=REGION)
        running.s3.buckets["tagged-by-others"] = Bucket(region=REGION, tags={"team": "shop"})
        running.s3.buckets["of-another-account"] = Bucket(region=REGION, account="222222222222", tags=OWNED)
        yield running


def listed(aws: InMemoryAws, region: str = REGION, **parameters: str) -> dict[str, object]:
    return dict(aws.provisioner.list_buckets({**SECRET, "region": region, **parameters}))


def test_buckets_with_ownership_tags_in_the_classs_region_are_listed(aws: InMemoryAws) -> None:
    assert listed(aws) == {name: {**OWNED, "team": name} for name in ("logs", "music", "photos")}
    assert listed(aws, "us-east-1") == {"elsewhere": OWNED}


def test_all_pages_are_read(aws: InMemoryAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aws_s3_provisioner.listing._PAGE", 2)
    assert set(listed(aws)) == {"logs", "music", "photos"}
    assert sum("max-buckets=2" in each for each in aws.s3.requests) == 3


def test_a_list_without_end_is_cut_off_and_said(aws: InMemoryAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aws_s3_provisioner.listing._PAGE", 1)
    monkeypatch.setattr("aws_s3_provisioner.listing._PAGES", 2)
    with pytest.raises(Exception, match="lists more than 2 pages of buckets") as refused:
        listed(aws)
    assert getattr(refused.value, "request_id", "")


def test_the_permission_to_list_is_named(aws: InMemoryAws) -> None:
    aws.s3.lists_buckets = False
    with pytest.raises(AccessDenied, match=r"lack the permission s3:ListAllMyBuckets at AWS in eu-central-1"):
        listed(aws)


def test_buckets_whose_tags_may_not_be_read_are_named_after_all_others(aws: InMemoryAws) -> None:
    aws.s3.buckets["logs"].hides_tags = True
    found: list[tuple[str, object]] = []
    with pytest.raises(AccessDenied, match=r"unknown: logs: .*s3:GetBucketTagging") as refused:
        found.extend(aws.provisioner.list_buckets({**SECRET, "region": REGION}))
    assert [name for name, _ in found] == ["music", "photos"]
    assert refused.value.request_id


def test_buckets_outside_of_the_classs_prefix_need_no_permission(aws: InMemoryAws) -> None:
    aws.s3.buckets["logs"].hides_tags = True
    assert set(listed(aws, bucketNamePrefix="mu")) == {"music", "photos"}
    with pytest.raises(AccessDenied, match="unknown: logs"):
        listed(aws, bucketNamePrefix="lo")


def test_a_bucket_that_is_removed_meanwhile_is_left_out(aws: InMemoryAws) -> None:
    aws.s3.forget("logs", after=0)
    assert set(listed(aws)) == {"music", "photos"}
