"""Part "replicas": three replicas, and everything that could make two of them work at once.

The leader is killed, frozen for longer than its lease, disconnected from the API server, has its Lease removed or given
away, and its clock turned, at a moment that the seed names, while claims come and go. Then the audit log of the API
server and the requests to the store are checked: only the holder of the Lease may have written.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from libbucket.testing.processes import fresh_directory
from testkit.resilience.fork_server import fork_server
from testkit.resilience.proxied_environment import own_cluster
from testkit.resilience.proxy import FaultInjector, Instead, Request, Verdict
from testkit.resilience.replica_set import LEASE_SECONDS, RETRY_SECONDS, SLACK, Replica, ReplicaSet, replica_set
from testkit.resilience.sharding import kill_one_of_three, stop_all
from testkit.resilience.trials import Choice, Group, Trial, Violation, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from libbucket.testing.controlplane import ControlPlane

_STORE: Final = "minio"
_MOMENTS: Final = (2, 9, 23, 40)
"""Steps of the traffic at which the fault is injected: writes to the cluster and to the store, counted together."""
_STEPS_OF_A_CLOCK: Final = (600, -600, 86400)
_AFTER: Final = 3.0
"""Seconds for which a replica that runs again after a fault is observed."""


class Replicas:
    """The part."""

    name = "replicas"
    guarantee = "Of several replicas only the leader writes, and a new leader only after the former has stopped"

    def __init__(self, cluster: Callable[[], AbstractContextManager[ControlPlane]] | None = None) -> None:
        self._cluster = cluster or partial(own_cluster, audit_log=True)

    def groups(self, choice: Choice) -> list[Group]:
        """One group: the subject is the core's leader election, on any store."""
        wanted = (not choice.stores or _STORE in choice.stores) and choice.wants(f"{self.name}/")
        return [Group(name=_STORE, open=partial(self._open, choice))] if wanted else []

    @contextmanager
    def _open(self, choice: Choice) -> Iterator[Iterable[Trial]]:
        with self._cluster() as cluster, replica_set(cluster, _STORE) as gathered:
            yield trials(gathered, choice)


def trials(gathered: ReplicaSet, choice: Choice) -> Iterator[Trial]:
    """All of them."""
    for word, act in (("kill", _kill), ("freeze", _freeze), ("partition", _partition)):
        for at in choice.draw(f"replicas/{word}", _MOMENTS):
            yield _trial(
                gathered, f"{word}@{at}", "another leads in time, and no other replica writes", partial(act, at=at)
            )
    yield _trial(gathered, "stop", "another leads at once, and no other replica writes", _stop)
    yield _trial(gathered, "lease-removed", "the leader keeps the Lease, and no other replica writes", _remove_lease)
    yield _trial(gathered, "lease-forged", "the leader stops, and another leads in time", _forge_lease)
    expected = "the others take its shards over in time, and each write is by the owner of its shard"
    yield Trial(seed=f"replicas/{_STORE}/shards", expected=expected, run=partial(kill_one_of_three, gathered))
    for step in _STEPS_OF_A_CLOCK:
        expected = "the leader keeps the Lease: the wall clock does not matter"
        yield _trial(gathered, f"clock@{step}", expected, partial(_turn_clock, by=step))


def _trial(gathered: ReplicaSet, words: str, expected: str, act: Callable[[ReplicaSet], str]) -> Trial:
    def run() -> str:
        gathered.ensure_all_run()
        since = time.time()
        try:
            with gathered.busy() as made:
                seen = act(gathered)
            gathered.ensure_all_run()
            gathered.settle(made)
            writes = gathered.assert_only_the_leader_wrote(since)
        except Exception as error:
            for each in gathered.replicas:
                log = each.child.log().splitlines()[-8:] if each.child is not None else []
                error.add_note(f"the log of {each.name} ends with:\n  " + "\n  ".join(log))
            raise
        return f"{seen}; {writes} writes and requests, all by the holder"

    return Trial(seed=f"replicas/{_STORE}/{words}", expected=expected, run=run)


def _hit(gathered: ReplicaSet, at: int, act: Callable[[Replica], None]) -> Replica:
    """Injects a fault into the leader at a step of the traffic, while that request is in flight."""
    hit, leader = threading.Event(), gathered.leader()

    def reached(number: int, _request: Request) -> None:
        if number == at:
            act(leader)
            hit.set()

    with gathered.steps(reached):
        if not hit.wait(90):
            raise Violation(f"the traffic did not come to step {at}")
    return leader


def _kill(gathered: ReplicaSet, *, at: int) -> str:
    leader = _hit(gathered, at, lambda each: each.child.kill() if each.child else None)
    return _took_over(gathered, leader, time.time(), at_most=LEASE_SECONDS + RETRY_SECONDS)


def _freeze(gathered: ReplicaSet, *, at: int) -> str:
    leader = _hit(gathered, at, lambda each: _signal(each, signal.SIGSTOP))
    try:
        seen = _took_over(gathered, leader, time.time(), at_most=LEASE_SECONDS + RETRY_SECONDS)
    finally:
        _signal(leader, signal.SIGCONT)
    time.sleep(_AFTER)
    return seen


