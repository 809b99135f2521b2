"""The workers: which keys they take, and requeues after failures."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from libbucket._circuit import Settings
from libbucket._circuit_breaker import ProbedCircuitBreaker
from libbucket._controller.requeue_policy import RequeuePolicy
from libbucket._controller.threads import Threads
from libbucket._controller.worker_pool import WorkerPool
from libbucket._controller.workers import Workers
from libbucket._metrics import Metrics
from libbucket._queue import WorkQueue
from libbucket._reconcile.model.outcome import Outcome, Result
from libbucket._reconcile.model.snapshot import Recheck

if TYPE_CHECKING:
    from libbucket._controller.election import Election
    from libbucket._reconcile.reconciler import Reconciler

SECONDS = 10.0


@dataclass
class FakeReconciler:
    """Records its calls; raises given errors first."""

    errors: list[Exception] = field(default_factory=list)
    asked: list[tuple[str, Recheck]] = field(default_factory=list)
    worked: threading.Event = field(default_factory=threading.Event)

    def reconcile(self, key: str, *, recheck: Recheck) -> Outcome:
        self.asked.append((key, recheck))
        if self.errors:
            raise self.errors.pop(0)
        self.worked.set()
        return Outcome(result=Result.SETTLED)


class ManyTimesFaster:
    """A clock on which a back-off of seconds ends at once."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def workers(
    reconciler: FakeReconciler, queue: WorkQueue, threads: Threads, *, is_up: bool = True, **rest: Any
) -> Workers:
    breaker = ProbedCircuitBreaker(Settings(wake=queue.add_after), lambda: is_up)
    return Workers(
        pool=WorkerPool(threads.start, 1),
        queue=queue,
        reconciler=cast("Reconciler", reconciler),
        policy=rest.pop("policy", None) or RequeuePolicy(queue),
        cluster=breaker,
        metrics=Metrics(),
        elector=rest.pop("elector", None),
        are_synced=lambda _seconds: True,
    )


def test_a_key_whose_reconcile_raised_is_retried() -> None:
    failed: list[str] = []
    reconciler = FakeReconciler(errors=[ValueError("unexpected")])
    queue = WorkQueue(clock=ManyTimesFaster(), pace=1000.0)
    policy = RequeuePolicy(queue)
    threads = Threads(failed.append)
    pool = workers(reconciler, queue, threads, policy=policy)
    policy.schedule_recheck("shop/photos", Recheck.FULL, 0.0)
    pool.start()
    assert reconciler.worked.wait(SECONDS)
    assert reconciler.asked == [("shop/photos", Recheck.FULL)] * 2
    assert failed == ["worker-0"]
    threads.stop()
    pool.stop()
    assert threads.join(SECONDS)


def test_a_standby_takes_no_key_to_its_reconciler() -> None:
    reconciler, queue = FakeReconciler(), WorkQueue()
    acquired = threading.Event()
    acquired.set()
    elector = SimpleNamespace(acquired=acquired, work=lambda _key: nullcontext(enter_result=False))
    threads = Threads()
    pool = workers(reconciler, queue, threads, elector=cast("Election", elector))
    queue.add("shop/photos")
    pool.start()
    while queue.state().ready or queue.state().working:
        threading.Event().wait(0.01)
    pool.stop()
    assert threads.join(SECONDS)
    assert reconciler.asked == []
