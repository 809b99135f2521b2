"""What is interrupted: each flow of a claim's life, from one settled state to the next.

A flow prepares a claim, starts something with it, and says what must be so in the end. Knows
`ProxiedEnvironment`; knows no fault.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from kubernetes.client.exceptions import ApiException

from testkit.cluster.memory_environment import OBC, condition
from testkit.resilience.trials import Violation, eventually

if TYPE_CHECKING:
    from collections.abc import Iterable

    from testkit.resilience.proxied_environment import ProxiedEnvironment, Snapshot
    from testkit.stores.base import Bound

FINALIZERS = ["objectbucket.io/finalizer"]


class Life:
    """One claim of one trial.

    Args:
        environment: where it lives.
        name: of the claim.

    Attributes:
        before: the snapshot before there was anything of the claim.
        first: the claim as it was bound at first, where the flow begins with a bound one.
    """

    def __init__(self, environment: ProxiedEnvironment, name: str) -> None:
        self.environment = environment
        self.name = name
        self.before: Snapshot = environment.snapshot()
        self.first: Bound | None = None

    def bind(self, kind: str, **spec: object) -> None:
        """Makes the claim, and waits until it is bound and works."""
        self.make(kind, **spec)
        self.first = self.environment.wait_bound(self.name)
        self.environment.assert_works(self.first)

    def make(self, kind: str, **spec: object) -> None:
        """Makes the claim."""
        self.environment.claim(self.name, self.environment.classes[kind], **({"generateBucketName": "photos"} | spec))

    def delete(self) -> None:
        """Deletes the claim."""
        self.environment.admin.delete(self.environment.claim_path(self.name))

    def is_gone(self) -> bool:
        """Whether there is no such claim."""
        return self.environment.admin.find(self.environment.claim_path(self.name)) is None


class Flow:
    """A flow of a claim that is made and bound.

    Attributes:
        name: for seeds.
        kind: of the class.
        keeps: whether the bucket stays when the claim goes.
        things: how many things a bound claim has in the store, by kind; learned by the first run.
    """

    name = "bind"
    kind = "greenfield"
    keeps = False

    def __init__(self) -> None:
        self.things: Counter[str] | None = None

    def prepare(self, life: Life) -> None:
        """Before anything is counted, with a provisioner running."""

    def begin(self, life: Life) -> None:
        """What is interrupted begins."""
        life.make(self.kind)

    def is_past(self, life: Life) -> bool:
        """Whether the flow went through, so that no fault can be met any more."""
        return self.is_over(life)

    def was_interrupted(self, life: Life) -> None:
        """What users do then."""

    def is_over(self, life: Life) -> bool:
        """Whether the provisioner has nothing more to do."""
        return is_settled(life.environment, life.name)

    def check(self, life: Life) -> None:
        """Fails unless everything is as it has to be, now that it is settled."""
        bound = life.environment.as_bound(life.name)
        life.environment.assert_works(bound)
        self.check_things(life)

    def check_things(self, life: Life) -> None:
        """The store holds what a bound claim needs, and nothing else that is new; and so does the cluster."""
        now = life.environment.snapshot()
        lost = life.before.store - now.store
        assert not lost, f"the store lost {sorted(lost)}"
        new = kinds_of(now.store - life.before.store)
        if self.things is None:
            self.things = new
        assert new == self.things, f"the store holds {new} for the claim, and not {self.things}"
        kinds = sorted(path.partition("/")[0] for path in now.cluster.keys() - life.before.cluster.keys())
        expected = ["configmaps", "objectbucketclaims", "objectbuckets", "secrets"]
        assert kinds == expected, f"the cluster holds {kinds} for the claim"
        check_others(life, now)

    def check_gone(self, life: Life, *, kept: str = "") -> None:
        """Nothing of the claim is left, but a bucket that is to be retained."""
        now = life.environment.snapshot()
        left = now.store - life.before.store
        expected = {f"bucket {kept}"} if kept else set()
        # What is said about a bucket as a thing of its own (its policy) stays and goes with it.
        extra = {each for each in left - expected if f" bucket {kept}:" not in each}
        assert not extra, f"left in the store: {sorted(extra)}"
        assert expected <= left, f"the bucket {kept} was to be retained"
        assert not life.before.store - now.store, f"the store lost {sorted(life.before.store - now.store)}"
        new = now.cluster.keys() - life.before.cluster.keys()
        assert not new, f"left in the cluster: {sorted(new)}"
        check_others(life, now)
        if life.first is not None:
            assert life.environment.is_refused(life.first, life.first.bucket), "the credentials still work"

    def clean_up(self, life: Life) -> None:
        """Deletes the claim, and sees that nothing is left but what is to be retained."""
        kept = self._kept(life)
        life.delete()
        eventually(lambda: _assert_gone(life))
        eventually(lambda: self.check_gone(life, kept=kept))
        self.remove_kept(life, kept)

    def remove_kept(self, life: Life, kept: str) -> None:
        """What the claim's owner would do with a retained bucket."""
        if kept:
            administrator = life.environment.store.administrator()
            for key in administrator.list_keys(kept):
                administrator.delete(kept, key)
            administrator.remove_bucket(kept)

    def _kept(self, life: Life) -> str:
        if not self.keeps:
            return ""
        with suppress(ApiException):
            claim = life.environment.admin.get(life.environment.claim_path(life.name))
            return str(claim["spec"].get("bucketName", ""))
        return ""


