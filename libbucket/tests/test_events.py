"""Events are written beside the work: in order, in turns by namespace, and never at the cost of others."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from libbucket._kube.errors import ClusterUnavailable, Forbidden, KubeError, LeadershipLost
from libbucket._reconcile.status.events import DirectEvents, EventQueue

if TYPE_CHECKING:
    from libbucket._kube.client import KubeClient

SECONDS = 10.0


@dataclass
class FakeApi:
    """Takes Events, except in some namespaces; its clock is turned by the test."""

    now: float = 0.0
    failures: dict[str, KubeError] = field(default_factory=dict)
    written: list[tuple[str, str]] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def impatient(self, seconds: float) -> FakeApi:
        self.seconds = seconds
        return self

    def create(self, _resource: object, body: dict[str, Any], *, namespace: str) -> None:
        self.tried.append(namespace)
        if namespace in self.failures:
            raise self.failures[namespace]
        self.written.append((namespace, body["reason"]))

    def events(self) -> DirectEvents:
        return DirectEvents(cast("KubeClient", self))

    def queue(self) -> EventQueue:
        return EventQueue(self.events(), clock=lambda: self.now)


def event(reason: str) -> dict[str, Any]:
    return {"reason": reason, "involvedObject": {"name": "photos"}}


def test_namespaces_take_turns_and_each_keeps_its_order() -> None:
    api = FakeApi()
    queue = api.queue()
    for reason in ("a", "b", "c"):
        queue.write("loud", event(reason))
    queue.write("quiet", event("x"))
    for _ in range(4):
        queue.write_next()
    assert api.written == [("loud", "a"), ("quiet", "x"), ("loud", "b"), ("loud", "c")]


def test_a_full_queue_of_one_namespace_drops_its_oldest_and_no_other() -> None:
    api = FakeApi()
    queue = api.queue()
    queue.write("quiet", event("x"))
    for number in range(1000):
        queue.write("loud", event(str(number)))
    queue.stop()
    queue.run()
    assert ("quiet", "x") in api.written
    loud = [reason for namespace, reason in api.written if namespace == "loud"]
    assert loud == [str(number) for number in range(750, 1000)]


def test_a_namespace_with_a_dead_webhook_costs_one_request_a_minute() -> None:
    api = FakeApi(failures={"bad": ClusterUnavailable("failed calling webhook")})
    queue = api.queue()
    for namespace in ("bad", "good") * 5:
        queue.write(namespace, event("Bound"))
    for _ in range(10):
        queue.write_next()
    assert api.tried.count("bad") == 1
    assert api.tried.count("good") == 5
    api.now = 61.0
    queue.write("bad", event("Bound"))
    queue.write_next()
    assert api.tried.count("bad") == 2


def test_a_refusal_of_one_event_is_no_outage_of_the_namespace() -> None:
    api = FakeApi(failures={"shop": Forbidden("events is forbidden")})
    queue = api.queue()
    for _ in range(3):
        queue.write("shop", event("Bound"))
        queue.write_next()
    assert len(api.tried) == 3


@pytest.mark.parametrize("error", [ClusterUnavailable("no answer"), Forbidden("no"), LeadershipLost("not the leader")])
def test_a_failure_raises_nothing(error: KubeError) -> None:
    FakeApi(failures={"shop": error}).events().write("shop", event("Bound"))


def test_events_that_wait_at_the_end_are_written_for_a_moment() -> None:
    api = FakeApi()
    queue = api.queue()
    queue.write("shop", event("Bound"))
    queue.stop()
    queue.run()
    assert api.written == [("shop", "Bound")]


def test_a_slow_api_server_does_not_hold_up_the_end() -> None:
    api = FakeApi()
    queue = api.queue()
    for number in range(100):
        queue.write("shop", event(str(number)))
    queue.stop()

    def create(_resource: object, body: dict[str, Any], *, namespace: str) -> None:
        api.now += 1.0
        api.written.append((namespace, body["reason"]))

    api.create = create  # type: ignore[method-assign]
    queue.run()
    assert len(api.written) == 3


def test_no_worker_waits_for_an_event() -> None:
    writing, go_on = threading.Event(), threading.Event()
    api = FakeApi()

    def create(_resource: object, body: dict[str, Any], *, namespace: str) -> None:
        writing.set()
        assert go_on.wait(SECONDS)
        api.written.append((namespace, body["reason"]))

    api.create = create  # type: ignore[method-assign]
    queue = api.queue()
    thread = threading.Thread(target=queue.run)
    thread.start()
    queue.write("shop", event("first"))
    assert writing.wait(SECONDS)
    queue.write("shop", event("second"))  # returns although the first has no answer
    go_on.set()
    queue.stop()
    thread.join(SECONDS)
    assert api.written == [("shop", "first"), ("shop", "second")]
