"""Claims in numbers: makes and deletes them, waits for the last, and counts the provisioner's requests meanwhile."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.parser import text_string_to_metric_families

from libbucket.testing.builders import a_claim, a_class
from libbucket.testing.memory import PROVISIONER_NAME
from testkit.benchmark.api_requests import Requests, settled_requests
from testkit.benchmark.processes import cpu_seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket.testing.controlplane import ControlPlane
    from libbucket.testing.provisioner_process import ProvisionerProcess

Event = dict[str, Any]

NAMESPACE: Final = "bench"
RECONCILES: Final = "libbucket_reconcile_duration_seconds_count"
STORE_CALLS: Final = "libbucket_backend_call_duration_seconds_count"
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
        control_plane_seconds: processor time of etcd and the API server, with the requests for the claims.
    """

    claims: int
    seconds: float
    asking_seconds: float
    requests: Requests
    reconciles: int
    cpu_seconds: float
    control_plane_seconds: float

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
        provisioner: of the class.
        name: of the class and the namespace.
    """

    def __init__(self, cluster: ControlPlane, *, provisioner: str = PROVISIONER_NAME, name: str = NAMESPACE) -> None:
        self._cluster = cluster
        self._admin = cluster.admin
        self._name = name
        self._claims = f"/apis/objectbucket.io/v1alpha1/namespaces/{name}/objectbucketclaims"
        self._admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
        self._admin.create("/apis/storage.k8s.io/v1/storageclasses", a_class(name=name, provisioner=provisioner))

    def bind(self, provisioner: ProvisionerProcess, count: int) -> Run:
        """Makes claims, and waits until all are Bound and the provisioner has nothing left to do."""
        return self._run(provisioner, count, "POST", self._make, _is_bound)

    def delete(self, provisioner: ProvisionerProcess, count: int) -> Run:
        """Deletes those that `bind` made, and waits until all are gone and the provisioner has nothing left to do."""
        return self._run(provisioner, count, "DELETE", self.remove, _is_gone)

    def seconds_to_bound(self, name: str) -> float:
        """Makes one claim; gives the seconds from the request for it until it is Bound."""
        events = self._admin.watch(self._claims, resource_version=self._version(), timeout=_LIMIT_SECONDS)
        started = time.monotonic()
        self._make(name)
        for event in events:
            if event["object"]["metadata"]["name"] == name and _is_bound(event):
                return time.monotonic() - started
        raise TimeoutError(f"claim {name} was not bound within {_LIMIT_SECONDS:.0f} s")

    def _make(self, name: str) -> float:
        self._admin.create(self._claims, a_claim(name=name, namespace=self._name, storage_class=self._name))
        return time.monotonic()

    def remove(self, name: str) -> float:
        """Deletes one claim; gives the time of the answer, on the monotonic clock."""
        self._admin.delete(f"{self._claims}/{name}")
        return time.monotonic()

    def _version(self) -> str:
        return str(self._admin.get(f"{self._claims}?limit=1")["metadata"]["resourceVersion"])

    def seconds_to_bind(self, count: int) -> float:
        """Makes claims; gives the seconds from the first request for one until the last one is Bound."""
        return self._carry_out(self._events(count, self._version()), count, self._make, _is_bound)[0]

    def _run(
        self,
        provisioner: ProvisionerProcess,
        count: int,
        verb: str,
        ask: Callable[[str], float],
        is_done: Callable[[Event], bool],
    ) -> Run:
        version = self._version()
        before, metrics_before = settled_requests(self._cluster), provisioner.metrics()
        cpu_before, plane_before = cpu_seconds_of([provisioner.pid]), cpu_seconds_of(self._cluster.pids)
        # A watch is counted when it ends: this one with this function, after the counting.
        events = self._events(count, version)
        try:
            seconds, asking_seconds = self._carry_out(events, count, ask, is_done)
        except TimeoutError as error:
            error.add_note(f"the provisioner's last lines:\n{provisioner.log()[-2000:]}")
            raise
        wait_idle(provisioner)
        cpu_seconds = cpu_seconds_of([provisioner.pid]) - cpu_before
        plane_seconds = cpu_seconds_of(self._cluster.pids) - plane_before
        metrics = provisioner.metrics()
        requests = settled_requests(self._cluster) - before
        requests[verb, "objectbucketclaims"] -= count  # ours
        return Run(
            claims=count,
            seconds=seconds,
            asking_seconds=asking_seconds,
            requests=+requests,
            reconciles=int(metric(metrics, RECONCILES) - metric(metrics_before, RECONCILES)),
            cpu_seconds=cpu_seconds,
            control_plane_seconds=plane_seconds,
        )

    def _events(self, count: int, version: str) -> Iterator[Event]:
        return self._admin.watch(self._claims, resource_version=version, timeout=_limit(count))

    def _carry_out(
        self, events: Iterator[Event], count: int, ask: Callable[[str], float], is_done: Callable[[Event], bool]
    ) -> tuple[float, float]:
        """Asks something of so many claims; gives the seconds until all are done, and until all were asked."""
        names = [f"claim-{number}" for number in range(count)]
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
        if waiting:
            one = min(waiting)
            status = (self._admin.find(f"{self._claims}/{one}") or {}).get("status")
            raise TimeoutError(
                f"{len(waiting)} of {count} claims were not done within {_limit(count):.0f} s; {one} says {status}"
            )
        return seconds, max(each.result() for each in asked) - started


def _limit(count: int) -> float:
    return _LIMIT_SECONDS + count * _SLOWEST


def _is_bound(event: Event) -> bool:
    return bool(event["object"].get("status", {}).get("phase") == "Bound")


def _is_gone(event: Event) -> bool:
    return bool(event["type"] == "DELETED")


def wait_idle(provisioner: ProvisionerProcess, *, reconciles: int = 0, seconds: float = _LIMIT_SECONDS) -> None:
    """Waits until a provisioner has reconciled so many claims, and has nothing left to do, now or later.

    Raises:
        TimeoutError: it goes on and on.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        text = provisioner.metrics()
        done = metric(text, RECONCILES)
        if done >= reconciles and not metric(text, "libbucket_queue_keys"):
            return
        time.sleep(_POLL)
    raise TimeoutError(f"the provisioner still works after {seconds:.0f} s")


def metric(text: str, name: str) -> float:
    """Sum over all samples of a metric, whatever their labels."""
    families = text_string_to_metric_families(text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)