class Grant(Flow):
    """A claim of a class that names an existing bucket."""

    name = "grant"
    kind = "brownfield"


class Configure(Flow):
    """An edit of `additionalConfig` of a bound claim."""

    name = "config"

    def prepare(self, life: Life) -> None:
        key, first, _ = life.environment.store.config
        life.bind(self.kind, additionalConfig={key: first})

    def begin(self, life: Life) -> None:
        key, _, second = life.environment.store.config
        life.environment.admin.patch(
            life.environment.claim_path(life.name), {"spec": {"additionalConfig": {key: second}}}
        )

    def check(self, life: Life) -> None:
        super().check(life)
        assert life.first
        now = life.environment.as_bound(life.name)
        assert dict(now.environment) == dict(life.first.environment), "an edit changed the credentials"
        _, first, second = life.environment.store.config
        assert life.environment.store.setting(now.bucket) in {second, ""}, f"{first!r} is still in force"


class Restore(Flow):
    """The Secret of a bound claim is removed manually."""

    name = "restore"

    def prepare(self, life: Life) -> None:
        life.bind(self.kind)

    def begin(self, life: Life) -> None:
        life.environment.admin.delete(f"/api/v1/namespaces/{life.environment.namespace}/secrets/{life.name}")

    def is_over(self, life: Life) -> bool:
        path = f"/api/v1/namespaces/{life.environment.namespace}/secrets/{life.name}"
        return life.environment.admin.find(path) is not None and is_settled(life.environment, life.name)

    def check(self, life: Life) -> None:
        super().check(life)
        assert life.first
        now = life.environment.as_bound(life.name)
        if dict(now.environment) != dict(life.first.environment):
            assert life.environment.is_refused(life.first, now.bucket), "the credentials that were lost still work"


class Delete(Flow):
    """A bound claim is deleted, and its bucket with it."""

    name = "delete"

    def prepare(self, life: Life) -> None:
        life.bind(self.kind)
        self._bucket = life.first.bucket if life.first and self.keeps else ""

    def begin(self, life: Life) -> None:
        life.delete()

    def is_over(self, life: Life) -> bool:
        return life.is_gone()

    def check(self, life: Life) -> None:
        self.check_gone(life, kept=self._bucket)
        assert life.first
        if self._bucket:
            administrator = life.environment.store.administrator()
            assert administrator.get(self._bucket, "mine") == b"data", "a retained bucket lost its data"

    def clean_up(self, life: Life) -> None:
        self.remove_kept(life, self._bucket)


class Retain(Delete):
    """A bound claim is deleted, and its bucket stays."""

    name = "retain"
    kind = "retain"
    keeps = True


