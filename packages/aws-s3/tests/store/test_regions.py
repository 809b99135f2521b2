"""Names that all of AWS shares, regions that differ, and an S3 that has not heard of a new bucket everywhere."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aws_s3_provisioner.errors import Elsewhere
from aws_s3_provisioner.identity import Identity
from aws_s3_provisioner.storage import Storage
from libbucket import AccessDenied, BucketExists, BucketOptions, NotReady, RetrySlowly, StoreUnavailable
from libbucket.testing import builders
from testkit.aws_s3.backend import QUICK, AwsBackend, a_provisioner
from testkit.aws_s3.regional_s3 import Bucket, RegionalS3, regional_s3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws_s3_provisioner.provisioner import AwsS3Provisioner
    from testkit.aws_s3.emulators import AwsServer

OTHER_ACCOUNT = "999999999999"
REGIONS = ["us-east-1", "us-west-2"]
each_region = pytest.mark.parametrize("region", REGIONS)


@pytest.fixture
def s3() -> Iterator[RegionalS3]:
    with regional_s3() as running:
        yield running


@pytest.fixture
def provisioner(server: AwsServer) -> AwsS3Provisioner:
    slept: list[float] = []  # a clock of its own: a busy machine must not use the patience up
    return a_provisioner(server, patience=replace(QUICK, sleep=slept.append, clock=lambda: sum(slept)))


@pytest.fixture
def request_for(backend: AwsBackend, s3: RegionalS3) -> Iterator[Request]:
    """Builds requests; their users go in the end."""
    assert not s3.buckets
    built = Request(backend)
    yield built
    for user in built.users:
        backend.administrator.remove_user(user)


class Request:
    """Builds requests for AWS's own S3, whose users are at the test's server."""

    def __init__(self, backend: AwsBackend) -> None:
        self._url = backend.server.url
        self.users: list[str] = []

    def __call__(self, region: str = "us-west-2", *, bucket: str = "backup") -> BucketOptions:
        parameters = {"region": region, "secretName": "admin", "secretNamespace": "aws", "iamEndpoint": self._url}
        options = builders.options(bucket_name=bucket, parameters=parameters)
        options = replace(options, user_id=f"regions-{len(self.users)}-{region}")
        self.users.append(options.user_id)
        return options


@each_region
def test_a_claim_is_bound_and_deleted(
    provisioner: AwsS3Provisioner, s3: RegionalS3, request_for: Request, region: str
) -> None:
    request = request_for(region)
    answer = provisioner.provision(request)
    assert s3.buckets["backup"].region == region
    assert request.owner.matches(s3.buckets["backup"].tags)
    assert answer.connection.endpoint.bucket_host == f"s3.{region}.amazonaws.com"
    provisioner.delete(builders.recorded(answer, request))
    assert s3.buckets == {}


@pytest.mark.parametrize("where", ["us-west-2", "eu-central-1"])
def test_a_name_that_another_customer_has_is_taken_wherever_that_bucket_is(
    provisioner: AwsS3Provisioner, s3: RegionalS3, request_for: Request, backend: AwsBackend, where: str
) -> None:
    request = request_for()
    s3.buckets["backup"] = Bucket(region=where, account=OTHER_ACCOUNT)
    with pytest.raises(BucketExists, match="another AWS account"):
        provisioner.provision(request)
    with pytest.raises(BucketExists) as caught:  # which the core takes for "never ours", and goes on
        provisioner.delete(builders.intent(request))
    assert caught.value.request_id
    assert not backend.administrator.user_exists(request.user_id)
    assert s3.buckets == {"backup": Bucket(region=where, account=OTHER_ACCOUNT)}


def test_a_name_that_another_owner_in_the_account_has_in_another_region_is_taken(
    provisioner: AwsS3Provisioner, s3: RegionalS3, request_for: Request
) -> None:
    request, there = request_for(), Bucket(region="eu-central-1", tags={"team": "backup"})
    s3.buckets = {"backup": there, "backup-2": Bucket(region="us-west-2")}
    for call in (lambda: provisioner.provision(request), lambda: provisioner.delete(builders.intent(request))):
        with pytest.raises(BucketExists, match="not made for this claim"):
            call()
    assert s3.buckets["backup"] == there


def test_a_bucket_that_was_made_for_the_claim_before_its_class_changed_is_not_given_up(
    provisioner: AwsS3Provisioner, s3: RegionalS3, request_for: Request
) -> None:
    request = request_for()
    s3.buckets["backup"] = Bucket(region="eu-central-1", tags=dict(request.owner.ownership_tags()))
    for call in (lambda: provisioner.provision(request), lambda: provisioner.delete(builders.intent(request))):
        with pytest.raises(Elsewhere, match="eu-central-1"):
            call()
    provisioner.delete(builders.intent(replace(request, parameters={**request.parameters, "region": "eu-central-1"})))
    assert s3.buckets == {}


def test_a_bound_claim_whose_class_names_another_region_is_told_so(
    provisioner: AwsS3Provisioner, s3: RegionalS3, request_for: Request
) -> None:
    request = request_for()
    answer = provisioner.provision(request)
    s3.buckets["backup"] = Bucket(region="eu-central-1", account=OTHER_ACCOUNT)
    s3.requests.clear()
    calls = (
        lambda: provisioner.provision(builders.again(request, answer)),
        lambda: provisioner.delete(builders.recorded(answer, request)),
    )
    for call in calls:
        with pytest.raises(Elsewhere, match="eu-central-1"):
            call()
    assert s3.requests == ["GET backup?tagging"] * 2, "nothing else was asked"


def test_a_name_in_another_region_is_not_called_taken_where_the_accounts_buckets_may_not_be_listed(
    provisioner: AwsS3Provisioner, s3: RegionalS3, request_for: Request
) -> None:
    s3.buckets["backup"] = Bucket(region="eu-central-1", account=OTHER_ACCOUNT)

    def denied(*_: object) -> bool:
        raise AccessDenied("s3:ListAllMyBuckets")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Storage, "is_own", denied)
        with pytest.raises(AccessDenied):
            provisioner.provision(request_for())


@each_region
def test_a_new_bucket_that_s3_does_not_know_everywhere_is_waited_for(
    provisioner: AwsS3Provisioner, s3: RegionalS3, request_for: Request, region: str
) -> None:
    s3.is_slow = 2
    request = request_for(region)
    with pytest.raises(NotReady):
        provisioner.provision(request)
    while s3.buckets["backup"].unknown_for:
        with suppress(NotReady):
            provisioner.provision(request)
    answer = provisioner.provision(request)
    assert request.owner.matches(s3.buckets["backup"].tags)
    assert answer.connection.authentication


@each_region
def test_a_new_bucket_that_s3_forgets_for_long_is_never_another_customers(
    provisioner: AwsS3Provisioner, s3: RegionalS3, request_for: Request, region: str
) -> None:
    request = request_for(region)
    s3.buckets["backup"] = Bucket(region=region, tags=dict(request.owner.ownership_tags()), unknown_for=10_000)
    with pytest.raises(NotReady, match="does not know it everywhere"):
        provisioner.provision(request)
    s3.buckets["backup"].unknown_for = 0
    provisioner.provision(request)


@each_region
def test_a_bucket_that_another_owner_made_meanwhile_is_left_alone(
    provisioner: AwsS3Provisioner, s3: RegionalS3, request_for: Request, region: str
) -> None:
    # S3 has not heard of it when it is looked for, and has when it is made.
    s3.buckets["backup"] = Bucket(region=region, tags={"team": "other"}, unknown_for=1)
    with pytest.raises(BucketExists):
        provisioner.provision(request_for(region))
    assert s3.buckets["backup"].tags == {"team": "other"}


@each_region
@pytest.mark.parametrize("code", ["UnsupportedArgument", "MalformedXML"])
def test_a_region_that_takes_no_tags_with_a_new_bucket_gets_them_in_the_next_call(
    provisioner: AwsS3Provisioner, s3: RegionalS3, request_for: Request, backend: AwsBackend, region: str, code: str
) -> None:
    s3.takes_tags, s3.tags_refused_with = False, code
    request = request_for(region)
    answer = provisioner.provision(request)
    assert request.owner.matches(s3.buckets["backup"].tags)
    tags = backend.administrator.iam.get_user(UserName=request.user_id)["User"]["Tags"]
    assert "objectbucket_being_made" not in {tag["Key"] for tag in tags}
    provisioner.delete(builders.recorded(answer, request))
    assert s3.buckets == {}


@pytest.mark.parametrize(
    ("owner", "step"),
    [(Identity, "declare_intent"), (Storage, "create"), (Storage, "tag"), (Identity, "withdraw_intent")],
)
@pytest.mark.parametrize("ends", ["provision", "delete"])
def test_a_crash_in_a_region_that_takes_no_tags_leaves_no_bucket_behind(
    provisioner: AwsS3Provisioner, s3: RegionalS3, request_for: Request, owner: type, step: str, ends: str
) -> None:
    s3.takes_tags = False
    request, real = request_for(), getattr(owner, step)

    def crash_after(*args: object) -> None:
        real(*args)
        raise StoreUnavailable("the process died")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, step, crash_after)
        with pytest.raises((StoreUnavailable, RetrySlowly)):
            provisioner.provision(request)
    if ends == "provision":
        provisioner.provision(request)
        assert request.owner.matches(s3.buckets["backup"].tags)
    else:
        provisioner.delete(builders.intent(request))
        assert s3.buckets == {}


def test_a_bucket_that_another_replica_tags_while_its_note_is_read_is_the_claims(
    provisioner: AwsS3Provisioner, s3: RegionalS3, request_for: Request
) -> None:
    s3.takes_tags = False
    request = request_for()
    s3.buckets["backup"] = Bucket(region="us-west-2")

    def done_meanwhile(*_: object) -> bool:
        s3.buckets["backup"].tags = dict(request.owner.ownership_tags())
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Identity, "has_declared_intent", done_meanwhile)
        assert provisioner.provision(request).connection.authentication


def test_an_untagged_bucket_of_the_account_is_not_taken_in_a_region_that_takes_no_tags(
    provisioner: AwsS3Provisioner, s3: RegionalS3, request_for: Request
) -> None:
    s3.takes_tags = False
    s3.buckets["backup"] = Bucket(region="us-west-2")
    with pytest.raises(BucketExists):
        provisioner.provision(request_for())
    assert s3.buckets["backup"].tags == {}


@pytest.mark.parametrize("variable", ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_the_environment_chooses_no_other_endpoint_than_the_class(
    provisioner: AwsS3Provisioner,
    s3: RegionalS3,
    request_for: Request,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.setenv(variable, "true")
    request = request_for("ap-southeast-1")
    answer = provisioner.provision(request)
    assert answer.connection.endpoint.bucket_host == "s3.ap-southeast-1.amazonaws.com"
    assert "backup" in s3.buckets
