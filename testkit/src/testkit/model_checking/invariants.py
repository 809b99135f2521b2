"""What has to hold: each invariant in a sentence, with the code that maintains it, and a check of states or moves.

A check reads the cluster, the store and the requests to them, and never the core's memory.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from libbucket._controller.event_router import EventRouter
from libbucket._controller.requeue_policy import RequeuePolicy
from libbucket._controller.shard_elector import ShardElector
from libbucket._kube.client import KubeClient
from libbucket._reconcile.apply import owned_objects
from libbucket._reconcile.apply.bind import Binder
from libbucket._reconcile.apply.object_buckets import BucketObjects
from libbucket._reconcile.apply.provisioner_calls import ProvisionerCalls
from libbucket._reconcile.apply.release import Releaser
from libbucket._reconcile.model import intent, manifests
from libbucket._reconcile.model.names import bucket_object_names
from libbucket._reconcile.observe.observer import Observer
from libbucket._reconcile.plan import planner
from libbucket._reconcile.reconciler import Reconciler
from libbucket.testing.memory import MemoryProvisioner
from testkit.api_server import Request, bucket_path, plural_of, secret_path
from testkit.model_checking.core import CachesChanged
from testkit.model_checking.fence import FenceMoved
from testkit.model_checking.object_store import Call
from testkit.model_checking.search import QUIET
from testkit.model_checking.state import controller_uid, has_finalizer, is_going, owner_key, owner_uid

if TYPE_CHECKING:
    from collections.abc import Callable

    from testkit.api_server import Json
    from testkit.model_checking.moves import Did, Move
    from testkit.model_checking.state import State


def _never_of_state(_state: State, *, is_quiet: bool) -> str:
    del is_quiet
    return ""


def _never_of_move(_move: Move) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Invariant:
    """One invariant.

    Attributes:
        name: in two or three words.
        says: the invariant, in one sentence.
        kept_by: the code that keeps it.
        of_state: why a state breaks it; "" if it does not.
        of_move: why a move breaks it; "" if it does not.
    """

    name: str
    says: str
    kept_by: tuple[object, ...]
    of_state: Callable[..., str] = _never_of_state
    of_move: Callable[[Move], str] = _never_of_move


# Isolation of claims ----------------------------------------------------------------------------------------------


def _identities_reach_own_buckets(state: State, *, is_quiet: bool) -> str:
    del is_quiet
    for user, identity in state.store.identities.items():
        for name in identity.grants:
            bucket = state.store.buckets.get(name)
            if bucket is not None and bucket.made_for not in {"", identity.made_for}:
                return f"{user}, made for {identity.made_for}, reaches {name}, made for {bucket.made_for}"
    return ""


def _store_changes_are_own(move: Move) -> str:
    did = move.did
    if did is None or not isinstance(did.wants, Call):
        return ""
    uid, before, after = did.wants.request.owner.uid, did.before.store, did.after.store
    for kind in ("buckets", "identities"):
        was, now = getattr(before, kind), getattr(after, kind)
        for name, one in was.items():
            if now.get(name) != one and one.made_for != uid:
                return f"{did.wants.verb} for {uid} changed {name}, made for {one.made_for or 'no claim'}"
    return ""


# Nothing is lost ----------------------------------------------------------------------------------------------------


def _everything_is_known(state: State, *, is_quiet: bool) -> str:
    del is_quiet
    for name, bucket in state.store.buckets.items():
        if bucket.made_for and f"retained {name}" not in state.facts and not _is_known(state, bucket.made_for, name):
            return f"no record of {name}, made for {bucket.made_for}"
    for user, identity in state.store.identities.items():
        if identity.made_for and not _is_known(state, identity.made_for, ""):
            return f"no record of {user}, made for {identity.made_for}"
    return ""


def _is_known(state: State, uid: str, bucket: str) -> bool:
    claim_holds = has_finalizer(state.claim_of(uid)) or f"finalizer removed manually {uid}" in state.facts
    records = [one for one in state.records_of(uid) if has_finalizer(one)]
    names = {one["spec"].get("endpoint", {}).get("bucketName") for one in records}
    if claim_holds and records and (not bucket or bucket in names):
        return True
    claim = state.claim_of(uid)
    # The record was removed manually: until it is recreated, the claim itself is what knows.
    removed = f"record removed manually {uid}" in state.facts
    return bool(removed and claim is not None and has_finalizer(claim) and claim["spec"].get("bucketName"))


# Retained ----------------------------------------------------------------------------------------------------------


def _only_what_may_go_is_deleted(move: Move) -> str:
    did = move.did
    if did is None or not isinstance(did.wants, Call):
        return ""
    uid = did.wants.request.owner.uid
    for name in did.before.store.buckets.keys() - did.after.store.buckets.keys():
        if f"record removed manually {uid}" in did.before.facts:
            continue
        policies = {one["spec"].get("reclaimPolicy") for one in did.before.records_of(uid)}
        if policies != {"Delete"}:
            said = ", ".join(map(str, policies)) or "nothing: it is gone"
            return f"{name} was deleted, and its ObjectBucket says {said}"
    return ""


# Credentials -------------------------------------------------------------------------------------------------------


def _bound_claims_can_be_used(state: State, *, is_quiet: bool) -> str:
    del is_quiet
    for claim in state.claims():
        meta, key = claim["metadata"], _key_of(claim)
        secret = state.cluster.find(secret_path(key))
        is_bound = claim.get("status", {}).get("phase") == "Bound" and not is_going(claim)
        if not is_bound or secret is None or controller_uid(secret) != meta["uid"]:
            continue
        if not _opens(state, secret, claim["spec"].get("bucketName", "")):
            return f"{key} is Bound, and what its Secret holds opens nothing"
    return ""


def _opens(state: State, secret: Json, bucket: str) -> bool:
    data = {key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()}
    key_id, key = data.get(manifests.ACCESS_KEY_ID, ""), data.get(manifests.SECRET_ACCESS_KEY, "")
    return any(state.store.opens(key_id, key, name) for name in {bucket, *state.store.buckets} if name)


def _key_of(one: Json) -> str:
    return f"{one['metadata']['namespace']}/{one['metadata']['name']}"


# Objects of the cluster -----------------------------------------------------------------------------------------------


def _writes_are_to_own_objects(move: Move) -> str:
    did = _write(move)
    if did is None or not isinstance(did.wants, Request) or did.wants.method == "POST":
        return ""
    path = did.wants.path.removesuffix("/status")
    one = did.before.cluster.find(path)
    if one is None or did.before.cluster == did.after.cluster:
        return ""
    if plural_of(path) == "objectbuckets":
        return "" if owner_key(one) == did.run.key else f"{did.wants} of {owner_key(one)}, for {did.run.key}"
    if plural_of(path) in {"secrets", "configmaps"}:
        claim = did.before.claim(did.run.key)
        uid = controller_uid(one)
        # What a claim that is gone has left is its own still.
        gone = f"objectbucketclaims:{did.run.key}@"
        is_own = uid.startswith(gone) if claim is None else uid == claim["metadata"]["uid"]
        return "" if is_own else f"{did.wants}, owned by {uid or 'no claim'}"
    return "" if _key_of(one) == did.run.key else f"{did.wants}, for {did.run.key}"


def _write(move: Move) -> Did | None:
    did = move.did
    return did if did is not None and isinstance(did.wants, Request) and did.wants.method != "GET" else None


# Last of all -------------------------------------------------------------------------------------------------------


def _finalizer_goes_last(move: Move) -> str:
    did = _write(move)
    if did is None:
        return ""
    for claim in did.before.claims():
        uid = claim["metadata"]["uid"]
        if not has_finalizer(claim) or has_finalizer(did.after.claim_of(uid)):
            continue
        if f"written late for {_key_of(claim)}" in did.after.facts:
            continue  # by who had just lost the lease: cleared away afterwards, or it is not quiet
        if left := _left_of(did.before, uid):
            return f"{_key_of(claim)} lost its finalizer, and left {left}"
    return ""


def _left_of(state: State, uid: str) -> str:
    """A resource that still exists for a claim."""
    for one in state.records_of(uid):
        return f"ObjectBucket {one['metadata']['name']}"
    for kind in ("secrets", "configmaps"):
        for one in state.cluster.all(kind):
            if controller_uid(one) == uid:
                return f"{kind} {_key_of(one)}"
    for user, identity in state.store.identities.items():
        if identity.made_for == uid:
            return f"identity {user}"
    for name, bucket in state.store.buckets.items():
        if bucket.made_for == uid and f"retained {name}" not in state.facts:
            return f"bucket {name}"
    return ""


# Replicas ----------------------------------------------------------------------------------------------------------


def _only_the_leader_writes(move: Move) -> str:
    did = move.did
    if did is None or (isinstance(did.wants, Request) and did.wants.method == "GET"):
        return ""
    trace = list(did.run.trace)
    while trace and isinstance(trace[-1], CachesChanged | FenceMoved):
        trace.pop()  # this came while the request was on its way already
    has_lost = did.run.is_over(trace)
    return f"{did.wants} by replica {did.run.by}, which had lost the lease since it began" if has_lost else ""


def _one_replica_serves_a_claim(state: State, *, is_quiet: bool) -> str:
    del is_quiet
    for key in {key for replica in state.replicas for key in replica.works}:
        works = [(number, replica.works.get(key)) for number, replica in enumerate(state.replicas)]
        able = [number for number, work in works if work is not None and not work.run.is_over(work.run.trace)]
        if len(able) > 1:
            return f"{key} is served by replicas {able} at once"
    return ""


# Quiet ---------------------------------------------------------------------------------------------------------------


def _ends_well(state: State, *, is_quiet: bool) -> str:
    if not is_quiet:
        return ""
    for claim in state.claims():
        if why := _claim_is_done(state, claim):
            return why
    living = {claim["metadata"]["uid"] for claim in state.claims()}
    for one in state.cluster.all("objectbuckets"):
        if owner_uid(one) not in living:
            return f"ObjectBucket {one['metadata']['name']} is left of {owner_uid(one)}"
    for kind in ("buckets", "identities"):
        for name, one in getattr(state.store, kind).items():
            stripped = {fact.rpartition(" ")[2] for fact in state.facts if fact.startswith("record removed manually")}
            known = {"", *living, *stripped}
            if one.made_for not in known and f"retained {name}" not in state.facts:
                return f"{name} is left of {one.made_for}"
    return ""


def _claim_is_done(state: State, claim: Json) -> str:
    key, status = _key_of(claim), claim.get("status", {})
    ready: Json = next((one for one in status.get("conditions", ()) if one["type"] == "Ready"), {})
    if is_going(claim):
        return f"{key} is stuck in its deletion: {ready.get('reason')}" if has_finalizer(claim) else ""
    if _waits_for_others(state, claim, ready.get("reason", "")):
        return ""
    if status.get("phase") != "Bound" or ready.get("status") != "True":
        return f"{key} is {status.get('phase')}: {ready.get('reason')}"
    secret = state.cluster.find(secret_path(key))
    if secret is None or not _opens(state, secret, claim["spec"].get("bucketName", "")):
        return f"{key} is Bound, without credentials that work"
    names = [one["metadata"]["name"] for one in state.records_of(claim["metadata"]["uid"])]
    return "" if names == [claim["spec"].get("objectBucketName")] else f"{key} has ObjectBuckets {names}"


def _waits_for_others(state: State, claim: Json, reason: str) -> bool:
    """Whether what the claim gives as its reason is so."""
    key, uid = _key_of(claim), claim["metadata"]["uid"]
    if reason == "SecretConflict":
        secret = state.cluster.find(secret_path(key))
        return secret is not None and controller_uid(secret) != uid
    if reason == "BucketExists":
        bucket = state.store.buckets.get(claim["spec"].get("bucketName", ""))
        return bucket is not None and bucket.made_for != uid
    if reason == "ObjectBucketConflict":
        namespace, _, name = key.partition("/")
        found = [state.cluster.find(bucket_path(one)) for one in bucket_object_names(namespace, name, uid)]
        return all(one is not None and owner_uid(one) != uid for one in found)
    return False


INVARIANTS: Final = (
    Invariant(
        name="own buckets only",
        says="No bucket or identity of another claim is handed to a claim, changed or deleted for it.",
        kept_by=(Observer._is_proven, intent.owner_of, MemoryProvisioner.provision, MemoryProvisioner.delete),
        of_state=_identities_reach_own_buckets,
        of_move=_store_changes_are_own,
    ),
    Invariant(
        name="nothing lost",
        says=(
            "Every bucket and identity is known to an ObjectBucket whose claim still has our finalizer; "
            "only a bucket that was retained is not."
        ),
        kept_by=(
            Binder.record_intent,
            Observer._read_afresh,
            BucketObjects.replace,
            BucketObjects.discard,
            Releaser.release,
        ),
        of_state=_everything_is_known,
    ),
    Invariant(
        name="retained stays",
        says="A bucket is deleted only while the ObjectBucket that records it says Delete.",
        kept_by=(Releaser._release_bucket, intent.reclaim_policy_of),
        of_move=_only_what_may_go_is_deleted,
    ),
    Invariant(
        name="credentials work",
        says="While a claim says Bound, what its Secret holds opens its bucket.",
        kept_by=(Binder.bind, Binder._credentials, Reconciler._act_on_claim),
        of_state=_bound_claims_can_be_used,
    ),
    Invariant(
        name="own objects only",
        says="The core writes to no ObjectBucket, Secret, ConfigMap or claim that is not proven to be the claim's.",
        kept_by=(Observer._is_proven, owned_objects.ensure, Releaser._delete_owned, KubeClient.delete),
        of_move=_writes_are_to_own_objects,
    ),
    Invariant(
        name="finalizer last",
        says="Our finalizer leaves a claim when nothing that was made for it is left, except a retained bucket.",
        kept_by=(Releaser.release, Releaser.remove_finalizer, planner._decide_deletion),
        of_move=_finalizer_goes_last,
    ),
    Invariant(
        name="only the leader writes",
        says="A replica that lost the lease, or a shard, begins no write and calls no store for its claims.",
        kept_by=(KubeClient._write, ProvisionerCalls._call, ShardElector.check_leadership),
        of_move=_only_the_leader_writes,
    ),
    Invariant(
        name="one replica",
        says="No claim is served by two replicas that may both write.",
        kept_by=(ShardElector.begin_work, ShardElector.check_leadership, ShardElector._renewed),
        of_state=_one_replica_serves_a_claim,
    ),
    Invariant(
        name=QUIET,
        says="Every fair run ends quiet: each claim is Bound, or gone with all that it had, or says truly why not.",
        kept_by=(planner.decide, EventRouter.on_claim, EventRouter.on_bucket, RequeuePolicy.plan),
        of_state=_ends_well,
    ),
)