class Revoke(Delete):
    """A claim on an existing bucket is deleted."""

    name = "revoke"
    kind = "brownfield"


class ChangeOfMind(Flow):
    """A claim is made, and deleted before it was bound."""

    name = "undo"

    def is_past(self, life: Life) -> bool:
        return life.is_gone() or is_settled(life.environment, life.name)

    def was_interrupted(self, life: Life) -> None:
        life.delete()

    def is_over(self, life: Life) -> bool:
        return life.is_gone()

    def check(self, life: Life) -> None:
        self.check_gone(life)

    def clean_up(self, life: Life) -> None:
        """There is nothing left to delete."""


class TakeOver(Flow):
    """A claim that the Go library bound, with nothing of ours on it, in the cluster and in the store."""

    name = "takeover"

    def prepare(self, life: Life) -> None:
        life.bind(self.kind)
        life.environment.kill()
        assert life.first
        _make_it_the_go_librarys(life, life.first)

    def begin(self, life: Life) -> None:
        life.environment.start()

    def is_over(self, life: Life) -> bool:
        claim = life.environment.admin.get(life.environment.claim_path(life.name))
        ob = life.environment.admin.get(f"{OBC}/objectbuckets/{claim['spec']['objectBucketName']}")
        return "annotations" in ob["metadata"] and is_settled(life.environment, life.name)

    def check(self, life: Life) -> None:
        super().check(life)
        assert life.first
        now = life.environment.as_bound(life.name)
        assert dict(now.environment) == dict(life.first.environment), "a takeover changed the credentials"


FLOWS: tuple[type[Flow], ...] = (Flow, Grant, Configure, Restore, Delete, Retain, Revoke, ChangeOfMind, TakeOver)


def check_others(life: Life, now: Snapshot) -> None:
    """No object of others was written."""
    changed = {path for path, version in life.before.cluster.items() if now.cluster.get(path, version) != version} | (
        life.before.cluster.keys() - now.cluster.keys()
    )
    assert not changed, f"objects of others were changed: {sorted(changed)}"
    life.environment.assert_other_tenant_unaffected()


def _assert_gone(life: Life) -> None:
    if not life.is_gone():
        claim = life.environment.admin.find(life.environment.claim_path(life.name)) or {}
        raise Violation(f"the claim is still there: {claim.get('status')}")


def is_settled(environment: ProxiedEnvironment, name: str) -> bool:
    """Whether a claim is bound, and nothing about it is older than its last edit."""
    claim = environment.admin.find(environment.claim_path(name))
    if claim is None:
        return False
    status = claim.get("status", {})
    return "deletionTimestamp" not in claim["metadata"] and bool(
        status.get("phase") == "Bound"
        and condition(claim).get("status") == "True"
        and not condition(claim, "Reconciling")
        and status.get("observedGeneration") == claim["metadata"]["generation"]
    )


def kinds_of(things: Iterable[str]) -> Counter[str]:
    """How many there are of each kind: the first word of each line of a census."""
    return Counter(each.partition(" ")[0] for each in things)


def _make_it_the_go_librarys(life: Life, bound: Bound) -> None:
    """Leaves on the objects what the Go library writes, and takes away what only we do."""
    admin, inside = life.environment.admin, f"/api/v1/namespaces/{life.environment.namespace}"
    claim = admin.get(life.environment.claim_path(life.name))
    ob = f"{OBC}/objectbuckets/{claim['spec']['objectBucketName']}"
    annotations = dict.fromkeys(admin.get(ob)["metadata"].get("annotations", {}))
    admin.patch(ob, {"metadata": {"annotations": annotations}})
    for kind in ("secrets", "configmaps"):
        admin.patch(f"{inside}/{kind}/{life.name}", {"metadata": {"finalizers": FINALIZERS}})
    status = {"conditions": None, "observedGeneration": None}
    admin.patch(life.environment.claim_path(life.name) + "/status", {"status": status})
    life.environment.store.remove_ownership_tags(bound)
