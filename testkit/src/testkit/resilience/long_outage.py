"""A store that is down for an hour, on a clock that goes sixty times as fast: the core in this process, 100 claims."""

from __future__ import annotations

import secrets
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from libbucket import StoreUnavailable
from testkit.cluster.memory_environment import MemoryEnvironment, condition
from testkit.resilience.trials import Trial, Violation, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import Cluster

_PACE: Final = 60
_CLAIMS: Final = 100
_CALLS: Final = 300
"""In the hour: one for each half to whole ceiling of 30 s, and what it takes to find out."""
_RECOVERY: Final = 60.0
"""Seconds of the fast clock until the store is called again; what a hundred claims take then is real time."""
_WORK: Final = 180.0


def hour_trials(cluster: Cluster) -> Iterator[Trial]:
    """One."""
    yield Trial(
        seed="outages/hour/down",
        expected=f"at most {_CALLS} calls in the hour, one complaint for each claim, and all bound soon after it",
        run=partial(_live_through, cluster),
    )


def _live_through(cluster: Cluster) -> str:
    namespace = f"hour-{secrets.token_hex(4)}"
    cluster.admin.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    environment, is_down, first = MemoryEnvironment(cluster, namespace), threading.Event(), threading.Event()
    is_down.set()

    def hook(_verb: Any, _request: Any) -> None:
        if is_down.is_set():
            raise StoreUnavailable("the store does not answer")
        first.set()

    environment.hook = hook
    environment.make_class()
    names = [f"c{number}" for number in range(_CLAIMS)]
    with structlog.testing.capture_logs() as log, environment.core(pace=_PACE, namespaces=(namespace,)):
        for name in names:
            environment.claim(name)
        time.sleep(3600 / _PACE)
        calls = sum(environment.calls.values())
        _assert_none_failed(environment, names)
        is_down.clear()
        ended = time.monotonic()
        if not first.wait(_RECOVERY / _PACE + 10):
            raise Violation("the store was not called again")
        noticed = (time.monotonic() - ended) * _PACE
        eventually(lambda: _assert_bound(environment, names), seconds=_WORK)
        seconds = time.monotonic() - ended
    complaints = sum(line["log_level"] in {"warning", "error"} for line in log)
    if calls > _CALLS or complaints > _CLAIMS + 10:
        raise Violation(f"{calls} calls and {complaints} complaints in an hour")
    cost = f"{calls} calls and {complaints} complaints in the hour"
    return f"{cost}; asked again after {noticed:.0f} s, all {_CLAIMS} bound after {seconds:.1f} s of real time"


def _assert_none_failed(environment: MemoryEnvironment, names: list[str]) -> None:
    for name in names:
        status = environment.get_claim(name).get("status", {})
        if status.get("phase") == "Failed":
            raise Violation(f"an outage made claim {name} Failed: {status}")


def _assert_bound(environment: MemoryEnvironment, names: list[str]) -> None:
    waiting = [name for name in names if condition(environment.get_claim(name)).get("status") != "True"]
    assert not waiting, f"{len(waiting)} claims are not bound"
