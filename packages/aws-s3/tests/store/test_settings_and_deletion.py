"""What AWS has beyond the suite: a class's settings of buckets, object lock, bounded deletions of large buckets."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aws_s3_provisioner.request import Patience
from libbucket import BucketNotEmpty, InvalidConfig, PurgeUnfinished, QuotaExceeded, RetrySlowly
from libbucket.testing import builders
from libbucket.testing.conformance.environment import Environment, assert_refused, assert_shut_out, assert_works
from libbucket.testing.misbehaving import Answer, scripted_server
from testkit.aws_s3.backend import AwsBackend, a_policy, a_provisioner, rules

if TYPE_CHECKING:
    from libbucket.testing.conformance.environment import Tenant
    from testkit.aws_s3.backend import AwsAdministrator


@pytest.fixture
def administrator(backend: AwsBackend) -> AwsAdministrator:
    return backend.administrator


def test_new_buckets_keep_what_aws_gives_them(environment: Environment, administrator: AwsAdministrator) -> None:
    bucket = environment.greenfield().bucket
    assert set(administrator.settings(bucket)["public access"].values()) == {True}  # type: ignore[attr-defined]
    (rule,) = administrator.s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert rule == {"ObjectOwnership": "BucketOwnerEnforced"}


def test_a_class_may_choose_who_owns_objects(environment: Environment, administrator: AwsAdministrator) -> None:
    bucket = environment.greenfield(environment.request(parameters={"objectOwnership": "BucketOwnerPreferred"})).bucket
    (rule,) = administrator.s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert rule == {"ObjectOwnership": "BucketOwnerPreferred"}


def test_the_tags_of_a_class_are_on_bucket_and_user(environment: Environment, administrator: AwsAdministrator) -> None:
    tenant = environment.greenfield(environment.request(parameters={"tags": "team=shop,cost-centre=4/2"}))
    found = administrator.iam.get_user(UserName=tenant.request.user_id)["User"]["Tags"]
    for tags in (administrator.tags(tenant.bucket), {tag["Key"]: tag["Value"] for tag in found}):
        assert (tags["team"], tags["cost-centre"]) == ("shop", "4/2")
        assert tenant.request.owner.matches(tags)


def test_a_class_with_versioning_makes_buckets_that_keep_versions_and_a_claim_may_suspend_it(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    first = environment.greenfield(environment.request(parameters={"versioning": "true"}))
    assert administrator.config(first.bucket, "bucketVersioning") == "Enabled"
    suspended = environment.again(first, config={"bucketVersioning": "Suspended"})
    assert administrator.config(first.bucket, "bucketVersioning") == "Suspended"
    environment.again(replace(suspended, request=replace(first.request)), config={})
    assert administrator.config(first.bucket, "bucketVersioning") == "Enabled", "back to what the class says"


@pytest.mark.parametrize("as_arn", [True, False], ids=["arn", "id"])
def test_a_class_with_a_key_encrypts_with_it_and_lets_users_use_this_one(
    environment: Environment, backend: AwsBackend, as_arn: bool
) -> None:
    keys = backend.client("kms", access_key=backend.server.access_key, secret_key=backend.server.secret_key)
    key = keys.create_key()["KeyMetadata"]
    tenant = environment.greenfield(environment.request(parameters={"kmsKeyId": key["Arn" if as_arn else "KeyId"]}))
    settings: Any = backend.administrator.settings(tenant.bucket)["encryption"]
    assert settings["Rules"][0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert key["KeyId"] in settings["Rules"][0]["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"]
    (allowed,) = [each for each in _policy(backend, tenant)["Statement"] if each["Sid"] == "Key"]
    assert allowed["Resource"] == [key["Arn"]]
    assert_works(tenant)
    plain = environment.greenfield()
    assert not [each for each in _policy(backend, plain)["Statement"] if each["Sid"] == "Key"]


def test_a_read_only_class_lets_read_and_nothing_else(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"]}]}
    tenant = environment.greenfield(environment.request(parameters={"iamPolicy": json.dumps(policy)}))
    administrator.application().put(tenant.bucket, "key", b"x")
    assert tenant.application.get(tenant.bucket, "key") == b"x"
    assert tenant.application.list_keys(tenant.bucket) == ["key"]
    assert_refused("writing", lambda: tenant.application.put(tenant.bucket, "key", b"y"))
    assert_refused("deleting", lambda: tenant.application.delete(tenant.bucket, "key"))
    assert_refused("reading elsewhere", lambda: tenant.application.list_keys(environment.foreign_bucket()))
    assert environment.looks_intact(tenant)


def test_a_class_that_permits_no_listing_binds_and_is_found_intact_and_broken(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    policy = {"Statement": [{"Effect": "Allow", "Action": "s3:PutObject"}]}
    tenant = environment.greenfield(environment.request(parameters={"iamPolicy": json.dumps(policy)}))
    tenant.application.put(tenant.bucket, "key", b"x")
    assert_refused("listing", lambda: tenant.application.list_keys(tenant.bucket))
    assert environment.looks_intact(tenant)
    assert environment.again(tenant).credentials == tenant.credentials
    administrator.remove_identity(tenant.record)
    assert not environment.looks_intact(tenant)


def test_a_claim_whose_policy_shuts_the_administrator_out_is_deleted_with_its_bucket(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    steward = "arn:aws:iam::000000000000:user/steward"
    actions = ["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:DeleteObject"]
    statement = {"Effect": "Deny", "Principal": {"AWS": steward}, "Action": [*actions, "s3:DeleteObjectVersion"]}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    tenant = environment.greenfield(environment.request(config={"bucketPolicy": json.dumps(document)}))
    tenant.application.put(tenant.bucket, "key", b"x")
    environment.delete(tenant.record)
    assert not administrator.bucket_exists(tenant.bucket)
    assert_shut_out(tenant)


@pytest.mark.parametrize("key", ["bucketPolicy", "bucketLifecycle"])
def test_nothing_is_made_for_a_claim_whose_settings_can_not_be_used(
    environment: Environment, administrator: AwsAdministrator, key: str
) -> None:
    request = environment.request(config={key: '{"Rules": [{"Status": "On"}], "Statement": [{}]}'})
    with pytest.raises(InvalidConfig, match=key):
        environment.provisioner.provision(request)
    assert not administrator.bucket_exists(request.bucket_name)
    assert not administrator.identity_exists(builders.intent(request))


def test_a_policy_that_aws_does_not_take_is_the_claims_mistake(environment: Environment) -> None:
    answers = [Answer(status=400, body=b"<Error><Code>MalformedPolicy</Code></Error>")]
    answers.insert(0, Answer(body=_tagged(request := environment.request(config={"bucketPolicy": a_policy("Allow")}))))
    with scripted_server(*answers) as elsewhere, pytest.raises(InvalidConfig, match=r"bucketPolicy.*MalformedPolicy"):
        environment.provisioner.provision(
            replace(request, parameters={**request.parameters, "s3Endpoint": elsewhere.url})
        )


def test_a_claims_policy_lets_a_user_in_that_it_names(environment: Environment, backend: AwsBackend) -> None:
    reader = environment.greenfield()
    name = backend.administrator.iam.get_user(UserName=reader.request.user_id)["User"]["Arn"]
    statement = {"Effect": "Allow", "Principal": {"AWS": name}, "Action": "s3:GetObject"}
    owner = environment.greenfield(environment.request(config={"bucketPolicy": json.dumps({"Statement": [statement]})}))
    owner.application.put(owner.bucket, "shared", b"x")
    assert reader.application.get(owner.bucket, "shared") == b"x"
    assert_refused("writing", lambda: reader.application.put(owner.bucket, "shared", b"y"))
    environment.again(owner, config={})
    assert_refused("reading afterwards", lambda: reader.application.get(owner.bucket, "shared"))


def test_a_grant_warns_that_settings_of_the_claim_are_not_applied(environment: Environment) -> None:
    config = {"bucketVersioning": "Enabled", "bucketPolicy": a_policy("Allow"), "bucketLifecycle": rules(3)}
    warnings = environment.bind(
        environment.request(bucket=environment.foreign_bucket(), config=config), greenfield=False
    ).answer.warnings
    assert [text for text in warnings if "is not applied" in text] == list(warnings)
    assert len(warnings) == 3


@pytest.mark.parametrize("kind", ["retention", "legal hold"])
def test_a_bucket_with_a_locked_object_is_not_deleted_and_nothing_of_it_is_touched(
    environment: Environment, administrator: AwsAdministrator, kind: str
) -> None:
    tenant = _with_object_lock(environment, administrator)
    tenant.application.put(tenant.bucket, "free", b"x")
    _lock(administrator, tenant.bucket, kind)
    with pytest.raises(BucketNotEmpty, match="locked"):
        environment.provisioner.delete(tenant.record)
    assert tenant.application.list_keys(tenant.bucket) == ["free", "locked"], "the application is still in"
    assert administrator.stored_versions(tenant.bucket) == 2


def test_a_bucket_whose_locks_have_ended_is_deleted(environment: Environment, administrator: AwsAdministrator) -> None:
    tenant = _with_object_lock(environment, administrator)
    version = _lock(administrator, tenant.bucket, "legal hold")
    named = {"Bucket": tenant.bucket, "Key": "locked", "VersionId": version}
    administrator.s3.put_object_legal_hold(**named, LegalHold={"Status": "OFF"})
    environment.delete(tenant.record)
    assert not administrator.bucket_exists(tenant.bucket)


def test_a_lock_that_the_bounded_check_missed_still_stops_the_purge(
    environment: Environment, administrator: AwsAdministrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = _with_object_lock(environment, administrator)
    _lock(administrator, tenant.bucket, "legal hold")
    monkeypatch.setattr("aws_s3_provisioner.contents._LOCK_SCAN", 0)
    with pytest.raises(BucketNotEmpty, match="locked"):
        environment.provisioner.delete(tenant.record)
    assert administrator.stored_versions(tenant.bucket) == 1
    assert_shut_out(tenant)


def test_a_claim_can_not_set_locks(environment: Environment, administrator: AwsAdministrator) -> None:
    tenant = _with_object_lock(environment, administrator)
    tenant.application.put(tenant.bucket, "key", b"x")
    application: Any = tenant.application
    with pytest.raises(application.client.exceptions.ClientError) as refused:
        application.client.put_object_legal_hold(Bucket=tenant.bucket, Key="key", LegalHold={"Status": "ON"})
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    _lock(administrator, tenant.bucket, "legal hold")


def test_a_large_purge_pauses_with_its_progress_and_goes_on_with_the_next_call(
    environment: Environment, backend: AwsBackend, administrator: AwsAdministrator
) -> None:
    tenant = environment.greenfield(environment.request(config={"bucketVersioning": "Enabled"}))
    environment.fill(tenant.bucket, 1200)
    administrator.application().batch_delete(tenant.bucket, [f"{n % 7}/{n:05}" for n in range(1000)])
    for key in ("one", "two"):
        administrator.application().start_multipart(tenant.bucket, key)
    assert administrator.stored_versions(tenant.bucket) == 2200
    hasty = a_provisioner(backend.server, patience=Patience(purge=0.0))
    seen = []
    while administrator.bucket_exists(tenant.bucket):
        try:
            hasty.delete(tenant.record)
        except PurgeUnfinished as pause:
            seen.append(pause.removed)
            assert_refused("writing during the purge", lambda: tenant.application.put(tenant.bucket, "late", b"x"))
    assert len(seen) == 3
    assert seen[0] == 1002


def test_an_object_that_may_not_be_removed_stops_the_purge_and_names_the_permission(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    tenant = environment.greenfield()
    administrator.application().put(tenant.bucket, "kept", b"x")
    nobody = {"Effect": "Deny", "Principal": "*", "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"]}
    document = {"Version": "2012-10-17", "Statement": [{**nobody, "Resource": f"arn:aws:s3:::{tenant.bucket}/*"}]}
    administrator.s3.put_bucket_policy(Bucket=tenant.bucket, Policy=json.dumps(document))
    with pytest.raises(RetrySlowly, match="s3:DeleteObject"):
        environment.provisioner.delete(tenant.record)
    administrator.s3.delete_bucket_policy(Bucket=tenant.bucket)
    environment.delete(tenant.record)
    assert not administrator.bucket_exists(tenant.bucket)


@pytest.mark.parametrize("code", ["TooManyBuckets", "LimitExceeded"])
def test_a_limit_of_the_account_is_named(environment: Environment, code: str) -> None:
    absent = Answer(status=404, body=b"<Error><Code>NoSuchBucket</Code></Error>")
    full = Answer(status=409, body=f"<Error><Code>{code}</Code></Error>".encode())
    request = environment.request()
    with scripted_server(absent, full) as elsewhere, pytest.raises(QuotaExceeded, match=code):
        environment.provisioner.provision(
            replace(request, parameters={**request.parameters, "s3Endpoint": elsewhere.url})
        )


def _with_object_lock(environment: Environment, administrator: AwsAdministrator) -> Tenant:
    """A claim's bucket on which an administrator enabled object lock."""
    tenant = environment.greenfield(environment.request(config={"bucketVersioning": "Enabled"}))
    lock: Any = {"ObjectLockEnabled": "Enabled"}
    administrator.s3.put_object_lock_configuration(Bucket=tenant.bucket, ObjectLockConfiguration=lock)
    return tenant


def _lock(administrator: AwsAdministrator, bucket: str, kind: str) -> str:
    until: Any = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(days=1)}
    locked = until if kind == "retention" else {"ObjectLockLegalHoldStatus": "ON"}
    version: str = administrator.s3.put_object(Bucket=bucket, Key="locked", Body=b"x", **locked)["VersionId"]
    return version


def _policy(backend: AwsBackend, tenant: Tenant) -> Any:
    named = {"UserName": tenant.request.user_id, "PolicyName": "objectbucket"}
    return backend.administrator.iam.get_user_policy(**named)["PolicyDocument"]


def _tagged(request: Any) -> bytes:
    tags = "".join(
        f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in request.owner.ownership_tags().items()
    )
    return f"<Tagging><TagSet>{tags}</TagSet></Tagging>".encode()
