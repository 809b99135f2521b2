"""The parts of the resilience tests and their trials, each with a seed that names its exact steps.

Between `chaos.py`, which runs trials and draws the table, and the parts, which define them. Knows neither.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager


class Violation(AssertionError):
    """A guarantee was violated. The message says which, and what was seen."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One thing to try.

    Attributes:
        seed: names it, in words: `crash/minio/bind/kill@7`. The same seed makes the same steps again.
        expected: what must be seen, in one short sentence.
        run: does it, and gives in one short sentence what was seen. Raises `Violation`, or any other error.
    """

    seed: str
    expected: str
    run: Callable[[], str]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The selected trials.

    Attributes:
        replay: only the trial with this seed; empty for all.
        stores: only these stores; empty for all.
        faults: of sweeps, only those with these faults; empty for all.
        sample: how many points of each sweep are tried; 0 for all.
        chance: what samples are drawn by; printed with the table, so that the same can be drawn again.
        minutes: of whatever goes on until it is stopped.
        exhaustive: also what others stand for.
    """

    replay: str = ""
    stores: Sequence[str] = ()
    faults: Sequence[str] = ()
    sample: int = 0
    chance: int = 0
    minutes: float = 0.0
    exhaustive: bool = False

    def wants(self, prefix: str) -> bool:
        """Whether any trial whose seed begins so is wanted."""
        return not self.replay or self.replay.startswith(prefix) or prefix == self.replay

    def draw(self, sweep: str, points: Sequence[int]) -> list[int]:
        """The points of a sweep that are tried: all, or a sample that depends on its name."""
        if not self.sample or self.replay or len(points) <= self.sample:
            return list(points)
        return sorted(random.Random(f"{self.chance}/{sweep}").sample(list(points), self.sample))


@dataclass(frozen=True, kw_only=True)
class Group:
    """Trials that share servers, and so come one after another. Groups of a part may run at the same time.

    Attributes:
        name: a store's, or what the group is about.
        open: starts what the trials need; gives them, and ends all at the end of the block.
    """

    name: str
    open: Callable[[], AbstractContextManager[Iterable[Trial]]]


def groups_by_store(
    part: str, stores: Iterable[str], choice: Choice, opens: Callable[[str], AbstractContextManager[Iterable[Trial]]]
) -> list[Group]:
    """One group for each of the stores that is wanted; `opens` is called with its name."""
    wanted = [name for name in stores if not choice.stores or name in choice.stores]
    return [Group(name=name, open=partial(opens, name)) for name in wanted if choice.wants(f"{part}/{name}/")]


class Part(Protocol):
    """One part of the resilience tests.

    Attributes:
        name: the first word of its seeds.
        guarantee: the guarantee that it tests, in one sentence.
    """

    name: str
    guarantee: str

    def groups(self, choice: Choice) -> Sequence[Group]:
        """The selected ones."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a trial.

    Attributes:
        trial: it.
        group: whose it was.
        seen: what it saw.
        violation: why it failed; empty if it did not.
        seconds: how long it took.
    """

    trial: Trial
    group: str
    seen: str = ""
    violation: str = ""
    seconds: float = field(default=0.0)

    def as_json(self) -> dict[str, object]:
        """All of it but what carries it out again, which can't be written."""
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "trial"}
        return found | {"seed": self.trial.seed, "expected": self.trial.expected}


def carry_out(trial: Trial, group: str) -> Result:
    """Runs one trial."""
    started = time.monotonic()
    try:
        seen, violation = trial.run(), ""
    except Exception as error:  # noqa: BLE001 - any error is a finding
        notes = "\n".join(getattr(error, "__notes__", []))
        seen, violation = "", f"{type(error).__name__}: {error}\n{notes}".strip()
    return Result(trial=trial, group=group, seen=seen, violation=violation, seconds=time.monotonic() - started)


def results_of(part: Part, choice: Choice) -> Iterator[Result]:
    """Runs the selected trials, one group after another."""
    for group in part.groups(choice):
        with group.open() as trials:
            yield from (carry_out(each, group.name) for each in trials if choice.wants(each.seed))


def eventually(check: Callable[[], None], *, seconds: float = 60.0, pause: float = 0.1) -> None:
    """Runs a check again and again until it passes.

    Raises:
        Violation: it never did; with what it said last.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            check()
        except AssertionError as error:
            if time.monotonic() > deadline:
                raise Violation(f"still after {seconds:.0f} s: {error}") from error
            time.sleep(pause)
        else:
            return
