"""Pairs of provisioners, measured in turns. Draws nothing."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from testkit.benchmark.load import Load, Run, wait_idle
from testkit.benchmark.processes import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from libbucket.testing.controlplane import ControlPlane
    from testkit.benchmark.processes import Size
    from testkit.benchmark.subjects import Subject

_WARM_UP: Final = 20
_SINGLE: Final = 12


@dataclass(frozen=True, kw_only=True)
class Round:
    """One provisioner, started anew.

    Attributes:
        idle: its size before the first claim.
        bound: a burst of claims.
        deleted: the same ones.
        seconds_to_bound: of claims that come one at a time, to an idle provisioner.
    """

    idle: Size
    bound: Run
    deleted: Run
    seconds_to_bound: tuple[float, ...]


def compare(
    cluster: ControlPlane, subjects: Sequence[Subject], *, rounds: int, claims: int, say: Callable[[str], None]
) -> dict[str, list[Round]]:
    """Measures provisioners in turns, so that what else the machine does meets all alike; by their names."""
    loads = {
        each.name: Load(cluster, provisioner=each.provisioner, name=f"round-{number}")
        for number, each in enumerate(subjects)
    }
    found: dict[str, list[Round]] = {each.name: [] for each in subjects}
    for each in subjects:  # so that the first that counts does not pay for the API server's start
        say(f"{each.name}: warming up")
        with each.running(cluster) as provisioner:
            loads[each.name].bind(provisioner, _WARM_UP)
            loads[each.name].delete(provisioner, _WARM_UP)
    for number in range(1, rounds + 1):
        for each in subjects:
            say(f"{each.name}: round {number} of {rounds}")
            found[each.name].append(_round(cluster, each, loads[each.name], claims))
    return found


def _round(cluster: ControlPlane, subject: Subject, load: Load, claims: int) -> Round:
    with subject.running(cluster) as provisioner:
        wait_idle(provisioner)
        idle = size_of(provisioner.pid)
        singles = tuple(load.seconds_to_bound(f"single-{number}") for number in range(_SINGLE))
        for number in range(_SINGLE):
            load.remove(f"single-{number}")
        bound = load.bind(provisioner, claims)
        return Round(idle=idle, bound=bound, deleted=load.delete(provisioner, claims), seconds_to_bound=singles)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A median, and between what it lies."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of some values."""
        return cls(median=statistics.median(values), least=min(values), most=max(values))


def load_average() -> float:
    """Processes that want to run, over the last minute: more than the processors, and times say little."""
    return os.getloadavg()[0]
