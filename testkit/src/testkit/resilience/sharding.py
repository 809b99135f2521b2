"""The trial of the part "replicas" with several active replicas: one of three is killed, and its shards are taken over.

Every write is judged by the table of shards in the audit log. Knows the replica set; knows no other trial.
"""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from libbucket._controller.shards import SHARDS, UNKNOWN, read_table, shard_of
from testkit.resilience.replica_set import RETRY_SECONDS
from testkit.resilience.trials import Violation, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testkit.resilience.audit_log import LeaseWrite, Write
    from testkit.resilience.proxy import Request
    from testkit.resilience.replica_set import Replica, ReplicaSet

_LONG: Final = 180.0
"""Seconds to wait for a division of the shards, on a machine that is busy with other things."""

_AT: Final = 9
"""The step of the traffic at which the replica that makes it is killed."""


def kill_one_of_three(gathered: ReplicaSet) -> str:
    """Replaces the leader and its standbys by active replicas, kills one at work, and changes back."""
    stop_all(gathered)
    gathered.flags = ("--sharding",)
    try:
        return _kill(gathered)
    except Exception as error:
        for each in gathered.replicas:
            log = each.child.log().splitlines()[-8:] if each.child is not None else []
            error.add_note(f"the log of {each.name} ends with:\n  " + "\n  ".join(log))
        raise
    finally:
        stop_all(gathered)
        gathered.flags = ()


def stop_all(gathered: ReplicaSet) -> None:
    """Stops every replica that runs, and waits for it."""
    for each in gathered.replicas:
        if each.child is not None and each.child.is_running:
            each.child.signal(signal.SIGTERM)
            each.child.ended.wait(30)


def _kill(gathered: ReplicaSet) -> str:
    since = time.time()
    for each in gathered.replicas:
        gathered.start(each)
    names = {each.name for each in gathered.replicas}
    eventually(lambda: _assert_divided(gathered, since, names), seconds=_LONG)
    with gathered.busy(pause=1.0) as made:
        killed, at = _kill_sender(gathered)
        left = names - {killed.name}
        eventually(lambda: _assert_divided(gathered, since, left), seconds=_LONG)
        seconds = next(each.at for each in _tables(gathered, at) if set(each.owners) == left) - at
        time.sleep(2 * RETRY_SECONDS)
    _assert_writes(gathered, since)
    gathered.settle(made)
    count = _assert_writes(gathered, since)
    return (
        f"the shards of {killed.name} are served {seconds:.1f} s after it was killed; {count} writes, each by its owner"
    )


def _kill_sender(gathered: ReplicaSet) -> tuple[Replica, float]:
    """Kills the replica that makes a certain request, while it is in flight."""
    hit, killed = threading.Event(), list[tuple["Replica", float]]()
    turn = threading.Lock()

    def reached(number: int, request: Request) -> None:
        sender = gathered.find(gathered.sender(request))
        with turn:
            if number >= _AT and sender is not None and sender.child is not None and not killed:
                killed.append((sender, time.time()))
                sender.child.kill()
                hit.set()

    with gathered.steps(reached):
        if not hit.wait(90):
            raise Violation(f"the traffic did not come to step {_AT}")
    return killed[0]


class _Table:
    """The owners of the shards from a time on, by name of the replica."""

    def __init__(self, write: LeaseWrite, names: dict[str, str], before: Mapping[str, str]) -> None:
        self.at = write.at
        table = read_table(write.annotations)
        self.tokens: Mapping[str, str] = table.replicas if table is not None else {}
        renewed = {one for one, token in self.tokens.items() if before.get(one) != token} - {UNKNOWN}
        if write.user and len(renewed) == 1:
            names[renewed.pop()] = write.user
        self.owners = [names.get(owner, owner) for owner in table.owners] if table is not None else [""] * SHARDS


def _tables(gathered: ReplicaSet, since: float) -> list[_Table]:
    """Each change of the Lease."""
    names: dict[str, str] = {}
    found: list[_Table] = []
    for each in gathered.audit_log.lease_writes():
        if each.at >= since:
            found.append(_Table(each, names, found[-1].tokens if found else {}))
    return found


def _assert_divided(gathered: ReplicaSet, since: float, names: set[str]) -> None:
    tables = _tables(gathered, since)
    owners = tables[-1].owners if tables else []
    counts = {name: owners.count(name) for name in names}
    assert sum(counts.values()) == SHARDS, f"shards: {owners}, renewed by {sorted(tables[-1].tokens) if tables else []}"
    assert max(counts.values()) - min(counts.values()) <= 1, f"shards: {counts}"


def _assert_writes(gathered: ReplicaSet, since: float) -> int:
    """No replica wrote for a claim whose shard it did not own; gives how many writes were checked."""
    time.sleep(0.3)  # the log is written in batches
    tables = _tables(gathered, since)
    judged = [(write, key) for write in gathered.audit_log.writes(since) for key in _key(gathered, write)]
    wrong = [
        f"{write.at:.3f} {write.who}: {write.what}, while shard {shard_of(key)} was {owner or 'free'}"
        for write, key in judged
        if (owner := _owner(tables, write, key)) != write.who
    ]
    if wrong:
        raise Violation(f"{len(wrong)} writes by a replica that did not own the shard:\n  " + "\n  ".join(wrong[:10]))
    workers = {write.who for write, _ in judged}
    if len(workers) < len(gathered.replicas):
        raise Violation(f"only {workers} served claims")
    return len(judged)


def _owner(tables: list[_Table], write: Write, key: str) -> str:
    before = [each for each in tables if each.at < write.at]
    return before[-1].owners[shard_of(key)] if before else ""


def _key(gathered: ReplicaSet, write: Write) -> Iterator[str]:
    """The claim that a write to the cluster is for; none of Events and requests to the store."""
    namespace = gathered.environment.namespace
    resource, _, rest = write.what.partition(" ")[2].partition("/")
    if resource == "objectbuckets" and rest.startswith(f"obc-{namespace}-"):
        yield f"{namespace}/{rest.removeprefix(f'obc-{namespace}-')}"
    elif resource in {"objectbucketclaims", "secrets", "configmaps"} and "/" in rest:
        yield rest
