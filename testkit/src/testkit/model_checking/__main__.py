"""Explores the protocol up to a bound, and prints one line: `python -m testkit.model_checking --bound 2`.

Bound 1 is what plain `nox` explores. A higher one lets more go wrong in each scenario: that many times as many deaths,
lost answers and changes of the leader; and from 2 on every watch may be late.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from testkit.model_checking.invariants import INVARIANTS
from testkit.model_checking.scenarios import ALL, SCENARIOS
from testkit.model_checking.search import Found, Search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from testkit.model_checking.scenarios import Scenario

LIMIT: Final = 50_000
"""States of one scenario, after which it counts as not complete."""


def with_bound(scenario: Scenario, bound: int) -> Scenario:
    """The same scenario, with more that may go wrong."""
    start = scenario.start
    start = replace(
        start, crashes=start.crashes * bound, losses=start.losses * bound, handovers=start.handovers * bound
    )
    return replace(scenario, start=start, lagging=scenario.lagging if bound == 1 else ALL)


def explore(scenario: Scenario, *, limit: int = LIMIT) -> Found:
    """Everything that can happen in a scenario."""
    return Search(scenario.rules, INVARIANTS, limit=limit).run(scenario.first)


def main(arguments: Sequence[str]) -> int:
    """Explores, and gives the exit code: 1 where an invariant was violated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bound", type=int, default=1, help="how much may go wrong (1)")
    parser.add_argument("--limit", type=int, default=LIMIT, help=f"states of one scenario, at most ({LIMIT})")
    parser.add_argument("--scenario", help="only this one")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each scenario, too")
    given = parser.parse_args(arguments)
    chosen = [one for one in SCENARIOS if given.scenario in {None, one.name}]
    if not chosen:
        parser.error(f"no scenario {given.scenario!r}; there are: {', '.join(one.name for one in SCENARIOS)}")
    found: list[Found] = []
    for scenario in chosen:
        found.append(explore(with_bound(scenario, given.bound), limit=given.limit))
        if given.verbose:
            print(f"{scenario.name:40}", _figures(found[-1:]), flush=True)
        for violation in found[-1].violations:
            print(f"in {scenario.name!r}: {violation}", flush=True)
    print(f"model: bound {given.bound}, {len(chosen)} scenarios,", _figures(found))
    return 1 if any(one.violations for one in found) else 0


def _figures(found: Sequence[Found]) -> str:
    cut = sum(not one.is_complete for one in found)
    parts = [
        f"{sum(one.states for one in found)} states",
        f"{sum(one.moves for one in found)} moves",
        f"{sum(one.quiet for one in found)} quiet ends",
        *([f"{cut} cut short"] if cut else []),
        f"{sum(one.seconds for one in found):.0f} s",
        f"violations: {sum(len(one.violations) for one in found)}",
    ]
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
