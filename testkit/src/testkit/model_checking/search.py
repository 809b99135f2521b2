"""Goes through every state that can be reached, once each, and checks each of them.

Depth first, over hashes of states. Each state's fair way on is one of its own moves, so that after the search it is
enough to follow these ways: each must end in a quiet state, and none may go round.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from testkit.model_checking.core import forget_everything
from testkit.model_checking.moves import fair, moves
from testkit.quiet import quietly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from testkit.api_server import Cluster
    from testkit.model_checking.invariants import Invariant
    from testkit.model_checking.moves import Move, Rules
    from testkit.model_checking.object_store import Store
    from testkit.model_checking.state import State

QUIET: Final = "ends quiet"
"""The name of the invariant about fair runs, which is kept by ways and not by single states."""


@dataclass(frozen=True, kw_only=True)
class Violation:
    """What broke, and how to get there."""

    invariant: str
    why: str
    steps: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.invariant}: {self.why}", *(f"  {n:3} {step}" for n, step in enumerate(self.steps, 1))]
        return "\n".join(lines)


@dataclass(kw_only=True)
class Found:
    """What a search came to."""

    states: int = 0
    moves: int = 0
    quiet: int = 0
    seconds: float = 0.0
    is_complete: bool = True
    violations: list[Violation] = field(default_factory=list)


def _of_move(way: Move, one: Invariant) -> str:
    return one.of_move(way)


class Search:
    """One search from one state.

    Args:
        rules: of the moves.
        invariants: that are checked.
        limit: states, after which it gives up and says so.
    """

    def __init__(self, rules: Rules, invariants: Sequence[Invariant], *, limit: int) -> None:
        self._rules = rules
        self._invariants = invariants
        self._limit = limit
        self._origin: dict[State, tuple[State | None, str]] = {}
        self._fair: dict[State, State | None] = {}
        self._seen: set[tuple[Cluster, Store, frozenset[str], bool]] = set()
        self._found = Found()

    def run(self, start: State) -> Found:
        """Searches until everything was seen, or something broke."""
        began = time.process_time()
        forget_everything()
        with quietly():
            self._explore(start)
            if not self._found.violations:
                self._follow_the_fair_ways()
        self._found.states = len(self._fair)
        self._found.seconds = time.process_time() - began
        return self._found

    def _explore(self, start: State) -> None:
        self._origin[start] = (None, "")
        left = [start]
        while left and not self._found.violations:
            if len(self._fair) >= self._limit:
                self._found.is_complete = False
                return
            left += self._visit(left.pop())

    def _visit(self, state: State) -> Iterator[State]:
        ways = list(moves(state, self._rules))
        self._found.moves += len(ways)
        on = fair(ways)
        self._fair[state] = on.after if on is not None else None
        # Many states differ only in the core's own work, which no invariant reads.
        seen = (state.cluster, state.store, state.facts, on is None)
        if seen not in self._seen:
            self._seen.add(seen)
            self._check(state, lambda one: one.of_state(state, is_quiet=on is None), "")
        for way in ways:
            self._check(state, partial(_of_move, way), way.says)
            if way.after not in self._origin:
                self._origin[way.after] = (state, way.says)
                yield way.after

    def _check(self, state: State, check: Callable[[Invariant], str], says: str) -> None:
        for one in self._invariants:
            if self._found.violations:
                return
            if why := check(one):
                steps = (*self._steps_to(state), *([says] if says else ()))
                self._found.violations.append(Violation(invariant=one.name, why=why, steps=steps))

    def _steps_to(self, state: State) -> list[str]:
        steps: list[str] = []
        at: State | None = state
        while at is not None:
            at, says = self._origin[at]
            steps.append(says)
        return [step for step in reversed(steps) if step]

    def _follow_the_fair_ways(self) -> None:
        """Follows the fair way on from every state, until it is quiet."""
        ends: set[State] = set()
        for start in self._fair:
            way: dict[State, None] = {}
            at: State | None = start
            while at is not None and at not in ends:
                if at in way:
                    steps = (*self._steps_to(at), "and round again, for ever")
                    self._found.violations.append(Violation(invariant=QUIET, why="never quiet", steps=steps))
                    return
                way[at] = None
                at = self._fair.get(at)  # None: quiet, or beyond the limit of this search
            ends |= way.keys()
        self._found.quiet = sum(after is None for after in self._fair.values())
