"""MinIOs that are set up another way: users from LDAP, and site replication."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from minio.datatypes import PeerSite

from libbucket import NotReady, ProvisionerError, RetrySlowly, StoreRefused
from libbucket.testing import builders
from libbucket.testing.conformance.environment import Environment, assert_shut_out, assert_works
from testkit.minio.answers import ADMIN_PATH
from testkit.minio.backend import MinioApplication, MinioBackend, Rerouted, _services, refused_with
from testkit.minio.directory import ldap_directory
from testkit.minio.scripted_node import Asked, node_before
from testkit.minio.server import MinioServer, minio_binary, minio_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket.testing.conformance.environment import Tenant
    from libbucket.testing.misbehaving import Answer

SECONDS = 30.0


def eventually(is_so: Callable[[], bool]) -> None:
    """Replication has no event that a client could wait for."""
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_minio_with_ldap_is_named_and_its_claims_can_be_deleted() -> None:
    with ldap_directory() as settings, minio_server(minio_binary(), settings=settings) as server:
        environment = Environment(MinioBackend(server))
        request = environment.request()
        for _ in range(2):
            with pytest.raises(StoreRefused, match="LDAP"):
                environment.provisioner.provision(request)
        environment.provisioner.delete(builders.intent(request))
        assert not environment.administrator.bucket_exists(request.bucket_name)
        assert not environment.administrator.identity_exists(builders.intent(request))


def test_an_s3_server_that_is_not_a_minio_is_named() -> None:
    """To such a server, the paths of the admin API are keys in a bucket called minio."""

    def as_another_server(asked: Asked) -> Answer | None:
        return refused_with(404, "NoSuchBucket") if asked.path.startswith(ADMIN_PATH) else None

    with minio_server(minio_binary()) as server, node_before(server, as_another_server) as node:
        environment = Environment(MinioBackend(server))
        request = environment.request()
        for _ in range(2):
            with pytest.raises(RetrySlowly, match="admin API"):
                Rerouted(_services(server), node.url).provision(request)
        assert not environment.administrator.bucket_exists(request.bucket_name)


@pytest.fixture
def sites() -> Iterator[tuple[MinioServer, MinioServer]]:
    """Two servers with site replication."""
    with minio_server(minio_binary()) as first, minio_server(minio_binary()) as second:
        peers = [PeerSite(one.netloc, one.url, one.user, one.password) for one in (first, second)]
        MinioBackend(first).administrator.admin.add_site_replication(peers)
        yield first, second


def application_at(server: MinioServer, tenant: Tenant) -> MinioApplication:
    keys = tenant.credentials.access_keys
    assert keys is not None
    secret = keys.secret_access_key.reveal()
    return MinioApplication(netloc=server.netloc, secure=False, access_key=keys.access_key_id, secret_key=secret)


def is_deleted(environment: Environment, tenant: Tenant) -> bool:
    try:
        environment.provisioner.delete(tenant.record)
    except NotReady:
        return False
    return True


def test_claims_of_replicated_sites_work_at_both_and_are_deleted_at_both(
    sites: tuple[MinioServer, MinioServer],
) -> None:
    first, second = (MinioBackend(site) for site in sites)
    environment = Environment(first)
    tenant = environment.tenant(greenfield=True)
    assert_works(tenant)
    elsewhere = application_at(sites[1], tenant)
    eventually(lambda: bool(elsewhere.list_keys(tenant.bucket)))
    with pytest.raises(StoreRefused, match="site replication"):
        environment.again(tenant, config={"bucketVersioning": "Suspended"})
    rotated = environment.again(tenant, with_credentials=False)
    assert_works(rotated)
    assert_shut_out(tenant)
    eventually(lambda: is_deleted(environment, rotated))
    for site in (first, second):
        eventually(lambda site=site: not site.administrator.bucket_exists(tenant.bucket))  # type: ignore[misc]
        assert not site.administrator.identity_exists(rotated.record)


def test_a_site_that_is_down_delays_the_removal_of_data_and_nothing_else() -> None:
    with minio_server(minio_binary()) as first:
        environment = Environment(MinioBackend(first))
        with minio_server(minio_binary()) as second:
            peers = [PeerSite(one.netloc, one.url, one.user, one.password) for one in (first, second)]
            environment.administrator.admin.add_site_replication(peers)  # type: ignore[attr-defined]
            tenant = environment.tenant(greenfield=True)
            tenant.application.put(tenant.bucket, "key", b"x")
        assert_works(environment.greenfield())
        rotated = environment.again(tenant, with_credentials=False)
        assert_works(rotated)
        with pytest.raises(NotReady, match="replicated to a site"):
            environment.provisioner.delete(rotated.record)
        assert_shut_out(rotated)
        with pytest.raises(ProvisionerError):
            environment.provisioner.delete(rotated.record)
