"""The memory and the processor time of very many bound claims: `python -m testkit.benchmark.cached_claims 100000`.

Started by `simulations` as a process of its own, with the modules that a provisioner's process loads and no others.
The pages that an API server would send are made of templates by another process, as text, so that only what the core
does with them counts: decode, compact, keep, queue, reconcile. Prints one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAGE: Final = 500
KINDS: Final = ("claims", "buckets", "secrets", "config_maps")
_RECONCILED: Final = 1000


def _mebibytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def _pages(claims: int) -> Iterator[tuple[str, bytes]]:
    """Each page of each list: its kind, and its bytes."""
    command = [sys.executable, "-m", "testkit.benchmark.claim_pages", str(claims)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            kind, _, page = line.partition(b" ")
            yield kind.decode(), page


def _mean_size(values: Iterable[object]) -> float:
    """Of those that are packed: the newest ones are not."""
    sizes = [len(each) for each in values if isinstance(each, bytes)]
    return sum(sizes) / len(sizes) if sizes else 0.0


def measure(claims: int) -> dict[str, Any]:
    """Fills the caches of a controller that is not started, and reconciles some of the claims."""
    import msgspec
    import structlog

    from libbucket._api import StorageClass
    from libbucket._controller.controller import Controller
    from libbucket._controller.controller_settings import ControllerSettings
    from libbucket._kube.client import KubeClient
    from libbucket._kube.client_config import Address, ClientConfig
    from libbucket._kube.decoding import ResponseDecoder
    from libbucket._kube.discovery import CrdFeatures
    from libbucket._kube.resources import BUCKETS, CLAIMS, CONFIG_MAP_METADATA, SECRET_METADATA, Resource
    from libbucket._metrics import Metrics
    from libbucket._run import main as _production  # noqa: F401 - what a provisioner's process loads
    from libbucket.testing.memory import PROVISIONER_NAME, MemoryProvisioner

    client = KubeClient(ClientConfig(address=Address(host="http://127.0.0.1:1")))
    settings = ControllerSettings(
        provisioner_name=PROVISIONER_NAME,
        version="1",
        cluster_id="cluster-1",
        namespaces=(),
        workers=64,
        allowed_config=frozenset(),
        resync_interval=0,
        repair_interval=0,
        features=CrdFeatures(),
    )
    controller = Controller(client, MemoryProvisioner, settings, Metrics(), None)
    caches, router = controller._caches, controller._router
    resources: dict[str, Resource[Any]] = {
        "claims": CLAIMS,
        "buckets": BUCKETS,
        "secrets": SECRET_METADATA,
        "config_maps": CONFIG_MAP_METADATA,
    }
    decoders: dict[str, ResponseDecoder[Any]] = {
        kind: ResponseDecoder(each.type, "", structlog.get_logger()) for kind, each in resources.items()
    }
    idle, fill = _mebibytes(), 0.0
    for kind, page in _pages(claims):
        if kind == "classes":
            caches.classes.observe(msgspec.json.decode(page, type=StorageClass))
            continue
        before = time.process_time()
        for one in decoders[kind].page(page).items:
            getattr(caches, kind).observe(one)
        fill += time.process_time() - before
        del page
    before = time.process_time()
    for informer in controller._informers:
        informer.synced.set()
    router.enqueue_all()
    assert controller._queue.state().ready == claims
    queue = time.process_time() - before
    filled = _mebibytes()
    keys = [key for key, _ in zip(caches.claims._packed, range(_RECONCILED), strict=False)]
    before = time.process_time()
    for key in keys:
        outcome = controller._reconciler.reconcile(key)
        assert str(outcome.result) == "settled", outcome
    reconciled = time.process_time() - before
    return {
        "claims": claims,
        "idle_mebibytes": idle,
        "mebibytes": filled,
        "fill_seconds": fill,
        "queue_seconds": queue,
        "settled_microseconds": reconciled / len(keys) * 1e6,
        "bytes_by_cache": {kind: _mean_size(getattr(caches, kind)._packed.values()) for kind in KINDS},
    }


if __name__ == "__main__":
    from testkit.quiet import quietly

    with quietly():
        print(json.dumps(measure(int(sys.argv[1]))))
