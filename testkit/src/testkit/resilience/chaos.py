"""Runs the resilience tests and reports what was seen: `nox -s chaos`.

    python -m testkit.resilience.chaos                         all parts, over all stores
    python -m testkit.resilience.chaos crash --store minio     one part, one store
    python -m testkit.resilience.chaos --replay crash/minio/bind/kill@7

A progress line while it runs; for each violation its seed and its steps; at the end one table, and `violations: N`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from testkit.answers.registry import ADAPTERS
from testkit.answers.sweep import Answers, table_of_invariants
from testkit.resilience.crash import Crash
from testkit.resilience.outages import Outages
from testkit.resilience.replicas import Replicas
from testkit.resilience.tenant_isolation import TenantIsolation
from testkit.resilience.trials import Choice, Group, Part, Result, carry_out
from testkit.stores import STORES

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTS: Final[tuple[Part, ...]] = (Crash(), TenantIsolation(), Replicas(), Outages(), Answers())
_TOLD_ONE_BY_ONE: Final = frozenset({TenantIsolation.name, Outages.name, Replicas.name})
"""Parts whose trials are each a sentence of their own: what was tried, what was expected, what was seen."""

_LANES: Final = 2
"""As many groups at the same time as there are processors on a small machine."""

_SAY_SECONDS: Final = 20.0


class Run:
    """The selected trials and their results.

    Args:
        choice: which trials.
        console: where the progress and the violations are shown.
    """

    def __init__(self, choice: Choice, console: Console) -> None:
        self.choice = choice
        self.results: list[Result] = []
        self._console = console
        self._said = time.monotonic()
        self._lock = threading.Lock()
        self._interrupted = threading.Event()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("chaos", total=None)

    def carry_out(self, parts: Sequence[Part]) -> None:
        """Runs all trials of these parts, some groups at a time; Ctrl-C or SIGTERM end it after the trials that run."""
        with self._progress:
            for part in parts:
                with ThreadPoolExecutor(_LANES) as pool:
                    try:
                        self._carry_out_part(part, pool)
                    except KeyboardInterrupt:
                        self._interrupted.set()
                        raise

    def _carry_out_part(self, part: Part, pool: ThreadPoolExecutor) -> None:
        groups = part.groups(self.choice)
        for group, done in [(group, pool.submit(self._run_lane, group)) for group in groups]:
            if (error := done.exception()) is not None:
                raise RuntimeError(f"group {group.name} of part {part.name} broke") from error

    @property
    def violations(self) -> list[Result]:
        return [each for each in self.results if each.violation]

    def _run_lane(self, group: Group) -> None:
        if self._interrupted.is_set():
            return
        with group.open() as trials:
            for trial in trials:
                if self._interrupted.is_set():
                    return
                if not self.choice.wants(trial.seed):
                    continue
                self._progress.update(self._task, description=trial.seed)
                self._note(carry_out(trial, group.name))

    def _note(self, result: Result) -> None:
        with self._lock:
            self.results.append(result)
            self._progress.update(self._task, completed=len(self.results))
            self._say_where_no_line_moves(result)
            if result.violation:
                self._console.print(f"VIOLATION {result.trial.seed}", style="bold red", highlight=False)
                self._console.print(f"  expected: {result.trial.expected}", markup=False, highlight=False)
                self._console.print(f"  {result.violation}", markup=False, highlight=False)

    def _say_where_no_line_moves(self, result: Result) -> None:
        """Where the output is a file, such as the log of CI, a line now and then replaces the progress line."""
        if not self._console.is_terminal and time.monotonic() - self._said > _SAY_SECONDS:
            self._said = time.monotonic()
            line = f"{len(self.results)} trials, {len(self.violations)} violations; now at {result.trial.seed}"
            self._console.print(line, highlight=False)


def table_of(results: Sequence[Result]) -> Table:
    """One row for each group of trials: part, group, and what is tried."""
    table = Table("part", "group", "tried", box=SIMPLE, title="Chaos")
    for name in ("trials", "violations", "seconds"):
        table.add_column(name, justify="right")
    ordered = sorted(results, key=_group)
    for group, members in itertools.groupby(ordered, key=_group):
        found = list(members)
        broken = sum(bool(each.violation) for each in found)
        seconds = sum(each.seconds for each in found)
        style = "bold red" if broken else None
        table.add_row(*group, str(len(found)), str(broken), f"{seconds:.0f}", style=style)
    return table


def table_of_attacks(results: Sequence[Result]) -> Table:
    """One row for each thing that was tried and seen, with the groups that saw it."""
    table = Table("attack", "expected", "seen", "where", box=SIMPLE, title="Attacks", show_lines=True)
    groups: dict[tuple[str, str, str, bool], list[str]] = {}
    for each in results:
        what = each.trial.seed.rpartition("/")[2]
        seen = each.violation.partition("\n")[0] or each.seen
        groups.setdefault((what, each.trial.expected, seen, bool(each.violation)), []).append(each.group)
    for (*cells, is_broken), found in groups.items():
        table.add_row(*map(escape, cells), ", ".join(found), style="bold red" if is_broken else None)
    return table


def _group(result: Result) -> tuple[str, str, str]:
    part, *rest = result.trial.seed.split("/")
    if part == Answers.name:
        return part, result.group, rest[1]  # by flow: the rest of a seed is in each line of a violation
    *middle, last = rest
    middle = [each for each in middle if each != result.group]
    kind = "+".join(dict.fromkeys(word.partition("@")[0] for word in last.split("+"))) if "@" in last else ""
    return part, result.group, " ".join([*middle, *([kind] if kind else [])])


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="nox -s chaos --", description=__doc__.partition("\n")[0])
    names = [part.name for part in PARTS]
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one or more of {', '.join(names)}; all by default")
    parser.add_argument(
        "--store", action="append", default=[], choices=sorted({*STORES, *ADAPTERS}), help="only this store"
    )
    parser.add_argument(
        "--fault", action="append", default=[], metavar="WORD", help="of part crash, only kill, stale, lose, ..."
    )
    parser.add_argument(
        "--replay", default="", metavar="SEED", help="only the trial with this seed, step by step again"
    )
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="only N points of each sweep")
    parser.add_argument("--chance", type=int, default=0, metavar="N", help="draw another sample")
    parser.add_argument(
        "--exhaustive", action="store_true", help="of part answers, also those that a provisioner reacts to alike"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every result into this file, too")
    arguments = parser.parse_args(argv)
    unknown = [each for each in arguments.parts if each not in names]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(names)}")
    if arguments.replay and arguments.replay.partition("/")[0] not in names:
        parser.error(
            f"no seed begins with {arguments.replay.partition('/')[0]!r}; a seed reads crash/minio/bind/kill@7"
        )
    return arguments


def main(argv: Sequence[str]) -> int:
    """Runs the selected trials; 1 where a guarantee was violated."""
    arguments = parse(argv)
    choice = Choice(
        replay=arguments.replay,
        stores=arguments.store,
        faults=arguments.fault,
        sample=arguments.sample,
        chance=arguments.chance,
        exhaustive=arguments.exhaustive,
    )
    parts = [
        part
        for part in PARTS
        if (not arguments.parts or part.name in arguments.parts) and choice.wants(f"{part.name}/")
    ]
    console = Console()
    run = Run(choice, console)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the same clean end as after Ctrl-C
    try:
        run.carry_out(parts)
    except KeyboardInterrupt:
        console.print("stopped; what was tried until then:")
    told = [each for each in run.results if each.trial.seed.partition("/")[0] in _TOLD_ONE_BY_ONE]
    if told:
        console.print(table_of_attacks(told))
    console.print(table_of(run.results))
    answers = [each for each in run.results if each.trial.seed.startswith(f"{Answers.name}/")]
    if answers:
        console.print(table_of_invariants(answers))
    if arguments.json:
        arguments.json.write_text(json.dumps([each.as_json() for each in run.results], indent=1))
    for each in run.violations:
        console.print(
            f"again: nox -s chaos -- --replay {each.trial.seed}", markup=False, highlight=False, soft_wrap=True
        )
    console.print(f"violations: {len(run.violations)}", highlight=False)
    return 1 if run.violations or not run.results else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
