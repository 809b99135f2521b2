"""The informer on a real API server: changes during a disconnection are not missed."""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from libbucket._kube.cache import Cache
from libbucket._kube.client import KubeClient
from libbucket._kube.config import load_configuration
from libbucket._kube.informer import Informer
from libbucket._kube.resources import CLAIMS, SECRET_METADATA
from libbucket.testing.builders import a_claim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket._kube.resources import Resource
    from libbucket.testing.admin import KubeAdmin
    from libbucket.testing.controlplane import Cluster, ControlPlane

SECONDS = 40.0


class Watched:
    """A cache that an informer fills; waits for its contents."""

    def __init__(self, kind: type[Any]) -> None:
        self.cache: Cache[Any] = Cache(kind)
        self.lists = 0
        self._changed = threading.Condition()

    def count_list(self, get: Callable[..., bytes]) -> Callable[..., bytes]:
        """The client's `get`, counted: an informer uses it for nothing but lists."""

        def counted(*args: Any, **what: Any) -> bytes:
            self.lists += 1
            return get(*args, **what)

        return counted

    def on_change(self, _old: Any, _new: Any) -> None:
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, *names: str) -> None:
        """Returns once exactly these are known."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.names == set(names), SECONDS), self.names

    def wait_until(self, predicate: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(predicate, SECONDS)

    @property
    def names(self) -> set[str]:
        return {one.metadata.name for one in self.cache}


@contextmanager
def watching(cluster: Cluster, resource: Resource[Any], namespace: str, selector: str = "") -> Iterator[Watched]:
    client = KubeClient(load_configuration(kubeconfig=str(cluster.kubeconfig)))
    watched = Watched(resource.type)
    client.get = watched.count_list(client.get)  # type: ignore[method-assign]
    informer: Informer[Any] = Informer(
        client, resource, cache=watched.cache, on_change=watched.on_change, namespace=namespace, selector=selector
    )
    thread = threading.Thread(target=informer.run, daemon=True)
    thread.start()
    try:
        assert informer.synced.wait(SECONDS)
        yield watched
    finally:
        informer.stop()
        thread.join(SECONDS)
        client.close()
    assert not thread.is_alive()


def make(admin: KubeAdmin, namespace: str, name: str) -> None:
    admin.create(_claims(namespace), a_claim(name=name, namespace=namespace))


def _claims(namespace: str) -> str:
    return f"/apis/objectbucket.io/v1alpha1/namespaces/{namespace}/objectbucketclaims"


def test_the_cache_reflects_creations_edits_and_deletions(cluster: Cluster, namespace: str) -> None:
    with watching(cluster, CLAIMS, namespace) as watched:
        make(cluster.admin, namespace, "a")
        make(cluster.admin, namespace, "b")
        watched.wait_for("a", "b")
        cluster.admin.patch(f"{_claims(namespace)}/a", {"metadata": {"labels": {"team": "blue"}}})
        watched.wait_until(lambda: {one.metadata.label("team") for one in watched.cache} == {"blue", ""})
        cluster.admin.delete(f"{_claims(namespace)}/a")
        watched.wait_for("b")


def test_the_cache_holds_metadata_of_owned_secrets_only(cluster: Cluster, namespace: str) -> None:
    label = secrets.token_hex(4)
    path = f"/api/v1/namespaces/{namespace}/secrets"
    with watching(cluster, SECRET_METADATA, namespace, f"bucket-provisioner={label}") as watched:
        cluster.admin.create(path, {"metadata": {"name": "other"}})
        metadata = {"name": "owned", "labels": {"bucket-provisioner": label}}
        cluster.admin.create(path, {"metadata": metadata, "stringData": {"key": "value"}})
        watched.wait_for("owned")

        assert not hasattr(next(iter(watched.cache)), "data")
        cluster.admin.patch(f"{path}/owned", {"metadata": {"labels": {"bucket-provisioner": None}}})
        watched.wait_for()


@pytest.mark.timeout(180)
def test_the_cache_catches_up_after_a_restart_of_the_api_server(control_plane: ControlPlane, namespace: str) -> None:
    admin = control_plane.admin
    make(admin, namespace, "kept")
    make(admin, namespace, "gone")
    with watching(control_plane, CLAIMS, namespace) as watched:
        watched.wait_for("kept", "gone")
        control_plane.restart_api_server()
        admin.delete(f"{_claims(namespace)}/gone")
        make(admin, namespace, "new")
        watched.wait_for("kept", "new")


@pytest.mark.timeout(180)
def test_the_cache_relists_when_its_resource_version_has_expired(control_plane: ControlPlane, namespace: str) -> None:
    admin = control_plane.admin
    make(admin, namespace, "kept")
    make(admin, namespace, "gone")
    with watching(control_plane, CLAIMS, namespace) as watched:
        watched.wait_for("kept", "gone")
        later = admin.create("/api/v1/namespaces", {"metadata": {"name": f"{namespace}-later"}})
        control_plane.stop_api_server()
        _compact(control_plane, later["metadata"]["resourceVersion"])
        control_plane.start_api_server()
        admin.delete(f"{_claims(namespace)}/gone")
        make(admin, namespace, "new")
        watched.wait_for("kept", "new")
        admin.delete(f"/api/v1/namespaces/{namespace}-later")

        assert watched.lists > 1


def _compact(control_plane: ControlPlane, version: str) -> None:
    """Compacts etcd up to this version."""
    url = f"{control_plane._settings.etcd_url}/v3/kv/compaction"
    answer = urllib3.request("POST", url, json={"revision": version, "physical": True}, timeout=SECONDS)
    assert answer.status == 200, answer.data


def test_stop_ends_a_watch_of_a_real_api_server_promptly(cluster: Cluster, namespace: str) -> None:
    client = KubeClient(load_configuration(kubeconfig=str(cluster.kubeconfig)))
    informer: Informer[Any] = Informer(
        client, CLAIMS, cache=Cache(CLAIMS.type), on_change=lambda _old, _new: None, namespace=namespace
    )
    thread = threading.Thread(target=informer.run, daemon=True)
    thread.start()
    assert informer.synced.wait(SECONDS)
    informer.stop()
    thread.join(5)
    client.close()

    assert not thread.is_alive()
