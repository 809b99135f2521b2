"""Measures the core on a real API server, with the store in memory: `nox -s bench -- --json PATH`.

Speed, what a claim costs the API server, memory, and a restart. Times are of this machine, now, with the API server
beside the provisioner on the same processors; what can be compared between machines are the counts and the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from libbucket.testing.controlplane import control_plane
from libbucket.testing.problems import SetupFailed
from libbucket.testing.provisioner_process import provisioner_process
from testkit.benchmark.api_requests import settled_requests
from testkit.benchmark.load import STORE_CALLS, Load, Run, Size, metric, size_of, wait_idle
from testkit.repository import CRDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import ControlPlane
    from libbucket.testing.provisioner_process import ProvisionerProcess
    from testkit.benchmark.api_requests import Requests

_WARM_UP = 20
_FEW, _MANY = 1, 8


@dataclass(frozen=True, kw_only=True)
class Restart:
    """A provisioner that starts where everything is bound.

    Attributes:
        claims: how many are bound.
        ready_seconds: from the start of the process until `/readyz` says so.
        idle_seconds: from the start until every claim was reconciled and the queue is empty.
        store_calls: verbs called, by its metrics.
        requests: to the API server.
        size: afterwards.
    """

    claims: int
    ready_seconds: float
    idle_seconds: float
    store_calls: int
    requests: Requests
    size: Size


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that is measured."""

    few_workers: Run
    many_workers: Run
    idle: Size
    bound: Run
    deleted: Run
    many_bound: Run
    many: Size
    restart: Restart
    load_average: tuple[float, float, float]


def measure(cluster: ControlPlane, *, claims: int, many: int) -> Results:
    """Measures all, one after the other."""
    load = Load(cluster)
    with _provisioner(cluster) as provisioner:  # so that the first that counts does not pay for the API server's start
        load.bind(provisioner, _WARM_UP)
        load.delete(provisioner, _WARM_UP)
    few_workers, many_workers = (_with_workers(cluster, load, number, claims) for number in (_FEW, _MANY))
    with _provisioner(cluster) as provisioner:
        wait_idle(provisioner)
        idle = size_of(provisioner.pid)
        bound = load.bind(provisioner, claims)
        deleted = load.delete(provisioner, claims)
        many_bound = load.bind(provisioner, many)
        return Results(
            few_workers=few_workers,
            many_workers=many_workers,
            idle=idle,
            bound=bound,
            deleted=deleted,
            many_bound=many_bound,
            many=size_of(provisioner.pid),
            restart=_restart(cluster, provisioner, many),
            load_average=os.getloadavg(),
        )


@contextmanager
def _provisioner(cluster: ControlPlane, *arguments: str) -> Iterator[ProvisionerProcess]:
    command = [sys.executable, "-m", "libbucket.testing.memory", *arguments]
    with provisioner_process(command, kubeconfig=cluster.kubeconfig) as process:
        yield process


def _with_workers(cluster: ControlPlane, load: Load, number: int, claims: int) -> Run:
    with _provisioner(cluster, f"--workers={number}") as provisioner:
        run = load.bind(provisioner, claims)
        load.delete(provisioner, claims)
    return run


def _restart(cluster: ControlPlane, provisioner: ProvisionerProcess, claims: int) -> Restart:
    provisioner.stop()
    before = settled_requests(cluster)
    started = time.monotonic()
    provisioner.start()
    ready_seconds = time.monotonic() - started
    wait_idle(provisioner, reconciles=claims)
    idle_seconds = time.monotonic() - started
    return Restart(
        claims=claims,
        ready_seconds=ready_seconds,
        idle_seconds=idle_seconds,
        store_calls=int(metric(provisioner.metrics(), STORE_CALLS)),
        requests=settled_requests(cluster) - before,
        size=size_of(provisioner.pid),
    )


def show(results: Results) -> None:
    """Draws the tables."""
    console = Console()
    table = Table("what", "figure", title="The core, with the store in memory", box=SIMPLE)
    for what, figure in _figures(results):
        table.add_row(what, figure)
    console.print(table)
    console.print(_requests_table(results))


