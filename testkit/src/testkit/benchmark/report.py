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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from testkit.benchmark.measure import Spread
from testkit.benchmark.subjects import go_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from matplotlib.axes import Axes

    from testkit.benchmark.load import Run
    from testkit.benchmark.many import Many, Restart
    from testkit.benchmark.measure import Round
    from testkit.benchmark.replicas import Replicas
    from testkit.benchmark.simulations import Adapted, Cached

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
        replicas: several active ones on the API server.
        replicas_on_stubs: each with a stub of one.
        adapted: what the core gets from stores that throttle.
        cached: caches with very many claims.
        store_requests: by store and flow.
        load_average: of the minute before the end.
        kubernetes: version of the control plane.
    """

    rounds: Mapping[str, Sequence[Round]]
    claims: int
    ceiling: float
    writes: Mapping[str, float]
    watched_writes: Mapping[str, float]
    many: Many
    replicas: Sequence[Replicas]
    replicas_on_stubs: Sequence[Replicas]
    adapted: Sequence[Adapted]
    cached: Sequence[Cached]
    store_requests: Mapping[str, Mapping[str, int]]
    load_average: float
    kubernetes: str


Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Header and rows."""


def tables(results: Results) -> dict[str, Table]:
    """By their titles."""
    names = tuple(results.rounds)
    stores = results.store_requests
    verbs = next(iter(stores.values()))
    return {
        f"Bursts of {results.claims} claims, store in memory": (("figure", *names), list(_compared(results))),
        f"{results.many.bound.claims:,} claims in one namespace": (
            ("figure", "bound", "restart", "upgrade"),
            list(_many(results.many)),
        ),
        "Active replicas": (
            (
                "API server",
                "replicas",
                "claims/s",
                "times one",
                "fullest share",
                "CPU ms a claim",
                "MiB of the largest",
            ),
            [*_replicas("real", results.replicas), *_replicas("stub", results.replicas_on_stubs)],
        ),
        "Adaptive limits: claims per second, in virtual time": (
            ("seconds of a call", *(f"store takes {each}/s" for each in _limits(results.adapted))),
            list(_adapted(results.adapted)),
        ),
        "Very many claims: caches of one process, by simulation": (
            ("figure", *(f"{each.claims:,} claims" for each in results.cached)),
            list(_cached(results.cached)),
        ),
        "Where the processor time of the control plane goes, ms": (
            ("write", "without watches", "with those of a provisioner"),
            list(_costs(results)),
        ),
        "Requests to the API server, per claim": (("request", *names), list(_requests(results))),
        "Requests to the store": (
            ("verb", *stores),
            [(flow, *(str(counts[flow]) for counts in stores.values())) for flow in verbs],
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


def _many(many: Many) -> Iterator[tuple[str, ...]]:
    bound, starts = many.bound, (many.restart, many.upgrade)

    def row(what: str, of: Callable[[Restart], str], at_first: str = "") -> tuple[str, ...]:
        return what, at_first, *(of(each) for each in starts)

    yield "claims/s", f"{bound.rate:.1f}", "", ""
    yield "memory, idle", f"{many.idle.mebibytes:.0f} MiB, {many.idle.threads} threads", "", ""
    yield row("memory, all bound", lambda one: f"{one.size.mebibytes:.0f} MiB", f"{many.size.mebibytes:.0f} MiB")
    yield row("ready after", lambda one: f"{one.ready_seconds:.1f} s")
    yield row("a new claim is bound after", lambda one: f"{one.new_claim_seconds:.1f} s more")
    yield row("all reconciled after", lambda one: f"{one.idle_seconds:.1f} s", f"{bound.seconds:.1f} s")
    yield row("CPU of the provisioner", lambda one: f"{one.cpu_seconds:.1f} s", f"{bound.cpu_seconds:.1f} s")
    yield row("calls to the store", lambda one: str(one.store_calls), str(bound.claims))
    yield row(
        "requests to the API server, per claim",
        lambda one: f"{one.requests.total() / bound.claims:.2f}",
        f"{bound.requests_per_claim:.2f}",
    )


def _replicas(api_server: str, found: Sequence[Replicas]) -> Iterator[tuple[str, ...]]:
    for each in found:
        yield (
            api_server,
            str(each.replicas),
            f"{each.rate:.1f}",
            f"{each.rate / found[0].rate:.2f}",
            f"{each.fullest_share} of {each.claims}",
            f"{each.cpu_seconds / each.claims * 1000:.1f}",
            f"{each.mebibytes:.0f}" if each.mebibytes else "",
        )


def _limits(found: Sequence[Adapted]) -> list[float]:
    return sorted({each.per_second for each in found})


def _adapted(found: Sequence[Adapted]) -> Iterator[tuple[str, ...]]:
    for latency in sorted({each.latency for each in found}):
        row = sorted((each for each in found if each.latency == latency), key=lambda each: each.per_second)
        yield (
            f"{latency:.2f}",
            *(f"{one.bound:.1f} ({one.bound / one.per_second:.0%}), {one.throttled:.1f} refused" for one in row),
        )


def _cached(found: Sequence[Cached]) -> Iterator[tuple[str, ...]]:
    def row(what: str, of: Callable[[Cached], str]) -> tuple[str, ...]:
        return what, *(of(each) for each in found)

    yield row("memory, idle", lambda one: f"{one.idle_mebibytes:.0f} MiB")
    yield row("memory, all in caches and queue", lambda one: f"{one.mebibytes:.0f} MiB")
    yield row("a claim", lambda one: f"{(one.mebibytes - one.idle_mebibytes) / one.claims * 1024:.2f} KiB")
    yield row("of these, packed objects", lambda one: f"{sum(one.bytes_by_cache.values()) / 1024:.2f} KiB")
    yield row("CPU to fill the caches", lambda one: f"{one.fill_seconds:.1f} s")
    yield row("CPU to fill the queue", lambda one: f"{one.queue_seconds:.1f} s")
    yield row("CPU to reconcile an unchanged claim", lambda one: f"{one.settled_microseconds:.0f} µs")


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
        f"{os.cpu_count()} processors ({_processor()}), shared by the control plane, the provisioner and the "
        f"author of the claims; load average {load}; Kubernetes {results.kubernetes}; Python {python}, {versions}; "
        f"{go_versions()}. The ceiling is the same requests by bare clients, with the same watches."
    )
    return textwrap.fill(text, _COLUMNS, break_on_hyphens=False)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {platform.machine()}" if names else platform.machine()


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
    figure, axes = plt.subplots(2, len(panels), figsize=(9, 6))
    for axis, (title, of) in zip(axes[0], panels.items(), strict=True):
        spreads = [Spread.of([of(each) for each in rounds]) for rounds in results.rounds.values()]
        errors = [[one.median - one.least for one in spreads], [one.most - one.median for one in spreads]]
        axis.bar(list(results.rounds), [one.median for one in spreads], yerr=errors, color=["#3b6ea5", "#9aa5b1"])
        axis.set_title(title, fontsize=9)
    _draw_scale(results, *axes[1])
    for axis in axes.flat:
        axis.set_ylim(bottom=0)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _draw_scale(results: Results, replicas: Axes, adapted: Axes, cached: Axes) -> None:
    """Lines: claims per second by replicas, the part of a store's limit that is used, memory by claims."""
    for label, found in (("real API server", results.replicas), ("stubs", results.replicas_on_stubs)):
        replicas.plot([each.replicas for each in found], [each.rate for each in found], marker="o", label=label)
    replicas.set_title("claims/s by replicas, store of 0.5 s", fontsize=9)
    for per_second in _limits(results.adapted):
        row = [each for each in results.adapted if each.per_second == per_second]
        shares = [each.bound / each.per_second * 100 for each in row]
        adapted.plot([each.latency for each in row], shares, marker="o", label=f"takes {per_second}/s")
    adapted.set_title("% of a store's limit, by seconds of a call", fontsize=9)
    cached.plot(
        [each.claims / 1000 for each in results.cached], [each.mebibytes for each in results.cached], marker="o"
    )
    cached.set_title("MiB by thousands of bound claims", fontsize=9)
    for axis in (replicas, adapted):
        axis.legend(fontsize=7)


def as_json(results: Results) -> str:
    """The same for machines."""
    return json.dumps(_plain(results), indent=2) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {" ".join(key) if isinstance(key, tuple) else key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
