"""An IAM that is slow to tell S3, throttled, and strict: new keys and policies are waited for by requeueing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from libbucket import NotReady
from libbucket.testing import builders
from testkit.aws_s3.in_memory import InMemoryAws, in_memory_aws, key_of, request_for

if TYPE_CHECKING:
    from collections.abc import Iterator

each_region = pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])


@pytest.fixture
def aws() -> Iterator[InMemoryAws]:
    with in_memory_aws() as running:
        yield running


@each_region
def test_a_new_claim_takes_three_requests_to_iam_and_five_to_s3(aws: InMemoryAws, region: str) -> None:
    request = request_for(region)
    aws.bind(request)
    assert aws.iam.actions == ["GetCallerIdentity", "CreateUser", "PutUserPolicy", "CreateAccessKey"]
    assert len(aws.s3.requests) == 5, aws.s3.requests


@pytest.mark.parametrize("seconds", [3.0, 10.0, 45.0, 90.0])
def test_a_key_that_is_slow_is_made_once_and_waited_for_without_a_worker(aws: InMemoryAws, seconds: float) -> None:
    aws.iam.keys_after, aws.iam.policies_after = seconds, seconds / 2
    request = request_for()
    answer, delays = aws.bind(request)
    assert aws.iam.actions.count("CreateAccessKey") == 1
    assert list(aws.iam.keys) == [key_of(answer)]
    assert sum(delays) < 1.5 * seconds + 4
    assert delays[0] == 4.0, "S3 is not asked for a key that it can't know yet"


def test_a_repeated_try_is_one_request(aws: InMemoryAws) -> None:
    aws.iam.keys_after = 10.0
    request = request_for()
    with pytest.raises(NotReady, match="making the new access key"):
        aws.provisioner.provision(request)
    aws.clock.now += 4
    aws.s3.requests.clear()
    aws.iam.actions.clear()
    with pytest.raises(NotReady, match="does not work yet"):
        aws.provisioner.provision(request)
    assert (len(aws.s3.requests), aws.iam.actions) == (1, [])


def test_an_edited_claim_is_reconciled_as_a_whole_while_its_key_is_waited_for(aws: InMemoryAws) -> None:
    request = request_for()
    with pytest.raises(NotReady):
        aws.provisioner.provision(request)
    aws.clock.now += 4
    edited = replace(request, parameters={**request.parameters, "allowSessions": "yes"})
    aws.bind(edited)
    assert aws.iam.actions.count("PutUserPolicy") == 2
    assert aws.iam.actions.count("CreateAccessKey") == 1


def test_a_bound_claim_whose_policy_was_removed_keeps_its_key_while_the_new_one_spreads(aws: InMemoryAws) -> None:
    request = request_for()
    answer, _ = aws.bind(request)
    aws.iam.policies_after = 30.0
    aws.iam.users[request.user_id].policies.clear()
    again = builders.again(request, answer)
    with pytest.raises(NotReady, match="was written just now"):
        aws.provisioner.provision(again)
    repaired, _ = aws.bind(again)
    assert key_of(repaired) == key_of(answer)
    assert aws.iam.actions.count("CreateAccessKey") == 1


def test_a_user_that_iam_does_not_find_yet_is_not_left_behind(aws: InMemoryAws) -> None:
    request = request_for()
    aws.iam.users_after = 10.0
    with pytest.raises(NotReady):
        aws.provisioner.provision(request)
    with pytest.raises(NotReady, match="moments ago"):
        aws.provisioner.delete(builders.intent(request))
    aws.clock.now += 10
    aws.provisioner.delete(builders.intent(request))
    assert (aws.iam.users, aws.iam.keys, aws.s3.buckets) == ({}, {}, {})


def test_a_name_that_iam_has_and_does_not_find_is_asked_for_again(aws: InMemoryAws) -> None:
    request = request_for()
    aws.iam.users_after = 10.0
    with pytest.raises(NotReady):
        aws.provisioner.provision(request)
    aws.restart()
    with pytest.raises(NotReady, match="does not find it everywhere"):
        aws.provisioner.provision(request)
    aws.bind(request)
    assert len(aws.iam.keys) == 1, "the key of before the restart is removed"
