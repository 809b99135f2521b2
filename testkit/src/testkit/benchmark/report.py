"""Results as tables: on the terminal, as the measured part of `docs/performance.md`, and as a plot.

Knows what was measured, and not how.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import textwrap
from dataclasses import dataclass, fields, is_dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from testkit.benchmark.measure import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from testkit.benchmark.load import Run
    from testkit.benchmark.measure import Many, Round

_BEGIN: Final = "<!-- measured: begin; written by nox -s bench -->"
_COLUMNS: Final = 120
_END: Final = "<!-- measured: end -->"


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that is measured.

    Attributes:
        rounds: by provisioner.
        claims: of each burst.
        ceiling: claims per second that the control plane allows.
        writes: processor time of the control plane for each write of a claim, in milliseconds.
        watched_writes: the same with the watches of a provisioner.
        many: the core with many claims.
        store_requests: by store and flow.
        load_average: of the minute before the end.
    """

    rounds: Mapping[str, Sequence[Round]]
    claims: int
    ceiling: float
    writes: Mapping[str, float]
    watched_writes: Mapping[str, float]
    many: Many
    store_requests: Mapping[str, Mapping[str, int]]
    load_average: float


Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Header and rows."""


def tables(results: Results) -> dict[str, Table]:
    """By their titles."""
    names = tuple(results.rounds)
    return {
        f"Bursts of {results.claims} claims, store in memory": (("figure", *names), list(_compared(results))),
        f"{results.many.bound.claims:,} claims in one namespace": (("figure", "libbucket"), list(_many(results.many))),
        "Where the processor time of the control plane goes, ms": (
            ("write", "without watches", "with those of a provisioner"),
            list(_costs(results)),
        ),
        "Requests to the API server, per claim": (("request", *names), list(_requests(results))),
        "Requests to the store": (
            ("verb", *results.store_requests),
            [
                (flow, *(str(counts[flow]) for counts in results.store_requests.values()))
                for flow in next(iter(results.store_requests.values()))
            ],
        ),
    }


def _compared(results: Results) -> Iterator[tuple[str, ...]]:
    def row(what: str, of: Callable[[Round], float], digits: int = 1) -> tuple[str, ...]:
        spreads = [Spread.of([of(each) for each in rounds]) for rounds in results.rounds.values()]
        return what, *(f"{one.median:.{digits}f} ({one.least:.{digits}f} to {one.most:.{digits}f})" for one in spreads)

    yield row("bound, claims/s", lambda one: one.bound.rate)
    yield row("deleted, claims/s", lambda one: one.deleted.rate)
    yield row("one claim, idle, median, ms", lambda one: statistics.median(one.seconds_to_bound) * 1000, 0)
    yield row("one claim, idle, slowest of 12, ms", lambda one: max(one.seconds_to_bound) * 1000, 0)
    yield row("requests to bind", lambda one: one.bound.requests_per_claim)
    yield row("requests to delete", lambda one: one.deleted.requests_per_claim)
    yield row("control plane, CPU ms to bind", lambda one: _plane_milliseconds(one.bound))
    yield row("control plane, CPU ms to delete", lambda one: _plane_milliseconds(one.deleted))
    yield row("provisioner, CPU ms to bind", lambda one: one.bound.cpu_seconds / one.bound.claims * 1000)
    yield row("provisioner, CPU ms to delete", lambda one: one.deleted.cpu_seconds / one.deleted.claims * 1000)
    yield row("memory, idle, MiB", lambda one: one.idle.mebibytes, 0)
    shares = [Spread.of([each.bound.rate for each in rounds]).median for rounds in results.rounds.values()]
    yield "share of the ceiling", *(f"{share / results.ceiling:.0%} of {results.ceiling:.1f}" for share in shares)


def _many(many: Many) -> Iterator[tuple[str, str]]:
    restart, bound = many.restart, many.bound
    yield "bound, claims/s", f"{bound.rate:.1f}"
    yield "requests to bind", f"{bound.requests_per_claim:.2f}"
    yield "memory, idle", f"{many.idle.mebibytes:.0f} MiB, {many.idle.threads} threads"
    yield "memory, all bound", f"{many.size.mebibytes:.0f} MiB, {many.size.threads} threads"
    yield "restart: ready after", f"{restart.ready_seconds:.1f} s"
    yield "restart: a new claim is bound after", f"{restart.new_claim_seconds:.1f} s more"
    yield "restart: all reconciled after", f"{restart.idle_seconds:.1f} s"
    yield "restart: CPU of the provisioner", f"{restart.cpu_seconds:.1f} s"
    yield "restart: calls to the store", str(restart.store_calls)
    yield "restart: memory", f"{restart.size.mebibytes:.0f} MiB"


def _plane_milliseconds(run: Run) -> float:
    return run.control_plane_seconds / run.claims * 1000


def _costs(results: Results) -> Iterator[tuple[str, ...]]:
    for name, alone in results.writes.items():
        yield name, f"{alone:.1f}", f"{results.watched_writes[name]:.1f}"
    yield "all", f"{sum(results.writes.values()):.1f}", f"{sum(results.watched_writes.values()):.1f}"


def _requests(results: Results) -> Iterator[tuple[str, ...]]:
    columns = [_request_counts(rounds) for rounds in results.rounds.values()]
    for kind in sorted({kind for column in columns for kind in column}):
        yield kind, *(f"{column.get(kind, 0):.2f}".rstrip("0").rstrip(".") for column in columns)


def _request_counts(rounds: Sequence[Round]) -> dict[str, float]:
    counts: dict[str, float] = {}
    for verb in ("bound", "deleted"):
        runs = [getattr(each, verb) for each in rounds]
        claims = sum(run.claims for run in runs)
        for kind in {kind for run in runs for kind in run.requests}:
            counts[f"{verb}: {' '.join(kind)}"] = sum(run.requests[kind] for run in runs) / claims
    return counts


def as_markdown(results: Results, plot: str) -> str:
    """The measured part of the page."""
    parts = [_machine(results), f"![Claims per second, and processor time of the control plane per claim]({plot})"]
    for title, (header, rows) in tables(results).items():
        lines = [f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *rows)]
        parts.append("\n".join([f"### {title}", "", *lines]))
    return "\n\n".join(parts)


def _machine(results: Results) -> str:
    load, python = f"{results.load_average:.1f}", platform.python_version()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("libbucket", "urllib3", "msgspec"))
    text = (
        f"Medians of {len(next(iter(results.rounds.values())))} rounds in turns, with the lowest and the highest. "
        f"{os.cpu_count()} processors ({platform.machine()}), shared by the control plane, the provisioner and the "
        f"author of the claims; load average {load}; Python {python}, {versions}. "
        "The ceiling is the same requests by bare clients, with the same watches."
    )
    return textwrap.fill(text, _COLUMNS)


def write_page(results: Results, page: Path) -> None:
    """Replaces the measured part of a page, and draws the plot beside it."""
    before, _, rest = page.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    plot = page.with_suffix(".svg")
    draw(results, plot)
    page.write_text(f"{before}{_BEGIN}\n\n{as_markdown(results, plot.name)}\n\n{_END}{after}")


def draw(results: Results, path: Path) -> None:
    """Bars with the spread of the rounds, as SVG or PNG."""
    import matplotlib as mpl

    mpl.use("svg" if path.suffix == ".svg" else "Agg")
    mpl.rcParams["svg.hashsalt"] = "libbucket"  # the same picture for the same figures
    from matplotlib import pyplot as plt

    panels: dict[str, Callable[[Round], float]] = {
        "bound, claims/s": lambda one: one.bound.rate,
        "deleted, claims/s": lambda one: one.deleted.rate,
        "control plane, CPU ms to bind": lambda one: _plane_milliseconds(one.bound),
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(9, 3))
    for axis, (title, of) in zip(axes, panels.items(), strict=True):
        spreads = [Spread.of([of(each) for each in rounds]) for rounds in results.rounds.values()]
        errors = [[one.median - one.least for one in spreads], [one.most - one.median for one in spreads]]
        axis.bar(list(results.rounds), [one.median for one in spreads], yerr=errors, color=["#3b6ea5", "#9aa5b1"])
        axis.set_title(title, fontsize=9)
        axis.set_ylim(bottom=0)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def as_json(results: Results) -> str:
    """The same for machines."""
    return json.dumps(_plain(results), indent=2) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {" ".join(key) if isinstance(key, tuple) else key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
