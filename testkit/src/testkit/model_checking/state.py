"""The state of everything at one moment, as a value: the cluster, the store, every replica, what may still happen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from libbucket import _api
from testkit.api_server import Cluster, claim_path
from testkit.frozen import Frozen
from testkit.model_checking.object_store import Store
from testkit.model_checking.views import EMPTY, View

if TYPE_CHECKING:
    from testkit.api_server import Json
    from testkit.model_checking.core import Run


@dataclass(frozen=True, kw_only=True)
class Work:
    """A reconcile in a worker; `unchanged`: nothing has changed anywhere since it began."""

    run: Run
    unchanged: bool = True


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One process of the core.

    Attributes:
        view: its caches.
        intact: what its gatherer remembers.
        queue: keys that something woke.
        retries: keys that are requeued by themselves.
        idle: keys whose last retry changed nothing; they are requeued once anything changes.
        works: what its workers do, by key.
    """

    view: View = EMPTY
    intact: Frozen[str, tuple[str, str]] = Frozen()
    queue: frozenset[str] = frozenset()
    retries: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()
    works: Frozen[str, Work] = Frozen()


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything.

    Attributes:
        cluster: what the API server holds.
        store: what the object store holds.
        replicas: processes of the core.
        leader: which of them leads; no matter where shards have owners.
        owners: which of them serves which shard; empty where there is a leader.
        done: how many of its actions each actor has done.
        crashes: how many more there may be; and so on.
        names: bucket names drawn so far, by claim.
        facts: what invariants have to know of the past: `retained <bucket>`, `finalizer removed manually <uid>`,
            `record removed manually <uid>`, `written late for <key>`.
    """

    cluster: Cluster = Cluster()
    store: Store = Store()
    replicas: tuple[Replica, ...] = (Replica(),)
    leader: int = 0
    owners: Frozen[int, int] = Frozen()
    done: tuple[int, ...] = ()
    crashes: int = 0
    losses: int = 0
    handovers: int = 0
    names: Frozen[str, int] = Frozen()
    facts: frozenset[str] = frozenset()

    def with_replica(self, number: int, replica: Replica) -> State:
        replicas = list(self.replicas)
        replicas[number] = replica
        return replace(self, replicas=tuple(replicas))

    def with_fact(self, fact: str) -> State:
        return self if fact in self.facts else replace(self, facts=self.facts | {fact})

    def serves(self, number: int) -> frozenset[int] | None:
        """The shards of a replica; None where there is a leader."""
        return frozenset(shard for shard, owner in self.owners.items() if owner == number) if self.owners else None

    # What the invariants read ----------------------------------------------------------------------------------

    def claims(self) -> list[Json]:
        return self.cluster.all("objectbucketclaims")

    def claim(self, key: str) -> Json | None:
        return self.cluster.find(claim_path(key))

    def claim_of(self, uid: str) -> Json | None:
        return next((one for one in self.claims() if one["metadata"]["uid"] == uid), None)

    def records_of(self, uid: str) -> list[Json]:
        """The ObjectBuckets that are proven to be this claim's."""
        return [one for one in self.cluster.all("objectbuckets") if owner_uid(one) == uid]


def owner_uid(ob: Json) -> str:
    """Whose an ObjectBucket is."""
    annotated: str = ob["metadata"].get("annotations", {}).get(_api.CLAIM_UID, "")
    return annotated or ob["spec"].get("claimRef", {}).get("uid", "")


def owner_key(ob: Json) -> str:
    """`namespace/name` of that claim."""
    notes, ref = ob["metadata"].get("annotations", {}), ob["spec"].get("claimRef", {})
    namespace = notes.get(_api.CLAIM_NAMESPACE) or ref.get("namespace", "")
    return f"{namespace}/{notes.get(_api.CLAIM_NAME) or ref.get('name', '')}"


def has_finalizer(one: Json | None) -> bool:
    """Whether our finalizer is on it."""
    return one is not None and _api.FINALIZER in one["metadata"].get("finalizers", ())


def is_going(one: Json) -> bool:
    """Whether it is being deleted."""
    return "deletionTimestamp" in one["metadata"]


def controller_uid(one: Json) -> str:
    """The claim that owns a Secret or ConfigMap."""
    owners = one["metadata"].get("ownerReferences", ())
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")
