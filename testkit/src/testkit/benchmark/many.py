"""The core alone with many claims: their memory, a restart, and an upgrade of the provisioner. Draws nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from testkit.benchmark.api_requests import settled_requests
from testkit.benchmark.load import STORE_CALLS, Load, Run, metric, wait_idle
from testkit.benchmark.processes import cpu_seconds_of, size_of
from testkit.benchmark.subjects import stateless

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket.testing.controlplane import ControlPlane
    from libbucket.testing.provisioner_process import ProvisionerProcess
    from testkit.benchmark.api_requests import Requests
    from testkit.benchmark.processes import Size

_LIMIT_SECONDS: Final = 60.0
_SLOWEST: Final = 0.1
"""Seconds for each claim that is reconciled in full, beyond that: something is wrong."""


@dataclass(frozen=True, kw_only=True)
class Restart:
    """A provisioner that starts where everything is bound.

    Attributes:
        ready_seconds: from the start of the process until `/readyz` says so.
        new_claim_seconds: from then until a claim that is made at that moment is bound.
        idle_seconds: from the start until every claim was reconciled and the queue is empty.
        cpu_seconds: of the provisioner, until then.
        store_calls: verbs called, by its metrics, without the new claim's.
        requests: to the API server, with the new claim's.
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
        upgrade: the same with another version of the provisioner, which reconciles each claim in full.
    """

    bound: Run
    idle: Size
    size: Size
    restart: Restart
    upgrade: Restart


def many(cluster: ControlPlane, claims: int, say: Callable[[str], None]) -> Many:
    """Binds many claims in one namespace, then restarts the provisioner with them, and upgrades it."""
    subject = stateless()
    load = Load(cluster, provisioner=subject.provisioner, name="many")
    with subject.running(cluster) as provisioner:
        wait_idle(provisioner)
        idle = size_of(provisioner.pid)
        say(f"{claims:,} claims")
        bound = load.bind(provisioner, claims)
        size = size_of(provisioner.pid)
        say(f"a restart with {claims:,} claims bound")
        provisioner.stop()
        restart = _started(cluster, load, provisioner, claims, new="new")
        provisioner.stop()
        say(f"an upgrade with {claims:,} claims bound")
        newer = {**provisioner.program.environment, **stateless(version=2).environment}
        provisioner.program = replace(provisioner.program, environment=newer)
        upgrade = _started(cluster, load, provisioner, claims + 1, new="newer")
    return Many(bound=bound, idle=idle, size=size, restart=restart, upgrade=upgrade)


def _started(cluster: ControlPlane, load: Load, provisioner: ProvisionerProcess, claims: int, *, new: str) -> Restart:
    """Starts a provisioner, and makes a claim as soon as it is ready."""
    before = settled_requests(cluster)
    started = time.monotonic()
    provisioner.start()
    ready = time.monotonic()
    new_claim_seconds = load.seconds_to_bound(new)
    wait_idle(provisioner, reconciles=claims, seconds=_LIMIT_SECONDS + claims * _SLOWEST)
    idle_seconds = time.monotonic() - started
    return Restart(
        ready_seconds=ready - started,
        new_claim_seconds=new_claim_seconds,
        idle_seconds=idle_seconds,
        cpu_seconds=cpu_seconds_of([provisioner.pid]),
        store_calls=int(metric(provisioner.metrics(), STORE_CALLS)) - 1,
        requests=settled_requests(cluster) - before,
        size=size_of(provisioner.pid),
    )
