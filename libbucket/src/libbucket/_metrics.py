"""The metrics of one provisioner process, for Prometheus. Names and labels are a public interface.

=========================================  ==============  ================================================
name                                       labels          what
=========================================  ==============  ================================================
`libbucket_reconcile_duration_seconds`     result          histogram: reconciles of one claim
`libbucket_backend_call_duration_seconds`  verb            histogram: calls of `provision`, `delete`, ...
`libbucket_backend_call_errors_total`      verb, reason    counter: calls that failed, by reason
`libbucket_queue_keys`                     state           gauge: claims that are ready, delayed, working
`libbucket_queue_longest_wait_seconds`                     gauge: how long the oldest ready claim has waited,
                                                           of those that a user waits for
`libbucket_concurrency_limit`              storage_class   gauge: claims of a class that are reconciled at once
                                                           at most, for now; of classes used lately
`libbucket_claims`                         phase,          gauge: claims that are served, counted at scrape
                                           storage_class
`libbucket_claims_waiting`                 reason, actor,  gauge: claims that wait, by reason and by the
                                           storage_class   party that has to act
`libbucket_buckets_without_claim`                          gauge: ObjectBuckets whose claim is gone without
                                                           having been released
`libbucket_thread_failures_total`          thread          counter: unexpected exceptions in long-lived
                                                           threads
`libbucket_leader`                                         gauge: 1 in the leader or with shards, 0 in a standby
`libbucket_shards`                                         gauge: shards of the claims that are served here
=========================================  ==============  ================================================

The `process_*` metrics of the Prometheus client are exposed as well (memory, CPU, open files).

Written by the reconcile loop and the controller, read by the HTTP endpoint. Has its own registry, so that two
provisioners in one process do not mix. The values of every label are a closed list, with "" for all others; except
`storage_class`, whose values are classes that exist. No text that a tenant chooses becomes a time series.
"""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from libbucket._api import Phase
from libbucket._outcomes import MEANINGS, Actor
from libbucket.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from libbucket._queue import QueueState

PHASES: Final = frozenset({Phase.PENDING, Phase.BOUND, Phase.RELEASED, Phase.FAILED})
REASONS: Final = frozenset(str(reason) for reason in Reason)
RESULTS: Final = REASONS | {"bound", "settled", "released", "ignored", "conflict", "fenced"}
VERBS: Final = frozenset({"provision", "grant", "delete", "delete_empty", "revoke", "is_intact"})
THREADS: Final = frozenset(
    {"informer", "initial-list", "worker", "resync", "repair", "crds", "leader-election", "lease-deadline"}
)
"""Values of `libbucket_thread_failures_total`: names of threads, without the number or resource at the end."""

