"""Several claims on one container: room for five, edits at once, and everything of others left as it is."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import AccessPolicy, ContainerClient

from azure_provisioner.clocks import AHEAD
from azure_provisioner.policy import parse_time
from libbucket import InvalidClaim, NotReady, QuotaExceeded, RetrySlowly
from libbucket.testing import builders
from libbucket.testing.conformance.environment import Environment, assert_refused, assert_shut_out, assert_works
from testkit.azure.application import client_settings
from testkit.azure.backend import a_provisioner, impatient
from testkit.azure.requests import before_request, recorded_requests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket.testing.conformance.environment import Tenant
    from testkit.azure.azurite import AzuriteServer
    from testkit.azure.backend import AzureBackend

RAW = """<?xml version="1.0" encoding="utf-8"?><SignedIdentifiers>
<SignedIdentifier><Id>with fractions</Id><AccessPolicy><Start>2020-01-01T00:00:00.1234567Z</Start>
<Expiry>2040-01-01T10:00:00.7654321Z</Expiry><Permission>rl</Permission></AccessPolicy></SignedIdentifier>
<SignedIdentifier><Id>a date</Id><AccessPolicy><Expiry>2040-01-01</Expiry><Permission>r</Permission></AccessPolicy>
</SignedIdentifier>
<SignedIdentifier><Id>only a permission</Id><AccessPolicy><Permission>lr</Permission></AccessPolicy></SignedIdentifier>
</SignedIdentifiers>"""


def test_the_sixth_claim_waits_for_one_to_leave_and_is_told_what_else_would_help(environment: Environment) -> None:
    bucket = environment.foreign_bucket()
    tenants = [environment.brownfield(bucket) for _ in range(5)]
    sixth = environment.request(bucket=bucket)
    with pytest.raises(QuotaExceeded, match="credentials: user-delegation-sas") as refused:
        environment.provisioner.grant(sixth)
    assert isinstance(refused.value, RetrySlowly)
    assert "5 stored access policies" in refused.value.message
    for tenant in tenants:
        assert_works(tenant)
    environment.revoke(tenants[2].record)
    assert_works(environment.bind(sixth, greenfield=False))
    assert_shut_out(tenants[2])


def test_two_claims_bound_at_once_on_one_container_both_get_in_twenty_times(
    environment: Environment, backend: AzureBackend
) -> None:
    for _ in range(20):
        bucket = environment.foreign_bucket()
        tenants = _both_at_once(environment, bucket)
        assert len(backend.administrator.policies(bucket)) == 2
        for tenant in tenants:
            assert tenant.application.list_keys(bucket)
        backend.administrator.purge_bucket(bucket)


@pytest.mark.parametrize("name", ["$web", "$root"])
def test_a_container_with_a_name_of_azures_own_is_granted_and_revoked(
    environment: Environment, backend: AzureBackend, name: str
) -> None:
    backend.administrator.make_bucket(name)
    request = environment.request(bucket=name)
    granted = environment.provisioner.grant(request)
    assert granted.connection.authentication is not None
    url = granted.connection.authentication.additional_secret_data["AZURE_STORAGE_CONTAINER_URL"].reveal()
    with ContainerClient.from_container_url(url, **client_settings("")) as application:
        assert list(application.list_blobs()) == []
        environment.provisioner.revoke(builders.recorded(granted, request, greenfield=False))
        with pytest.raises(HttpResponseError) as refused:
            list(application.list_blobs())
    assert refused.value.status_code == 403
    with pytest.raises(InvalidClaim):
        environment.provisioner.provision(environment.request(bucket=name))
    backend.administrator.purge_bucket(name)


def test_policies_of_others_and_public_access_are_written_back_as_they_were(
    environment: Environment, backend: AzureBackend
) -> None:
    bucket = environment.foreign_bucket()
    backend.administrator.write_policies(bucket, RAW, public_access="blob")
    before = _as_text(backend.administrator.policies(bucket))
    assert before["with fractions"] == ("2020-01-01T00:00:00.1234567Z", "2040-01-01T10:00:00.7654321Z", "rl")
    assert before["a date"] == (None, "2040-01-01", "r")
    tenant = environment.brownfield(bucket)
    with_ours = _as_text(backend.administrator.policies(bucket))
    assert {name: with_ours[name] for name in before} == before
    assert len(with_ours) == 4
    assert backend.administrator.settings(bucket)["public access"] == "blob"
    environment.revoke(tenant.record)
    assert _as_text(backend.administrator.policies(bucket)) == before
    assert backend.administrator.settings(bucket)["public access"] == "blob"
    assert_refused("listing with revoked credentials", lambda: tenant.application.list_keys(bucket))


def test_an_edit_manual_between_our_reading_and_our_writing_is_not_lost(
    environment: Environment, backend: AzureBackend
) -> None:
    bucket = environment.foreign_bucket()
    request = environment.request(bucket=bucket)
    backend.administrator.wait_for_the_next_second(bucket)
    manual = {"manual": AccessPolicy(permission="r", expiry="2040-01-01T00:00:00Z")}
    container = backend.administrator.service.get_container_client(bucket)
    with (
        before_request("PUT acl", lambda: container.set_container_access_policy(manual)),
        pytest.raises(NotReady),
    ):
        # The manual edit is a PUT acl too: the helper lets it pass.
        environment.provisioner.grant(request)
    assert set(backend.administrator.policies(bucket)) == {"manual"}
    tenant = environment.bind(request, greenfield=False)
    assert "manual" in backend.administrator.policies(bucket)
    assert_works(tenant)


def test_an_editor_whose_lease_was_broken_does_not_write(environment: Environment, backend: AzureBackend) -> None:
    bucket = environment.foreign_bucket()
    request = environment.request(bucket=bucket)

    def another_client_takes_over() -> None:
        backend.administrator.break_lease(bucket)
        backend.administrator.service.get_container_client(bucket).acquire_lease(15)

    with before_request("PUT acl", another_client_takes_over), pytest.raises(NotReady, match="lease"):
        environment.provisioner.grant(request)
    assert backend.administrator.policies(bucket) == {}
    backend.administrator.break_lease(bucket)
    assert_works(environment.bind(request, greenfield=False))


def test_a_lease_without_end_is_named_and_nothing_is_written(environment: Environment, backend: AzureBackend) -> None:
    bucket = environment.foreign_bucket()
    request = environment.request(bucket=bucket)
    backend.administrator.service.get_container_client(bucket).acquire_lease(-1)
    with pytest.raises(RetrySlowly, match="lease without end"):
        impatient(backend.server).grant(request)
    assert backend.administrator.policies(bucket) == {}
    backend.administrator.break_lease(bucket)
    assert_works(environment.bind(request, greenfield=False))


def test_a_policy_of_this_claim_without_a_permission_is_put_right_with_the_same_sas(
    environment: Environment, backend: AzureBackend
) -> None:
    first = environment.tenant(greenfield=True)
    (name,) = backend.administrator.policies(first.bucket)
    edited = {name: AccessPolicy(permission="r", expiry="2040-01-01T00:00:00Z")}
    backend.administrator.service.get_container_client(first.bucket).set_container_access_policy(edited)
    second = environment.again(first)
    assert second.credentials.additional_secret_data == first.credentials.additional_secret_data
    assert_works(first)


def test_a_sas_that_leaked_is_dead_when_its_secret_was_removed(environment: Environment, backend: AzureBackend) -> None:
    leaked = environment.tenant(greenfield=True)
    assert_works(leaked)
    replaced = environment.again(leaked, with_credentials=False)
    assert replaced.credentials != leaked.credentials
    assert_works(replaced)
    assert_shut_out(leaked)
    assert set(backend.administrator.policies(leaked.bucket)) == {replaced.answer.additional_state["AccessPolicy"]}
    assert replaced.answer.repairs == ()


def test_a_claim_that_can_not_get_its_secret_is_issued_no_more_than_two_signatures_in_two_hours(
    environment: Environment, server: AzuriteServer
) -> None:
    began = datetime.now(UTC) - timedelta(minutes=125)  # a policy of a later time has not begun
    first = environment.bind(environment.request(), greenfield=True, by=a_provisioner(server, now=lambda: began))
    stuck, issued = first, {_token(first)}
    for minute in range(0, 120, 10):
        now = began + timedelta(minutes=minute)
        by = a_provisioner(server, now=lambda now=now: now)  # type: ignore[misc]
        stuck = environment.again(stuck, with_credentials=False, by=by)
        issued.add(_token(stuck))
    assert len(issued) == 2
    later = began + timedelta(minutes=121)
    leaked = environment.again(stuck, with_credentials=False, by=a_provisioner(server, now=lambda: later))
    assert _token(leaked) not in issued
    assert_shut_out(stuck)


def test_a_sas_that_leaked_is_dead_when_its_policy_was_removed(environment: Environment) -> None:
    leaked = environment.tenant(greenfield=True)
    environment.administrator.remove_identity(leaked.record)
    replaced = environment.again(leaked)
    assert replaced.credentials != leaked.credentials
    assert_works(replaced)
    assert_shut_out(leaked)


def test_the_end_of_a_policy_is_moved_in_place_when_half_of_its_time_is_gone(
    environment: Environment, backend: AzureBackend, server: AzuriteServer
) -> None:
    real = datetime.now(UTC).replace(microsecond=0)
    request = environment.request(parameters={"expiry": "30d"})
    first = environment.bind(request, greenfield=True, by=a_provisioner(server, now=lambda: real - timedelta(days=20)))
    assert first.renew_at == real - timedelta(days=5) - AHEAD
    (before,) = backend.administrator.policies(first.bucket).values()
    assert parse_time(_text(before.expiry)) == real + timedelta(days=10) - AHEAD
    second = environment.again(first, by=a_provisioner(server, now=lambda: real))
    (after,) = backend.administrator.policies(first.bucket).values()
    assert parse_time(_text(after.expiry)) == real + timedelta(days=30) - AHEAD
    assert second.renew_at == real + timedelta(days=15) - AHEAD
    assert second.credentials.additional_secret_data == first.credentials.additional_secret_data
    with recorded_requests() as made:
        environment.again(second, by=a_provisioner(server, now=lambda: real + timedelta(days=14)))
    assert "PUT acl" not in made
    assert_works(first)


def test_a_policy_that_ended_shuts_out_until_it_is_renewed(environment: Environment, server: AzuriteServer) -> None:
    real = datetime.now(UTC)
    request = environment.request(parameters={"expiry": "1h"})
    with pytest.raises(NotReady, match="refuses the claim's SAS"):
        impatient(server, now=lambda: real - timedelta(hours=2)).provision(request)
    tenant = environment.bind(request, greenfield=True, by=a_provisioner(server, now=lambda: real))
    assert_works(tenant)


def _both_at_once(environment: Environment, bucket: str) -> list[Tenant]:
    start = threading.Barrier(2)

    def bind() -> Tenant:
        start.wait(30)
        return environment.brownfield(bucket)

    with ThreadPoolExecutor(2) as pool:
        return [each.result(60) for each in [pool.submit(bind) for _ in range(2)]]


def _as_text(policies: Mapping[str, AccessPolicy]) -> dict[str, tuple[object, object, object]]:
    return {name: (policy.start, policy.expiry, policy.permission) for name, policy in policies.items()}


def _token(tenant: Tenant) -> str:
    return tenant.credentials.additional_secret_data["AZURE_STORAGE_SAS_TOKEN"].reveal()


def _text(value: object) -> str:
    assert isinstance(value, str)
    return value
