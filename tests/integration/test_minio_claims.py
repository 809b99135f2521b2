"""Claims on MinIO, from both ends: the real provisioner in its own process, a real API server, a real MinIO."""

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
def shop(cluster: Cluster, namespace: str, server: MinioServer) -> Iterator[MinioEnvironment]:
    made = MinioEnvironment(cluster, namespace, server)
    made.make_admin_secret()
    yield made
    made.delete_classes()


@pytest.fixture
def provisioner(shop: MinioEnvironment) -> Iterator[ProvisionerProcess]:
    with shop.provisioner() as process:
        yield process
        for claim in shop.claims():
            shop.delete_claim(claim["metadata"]["name"])


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
    """A way to the server that counts."""
    with CountingProxy(server) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()


def check_can_use(shop: MinioEnvironment, name: str) -> None:
    application, bucket = shop.application(name), shop.bucket(name)
    application.put(bucket, "mine", b"data")
    assert application.get(bucket, "mine") == b"data"
    assert application.list_keys(bucket) == ["mine"]
    application.delete(bucket, "mine")


@pytest.mark.usefixtures("provisioner")
def test_a_claim_gets_a_bucket_of_its_own_and_gives_all_of_it_back(shop: MinioEnvironment) -> None:
    before = (shop.buckets(), shop.users(), shop.policies())
    storage_class = shop.make_class()
    for name in ("photos", "neighbour"):
        shop.claim(name, storage_class)
        shop.wait_bound(name)
        check_can_use(shop, name)
    with pytest.raises(Refused):
        shop.application("photos").list_keys(shop.bucket("neighbour"))
    shop.application("photos").put(shop.bucket("photos"), "left", b"in it")

    shop.delete_claim("photos")
    shop.delete_claim("neighbour")
    assert (shop.buckets(), shop.users(), shop.policies()) == before
    for name in ("photos", "neighbour"):
        assert set(shop.objects_of(name).values()) == {None}


@pytest.mark.usefixtures("provisioner")
def test_a_class_that_names_a_bucket_lets_its_claims_in_and_out_and_keeps_the_bucket(shop: MinioEnvironment) -> None:
    bucket = f"reports-{secrets.token_hex(4)}"
    shop.minio.make_bucket(bucket)
    shop.minio.application().put(bucket, "old", b"report")
    storage_class = shop.make_class(bucketName=bucket)
    for name in ("reader", "writer"):
        shop.claim(name, storage_class, generateBucketName="ignored")
        shop.wait_bound(name)
        assert shop.bucket(name) == bucket
        assert shop.application(name).get(bucket, "old") == b"report"
    assert shop.secret("reader") != shop.secret("writer")
    gone = shop.application("reader")

    shop.delete_claim("reader")
    with pytest.raises(Refused):
        gone.get(bucket, "old")
    assert shop.application("writer").get(bucket, "old") == b"report"
    shop.delete_claim("writer")
    assert shop.minio.application().list_keys(bucket) == ["old"]
    shop.minio.purge_bucket(bucket)


@pytest.mark.usefixtures("provisioner")
def test_a_bucket_that_does_not_exist_is_waited_for(shop: MinioEnvironment) -> None:
    bucket = f"reports-{secrets.token_hex(4)}"
    shop.claim("reader", shop.make_class(bucketName=bucket))
    shop.wait_event("reader", "Warning", "BucketNotFound", f"bucket {bucket}")
    assert bucket not in shop.buckets()

    shop.minio.make_bucket(bucket)
    shop.admin.patch(shop.claim_path("reader"), {"metadata": {"annotations": {"example.com/mended": "yes"}}})
    shop.wait_bound("reader")
    check_can_use(shop, "reader")
    shop.delete_claim("reader")
    shop.minio.purge_bucket(bucket)


