"""What tenants and administrators do: each `Action` is one of their requests, from one state to the next.

To add an actor: write its actions here (None while one can't be done yet), and put them into a scenario's `actors`.
What an invariant must know of it goes into `State.facts`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from libbucket._reconcile.model.names import bucket_object_names
from libbucket.testing import builders
from testkit.api_server import Request, bucket_path, claim_path, dump, respond, secret_path
from testkit.model_checking.identity import LABEL
from testkit.model_checking.moves import Action
from testkit.model_checking.state import has_finalizer, owner_uid

if TYPE_CHECKING:
    from collections.abc import Callable

    from testkit.model_checking.state import State

CLASS: Final = "buckets"


def _usual_name(key: str) -> str:
    namespace, _, name = key.partition("/")
    return bucket_object_names(namespace, name, "")[0]


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
