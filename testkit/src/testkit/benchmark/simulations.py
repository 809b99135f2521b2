"""What needs no API server: the adaptive limits in virtual time, and the memory of very many claims. Draws nothing.

Both are the real core: the queue, requeue policy and circuit breakers over a simulated store; the caches and the
observer over objects as the core writes them. The memory is that of a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from testkit.quiet import quietly
from testkit.simulated_load import SimulatedLoad, SimulatedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LATENCIES: Final = (0.02, 0.1, 0.2, 0.5)
LIMITS: Final = (5, 15, 100)
WORKERS: Final = 64
_TENANTS: Final = 8
_WARM_UP: Final = 45.0
_MEASURED: Final = 60.0
_SECONDS: Final = 600.0


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """What the core gets from a store that throttles, once it has found the limit.

    Attributes:
        latency: seconds of a call.
        per_second: calls that the store takes.
        bound: claims per second.
        throttled: refusals per second.
        at_once: claims that are reconciled at once, at most.
    """

    latency: float
    per_second: float
    bound: float
    throttled: float
    at_once: int


def adapted(say: Callable[[str], None]) -> list[Adapted]:
    """Each latency with each limit, in virtual time: claims of eight tenants without end."""
    found = []
    for latency in LATENCIES:
        for per_second in LIMITS:
            say(f"a store of {latency * 1000:.0f} ms that takes {per_second} calls per second, in virtual time")
            with quietly():
                found.append(_adapted(latency, per_second))
    return found


def _adapted(latency: float, per_second: int) -> Adapted:
    store = SimulatedStore(latency=latency, per_second=per_second, burst=max(1.0, 0.2 * per_second))
    load = SimulatedLoad({"x": store}, workers=WORKERS)
    for number in range(_TENANTS):
        load.add_endless("x", f"tenant-{number}", 20)
    load.run(_WARM_UP)
    bound, throttled = load.bound["x"], load.throttled["x"]
    load.run(_WARM_UP + _MEASURED)
    return Adapted(
        latency=latency,
        per_second=per_second,
        bound=(load.bound["x"] - bound) / _MEASURED,
        throttled=(load.throttled["x"] - throttled) / _MEASURED,
        at_once=load.queue.state().limits["x"],
    )


@dataclass(frozen=True, kw_only=True)
class Cached:
    """A process that has so many bound claims in its caches.

    Attributes:
        claims: how many.
        idle_mebibytes: before the first.
        mebibytes: with all.
        fill_seconds: processor time to decode the lists and fill the caches.
        queue_seconds: processor time to queue all.
        settled_microseconds: processor time to find that a claim is unchanged.
        bytes_by_cache: of the packed objects, per claim.
    """

    claims: int
    idle_mebibytes: float
    mebibytes: float
    fill_seconds: float
    queue_seconds: float
    settled_microseconds: float
    bytes_by_cache: dict[str, float]


def cached(counts: Sequence[int], say: Callable[[str], None]) -> list[Cached]:
    """Each number of claims in a process of its own."""
    found = []
    for count in counts:
        say(f"{count:,} claims in the caches of a process")
        command = [sys.executable, "-m", "testkit.benchmark.cached_claims", str(count)]
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=_SECONDS)
        found.append(Cached(**json.loads(ran.stdout)))
    return found