def _figures(results: Results) -> Iterator[tuple[str, str]]:
    few, many_workers, restart = results.few_workers, results.many_workers, results.restart
    per_claim = (results.many.mebibytes - results.idle.mebibytes) * 1024 / restart.claims
    for verb, run in (("bound", results.bound), ("deleted", results.deleted), ("bound", results.many_bound)):
        yield f"{run.claims} claims {verb}", f"{run.rate:.1f} claims/s"
        yield "  all were created after", f"{run.asking_seconds:.1f} s of {run.seconds:.1f} s"
        yield "  requests to the API server", f"{run.requests_per_claim:.2f} per claim"
        yield "  reconciles of a claim", f"{run.reconciles / run.claims:.2f} per claim"
        yield "  processor time of the provisioner", f"{run.cpu_seconds / run.claims * 1000:.1f} ms per claim"
    yield "memory, idle", _size(results.idle)
    yield f"memory, {restart.claims} claims bound", f"{_size(results.many)}; {per_claim:.1f} KiB per claim"
    yield f"restart with {restart.claims} claims bound", f"{restart.store_calls} calls to the store"
    yield "  requests to the API server", str(restart.requests.total())
    yield "  ready", f"{restart.ready_seconds:.2f} s"
    yield "  every claim reconciled", f"{restart.idle_seconds:.2f} s"
    yield "  memory", _size(restart.size)
    yield f"{_FEW} worker, {few.claims} claims bound", f"{few.rate:.1f} claims/s"
    yield f"{_MANY} workers, {many_workers.claims} claims bound", f"{many_workers.rate:.1f} claims/s"
    yield f"  {_MANY} workers to {_FEW}", f"{many_workers.rate / few.rate:.2f} times as fast"
    yield "load average at the end", ", ".join(f"{each:.1f}" for each in results.load_average)


def _size(size: Size) -> str:
    return f"{size.mebibytes:.1f} MiB, {size.threads} threads"


def _requests_table(results: Results) -> Table:
    bound, deleted, restart = results.bound, results.deleted, results.restart
    table = Table("verb", "resource", title="Requests to the API server", box=SIMPLE, show_footer=True)
    rows = sorted({*bound.requests, *deleted.requests, *restart.requests}, key=lambda kind: (kind[1], kind[0]))
    for name, requests, share in (
        ("a claim\nbound", bound.requests, bound.claims),
        ("a claim\ndeleted", deleted.requests, deleted.claims),
        ("a\nrestart", restart.requests, 1),
    ):
        table.add_column(name, _count(requests.total(), share), justify="right")
    for kind in rows:
        counts = [
            _count(bound.requests[kind], bound.claims),
            _count(deleted.requests[kind], deleted.claims),
            _count(restart.requests[kind], 1),
        ]
        table.add_row(*kind, *counts)
    return table


def _count(number: int, share: int) -> str:
    return f"{number / share:.2f}" if number % share else str(number // share or "")


def as_json(results: Results) -> str:
    """The same for machines."""
    return json.dumps(_plain(results), indent=2) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Counter):
        return {" ".join(kind): number for kind, number in sorted(value.items())}
    return value


def main() -> int:
    """Measures, shows, and writes; 1 if something failed."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description="Measures the core on a real API server.")
    parser.add_argument("--claims", type=int, default=300, help="how many to bind and delete [300]")
    parser.add_argument("--many", type=int, default=1000, help="how many to keep, for memory and restart [1000]")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results there, too")
    arguments = parser.parse_args()
    try:
        with control_plane(crds=[CRDS], controllers=False) as cluster:
            results = measure(cluster, claims=arguments.claims, many=arguments.many)
    except (SetupFailed, TimeoutError) as error:
        print(f"nothing was measured: {error}")
        return 1
    show(results)
    if arguments.json is not None:
        arguments.json.write_text(as_json(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
