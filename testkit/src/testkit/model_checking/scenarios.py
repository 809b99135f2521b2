"""The scenarios: actors, their actions, and a budget of faults, explored in all orders.

To add an actor: write its actions as an `Action` each (a state in, a state out; None while it can't be done yet), put
them into a scenario's `actors`. What an invariant must know of it goes into `State.facts`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from libbucket._api import FINALIZER
from libbucket._reconcile.model import manifests
from libbucket._reconcile.model.names import bucket_object_names
from libbucket.testing import builders
from testkit.api_server import (
    Cluster,
    Request,
    bucket_path,
    claim_path,
    class_path,
    config_map_path,
    dump,
    respond,
    secret_path,
)
from testkit.frozen import Frozen
from testkit.model_checking.identity import LABEL, PROVISIONER
from testkit.model_checking.moves import Action, Rules, fair, moves, restarted, settle
from testkit.model_checking.object_store import StoredBucket, StoredIdentity
from testkit.model_checking.state import Replica, State, has_finalizer, owner_uid
from testkit.quiet import quietly

if TYPE_CHECKING:
    from collections.abc import Callable

    from testkit.api_server import Json

CLASS: Final = "buckets"
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
    start: State = field(default_factory=lambda: initial_state())  # noqa: PLW0108 - defined below
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


def initial_state(*, replicas: int = 1, crashes: int = 1, losses: int = 0, handovers: int = 0, **class_: Any) -> State:
    """A cluster with a class, an empty store, and cores that have nothing to do."""
    cluster = Cluster()
    body = builders.a_class(name=CLASS, provisioner=PROVISIONER, **class_)
    cluster = must(cluster, Request(method="POST", path=class_path("").rstrip("/"), body=dump(body)))
    return State(cluster=cluster, replicas=(Replica(),) * replicas, crashes=crashes, losses=losses, handovers=handovers)


def _usual_name(key: str) -> str:
    namespace, _, name = key.partition("/")
    return bucket_object_names(namespace, name, "")[0]


def must(cluster: Cluster, request: Request) -> Cluster:
    """The cluster after a request that no policy may refuse."""
    after, answer = respond(cluster, request)
    assert isinstance(answer, bytes), (str(request), answer)
    return after


def _by_request(says: str, request: Request, *, when: Callable[[State], bool] = lambda _state: True) -> Action:
    def act(state: State) -> State | None:
        if not when(state):
            return None
        after, answer = respond(state.cluster, request)
        return replace(state, cluster=after) if isinstance(answer, bytes) else None

    return Action(says=says, act=act)


def creates(key: str, **spec: Any) -> Action:
    """A tenant makes a claim."""
    namespace, _, name = key.partition("/")
    body = builders.a_claim(
        name=name, namespace=namespace, storage_class=CLASS, spec=spec or {"bucketName": f"{name}-1"}
    )
    path = claim_path(key).rpartition("/")[0]
    return _by_request(f"tenant creates {key}", Request(method="POST", path=path, body=dump(body)))


def deletes(key: str, *, when: Callable[[State], bool] = lambda _state: True) -> Action:
    """A tenant deletes a claim."""
    return _by_request(f"tenant deletes {key}", Request(method="DELETE", path=claim_path(key)), when=when)


def names_bucket_of(key: str, other: str) -> Action:
    """A tenant edits a claim to name the ObjectBucket of another."""
    name = _usual_name(other)
    patch = {"spec": {"objectBucketName": name}}
    return _by_request(
        f"tenant of {key} names {name} in it", Request(method="PATCH", path=claim_path(key), body=dump(patch))
    )


def removes_bucket(key: str) -> Action:
    """An administrator deletes a claim's ObjectBucket; its finalizer holds it."""
    path = bucket_path(_usual_name(key))
    return _by_request(f"an administrator deletes the ObjectBucket of {key}", Request(method="DELETE", path=path))


def removes_secret(key: str) -> Action:
    """An administrator deletes a claim's Secret."""
    return _by_request(f"an administrator deletes the Secret of {key}", Request(method="DELETE", path=secret_path(key)))


def is_bound(key: str) -> Callable[[State], bool]:
    """Whether a claim is Bound."""

    def check(state: State) -> bool:
        claim = state.claim(key)
        return claim is not None and claim.get("status", {}).get("phase") == "Bound"

    return check


def lived(state: State, *actions: Action) -> State:
    """The state once these actions were done and all replicas are idle; with nothing going wrong."""
    rules = Rules(actors=())
    at = replace(state, crashes=0, losses=0, handovers=0, done=())
    for number in range(len(at.replicas)):
        at = restarted(at, number)
    for action in actions:
        acted = action.act(at)
        assert acted is not None, action.says
        at = settle(at, acted, rules)
        while (way := fair(moves(at, rules))) is not None:
            at = way.after
    return replace(at, names=Frozen(), crashes=state.crashes, losses=state.losses, handovers=state.handovers)


def done(state: State, *actions: Action) -> State:
    """The state once these actions were done and no replica has reacted yet."""
    for action in actions:
        acted = action.act(state)
        assert acted is not None, action.says
        state = acted
    return state


