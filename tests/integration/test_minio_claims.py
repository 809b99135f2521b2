"""Claims on MinIO, end to end: the real provisioner in its own process, a real API server, a real MinIO."""

from __future__ import annotations

import secrets
import select
import socket
import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from libbucket.testing.application import Refused
from libbucket.testing.processes import HOST
from testkit.cluster.minio_environment import MinioEnvironment, MinioServer, minio_binary, minio_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import Cluster
    from libbucket.testing.provisioner_process import ProvisionerProcess


@pytest.fixture(scope="module")
def server() -> Iterator[MinioServer]:
    with minio_server(minio_binary()) as running:
        yield running


@pytest.fixture
def environment(cluster: Cluster, namespace: str, server: MinioServer) -> Iterator[MinioEnvironment]:
    made = MinioEnvironment(cluster, namespace, server)
    made.make_admin_secret()
    yield made
    made.delete_classes()


@pytest.fixture
def provisioner(environment: MinioEnvironment) -> Iterator[ProvisionerProcess]:
    with environment.provisioner() as process:
        yield process
        for claim in environment.claims():
            environment.delete_claim(claim["metadata"]["name"])


class CountingProxy(socketserver.ThreadingTCPServer):
    """Passes TCP connections on to the server, and counts them."""

    def __init__(self, server: MinioServer) -> None:
        super().__init__((HOST, 0), _PassOn)
        host, _, port = server.netloc.partition(":")
        self.target = (host, int(port))
        self.url = f"http://{HOST}:{self.server_address[1]}"
        self.connections = 0