_RECONCILE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BACKEND_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """All metrics of one process. Safe for threads.

    Attributes:
        registry: source of `/metrics`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._reconciles = Histogram(
            "libbucket_reconcile_duration_seconds",
            "Reconciles of one claim, by result.",
            ["result"],
            registry=self.registry,
            buckets=_RECONCILE_BUCKETS,
        )
        self._calls = Histogram(
            "libbucket_backend_call_duration_seconds",
            "Calls of the verbs of the provisioner.",
            ["verb"],
            registry=self.registry,
            buckets=_BACKEND_BUCKETS,
        )
        self._errors = Counter(
            "libbucket_backend_call_errors",
            "Calls of the verbs of the provisioner that failed, by reason.",
            ["verb", "reason"],
            registry=self.registry,
        )
        self._leader = Gauge(
            "libbucket_leader", "1 in the leader, and in replicas that serve shards; else 0.", registry=self.registry
        )
        self._shards = Gauge("libbucket_shards", "Shards of the claims that are served here.", registry=self.registry)
        self._orphans = Gauge(
            "libbucket_buckets_without_claim",
            "ObjectBuckets whose claim is gone without having been released.",
            registry=self.registry,
        )
        self._failures = Counter(
            "libbucket_thread_failures",
            "Unexpected exceptions in long-lived threads, by thread.",
            ["thread"],
            registry=self.registry,
        )
        for thread in THREADS:
            self._failures.labels(thread)  # so that the first failure is an increase

    def reconciled(self, result: str, seconds: float) -> None:
        """Counts one reconcile of a claim."""
        self._reconciles.labels(_one_of(RESULTS, result)).observe(seconds)

    def backend_call(self, verb: str, seconds: float, error: str = "") -> None:
        """Counts one call of a verb.

        Args:
            verb: `provision`, `grant`, `delete`, `delete_empty`, `revoke` or `is_intact`.
            seconds: how long it took.
            error: the reason if it failed, else "".
        """
        verb = _one_of(VERBS, verb)
        self._calls.labels(verb).observe(seconds)
        if error:
            self._errors.labels(verb, _one_of(REASONS, error)).inc()

    def leader(self, shards: int) -> None:
        """Sets how many shards of the claims this replica serves: all in a leader, none in a standby."""
        self._leader.set(int(shards > 0))
        self._shards.set(shards)

    def thread_failed(self, name: str) -> None:
        """Counts an unexpected exception in a long-lived thread.

        Args:
            name: of the thread; `worker-3` counts as `worker`.
        """
        kind = next((one for one in THREADS if name == one or name.startswith(f"{one}-")), "")
        self._failures.labels(kind).inc()

    def watch_queue(self, state: Callable[[], QueueState]) -> None:
        """Registers the queue, whose state is read at every scrape. Call it once."""
        self.registry.register(_QueueCollector(state))

    def watch_claims(self, claims: Callable[[], Iterable[ClaimState]]) -> None:
        """Registers the claims, which are counted at every scrape. Call it once.

        Args:
            claims: returns the state of each claim that is served.
        """
        self.registry.register(_ClaimsCollector(claims))

    def watch_orphans(self, count: Callable[[], int]) -> None:
        """Registers the count of bound ObjectBuckets whose claim is gone without a release; read at every scrape."""
        self._orphans.set_function(count)


class ClaimState(NamedTuple):
    """The state of a claim, for the metrics.

    Attributes:
        phase: from its status.
        storage_class: a class that exists and is served, or "".
        waits_for: reason in its conditions; "" if it waits and they have none, None if it does not wait.
    """

    phase: str
    storage_class: str
    waits_for: str | None

    @property
    def actor(self) -> Actor:
        """The party that has to act before a waiting claim makes progress."""
        if self.waits_for in REASONS:
            return MEANINGS[Reason(self.waits_for)].actor
        # Other CRDs may prune conditions; a claim is Failed only if it has to be edited.
        return Actor.AUTHOR if self.phase == Phase.FAILED else Actor.NOBODY


def _one_of(closed: Collection[str], value: str) -> str:
    return value if value in closed else ""


class _QueueCollector(Collector):
    def __init__(self, state: Callable[[], QueueState]) -> None:
        self._state = state

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Names without values, so that registering does not collect."""
        return [
            GaugeMetricFamily("libbucket_queue_keys", "Claims in the work queue, by state.", labels=["state"]),
            GaugeMetricFamily("libbucket_queue_longest_wait_seconds", "Seconds that the oldest ready claim waits."),
            GaugeMetricFamily(
                "libbucket_concurrency_limit",
                "Claims of a class that are reconciled at once at most, as its store keeps up.",
                labels=["storage_class"],
            ),
        ]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        keys, longest, limits = self.describe()
        state = self._state()
        for name, value in (("ready", state.ready), ("delayed", state.delayed), ("working", state.working)):
            keys.add_metric([name], value)
        longest.add_metric([], state.longest_wait)
        for storage_class, limit in state.limits.items():
            limits.add_metric([storage_class], limit)
        return [keys, longest, limits]


class _ClaimsCollector(Collector):
    def __init__(self, claims: Callable[[], Iterable[ClaimState]]) -> None:
        self._claims = claims

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Names without values, so that registering does not collect."""
        waiting = "Claims that wait, by reason and by the party that has to act."
        return [
            GaugeMetricFamily("libbucket_claims", "Claims that are served.", labels=["phase", "storage_class"]),
            GaugeMetricFamily("libbucket_claims_waiting", waiting, labels=["reason", "actor", "storage_class"]),
        ]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        phases: Tally[tuple[str, ...]] = Tally()
        waiting: Tally[tuple[str, ...]] = Tally()
        for state, count in Tally(self._claims()).items():
            phases[_one_of(PHASES, state.phase), state.storage_class] += count
            if state.waits_for is not None:
                waiting[_one_of(REASONS, state.waits_for), state.actor.name.lower(), state.storage_class] += count
        families = list(self.describe())
        for family, tally in zip(families, (phases, waiting), strict=True):
            for labels, count in sorted(tally.items()):
                family.add_metric(labels, count)
        return families
