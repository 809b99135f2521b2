"""What can happen next in a state: every move of every actor, each ending in another state.

A reconcile moves by one request at a time, so that whatever can come between two requests does. A move is fair if it
has to happen sooner or later when no actor interferes any more; the fair moves are in order, so that each state has one
fair way on, and that way must lead to quiet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from libbucket._controller.shards import shard_of
from libbucket._outcomes import Retry
from libbucket.errors import StoreUnavailable
from testkit.api_server import NO_ANSWER, Request, dump, respond, short
from testkit.core import CACHED
from testkit.frozen import Frozen
from testkit.model_checking.core import (
    CachesChanged,
    Run,
    advance,
    simplified,
)
from testkit.model_checking.fence import FenceMoved, may_be_given_up, may_begin
from testkit.model_checking.object_store import Call, Raised, call
from testkit.model_checking.state import Replica, State, Work, controller_uid
from testkit.model_checking.views import put_back, watched_by
from testkit.model_checking.watches import catch_up, is_behind, keys_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from testkit.model_checking.core import Item, Step
    from testkit.model_checking.views import View

_UNANSWERED: Final = Raised(kind=StoreUnavailable, message="no answer")


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something that an actor outside the core does, at any time after it can.

    Attributes:
        says: what, for the steps of a violation.
        act: gives the state after it; None while it can't be done yet.
    """

    says: str
    act: Callable[[State], State | None]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the moves depend on and that never changes in one exploration.

    Attributes:
        actors: each does its actions in order.
        lagging: resources whose watch delivers whenever it likes; the others deliver at once.
        workers: of each replica.
        has_late_calls: whether the leader may change while a call of it to the store is on its way. The store knows no
            leader, and does what it was asked whenever that arrives: the result is not guaranteed.
    """

    actors: tuple[tuple[Action, ...], ...]
    lagging: frozenset[str] = frozenset()
    workers: int = 1
    has_late_calls: bool = False


@dataclass(frozen=True, kw_only=True)
class Did:
    """A request of the core that reached the server or the store."""

    run: Run
    wants: Request | Call
    before: State
    after: State


@dataclass(frozen=True, kw_only=True)
class Move:
    """One step from a state to the next; `rank` is None where fairness does not ask for it."""

    says: str
    after: State
    rank: tuple[int, int, str] | None = None
    did: Did | None = None


def moves(state: State, rules: Rules) -> Iterator[Move]:
    """Everything that can happen next."""
    for number in range(len(state.replicas)):
        yield from _work_moves(state, rules, number)
        yield from _delivery_moves(state, rules, number)
        if state.crashes:
            yield from _crash_moves(state, rules, number)
    yield from _start_moves(state, rules)
    yield from _collection_moves(state, rules)
    yield from _actor_moves(state, rules)
    if state.handovers:
        yield from _handover_moves(state, rules)


def fair(ways: Iterable[Move]) -> Move | None:
    """The move that fairness asks for; None in a quiet state."""
    return min((way for way in ways if way.rank is not None), key=lambda way: way.rank or (), default=None)


def _work_moves(state: State, rules: Rules, number: int) -> Iterator[Move]:
    for key, work in sorted(state.replicas[number].works.items()):
        wants = advance(work.run).wants
        assert wants is not None
        name = _name(state, number)
        after = _answered(state, rules, number, key, is_lost=False)
        did = Did(run=work.run, wants=wants, before=state, after=after)
        yield Move(says=f"{name} ({key}): {wants}", after=after, rank=(0, number, key), did=did)
        if state.losses:
            after = replace(_answered(state, rules, number, key, is_lost=True), losses=state.losses - 1)
            did = Did(run=work.run, wants=wants, before=state, after=after)
            yield Move(says=f"{name} ({key}): {wants}, and the answer is lost", after=after, did=did)


def _name(state: State, number: int) -> str:
    return "core" if len(state.replicas) == 1 else f"replica {number}"


def _answered(state: State, rules: Rules, number: int, key: str, *, is_lost: bool) -> State:
    work = state.replicas[number].works[key]
    wants = advance(work.run).wants
    assert wants is not None
    answer: Item
    if isinstance(wants, Request):
        cluster, answer = respond(state.cluster, wants)
        after = replace(state, cluster=cluster)
        if wants.method == "POST" and work.run.is_over(work.run.trace):
            after = after.with_fact(f"written late for {key}")
        answer = NO_ANSWER if is_lost else answer
    else:
        store, answer = call(state.store, wants)
        after = replace(state, store=store)
        answer = _UNANSWERED if is_lost else answer
        after = _noted(after, wants)
    changed = is_lost or after.cluster != state.cluster or after.store != state.store
    after = _resumed(after, number, Work(run=work.run.told(answer), unchanged=work.unchanged and not changed))
    return settle(state, after, rules)


def _noted(state: State, wants: Call) -> State:
    """Takes down what the invariants have to know of a verb that was called."""
    request = wants.request
    bucket = state.store.buckets.get(request.bucket_name)
    if wants.verb == "revoke" and bucket is not None and bucket.made_for == request.owner.uid:
        state = state.with_fact(f"retained {request.bucket_name}")
    return state


def _resumed(state: State, number: int, work: Work) -> State:
    """The state once a reconcile went on to its next request, or to its end."""
    step, key = advance(work.run), work.run.key
    replica = state.replicas[number]
    if step.names != state.names.get(key, 0):
        state = replace(state, names=state.names.with_item(key, max(step.names, state.names.get(key, 0))))
    view = put_back(replica.view, work.run, step.view)
    if view != replica.view:
        replica, work = _with_view(replica, view, besides=key), replace(work, unchanged=False)
    if step.wants is not None:
        work = replace(work, run=simplified(work.run))
        return state.with_replica(number, replace(replica, works=replica.works.with_item(key, work)))
    return state.with_replica(number, _finished(replica, key, step, unchanged=work.unchanged))


def _finished(replica: Replica, key: str, step: Step, *, unchanged: bool) -> Replica:
    retries, idle = replica.retries, replica.idle
    queue = replica.queue | {key} if step.retry is Retry.NEXT_TURN else replica.queue
    if step.retry in {Retry.SOON, Retry.SLOWLY}:
        retries, idle = (retries, idle | {key}) if unchanged else (retries | {key}, idle)
    return replace(
        replica,
        queue=queue,
        works=replica.works.without(key),
        intact=Frozen({**replica.intact, **step.intact}),
        retries=retries,
        idle=idle,
    )


def _with_view(replica: Replica, view: View, *, besides: str = "") -> Replica:
    """Changes the caches under everything that is being worked on, and requeues idle keys."""
    works = {
        key: work if key == besides else Work(run=_told_of(work.run, view), unchanged=False)
        for key, work in replica.works.items()
    }
    retries = replica.retries | replica.idle
    return replace(replica, view=view, works=Frozen(works), retries=retries, idle=frozenset())


def _told_of(run: Run, view: View) -> Run:
    part = watched_by(view, run.key, since=run.view)
    if part == advance(run).view:
        return run
    if run.trace and isinstance(run.trace[-1], CachesChanged):
        run = replace(run, trace=run.trace[:-1])
    return run.told(CachesChanged(view=part))


def settle(before: State, after: State, rules: Rules) -> State:
    """What follows from a change at once: quick watches deliver, and no reconcile counts as unchanged any more."""
    if after.cluster == before.cluster and after.store == before.store:
        return after
    for number in range(len(after.replicas)):
        replica = after.replicas[number]
        works = Frozen({key: replace(work, unchanged=False) for key, work in replica.works.items()})
        replica = replace(replica, works=works, retries=replica.retries | replica.idle, idle=frozenset())
        after = after.with_replica(number, replica)
        for plural in CACHED:
            if plural not in rules.lagging:
                after = _delivered(after, number, plural)
    return after


def _delivered(state: State, number: int, plural: str) -> State:
    replica = state.replicas[number]
    seen = catch_up(replica.view, state.cluster, plural)
    if seen.view == replica.view:
        return state
    intact = Frozen({key: value for key, value in replica.intact.items() if key not in seen.forgotten})
    replica = replace(_with_view(replica, seen.view), intact=intact, queue=replica.queue | seen.woken)
    return state.with_replica(number, replica)


def _delivery_moves(state: State, rules: Rules, number: int) -> Iterator[Move]:
    for plural in sorted(rules.lagging):
        if is_behind(state.replicas[number].view, state.cluster, plural):
            says = f"{_name(state, number)} hears of all {plural}"
            yield Move(says=says, after=_delivered(state, number, plural), rank=(1, number, plural))


def _start_moves(state: State, rules: Rules) -> Iterator[Move]:
    for number, replica in enumerate(state.replicas):
        if len(replica.works) >= rules.workers or (not state.owners and number != state.leader):
            continue
        for key in sorted((replica.queue | replica.retries) - replica.works.keys()):
            if may_begin(state.serves(number), key):
                rank = 2 if key in replica.queue else 3
                says = f"{_name(state, number)} takes up {key}"
                yield Move(says=says, after=_started(state, number, key), rank=(rank, number, key))


def _started(state: State, number: int, key: str) -> State:
    replica = state.replicas[number]
    rest = frozenset({key})
    replica = replace(replica, queue=replica.queue - rest, retries=replica.retries - rest, idle=replica.idle - rest)
    run = Run(
        key=key,
        by=number,
        serves=state.serves(number),
        view=watched_by(replica.view, key),
        intact=_only(replica.intact, key),
        names=state.names.get(key, 0),
    )
    return _resumed(state.with_replica(number, replica), number, Work(run=run))


def _only(intact: Frozen[str, tuple[str, str]], key: str) -> Frozen[str, tuple[str, str]]:
    return Frozen({one: versions for one, versions in intact.items() if one == key})


def _crash_moves(state: State, rules: Rules, number: int) -> Iterator[Move]:
    # A death before the first answer is a restart, and loses nothing but memory.
    if any(work.run.trace for work in state.replicas[number].works.values()):
        after = restarted(replace(state, crashes=state.crashes - 1), number)
        yield Move(says=f"{_name(state, number)} dies, and starts again", after=after)
    del rules


def restarted(state: State, number: int) -> State:
    """A replica that has just listed everything."""
    state = state.with_replica(number, Replica())
    for plural in CACHED:
        state = _delivered(state, number, plural)
    return state


def _handover_moves(state: State, rules: Rules) -> Iterator[Move]:
    if state.owners:
        yield from _shard_moves(state, rules)
    elif _may_be_lost(state, rules, state.leader):
        for number in range(len(state.replicas)):
            if number != state.leader:
                after = replace(state, leader=number, handovers=state.handovers - 1)
                for one in (state.leader, number):
                    after = _fence_moved(after, one)
                yield Move(says=f"replica {number} becomes the leader", after=after)


def _may_be_lost(state: State, rules: Rules, number: int) -> bool:
    """Whether a replica can lose what it serves while it works: not during a call to the store, which is no write."""
    works = state.replicas[number].works.values()
    return rules.has_late_calls or not any(isinstance(advance(work.run).wants, Call) for work in works)


def _shard_moves(state: State, rules: Rules) -> Iterator[Move]:
    """A shard is given up for another replica; or a replica is paused for so long that another takes all of its."""
    for number, replica in enumerate(state.replicas):
        mine = state.serves(number) or frozenset()
        others = [each for each in range(len(state.replicas)) if each != number]
        for shard in sorted(may_be_given_up(mine, replica.works)):
            for other in others:
                says = f"replica {number} gives shard {shard} up for replica {other}"
                yield Move(says=says, after=_shards_moved(state, {shard}, number, other))
        if mine and _may_be_lost(state, rules, number):
            for other in others:
                says = f"replica {number} is paused, and replica {other} takes its shards"
                yield Move(says=says, after=_shards_moved(state, mine, number, other))


def _shards_moved(state: State, shards: Collection[int], old: int, new: int) -> State:
    owners = Frozen({**state.owners, **dict.fromkeys(shards, new)})
    after = replace(state, owners=owners, handovers=state.handovers - 1)
    loser, winner = state.replicas[old], state.replicas[new]
    lost = {key for key in loser.queue | loser.retries | loser.idle if shard_of(key) in shards}
    loser = replace(loser, queue=loser.queue - lost, retries=loser.retries - lost, idle=loser.idle - lost)
    won = keys_in(winner.view, lambda key: shard_of(key) in shards)
    after = after.with_replica(old, loser).with_replica(new, replace(winner, queue=winner.queue | won))
    return _fence_moved(_fence_moved(after, old), new)


def _fence_moved(state: State, number: int) -> State:
    replica, moved = state.replicas[number], FenceMoved(serves=state.serves(number))
    works = {key: Work(run=work.run.told(moved), unchanged=False) for key, work in replica.works.items()}
    return state.with_replica(number, replace(replica, works=Frozen(works)))


def _collection_moves(state: State, rules: Rules) -> Iterator[Move]:
    """Kubernetes collects what is owned by a claim that no longer exists."""
    uids = {claim["metadata"]["uid"] for claim in state.claims()}
    for path, raw in sorted(state.cluster.objects.items()):
        del raw
        one = state.cluster.find(path)
        assert one is not None
        if controller_uid(one) and controller_uid(one) not in uids:
            cluster, _ = respond(state.cluster, Request(method="DELETE", path=path, body=dump({})))
            after = settle(state, replace(state, cluster=cluster), rules)
            if after != state:
                yield Move(says=f"Kubernetes collects {short(path)}", after=after, rank=(4, 0, path))


def _actor_moves(state: State, rules: Rules) -> Iterator[Move]:
    for number, actions in enumerate(rules.actors):
        done = state.done[number]
        if done == len(actions):
            continue
        after = actions[done].act(state)
        if after is not None:
            after = replace(after, done=(*state.done[:number], done + 1, *state.done[number + 1 :]))
            yield Move(says=actions[done].says, after=settle(state, after, rules))