def _partition(gathered: ReplicaSet, *, at: int) -> str:
    watching: list[FaultInjector] = []

    def cut_off(each: Replica) -> None:
        watching.append(each.proxy.injector)
        each.proxy.injector = _Nothing()
        each.proxy.cut()

    leader = _hit(gathered, at, cut_off)
    try:
        seen = _took_over(gathered, leader, time.time(), at_most=LEASE_SECONDS + RETRY_SECONDS)
        time.sleep(_AFTER)
    finally:
        leader.proxy.injector = watching[0]
    assert leader.child is not None
    assert leader.child.is_running, "a disconnected replica has ended instead of standing by"
    return seen


def _stop(gathered: ReplicaSet) -> str:
    leader, began = gathered.leader(), time.time()
    _signal(leader, signal.SIGTERM)
    gathered.wait_for_other(leader, LEASE_SECONDS)
    # It first ends what it is at: others wait from then on.
    released = [each.at for each in gathered.audit_log.tenures() if each.at > began and each.who is None]
    if not released:
        raise Violation(f"{leader.name} kept its lease when it was stopped")
    return _took_over(gathered, leader, released[0], at_most=RETRY_SECONDS)


def _remove_lease(gathered: ReplicaSet) -> str:
    leader = gathered.leader()
    gathered.environment.admin.delete(gathered.lease_path)
    removed = time.time()
    eventually(lambda: _assert_holds(gathered, leader), seconds=RETRY_SECONDS + SLACK)
    seconds = gathered.audit_log.tenures()[-1].at - removed
    time.sleep(LEASE_SECONDS + RETRY_SECONDS)
    others = {each.who for each in gathered.audit_log.tenures() if each.at > removed} - {leader.name, None}
    if others:
        raise Violation(f"{others} took the lease that was removed from {leader.name}")
    return f"made again after {seconds:.1f} s"


def _forge_lease(gathered: ReplicaSet) -> str:
    leader, began = gathered.leader(), time.time()
    gathered.environment.admin.patch(gathered.lease_path, {"spec": {"holderIdentity": "another-program"}})
    eventually(lambda: _assert_regained(gathered, began), seconds=LEASE_SECONDS + 2 * RETRY_SECONDS + SLACK)
    tenure = gathered.audit_log.tenures()[-1]
    idle = [each for each in gathered.audit_log.writes(began) if each.who == leader.name and each.at < tenure.at]
    last = max((each.at for each in idle), default=began) - began
    return f"{leader.name} stopped after {last:.1f} s, {tenure.who} leads after {tenure.at - began:.1f} s"


def _turn_clock(gathered: ReplicaSet, *, by: int) -> str:
    library = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
    if library is None:
        return "skipped: there is no libfaketime (Debian: apt-get install libfaketime)"
    with fresh_directory("clock-") as directory:
        clock = directory / "clock"
        clock.write_text("+0\n")
        environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with fork_server(gathered.environment.store.module, directory, environment) as forks:
            leader = _make_leader(gathered, partial(gathered.start, fork_server=forks))
            turned = time.time()
            clock.write_text(f"{by:+d}\n")
            time.sleep(LEASE_SECONDS + RETRY_SECONDS)
            clock.write_text("+0\n")
            time.sleep(_AFTER)
            others = {each.who for each in gathered.audit_log.tenures() if each.at > turned} - {leader.name}
            _signal(leader, signal.SIGTERM)
            if leader.child is not None:
                leader.child.ended.wait(30)
    if others:
        raise Violation(f"{others} took over because the clock of {leader.name} was turned by {by} s")
    return f"{leader.name} led throughout"


def _make_leader(gathered: ReplicaSet, start: Callable[[Replica], None]) -> Replica:
    """Starts one again, and stops the others until it leads."""
    chosen, *others = gathered.replicas
    stop_all(gathered)
    start(chosen)
    eventually(lambda: _assert_holds(gathered, chosen), seconds=LEASE_SECONDS + 2 * SLACK)
    for each in others:
        gathered.start(each)
    return chosen


class _Nothing(FaultInjector):
    """The network is gone: no request arrives, and none is answered."""

    def before(self, request: Request) -> Verdict | Instead:
        return Verdict.RESET


def _took_over(gathered: ReplicaSet, former: Replica, began: float, *, at_most: float) -> str:
    """Seconds until another replica acquired the Lease."""
    at = gathered.wait_for_other(former, at_most + 3 * SLACK)
    seconds = at - began
    if seconds > at_most + SLACK:
        raise Violation(f"another led only after {seconds:.1f} s, and was to after {at_most:.1f}")
    return f"{gathered.leader().name} leads {seconds:.1f} s after {former.name} was hit"


def _assert_holds(gathered: ReplicaSet, replica: Replica) -> None:
    tenures = gathered.audit_log.tenures()
    assert tenures, "no replica has held the lease"
    assert tenures[-1].who == replica.name, f"the lease is {tenures[-1].how}, by {tenures[-1].who}"


def _assert_regained(gathered: ReplicaSet, since: float) -> None:
    last = gathered.audit_log.tenures()[-1]
    assert last.at > since, "no replica has noticed yet"
    assert last.who is not None, f"the lease is {last.how}"


def _signal(replica: Replica, number: signal.Signals) -> None:
    if replica.child is not None:
        replica.child.signal(number)
