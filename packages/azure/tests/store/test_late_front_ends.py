"""Revocation and deletion against front ends that learn of a change half a minute later, and restored containers."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContainerClient

from azure_provisioner.client import Network
from libbucket import AccessDenied, BucketNotEmpty, NotReady, RetrySlowly
from libbucket.testing import builders
from libbucket.testing.conformance.environment import OBJECT, Environment, assert_works
from testkit.azure.application import client_settings
from testkit.azure.backend import a_provisioner
from testkit.azure.requests import before_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure_provisioner.provisioner import AzureProvisioner
    from libbucket.testing.conformance.environment import Tenant
    from testkit.azure.azurite import AzuriteServer
    from testkit.azure.backend import AzureBackend
    from testkit.azure.front_end import Front


@pytest.fixture
def patient(server: AzuriteServer) -> AzureProvisioner:
    """Knows that this store has front ends."""
    return a_provisioner(server, network=Network(wait_seconds=0, settle_seconds=30))


@contextmanager
def connections(front: Front, tenant: Tenant) -> Iterator[list[ContainerClient]]:
    """An application's open connections, one to each front end."""
    url = tenant.credentials.additional_secret_data["AZURE_STORAGE_CONTAINER_URL"].reveal()
    url = url.replace(front.server.endpoint, front.url)
    with ExitStack() as stack:
        made = (ContainerClient.from_container_url(url, **client_settings("")) for _ in range(front.front_ends))
        yield [stack.enter_context(each) for each in made]


def is_let_in(client: ContainerClient) -> bool:
    try:
        list(client.list_blobs())
    except HttpResponseError as error:
        if error.status_code != 403:
            raise
        return False
    return True


def test_no_front_end_lets_a_claim_in_whose_revocation_has_returned(
    environment: Environment, front: Front, patient: AzureProvisioner
) -> None:
    tenant = environment.tenant(greenfield=False)
    front.policy_seconds = 30
    with connections(front, tenant) as open_ones:
        assert all(map(is_let_in, open_ones))
        with pytest.raises(NotReady, match="30 seconds to refuse") as waiting:
            patient.revoke(tenant.record)
        assert waiting.value.delay is not None
        assert 29 <= waiting.value.delay <= 31
        assert all(map(is_let_in, open_ones)), "they have not heard of it yet"
        with pytest.raises(NotReady, match="30 seconds to refuse") as waiting:
            patient.revoke(tenant.record)
        front.advance(waiting.value.delay or 0)
        patient.revoke(tenant.record)
        assert not any(map(is_let_in, open_ones))


def test_a_revocation_that_finds_a_front_end_later_than_azure_says_waits_for_it(
    environment: Environment, front: Front, patient: AzureProvisioner
) -> None:
    tenant = environment.tenant(greenfield=False)
    front.policy_seconds, front.front_ends = 300, 1
    with connections(front, tenant) as (open_one,):
        assert is_let_in(open_one)
        with pytest.raises(NotReady):
            patient.revoke(tenant.record)
        front.advance(32)
        with pytest.raises(NotReady, match="still accepts"):
            patient.revoke(tenant.record)


def test_a_claim_that_was_never_bound_is_revoked_at_once(environment: Environment, patient: AzureProvisioner) -> None:
    request = environment.request(bucket=environment.foreign_bucket())
    patient.revoke(builders.intent(request))


def test_what_a_front_end_accepts_after_the_policy_is_gone_is_not_lost(
    environment: Environment, front: Front, patient: AzureProvisioner, backend: AzureBackend
) -> None:
    tenant = environment.greenfield()
    front.policy_seconds = 30
    with connections(front, tenant) as open_ones:
        assert all(map(is_let_in, open_ones))
        with pytest.raises(NotReady):
            patient.delete_empty(tenant.record)
        for each in open_ones:
            each.upload_blob(f"late-{id(each)}", b"1")
        front.advance(32)
        with pytest.raises(BucketNotEmpty):
            patient.delete_empty(tenant.record)
    assert backend.administrator.bucket_exists(tenant.bucket)


