"""What the control plane allows on this machine: the writes of a claim, one after the other, with nothing in between.

The same requests by the same client, as many threads as a provisioner has workers, and the same watches. What a
provisioner reaches of this rate is its own part. Knows the writes of `apply.bind`, and no provisioner.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import ControlPlane

_WORKERS: Final = 8
_NAMESPACE: Final = "ceiling"
_WATCHED: Final[tuple[Any, ...]] = (CLAIMS, BUCKETS, CLASSES, SECRET_METADATA, CONFIG_MAP_METADATA)
_PADDING: Final = "x" * 600  # what the annotations of an ObjectBucket have
_DATA: Final = {"AWS_ACCESS_KEY_ID": "ACCESS-KEY", "AWS_SECRET_ACCESS_KEY": "SECRET-OF-THE-BENCHMARK"}


def claims_per_second(cluster: ControlPlane, count: int) -> float:
    """How many claims a second could get all their writes."""
    cluster.admin.create("/api/v1/namespaces", {"metadata": {"name": _NAMESPACE}})
    client = KubeClient(load_configuration(kubeconfig=str(cluster.kubeconfig)))
    with _watches(client), ThreadPoolExecutor(_WORKERS) as pool:
        started = time.monotonic()
        for done in [pool.submit(_write_all, client, f"claim-{number}") for number in range(count)]:
            done.result()
        return count / (time.monotonic() - started)


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


def _write_all(client: KubeClient, name: str) -> None:
    """The claim, as its author creates it; then the eight requests that bind it."""
    claim = client.create(CLAIMS, a_claim(name=name, namespace=_NAMESPACE, storage_class="none"), namespace=_NAMESPACE)
    bucket = f"obc-{_NAMESPACE}-{name}"
    owner = {"apiVersion": _api.API_VERSION, "kind": _api.CLAIM_KIND, "name": name, "uid": claim.metadata.uid}
    metadata = {"name": name, "namespace": _NAMESPACE, "ownerReferences": [owner]}
    named = {"metadata": {"finalizers": [_api.FINALIZER]}, "spec": {"bucketName": name, "objectBucketName": bucket}}
    client.patch(CLAIMS, name, named, namespace=_NAMESPACE)
    intent = {"apiVersion": _api.API_VERSION, "kind": _api.BUCKET_KIND, "metadata": {"name": bucket}, "spec": {}}
    client.create(BUCKETS, intent)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": _DATA}
    client.create(SECRETS, secret, namespace=_NAMESPACE)
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"BUCKET_NAME": name}}
    client.create(CONFIG_MAPS, config_map, namespace=_NAMESPACE)
    client.patch(BUCKETS, bucket, {"metadata": {"annotations": {_api.OBSERVED: _PADDING}}})
    bound = {"status": {"phase": _api.Phase.BOUND}}
    client.patch(BUCKETS, bucket, bound, subresource="status")
    client.patch(CLAIMS, name, bound, namespace=_NAMESPACE, subresource="status")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": _NAMESPACE},
        "involvedObject": {"kind": _api.CLAIM_KIND, "name": name, "namespace": _NAMESPACE, "uid": claim.metadata.uid},
        "reason": "Bound",
        "message": "Bound",
        "type": "Normal",
    }
    client.create(EVENTS, event, namespace=_NAMESPACE)
