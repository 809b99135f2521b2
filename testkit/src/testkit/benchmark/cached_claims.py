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
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from libbucket._controller.controller import Controller
    from libbucket._kube.resources import Resource
    from libbucket._reconcile.model.context import Caches

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
    from libbucket._kube.client import KubeClient
    from libbucket._kube.client_config import Address, ClientConfig
    from libbucket._run import main as _production  # noqa: F401 - what a provisioner's process loads
    from libbucket.testing.memory import PROVISIONER_NAME, MemoryProvisioner
    from testkit.controllers import a_controller

    client = KubeClient(ClientConfig(address=Address(host="http://127.0.0.1:1")))
    controller = a_controller(client, MemoryProvisioner, provisioner_name=PROVISIONER_NAME, workers=64)
    idle = _mebibytes()
    fill_seconds = _fill(controller._caches, claims)
    queue_seconds = _queue_all(controller, claims)
    filled = _mebibytes()
    return {
        "claims": claims,
        "idle_mebibytes": idle,
        "mebibytes": filled,
        "fill_seconds": fill_seconds,
        "queue_seconds": queue_seconds,
        "settled_microseconds": _settle(controller) * 1e6,
        "bytes_by_cache": {kind: _mean_size(getattr(controller._caches, kind)._packed.values()) for kind in KINDS},
    }


def _fill(caches: Caches, claims: int) -> float:
    """Decodes the lists into the caches; returns the processor time, in seconds."""
    import msgspec
    import structlog

    from libbucket._api import StorageClass
    from libbucket._kube.decoding import ResponseDecoder
    from libbucket._kube.resources import BUCKETS, CLAIMS, CONFIG_MAP_METADATA, SECRET_METADATA

    resources: dict[str, Resource[Any]] = {
        "claims": CLAIMS,
        "buckets": BUCKETS,
        "secrets": SECRET_METADATA,
        "config_maps": CONFIG_MAP_METADATA,
    }
    decoders: dict[str, ResponseDecoder[Any]] = {
        kind: ResponseDecoder(each.type, "", structlog.get_logger()) for kind, each in resources.items()
    }
    seconds = 0.0
    for kind, page in _pages(claims):
        if kind == "classes":
            caches.classes.observe(msgspec.json.decode(page, type=StorageClass))
            continue
        before = time.process_time()
        for one in decoders[kind].page(page).items:
            getattr(caches, kind).observe(one)
        seconds += time.process_time() - before
        del page
    return seconds


def _queue_all(controller: Controller, claims: int) -> float:
    """Queues every claim, as after a start; returns the processor time, in seconds."""
    before = time.process_time()
    for informer in controller._informers:
        informer.synced.set()
    controller._router.enqueue_all()
    assert controller._queue.state().ready == claims
    return time.process_time() - before


def _settle(controller: Controller) -> float:
    """Finds that some claims are unchanged; returns the processor time of one, in seconds."""
    keys = [key for key, _ in islice(controller._caches.claim_summaries.items(), _RECONCILED)]
    before = time.process_time()
    for key in keys:
        outcome = controller._reconciler.reconcile(key)
        assert str(outcome.result) == "settled", outcome
    return (time.process_time() - before) / len(keys)


if __name__ == "__main__":
    from testkit.quiet import quietly

    with quietly():
        print(json.dumps(measure(int(sys.argv[1]))))