def made_by_go(state: State, key: str, *, policy: str = "Delete") -> State:
    """Adds a claim that the Go library bound, with its objects as it leaves them and an untagged bucket."""
    namespace, _, name = key.partition("/")
    label = {"bucket-provisioner": LABEL}
    about: dict[str, Any] = {"finalizers": [FINALIZER], "labels": label}
    ob_name, bucket = f"obc-{namespace}-{name}", f"{name}-go"
    spec = {"bucketName": bucket, "generateBucketName": name, "objectBucketName": ob_name}
    body = builders.a_claim(name=name, namespace=namespace, storage_class=CLASS, spec=spec, **about)
    path = claim_path(key)
    cluster = _posted(state.cluster, path, body)
    status = Request(method="PATCH", path=f"{path}/status", body=dump({"status": {"phase": "Bound"}}))
    cluster = must(cluster, status)
    claim = cluster.find(path)
    assert claim is not None
    ob = builders.an_object_bucket(claim=claim, bucket=bucket, reclaim_policy=policy, **about)
    ob["spec"]["additionalState"] = {"UserName": f"go-{name}"}
    cluster = _posted(cluster, bucket_path(ob_name), ob)
    status = Request(method="PATCH", path=f"{bucket_path(ob_name)}/status", body=status.body)
    cluster = must(cluster, status)
    uid = claim["metadata"]["uid"]
    owner = {"kind": "ObjectBucketClaim", "name": name, "uid": uid, "controller": True}
    keys = {manifests.ACCESS_KEY_ID: f"go-{name}#0", manifests.SECRET_ACCESS_KEY: "secret-0"}
    data = {one: base64.b64encode(value.encode()).decode() for one, value in keys.items()}
    metadata = {"name": name, "ownerReferences": [owner], **about}
    cluster = _posted(cluster, secret_path(key), {"metadata": metadata, "data": data})
    cluster = _posted(cluster, config_map_path(key), {"metadata": metadata, "data": {"BUCKET_NAME": bucket}})
    identity = StoredIdentity(keys=Frozen({f"go-{name}#0": "secret-0"}), grants=frozenset({bucket}), made_for=uid)
    store = replace(
        state.store,
        buckets=state.store.buckets.with_item(bucket, StoredBucket(made_for=uid)),
        identities=state.store.identities.with_item(f"go-{name}", identity),
    )
    return replace(state, cluster=cluster, store=store)


def _posted(cluster: Cluster, path: str, body: Json) -> Cluster:
    return must(cluster, Request(method="POST", path=path.rpartition("/")[0], body=dump(body)))


def sets_retain(key: str) -> Action:
    """An administrator decides to keep the bucket of a claim; between two tries of the core, not during one."""
    patch = {"spec": {"reclaimPolicy": "Retain"}}
    path = bucket_path(_usual_name(key))
    return _by_request(
        f"an administrator sets Retain on the ObjectBucket of {key}",
        Request(method="PATCH", path=path, body=dump(patch)),
        when=lambda state: all(key not in replica.works for replica in state.replicas),
    )


def takes_finalizer_off(key: str) -> Action:
    """An administrator removes the finalizer of a claim."""
    request = Request(method="PATCH", path=claim_path(key), body=dump({"metadata": {"finalizers": None}}))
    usual = _by_request(f"an administrator removes the finalizer of {key}", request)

    def act(state: State) -> State | None:
        claim = state.claim(key)
        after = usual.act(state) if has_finalizer(claim) else None
        return after.with_fact(f"finalizer removed manually {claim['metadata']['uid']}") if after and claim else None

    return replace(usual, act=act)


def strips_bucket(key: str) -> Action:
    """An administrator removes the finalizer of a claim's ObjectBucket."""
    path = bucket_path(_usual_name(key))
    request = Request(method="PATCH", path=path, body=dump({"metadata": {"finalizers": None}}))
    usual = _by_request(f"an administrator removes the finalizer of the ObjectBucket of {key}", request)

    def act(state: State) -> State | None:
        ob = state.cluster.find(path)
        after = usual.act(state) if ob is not None else None
        return after.with_fact(f"record removed manually {owner_uid(ob)}") if after and ob else None

    return replace(usual, act=act)


def makes_secret(key: str) -> Action:
    """A tenant makes a Secret of the claim's name."""
    body = {
        "metadata": {"name": key.partition("/")[2], "labels": {"bucket-provisioner": LABEL}},
        "data": {"MINE": "eA=="},
    }
    path = secret_path(key).rpartition("/")[0]
    return _by_request(f"tenant makes a Secret {key}", Request(method="POST", path=path, body=dump(body)))


A, B = "a-b/c", "a/b-c"


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


LATE_CALLS: Final = Scenario(
    name="late calls",
    actors=((creates(A), deletes(A)),),
    start=initial_state(replicas=2, crashes=0, handovers=1),
    has_late_calls=True,
)
"""What is not guaranteed, and why the core cannot guarantee it: no scenario of the suite, and shown by a test."""

with quietly():
    SCENARIOS: Final = _scenarios()
