"""Stores that speak S3 and differ from AWS: what lacks tags is known again by other signs, or refused in a sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from aws_s3_provisioner.provisioner import AwsS3Provisioner
from aws_s3_provisioner.request import Patience
from aws_s3_provisioner.stamps import STAMP
from libbucket import (
    BucketExists,
    InvalidConfig,
    InvalidParameters,
    RetrySlowly,
    Services,
    StoreRefused,
    StoreUnavailable,
)
from libbucket.testing import builders
from testkit.aws_s3.compatible_s3 import (
    CLOUDIAN,
    GARAGE,
    IAM_URL,
    OVH,
    R2,
    RGW,
    S3_URL,
    SEAWEEDFS,
    CompatibleS3,
    Dialect,
    compatible_s3,
)
from testkit.aws_s3.fakes import HELD, SECRET
from testkit.aws_s3.in_memory import in_memory_aws, key_of, request_for
from testkit.aws_s3.regional_s3 import Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from libbucket import BucketOptions, ObjectBucket

REGIONS = {R2: "auto", GARAGE: "garage", CLOUDIAN: "region1", OVH: "gra", RGW: "default"}
TAGLESS = [R2, GARAGE]
USERS = {"createBucketUser": "yes", "iamEndpoint": IAM_URL}
RULES = '{"Rules": [{"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 3}}]}'

each_store = pytest.mark.parametrize("dialect", list(REGIONS), ids=lambda dialect: dialect.name)
each_tagless = pytest.mark.parametrize("dialect", TAGLESS, ids=lambda dialect: dialect.name)


@pytest.fixture
def store(dialect: Dialect) -> Iterator[CompatibleS3]:
    with compatible_s3(dialect) as running:
        yield running


@pytest.fixture
def rgw() -> Iterator[CompatibleS3]:
    with compatible_s3(RGW) as running:
        yield running


def a_provisioner() -> AwsS3Provisioner:
    return AwsS3Provisioner(Services(read_secret=lambda *_: HELD), patience=Patience(settle=0.0, replica=0.0))


def a_request(region: str, config: Mapping[str, str] | None = None, /, **more: str) -> BucketOptions:
    """A new claim for the bucket `photos`."""
    parameters = {**SECRET, "s3Endpoint": S3_URL, "region": region, "createBucketUser": "no", **more}
    return builders.options(bucket_name="photos", parameters=parameters, config=config)


def bound(store: CompatibleS3) -> tuple[BucketOptions, ObjectBucket]:
    """A claim that was bound: its next request, and the record of it."""
    request = a_request(REGIONS[store.dialect])
    answer = a_provisioner().provision(request)
    return builders.again(request, answer), builders.recorded(answer, request)


@each_store
def test_a_claim_lives_its_whole_life(store: CompatibleS3) -> None:
    request, record = bound(store)
    objects = store.buckets["photos"].objects
    for number in range(5):
        objects.put(f"key-{number}", b"data", keeps_versions=False)
    objects.start_upload("begun")
    assert a_provisioner().is_intact(request)
    assert a_provisioner().provision(request).connection.endpoint == record.connection.endpoint
    a_provisioner().delete(record)
    assert store.buckets == {}
    a_provisioner().delete(record)


@each_store
def test_a_bucket_of_another_owner_is_not_touched(store: CompatibleS3) -> None:
    store.buckets["photos"] = Bucket(region="us-east-1")
    request = a_request(REGIONS[store.dialect])
    with pytest.raises(BucketExists):
        a_provisioner().provision(request)
    with pytest.raises(BucketExists):
        a_provisioner().delete(builders.intent(request))
    granted = a_provisioner().grant(request)
    a_provisioner().revoke(builders.recorded(granted, request, greenfield=False))
    assert store.buckets["photos"].objects.is_empty


@each_store
def test_only_stores_without_tags_get_a_stamp(store: CompatibleS3) -> None:
    request, _ = bound(store)
    bucket = store.buckets["photos"]
    assert (STAMP in bucket.objects.keys) is (store.dialect in TAGLESS)
    assert request.owner.matches(bucket.tags) is (store.dialect not in TAGLESS)


@each_store
def test_buckets_with_ownership_tags_or_a_stamp_are_listed(store: CompatibleS3) -> None:
    request, _ = bound(store)
    store.buckets["of-another"] = Bucket(region="us-east-1")
    ((name, tags),) = a_provisioner().list_buckets(request.parameters)
    assert (name, request.owner.matches(tags)) == ("photos", True)
    assert not any("bucket-region" in each for each in store.requests)


@each_store
def test_a_bucket_of_another_claim_is_refused(store: CompatibleS3) -> None:
    bound(store)
    other = a_request(REGIONS[store.dialect])
    with pytest.raises(BucketExists):
        a_provisioner().provision(other)
    with pytest.raises(BucketExists):
        a_provisioner().delete(builders.intent(other))
    assert "photos" in store.buckets


@each_tagless
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"no JSON", b'{"x": 1}', b'"' + b"x" * 20000 + b'"'])
def test_a_stamp_that_cannot_be_read_is_not_taken_for_none(store: CompatibleS3, content: bytes) -> None:
    _, record = bound(store)
    store.buckets["photos"].objects.put(STAMP, content, keeps_versions=False)
    with pytest.raises(BucketExists, match="as far as its object"):
        a_provisioner().delete(record)


@each_tagless
def test_an_application_may_empty_its_bucket_stamp_included(store: CompatibleS3) -> None:
    request, record = bound(store)
    objects = store.buckets["photos"].objects
    objects.versions.clear()
    a_provisioner().provision(request)
    assert objects.keys == [STAMP]
    objects.versions.clear()
    a_provisioner().delete_empty(record)
    assert store.buckets == {}


@each_tagless
def test_a_bucket_with_data_and_without_a_stamp_is_not_deleted(store: CompatibleS3) -> None:
    _, record = bound(store)
    objects = store.buckets["photos"].objects
    objects.versions.clear()
    objects.put("another's", b"data", keeps_versions=False)
    with pytest.raises(BucketExists):
        a_provisioner().delete(record)
    assert objects.keys == ["another's"]


@each_tagless
def test_an_empty_bucket_of_nobody_is_no_claims_that_was_never_bound(store: CompatibleS3) -> None:
    store.buckets["photos"] = Bucket(region="us-east-1")
    with pytest.raises(BucketExists):
        a_provisioner().delete(builders.intent(a_request(REGIONS[store.dialect])))


@each_tagless
def test_what_is_written_during_a_deletion_leaves_the_stamp(
    store: CompatibleS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, record = bound(store)
    answer = store.answer

    def busy(method: str, url: str, headers: dict[str, str], body: bytes) -> object:
        if method == "DELETE" and url.endswith("/photos"):
            monkeypatch.setattr(store, "answer", answer)
            store.buckets["photos"].objects.put("late", b"data", keeps_versions=False)
        return answer(method, url, headers, body)

    monkeypatch.setattr(store, "answer", busy)
    with pytest.raises(Exception, match="something was written into the bucket"):
        a_provisioner().delete(record)
    assert sorted(store.buckets["photos"].objects.keys) == [STAMP, "late"]
    a_provisioner().delete(record)
    assert store.buckets == {}


@each_tagless
def test_a_bucket_is_emptied_page_by_page_and_its_stamp_goes_last(store: CompatibleS3) -> None:
    _, record = bound(store)
    for number in range(2100):
        store.buckets["photos"].objects.put(f"key-{number:04}", b"", keeps_versions=False)
    a_provisioner().delete(record)
    assert store.buckets == {}
    stamped = store.requests.index("DELETE photos?", 0) if "DELETE photos?" in store.requests else -1
    assert stamped == len(store.requests) - 1


@each_tagless
def test_rules_that_could_remove_the_stamp_are_refused(store: CompatibleS3) -> None:
    request = a_request(REGIONS[store.dialect], {"bucketLifecycle": RULES})
    with pytest.raises(InvalidConfig, match="bucketLifecycle can't be used at https"):
        a_provisioner().provision(request)


def test_what_a_store_can_not_do_is_named() -> None:
    with compatible_s3(R2), pytest.raises(StoreRefused, match=r"s3:GetBucketVersioning \(NotImplemented\)"):
        a_provisioner().provision(a_request("auto", {"bucketVersioning": "Enabled"}))


@pytest.mark.parametrize(
    ("query", "permission"),
    [
        ("tagging", "s3:GetBucketTagging"),
        ("versions", "s3:ListBucketVersions"),
        ("object-lock", "s3:GetBucketObjectLockConfiguration"),
    ],
)
def test_aws_is_never_taken_for_a_store_that_lacks_something(query: str, permission: str) -> None:
    with in_memory_aws() as aws:
        request = request_for()
        answer, _ = aws.bind(request)
        record = builders.recorded(answer, request)
        answered = aws.s3.answer

        def failing(method: str, url: str, headers: Mapping[str, str], body: bytes) -> object:
            if query in parse_qs(urlsplit(url).query, keep_blank_values=True):
                return 501, {"x-amz-request-id": "1"}, "<Error><Code>NotImplemented</Code></Error>"
            return answered(method, url, headers, body)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(aws.s3, "answer", failing)
            with pytest.raises(StoreRefused, match=permission) as refused:
                aws.provisioner.delete(record)
        assert refused.value.request_id
        assert list(aws.s3.buckets) == ["photos"]
        aws.provisioner.delete(record)
        assert aws.s3.buckets == {}


def test_claims_with_users_are_refused_where_they_could_write_their_own_stamp() -> None:
    dialect = replace(RGW, unimplemented=frozenset({"tagging"}))
    with compatible_s3(dialect) as store:
        with pytest.raises(InvalidParameters, match="createBucketUser must be no at https"):
            a_provisioner().provision(a_request("default", **USERS))
        assert store.buckets == {}
        assert store.iam.users == {}


def test_a_user_without_tags_is_known_by_its_path(rgw: CompatibleS3) -> None:
    request = a_request("default", **USERS)
    answer = a_provisioner().provision(request)
    (user,) = rgw.iam.users.values()
    assert user.tags == {}
    assert list(user.policies) == ["objectbucket"]
    again = builders.again(request, answer)
    assert a_provisioner().is_intact(again)
    assert key_of(a_provisioner().provision(again)) == key_of(answer)
    a_provisioner().delete(builders.recorded(answer, request))
    assert (rgw.buckets, rgw.iam.users, rgw.iam.keys) == ({}, {}, {})


def test_a_user_without_tags_is_known_by_its_path_after_the_class_got_another_one(rgw: CompatibleS3) -> None:
    request = a_request("default", **USERS, iamPath="/before/")
    answer = a_provisioner().provision(request)
    edited = replace(builders.again(request, answer), parameters={**request.parameters, "iamPath": "/after/"})
    assert key_of(a_provisioner().provision(edited)) == key_of(answer)
    a_provisioner().delete(builders.recorded(answer, edited))
    assert (rgw.buckets, rgw.iam.users, rgw.iam.keys) == ({}, {}, {})


def test_a_user_at_aws_is_directly_under_the_path_of_its_class() -> None:
    with in_memory_aws() as aws:
        aws.bind(request_for(iamPath="/buckets/"))
        ((name, user),) = aws.iam.users.items()
        assert user.arn.endswith(f":user/buckets/{name}")


def test_a_user_without_tags_under_another_path_is_not_touched(rgw: CompatibleS3) -> None:
    request = a_request("default", **USERS)
    answer = a_provisioner().provision(request)
    (user,) = rgw.iam.users.values()
    user.arn = user.arn.replace(user.arn.split("/")[2], "0" * 32)
    with pytest.raises(RetrySlowly, match="was not made for this claim"):
        a_provisioner().provision(builders.again(request, answer))
    assert len(rgw.iam.keys) == 1


def test_a_bucket_that_a_crash_left_without_tags_is_found_by_the_users_note(rgw: CompatibleS3) -> None:
    request = a_request("default", **USERS)
    rgw.forget("photos", after=0)
    answer = rgw.answer

    def dying(method: str, url: str, headers: dict[str, str], body: bytes) -> object:
        told = answer(method, url, headers, body)
        if method == "PUT" and url.endswith("/photos"):
            raise ConnectionError("died")
        return told

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rgw, "answer", dying)
        with pytest.raises(StoreUnavailable, match="was cut"):
            a_provisioner().provision(request)
    assert rgw.buckets["photos"].tags == {}
    a_provisioner().provision(request)
    assert request.owner.matches(rgw.buckets["photos"].tags)
    (user,) = rgw.iam.users.values()
    assert list(user.policies) == ["objectbucket"]


def test_an_untagged_bucket_that_no_note_names_is_refused(rgw: CompatibleS3) -> None:
    rgw.buckets["photos"] = Bucket(region="us-east-1")
    with pytest.raises(BucketExists):
        a_provisioner().provision(a_request("default", **USERS))
    assert rgw.buckets["photos"].tags == {}


def test_no_key_is_made_where_the_boundary_of_the_class_is_not_taken(rgw: CompatibleS3) -> None:
    boundary = {"permissionsBoundary": "arn:aws:iam::000000000000:policy/tenants"}
    with pytest.raises(StoreRefused, match="iam:PutUserPermissionsBoundary"):
        a_provisioner().provision(a_request("default", **USERS, **boundary))
    assert rgw.iam.keys == {}


def test_a_user_that_gets_its_tags_after_it_was_made_is_known_by_them() -> None:
    with compatible_s3(SEAWEEDFS) as store:
        request = a_request("us-west-2", **USERS)
        answer = a_provisioner().provision(request)
        (user,) = store.iam.users.values()
        assert request.owner.matches(user.tags)
        repeated = a_provisioner().provision(builders.again(request, answer))
        assert (key_of(repeated), repeated.repairs) == (key_of(answer), ())
        assert store.iam.actions.count("PutUserPolicy") == 1
        a_provisioner().delete(builders.recorded(answer, request))
        assert (store.buckets, store.iam.users, store.iam.keys) == ({}, {}, {})


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_user_that_a_crash_left_without_tags_is_the_claims_as_long_as_it_has_no_key(*, goes_on: bool) -> None:
    with compatible_s3(SEAWEEDFS) as store:
        request = a_request("us-west-2", **USERS)
        store.iam.answer(f"Action=CreateUser&UserName={request.user_id}".encode())
        (user,) = store.iam.users.values()
        if goes_on:
            a_provisioner().provision(request)
            assert request.owner.matches(user.tags)
        else:
            a_provisioner().delete(builders.intent(request))
            assert store.iam.users == {}


def test_a_user_without_tags_that_has_a_key_is_not_touched() -> None:
    with compatible_s3(SEAWEEDFS) as store:
        request = a_request("us-west-2", **USERS)
        store.iam.answer(f"Action=CreateUser&UserName={request.user_id}".encode())
        store.iam.answer(f"Action=CreateAccessKey&UserName={request.user_id}".encode())
        with pytest.raises(RetrySlowly, match="was not made for this claim"):
            a_provisioner().provision(request)
        a_provisioner().delete(builders.intent(request))
        assert len(store.iam.keys) == 1
