"""Claims in numbers: makes and deletes them, waits for the last, and counts the provisioner's requests meanwhile."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.parser import text_string_to_metric_families

from libbucket.testing.builders import a_claim, a_class
from testkit.benchmark.api_requests import Requests, settled_requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket.testing.controlplane import Cluster
    from libbucket.testing.provisioner_process import ProvisionerProcess

Event = dict[str, Any]

NAMESPACE: Final = "bench"
CLASS: Final = "bench"
RECONCILES: Final = "libbucket_reconcile_duration_seconds_count"
STORE_CALLS: Final = "libbucket_backend_call_duration_seconds_count"
_CPU: Final = "process_cpu_seconds_total"
_CLAIMS: Final = f"/apis/objectbucket.io/v1alpha1/namespaces/{NAMESPACE}/objectbucketclaims"
_PARALLEL: Final = 4  # how many claims are created at once: faster than they are served
_LIMIT_SECONDS: Final = 60.0
_SLOWEST: Final = 0.2  # seconds for each claim, beyond that: something is wrong
_POLL: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class Run:
    """What became of some claims.

    Attributes:
        claims: how many.
        seconds: from the first request for one to the last one done.
        asking_seconds: how much of that the requests for them took.
        requests: of the provisioner, to the API server.
        reconciles: reconciles of claims; those that find nothing to do included.
        cpu_seconds: of the provisioner: what is left of the speed when others use the processors, too.
    """

    claims: int
    seconds: float
    asking_seconds: float
    requests: Requests
    reconciles: int
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Claims per second."""
        return self.claims / self.seconds

    @property
    def requests_per_claim(self) -> float:
        """Of all kinds."""
        return self.requests.total() / self.claims


class Load:
    """Claims of one class in one namespace, both made by it.

    Args:
        cluster: with no other user.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._admin = cluster.admin
        self._admin.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        self._admin.create("/apis/storage.k8s.io/v1/storageclasses", a_class(name=CLASS))

    def bind(self, provisioner: ProvisionerProcess, count: int) -> Run:
        """Makes claims, and waits until all are Bound and the provisioner has nothing left to do."""
        return self._run(provisioner, count, "POST", self._make, _is_bound)

    def delete(self, provisioner: ProvisionerProcess, count: int) -> Run:
        """Deletes those that `bind` made, and waits until all are gone and the provisioner has nothing left to do."""
        return self._run(provisioner, count, "DELETE", self._remove, _is_gone)

    def _make(self, name: str) -> float:
        self._admin.create(_CLAIMS, a_claim(name=name, namespace=NAMESPACE, storage_class=CLASS))
        return time.monotonic()

    def _remove(self, name: str) -> float:
        self._admin.delete(f"{_CLAIMS}/{name}")
        return time.monotonic()

    def _run(
        self,
        provisioner: ProvisionerProcess,
        count: int,
        verb: str,
        ask: Callable[[str], float],
        is_done: Callable[[Event], bool],
    ) -> Run:
        names = [f"claim-{number}" for number in range(count)]
        version = self._admin.get(f"{_CLAIMS}?limit=1")["metadata"]["resourceVersion"]
        before, metrics_before = settled_requests(self._cluster), provisioner.metrics()
        # A watch is counted when it ends: this one with this function, after the counting.
        limit = _LIMIT_SECONDS + count * _SLOWEST
        events = self._admin.watch(_CLAIMS, resource_version=version, timeout=limit)
        started = time.monotonic()
        with ThreadPoolExecutor(_PARALLEL) as pool:
            asked = [pool.submit(ask, name) for name in names]
            waiting = set(names)
            for event in events:
                if is_done(event):
                    waiting.discard(event["object"]["metadata"]["name"])
                if not waiting:
                    break
            seconds = time.monotonic() - started
        asking_seconds = max(each.result() for each in asked) - started
        if waiting:
            one = min(waiting)
            status = (self._admin.find(f"{_CLAIMS}/{one}") or {}).get("status")
            raise TimeoutError(
                f"{len(waiting)} of {count} claims were not done within {limit:.0f} s; {one} says {status}; "
                f"the provisioner's last lines:\n{provisioner.log()[-2000:]}"
            )
        wait_idle(provisioner)
        metrics = provisioner.metrics()
        requests = settled_requests(self._cluster) - before
        requests[verb, "objectbucketclaims"] -= count  # ours
        return Run(
            claims=count,
            seconds=seconds,
            asking_seconds=asking_seconds,
            requests=+requests,
            reconciles=int(metric(metrics, RECONCILES) - metric(metrics_before, RECONCILES)),
            cpu_seconds=metric(metrics, _CPU) - metric(metrics_before, _CPU),
        )


def _is_bound(event: Event) -> bool:
    return bool(event["object"].get("status", {}).get("phase") == "Bound")


def _is_gone(event: Event) -> bool:
    return bool(event["type"] == "DELETED")


def wait_idle(provisioner: ProvisionerProcess, *, reconciles: int = 0) -> None:
    """Waits until a provisioner has reconciled so many claims, and has nothing left to do, now or later.

    Raises:
        TimeoutError: it goes on and on.
    """
    deadline = time.monotonic() + _LIMIT_SECONDS
    while time.monotonic() < deadline:
        text = provisioner.metrics()
        done = metric(text, RECONCILES)
        if done >= reconciles and not metric(text, "libbucket_queue_keys"):
            return
        time.sleep(_POLL)
    raise TimeoutError(f"the provisioner still works after {_LIMIT_SECONDS:.0f} s")


def metric(text: str, name: str) -> float:
    """Sum over all samples of a metric, whatever their labels."""
    families = text_string_to_metric_families(text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How big a process is.

    Attributes:
        mebibytes: resident.
        threads: how many.
    """

    mebibytes: float
    threads: int


def size_of(pid: int) -> Size:
    """As the kernel says it (Linux only)."""
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    values = {name: value.split() for name, _, value in lines}
    return Size(mebibytes=int(values["VmRSS"][0]) / 1024, threads=int(values["Threads"][0]))
