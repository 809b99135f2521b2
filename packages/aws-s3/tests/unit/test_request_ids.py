"""A claim that waits or fails by what AWS answered has the id of that answer, also where the answer was no error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket import BucketExists, BucketLost, BucketNotEmpty, BucketNotFound, NotReady
from libbucket.testing import builders
from testkit.aws_s3.fake_iam import IamRefusal
from testkit.aws_s3.in_memory import InMemoryAws, in_memory_aws, request_for
from testkit.aws_s3.regional_s3 import OWN, Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

S3_ID = "4442587FB7D0A2F9"


@pytest.fixture
def aws() -> Iterator[InMemoryAws]:
    with in_memory_aws() as running:
        yield running


def test_a_name_that_aws_calls_taken_is_taken_although_its_bucket_is_not_found(aws: InMemoryAws) -> None:
    aws.s3.buckets["photos"] = Bucket(region="eu-central-1", account="111122223333", unknown_for=100)
    with pytest.raises(BucketExists, match="taken in the whole of AWS") as refused:
        aws.provisioner.provision(request_for())
    assert refused.value.request_id == S3_ID


def test_a_bucket_that_is_lost_is_reported_with_the_id_of_the_answer(aws: InMemoryAws) -> None:
    request = request_for()
    answer, _ = aws.bind(request)
    del aws.s3.buckets["photos"]
    with pytest.raises(BucketLost) as lost:
        aws.provisioner.provision(builders.again(request, answer))
    assert lost.value.request_id == S3_ID


def test_a_bucket_of_a_class_that_is_missing_is_reported_with_the_id_of_the_answer(aws: InMemoryAws) -> None:
    with pytest.raises(BucketNotFound, match="does not exist") as missing:
        aws.provisioner.grant(request_for())
    assert missing.value.request_id == S3_ID


def test_a_bucket_without_tags_is_refused_with_the_id_of_the_answer(aws: InMemoryAws) -> None:
    aws.s3.buckets["photos"] = Bucket(region="eu-central-1", account=OWN)
    with pytest.raises(BucketExists, match="not made for this claim") as refused:
        aws.provisioner.provision(request_for())
    assert refused.value.request_id == S3_ID


def test_a_bucket_that_s3_does_not_know_everywhere_is_waited_for_with_the_id_of_the_answer(aws: InMemoryAws) -> None:
    aws.s3.is_slow = 100
    with pytest.raises(NotReady, match="does not know it everywhere") as waited:
        aws.provisioner.provision(request_for("us-east-1"))
    assert waited.value.request_id == S3_ID


def test_a_user_that_iam_has_and_does_not_find_is_waited_for_with_the_id_of_the_answer(aws: InMemoryAws) -> None:
    aws.iam.users_after = 60.0
    request = request_for()
    with pytest.raises(NotReady):
        aws.provisioner.provision(request)
    aws.restart()
    with pytest.raises(NotReady, match="does not find it everywhere") as waited:
        aws.provisioner.provision(request)
    assert waited.value.request_id


@pytest.mark.parametrize(
    ("lost", "what"),
    [
        ("_delete_key", "access key AKIA"),
        ("_list_keys", "access key"),
        ("_delete_policy", "inline policy objectbucket"),
    ],
)
def test_credentials_are_not_called_withdrawn_while_iam_has_them(
    aws: InMemoryAws, monkeypatch: pytest.MonkeyPatch, lost: str, what: str
) -> None:
    request = request_for()
    answer, _ = aws.bind(request)
    record = builders.recorded(answer, request)
    with monkeypatch.context() as patch:
        patch.setattr(aws.iam, lost, _no_such_entity)
        with pytest.raises(NotReady, match=f"does not find its {what}") as waited:
            aws.provisioner.delete(record)
    assert waited.value.request_id
    aws.provisioner.delete(record)
    assert not aws.iam.users


def _no_such_entity(_given: object) -> str:
    raise IamRefusal("NoSuchEntity")


def test_a_bucket_with_a_locked_object_is_kept_with_the_id_of_the_answer(aws: InMemoryAws) -> None:
    request = request_for()
    answer, _ = aws.bind(request)
    bucket = aws.s3.buckets["photos"]
    bucket.versioning, bucket.has_lock = "Enabled", True
    bucket.objects.put("held", b"data", keeps_versions=True).is_held = True
    with pytest.raises(BucketNotEmpty, match="locked") as kept:
        aws.provisioner.delete(builders.recorded(answer, request))
    assert kept.value.request_id == S3_ID


def test_a_key_that_iam_does_not_list_and_s3_accepts_is_kept_with_the_id_of_the_answer(
    aws: InMemoryAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for()
    answer, _ = aws.bind(request)
    monkeypatch.setattr(aws.iam, "_list_keys", _no_such_entity)
    with pytest.raises(NotReady, match="kept until they agree") as waited:
        aws.provisioner.provision(builders.again(request, answer))
    assert waited.value.request_id


def test_a_user_that_is_still_listed_is_waited_for_with_the_id_of_the_answer(
    aws: InMemoryAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for()
    answer, _ = aws.bind(request)
    record = builders.recorded(answer, request)
    with monkeypatch.context() as patch:
        patch.setattr(aws.iam, "_delete_user", _no_such_entity)
        with pytest.raises(NotReady, match="still lists") as waited:
            aws.provisioner.delete(record)
    assert waited.value.request_id
    aws.provisioner.delete(record)
    assert not aws.iam.users


def test_a_user_with_two_keys_that_can_not_be_removed_is_waited_for_with_the_id_of_the_answer(
    aws: InMemoryAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws.iam, "_create_key", _limit_exceeded)
    with pytest.raises(NotReady, match="other keys concurrently") as waited:
        aws.provisioner.provision(request_for())
    assert waited.value.request_id


def _limit_exceeded(_given: object) -> str:
    raise IamRefusal("LimitExceeded")
