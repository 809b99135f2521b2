"""Claims that the Go provisioner made: a user with a managed policy and no tags, a bucket without tags.

Written as its source has it: `createIAMUser`, `createUserPolicy`, `attachPolicyToUser` and `rtnObjectBkt` of
yard-turkey/aws-s3-provisioner, `cmd/iam.go` and `cmd/aws-s3-provisioner.go`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from libbucket import AccessKeys, Authentication, BucketExists, ObjectBucket, RetrySlowly, SecretStr
from libbucket.testing import builders
from libbucket.testing.conformance.environment import CONTENT, OBJECT, assert_shut_out, assert_works
from testkit.aws_s3.backend import README_POLICY, REGION, a_provisioner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket import BucketOptions
    from libbucket.testing.conformance.environment import Environment
    from testkit.aws_s3.backend import AwsBackend


@dataclass(frozen=True, kw_only=True)
class Legacy:
    """What the Go provisioner left of one claim.

    Attributes:
        request: as the core makes it when it takes the claim over.
        user: name of the IAM user: the bucket's and five random characters.
        policy_arn: of the managed policy, which has the user's name.
        greenfield: whether the bucket was made for the claim.
    """

    request: BucketOptions
    user: str
    policy_arn: str
    greenfield: bool

    @property
    def record(self) -> ObjectBucket:
        """What `delete` and `revoke` get before anything of it was taken over."""
        intent = builders.intent(self.request, greenfield=self.greenfield)
        connection = replace(intent.connection, additional_state=self.request.additional_state)
        return replace(intent, connection=connection, taken_over=True)


@pytest.fixture(autouse=True)
def may_take_over(environment: Environment, backend: AwsBackend) -> Iterator[None]:
    """The provisioner may do what the README says that taking over needs besides."""
    document = json.loads(README_POLICY)
    actions = [a for each in document["Statement"] if each["Sid"] in {"Users", "BoundedUsers"} for a in each["Action"]]
    document["Statement"] += [
        {"Effect": "Allow", "Action": actions, "Resource": "arn:aws:iam::*:user/*"},
        {"Effect": "Allow", "Action": "iam:DeletePolicy", "Resource": "arn:aws:iam::*:policy/*"},
    ]
    secret = backend.administrator.make_user("taker-over", json.dumps(document))
    environment.provisioner = a_provisioner(backend.server, secret=secret)
    yield
    backend.administrator.remove_user("taker-over")


@pytest.fixture(params=[True, False], ids=["greenfield", "brownfield"])
def legacy(request: pytest.FixtureRequest, environment: Environment, backend: AwsBackend) -> Iterator[Legacy]:
    made = make(environment, backend, greenfield=request.param)
    yield made
    backend.administrator.remove_user(made.user)
    if policy_exists(backend, made.policy_arn):
        backend.administrator.iam.delete_policy(PolicyArn=made.policy_arn)


def make(
    environment: Environment, backend: AwsBackend, *, greenfield: bool, policy_named_for_the_bucket: bool = False
) -> Legacy:
    bucket, iam = environment.foreign_bucket(), backend.administrator.iam
    user = f"{bucket}-aB3xZ"
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    arns = [f"arn:aws:s3:::{bucket}/*", f"arn:aws:s3:::{bucket}"]
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "s3Read", "Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": arns},
            {"Sid": "s3Write", "Effect": "Allow", "Action": ["s3:DeleteObject", "s3:Put*"], "Resource": arns},
        ],
    }
    name = bucket if policy_named_for_the_bucket else user
    arn = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    iam.attach_user_policy(UserName=user, PolicyArn=arn)
    held = AccessKeys(access_key_id=key["AccessKeyId"], secret_access_key=SecretStr(key["SecretAccessKey"]))
    parameters = {"region": REGION} if greenfield else {"region": REGION, "bucketName": bucket}
    request = replace(
        environment.request(bucket=bucket, parameters=parameters, credentials=Authentication(access_keys=held)),
        additional_state={"ARN": arn, "UserName": user},
        taken_over=True,
    )
    return Legacy(request=request, user=user, policy_arn=arn, greenfield=greenfield)


def policy_exists(backend: AwsBackend, arn: str) -> bool:
    return any(each["Arn"] == arn for each in backend.administrator.iam.list_policies(Scope="Local")["Policies"])


def test_a_claim_is_adopted_without_a_new_key(environment: Environment, backend: AwsBackend, legacy: Legacy) -> None:
    tenant = environment.bind(legacy.request, greenfield=legacy.greenfield)
    assert tenant.credentials == legacy.request.credentials
    key_id = tenant.credentials.access_keys.access_key_id  # type: ignore[union-attr]
    assert tenant.answer.additional_state == {
        "ARN": legacy.policy_arn,
        "UserName": legacy.user,
        "AccessKeyId": key_id,
    }
    assert backend.administrator.keys(legacy.user) == [key_id]
    assert tenant.application.get(tenant.bucket, OBJECT) == CONTENT
    assert_works(tenant)
    tagged = legacy.request.owner.matches(backend.administrator.tags(tenant.bucket))
    assert tagged == legacy.greenfield, "a bucket that a class names is not changed"
    assert not backend.administrator.user_exists(legacy.request.user_id), "no second user"


def test_an_adopted_claim_is_known_by_its_tags_from_then_on(environment: Environment, legacy: Legacy) -> None:
    first = environment.bind(legacy.request, greenfield=legacy.greenfield)
    later = replace(builders.again(legacy.request, first.answer), taken_over=False)
    second = environment.bind(later, greenfield=legacy.greenfield)
    assert second.answer.connection == first.answer.connection
    assert environment.looks_intact(second)


def test_tags_that_were_on_the_bucket_stay(environment: Environment, backend: AwsBackend) -> None:
    legacy = make(environment, backend, greenfield=True)
    bucket = legacy.request.bucket_name
    backend.administrator.s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": "shop"}]})
    environment.bind(legacy.request, greenfield=True)
    assert backend.administrator.tags(bucket)["team"] == "shop"
    assert legacy.request.owner.matches(backend.administrator.tags(bucket))
    environment.delete(legacy.record)


@pytest.mark.parametrize("adopted", [True, False], ids=["adopted-before", "at-once"])
def test_its_end_removes_managed_policy_keys_and_user(
    environment: Environment, backend: AwsBackend, legacy: Legacy, adopted: bool
) -> None:
    record, tenant = legacy.record, environment.bind(legacy.request, greenfield=legacy.greenfield) if adopted else None
    if tenant is not None:
        record = tenant.record
        assert not record.taken_over
    environment.provisioner.delete(record) if legacy.greenfield else environment.provisioner.revoke(record)
    assert not backend.administrator.user_exists(legacy.user)
    assert not policy_exists(backend, legacy.policy_arn)
    assert backend.administrator.bucket_exists(legacy.request.bucket_name) is not legacy.greenfield
    if tenant is not None and not legacy.greenfield:
        assert_shut_out(tenant)
    environment.delete(record) if legacy.greenfield else environment.revoke(record)


def test_a_managed_policy_that_outlived_its_user_is_removed_too(
    environment: Environment, backend: AwsBackend, legacy: Legacy
) -> None:
    backend.administrator.remove_user(legacy.user)
    assert policy_exists(backend, legacy.policy_arn)
    environment.revoke(legacy.record)
    assert not policy_exists(backend, legacy.policy_arn)


def test_a_managed_policy_that_others_were_given_too_is_left_to_an_administrator(
    environment: Environment, backend: AwsBackend, legacy: Legacy
) -> None:
    backend.administrator.make_user("another-user", README_POLICY)
    backend.administrator.iam.attach_user_policy(UserName="another-user", PolicyArn=legacy.policy_arn)
    with pytest.raises(RetrySlowly, match="manually"):
        environment.provisioner.revoke(legacy.record)
    assert not backend.administrator.user_exists(legacy.user), "the claim is out nevertheless"
    backend.administrator.remove_user("another-user")
    environment.revoke(legacy.record)
    assert not policy_exists(backend, legacy.policy_arn)


def test_a_policy_that_is_not_named_for_the_claim_is_never_removed(
    environment: Environment, backend: AwsBackend
) -> None:
    legacy = make(environment, backend, greenfield=False)
    document = '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}'
    other = backend.administrator.iam.create_policy(PolicyName="everybodys", PolicyDocument=document)["Policy"]["Arn"]
    state = {**legacy.request.additional_state, "ARN": other}
    forged = replace(legacy.record, connection=replace(legacy.record.connection, additional_state=state))
    environment.revoke(forged)
    assert policy_exists(backend, other)
    backend.administrator.iam.delete_policy(PolicyArn=other)
    backend.administrator.iam.delete_policy(PolicyArn=legacy.policy_arn)


def test_a_policy_named_for_the_bucket_as_early_releases_did_is_removed(
    environment: Environment, backend: AwsBackend
) -> None:
    legacy = make(environment, backend, greenfield=True, policy_named_for_the_bucket=True)
    environment.delete(legacy.record)
    assert not policy_exists(backend, legacy.policy_arn)
    assert not backend.administrator.user_exists(legacy.user)


def test_a_user_without_tags_is_not_taken_where_nothing_was_taken_over(
    environment: Environment, backend: AwsBackend, legacy: Legacy
) -> None:
    claimed = replace(legacy.request, taken_over=False)
    with pytest.raises((RetrySlowly, BucketExists)):
        environment.bind(claimed, greenfield=legacy.greenfield)
    environment.revoke(replace(legacy.record, taken_over=False))
    assert backend.administrator.user_exists(legacy.user)
    assert len(backend.administrator.keys(legacy.user)) == 1
    assert_works(environment.bind(legacy.request, greenfield=legacy.greenfield))


def test_a_claim_that_got_the_administrators_keys_gets_a_user_of_its_own(
    environment: Environment, backend: AwsBackend, legacy: Legacy
) -> None:
    """The Go provisioner did so when something failed: it logged the error and went on."""
    administrators = AccessKeys(
        access_key_id=backend.server.access_key, secret_access_key=SecretStr(backend.server.secret_key)
    )
    request = replace(
        legacy.request,
        credentials=Authentication(access_keys=administrators),
        additional_state={"ARN": f"arn:aws:s3:::{legacy.request.bucket_name}", "UserName": ""},
    )
    tenant = environment.bind(request, greenfield=legacy.greenfield)
    assert tenant.credentials.access_keys != administrators
    assert tenant.answer.additional_state["UserName"] == request.user_id
    assert_works(tenant)
