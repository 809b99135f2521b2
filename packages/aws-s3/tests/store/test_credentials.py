"""Access keys: kept when in doubt, waited for when new, replaced when IAM says that they are gone or inactive."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aws_s3_provisioner.errors import BAD_KEY
from aws_s3_provisioner.identity import Identity
from aws_s3_provisioner.request_ids import Answered
from aws_s3_provisioner.trials import Attempt, Trial, Trials
from libbucket import AccessDenied, AccessKeys, Authentication, NotReady, SecretStr
from libbucket.testing import builders
from libbucket.testing.conformance.backend import REQUEST_ID
from libbucket.testing.conformance.environment import Environment, assert_shut_out, assert_works
from testkit.aws_s3.backend import AwsBackend, distrust_all_but

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket import BucketOptions
    from libbucket.testing.conformance.environment import Tenant
    from testkit.aws_s3.backend import AwsAdministrator
    from testkit.aws_s3.emulators import AwsServer


@pytest.fixture
def administrator(backend: AwsBackend) -> AwsAdministrator:
    return backend.administrator


@pytest.fixture
def lenient_world(lenient_server: AwsServer) -> Iterator[Environment]:
    """On a server that has IAM's limit of two keys."""
    environment = Environment(AwsBackend(lenient_server))
    yield environment
    environment.clean_up()


def key_id(tenant: Tenant) -> str:
    keys = tenant.credentials.access_keys
    assert keys is not None
    return keys.access_key_id


def provision_again(environment: Environment, tenant: Tenant) -> None:
    """Once, where `environment.again` comes back as often as it is told to."""
    environment.provisioner.provision(builders.again(tenant.request, tenant.answer))


