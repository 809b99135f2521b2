"""What the control plane allows on this machine: the writes of a claim, one after the other, with nothing in between.

The same requests by the same client, as many threads as a provisioner has workers, and the same watches. What a
provisioner reaches of this rate is its own part. Knows the writes of `apply.bind`, and no provisioner.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from libbucket import _api
from libbucket._kube.cache import Cache
from libbucket._kube.client import KubeClient
from libbucket._kube.config import load_configuration
from libbucket._kube.informer import Informer
from libbucket._kube.resources import (
    BUCKETS,
    CLAIMS,
    CLASSES,
    CONFIG_MAP_METADATA,
    CONFIG_MAPS,
    EVENTS,
    SECRET_METADATA,
    SECRETS,
)
from libbucket.testing.builders import a_claim
from testkit.benchmark.processes import cpu_seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from libbucket.testing.controlplane import ControlPlane

_WORKERS: Final = 8
_WATCHED: Final[tuple[Any, ...]] = (CLAIMS, BUCKETS, CLASSES, SECRET_METADATA, CONFIG_MAP_METADATA)
_PADDING: Final = "x" * 600  # what the annotations of an ObjectBucket have
_DATA: Final = {"AWS_ACCESS_KEY_ID": "ACCESS-KEY", "AWS_SECRET_ACCESS_KEY": "SECRET-OF-THE-BENCHMARK"}
_BOUND: Final = {"status": {"phase": _api.Phase.BOUND}}


def claims_per_second(cluster: ControlPlane, count: int) -> float:
    """How many claims a second could get all their writes."""
    writes = _writes(cluster, "ceiling")
    with _watches(writes.client), ThreadPoolExecutor(_WORKERS) as pool:
        started = time.monotonic()
        for done in [pool.submit(writes.all, f"claim-{number}") for number in range(count)]:
            done.result()
        return count / (time.monotonic() - started)


def cpu_milliseconds_by_write(cluster: ControlPlane, count: int, *, watched: bool) -> dict[str, float]:
    """Processor time of the control plane for each write of a claim, with the watches of a provisioner or without."""
    writes = _writes(cluster, f"writes-{'watched' if watched else 'alone'}")
    found = {}
    with _watches(writes.client) if watched else nullcontext(), ThreadPoolExecutor(_WORKERS) as pool:
        for name, write in writes.by_name.items():
            before = cpu_seconds_of(cluster.pids)
            for done in [pool.submit(write, f"claim-{number}") for number in range(count)]:
                done.result()
            found[name] = (cpu_seconds_of(cluster.pids) - before) / count * 1000
    return found


@contextmanager
def _watches(client: KubeClient) -> Iterator[None]:
    informers = [Informer(client, each, cache=Cache(each.type), on_change=_ignore) for each in _WATCHED]
    threads = [threading.Thread(target=each.run, daemon=True) for each in informers]
    for thread in threads:
        thread.start()
    try:
        for each in informers:
            each.synced.wait()
        yield
    finally:
        for each in informers:
            each.stop()
        for thread in threads:
            thread.join()


def _ignore(_old: object, _new: object) -> None:
    """Only the API server's part counts."""


def _writes(cluster: ControlPlane, namespace: str) -> _Writes:
    cluster.admin.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    client = KubeClient(load_configuration(kubeconfig=str(cluster.kubeconfig)))
    return _Writes(client=client, namespace=namespace)


@dataclass(frozen=True, kw_only=True)
class _Writes:
    """The claim, as its author creates it; then the eight requests that bind it, each by the name of the claim."""

    client: KubeClient
    namespace: str

    @property
    def by_name(self) -> Mapping[str, Callable[[str], object]]:
        return {
            "POST objectbucketclaims, by its author": self.create_claim,
            "PATCH objectbucketclaims": self.name_buckets,
            "POST objectbuckets": self.create_bucket,
            "POST secrets": self.create_secret,
            "POST configmaps": self.create_config_map,
            "PATCH objectbuckets": self.complete_bucket,
            "PATCH objectbuckets/status": self.bind_bucket,
            "PATCH objectbucketclaims/status": self.bind_claim,
            "POST events": self.create_event,
        }

    def all(self, name: str) -> None:
        for write in self.by_name.values():
            write(name)

    def create_claim(self, name: str) -> object:
        claim = a_claim(name=name, namespace=self.namespace, storage_class="none")
        return self.client.create(CLAIMS, claim, namespace=self.namespace)

    def name_buckets(self, name: str) -> object:
        names = {"bucketName": name, "objectBucketName": self._bucket(name)}
        patch = {"metadata": {"finalizers": [_api.FINALIZER]}, "spec": names}
        return self.client.patch(CLAIMS, name, patch, namespace=self.namespace)

    def create_bucket(self, name: str) -> object:
        kind = {"apiVersion": _api.API_VERSION, "kind": _api.BUCKET_KIND}
        return self.client.create(BUCKETS, {**kind, "metadata": {"name": self._bucket(name)}, "spec": {}})

    def create_secret(self, name: str) -> object:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": _DATA}
        return self.client.create(SECRETS, body, namespace=self.namespace)

    def create_config_map(self, name: str) -> object:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"BUCKET_NAME": name}}
        return self.client.create(CONFIG_MAPS, body, namespace=self.namespace)

    def complete_bucket(self, name: str) -> object:
        annotations = {"metadata": {"annotations": {_api.OBSERVED: _PADDING}}}
        return self.client.patch(BUCKETS, self._bucket(name), annotations)

    def bind_bucket(self, name: str) -> object:
        return self.client.patch(BUCKETS, self._bucket(name), _BOUND, subresource="status")

    def bind_claim(self, name: str) -> object:
        return self.client.patch(CLAIMS, name, _BOUND, namespace=self.namespace, subresource="status")

    def create_event(self, name: str) -> object:
        about = {"apiVersion": _api.API_VERSION, "kind": _api.CLAIM_KIND, "name": name, "namespace": self.namespace}
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": self.namespace},
            "involvedObject": about,
            "reason": "Bound",
            "message": "Bound",
            "type": "Normal",
        }
        return self.client.create(EVENTS, body, namespace=self.namespace)

    def _bucket(self, name: str) -> str:
        return f"obc-{self.namespace}-{name}"
