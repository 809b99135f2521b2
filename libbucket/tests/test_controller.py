"""The wiring of the controller: what the queue asks the caches for. No thread is started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec
import pytest

from libbucket._api import Metadata, Object, ObjectBucketClaim, ObjectBucketObject, StorageClass
from libbucket._kube.cache import Cache
from libbucket._reconcile.model.actions import Bind, Settled
from libbucket._reconcile.plan.planner import decide
from libbucket.testing import builders
from libbucket.testing.memory import PROVISIONER_NAME, MemoryProvisioner
from testkit.benchmark.claim_pages import pages
from testkit.controllers import a_controller
from testkit.core import FakeClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket._controller.controller import Controller

WORKERS = 8


def one_replica(*, version: str = "1", workers: int = WORKERS) -> Controller:
    return a_controller(
        FakeClient(), MemoryProvisioner, provisioner_name=PROVISIONER_NAME, workers=workers, version=version
    )


@pytest.fixture
def controller() -> Controller:
    return one_replica()


def observe_class(controller: Controller, name: str, provisioner: str = PROVISIONER_NAME, version: int = 1) -> None:
    body = builders.a_class(name=name, provisioner=provisioner)
    body["metadata"]["resourceVersion"] = str(version)
    controller._caches.classes.observe(msgspec.convert(body, StorageClass))


def queue_claims(controller: Controller, storage_class: str, number: int) -> None:
    for each in range(number):
        body = builders.a_claim(name=f"claim-{each}", namespace="shop", storage_class=storage_class)
        claim = msgspec.convert(body, ObjectBucketClaim)
        controller._caches.claims.observe(claim)
        controller._queue.add(claim.metadata.key)


def taken(controller: Controller) -> int:
    """How many keys workers may have at once, if the store takes all that comes."""
    for load in controller._queue._limits._loads.values():
        load.at_once.limit = WORKERS
    return sum(1 for _ in iter(lambda: controller._queue.get(timeout=0), None))


@pytest.fixture
def decoded() -> Iterator[list[type[Any]]]:
    """The type of each object that a cache decodes."""
    found: list[type[Any]] = []
    unpacked = Cache._unpacked

    def noted(self: Cache[Any], packed: Any) -> Any:
        found.append(self._packer._kind)
        return unpacked(self, packed)

    with mock.patch.object(Cache, "_unpacked", noted):
        yield found


def test_taking_a_key_decodes_nothing_however_many_classes_there_are(
    controller: Controller, decoded: list[type[Any]]
) -> None:
    for number in range(100):
        observe_class(controller, f"class-{number}")
    queue_claims(controller, "class-0", 20)
    decoded.clear()
    assert controller._queue.get(timeout=0) is not None
    assert decoded == []


def test_a_class_may_have_every_worker_until_there_is_a_second_one(controller: Controller) -> None:
    observe_class(controller, "fast")
    observe_class(controller, "theirs", "other.example.com/bucket")
    queue_claims(controller, "fast", 2 * WORKERS)
    controller._queue.get(timeout=0)
    assert 1 + taken(controller) == WORKERS


@pytest.mark.parametrize("change", ["added", "was of another provisioner"])
def test_a_second_class_has_its_share_of_the_workers_as_soon_as_the_watch_shows_it(
    controller: Controller, change: str
) -> None:
    observe_class(controller, "fast")
    observe_class(controller, "slow", "other.example.com/bucket" if change != "added" else PROVISIONER_NAME)
    observe_class(controller, "slow", version=2)
    queue_claims(controller, "fast", 2 * WORKERS)
    controller._queue.get(timeout=0)
    assert 1 + taken(controller) == WORKERS - WORKERS // 4


def test_a_class_that_is_deleted_leaves_its_share(controller: Controller) -> None:
    observe_class(controller, "fast")
    observe_class(controller, "slow")
    slow = controller._caches.classes.get("slow")
    assert slow is not None
    controller._caches.classes.remove(slow)
    queue_claims(controller, "fast", 2 * WORKERS)
    controller._queue.get(timeout=0)
    assert 1 + taken(controller) == WORKERS


# A start with many bound claims, of the same version and of a new one.

BOUND = 2000


def started(version: str) -> Controller:
    """A controller whose caches are filled with claims that version 1 has bound, all queued."""
    controller = one_replica(version=version, workers=64)
    kinds: dict[str, type[Object]] = {
        "classes": StorageClass,
        "claims": ObjectBucketClaim,
        "buckets": ObjectBucketObject,
        "secrets": Metadata,
        "config_maps": Metadata,
    }
    for kind, page in pages(BOUND):
        items = [msgspec.Raw(page)] if kind == "classes" else msgspec.json.decode(page, type=_Page).items
        for item in items:
            getattr(controller._caches, kind).observe(msgspec.json.decode(item, type=kinds[kind]))
    for informer in controller._informers:
        informer.synced.set()
    controller._router.enqueue_all()
    assert controller._queue.state().ready == BOUND
    return controller


class _Page(msgspec.Struct):
    items: list[msgspec.Raw]


@pytest.fixture(scope="module")
def upgraded() -> Controller:
    return started("2")


def create_claim(controller: Controller, name: str) -> str:
    """A claim of the namespace and the class of all others, as the watch brings it."""
    claim = msgspec.convert(builders.a_claim(name=name, namespace="shop", storage_class="buckets"), ObjectBucketClaim)
    controller._caches.claims.observe(claim)
    controller._router.on_claim(None, claim)
    return claim.metadata.key


def take(controller: Controller) -> str:
    """The next key, for a worker that is done with it at once."""
    key = controller._queue.get(timeout=0)
    assert key is not None
    controller._queue.done(key)
    return key


def test_queueing_all_claims_decodes_each_a_few_times(decoded: list[type[Any]]) -> None:
    controller = started("1")
    decoded.clear()
    controller._router.enqueue_all()
    assert len(decoded) <= 5 * BOUND + 5, "claim and ObjectBucket once; the claim for its priority, with its class"


def test_an_object_bucket_is_queued_for_a_claim_that_is_gone(controller: Controller) -> None:
    bucket = builders.an_object_bucket(claim=builders.a_claim(name="gone", namespace="shop"), bucket="gone-1")
    controller._caches.buckets.observe(msgspec.convert(bucket, ObjectBucketObject))
    controller._lists_arrived = True
    controller._router.enqueue_all()
    assert controller._queue.get(timeout=0) == "shop/gone"


def test_after_an_upgrade_every_claim_is_reconciled_in_full_and_after_a_restart_none() -> None:
    for version, action in (("1", Settled), ("2", Bind)):
        controller = started(version)
        for _ in range(20):
            snapshot = controller._reconciler._observer.observe(take(controller))
            assert isinstance(decide(snapshot), action)


def test_after_an_upgrade_a_new_claim_is_taken_before_those_that_serve(upgraded: Controller) -> None:
    for number in range(20):
        key = create_claim(upgraded, f"new-{number}")
        taken = [take(upgraded), take(upgraded)]
        assert key in taken, "every eighth turn belongs to the others"


def test_during_an_upgrade_many_new_claims_leave_the_others_an_eighth_of_the_turns(upgraded: Controller) -> None:
    new = {create_claim(upgraded, f"many-{number}") for number in range(200)}
    taken = [take(upgraded) for _ in range(160)]
    assert sum(key not in new for key in taken) == 160 / 8
