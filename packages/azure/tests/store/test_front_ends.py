"""What Azure's front ends do and azurite does not: stale caches, policies of the account, immutable versions, roles."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from libbucket import AccessDenied, BucketNotEmpty, NotReady, ReclaimPolicy, SecretStr, StoreRefused
from libbucket.testing import builders
from libbucket.testing.conformance.environment import OBJECT, Environment, assert_works
from testkit.azure.backend import a_provisioner, impatient
from testkit.azure.fake_entra import CLIENT, TENANT

if TYPE_CHECKING:
    from azure_provisioner.client import Network
    from azure_provisioner.provisioner import AzureProvisioner
    from libbucket import BucketOptions
    from libbucket.testing.conformance.environment import Tenant
    from testkit.azure.azurite import AzuriteServer
    from testkit.azure.backend import AzureBackend
    from testkit.azure.fake_entra import FakeEntra
    from testkit.azure.front_end import Front

both_kinds = pytest.mark.parametrize("greenfield", [True, False], ids=["greenfield", "brownfield"])


@pytest.fixture
def delegating(tls_server: AzuriteServer, entra: FakeEntra, trusting: Network) -> AzureProvisioner:
    """Signs with an identity of Entra ID."""
    client = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": entra.secret}
    return a_provisioner(tls_server, client, network=trusting)


def delegated_request(environment: Environment, entra: FakeEntra, **parameters: str) -> BucketOptions:
    return environment.request(
        parameters={"credentials": "user-delegation-sas", "authorityHost": entra.url, **parameters}
    )


def edited(tenant: Tenant) -> BucketOptions:
    """With a SAS that is the claim's in all but its signature."""
    held = tenant.credentials.additional_secret_data
    token = held["AZURE_STORAGE_SAS_TOKEN"].reveal()
    signature = token.rpartition("sig=")[2]
    damaged = {name: SecretStr(value.reveal().replace(signature, "AAAA")) for name, value in held.items()}
    credentials = replace(tenant.credentials, additional_secret_data=damaged)
    request = builders.again(tenant.request, tenant.answer)
    return replace(request, credentials=credentials, credentials_unchanged=False)


@both_kinds
def test_a_sas_that_one_front_end_refuses_once_is_kept(
    environment: Environment, server: AzuriteServer, front: Front, greenfield: bool
) -> None:
    tenant = environment.tenant(greenfield=greenfield)
    front.distrusts = 1
    verb = "provision" if greenfield else "grant"
    with pytest.raises(NotReady, match="AuthenticationFailed") as waiting:
        getattr(impatient(server), verb)(builders.again(tenant.request, tenant.answer))
    assert waiting.value.request_id == front.request_ids[-1]
    assert environment.again(tenant).credentials == tenant.credentials
    assert_works(tenant)


def test_a_delegated_sas_that_one_front_end_refuses_once_is_kept(
    tls_world: Environment, tls_front: Front, entra: FakeEntra, delegating: AzureProvisioner
) -> None:
    tenant = tls_world.bind(delegated_request(tls_world, entra), greenfield=True, by=delegating)
    request = builders.again(tenant.request, tenant.answer)
    tls_front.distrusts = 1
    assert delegating.provision(request).connection == tenant.answer.connection
    tls_front.distrusts = 2
    with pytest.raises(NotReady, match="AuthenticationFailed"):
        delegating.provision(request)
    assert tls_world.again(tenant, by=delegating).credentials == tenant.credentials
    assert_works(tenant)


def test_a_delegated_sas_is_replaced_when_its_key_was_revoked(
    tls_world: Environment, tls_front: Front, entra: FakeEntra, delegating: AzureProvisioner
) -> None:
    tenant = tls_world.bind(delegated_request(tls_world, entra), greenfield=True, by=delegating)
    held = parse_qs(tenant.credentials.additional_secret_data["AZURE_STORAGE_SAS_TOKEN"].reveal())
    tls_front.revoked.add(held["sig"][0])
    replaced = tls_world.again(tenant, by=delegating)
    assert replaced.credentials != tenant.credentials
    assert_works(replaced)


def test_a_sas_that_was_edited_and_is_refused_is_replaced(
    tls_world: Environment, tls_front: Front, entra: FakeEntra, delegating: AzureProvisioner
) -> None:
    stored = tls_world.greenfield()
    replaced = tls_world.bind(edited(stored), greenfield=True)
    assert_works(replaced)
    delegated = tls_world.bind(delegated_request(tls_world, entra), greenfield=True, by=delegating)
    asked = len(tls_front.requests)
    replaced = tls_world.bind(edited(delegated), greenfield=True, by=delegating)
    assert any("userdelegationkey" in each for each in tls_front.requests[asked:])
    assert_works(replaced)