@pytest.mark.usefixtures("provisioner")
def test_a_quota_is_applied_edited_and_removed_and_the_credentials_stay(shop: MinioEnvironment) -> None:
    config = {"maxSize": "1Mi"}
    shop.claim("photos", shop.make_class(), generateBucketName="photos", additionalConfig=config)
    shop.wait_bound("photos")
    bucket, held = shop.bucket("photos"), shop.secret("photos")
    version = shop.admin.get(shop.path("secrets", "photos"))["metadata"]["resourceVersion"]
    assert shop.minio.config(bucket, "maxSize") == str(2**20)

    for wanted, quota in (({"maxSize": "2Mi"}, str(2**21)), (None, None)):
        shop.admin.patch(shop.claim_path("photos"), {"spec": {"additionalConfig": wanted}})
        shop.wait_bound("photos")
        assert shop.minio.config(bucket, "maxSize") == quota
    assert shop.secret("photos") == held
    assert shop.admin.get(shop.path("secrets", "photos"))["metadata"]["resourceVersion"] == version
    check_can_use(shop, "photos")


@pytest.mark.usefixtures("provisioner")
def test_a_secret_that_was_deleted_comes_back_with_a_new_key_and_the_old_one_is_dead(shop: MinioEnvironment) -> None:
    shop.claim("photos", shop.make_class())
    shop.wait_bound("photos")
    bucket, old, held = shop.bucket("photos"), shop.application("photos"), shop.secret("photos")
    uid = shop.admin.get(shop.path("secrets", "photos"))["metadata"]["uid"]
    old.put(bucket, "kept", b"data")

    shop.admin.delete(shop.path("secrets", "photos"))
    shop.admin.wait_for(
        shop.path("secrets", "photos"), lambda found: found is not None and found["metadata"]["uid"] != uid
    )
    assert shop.secret("photos")["AWS_SECRET_ACCESS_KEY"] != held["AWS_SECRET_ACCESS_KEY"]
    assert shop.application("photos").get(bucket, "kept") == b"data"
    with pytest.raises(Refused):
        old.get(bucket, "kept")
    shop.wait_bound("photos")


@pytest.mark.usefixtures("provisioner")
def test_a_config_map_that_was_edited_is_restored_and_the_credentials_stay(shop: MinioEnvironment) -> None:
    shop.claim("photos", shop.make_class())
    shop.wait_bound("photos")
    path = shop.path("configmaps", "photos")
    data, held = shop.admin.get(path)["data"], shop.secret("photos")

    shop.admin.patch(path, {"data": {"BUCKET_NAME": "another", "BUCKET_HOST": None}})
    restored = shop.admin.wait_for(path, lambda found: found is not None and found["data"] == data)
    assert restored is not None
    shop.admin.delete(path)
    shop.admin.wait_for(
        path, lambda found: found is not None and found["metadata"]["uid"] != restored["metadata"]["uid"]
    )
    assert shop.admin.get(path)["data"] == data
    assert shop.secret("photos") == held
    check_can_use(shop, "photos")


@pytest.mark.usefixtures("provisioner")
def test_retain_keeps_the_bucket_with_its_data_and_withdraws_the_credentials(shop: MinioEnvironment) -> None:
    users = shop.users()
    shop.claim("photos", shop.make_class(reclaim_policy="Retain"))
    shop.wait_bound("photos")
    bucket, application = shop.bucket("photos"), shop.application("photos")
    application.put(bucket, "kept", b"data")

    shop.delete_claim("photos")
    assert shop.minio.application().get(bucket, "kept") == b"data"
    with pytest.raises(Refused):
        application.get(bucket, "kept")
    assert shop.users() == users
    assert set(shop.objects_of("photos").values()) == {None}
    shop.minio.purge_bucket(bucket)


def test_a_restart_with_bound_claims_makes_no_call_to_the_store(shop: MinioEnvironment) -> None:
    with counted(shop.server) as proxy, shop.provisioner() as provisioner:
        storage_class = shop.make_class(endpoint=proxy.url)
        names = [f"photos-{number}" for number in range(5)]
        for name in names:
            shop.claim(name, storage_class)
        for name in names:
            shop.wait_bound(name)
        assert proxy.connections >= len(names)
        provisioner.stop()
        before, objects = proxy.connections, [shop.objects_of(name) for name in names]

        provisioner.start()
        shop.claim("last", storage_class)  # comes after all that the start put into the queue
        shop.wait_bound("last")
        for_one = proxy.connections - before
        assert [shop.objects_of(name) for name in names] == objects
        shop.delete_claim("last")

        before = proxy.connections
        shop.claim("last", storage_class)
        shop.wait_bound("last")
        assert for_one == proxy.connections - before  # the five that were bound already cost nothing
        for name in (*names, "last"):
            shop.delete_claim(name)
