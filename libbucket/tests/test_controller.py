"""The wiring of the controller: what the queue asks the caches for. No thread is started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec
import pytest

from libbucket._api import ObjectBucketClaim, StorageClass
from libbucket._controller.controller import Controller, ControllerSettings
from libbucket._kube.cache import Cache
from libbucket._kube.discovery import CrdFeatures
from libbucket._metrics import Metrics
from libbucket.testing import builders
from libbucket.testing.memory import PROVISIONER_NAME, MemoryProvisioner
from testkit.core import FakeClient

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 8


@pytest.fixture
def controller() -> Controller:
    settings = ControllerSettings(
        provisioner_name=PROVISIONER_NAME,
        version="1",
        cluster_id="cluster-1",
        namespaces=(),
        workers=WORKERS,
        allowed_config=frozenset(),
        resync_interval=0,
        repair_interval=0,
        features=CrdFeatures(),
    )
    return Controller(FakeClient(), MemoryProvisioner, settings, Metrics(), None)


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
