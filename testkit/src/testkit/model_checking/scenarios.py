"""The scenarios: actors, their actions, and a budget of faults, explored in all orders."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from testkit.frozen import Frozen
from testkit.model_checking.actions import (
    creates,
    deletes,
    is_bound,
    makes_secret,
    names_bucket_of,
    removes_bucket,
    removes_secret,
    sets_retain,
    strips_bucket,
    takes_finalizer_off,
)
from testkit.model_checking.moves import Action, Rules, restarted
from testkit.model_checking.object_store import StoredBucket
from testkit.model_checking.starts import A, B, done, initial_state, lived, made_by_go, sharded
from testkit.quiet import quietly

if TYPE_CHECKING:
    from testkit.model_checking.state import State

ALL: Final = frozenset({"objectbucketclaims", "objectbuckets", "secrets", "configmaps"})


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One exploration.

    Attributes:
        name: as a sentence's beginning.
        actors: who does what, each in order.
        start: the state before any actor moves.
        lagging: resources of which the core may hear late.
        workers: of each replica.
        has_late_calls: as in `Rules`.
        most: states after which plain `nox` is content, where all of them are too many; 0 for all.
    """

    name: str
    actors: tuple[tuple[Action, ...], ...]
    start: State = field(default_factory=initial_state)
    lagging: frozenset[str] = frozenset()
    workers: int = 1
    has_late_calls: bool = False
    most: int = 0

    @property
    def rules(self) -> Rules:
        return Rules(actors=self.actors, lagging=self.lagging, workers=self.workers, has_late_calls=self.has_late_calls)

    @property
    def first(self) -> State:
        """The state that the search starts from: every replica has listed everything, no actor has acted."""
        state = replace(self.start, done=(0,) * len(self.actors))
        for number in range(len(state.replicas)):
            state = restarted(state, number)
        return state


