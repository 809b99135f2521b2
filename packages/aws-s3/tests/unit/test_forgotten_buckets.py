"""AWS that does not find a bucket or a user for a moment: a deletion ends when they are gone, not by one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from libbucket import NotReady
from libbucket.testing import builders
from testkit.aws_s3.fake_iam import FakeIam, IamRefusal
from testkit.aws_s3.in_memory import InMemoryAws, in_memory_aws, request_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket import ObjectBucket


@pytest.fixture
def aws() -> Iterator[InMemoryAws]:
    with in_memory_aws() as running:
        yield running


def bound(aws: InMemoryAws) -> ObjectBucket:
    request = request_for()
    answer, _ = aws.bind(request)
    return builders.recorded(answer, request)


@pytest.mark.parametrize("verb", ["delete", "delete_empty"])
def test_a_bucket_that_s3_lists_and_does_not_find_is_not_left_behind(aws: InMemoryAws, verb: str) -> None:
    record = bound(aws)
    aws.s3.buckets["photos"].unknown_for = 1
    with pytest.raises(NotReady, match="lists bucket photos, and does not find it") as waited:
        getattr(aws.provisioner, verb)(record)
    assert waited.value.delay
    getattr(aws.provisioner, verb)(record)
    assert (aws.s3.buckets, aws.iam.users) == ({}, {})


def test_a_bucket_that_s3_does_not_find_when_it_is_to_be_removed_is_not_left_behind(aws: InMemoryAws) -> None:
    record = bound(aws)
    requests_before_the_last = 4  # tags, lock, versions, uploads
    aws.s3.forget("photos", after=requests_before_the_last)
    with pytest.raises(NotReady, match="lists bucket photos, and does not find it"):
        aws.provisioner.delete(record)
    aws.provisioner.delete(record)
    assert (aws.s3.buckets, aws.iam.users) == ({}, {})


def test_a_bucket_that_is_gone_is_deleted(aws: InMemoryAws) -> None:
    record = bound(aws)
    del aws.s3.buckets["photos"]
    aws.provisioner.delete(record)
    assert aws.iam.users == {}


def test_a_bucket_is_gone_where_it_is_not_found_and_buckets_may_not_be_listed(aws: InMemoryAws) -> None:
    record = bound(aws)
    del aws.s3.buckets["photos"]
    aws.s3.lists_buckets = False
    aws.provisioner.delete(record)
    assert aws.iam.users == {}


@pytest.mark.parametrize("lie", ["objects", "uploads"])
def test_a_purge_that_removes_nothing_is_retried_later_and_not_at_full_speed(
    aws: InMemoryAws, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    record, asked = bound(aws), list[str]()
    held = aws.s3.buckets["photos"].objects
    held.put("old", b"data", keeps_versions=False)
    held.start_upload("unfinished")

    def lies(*_request: object) -> tuple[int, dict[str, str], str]:
        asked.append(lie)
        assert len(asked) < 10, "asked at full speed"
        return 200, {}, "<DeleteResult/>" if lie == "objects" else ""

    with monkeypatch.context() as patch:
        patch.setattr(f"testkit.aws_s3.regional_s3.{'_delete_objects' if lie == 'objects' else '_on_object'}", lies)
        with pytest.raises(NotReady, match="still lists") as waited:
            aws.provisioner.delete(record)
    assert waited.value.request_id
    aws.provisioner.delete(record)
    assert aws.s3.buckets == {}


@pytest.mark.parametrize("status", [200, 202])
def test_a_removal_that_another_server_answers_with_success_leaves_no_bucket_behind(
    aws: InMemoryAws, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    record, answer = bound(aws), aws.s3.answer

    def of_a_proxy(method: str, url: str, *rest: Any) -> tuple[int, dict[str, str], str]:
        return (status, {}, "") if method == "DELETE" and url.endswith(".com/") else answer(method, url, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(aws.s3, "answer", of_a_proxy)
        with pytest.raises(NotReady, match="still there"):
            aws.provisioner.delete(record)
    aws.provisioner.delete(record)
    assert (aws.s3.buckets, aws.iam.users) == ({}, {})


@pytest.mark.parametrize("verb", ["revoke", "delete"])
def test_a_user_that_iam_does_not_find_keeps_no_key_that_works(
    aws: InMemoryAws, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    record = bound(aws)
    aws.clock.now += 3600
    with monkeypatch.context() as patch:
        patch.setattr(FakeIam, "_get_user", _no_such_entity)
        with pytest.raises(NotReady, match="lists access keys of user") as waited:
            getattr(aws.provisioner, verb)(record)
    assert waited.value.request_id
    getattr(aws.provisioner, verb)(record)
    assert (aws.iam.users, aws.iam.keys) == ({}, {})


def _no_such_entity(*_given: object) -> str:
    raise IamRefusal("NoSuchEntity")
