"""The workers: each takes a key, reconciles its claim and requeues it. `worker_pool` decides how many there are.

Between the queue and the reconciler. A worker takes keys only while this replica leads, and while the circuit of the
API server is closed. Knows no claim but its key.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import nullcontext
from typing import TYPE_CHECKING

import structlog

from libbucket._circuit import CircuitOpen

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket._circuit_breaker import ProbedCircuitBreaker
    from libbucket._controller.election import Election
    from libbucket._controller.requeue_policy import RequeuePolicy
    from libbucket._controller.worker_pool import WorkerPool
    from libbucket._metrics import Metrics
    from libbucket._queue import WorkQueue
    from libbucket._reconcile.model.snapshot import Recheck
    from libbucket._reconcile.reconciler import Reconciler

_POLL_SECONDS = 0.5
_IDLE_SECONDS = 60.0
"""Without a key, after which a thread ends, unless it is the only one that waits for the next key."""


class Workers:
    """The loop of every worker thread.

    Args:
        pool: of threads.
        queue: of keys.
        reconciler: reconciles claims.
        policy: requeues keys.
        cluster: the circuit breaker of the API server.
        metrics: counts reconciles.
        elector: None if this process is the only replica.
        are_synced: whether the caches are filled; waits up to a number of seconds.
    """

    def __init__(  # noqa: PLR0913 - wiring, called in one place
        self,
        *,
        pool: WorkerPool,
        queue: WorkQueue,
        reconciler: Reconciler,
        policy: RequeuePolicy,
        cluster: ProbedCircuitBreaker,
        metrics: Metrics,
        elector: Election | None,
        are_synced: Callable[[float], bool],
    ) -> None:
        self._pool = pool
        self._queue = queue
        self._reconciler = reconciler
        self._policy = policy
        self._cluster = cluster
        self._metrics = metrics
        self._elector = elector
        self._are_synced = are_synced
        self._stopping = threading.Event()
        self._log = structlog.get_logger()

    def start(self) -> None:
        """Starts the first worker; others follow as there is work."""
        self._pool.begin(self.run)

    def stop(self) -> None:
        """Stops the workers; running reconciles are completed."""
        self._stopping.set()
        self._queue.close()

    def run(self, number: int) -> None:
        """Takes keys and reconciles them until `stop`, or until there has been nothing to do for a while.

        Args:
            number: of the thread in the pool.
        """
        while not self._are_synced(_POLL_SECONDS):
            if self._stopping.is_set():
                return
        while self._may_work():
            key = self._queue.get(timeout=_IDLE_SECONDS)
            if key is not None:
                try:
                    self._pool.busy(number)
                    self._work_on(key)
                finally:
                    self._queue.done(key)
                self._pool.idle(number)
            elif self._stopping.is_set() or self._pool.leave(number):
                return

    def _may_work(self) -> bool:
        """Waits until this replica leads; False if the workers are stopped."""
        while not self._stopping.is_set():
            if self._elector is None or self._elector.acquired.wait(_POLL_SECONDS):
                return not self._stopping.is_set()
        return False

    def _work_on(self, key: str) -> None:
        with self._elector.work(key) if self._elector is not None else nullcontext(enter_result=True) as is_served:
            if is_served:
                self._reconcile_or_hold(key)
            else:
                self._queue.forget(key)  # leadership was lost since it was queued: the next leader begins with all keys

    def _reconcile_or_hold(self, key: str) -> None:
        namespace, _, name = key.partition("/")
        recheck = self._policy.take_recheck(key)
        with structlog.contextvars.bound_contextvars(namespace=namespace, name=name, reconcile=uuid.uuid4().hex[:8]):
            try:
                self._cluster.check(key)
                self._reconcile(key, recheck)
            except CircuitOpen as held:
                self._policy.schedule_recheck(key, recheck, held.seconds)
            except Exception:
                # The supervisor logs the exception, and the key is retried.
                self._policy.schedule_recheck(key, recheck, self._queue.failure_delay(key))
                raise

    def _reconcile(self, key: str, recheck: Recheck) -> None:
        started = time.monotonic()
        outcome = self._reconciler.reconcile(key, recheck=recheck)
        self._metrics.reconciled(str(outcome.result), time.monotonic() - started)
        self._policy.plan(key, outcome, recheck)
