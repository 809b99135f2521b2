"""The page `/metrics`, as a scraper reads it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY, generate_latest

import libbucket
from libbucket._metrics import REASONS, RESULTS, THREADS, VERBS, ClaimState, Metrics
from libbucket._outcomes import MEANINGS, Actor
from libbucket._queue import QueueState
from libbucket._reconcile.model.outcome import Result
from libbucket.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def samples(metrics: Metrics, name: str) -> list[tuple[dict[str, str], float]]:
    """Every sample of one name."""
    families = metrics.registry.collect()
    return [(one.labels, one.value) for family in families for one in family.samples if one.name == name]


def test_reconciles_are_counted_and_timed_by_result() -> None:
    metrics = Metrics()
    metrics.reconciled("bound", 0.25)
    metrics.reconciled("bound", 0.5)
    metrics.reconciled("conflict", 1.0)
    assert value(metrics, "libbucket_reconcile_duration_seconds_count", result="bound") == 2
    assert value(metrics, "libbucket_reconcile_duration_seconds_sum", result="bound") == 0.75
    assert value(metrics, "libbucket_reconcile_duration_seconds_count", result="conflict") == 1


def test_backend_calls_are_timed_by_verb_and_their_errors_counted_by_reason() -> None:
    metrics = Metrics()
    metrics.backend_call("provision", 0.5)
    metrics.backend_call("provision", 1.5, error="Throttled")
    assert value(metrics, "libbucket_backend_call_duration_seconds_sum", verb="provision") == 2.0
    errors = "libbucket_backend_call_errors_total"
    assert value(metrics, errors, verb="provision", reason="Throttled") == 1
    assert value(metrics, errors, verb="provision", reason="") is None


def test_the_leader_is_distinguished_from_standbys() -> None:
    metrics = Metrics()
    assert value(metrics, "libbucket_leader") == 0
    metrics.leader(16)
    assert value(metrics, "libbucket_leader") == 1
    metrics.leader(0)
    assert value(metrics, "libbucket_leader") == 0


def test_the_queue_is_read_at_the_scrape() -> None:
    metrics = Metrics()
    states = [QueueState(ready=3, delayed=2, working=1, longest_wait=4.5)]
    metrics.watch_queue(lambda: states[-1])
    states.append(QueueState(ready=7, delayed=2, working=1, longest_wait=9.5, limits={"fast": 16, "slow": 4}))
    assert value(metrics, "libbucket_queue_keys", state="ready") == 7
    assert value(metrics, "libbucket_queue_keys", state="delayed") == 2
    assert value(metrics, "libbucket_queue_keys", state="working") == 1
    assert value(metrics, "libbucket_queue_longest_wait_seconds") == 9.5
    assert value(metrics, "libbucket_concurrency_limit", storage_class="fast") == 16
    assert value(metrics, "libbucket_concurrency_limit", storage_class="slow") == 4


BOUND = ClaimState(phase="Bound", storage_class="fast", waits_for=None)


def waiting(reason: str, *, phase: str = "Pending") -> ClaimState:
    return ClaimState(phase=phase, storage_class="fast", waits_for=reason)


def test_claims_are_counted_by_phase_and_class_at_the_scrape() -> None:
    metrics = Metrics()
    claims: list[ClaimState] = []
    metrics.watch_claims(lambda: claims)
    claims += [BOUND, BOUND, ClaimState(phase="Pending", storage_class="slow", waits_for="")]
    assert value(metrics, "libbucket_claims", phase="Bound", storage_class="fast") == 2
    assert value(metrics, "libbucket_claims", phase="Pending", storage_class="slow") == 1


def test_claims_that_wait_are_counted_by_reason_and_by_who_has_to_act() -> None:
    metrics = Metrics()
    claims = [BOUND, waiting("AccessDenied"), waiting("AccessDenied"), waiting("InvalidConfig", phase="Failed")]
    metrics.watch_claims(lambda: claims)
    assert samples(metrics, "libbucket_claims_waiting") == [
        ({"reason": "AccessDenied", "actor": "administrator", "storage_class": "fast"}, 2),
        ({"reason": "InvalidConfig", "actor": "author", "storage_class": "fast"}, 1),
    ]


@pytest.mark.parametrize("reason", Reason)
def test_the_actor_is_read_from_the_table_of_reasons(reason: Reason) -> None:
    assert waiting(str(reason)).actor is MEANINGS[reason].actor


@pytest.mark.parametrize(
    ("phase", "actor"), [("Pending", Actor.NOBODY), ("Bound", Actor.NOBODY), ("Failed", Actor.AUTHOR)]
)
def test_without_a_reason_only_a_claim_that_failed_waits_for_its_author(phase: str, actor: Actor) -> None:
    assert waiting("", phase=phase).actor is actor
    assert waiting("WrittenByOthers", phase=phase).actor is actor


def test_phases_and_reasons_that_others_write_make_no_time_series() -> None:
    metrics = Metrics()
    claims = [ClaimState(phase=f"phase {n}", storage_class="fast", waits_for=f"reason {n}") for n in range(1000)]
    metrics.watch_claims(lambda: claims)
    assert samples(metrics, "libbucket_claims") == [({"phase": "", "storage_class": "fast"}, 1000)]
    assert samples(metrics, "libbucket_claims_waiting") == [
        ({"reason": "", "actor": "nobody", "storage_class": "fast"}, 1000)
    ]


def test_labels_of_reconciles_and_calls_are_closed_lists() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.reconciled(f"result {number}", 1.0)
        metrics.backend_call(f"verb {number}", 1.0, error=f"reason {number}")
        metrics.thread_failed(f"thread {number}")
    assert samples(metrics, "libbucket_reconcile_duration_seconds_count") == [({"result": ""}, 1000)]
    assert samples(metrics, "libbucket_backend_call_errors_total") == [({"verb": "", "reason": ""}, 1000)]
    assert len(samples(metrics, "libbucket_thread_failures_total")) == len(THREADS) + 1


def _texts(call: ast.Call, name: str) -> Iterator[str]:
    called = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    given = [keyword.value for keyword in call.keywords if keyword.arg == name]
    for one in [*given, *(call.args[:1] if called == name else [])]:
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value


def literals(name: str) -> Iterator[str]:
    """The texts in the core that are given as the keyword `name`, or to a function of that name as first argument."""
    for module in Path(libbucket.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(module.read_text())):
            if isinstance(call, ast.Call):
                yield from _texts(call, name)


def test_labels_of_the_core_are_in_the_closed_lists() -> None:
    assert {*map(str, Result), *map(str, Reason)} == RESULTS
    assert {"provision", "is_intact"} <= set(literals("_call")) <= VERBS
    assert set(REASONS) == set(Reason)


def test_orphans_are_counted_at_the_scrape_and_are_none_before() -> None:
    metrics = Metrics()
    assert value(metrics, "libbucket_buckets_without_claim") == 0
    orphans = ["obc-shop-photos"]
    metrics.watch_orphans(lambda: len(orphans))
    assert value(metrics, "libbucket_buckets_without_claim") == 1
    orphans.clear()
    assert value(metrics, "libbucket_buckets_without_claim") == 0


def test_failures_of_threads_are_counted_by_kind_of_thread() -> None:
    metrics = Metrics()
    assert value(metrics, "libbucket_thread_failures_total", thread="worker") == 0, "so that the first is an increase"
    for name in ("worker-0", "worker-7", "informer-objectbucketclaims", "leader-election"):
        metrics.thread_failed(name)
    assert value(metrics, "libbucket_thread_failures_total", thread="worker") == 2
    assert value(metrics, "libbucket_thread_failures_total", thread="informer") == 1
    assert value(metrics, "libbucket_thread_failures_total", thread="leader-election") == 1


def test_registering_collects_nothing() -> None:
    def too_early() -> QueueState:
        raise AssertionError

    Metrics().watch_queue(too_early)


def test_two_provisioners_in_one_process_do_not_mix() -> None:
    first, second = Metrics(), Metrics()
    first.leader(16)
    assert value(second, "libbucket_leader") == 0
    assert REGISTRY.get_sample_value("libbucket_leader") is None


def test_all_metrics_have_our_prefix_or_that_of_the_process() -> None:
    metrics = Metrics()
    metrics.watch_queue(lambda: QueueState(ready=0, delayed=0, working=0, longest_wait=0.0))
    metrics.watch_claims(lambda: [BOUND])
    names = {family.name for family in metrics.registry.collect()}
    assert all(name.startswith(("libbucket_", "process_")) for name in names)
    assert generate_latest(metrics.registry)