@pytest.mark.parametrize("verb", ["delete", "delete_empty"])
def test_a_container_that_is_restored_lets_no_claim_in(
    environment: Environment, front: Front, backend: AzureBackend, verb: str
) -> None:
    owner = environment.greenfield()
    guest = environment.brownfield(owner.bucket)
    front.keeps_deleted = True
    getattr(environment, verb)(owner.record)
    assert not backend.administrator.bucket_exists(owner.bucket)
    front.restore(owner.bucket)
    assert backend.administrator.policies(owner.bucket) == {}
    for tenant in (owner, guest):
        with connections(front, tenant) as open_ones:
            assert not any(map(is_let_in, open_ones))
    assert_works(environment.again(guest))
    backend.administrator.purge_bucket(owner.bucket)


def test_policies_of_others_are_restored_with_their_container(
    environment: Environment, front: Front, backend: AzureBackend
) -> None:
    owner = environment.greenfield()
    policies: Any = {**backend.administrator.policies(owner.bucket)}
    (ours,) = policies
    container = backend.administrator.service.get_container_client(owner.bucket)
    container.set_container_access_policy({**policies, "manual": policies[ours]})
    front.keeps_deleted = True
    environment.delete(owner.record)
    front.restore(owner.bucket)
    assert set(backend.administrator.policies(owner.bucket)) == {"manual"}
    backend.administrator.purge_bucket(owner.bucket)


def test_a_container_that_was_public_is_deleted_where_the_account_forbids_that_now(
    environment: Environment, front: Front, backend: AzureBackend
) -> None:
    owner = environment.greenfield()
    backend.administrator.application().make_public(owner.bucket)
    front.is_private = True
    environment.delete(owner.record)
    assert not backend.administrator.bucket_exists(owner.bucket)


def test_a_leased_container_keeps_its_claims_policies(environment: Environment, backend: AzureBackend) -> None:
    tenant = environment.tenant(greenfield=True)
    lease = backend.administrator.service.get_container_client(tenant.bucket).acquire_lease(15)
    with pytest.raises(NotReady, match="lease"):
        environment.provisioner.delete(tenant.record)
    assert tenant.application.list_keys(tenant.bucket) == [OBJECT]
    lease.release()
    backend.administrator.service.get_container_client(tenant.bucket).acquire_lease(-1)
    with pytest.raises(RetrySlowly, match="lease without end"):
        environment.provisioner.delete(tenant.record)
    assert tenant.application.list_keys(tenant.bucket) == [OBJECT]
    backend.administrator.break_lease(tenant.bucket)


def test_a_container_that_changes_while_it_is_being_deleted_is_checked_again(
    environment: Environment, backend: AzureBackend
) -> None:
    tenant = environment.tenant(greenfield=True)
    backend.administrator.wait_for_the_next_second(tenant.bucket)
    container = backend.administrator.service.get_container_client(tenant.bucket)
    with (
        before_request("PUT acl", lambda: container.set_container_metadata({"cost_centre": "42"})),
        pytest.raises(NotReady),
    ):
        environment.provisioner.delete(tenant.record)
    assert backend.administrator.bucket_exists(tenant.bucket)


def test_a_name_that_is_busy_after_its_deletion_is_waited_for(
    environment: Environment, front: Front, patient: AzureProvisioner
) -> None:
    front.busy_seconds = 40
    first = environment.greenfield()
    patient.delete(first.record)
    patient.delete(first.record)
    patient.revoke(first.record)
    later = replace(environment.request(bucket=first.bucket))
    with pytest.raises(NotReady, match="still being deleted") as waiting:
        patient.provision(later)
    assert waiting.value.delay == 30
    front.advance(41)
    assert_works(environment.greenfield(later))


@pytest.mark.parametrize(("expiry", "is_allowed"), [("30d", True), ("31d", False), ("", False)])
def test_a_stored_access_policy_keeps_to_the_expiration_policy_of_the_account_or_the_parameter_is_named(
    environment: Environment, front: Front, patient: AzureProvisioner, expiry: str, is_allowed: bool
) -> None:
    front.longest_sas = timedelta(days=30)
    request = environment.request(parameters={"expiry": expiry} if expiry else {})
    if is_allowed:
        assert_works(environment.greenfield(request))
        return
    with pytest.raises(AccessDenied, match=r"SAS expiration policy.*parameter expiry"):
        patient.provision(request)
