"""The metrics of one provisioner process, for Prometheus. Names and labels are part of what operators rely on.

=========================================  =========  =====================================================
name                                       labels     what
=========================================  =========  =====================================================
`libbucket_reconcile_duration_seconds`     result     histogram: looks at one claim, and how long they took
`libbucket_backend_call_duration_seconds`  verb       histogram: calls of `provision`, `delete`, ...
`libbucket_backend_call_errors_total`      verb,      counter: those calls that failed, by our reason
                                           reason
`libbucket_queue_keys`                     state      gauge: claims that are ready, delayed, working
`libbucket_queue_longest_wait_seconds`                gauge: how long the oldest ready claim has waited
`libbucket_claims`                         phase,     gauge: claims that are ours, counted at scrape
                                           storage_class
`libbucket_leader`                                    gauge: 1 in the replica that works, 0 in one that waits
=========================================  =========  =====================================================

The `process_*` metrics of the Prometheus client are beside them (memory, CPU, open files).

Written by the reconcile loop and the controller, read by the HTTP endpoint. Has a registry of its own, so that
two provisioners in one process don't mix. Knows no claim but its phase and class.
"""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from libbucket._queue import QueueState

_RECONCILE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BACKEND_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """All metrics of one process. Safe for threads.

    Attributes:
        registry: what `/metrics` shows.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._reconciles = Histogram(
            "libbucket_reconcile_duration_seconds",
            "Looks at one claim, by result.",
            ["result"],
            registry=self.registry,
            buckets=_RECONCILE_BUCKETS,
        )
        self._calls = Histogram(
            "libbucket_backend_call_duration_seconds",
            "Calls of the store's verbs.",
            ["verb"],
            registry=self.registry,
            buckets=_BACKEND_BUCKETS,
        )
        self._errors = Counter(
            "libbucket_backend_call_errors",
            "Calls of the store's verbs that failed, by reason.",
            ["verb", "reason"],
            registry=self.registry,
        )
        self._leader = Gauge(
            "libbucket_leader", "1 in the replica that works, 0 in one that waits.", registry=self.registry
        )

    def reconciled(self, result: str, seconds: float) -> None:
        """Counts one look at a claim."""
        self._reconciles.labels(result).observe(seconds)

    def backend_call(self, verb: str, seconds: float, error: str = "") -> None:
        """Counts one call of a verb.

        Args:
            verb: `provision`, `grant`, `delete`, `revoke` or `is_intact`.
            seconds: how long it took.
            error: our reason if it failed, else "".
        """
        self._calls.labels(verb).observe(seconds)
        if error:
            self._errors.labels(verb, error).inc()

    def leader(self, is_leader: bool) -> None:  # noqa: FBT001 - a gauge of one bit
        """Says whether this replica works or waits."""
        self._leader.set(int(is_leader))

    def watch_queue(self, state: Callable[[], QueueState]) -> None:
        """Has the queue's state asked for at every scrape. Call it once."""
        self.registry.register(_QueueCollector(state))

    def watch_claims(self, claims: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """Has the claims counted at every scrape. Call it once.

        Args:
            claims: gives phase and class of each claim.
        """
        self.registry.register(_ClaimsCollector(claims))


class _QueueCollector(Collector):
    def __init__(self, state: Callable[[], QueueState]) -> None:
        self._state = state

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Names without values, so that registering asks for nothing."""
        return [
            GaugeMetricFamily("libbucket_queue_keys", "Claims in the work queue, by state.", labels=["state"]),
            GaugeMetricFamily("libbucket_queue_longest_wait_seconds", "How long the oldest ready claim has waited."),
        ]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        keys, longest = self.describe()
        state = self._state()
        for name, value in (("ready", state.ready), ("delayed", state.delayed), ("working", state.working)):
            keys.add_metric([name], value)
        longest.add_metric([], state.longest_wait)
        return [keys, longest]


class _ClaimsCollector(Collector):
    def __init__(self, claims: Callable[[], Iterable[tuple[str, str]]]) -> None:
        self._claims = claims

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Names without values, so that registering asks for nothing."""
        return [GaugeMetricFamily("libbucket_claims", "Claims that are ours.", labels=["phase", "storage_class"])]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        (family,) = self.describe()
        for (phase, storage_class), count in sorted(Tally(self._claims()).items()):
            family.add_metric([phase, storage_class], count)
        return [family]
