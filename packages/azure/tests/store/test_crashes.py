"""Crashes and others in between, which the suite does not cover: ownership tags, leases, policies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from libbucket import BucketExists, NotReady, StoreUnavailable
from libbucket.testing.conformance.environment import OBJECT, Environment, assert_works
from testkit.azure.backend import impatient
from testkit.azure.requests import before_request, cut_off_at, recorded_requests

if TYPE_CHECKING:
    from testkit.azure.backend import AzureBackend

PROVISION = [
    "GET container",
    "GET properties",
    "PUT container",
    "GET container",
    "PUT lease",
    "GET acl",
    "PUT acl",
    "PUT lease",
    "GET list",
]
GRANT = ["GET container", "GET properties", "GET acl", "PUT lease", "GET acl", "PUT acl", "PUT lease", "GET list"]
REVOKE = ["GET acl", "PUT lease", "GET acl", "PUT acl", "PUT lease", "GET list"]
DELETE = ["GET container", "GET acl", "PUT acl", "DELETE container"]
AGAIN = ["GET container", "GET acl", "GET list"]

both_sides = pytest.mark.parametrize("done", [False, True], ids=["before", "after"])


def each_of(requests: list[str]) -> pytest.MarkDecorator:
    names = [f"{number} {name}" for number, name in enumerate(requests)]
    return pytest.mark.parametrize("number", range(len(requests)), ids=names)


def test_these_are_the_requests_of_each_verb(environment: Environment) -> None:
    with recorded_requests() as made:
        tenant = environment.greenfield()
    assert made == PROVISION
    with recorded_requests() as made:
        guest = environment.brownfield(tenant.bucket)
    assert made == GRANT
    for bound in (tenant, guest):
        with recorded_requests() as made:
            environment.again(bound)
        assert made == AGAIN
    with recorded_requests() as made:
        environment.revoke(guest.record)
    assert made == REVOKE
    with recorded_requests() as made:
        environment.delete(tenant.record)
    assert made == DELETE


@both_sides
@each_of(PROVISION)
def test_a_creation_that_was_cut_off_ends_with_tags_and_one_policy(
    environment: Environment, backend: AzureBackend, number: int, done: bool
) -> None:
    request = environment.request()
    with cut_off_at(number, done=done), pytest.raises(StoreUnavailable):
        environment.provisioner.provision(request)
    backend.administrator.break_lease(request.bucket_name)
    tenant = environment.greenfield(request)
    assert_works(tenant)
    assert request.owner.matches(_metadata(backend, tenant.bucket))
    assert len(backend.administrator.policies(tenant.bucket)) == 1


def test_a_holder_that_died_blocks_others_until_its_lease_ends(environment: Environment, backend: AzureBackend) -> None:
    request = environment.request()
    with cut_off_at(PROVISION.index("PUT lease"), done=True), pytest.raises(StoreUnavailable):
        environment.provisioner.provision(request)
    with pytest.raises(NotReady, match="lease") as waiting:
        impatient(backend.server).provision(request)
    assert waiting.value.delay == 5
    assert waiting.value.request_id
    backend.administrator.break_lease(request.bucket_name)
    assert_works(environment.greenfield(request))


def test_another_tenant_who_makes_the_container_between_our_check_and_our_request_keeps_it(
    environment: Environment, backend: AzureBackend
) -> None:
    request = environment.request()
    with (
        before_request("PUT container", lambda: backend.administrator.make_bucket(request.bucket_name)),
        pytest.raises(BucketExists),
    ):
        environment.provisioner.provision(request)
    assert _metadata(backend, request.bucket_name) == {}


def test_of_two_clusters_that_take_a_container_over_at_once_one_gets_it(
    environment: Environment, backend: AzureBackend
) -> None:
    bucket = environment.foreign_bucket()
    first, second = (replace(environment.request(bucket=bucket), taken_over=True) for _ in range(2))
    with before_request("PUT lease", lambda: backend.provisioner().provision(first)), pytest.raises(BucketExists):
        environment.provisioner.provision(second)
    assert first.owner.matches(_metadata(backend, bucket))


def test_a_container_whose_lease_is_lost_is_not_tagged(environment: Environment, backend: AzureBackend) -> None:
    bucket = environment.foreign_bucket()
    request = replace(environment.request(bucket=bucket), taken_over=True)
    with (
        before_request("PUT metadata", lambda: backend.administrator.break_lease(bucket)),
        pytest.raises(NotReady),
    ):
        environment.provisioner.provision(request)
    assert _metadata(backend, bucket) == {}


def test_another_worker_of_ours_that_makes_the_container_first_is_joined(
    environment: Environment, backend: AzureBackend
) -> None:
    request, other = environment.request(), backend.provisioner()
    with before_request("PUT container", lambda: other.provision(request)):
        tenant = environment.greenfield(request)
    assert_works(tenant)
    assert len(backend.administrator.policies(tenant.bucket)) == 1


def test_a_container_that_changed_since_its_check_is_checked_again_before_its_deletion(
    environment: Environment, backend: AzureBackend
) -> None:
    """On Azure the name of a container is busy for 30 seconds after its deletion: a new one is never as old."""
    tenant = environment.tenant(greenfield=True)

    def swap() -> None:
        backend.administrator.wait_for_the_next_second(tenant.bucket)
        backend.administrator.purge_bucket(tenant.bucket)
        backend.administrator.make_bucket(tenant.bucket)
        backend.administrator.application().put(tenant.bucket, OBJECT, b"of another program")

    with before_request("DELETE container", swap), pytest.raises(NotReady):
        environment.provisioner.delete(tenant.record)
    with pytest.raises(BucketExists):
        environment.provisioner.delete(tenant.record)
    assert backend.administrator.application().get(tenant.bucket, OBJECT) == b"of another program"


def test_a_container_that_goes_while_it_is_being_granted_is_retried(
    environment: Environment, backend: AzureBackend
) -> None:
    bucket = environment.foreign_bucket()
    request = environment.request(bucket=bucket)
    with before_request("PUT lease", lambda: backend.administrator.purge_bucket(bucket)), pytest.raises(NotReady):
        environment.provisioner.grant(request)
    backend.administrator.make_bucket(bucket)
    assert_works(environment.bind(request, greenfield=False))


def test_a_user_id_of_any_length_is_taken(environment: Environment) -> None:
    tenant = environment.greenfield(replace(environment.request(), user_id="obc-" + "u" * 60))
    assert_works(tenant)
    environment.delete(tenant.record)


def _metadata(backend: AzureBackend, bucket: str) -> dict[str, str]:
    found = backend.administrator.settings(bucket)["metadata"]
    assert isinstance(found, dict)
    return found
