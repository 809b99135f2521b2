"""An IAM that is slow to tell S3, throttled, and strict: new keys and policies are waited for by requeueing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aws_s3_provisioner.provisioner import AwsS3Provisioner
from aws_s3_provisioner.request import Patience
from libbucket import NotReady, RetrySoon, Services
from libbucket.testing import builders
from testkit.aws_s3.fakes import HELD, SECRET
from testkit.aws_s3.regional_s3 import RegionalS3, regional_s3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket import BucketOptions, ObjectBucket

each_region = pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def never(_seconds: float) -> None:
    raise AssertionError("a worker waited")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("aws_s3_provisioner.pending.PendingKeys.__init__.__defaults__", (found,))
    return found


@pytest.fixture
def aws(clock: Clock) -> Iterator[RegionalS3]:
    with regional_s3(clock) as running:
        yield running


@pytest.fixture
def provisioner(clock: Clock) -> AwsS3Provisioner:
    return AwsS3Provisioner(Services(read_secret=lambda *_: HELD), patience=Patience(sleep=never, clock=clock))


def request_for(region: str = "eu-central-1", **parameters: str) -> BucketOptions:
    return builders.options(bucket_name="photos", parameters={**SECRET, "region": region, **parameters})


def called(clock: Clock, verb: Callable[[], ObjectBucket]) -> tuple[ObjectBucket, list[float]]:
    """What a verb answers in the end, called as the core does; and the delays that it asked for."""
    delays: list[float] = []
    for _ in range(30):
        try:
            return verb(), delays
        except RetrySoon as error:
            delays.append(error.delay or 5.0)  # the core's back-off, where none is asked for
            clock.now += delays[-1]
    raise AssertionError(f"never bound: {delays}")


def key_of(answer: ObjectBucket) -> str:
    authentication = answer.connection.authentication
    assert authentication
    assert authentication.access_keys
    return authentication.access_keys.access_key_id


@each_region
def test_a_new_claim_takes_three_requests_to_iam_and_few_to_s3(
    provisioner: AwsS3Provisioner, aws: RegionalS3, clock: Clock, region: str
) -> None:
    request = request_for(region)
    called(clock, lambda: provisioner.provision(request))
    assert aws.iam.actions == ["GetCallerIdentity", "CreateUser", "PutUserPolicy", "CreateAccessKey"]
    assert len(aws.requests) == (6 if region == "us-east-1" else 5), aws.requests


@pytest.mark.parametrize("seconds", [3.0, 10.0, 45.0, 90.0])
def test_a_key_that_is_slow_is_made_once_and_waited_for_without_a_worker(
    provisioner: AwsS3Provisioner, aws: RegionalS3, clock: Clock, seconds: float
) -> None:
    aws.iam.keys_after, aws.iam.policies_after = seconds, seconds / 2
    request = request_for()
    answer, delays = called(clock, lambda: provisioner.provision(request))
    assert aws.iam.actions.count("CreateAccessKey") == 1
    assert list(aws.iam.keys) == [key_of(answer)]
    assert sum(delays) < 1.5 * seconds + 4
    assert delays[0] == 4.0, "S3 is not asked for a key that it can't know yet"


def test_a_repeated_try_is_one_request(provisioner: AwsS3Provisioner, aws: RegionalS3, clock: Clock) -> None:
    aws.iam.keys_after = 10.0
    request = request_for()
    with pytest.raises(NotReady, match="making the new access key"):
        provisioner.provision(request)
    clock.now += 4
    aws.requests.clear()
    aws.iam.actions.clear()
    with pytest.raises(NotReady, match="does not work yet"):
        provisioner.provision(request)
    assert (len(aws.requests), aws.iam.actions) == (1, [])


def test_an_edited_claim_is_looked_at_as_a_whole_while_its_key_is_waited_for(
    provisioner: AwsS3Provisioner, aws: RegionalS3, clock: Clock
) -> None:
    request = request_for()
    with pytest.raises(NotReady):
        provisioner.provision(request)
    clock.now += 4
    edited = replace(request, parameters={**request.parameters, "allowSessions": "yes"})
    called(clock, lambda: provisioner.provision(edited))
    assert aws.iam.actions.count("PutUserPolicy") == 2
    assert aws.iam.actions.count("CreateAccessKey") == 1


def test_a_bound_claim_whose_policy_was_removed_keeps_its_key_while_the_new_one_spreads(
    provisioner: AwsS3Provisioner, aws: RegionalS3, clock: Clock
) -> None:
    request = request_for()
    answer, _ = called(clock, lambda: provisioner.provision(request))
    aws.iam.policies_after = 30.0
    aws.iam.users[request.user_id].policies.clear()
    again = builders.again(request, answer)
    with pytest.raises(NotReady, match="was written just now"):
        provisioner.provision(again)
    repaired, _ = called(clock, lambda: provisioner.provision(again))
    assert key_of(repaired) == key_of(answer)
    assert aws.iam.actions.count("CreateAccessKey") == 1


def test_a_user_that_iam_does_not_find_yet_is_not_left_behind(
    provisioner: AwsS3Provisioner, aws: RegionalS3, clock: Clock
) -> None:
    request = request_for()
    aws.iam.users_after = 10.0
    with pytest.raises(NotReady):
        provisioner.provision(request)
    with pytest.raises(NotReady, match="moments ago"):
        provisioner.delete(builders.intent(request))
    clock.now += 10
    provisioner.delete(builders.intent(request))
    assert (aws.iam.users, aws.iam.keys, aws.buckets) == ({}, {}, {})


def test_a_name_that_iam_has_and_does_not_find_is_asked_for_again(
    provisioner: AwsS3Provisioner, aws: RegionalS3, clock: Clock
) -> None:
    request = request_for()
    aws.iam.users_after = 10.0
    with pytest.raises(NotReady):
        provisioner.provision(request)
    restarted = AwsS3Provisioner(Services(read_secret=lambda *_: HELD), patience=Patience(sleep=never, clock=clock))
    with pytest.raises(NotReady, match="does not find it everywhere"):
        restarted.provision(request)
    called(clock, lambda: restarted.provision(request))
    assert len(aws.iam.keys) == 1, "the key of before the restart is removed"