class _PassOn(socketserver.BaseRequestHandler):
    server: CountingProxy

    def handle(self) -> None:
        self.server.connections += 1
        with socket.create_connection(self.server.target) as store:
            other = {self.request: store, store: self.request}
            while True:
                for end in select.select(list(other), [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    other[end].sendall(data)


@contextmanager
def counted(server: MinioServer) -> Iterator[CountingProxy]:
    """A proxy of the server that counts connections."""
    with CountingProxy(server) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()


def check_can_use(environment: MinioEnvironment, name: str) -> None:
    application, bucket = environment.application(name), environment.bucket(name)
    application.put(bucket, "mine", b"data")
    assert application.get(bucket, "mine") == b"data"
    assert application.list_keys(bucket) == ["mine"]
    application.delete(bucket, "mine")


@pytest.mark.usefixtures("provisioner")
def test_a_claim_is_provisioned_isolated_and_deprovisioned_completely(environment: MinioEnvironment) -> None:
    before = (environment.buckets(), environment.users(), environment.policies())
    storage_class = environment.make_class()
    for name in ("photos", "other"):
        environment.claim(name, storage_class)
        environment.wait_bound(name)
        check_can_use(environment, name)
    with pytest.raises(Refused):
        environment.application("photos").list_keys(environment.bucket("other"))
    environment.application("photos").put(environment.bucket("photos"), "left", b"in it")

    environment.delete_claim("photos")
    environment.delete_claim("other")
    assert (environment.buckets(), environment.users(), environment.policies()) == before
    for name in ("photos", "other"):
        assert set(environment.objects_of(name).values()) == {None}


@pytest.mark.usefixtures("provisioner")
def test_a_brownfield_class_grants_and_revokes_access_and_keeps_the_bucket(
    environment: MinioEnvironment,
) -> None:
    bucket = f"reports-{secrets.token_hex(4)}"
    environment.minio.make_bucket(bucket)
    environment.minio.application().put(bucket, "old", b"report")
    storage_class = environment.make_class(bucketName=bucket)
    for name in ("reader", "writer"):
        environment.claim(name, storage_class, generateBucketName="ignored")
        environment.wait_bound(name)
        assert environment.bucket(name) == bucket
        assert environment.application(name).get(bucket, "old") == b"report"
    assert environment.secret("reader") != environment.secret("writer")
    gone = environment.application("reader")

    environment.delete_claim("reader")
    with pytest.raises(Refused):
        gone.get(bucket, "old")
    assert environment.application("writer").get(bucket, "old") == b"report"
    environment.delete_claim("writer")
    assert environment.minio.application().list_keys(bucket) == ["old"]
    environment.minio.purge_bucket(bucket)


@pytest.mark.usefixtures("provisioner")
def test_a_missing_brownfield_bucket_is_retried(environment: MinioEnvironment) -> None:
    bucket = f"reports-{secrets.token_hex(4)}"
    environment.claim("reader", environment.make_class(bucketName=bucket))
    environment.wait_event("reader", "Warning", "BucketNotFound", f"bucket {bucket}")
    assert bucket not in environment.buckets()

    environment.minio.make_bucket(bucket)
    environment.admin.patch(
        environment.claim_path("reader"), {"metadata": {"annotations": {"example.com/fixed": "yes"}}}
    )
    environment.wait_bound("reader")
    check_can_use(environment, "reader")
    environment.delete_claim("reader")
    environment.minio.purge_bucket(bucket)


@pytest.mark.usefixtures("provisioner")
def test_a_quota_is_applied_edited_and_removed_and_the_credentials_stay(environment: MinioEnvironment) -> None:
    config = {"maxSize": "1Mi"}
    environment.claim("photos", environment.make_class(), generateBucketName="photos", additionalConfig=config)
    environment.wait_bound("photos")
    bucket, held = environment.bucket("photos"), environment.secret("photos")
    version = environment.admin.get(environment.path("secrets", "photos"))["metadata"]["resourceVersion"]
    assert environment.minio.config(bucket, "maxSize") == str(2**20)

    for wanted, quota in (({"maxSize": "2Mi"}, str(2**21)), (None, None)):
        environment.admin.patch(environment.claim_path("photos"), {"spec": {"additionalConfig": wanted}})
        environment.wait_bound("photos")
        assert environment.minio.config(bucket, "maxSize") == quota
    assert environment.secret("photos") == held
    assert environment.admin.get(environment.path("secrets", "photos"))["metadata"]["resourceVersion"] == version
    check_can_use(environment, "photos")


@pytest.mark.usefixtures("provisioner")
def test_a_deleted_secret_is_restored_with_a_new_key_and_the_old_key_is_revoked(
    environment: MinioEnvironment,
) -> None:
    environment.claim("photos", environment.make_class())
    environment.wait_bound("photos")
    bucket, old, held = environment.bucket("photos"), environment.application("photos"), environment.secret("photos")
    uid = environment.admin.get(environment.path("secrets", "photos"))["metadata"]["uid"]
    old.put(bucket, "kept", b"data")

    environment.admin.delete(environment.path("secrets", "photos"))
    environment.admin.wait_for(
        environment.path("secrets", "photos"), lambda found: found is not None and found["metadata"]["uid"] != uid
    )
    assert environment.secret("photos")["AWS_SECRET_ACCESS_KEY"] != held["AWS_SECRET_ACCESS_KEY"]
    assert environment.application("photos").get(bucket, "kept") == b"data"
    with pytest.raises(Refused):
        old.get(bucket, "kept")
    environment.wait_bound("photos")


@pytest.mark.usefixtures("provisioner")
def test_a_config_map_that_was_edited_is_restored_and_the_credentials_stay(environment: MinioEnvironment) -> None:
    environment.claim("photos", environment.make_class())
    environment.wait_bound("photos")
    path = environment.path("configmaps", "photos")
    data, held = environment.admin.get(path)["data"], environment.secret("photos")

    environment.admin.patch(path, {"data": {"BUCKET_NAME": "another", "BUCKET_HOST": None}})
    restored = environment.admin.wait_for(path, lambda found: found is not None and found["data"] == data)
    assert restored is not None
    environment.admin.delete(path)
    environment.admin.wait_for(
        path, lambda found: found is not None and found["metadata"]["uid"] != restored["metadata"]["uid"]
    )
    assert environment.admin.get(path)["data"] == data
    assert environment.secret("photos") == held
    check_can_use(environment, "photos")


@pytest.mark.usefixtures("provisioner")
def test_retain_keeps_the_bucket_with_its_data_and_revokes_the_credentials(environment: MinioEnvironment) -> None:
    users = environment.users()
    environment.claim("photos", environment.make_class(reclaim_policy="Retain"))
    environment.wait_bound("photos")
    bucket, application = environment.bucket("photos"), environment.application("photos")
    application.put(bucket, "kept", b"data")

    environment.delete_claim("photos")
    assert environment.minio.application().get(bucket, "kept") == b"data"
    with pytest.raises(Refused):
        application.get(bucket, "kept")
    assert environment.users() == users
    assert set(environment.objects_of("photos").values()) == {None}
    environment.minio.purge_bucket(bucket)


def test_a_restart_with_bound_claims_makes_no_call_to_the_store(environment: MinioEnvironment) -> None:
    with counted(environment.server) as proxy, environment.provisioner() as provisioner:
        storage_class = environment.make_class(endpoint=proxy.url)
        names = [f"photos-{number}" for number in range(5)]
        for name in names:
            environment.claim(name, storage_class)
        for name in names:
            environment.wait_bound(name)
        assert proxy.connections >= len(names)
        provisioner.stop()
        before, objects = proxy.connections, [environment.objects_of(name) for name in names]

        provisioner.start()
        environment.claim("last", storage_class)  # comes after all that the start put into the queue
        environment.wait_bound("last")
        for_one = proxy.connections - before
        assert [environment.objects_of(name) for name in names] == objects
        environment.delete_claim("last")

        before = proxy.connections
        environment.claim("last", storage_class)
        environment.wait_bound("last")
        assert for_one == proxy.connections - before  # the five that were bound already cost nothing
        for name in (*names, "last"):
            environment.delete_claim(name)