def deny_listing(administrator: AwsAdministrator, tenant: Tenant) -> None:
    """A bucket policy as an administrator, or a landing zone, writes it."""
    arn = administrator.iam.get_user(UserName=tenant.request.user_id)["User"]["Arn"]
    statement = {
        "Effect": "Deny",
        "Principal": {"AWS": arn},
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{tenant.bucket}",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    administrator.s3.put_bucket_policy(Bucket=tenant.bucket, Policy=document)


def test_a_key_whose_user_is_denied_by_another_policy_is_kept(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    tenant = environment.greenfield()
    tenant.application.put(tenant.bucket, "key", b"data")
    deny_listing(administrator, tenant)
    assert not environment.looks_intact(tenant)
    for _ in range(3):
        with pytest.raises(NotReady, match=r"denies user .* the key is kept"):
            provision_again(environment, tenant)
    assert administrator.keys(tenant.request.user_id) == [key_id(tenant)]
    assert tenant.application.get(tenant.bucket, "key") == b"data", "the application goes on"
    administrator.s3.delete_bucket_policy(Bucket=tenant.bucket)
    assert environment.again(tenant).credentials == tenant.credentials
    assert_works(tenant)


@pytest.mark.parametrize("code", sorted(BAD_KEY | {"AccessDenied", "NoSuchBucket"}))
def test_a_key_that_s3_refuses_and_iam_lists_is_kept(
    environment: Environment, backend: AwsBackend, administrator: AwsAdministrator, code: str
) -> None:
    tenant = environment.greenfield()
    with distrust_all_but(*_trusted(backend), code=code) as refused:
        for _ in range(2):
            with pytest.raises(NotReady, match="the key is kept") as caught:
                provision_again(environment, tenant)
    assert refused == [key_id(tenant)] * 2, "one request per call: there is nothing to wait for"
    assert caught.value.request_id == REQUEST_ID
    assert administrator.keys(tenant.request.user_id) == [key_id(tenant)]
    assert environment.again(tenant).credentials == tenant.credentials


def test_an_unanswered_test_of_a_key_replaces_nothing(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    tenant = environment.greenfield()

    def unanswered(*_: object) -> Attempt:
        raise AccessDenied("S3 did not say")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trials, "attempt", unanswered)
        with pytest.raises(AccessDenied):
            provision_again(environment, tenant)
    assert administrator.keys(tenant.request.user_id) == [key_id(tenant)]


def test_a_policy_that_was_written_just_now_is_waited_for_before_a_key_is_doubted(environment: Environment) -> None:
    tenant = environment.greenfield()
    trials = iter([Trial.DENIED, Trial.DENIED, Trial.WORKS])
    iam = environment.backend.administrator.iam  # type: ignore[attr-defined]
    iam.delete_user_policy(UserName=tenant.request.user_id, PolicyName="objectbucket")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trials, "attempt", lambda *_: Attempt(trial=next(trials)))
        assert environment.again(tenant).credentials == tenant.credentials
    assert_works(tenant)


def test_a_key_that_iam_does_not_list_and_s3_accepts_is_kept_until_they_agree(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    tenant = environment.greenfield()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Identity, "keys", lambda _: Answered(value={}, request_id="listed"))
        with pytest.raises(NotReady, match="until they agree"):
            provision_again(environment, tenant)
    assert administrator.keys(tenant.request.user_id) == [key_id(tenant)]
    assert environment.again(tenant).credentials == tenant.credentials


def test_a_key_that_is_gone_is_replaced(environment: Environment, administrator: AwsAdministrator) -> None:
    first = environment.greenfield()
    administrator.iam.delete_access_key(UserName=first.request.user_id, AccessKeyId=key_id(first))
    second = environment.again(first)
    assert second.credentials != first.credentials
    assert_works(second)
    assert_shut_out(first)


def test_a_key_that_iam_has_not_spread_yet_is_waited_for_and_no_other_is_made(
    environment: Environment, backend: AwsBackend, administrator: AwsAdministrator
) -> None:
    request = environment.request()
    with distrust_all_but(*_trusted(backend)):
        for _ in range(4):
            with pytest.raises(NotReady, match="does not work yet") as caught:
                environment.provisioner.provision(request)
            assert caught.value.request_id == REQUEST_ID
    (made,) = administrator.keys(request.user_id)
    tenant = environment.greenfield(request)
    assert key_id(tenant) == made, "the key that was made first"
    assert_works(tenant)


def test_each_claim_waits_for_a_key_of_its_own(environment: Environment, backend: AwsBackend) -> None:
    requests = [environment.request(), environment.request()]
    with distrust_all_but(*_trusted(backend)):
        for request in requests:
            with pytest.raises(NotReady):
                environment.provisioner.provision(request)
    one, other = (environment.greenfield(request) for request in requests)
    assert key_id(one) != key_id(other)
    assert_works(one)
    assert_works(other)


def test_a_claim_that_is_deleted_while_it_waits_leaves_no_key(environment: Environment, backend: AwsBackend) -> None:
    request = environment.request()
    with distrust_all_but(*_trusted(backend)), pytest.raises(NotReady):
        environment.provisioner.provision(request)
    environment.delete(builders.intent(request))
    assert not backend.administrator.user_exists(request.user_id)
    assert_works(environment.greenfield(request))


def test_keys_that_are_removed_while_they_are_waited_for_are_made_twice_an_hour_at_most(
    environment: Environment, backend: AwsBackend, administrator: AwsAdministrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aws_s3_provisioner.pending._FRESH", 0.0)
    request, made = environment.request(), set[str]()
    with distrust_all_but(*_trusted(backend)):
        for _ in range(5):
            with pytest.raises(NotReady):
                environment.provisioner.provision(request)
            made.update(administrator.keys(request.user_id))
            assert len(administrator.keys(request.user_id)) <= 2
            for key in administrator.keys(request.user_id):
                administrator.iam.delete_access_key(UserName=request.user_id, AccessKeyId=key)
    assert len(made) == 2
    assert_works(environment.bind(request, greenfield=True, by=backend.provisioner()))  # a restart has forgotten


def test_an_edited_secret_is_replaced_and_the_old_key_goes_when_the_new_one_works(
    environment: Environment, backend: AwsBackend
) -> None:
    tenant = environment.greenfield()
    edited = with_another_secret(tenant)
    user = tenant.request.user_id
    with distrust_all_but(*_trusted(backend), code="SignatureDoesNotMatch"):
        for _ in range(3):
            with pytest.raises(NotReady):
                environment.provisioner.provision(edited)
            assert len(backend.administrator.keys(user)) == 2
            assert key_id(tenant) in backend.administrator.keys(user), "pods may still have it"
    found = environment.greenfield(edited)
    assert_works(found)
    assert backend.administrator.keys(user) == [key_id(found)] != [key_id(tenant)]


def test_an_edited_secret_is_replaced_where_the_user_has_a_key_that_is_unknown(lenient_world: Environment) -> None:
    tenant = lenient_world.greenfield()
    administrator = lenient_world.backend.administrator
    user = tenant.request.user_id
    unknown = administrator.iam.create_access_key(UserName=user)["AccessKey"]["AccessKeyId"]  # type: ignore[attr-defined]
    with distrust_all_but(*_trusted(lenient_world.backend)), pytest.raises(NotReady):
        lenient_world.provisioner.provision(with_another_secret(tenant))
    assert key_id(tenant) in administrator.keys(user)  # type: ignore[attr-defined]
    assert unknown not in administrator.keys(user)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "call",
    [lambda environment, record: environment.revoke(record), lambda environment, record: environment.delete(record)],
)
def test_a_user_that_lost_its_tags_is_not_left_behind(
    environment: Environment, administrator: AwsAdministrator, call: Callable[[Environment, object], None]
) -> None:
    """Elsewhere than at AWS it is known by its path; for AWS, see test_isolation.py."""
    tenant = environment.greenfield()
    user = tenant.request.user_id
    tags = administrator.iam.get_user(UserName=user)["User"]["Tags"]
    administrator.iam.untag_user(UserName=user, TagKeys=[tag["Key"] for tag in tags])

    call(environment, tenant.record)

    assert not administrator.user_exists(user)
    assert_shut_out(tenant)


def with_another_secret(tenant: Tenant) -> BucketOptions:
    """As the core asks after the Secret was edited manually."""
    keys = AccessKeys(access_key_id=key_id(tenant), secret_access_key=SecretStr("another"))
    again = builders.again(tenant.request, tenant.answer)
    return replace(again, credentials=Authentication(access_keys=keys), credentials_unchanged=False)


def _trusted(backend: object) -> list[str]:
    assert isinstance(backend, AwsBackend)
    return backend.administrators_keys
