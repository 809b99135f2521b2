"""Two claims that ask for one name in the same moment: one gets the bucket, the other one is told that it is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from libbucket import BucketExists, NotReady, ProvisionerError
from testkit.aws_s3.in_memory import InMemoryAws, in_memory_aws, request_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def aws() -> Iterator[InMemoryAws]:
    with in_memory_aws() as running:
        yield running


@pytest.mark.parametrize(("region", "takes_tags"), [("us-east-1", True), ("us-east-1", False), ("eu-central-1", True)])
def test_a_name_that_two_workers_look_for_is_given_to_one_claim(
    aws: InMemoryAws, monkeypatch: pytest.MonkeyPatch, region: str, takes_tags: bool
) -> None:
    """Whether AWS replaces the tags of a bucket that is created again, or not."""
    aws.s3.replaces_tags, aws.s3.takes_tags = True, takes_tags
    first = request_for(region)
    second = replace(first, owner=replace(first.owner, uid="another"), user_id="obc-another")
    answer, met = aws.s3.answer, list[BaseException | None]()

    def after_the_other(method: str, url: str, *rest: Any) -> Any:
        if method == "PUT" and "?" not in url and not met:  # between look and creation of the first
            met.append(None)
            met.append(_outcome(lambda: aws.provisioner.provision(second)))
        return answer(method, url, *rest)

    monkeypatch.setattr(aws.s3, "answer", after_the_other)
    aws.bind(first)
    assert isinstance(met[-1], NotReady)
    assert "being made for another claim" in met[-1].message
    with pytest.raises(BucketExists):
        aws.provisioner.provision(second)
    assert first.owner.matches(aws.s3.buckets["photos"].tags)
    aws.bind(replace(second, bucket_name="photos-2"))  # the control


def _outcome(call: Callable[[], object]) -> BaseException | None:
    try:
        call()
    except ProvisionerError as error:
        return error
    return None
