"""A claim that is not bound soon says that it is Pending; one that is saves the write."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from libbucket._kube.errors import ClusterUnavailable, Conflict
from libbucket._reconcile.model.outcome import Result
from libbucket._reconcile.status import pending_status
from libbucket._reconcile.status.pending_status import IN_QUEUE, PATIENCE, PendingStatus
from testkit.core import Core

if TYPE_CHECKING:
    import pytest

SECONDS = 10.0


@dataclass
class Published:
    """A clock that only the test turns, and what was published."""

    now: float = 0.0
    failure: Exception | None = None
    found: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, key: str, message: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.found.append((key, message))

    def status(self) -> PendingStatus:
        return PendingStatus(self, clock=lambda: self.now)

    def keys(self) -> list[str]:
        return [key for key, _ in self.found]


def publish_due(status: PendingStatus) -> None:
    """Publishes everything that is due; the test's clock stands still."""
    status.stop()  # or it would wait for the next one
    while status.publish_next():
        pass


def test_a_claim_that_waits_is_published_after_a_moment() -> None:
    published = Published()
    status = published.status()
    status.expect("shop/photos")
    published.now = PATIENCE - 0.01
    publish_due(status)
    assert published.found == []
    published.now = PATIENCE
    publish_due(status)
    assert published.found == [("shop/photos", IN_QUEUE)]


def test_a_claim_that_another_replica_serves_is_not_published() -> None:
    published = Published()
    served = {"shop/photos"}
    status = PendingStatus(published, work=lambda key: nullcontext(key in served), clock=lambda: published.now)
    status.expect("shop/invoices")
    status.expect("shop/photos")
    published.now = PATIENCE
    status.stop()
    for _ in range(2):
        status.publish_next()
    assert published.keys() == ["shop/photos"]


def test_claims_of_a_shard_that_is_lost_are_withdrawn() -> None:
    published = Published()
    status = published.status()
    for key in ("shop/invoices", "shop/photos", "shop/archive"):
        status.expect(key)
    status.clear(lambda key: key == "shop/invoices")
    published.now = PATIENCE
    publish_due(status)
    assert published.keys() == ["shop/archive", "shop/photos"]


def test_a_claim_that_a_worker_took_is_not_published() -> None:
    published = Published()
    status = published.status()
    status.expect("shop/photos")
    status.withdraw("shop/photos")
    published.now = PATIENCE
    publish_due(status)
    assert published.found == []


def test_the_oldest_claim_is_first() -> None:
    published = Published()
    status = published.status()
    for number in range(3):
        published.now = float(number)
        status.expect(f"shop/{number}")
    published.now = 10.0
    publish_due(status)
    assert published.keys() == ["shop/0", "shop/1", "shop/2"]


def test_a_long_call_is_published_with_what_it_does_and_counts_from_the_start_of_the_reconcile() -> None:
    published = Published(now=PATIENCE)
    status = published.status()
    with status.during("shop/photos", "Creating the bucket", since=0.0):
        publish_due(status)
    assert published.found == [("shop/photos", "Creating the bucket")]


def test_a_call_that_ends_is_not_published() -> None:
    published = Published()
    status = published.status()
    with status.during("shop/photos", "Creating the bucket", since=0.0):
        pass
    published.now = PATIENCE
    publish_due(status)
    assert published.found == []


def test_a_namespace_in_which_the_api_server_fails_is_left_out_for_a_minute_and_others_are_not() -> None:
    published = Published(failure=ClusterUnavailable("the webhook does not answer"))
    status = published.status()
    status.expect("bad/one")
    published.now = PATIENCE
    publish_due(status)
    published.failure = None
    for key in ("bad/two", "good/one"):
        status.expect(key)
    published.now += PATIENCE
    publish_due(status)
    assert published.keys() == ["good/one"]
    published.now += 60.0
    status.expect("bad/two")
    published.now += PATIENCE
    publish_due(status)
    assert published.keys() == ["good/one", "bad/two"]


def test_a_conflict_is_no_reason_to_leave_out_the_namespace() -> None:
    published = Published(failure=Conflict("the claim was edited"))
    status = published.status()
    status.expect("shop/one")
    published.now = PATIENCE
    publish_due(status)
    published.failure = None
    status.expect("shop/two")
    published.now += PATIENCE
    publish_due(status)
    assert published.keys() == ["shop/two"]


def test_a_replica_that_loses_the_lease_publishes_nothing() -> None:
    published = Published()
    status = published.status()
    status.expect("shop/photos")
    status.clear()
    published.now = PATIENCE
    publish_due(status)
    assert published.found == []


def test_a_worker_waits_for_a_write_of_its_claim_that_has_begun() -> None:
    writing, written, order = threading.Event(), threading.Event(), []

    def publish(_key: str, _message: str) -> None:
        writing.set()
        assert written.wait(SECONDS)
        order.append("published")

    status = PendingStatus(publish, clock=lambda: PATIENCE)
    status.expect("shop/photos", since=0.0)
    writer = threading.Thread(target=status.publish_next)
    writer.start()
    assert writing.wait(SECONDS)
    status.withdraw("shop/other")  # waits for its own claim only

    def work() -> None:
        status.withdraw("shop/photos")
        order.append("worked")

    worker = threading.Thread(target=work)
    worker.start()
    written.set()
    worker.join(SECONDS)
    writer.join(SECONDS)
    assert order == ["published", "worked"]


def test_its_thread_ends() -> None:
    status = Published().status()
    thread = threading.Thread(target=status.run)
    thread.start()
    status.stop()
    thread.join(SECONDS)
    assert not thread.is_alive()


# In a reconcile ------------------------------------------------------------------------------------------------------


def test_a_quick_claim_has_one_write_of_its_status() -> None:
    core = Core()
    key = core.create_claim("photos")
    assert core.reconcile(key).result == Result.BOUND
    assert core.client.requests.count("PATCH objectbucketclaims shop/photos/status") == 1


def test_a_claim_whose_store_is_slow_is_pending_until_it_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_status, "PATIENCE", 0.0)
    core, seen = Core(), []
    provision = core.provisioner.provision

    def slowly(options: object) -> object:
        core.reconciler.pending.publish_next()
        seen.append((core.phase(key), core.condition(key)["message"]))
        return provision(options)  # type: ignore[arg-type]

    monkeypatch.setattr(core.provisioner, "provision", slowly)
    key = core.create_claim("photos")
    assert core.reconcile(key).result == Result.BOUND, "the worker goes on with the status that was published"
    assert seen == [("Pending", "Creating the bucket")]
    assert core.phase(key) == "Bound"
