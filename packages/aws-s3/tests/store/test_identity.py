"""The claim's IAM user: whose it is, how far it gets, how many keys it has, and what a class may change about it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.endpoint import Endpoint
from botocore.exceptions import ClientError

from aws_s3_provisioner.identity import Identity
from aws_s3_provisioner.parameters import Parameters
from aws_s3_provisioner.stamps import stamped_path
from aws_s3_provisioner.users import IamUser
from libbucket import NotReady, RetrySlowly
from libbucket.testing import builders
from libbucket.testing.conformance.environment import Environment, assert_shut_out, assert_works
from testkit.aws_s3.backend import AwsBackend, a_provisioner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from libbucket.testing.conformance.environment import Tenant
    from testkit.aws_s3.backend import AwsAdministrator
    from testkit.aws_s3.emulators import AwsServer


@pytest.fixture
def administrator(backend: AwsBackend) -> AwsAdministrator:
    return backend.administrator


@pytest.fixture
def lenient_world(lenient_server: AwsServer) -> Iterator[Environment]:
    environment = Environment(AwsBackend(lenient_server))
    yield environment
    environment.clean_up()


def test_a_user_of_another_claim_is_never_reused(environment: Environment, administrator: AwsAdministrator) -> None:
    owner = environment.tenant(greenfield=True)
    thief = replace(environment.request(), user_id=owner.request.user_id)
    with pytest.raises(RetrySlowly, match="not made for this claim"):
        environment.provisioner.provision(thief)
    with pytest.raises(RetrySlowly, match="not made for this claim"):
        environment.provisioner.grant(replace(thief, bucket_name=environment.foreign_bucket()))
    with pytest.raises(RetrySlowly, match="not made for this claim"):
        environment.provisioner.provision(replace(thief, taken_over=True, additional_state={"UserName": thief.user_id}))
    environment.revoke(builders.intent(thief))
    environment.delete(builders.intent(thief))
    assert len(administrator.keys(owner.request.user_id)) == 1
    assert_works(owner)
    assert_works(environment.again(owner))


def test_a_user_that_was_made_manually_is_never_reused_nor_removed(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    request = environment.request()
    administrator.iam.create_user(UserName=request.user_id)
    with pytest.raises(RetrySlowly, match="not made for this claim"):
        environment.provisioner.provision(request)
    environment.revoke(builders.intent(request))
    assert administrator.user_exists(request.user_id)
    administrator.remove_user(request.user_id)
    assert_works(environment.greenfield(request))


def test_a_user_of_the_same_claim_in_another_cluster_is_another_claims(environment: Environment) -> None:
    first = environment.greenfield()
    elsewhere = replace(first.request.owner, cluster_id="another-cluster")
    with pytest.raises(RetrySlowly, match="not made for this claim"):
        environment.provisioner.grant(replace(first.request, owner=elsewhere))
    assert_works(first)


def test_keys_that_is_unknown_are_removed_and_the_claims_own_stays(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    tenant = environment.greenfield()
    user = tenant.request.user_id
    administrator.iam.create_access_key(UserName=user)
    assert len(administrator.keys(user)) == 2
    assert environment.again(tenant).credentials == tenant.credentials
    assert administrator.keys(user) == [tenant.credentials.access_keys.access_key_id]  # type: ignore[union-attr]
    assert_works(tenant)


def test_two_keys_that_is_unknown_do_not_stop_a_claim_where_a_user_can_have_two(lenient_world: Environment) -> None:
    tenant = lenient_world.greenfield()
    iam = lenient_world.administrator.iam  # type: ignore[attr-defined]
    iam.create_access_key(UserName=tenant.request.user_id)
    with pytest.raises(ClientError, match="LimitExceeded"):
        iam.create_access_key(UserName=tenant.request.user_id)
    found = lenient_world.again(tenant, with_credentials=False)
    (key,) = lenient_world.administrator.keys(tenant.request.user_id)  # type: ignore[attr-defined]
    assert found.credentials.access_keys is not None
    assert found.credentials.access_keys.access_key_id == key


def test_a_replica_that_took_the_last_key_at_the_same_time_is_a_reason_to_requeue(lenient_world: Environment) -> None:
    tenant = lenient_world.greenfield()
    iam, user = lenient_world.administrator.iam, tenant.request.user_id  # type: ignore[attr-defined]
    iam.create_access_key(UserName=user)
    delete_keys = Identity.delete_keys

    def then_the_other(self: Identity, access_key_ids: Iterable[str]) -> None:
        delete_keys(self, access_key_ids)
        for _ in range(2):
            iam.create_access_key(UserName=user)

    request = builders.again(tenant.request, tenant.answer, with_credentials=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Identity, "delete_keys", then_the_other)
        with pytest.raises(NotReady):
            lenient_world.provisioner.provision(request)
    assert lenient_world.greenfield(request).credentials.access_keys


def test_a_key_that_was_switched_off_is_replaced(environment: Environment, administrator: AwsAdministrator) -> None:
    first = environment.tenant(greenfield=True)
    keys = first.credentials.access_keys
    assert keys is not None
    named = {"UserName": first.request.user_id, "AccessKeyId": keys.access_key_id}
    administrator.iam.update_access_key(**named, Status="Inactive")
    assert not environment.looks_intact(first)
    second = environment.again(first)
    assert second.credentials != first.credentials
    assert_works(second)
    assert_shut_out(first)


def test_what_was_added_to_a_user_manually_goes_with_it_in_the_order_that_iam_wants(lenient_world: Environment) -> None:
    tenant = lenient_world.greenfield()
    iam, user = lenient_world.administrator.iam, tenant.request.user_id  # type: ignore[attr-defined]
    document = '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}'
    iam.put_user_policy(UserName=user, PolicyName="by-hand", PolicyDocument=document)
    arn = iam.create_policy(PolicyName="shared", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_user_policy(UserName=user, PolicyArn=arn)
    with pytest.raises(ClientError, match="DeleteConflict"):
        iam.delete_user(UserName=user)
    lenient_world.revoke(tenant.record)
    assert not lenient_world.administrator.identity_exists(tenant.record)
    iam.delete_policy(PolicyArn=arn)


def test_what_only_an_administrator_can_remove_is_named(environment: Environment) -> None:
    tenant = environment.greenfield()
    conflict: Any = {"Error": {"Code": "DeleteConflict", "Message": "must remove from groups"}}

    def refused(**_: object) -> None:
        raise ClientError(conflict, "DeleteUser")

    real = IamUser.delete

    def with_conflict(self: IamUser) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(self.clients.iam, "delete_user", refused)
            real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IamUser, "delete", with_conflict)
        with pytest.raises(RetrySlowly, match="manually"):
            environment.provisioner.revoke(tenant.record)
    assert_shut_out(tenant, bucket=environment.foreign_bucket())
    environment.revoke(tenant.record)


def test_users_are_under_the_path_of_their_class(environment: Environment, administrator: AwsAdministrator) -> None:
    """In one of its own there, elsewhere than at AWS; for AWS see test_compatible_stores.py."""
    usual, special = environment.greenfield(), environment.request(parameters={"iamPath": "/objectbucket/shop/"})
    environment.provisioner.provision(special)
    found = [administrator.iam.get_user(UserName=one.user_id)["User"]["Path"] for one in (usual.request, special)]
    expected = stamped_path("/objectbucket/", usual.request.owner), stamped_path("/objectbucket/shop/", special.owner)
    assert tuple(found) == expected
    assert expected[0].startswith("/objectbucket/")


def test_a_users_own_policy_gets_it_no_further_than_the_boundary_of_its_class(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    reading = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [reading]})
    arn = administrator.iam.create_policy(PolicyName="boundary", PolicyDocument=document)["Policy"]["Arn"]
    tenant = environment.greenfield(environment.request(parameters={"permissionsBoundary": arn}))
    found = administrator.iam.get_user(UserName=tenant.request.user_id)["User"]["PermissionsBoundary"]
    assert found["PermissionsBoundaryArn"] == arn
    with pytest.raises(Exception, match="AccessDenied"):
        tenant.application.put(tenant.bucket, "key", b"x")
    assert tenant.application.list_keys(tenant.bucket) == []
    environment.delete(tenant.record)
    administrator.iam.delete_policy(PolicyArn=arn)


def test_a_claim_gets_nothing_from_iam(environment: Environment, backend: AwsBackend) -> None:
    tenant = environment.greenfield()
    user = tenant.request.user_id
    calls: list[Callable[[Any], object]] = [
        lambda iam: iam.create_access_key(UserName=user),
        lambda iam: iam.list_access_keys(UserName=user),
        lambda iam: iam.get_user(UserName=user),
        lambda iam: iam.list_users(),
        lambda iam: iam.untag_user(UserName=user, TagKeys=["objectbucket_claim_uid"]),
        lambda iam: iam.put_user_policy(UserName=user, PolicyName="more", PolicyDocument='{"Statement": []}'),
    ]
    for call in calls:
        with pytest.raises(ClientError) as refused:
            call(_as(backend, tenant, "iam"))
        assert refused.value.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException"}
    assert backend.administrator.iam.list_access_keys(UserName=user)


@pytest.mark.parametrize(
    "change",
    [
        lambda s3, bucket: s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
        lambda s3, bucket: s3.get_bucket_tagging(Bucket=bucket),
        lambda s3, bucket: s3.delete_bucket_tagging(Bucket=bucket),
        lambda s3, bucket: s3.delete_bucket_policy(Bucket=bucket),
        lambda s3, bucket: s3.get_bucket_lifecycle_configuration(Bucket=bucket),
        lambda s3, bucket: s3.delete_bucket_lifecycle(Bucket=bucket),
        lambda s3, bucket: s3.delete_bucket_encryption(Bucket=bucket),
        lambda s3, bucket: s3.delete_public_access_block(Bucket=bucket),
        lambda s3, bucket: s3.get_bucket_versioning(Bucket=bucket),
        lambda s3, bucket: s3.delete_bucket_website(Bucket=bucket),
        lambda s3, bucket: s3.delete_bucket_cors(Bucket=bucket),
        lambda s3, _bucket: s3.list_buckets(),
        lambda s3, bucket: s3.create_bucket(
            Bucket=f"{bucket[:50]}-other", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
        ),
    ],
    ids=[
        "tags", "reading-tags", "no-tags", "policy", "reading-lifecycle", "lifecycle", "encryption", "public-access",
        "versioning", "website", "cors", "listing-buckets", "further-buckets",
    ],
)  # fmt: skip
def test_the_settings_of_its_own_bucket_are_closed_to_a_claim(
    environment: Environment, backend: AwsBackend, change: Callable[[Any, str], object]
) -> None:
    tenant = environment.greenfield(environment.request(config={"bucketLifecycle": _rules()}))
    with pytest.raises(ClientError) as refused:
        change(_as(backend, tenant, "s3"), tenant.bucket)
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    change(backend.administrator.s3, tenant.bucket)
    backend.administrator.purge_bucket(f"{tenant.bucket[:50]}-other")


def test_versions_and_tags_of_its_objects_are_open_to_a_claim(environment: Environment, backend: AwsBackend) -> None:
    tenant = environment.greenfield(environment.request(config={"bucketVersioning": "Enabled"}))
    own, named = _as(backend, tenant, "s3"), {"Bucket": tenant.bucket, "Key": "key"}
    first = own.put_object(**named, Body=b"one")["VersionId"]
    own.put_object(**named, Body=b"two")
    assert len(own.list_object_versions(Bucket=tenant.bucket)["Versions"]) == 2
    assert own.get_object(**named, VersionId=first)["Body"].read() == b"one"
    own.put_object_tagging(**named, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert own.get_object_tagging(**named)["TagSet"] == [{"Key": "a", "Value": "b"}]
    own.delete_object(**named, VersionId=first)
    assert backend.administrator.stored_versions(tenant.bucket) == 1


def test_a_class_without_users_hands_out_the_administrators_keys_and_says_so(
    environment: Environment, backend: AwsBackend
) -> None:
    root = backend.server
    provisioner = a_provisioner(root)
    request = environment.request(parameters={"createBucketUser": "no"})
    tenant = environment.bind(request, greenfield=True, by=provisioner)
    keys = tenant.credentials.access_keys
    assert keys is not None
    assert (keys.access_key_id, keys.secret_access_key.reveal()) == (root.access_key, root.secret_key)
    assert tenant.answer.additional_state == {"UserName": "", "ARN": ""}
    assert any("administrator's own keys" in text for text in tenant.answer.warnings)
    assert not backend.administrator.identity_exists(tenant.record)
    assert environment.looks_intact(tenant)
    assert_works(tenant)
    provisioner.revoke(tenant.record)
    assert_works(tenant)
    provisioner.delete(tenant.record)
    assert not backend.administrator.bucket_exists(tenant.bucket)


def test_a_class_that_hands_out_no_keys_any_more_or_not_yet_changes_over(
    environment: Environment, backend: AwsBackend
) -> None:
    provisioner = a_provisioner(backend.server)
    own = environment.bind(environment.request(), greenfield=True, by=provisioner)
    without = {**own.request.parameters, "createBucketUser": "no"}
    again = builders.again(own.request, own.answer)
    handed = environment.bind(replace(again, parameters=without), greenfield=True, by=provisioner)
    assert not backend.administrator.identity_exists(own.record), "the user went, since nobody would remove it"
    back = builders.again(own.request, handed.answer)
    assert environment.bind(back, greenfield=True, by=provisioner).credentials != handed.credentials


def test_a_key_that_ends_by_itself_is_not_handed_out(environment: Environment, backend: AwsBackend) -> None:
    secret = {"AWS_ACCESS_KEY_ID": "ASIA", "AWS_SECRET_ACCESS_KEY": "x", "AWS_SESSION_TOKEN": "y"}
    request = environment.request(parameters={"createBucketUser": "no"})
    with pytest.raises(RetrySlowly, match="AWS_SESSION_TOKEN"):
        a_provisioner(backend.server, secret=secret).provision(request)
    assert not backend.administrator.bucket_exists(request.bucket_name)


def test_a_deletion_needs_nothing_but_the_record(environment: Environment, administrator: AwsAdministrator) -> None:
    tenant = environment.tenant(greenfield=True)
    arn = administrator.iam.get_user(UserName=tenant.request.user_id)["User"]["Arn"]
    assert tenant.answer.additional_state == {
        "UserName": tenant.request.user_id,
        "ARN": arn,
        "AccessKeyId": tenant.credentials.access_keys.access_key_id,  # type: ignore[union-attr]
    }
    environment.delete(replace(tenant.record, user_id="derived-by-a-later-release"))
    assert not administrator.identity_exists(builders.intent(tenant.request))


@pytest.mark.parametrize(("at_aws", "provision", "grant"), [(True, 8, 7), (False, 17, 5)], ids=["aws", "elsewhere"])
def test_each_verb_takes_no_more_requests_than_it_needs(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, at_aws: bool, provision: int, grant: int
) -> None:
    monkeypatch.setattr(Parameters, "is_aws", at_aws)
    bucket = environment.foreign_bucket()
    owner, counts = _counted(environment.greenfield)
    guest, granted = _counted(lambda: environment.brownfield(bucket))
    assert sum(counts.values()) == provision, counts
    assert sum(granted.values()) == grant, granted
    for calls, call in (
        (7, lambda: environment.again(owner)),
        (1, lambda: environment.looks_intact(owner)),
        (6, lambda: environment.revoke(guest.record)),
        (11, lambda: environment.delete(owner.record)),
    ):
        counts = _counted(call)[1]
        assert sum(counts.values()) == calls, counts


def _counted(call: Callable[[], Any]) -> tuple[Any, Counter[str]]:
    """What a call answers, and which requests it made."""
    seen: Counter[str] = Counter()
    send = Endpoint.make_request

    def counting(self: Any, operation_model: Any, request_dict: Any) -> Any:
        seen[operation_model.name] += 1
        return send(self, operation_model, request_dict)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Endpoint, "make_request", counting)
        answer = call()
    return answer, seen


def _as(backend: AwsBackend, tenant: Tenant, service: str) -> Any:
    keys = tenant.credentials.access_keys
    assert keys is not None
    secret = keys.secret_access_key.reveal()
    return backend.client(service, access_key=keys.access_key_id, secret_key=secret)


def _rules() -> str:
    return json.dumps({"Rules": [{"ID": "x", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 3}}]})
