"""States that scenarios start from: new ones, and those that other programs or an earlier life have left."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from libbucket._api import FINALIZER
from libbucket._controller.shards import shard_of
from libbucket._reconcile.model import manifests
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
from testkit.model_checking.actions import CLASS
from testkit.model_checking.identity import LABEL, PROVISIONER
from testkit.model_checking.moves import Rules, fair, moves, restarted, settle
from testkit.model_checking.object_store import StoredBucket, StoredIdentity
from testkit.model_checking.state import Replica, State

if TYPE_CHECKING:
    from testkit.api_server import Json
    from testkit.model_checking.moves import Action

A: Final = "a-b/c"
B: Final = "a/b-c"
"""Two claims whose ObjectBuckets have the same usual name, and which are in two shards."""


def initial_state(*, replicas: int = 1, crashes: int = 1, losses: int = 0, handovers: int = 0, **class_: Any) -> State:
    """A cluster with a class, an empty store, and cores that have nothing to do."""
    cluster = Cluster()
    body = builders.a_class(name=CLASS, provisioner=PROVISIONER, **class_)
    cluster = must(cluster, Request(method="POST", path=class_path("").rstrip("/"), body=dump(body)))
    return State(cluster=cluster, replicas=(Replica(),) * replicas, crashes=crashes, losses=losses, handovers=handovers)


def must(cluster: Cluster, request: Request) -> Cluster:
    """The cluster after a request that no policy may refuse."""
    after, answer = respond(cluster, request)
    assert isinstance(answer, bytes), (str(request), answer)
    return after


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


def sharded(state: State) -> State:
    """The same state with active replicas in place of a leader: the shard of each claim belongs to another one."""
    owners = {shard_of(key): number % len(state.replicas) for number, key in enumerate((A, B))}
    return replace(state, owners=Frozen(owners))
