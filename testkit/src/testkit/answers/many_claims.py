"""Measures how long many new claims take that come at once, on a store in memory with its delays and a turned clock.

    python -m testkit.answers.many_claims --store gcs-slow --claims 500

The real core, the real provisioner, and several workers by the clock: each reconcile holds one for as long as its
requests take (`testkit.resilience.wire`). What it costs the processor is left out, and so are the limits per class and
namespace.
"""

from __future__ import annotations

import argparse
import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from testkit.answers import trials
from testkit.answers.registry import ADAPTERS
from testkit.answers.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from testkit.answers.simulation import Simulation

WORKERS: Final = 8
"""Fewer than a provisioner may have: Google's rate is the limit, not their number."""
_LONGEST: Final = 6 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came of it.

    Attributes:
        bound_after: seconds from the creation of all claims until each was bound, in rising order.
        reconciles: how many there were.
    """

    bound_after: Sequence[float]
    reconciles: int


def measure(store: str, *, claims: int, workers: int = WORKERS) -> Measured:
    """Creates claims at once and reconciles them until all are bound.

    Args:
        store: as in `--store`.
        claims: how many.
        workers: how many reconcile at once.
    """
    with ADAPTERS[store]() as adapter, trials.environment(adapter) as environment, environment.simulation() as made:
        made.create_class("tested")
        names = [environment.next_name() for _ in range(claims)]
        keys = [
            made.create_claim(each, namespace="shop", storage_class="tested", generateBucketName="photos")
            for each in names
        ]
        waiting = {each: Subject(made, each) for each in keys}
        return _bound(made, waiting, workers=workers)


def _bound(simulation: Simulation, waiting: dict[str, Subject], *, workers: int) -> Measured:
    begin, bound, free = simulation.now, [], [simulation.now] * workers
    while waiting and simulation.now - begin < _LONGEST:
        found = simulation.reconcile_next(not_before=heapq.heappop(free))
        assert found is not None, f"claims wait for nothing, such as {next(iter(waiting))}"
        key, end = found
        heapq.heappush(free, end)
        if key in waiting and waiting[key].is_bound:
            del waiting[key]
            bound.append(end - begin)
    assert not waiting, f"{len(waiting)} claims were never bound: {next(iter(waiting.values())).message}"
    return Measured(bound_after=sorted(bound), reconciles=len(simulation.history))


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="many_claims", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", choices=sorted(ADAPTERS), default="gcs-slow")
    parser.add_argument("--claims", type=int, default=500)
    parser.add_argument("--workers", type=int, default=WORKERS)
    chosen = parser.parse_args()
    found = measure(chosen.store, claims=chosen.claims, workers=chosen.workers)
    after = found.bound_after
    middle, last = after[len(after) // 2] / 60, after[-1] / 60
    print(
        f"{chosen.claims} claims of {chosen.store} with {chosen.workers} workers: the first is bound after "
        f"{after[0] / 60:.1f} minutes, half after {middle:.1f}, all after {last:.1f}; "
        f"{found.reconciles / chosen.claims:.1f} reconciles for each"
    )


if __name__ == "__main__":
    main()
