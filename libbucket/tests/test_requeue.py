"""Requeue policy, routing of events, and standbys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from libbucket import Reason
from libbucket._api import RECORD
from libbucket._concurrency import LimitSettings
from libbucket._controller.event_router import EventRouter
from libbucket._controller.requeue_policy import RequeuePolicy
from libbucket._outcomes import Retry, StoreSignal
from libbucket._queue import WorkQueue
from libbucket._reconcile.model.intent import encode, intent_of
from libbucket._reconcile.model.outcome import Outcome, Result
from libbucket._reconcile.model.snapshot import Recheck
from testkit.core import Core

if TYPE_CHECKING:
    from libbucket._api import ObjectBucketClaim, ObjectBucketObject


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_queue(workers: int = 0) -> tuple[WorkQueue, Clock]:
    clock = Clock()
    return WorkQueue(clock=clock, limits=LimitSettings(workers=workers)), clock


def taken(queue: WorkQueue) -> str:
    key = queue.get()
    assert key is not None
    return key


@pytest.mark.parametrize("retry", [Retry.SOON, Retry.SLOWLY])
def test_a_recheck_that_was_not_finished_is_kept_for_the_next_try(retry: Retry) -> None:
    queue, _ = a_queue()
    policy = RequeuePolicy(queue)
    policy.plan("shop/photos", Outcome(result=Reason.STORE_UNAVAILABLE, retry=retry), Recheck.FULL)
    assert policy.take_recheck("shop/photos") is Recheck.FULL
    assert policy.take_recheck("shop/photos") is Recheck.NONE


def test_the_deeper_of_two_rechecks_counts() -> None:
    queue, _ = a_queue()
    policy = RequeuePolicy(queue)
    policy.schedule_recheck("shop/photos", Recheck.FULL, 1.0)
    policy.schedule_recheck("shop/photos", Recheck.DRIFT_CHECK, 0.5)
    assert policy.take_recheck("shop/photos") is Recheck.FULL


def test_an_outage_is_retried_within_half_a_minute_and_a_wrong_class_within_five() -> None:
    for outcome, ceiling in (
        (Outcome(result=Reason.STORE_UNAVAILABLE, retry=Retry.SOON, store=StoreSignal.UNAVAILABLE), 30.0),
        (Outcome(result=Reason.INVALID_PARAMETERS, retry=Retry.SLOWLY), 300.0),
    ):
        queue, clock = a_queue()
        policy = RequeuePolicy(queue)
        for _ in range(20):
            policy.plan("shop/photos", outcome, Recheck.NONE)
            clock.now += 1000
            assert taken(queue) == "shop/photos"
            queue.done("shop/photos")
        policy.plan("shop/photos", outcome, Recheck.NONE)
        clock.now += ceiling
        assert taken(queue) == "shop/photos"


def test_a_claim_whose_provisioner_names_a_delay_is_tried_soon_after_it_however_often_it_waited() -> None:
    queue, clock = a_queue()
    policy = RequeuePolicy(queue)
    waits = Outcome(result=Reason.NOT_READY, retry=Retry.SOON, delay=5.0)
    for _ in range(20):
        policy.plan("shop/photos", waits, Recheck.NONE)
        clock.now += 1000
        assert taken(queue) == "shop/photos"
        queue.done("shop/photos")
    policy.plan("shop/photos", waits, Recheck.NONE)
    clock.now += 4.9
    assert queue.state().ready == 0
    clock.now += 25.1
    assert taken(queue) == "shop/photos"


def test_a_namespace_on_whose_objects_the_api_server_fails_gets_one_worker_until_a_claim_succeeds() -> None:
    queue, _ = a_queue(workers=8)
    policy = RequeuePolicy(queue)
    for number in range(4):
        queue.add(f"bad/{number}")
    first = taken(queue)
    rejected = Outcome(result=Reason.REJECTED_BY_CLUSTER, retry=Retry.SLOWLY, cluster_failed=True)
    policy.plan(first, rejected, Recheck.NONE)
    queue.add("good/1")
    assert taken(queue) == "good/1"
    queue.done(first)
    second = taken(queue)
    policy.plan(second, Outcome(result=Result.BOUND), Recheck.NONE)
    assert {taken(queue), taken(queue)} == {"bad/2", "bad/3"}


def a_claim(core: Core, name: str) -> ObjectBucketClaim:
    core.create_claim(name, bucketName=name)
    claim = core.caches.claims.get(f"shop/{name}")
    assert claim is not None
    return claim


def a_router(core: Core, queue: WorkQueue, *, leads: bool) -> EventRouter:
    identity = core.reconciler._identity
    return EventRouter(
        queue,
        core.caches,
        identity,
        expect=core.reconciler.pending.expect,
        forget=core.reconciler.forget,
        leads=lambda _key: leads,
    )


def test_a_standby_for_a_day_keeps_no_keys() -> None:
    core, (queue, _) = Core(), a_queue()
    router = a_router(core, queue, leads=False)
    for number in range(200):
        claim = a_claim(core, f"claim-{number}")
        router.on_claim(None, claim)
        router.on_claim(claim, None)
    assert queue.state().ready == 0
    assert queue.state().delayed == 0


def test_a_new_leader_begins_with_every_claim_and_every_object_bucket() -> None:
    core, (queue, _) = Core(), a_queue()
    a_claim(core, "photos")
    key = core.create_claim("gone", bucketName="gone")
    core.reconcile(key)
    core.request(
        "PATCH",
        "/apis/objectbucket.io/v1alpha1/namespaces/shop/objectbucketclaims/gone",
        {"metadata": {"finalizers": None}},
    )
    core.request("DELETE", "/apis/objectbucket.io/v1alpha1/namespaces/shop/objectbucketclaims/gone")
    core.sync()
    a_router(core, queue, leads=True).enqueue_all()
    assert {taken(queue), taken(queue)} == {"shop/photos", "shop/gone"}


def test_a_term_begins_with_the_keys_of_its_shards() -> None:
    core, (queue, _) = Core(), a_queue()
    for name in ("photos", "invoices", "archive"):
        a_claim(core, name)
    a_router(core, queue, leads=True).enqueue_all(lambda key: key == "shop/invoices")
    assert taken(queue) == "shop/invoices"
    assert queue.state().ready == 0


def test_rechecks_of_a_shard_that_is_lost_are_dropped() -> None:
    queue, _ = a_queue()
    policy = RequeuePolicy(queue)
    for key in ("shop/photos", "shop/invoices"):
        policy.schedule_recheck(key, Recheck.FULL, 5.0)
    policy.clear(lambda key: key == "shop/photos")
    assert [policy.take_recheck(key) for key in ("shop/photos", "shop/invoices")] == [Recheck.NONE, Recheck.FULL]


def test_a_queue_that_is_cleared_keeps_only_what_is_on_workers() -> None:
    queue, clock = a_queue()
    queue.add("shop/working")
    assert taken(queue) == "shop/working"
    for key in ("shop/ready", "shop/working"):
        queue.add(key)
    queue.add_after("shop/delayed", 5.0)
    queue.clear()
    queue.done("shop/working")
    clock.now += 10
    assert queue.state().ready == queue.state().delayed == queue.state().working == 0
    queue.add("shop/new")
    assert taken(queue) == "shop/new"


def test_a_claim_that_went_is_requeued_only_where_an_object_bucket_of_its_name_is_left() -> None:
    core, (queue, _) = Core(), a_queue()
    router = a_router(core, queue, leads=True)
    without = a_claim(core, "photos")
    router.on_claim(without, None)
    assert queue.state().ready == 0
    key = core.create_claim("bound", bucketName="bound")
    core.reconcile(key)
    claim = core.caches.claims.get(key)
    assert claim is not None
    router.on_claim(claim, None)
    assert taken(queue) == key


def with_record(bucket: ObjectBucketObject, version: str, **notes: bool) -> ObjectBucketObject:
    intent = intent_of(bucket)
    assert intent is not None
    annotations = {**(bucket.metadata.annotations or {}), RECORD: encode(msgspec.structs.replace(intent, **notes))}
    metadata = msgspec.structs.replace(bucket.metadata, annotations=annotations, resource_version=version)
    return msgspec.structs.replace(bucket, metadata=metadata)


def test_flags_of_a_call_in_the_intent_do_not_requeue_the_claim() -> None:
    core, (queue, _) = Core(), a_queue()
    router = a_router(core, queue, leads=True)
    key = core.create_claim("photos", bucketName="photos")
    core.reconcile(key)
    (made,) = core.caches.buckets.grouped(key)
    before, noted = with_record(made, "1", store_never_called=False), with_record(made, "2", store_never_called=True)
    router.on_bucket(before, noted)
    router.on_bucket(noted, with_record(made, "3", store_never_called=False, has_worked=True))
    assert queue.state().ready == 0
    router.on_bucket(before, with_record(made, "4", greenfield=False))
    assert taken(queue) == key
