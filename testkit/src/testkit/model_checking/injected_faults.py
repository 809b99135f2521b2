"""Faults to inject into the core, or a provisioner: the explorer has to detect each, and name the broken invariant."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import msgspec

from libbucket import _api
from libbucket._controller.event_router import EventRouter
from libbucket._controller.shard_elector import ShardElector, _Work
from libbucket._controller.shards import shard_of
from libbucket._kube.errors import Conflict, LeadershipLost, NotFound
from libbucket._kube.resources import BUCKETS
from libbucket._reconcile.apply.bind import Binder
from libbucket._reconcile.apply.object_buckets import BucketObjects
from libbucket._reconcile.apply.provisioner_request import bucket_name, build_intent, class_policy
from libbucket._reconcile.apply.release import Releaser
from libbucket._reconcile.model import manifests
from libbucket._reconcile.model.intent import Intent, encode, for_provisioner, intent_of
from libbucket._reconcile.model.outcome import Outcome, Result
from libbucket._reconcile.observe import orphans
from libbucket._reconcile.observe.observer import Observer, _Found
from libbucket._reconcile.reconciler import Reconciler
from testkit.model_checking.core import Script
from testkit.model_checking.object_store import ModelProvisioner, provisioner_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from libbucket.types import BucketOptions, ObjectBucket


@dataclass(frozen=True, kw_only=True)
class InjectedFault:
    """One injected fault.

    Attributes:
        name: what is done wrong.
        scenario: in which it shows.
        breaks: the invariant that it breaks.
        injected: has it done inside the block.
    """

    name: str
    scenario: str
    breaks: str
    injected: Callable[[], AbstractContextManager[Any]]


def _instead(owner: Any, name: str, made: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: mock.patch.object(owner, name, made)


def _removes_finalizer_first(self: Releaser, claim: Any, ob: Any, what: Any, *, duplicate: Any = None) -> None:
    self.remove_finalizer(claim)
    _RELEASE(self, claim, ob, what, duplicate=duplicate)


def _always_deletes(self: Releaser, _claim: Any, ob: _api.ObjectBucketObject, _plan: Any) -> None:
    intent = intent_of(ob) or Intent(provisioner="", user_id="", greenfield=False)
    self._store.delete(for_provisioner(ob, intent, self._identity.cluster_id))


def _believes_the_cache(_self: Observer, claim: _api.ObjectBucketClaim) -> Any:
    return _Found(claim=claim, buckets=[])


def _records_nothing(self: Binder, snapshot: Any, claim: _api.ObjectBucketClaim) -> Any:
    if snapshot.bucket is not None:
        return _RECORD_INTENT(self, snapshot, claim)
    intent = build_intent(snapshot, claim, self._identity, self._store.provisioner)
    body = manifests.new_bucket_object(
        claim,
        name=snapshot.bucket_object_name,
        label=self._identity.label,
        intent=encode(intent),
        bucket_name=bucket_name(snapshot, claim),
        reclaim_policy=class_policy(snapshot),
    )
    return msgspec.convert(body, _api.ObjectBucketObject), intent


def _records_at_last(self: Binder, snapshot: Any, ob: _api.ObjectBucketObject, intent: Intent, *rest: Any) -> None:
    if not ob.metadata.uid:
        ob, _ = _RECORD_INTENT(self, snapshot, snapshot.claim)
    _FINISH(self, snapshot, ob, intent, *rest)


@contextmanager
def _record_after_the_call() -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(Binder, "record_intent", _records_nothing))
        stack.enter_context(mock.patch.object(Binder, "_finish_bucket_object", _records_at_last))
        yield


def _releases_by_name(self: Releaser, ob: _api.ObjectBucketObject, _claim: Any) -> _api.ObjectBucketObject:
    body = {"status": {"phase": "Released"}}
    return self._client.patch(BUCKETS, ob.metadata.name, body, subresource="status")


def _gives_conflicts_up(self: Reconciler, key: str, snapshot: Any, error: Any) -> Outcome:
    is_conflict = isinstance(error, Conflict | NotFound)
    return Outcome(result=Result.CONFLICT) if is_conflict else _CLUSTER_FAILURE(self, key, snapshot, error)


class TakesWhatExists(ModelProvisioner):
    """Makes every bucket the caller's."""

    def provision(self, options: BucketOptions) -> ObjectBucket:
        if options.bucket_name in self.store.buckets:
            self.store.buckets[options.bucket_name].tags = options.owner.ownership_tags()
        return super().provision(options)


class DeletesWhatIsNamed(ModelProvisioner):
    """Checks no ownership tags."""

    def delete(self, ob: ObjectBucket) -> None:
        if ob.bucket_name in self.store.buckets:
            self.store.buckets[ob.bucket_name].tags = ob.owner.ownership_tags()
        super().delete(ob)


class IssuesKeysEachTime(ModelProvisioner):
    """Never goes on with the keys that the claim has."""

    def provision(self, options: BucketOptions) -> ObjectBucket:
        return super().provision(replace(options, credentials=None))


def _begins_on_every_shard(self: ShardElector, key: str) -> bool:
    self._work.set(_Work(shard_of(key), 0))
    return True


