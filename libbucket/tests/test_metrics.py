"""What `/metrics` says, as a scraper reads it."""

from __future__ import annotations

from prometheus_client import REGISTRY, generate_latest

from libbucket._metrics import Metrics
from libbucket._queue import QueueState


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_reconciles_are_counted_and_timed_by_result() -> None:
    metrics = Metrics()
    metrics.reconciled("bound", 0.25)
    metrics.reconciled("bound", 0.5)
    metrics.reconciled("retry", 1.0)
    assert value(metrics, "libbucket_reconcile_duration_seconds_count", result="bound") == 2
    assert value(metrics, "libbucket_reconcile_duration_seconds_sum", result="bound") == 0.75
    assert value(metrics, "libbucket_reconcile_duration_seconds_count", result="retry") == 1


def test_backend_calls_are_timed_by_verb_and_their_errors_counted_by_reason() -> None:
    metrics = Metrics()
    metrics.backend_call("provision", 0.5)
    metrics.backend_call("provision", 1.5, error="Throttled")
    assert value(metrics, "libbucket_backend_call_duration_seconds_sum", verb="provision") == 2.0
    errors = "libbucket_backend_call_errors_total"
    assert value(metrics, errors, verb="provision", reason="Throttled") == 1
    assert value(metrics, errors, verb="provision", reason="") is None


def test_the_leader_is_told_from_who_waits() -> None:
    metrics = Metrics()
    assert value(metrics, "libbucket_leader") == 0
    metrics.leader(is_leader=True)
    assert value(metrics, "libbucket_leader") == 1
    metrics.leader(is_leader=False)
    assert value(metrics, "libbucket_leader") == 0


def test_the_queue_is_asked_at_the_scrape() -> None:
    metrics = Metrics()
    states = [QueueState(ready=3, delayed=2, working=1, longest_wait=4.5)]
    metrics.watch_queue(lambda: states[-1])
    states.append(QueueState(ready=7, delayed=2, working=1, longest_wait=9.5))
    assert value(metrics, "libbucket_queue_keys", state="ready") == 7
    assert value(metrics, "libbucket_queue_keys", state="delayed") == 2
    assert value(metrics, "libbucket_queue_keys", state="working") == 1
    assert value(metrics, "libbucket_queue_longest_wait_seconds") == 9.5


def test_claims_are_counted_by_phase_and_class_at_the_scrape() -> None:
    metrics = Metrics()
    claims: list[tuple[str, str]] = []
    metrics.watch_claims(lambda: claims)
    claims += [("Bound", "fast"), ("Bound", "fast"), ("Pending", "slow")]
    assert value(metrics, "libbucket_claims", phase="Bound", storage_class="fast") == 2
    assert value(metrics, "libbucket_claims", phase="Pending", storage_class="slow") == 1


def test_registering_asks_for_nothing_yet() -> None:
    def too_early() -> QueueState:
        raise AssertionError

    Metrics().watch_queue(too_early)


def test_two_provisioners_in_one_process_do_not_mix() -> None:
    first, second = Metrics(), Metrics()
    first.leader(is_leader=True)
    assert value(second, "libbucket_leader") == 0
    assert REGISTRY.get_sample_value("libbucket_leader") is None


def test_all_names_are_ours_or_those_of_every_process() -> None:
    metrics = Metrics()
    metrics.watch_queue(lambda: QueueState(ready=0, delayed=0, working=0, longest_wait=0.0))
    metrics.watch_claims(lambda: [("Bound", "fast")])
    names = {family.name for family in metrics.registry.collect()}
    assert all(name.startswith(("libbucket_", "process_")) for name in names)
    assert generate_latest(metrics.registry)