def _scenarios() -> tuple[Scenario, ...]:
    retain = initial_state(reclaim_policy="Retain")
    brownfield = initial_state(parameters={"bucketName": "shared"})
    brownfield = replace(brownfield, store=replace(brownfield.store, buckets=Frozen({"shared": StoredBucket()})))
    bound_b = lived(initial_state(), creates(B))
    bound_a = lived(initial_state(), creates(A))
    both = done(initial_state(), creates(A), creates(B))
    return (
        Scenario(name="comes and goes", actors=((creates(A), deletes(A)),), lagging=ALL),
        Scenario(name="generated name", actors=((creates(A, generateBucketName="c"), deletes(A)),)),
        Scenario(name="lost answers", actors=((creates(A), deletes(A)),), start=initial_state(crashes=0, losses=1)),
        Scenario(name="retain", actors=((creates(A), deletes(A)),), start=retain),
        Scenario(name="brownfield", actors=((creates(A), deletes(A)),), start=brownfield),
        Scenario(
            name="collision",
            actors=((deletes(A, when=is_bound(A)),),),
            start=replace(both, crashes=0),
            workers=2,
        ),
        Scenario(name="collision, one dies", actors=((deletes(B),),), start=both),
        Scenario(
            name="collision, the usual name comes free",
            actors=((deletes(A),), (creates(B),)),
            start=replace(bound_a, crashes=0),
            workers=2,
            lagging=frozenset({"objectbuckets"}),
        ),
        Scenario(
            name="made again",
            actors=((deletes(A), creates(A), deletes(A)),),
            start=bound_a,
            lagging=frozenset({"objectbucketclaims"}),
        ),
        Scenario(
            name="made again, Retain",
            actors=((creates(A), deletes(A), creates(A)),),
            start=retain,
            lagging=frozenset({"objectbucketclaims", "objectbuckets"}),
        ),
        Scenario(
            name="names another's ObjectBucket",
            actors=((names_bucket_of(A, B), deletes(A)),),
            start=done(bound_b, creates(A)),
            lagging=frozenset({"objectbucketclaims"}),
        ),
        Scenario(
            name="names another's bucket",
            actors=((creates(A, bucketName="b-c-1"), deletes(A)),),
            start=bound_b,
        ),
        Scenario(
            name="takeover",
            actors=((deletes(A),),),
            start=made_by_go(initial_state(), A),
            lagging=frozenset({"objectbucketclaims", "objectbuckets"}),
        ),
        Scenario(
            name="takeover, Retain", actors=((deletes(A),),), start=made_by_go(initial_state(), A, policy="Retain")
        ),
        Scenario(
            name="takeover and collision",
            actors=((deletes(A, when=is_bound(A)),),),
            start=done(made_by_go(initial_state(crashes=0), A), creates(B)),
            workers=2,
        ),
        Scenario(
            name="ObjectBucket deleted manually",
            actors=((removes_bucket(A),), (deletes(A),)),
            start=bound_a,
            lagging=frozenset({"objectbuckets", "objectbucketclaims"}),
        ),
        Scenario(
            name="ObjectBucket removed manually",
            actors=((removes_bucket(A), strips_bucket(A)), (deletes(A),)),
            start=bound_a,
            lagging=frozenset({"objectbuckets"}),
        ),
        Scenario(
            name="Secret removed manually", actors=((removes_secret(A),), (deletes(A),)), start=bound_a, lagging=ALL
        ),
        Scenario(
            name="Secret in the way",
            actors=((deletes(A),), (makes_secret(A), removes_secret(A))),
            start=done(initial_state(), creates(A)),
        ),
        Scenario(
            name="second thoughts",
            actors=((deletes(A),), (sets_retain(A),)),
            start=replace(bound_a, losses=1),
            lagging=frozenset({"objectbuckets"}),
        ),
        Scenario(
            name="orphan",
            actors=((takes_finalizer_off(A), deletes(A), removes_bucket(A), creates(A)),),
            start=bound_a,
        ),
        Scenario(
            name="finalizer removed manually",
            actors=((takes_finalizer_off(A), deletes(A)),),
            start=bound_a,
            lagging=frozenset({"objectbucketclaims", "objectbuckets"}),
            most=4000,
        ),
        Scenario(
            name="finalizer removed manually, Retain",
            actors=((takes_finalizer_off(A), deletes(A)),),
            start=lived(retain, creates(A)),
        ),
        Scenario(
            name="the name of an ObjectBucket is given anew",
            actors=((deletes(A), strips_bucket(A), removes_bucket(A)), (creates(B),)),
            start=replace(lived(initial_state(replicas=2), creates(A)), crashes=0, handovers=1),
            lagging=frozenset({"objectbuckets"}),
            workers=2,
            most=4000,
        ),
        Scenario(
            name="left behind",
            actors=((takes_finalizer_off(A), deletes(A), creates(A), deletes(A)),),
            start=bound_a,
        ),
        Scenario(
            name="two replicas",
            actors=((deletes(A),),),
            start=done(initial_state(replicas=2, crashes=0, handovers=1), creates(A)),
            lagging=frozenset({"objectbuckets"}),
            most=4000,
        ),
        Scenario(
            name="two replicas, made again",
            actors=((deletes(A), creates(A)),),
            start=done(initial_state(replicas=2, crashes=0, handovers=1), creates(A)),
            most=4000,
        ),
        Scenario(
            name="two replicas, one leads twice",
            actors=((deletes(A),),),
            start=done(initial_state(replicas=2, crashes=0, handovers=2), creates(A)),
            most=4000,
        ),
    )


def _shard_scenarios() -> tuple[Scenario, ...]:
    """Two active replicas. The claims are in two shards, each of another replica at first."""
    new = sharded(initial_state(replicas=2, crashes=0, handovers=1))
    both = done(new, creates(A), creates(B))
    return (
        Scenario(
            name="shards",
            actors=((deletes(A),),),
            start=done(new, creates(A)),
            lagging=frozenset({"objectbuckets"}),
            most=4000,
        ),
        Scenario(name="shards, made again", actors=((deletes(A), creates(A)),), start=done(new, creates(A)), most=4000),
        Scenario(
            name="shards, there and back",
            actors=((deletes(A),),),
            start=done(replace(new, handovers=2), creates(A)),
            most=4000,
        ),
        Scenario(
            name="shards, one dies",
            actors=((deletes(A),),),
            start=done(replace(new, crashes=1), creates(A)),
            most=4000,
        ),
        Scenario(name="shards, two claims of one replica", actors=((deletes(A),),), start=both, workers=2, most=4000),
        Scenario(
            name="shards, collision",
            actors=((deletes(A, when=is_bound(A)),),),
            start=replace(both, handovers=0),
            lagging=frozenset({"objectbuckets"}),
            most=4000,
        ),
    )


LATE_CALLS: Final = Scenario(
    name="late calls",
    actors=((creates(A), deletes(A)),),
    start=initial_state(replicas=2, crashes=0, handovers=1),
    has_late_calls=True,
)
"""What is not guaranteed, and why the core cannot guarantee it: no scenario of the suite, and shown by a test."""

with quietly():
    SCENARIOS: Final = (*_scenarios(), *_shard_scenarios())
