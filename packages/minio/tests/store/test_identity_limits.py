"""What a claim's credentials can't be used for at MinIO in particular: to make further ones, or to outlive it."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from minio import Minio, MinioAdmin
from minio.commonconfig import Tags
from minio.credentials.providers import AssumeRoleProvider, StaticProvider
from minio.error import MinioAdminException, S3Error

from minio_provisioner.errors import code_of
from testkit.minio.backend import MinioBackend, a_pool

if TYPE_CHECKING:
    from libbucket.testing.conformance.environment import Environment, Tenant
    from testkit.minio.server import MinioServer


def admin_as(server: MinioServer, tenant: Tenant) -> MinioAdmin:
    keys = tenant.credentials.access_keys
    assert keys is not None
    credentials = StaticProvider(keys.access_key_id, keys.secret_access_key.reveal())
    return MinioAdmin(endpoint=server.netloc, credentials=credentials, secure=False, http_client=a_pool())


def s3_as(server: MinioServer, access_key: str, secret_key: str, token: str | None = None) -> Minio:
    return Minio(
        endpoint=server.netloc,
        access_key=access_key,
        secret_key=secret_key,
        session_token=token,
        secure=False,
        http_client=a_pool(),
    )


def test_a_claim_can_not_create_service_accounts_and_a_user_without_the_denial_can(
    environment: Environment, server: MinioServer, backend: MinioBackend
) -> None:
    tenant = environment.greenfield()
    with pytest.raises(MinioAdminException) as refused:
        admin_as(server, tenant).add_service_account(access_key="second-key", secret_key="second-secret")
    assert code_of(refused.value) == "AccessDenied"
    # The control: MinIO lets a user do so whose policy does not deny it.
    user = tenant.request.user_id
    backend.administrator.admin.attach_policy(["readwrite"], user=user)
    backend.administrator.admin.detach_policy([user], user=user)
    admin_as(server, tenant).add_service_account(access_key="second-key", secret_key="second-secret")


def test_a_claim_can_not_change_its_own_password_and_a_user_without_the_denial_can(
    environment: Environment, server: MinioServer, backend: MinioBackend
) -> None:
    tenant = environment.greenfield()
    user = tenant.request.user_id
    with pytest.raises(MinioAdminException) as refused:
        admin_as(server, tenant).user_add(user, "a-password-of-its-own")
    assert code_of(refused.value) == "AccessDenied"
    backend.administrator.admin.attach_policy(["readwrite"], user=user)
    backend.administrator.admin.detach_policy([user], user=user)
    admin_as(server, tenant).user_add(user, "a-password-of-its-own")
    s3_as(server, user, "a-password-of-its-own").list_buckets()


@pytest.mark.parametrize("call", ["user_list", "policy_list", "info", "group_list"])
def test_a_claim_gets_nothing_from_the_admin_api(
    environment: Environment, server: MinioServer, backend: MinioBackend, call: str
) -> None:
    tenant = environment.greenfield()
    with pytest.raises(MinioAdminException) as refused:
        getattr(admin_as(server, tenant), call)()
    assert code_of(refused.value) == "AccessDenied"
    assert getattr(backend.administrator.admin, call)()


def test_a_claims_view_of_its_own_account_names_its_own_bucket_only(
    environment: Environment, server: MinioServer
) -> None:
    """MinIO answers this call to everybody, whatever a policy denies."""
    tenant = environment.greenfield()
    environment.greenfield()
    seen = json.loads(admin_as(server, tenant).account_info())
    assert [bucket["name"] for bucket in seen["Buckets"]] == [tenant.bucket]


def test_temporary_credentials_of_a_claim_reach_no_further_and_end_with_it(
    environment: Environment, server: MinioServer
) -> None:
    tenant, other = environment.tenant(greenfield=True), environment.tenant(greenfield=True)
    keys = tenant.credentials.access_keys
    assert keys is not None
    held = AssumeRoleProvider(
        sts_endpoint=f"{server.url}/",
        access_key=keys.access_key_id,
        secret_key=keys.secret_access_key.reveal(),
        http_client=a_pool(),
    ).retrieve()
    temporary = s3_as(server, held.access_key, held.secret_key, held.session_token)
    assert list(temporary.list_objects(tenant.bucket))
    with pytest.raises(S3Error) as refused:
        list(temporary.list_objects(other.bucket))
    assert refused.value.code == "AccessDenied"
    environment.revoke(tenant.record)
    with pytest.raises(S3Error) as refused:
        list(temporary.list_objects(tenant.bucket))
    assert refused.value.code in {"AccessDenied", "InvalidAccessKeyId", "InvalidTokenId"}


def test_a_service_account_that_an_administrator_made_for_a_claim_ends_with_it(
    environment: Environment, server: MinioServer, backend: MinioBackend
) -> None:
    tenant = environment.tenant(greenfield=True)
    user = tenant.request.user_id
    admin = backend.administrator.admin
    admin.attach_policy(["readwrite"], user=user)
    admin.detach_policy([user], user=user)
    admin_as(server, tenant).add_service_account(access_key="claims-account", secret_key="claims-secret")
    admin.attach_policy([user], user=user)
    admin.detach_policy(["readwrite"], user=user)
    derived = s3_as(server, "claims-account", "claims-secret")
    assert list(derived.list_objects(tenant.bucket))
    environment.revoke(tenant.record)
    with pytest.raises(S3Error) as refused:
        list(derived.list_objects(tenant.bucket))
    assert refused.value.code == "InvalidAccessKeyId"


@pytest.mark.parametrize(
    "change",
    [
        lambda s3, bucket: s3.set_bucket_tags(bucket, _tags()),
        lambda s3, bucket: s3.get_bucket_policy(bucket),
        lambda s3, bucket: s3.delete_bucket_encryption(bucket),
        lambda s3, bucket: s3.delete_bucket_lifecycle(bucket),
        lambda s3, bucket: s3.get_bucket_tags(bucket),
        lambda s3, bucket: s3.get_bucket_notification(bucket),
        lambda s3, bucket: s3.make_bucket(f"{bucket[:50]}-other"),
    ],
    ids=["tags", "policy", "encryption", "lifecycle", "reading-tags", "notification", "further-buckets"],
)
def test_the_settings_of_its_own_bucket_are_closed_to_a_claim(
    environment: Environment, server: MinioServer, backend: MinioBackend, change: object
) -> None:
    assert callable(change)
    tenant = environment.tenant(greenfield=True)
    keys = tenant.credentials.access_keys
    assert keys is not None
    own = s3_as(server, keys.access_key_id, keys.secret_access_key.reveal())
    with pytest.raises(S3Error) as refused:
        change(own, tenant.bucket)
    assert refused.value.code == "AccessDenied"
    backend.administrator.application().make_public(tenant.bucket)
    change(backend.administrator.s3, tenant.bucket)
    backend.administrator.purge_bucket(f"{tenant.bucket[:50]}-other")


def test_a_claim_sees_only_its_own_bucket_in_a_listing(environment: Environment) -> None:
    tenant = environment.greenfield()
    environment.greenfield()
    assert tenant.application.list_all() == [tenant.bucket]


def test_versions_and_tags_of_its_objects_are_open_to_a_claim(
    environment: Environment, server: MinioServer, backend: MinioBackend
) -> None:
    tenant = environment.greenfield(environment.request(config={"bucketVersioning": "Enabled"}))
    keys = tenant.credentials.access_keys
    assert keys is not None
    own = s3_as(server, keys.access_key_id, keys.secret_access_key.reveal())
    first = own.put_object(tenant.bucket, "key", io.BytesIO(b"one"), 3)
    own.put_object(tenant.bucket, "key", io.BytesIO(b"two"), 3)
    assert len(list(own.list_objects(tenant.bucket, include_version=True))) == 2
    assert own.stat_object(tenant.bucket, "key", version_id=first.version_id).version_id == first.version_id
    assert own.get_object_tags(tenant.bucket, "key") is None
    for version in ({}, {"versionId": str(first.version_id)}):
        asked: Any = {"x-amz-object-attributes": "ObjectSize"}
        own._execute("GET", tenant.bucket, "key", headers=asked, query_params={"attributes": "", **version})
    own.remove_object(tenant.bucket, "key", version_id=first.version_id)
    assert backend.administrator.stored_versions(tenant.bucket) == 1


def _tags() -> Tags:
    tags = Tags.new_bucket_tags()
    tags["objectbucket_claim_uid"] = "another"
    return tags