@contextmanager
def _ignores_the_lease() -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(ShardElector, "begin_work", _begins_on_every_shard))
        stack.enter_context(mock.patch.object(ShardElector, "check_leadership", return_value=None))
        yield


def _accepts_later_terms(self: ShardElector) -> None:
    work = self._work.get()
    if not self.is_leader or work is None or work.shard not in self._terms:
        raise LeadershipLost("does not serve this shard now")


def _gives_up_at_work(_self: ShardElector, mine: Collection[int], share: int) -> Collection[int]:
    return sorted(mine)[share:]


_RELEASE: Final = Releaser.release
_RECORD_INTENT: Final = Binder.record_intent
_FINISH: Final = Binder._finish_bucket_object
_CLUSTER_FAILURE: Final = Reconciler._cluster_failure

FAULTS: Final = (
    InjectedFault(
        name="takes every ObjectBucket for proven",
        scenario="names another's ObjectBucket",
        breaks="own objects only",
        injected=_instead(Observer, "_is_proven", lambda *_: True),
    ),
    InjectedFault(
        name="patches an ObjectBucket by name and believes what comes back",
        scenario="the name of an ObjectBucket is given anew",
        breaks="own objects only",
        injected=_instead(Releaser, "mark_released", _releases_by_name),
    ),
    InjectedFault(
        name="forgets an ObjectBucket whose claim lost its finalizer",
        scenario="finalizer removed manually",
        breaks="ends quiet",
        injected=_instead(orphans, "is_unreleased", lambda _bucket: False),
    ),
    InjectedFault(
        name="takes the finalizer off first",
        scenario="retain",
        breaks="finalizer last",
        injected=_instead(Releaser, "release", _removes_finalizer_first),
    ),
    InjectedFault(
        name="records the intent after the call to the store",
        scenario="generated name",
        breaks="nothing lost",
        injected=_record_after_the_call,
    ),
    InjectedFault(
        name="believes the cache when it lets a claim go",
        scenario="two replicas",
        breaks="finalizer last",
        injected=_instead(Observer, "_read_afresh", _believes_the_cache),
    ),
    InjectedFault(
        name="believes the cache about the reclaim policy",
        scenario="second thoughts",
        breaks="retained stays",
        injected=_instead(Releaser, "mark_released", lambda self, ob, _: self._reporter.bucket_phase(ob, "Released")),
    ),
    InjectedFault(
        name="deletes whatever the ObjectBucket says",
        scenario="retain",
        breaks="retained stays",
        injected=_instead(Releaser, "_release_bucket", _always_deletes),
    ),
    InjectedFault(
        name="does not check leadership",
        scenario="two replicas",
        breaks="only the leader writes",
        injected=_instead(Script, "check_leadership", lambda _self: None),
    ),
    InjectedFault(
        name="ignores the lease of shards",
        scenario="shards",
        breaks="one replica",
        injected=_ignores_the_lease,
    ),
    InjectedFault(
        name="does not check the shard before a write",
        scenario="shards",
        breaks="only the leader writes",
        injected=_instead(ShardElector, "check_leadership", lambda _self: None),
    ),
    InjectedFault(
        name="continues the work of an earlier term of a shard",
        scenario="shards, there and back",
        breaks="only the leader writes",
        injected=_instead(ShardElector, "check_leadership", _accepts_later_terms),
    ),
    InjectedFault(
        name="gives a shard up while work on it runs",
        scenario="shards, made again",
        breaks="credentials work",
        injected=_instead(ShardElector, "_given_up", _gives_up_at_work),
    ),
    InjectedFault(
        name="takes every Secret for the claim's",
        scenario="Secret in the way",
        breaks="own objects only",
        injected=_instead(_api.Meta, "is_controlled_by", lambda *_: True),
    ),
    InjectedFault(
        name="replaces an ObjectBucket without a temporary copy",
        scenario="ObjectBucket deleted manually",
        breaks="nothing lost",
        injected=_instead(BucketObjects, "_create_copy", lambda *_: None),
    ),
    InjectedFault(
        name="gives up after a conflict",
        scenario="collision",
        breaks="ends quiet",
        injected=_instead(Reconciler, "_cluster_failure", _gives_conflicts_up),
    ),
    InjectedFault(
        name="requeues nothing when an ObjectBucket changes",
        scenario="ObjectBucket removed manually",
        breaks="ends quiet",
        injected=_instead(EventRouter, "on_bucket", lambda *_: None),
    ),
    InjectedFault(
        name="provisions into a bucket that exists",
        scenario="names another's bucket",
        breaks="own buckets only",
        injected=lambda: provisioner_kind(TakesWhatExists),
    ),
    InjectedFault(
        name="deletes a bucket without checking its ownership tags",
        scenario="names another's bucket",
        breaks="own buckets only",
        injected=lambda: provisioner_kind(DeletesWhatIsNamed),
    ),
    InjectedFault(
        name="issues new keys at every call",
        scenario="takeover",
        breaks="credentials work",
        injected=lambda: provisioner_kind(IssuesKeysEachTime),
    ),
)
