"""Adaptive limits with the real queue, requeue policy and circuit breaker, on simulated stores in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from testkit.simulated_load import SimulatedLoad, SimulatedStore

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 64
"""As `--workers` has it by default."""

TENANTS = [f"tenant-{number}" for number in range(8)]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Ten thousand debug messages are not rendered."""
    with structlog.testing.capture_logs():
        yield


def with_tenants(**stores: SimulatedStore) -> SimulatedLoad:
    """Claims without end, of eight tenants for each class."""
    load = SimulatedLoad(stores, workers=WORKERS)
    for storage_class in stores:
        for tenant in TENANTS:
            load.add_endless(storage_class, tenant, 20)
    return load


def rate(load: SimulatedLoad, of: str, *, warm_up: float, seconds: float) -> float:
    """Claims bound per second after a warm-up."""
    load.run(load.now + warm_up)
    before = load.bound[of]
    load.run(load.now + seconds)
    return (load.bound[of] - before) / seconds


@pytest.mark.parametrize("burst", [0.2, 1.0], ids=["burst-0.2s", "burst-1s"])
@pytest.mark.parametrize("per_second", [5, 15, 100])
@pytest.mark.parametrize("latency", [0.02, 0.1, 0.2, 0.5])
def test_a_store_that_throttles_gets_nine_tenths_of_the_calls_that_it_allows(
    latency: float, per_second: float, burst: float
) -> None:
    load = with_tenants(x=SimulatedStore(latency=latency, per_second=per_second, burst=max(1.0, burst * per_second)))
    assert rate(load, "x", warm_up=45, seconds=60) >= 0.9 * per_second
    assert load.throttled["x"] <= 0.1 * load.bound["x"]


@pytest.mark.parametrize("latency", [0.02, 0.1, 0.2, 0.5])
def test_a_store_without_limits_gets_as_many_calls_at_once_as_there_are_workers(latency: float) -> None:
    load = with_tenants(x=SimulatedStore(latency=latency))
    assert rate(load, "x", warm_up=10 * latency, seconds=20 * latency) >= 0.9 * WORKERS / latency
    assert load.queue.state().limits == {"x": WORKERS}


@pytest.mark.parametrize(("latency", "at_once"), [(0.02, 2), (0.1, 4), (0.1, 10), (0.5, 10)])
def test_a_store_that_works_on_a_few_calls_at_once_is_kept_busy_and_not_flooded(latency: float, at_once: int) -> None:
    load = with_tenants(x=SimulatedStore(latency=latency, at_once=at_once))
    assert rate(load, "x", warm_up=15, seconds=15) >= 0.9 * at_once / latency
    assert load.queue.state().limits["x"] <= 2 * at_once + 8


def test_latencies_that_vary_do_not_keep_the_limit_low() -> None:
    load = with_tenants(x=SimulatedStore(latency=0.1, jitter=0.5))
    assert rate(load, "x", warm_up=10, seconds=5) >= 0.9 * WORKERS / 0.15


def test_a_store_that_refuses_is_neither_slow_nor_throttling() -> None:
    load = with_tenants(x=SimulatedStore(latency=0.1, refuses=True))
    load.run(30)
    assert load.queue.state().limits == {"x": 4}


def test_a_quota_that_is_raised_and_lowered_is_found() -> None:
    store = SimulatedStore(latency=0.1, per_second=10, burst=10)
    load = with_tenants(x=store)
    assert rate(load, "x", warm_up=30, seconds=30) >= 9
    store.per_second = 100
    assert rate(load, "x", warm_up=30, seconds=30) >= 90
    store.per_second = 10
    assert rate(load, "x", warm_up=30, seconds=30) >= 9


def test_a_class_whose_store_is_slow_or_throttles_does_not_delay_another() -> None:
    alone = rate(with_tenants(fast=SimulatedStore(latency=0.1)), "fast", warm_up=5, seconds=5)
    load = with_tenants(
        fast=SimulatedStore(latency=0.1),
        slow=SimulatedStore(latency=5.0),
        throttling=SimulatedStore(latency=0.1, per_second=5, burst=5),
    )
    beside = rate(load, "fast", warm_up=30, seconds=30)
    assert beside >= 0.9 * 0.25 * alone, "a quarter of the workers is kept from any class"
    assert load.bound["slow"] >= 4 * 60 / 5
    assert load.bound["throttling"] >= 0.9 * 5 * 60


def test_however_many_claims_one_tenant_has_others_have_their_turns_at_a_store_that_throttles() -> None:
    load = SimulatedLoad({"x": SimulatedStore(latency=0.1, per_second=15, burst=3)}, workers=WORKERS)
    load.add("x", "crowd", 1500)
    load.run(30)
    others = [f"small-{number}" for number in range(50)]
    for each in others:
        load.add("x", each)
    load.run(90)
    assert all(load.bound[each] == 1 for each in others)
    assert max(load.waits[each] for each in others) <= 3 * len(others) / 15


def test_a_class_starts_with_few_calls_at_once() -> None:
    load = with_tenants(x=SimulatedStore(latency=0.1))
    load.run(0.05)
    assert load.most_busy == 4


def test_a_class_without_claims_takes_no_memory() -> None:
    stores = {f"class-{number}": SimulatedStore(latency=0.1, per_second=5) for number in range(50)}
    load = SimulatedLoad(stores, workers=WORKERS)
    for each in stores:
        load.add(each, f"team-of-{each}", 3)
    load.run(60)
    assert len(load.queue.state().limits) == 50
    load.run(800)
    load.add("class-0", "team", 1)
    load.run(801)
    assert load.queue.state().limits == {"class-0": 4}
    assert load.queue._limits._loads.keys() == {"class-0"}
    assert not load.queue._limits._shares


def test_no_claim_is_left_when_a_throttled_burst_is_over() -> None:
    load = SimulatedLoad({"x": SimulatedStore(latency=0.02, per_second=15, burst=1)}, workers=WORKERS)
    for tenant in TENANTS:
        load.add("x", tenant, 20)
    load.run(60)
    assert load.bound["x"] == 160
