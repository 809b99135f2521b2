"""Part "answers" of chaos: the sweep of one store in a process of its own, or of two.

    nox -s chaos -- answers --store minio                  one answer of each that a provisioner reacts to alike
    nox -s chaos -- answers --store minio --exhaustive     every answer
    nox -s chaos -- --replay answers/minio/provision/AddUser@1/403-AccessDenied/once

Knows trials by their seeds; the processes have the stores.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE
from rich.table import Table

from testkit.answers import trials
from testkit.answers.invariants import Invariant
from testkit.answers.reactions import by_request, representatives
from testkit.answers.registry import ADAPTERS, IN_MEMORY
from testkit.answers.trials import REACTION, Case
from testkit.resilience.trials import Choice, Group, Trial, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from testkit.answers.trials import Environment
    from testkit.resilience.trials import Result

_PROCESSES: Final = 2

_open = ExitStack()
_environments: dict[str, Environment] = {}


class Answers:
    """The part."""

    name = "answers"
    guarantee = "No answer of a store, to no request, breaks one of nine invariants"

    def groups(self, choice: Choice) -> list[Group]:
        """Two for each store, which share its trials."""
        wanted = [name for name in ADAPTERS if name in (choice.stores or IN_MEMORY)]
        return [
            Group(name=name, open=partial(self._opened, choice, name, share))
            for name in wanted
            if choice.wants(f"{self.name}/{name}/")
            for share in range(1 if choice.replay else _PROCESSES)
        ]

    @contextmanager
    def _opened(self, choice: Choice, store: str, share: int) -> Iterator[Iterable[Trial]]:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_end_with_the_sweep) as pool:
            try:
                yield _trials(pool, choice, store, share)
            finally:
                pool.submit(_close).result()


def table_of_invariants(results: Sequence[Result]) -> Table:
    """One row for each store and invariant."""
    table = Table("store", "invariant", box=SIMPLE, title="Answers")
    for name in ("trials", "violations", "trials/s"):
        table.add_column(name, justify="right")
    for store in sorted({each.group for each in results}):
        own = [each for each in results if each.group == store]
        rate = len(own) / max(sum(each.seconds for each in own), 1e-9)
        for invariant in Invariant:
            broken = sum(str(invariant) in each.violation for each in own)
            table.add_row(store, str(invariant), str(len(own)), str(broken), f"{rate:.1f}")
    return table


def _trials(pool: ProcessPoolExecutor, choice: Choice, store: str, share: int) -> Iterator[Trial]:
    if choice.replay:
        yield _trial(pool, store, Case.parse(choice.replay))
        return
    found = pool.submit(_cases, store).result()
    if choice.sample or choice.exhaustive:
        for case in (trials.sample(found, choice.sample) if choice.sample else found)[share::_PROCESSES]:
            yield _trial(pool, store, case)
        return
    tried: Counter[str] = Counter()
    for group in by_request(found)[share::_PROCESSES]:
        yield from _trials_of_request(pool, store, group, tried)


def _trials_of_request(
    pool: ProcessPoolExecutor, store: str, group: Sequence[Case], tried: Counter[str]
) -> Iterator[Trial]:
    """First each answer for its reaction, then the whole trials with one answer of each; delays are always whole."""
    reactions: dict[str, str] = {}
    for case in group:
        if case.times == "once":
            yield _reaction(pool, store, replace(case, times=REACTION), reactions)
    chosen = representatives(reactions, tried)
    for case in group:
        if not case.times or case.answer in chosen:
            yield _trial(pool, store, case)


def _reaction(pool: ProcessPoolExecutor, store: str, case: Case, reactions: dict[str, str]) -> Trial:
    def run() -> str:
        broken, reactions[case.answer] = pool.submit(_react, store, case).result()
        return _judged(broken)

    return Trial(seed=case.seed(store), expected="all invariants hold", run=run)


def _trial(pool: ProcessPoolExecutor, store: str, case: Case) -> Trial:
    def run() -> str:
        return _judged(pool.submit(_run, store, case).result())

    return Trial(seed=case.seed(store), expected="all invariants hold", run=run)


def _judged(broken: Sequence[str]) -> str:
    if broken:
        raise Violation("; ".join(broken))
    return "all invariants held"


def _end_with_the_sweep() -> None:
    """Ends this process when that of the sweep is killed: it holds both ends of its queue, and would wait for ever."""
    sweep = parent_process()
    assert sweep is not None, "this process was started by the sweep"

    def watch() -> None:
        sweep.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _environment(store: str) -> Environment:
    """Of this process: started once, and kept until it ends."""
    if store not in _environments:
        adapter = _open.enter_context(ADAPTERS[store]())
        _environments[store] = _open.enter_context(trials.environment(adapter))
    return _environments[store]


def _close() -> None:
    """Stops the servers of this process."""
    _environments.clear()
    _open.close()


def _cases(store: str) -> list[Case]:
    return trials.cases(_environment(store))


def _run(store: str, case: Case) -> list[str]:
    return [str(one) for one in trials.run(_environment(store), case)]


def _react(store: str, case: Case) -> tuple[list[str], str]:
    broken, found = trials.react(_environment(store), case)
    return [str(one) for one in broken], found
