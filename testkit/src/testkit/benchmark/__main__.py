"""Measures the core on a real API server, beside a provisioner on the Go library: `nox -s bench -- --quick`.

Speed, what a claim costs the API server, memory, restart and upgrade, active replicas, adaptive limits, and requests to
each store. Times are of this machine, now, with the API server on the same processors; what can be compared between
machines are the counts and the ratios.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from libbucket.testing.binaries import kubernetes_version
from libbucket.testing.controlplane import control_plane
from libbucket.testing.problems import SetupFailed
from testkit.benchmark import measure, replicas, simulations
from testkit.benchmark.ceiling import claims_per_second, cpu_milliseconds_by_write
from testkit.benchmark.many import many as with_many
from testkit.benchmark.report import Results, as_json, tables, write_page
from testkit.benchmark.store_requests import requests_by_verb
from testkit.benchmark.subjects import OURS, go_peer
from testkit.repository import CRDS, ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = ROOT / "docs/performance.md"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured.

    Attributes:
        claims: of a burst.
        rounds: of each provisioner, in turns.
        many: claims to keep, for memory, restart and upgrade.
        replicated: claims of a burst that several replicas share.
        cached: numbers of claims in the caches of a process, by simulation.
    """

    claims: int
    rounds: int
    many: int
    replicated: int
    cached: tuple[int, ...]


_FULL: Final = Sizes(claims=300, rounds=5, many=10_000, replicated=480, cached=(10_000, 100_000))
_QUICK: Final = Sizes(claims=100, rounds=2, many=1000, replicated=160, cached=(10_000,))


def run(sizes: Sizes, *, with_peer: bool, console: Console) -> Results:
    """Measures all, one after the other."""
    with console.status("building what is missing") as status, control_plane(crds=[CRDS], controllers=False) as cluster:
        say, claims = status.update, sizes.claims
        subjects = [OURS, go_peer()] if with_peer else [OURS]
        compared = measure.compare(cluster, subjects, rounds=sizes.rounds, claims=claims, say=say)
        say("the ceiling: what the control plane allows")
        ceiling = claims_per_second(cluster, claims)
        say("the control plane's part, write by write")
        writes, watched = (cpu_milliseconds_by_write(cluster, claims, watched=each) for each in (False, True))
        many = with_many(cluster, sizes.many, say)
        replicated = replicas.on_cluster(cluster, sizes.replicated, say)
        say("requests to the stores")
        store_requests = requests_by_verb()
    with console.status("without an API server") as status:
        return Results(
            rounds=compared,
            claims=claims,
            ceiling=ceiling,
            writes=writes,
            watched_writes=watched,
            many=many,
            replicas=replicated,
            replicas_on_stubs=replicas.on_stubs(sizes.replicated, status.update),
            adapted=simulations.adapted(status.update),
            cached=simulations.cached(sizes.cached, status.update),
            store_requests=store_requests,
            load_average=measure.load_average(),
            kubernetes=kubernetes_version(),
        )


def show(results: Results, console: Console) -> None:
    """Draws the tables."""
    for title, (header, rows) in tables(results).items():
        table = Table(*header, title=title, box=SIMPLE)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(f"load average: {results.load_average:.1f}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, shows, and writes; 1 if something failed."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description="Measures the core on a real API server.")
    parser.add_argument("--quick", action="store_true", help="fewer claims and rounds, in about five minutes")
    parser.add_argument("--claims", type=int, help="of a burst [300; quick: 100]")
    parser.add_argument("--rounds", type=int, help="of each provisioner, in turns [5; quick: 2]")
    parser.add_argument("--many", type=int, help="to keep, for memory, restart and upgrade [10000; quick: 1000]")
    parser.add_argument("--alone", action="store_true", help="without the provisioner on the Go library")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results there, too")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and its plot")
    chosen = parser.parse_args(arguments)
    console = Console()
    usual = _QUICK if chosen.quick else _FULL
    given = {name: value for name in ("claims", "rounds", "many") if (value := getattr(chosen, name))}
    try:
        results = run(replace(usual, **given), with_peer=not chosen.alone, console=console)
    except (SetupFailed, TimeoutError) as error:
        print(f"nothing was measured: {error}")
        return 1
    show(results, console)
    if chosen.json is not None:
        chosen.json.write_text(as_json(results))
    if chosen.write:
        write_page(results, PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