@pytest.mark.parametrize(("expiry", "is_allowed"), [("", True), ("24h", True), ("25h", False)])
def test_a_delegated_sas_keeps_to_the_expiration_policy_of_the_account_or_the_parameter_is_named(
    tls_world: Environment,
    tls_front: Front,
    entra: FakeEntra,
    delegating: AzureProvisioner,
    expiry: str,
    is_allowed: bool,
) -> None:
    tls_front.longest_sas = timedelta(days=1)
    request = delegated_request(tls_world, entra, **({"expiry": expiry} if expiry else {}))
    if is_allowed:
        assert_works(tls_world.bind(request, greenfield=True, by=delegating))
        return
    with pytest.raises(AccessDenied, match=r"SAS expiration policy.*parameter expiry") as refused:
        delegating.provision(request)
    assert refused.value.request_id == tls_front.request_ids[-1]


def test_an_identity_that_may_make_containers_and_no_more_is_told_the_role(
    tls_world: Environment, tls_front: Front, entra: FakeEntra, delegating: AzureProvisioner
) -> None:
    request = delegated_request(tls_world, entra)
    tls_front.lacks_data_role = True
    with pytest.raises(AccessDenied, match="Storage Blob Data Contributor") as refused:
        delegating.provision(request)
    assert refused.value.request_id == tls_front.request_ids[-1]
    tls_front.lacks_data_role = False
    assert_works(tls_world.bind(request, greenfield=True, by=delegating))


def test_a_claim_names_the_setting_of_an_account_that_requires_user_bound_sas(
    tls_world: Environment, tls_front: Front, entra: FakeEntra, delegating: AzureProvisioner
) -> None:
    request = delegated_request(tls_world, entra)
    tls_front.requires_bound_sas = True
    with pytest.raises(NotReady, match=r"requireUserBoundUserDelegationSas.*credentials: role-assignment") as refused:
        delegating.provision(request)
    assert refused.value.request_id == tls_front.request_ids[-1]
    assert_works(tls_world.greenfield())  # a SAS of a stored access policy is no user-delegation SAS
    tls_front.requires_bound_sas = False
    assert_works(tls_world.bind(request, greenfield=True, by=delegating))


def test_immutable_versions_are_reported_before_there_is_data_and_keep_no_other_claim_from_binding(
    environment: Environment, server: AzuriteServer, front: Front, backend: AzureBackend
) -> None:
    front.keeps_versions = True
    first, second = environment.tenant(greenfield=True), environment.tenant(greenfield=True)
    for tenant in (first, second):
        assert any("version-level immutability" in text for text in tenant.answer.warnings)
        with pytest.raises(BucketNotEmpty, match="container-rm delete"):
            impatient(server).delete(tenant.record)
        assert tenant.application.list_keys(tenant.bucket) == [OBJECT]
    retained = replace(environment.request(), reclaim_policy=ReclaimPolicy.RETAIN)
    assert environment.greenfield(retained).answer.warnings == ()
    assert_works(environment.greenfield())
    backend.administrator.purge_bucket(first.bucket)
    impatient(server).delete(first.record)


def test_an_account_without_immutable_versions_is_not_warned_about(environment: Environment, front: Front) -> None:
    assert not front.keeps_versions
    assert environment.greenfield().answer.warnings == ()


def test_a_public_container_that_the_account_now_forbids_is_an_answer_that_says_so(
    environment: Environment, server: AzuriteServer, front: Front, backend: AzureBackend
) -> None:
    bucket = environment.foreign_bucket()
    backend.administrator.application().make_public(bucket)
    front.is_private = True
    with pytest.raises(StoreRefused, match="make the container private") as refused:
        impatient(server).grant(environment.request(bucket=bucket))
    assert refused.value.request_id == front.request_ids[-1]


def test_a_container_that_is_deleted_only_if_empty_waits_for_the_last_delegated_sas(
    tls_world: Environment, tls_server: AzuriteServer, entra: FakeEntra, trusting: Network, delegating: AzureProvisioner
) -> None:
    tenant = tls_world.bind(delegated_request(tls_world, entra), greenfield=True, by=delegating)
    with pytest.raises(NotReady, match="can't be revoked singly") as waiting:
        delegating.delete_empty(tenant.record)
    assert waiting.value.delay is not None
    tenant.application.put(tenant.bucket, OBJECT, b"written between the two checks")
    client = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": entra.secret}
    a_day_later = datetime.now(UTC) + timedelta(days=1)
    later = a_provisioner(tls_server, client, network=trusting, now=lambda: a_day_later)
    with pytest.raises(BucketNotEmpty):
        later.delete_empty(tenant.record)
    tls_world.administrator.application().delete(tenant.bucket, OBJECT)
    later.delete_empty(tenant.record)
    assert not tls_world.administrator.bucket_exists(tenant.bucket)
