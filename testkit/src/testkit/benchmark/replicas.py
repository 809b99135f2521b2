"""Several active replicas (`--sharding`) that bind one burst of claims: on a real API server, and on stubs of it.

The store takes half a second for a call and each replica has few workers, so that a replica waits for the store: what
replicas are for. On stubs, one in each process, that is all there is; on a real API server the replicas, it and the
author of the claims share the processors. Draws nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from libbucket._controller.shards import SHARDS
from libbucket._kube.lease import lease_name
from testkit.benchmark.load import STORE_CALLS, Load, metric
from testkit.benchmark.processes import cpu_seconds_of, size_of
from testkit.benchmark.subjects import stateless

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from libbucket.testing.controlplane import ControlPlane
    from libbucket.testing.provisioner_process import ProvisionerProcess

COUNTS: Final = (1, 2, 4)
STORE_SECONDS: Final = 0.5
WORKERS: Final = 8
_DIVIDED_SECONDS: Final = 60.0
_POLL: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """A burst of claims and so many replicas.

    Attributes:
        replicas: how many.
        claims: how many.
        seconds: until the last one was bound.
        fullest_share: claims of the replica that has most: with few claims, the shares of the shards differ.
        cpu_seconds: of all replicas.
        mebibytes: of the largest; 0 where it is not measured.
    """

    replicas: int
    claims: int
    seconds: float
    fullest_share: int
    cpu_seconds: float
    mebibytes: float = 0.0

    @property
    def rate(self) -> float:
        """Claims per second."""
        return self.claims / self.seconds


def on_stubs(claims: int, say: Callable[[str], None], counts: Sequence[int] = COUNTS) -> list[Replicas]:
    """Each replica with an API server of its own, inside its process, that answers in a millisecond."""
    found = []
    for count in counts:
        say(f"{count} replicas, each with a stub of an API server")
        found.append(_on_stubs(claims, count))
    return found


def _on_stubs(claims: int, count: int) -> Replicas:
    fixed = ["--of", count, "--claims", claims, "--workers", WORKERS, "--store-seconds", STORE_SECONDS]
    command = [sys.executable, "-m", "testkit.benchmark.stub_replica", *map(str, fixed)]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, "--number", str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for number in range(count)
        ]
        for each in processes:
            stack.callback(each.kill)
        for each in processes:
            _line(each)  # it is ready
        for each in processes:
            assert each.stdin is not None
            each.stdin.write("begin\n")
            each.stdin.flush()
        figures = [json.loads(_line(each)) for each in processes]
    return Replicas(
        replicas=count,
        claims=claims,
        seconds=max(each["seconds"] for each in figures),
        fullest_share=max(each["claims"] for each in figures),
        cpu_seconds=sum(each["cpu_seconds"] for each in figures),
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise TimeoutError("a replica ended before it had measured anything")
    return line


def on_cluster(
    cluster: ControlPlane, claims: int, say: Callable[[str], None], counts: Sequence[int] = COUNTS
) -> list[Replicas]:
    """All on one real API server."""
    found = []
    for count in counts:
        say(f"{count} replicas on one API server")
        found.append(_on_cluster(cluster, claims, count))
    return found


def _on_cluster(cluster: ControlPlane, claims: int, count: int) -> Replicas:
    subject, name = stateless(store_seconds=STORE_SECONDS), f"replicas-{count}"
    provisioner = f"replicas-{count}.libbucket.io/bucket"
    load = Load(cluster, provisioner=provisioner, name=name)
    flags = ("--provisioner-name", provisioner, f"--workers={WORKERS}")
    elected = ("--leader-elect", "--leader-elect-namespace", name, "--sharding")
    # A Lease that was released is acquired at once; one that is created is not, for others may have served.
    lease = {"metadata": {"name": lease_name(provisioner), "namespace": name}, "spec": {"holderIdentity": ""}}
    cluster.admin.create(f"/apis/coordination.k8s.io/v1/namespaces/{name}/leases", lease)
    with ExitStack() as stack:
        processes = [stack.enter_context(subject.running(cluster, *flags, *elected)) for _ in range(count)]
        _wait_divided(processes)
        pids = [each.pid for each in processes]
        before = cpu_seconds_of(pids)
        seconds = load.seconds_to_bind(claims)
        cpu_seconds = cpu_seconds_of(pids) - before
        return Replicas(
            replicas=count,
            claims=claims,
            seconds=seconds,
            fullest_share=max(int(metric(each.metrics(), STORE_CALLS)) for each in processes),
            cpu_seconds=cpu_seconds,
            mebibytes=max(size_of(pid).mebibytes for pid in pids),
        )


def _wait_divided(processes: Sequence[ProvisionerProcess]) -> None:
    """Waits until all shards are served, by equal shares."""
    deadline = time.monotonic() + _DIVIDED_SECONDS
    while time.monotonic() < deadline:
        shares = [int(metric(each.metrics(), "libbucket_shards")) for each in processes]
        if sum(shares) == SHARDS and max(shares) - min(shares) <= 1:
            return
        time.sleep(_POLL)
    raise TimeoutError(f"the shards were not divided within {_DIVIDED_SECONDS:.0f} s: {shares}")
