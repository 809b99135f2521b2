"""The measurements: pairs of provisioners in turns, then the core alone with many claims. Draws nothing."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from testkit.benchmark.api_requests import settled_requests
from testkit.benchmark.load import STORE_CALLS, Load, Run, metric, wait_idle
from testkit.benchmark.processes import cpu_seconds_of, size_of
from testkit.benchmark.subjects import OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from libbucket.testing.controlplane import ControlPlane
    from testkit.benchmark.api_requests import Requests
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


@dataclass(frozen=True, kw_only=True)
class Restart:
    """A provisioner that starts where everything is bound.

    Attributes:
        ready_seconds: from the start of the process until `/readyz` says so.
        new_claim_seconds: from then until a claim that is made at that moment is bound.
        idle_seconds: from the start until every claim was reconciled and the queue is empty.
        cpu_seconds: of the provisioner, until then.
        store_calls: verbs called, by its metrics, without the new claim's.
        requests: to the API server, without the new claim's.
        size: afterwards.
    """

    ready_seconds: float
    new_claim_seconds: float
    idle_seconds: float
    cpu_seconds: float
    store_calls: int
    requests: Requests
    size: Size


@dataclass(frozen=True, kw_only=True)
class Many:
    """The core with many claims.

    Attributes:
        bound: all of them, in one burst.
        idle: size before the first.
        size: with all of them.
        restart: with all of them.
    """

    bound: Run
    idle: Size
    size: Size
    restart: Restart


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


def many(cluster: ControlPlane, claims: int, say: Callable[[str], None]) -> Many:
    """Binds many claims in one namespace, and restarts the provisioner with them."""
    load = Load(cluster, name="many")
    with OURS.running(cluster) as provisioner:
        wait_idle(provisioner)
        idle = size_of(provisioner.pid)
        say(f"{claims:,} claims")
        bound = load.bind(provisioner, claims)
        size = size_of(provisioner.pid)
        say(f"a restart with {claims:,} claims bound")
        provisioner.stop()
        before = settled_requests(cluster)
        started = time.monotonic()
        provisioner.start()
        ready = time.monotonic()
        new_claim_seconds = load.seconds_to_bound("new")
        wait_idle(provisioner, reconciles=claims)
        idle_seconds = time.monotonic() - started
        return Many(
            bound=bound,
            idle=idle,
            size=size,
            restart=Restart(
                ready_seconds=ready - started,
                new_claim_seconds=new_claim_seconds,
                idle_seconds=idle_seconds,
                cpu_seconds=cpu_seconds_of([provisioner.pid]),
                store_calls=int(metric(provisioner.metrics(), STORE_CALLS)) - 1,
                requests=settled_requests(cluster) - before,
                size=size_of(provisioner.pid),
            ),
        )


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
