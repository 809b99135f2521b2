"""Both kinds of circuit breaker, on a clock that only the tests advance."""

from __future__ import annotations

from random import Random

import pytest

from libbucket._circuit import LONGEST_DELAY, PROBES, CircuitOpen, Settings
from libbucket._circuit_breaker import CircuitBreaker, CircuitBreakers, ProbedCircuitBreaker
from libbucket._outcomes import StoreSignal

ANSWERED, UNAVAILABLE, UNKNOWN = StoreSignal.ANSWERED, StoreSignal.UNAVAILABLE, StoreSignal.UNKNOWN


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class NoJitter(Random):
    def random(self) -> float:
        return 0.0


class Recorder:
    """The settings of a circuit breaker, and a record of its calls."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.woken: list[tuple[str, float]] = []
        self.news: list[tuple[bool, tuple[str, ...]]] = []
        self.settings = Settings(
            wake=lambda key, seconds: self.woken.append((key, seconds)),
            on_change=lambda is_open, failures: self.news.append((is_open, failures)),
            clock=self.clock,
            random=NoJitter(),
        )

    def woken_now(self) -> list[str]:
        return [key for key, seconds in self.woken if seconds == 0]


class Store(CircuitBreaker):
    """A circuit breaker before a store, with its recorder."""

    def __init__(self) -> None:
        self.seen = Recorder()
        super().__init__(self.seen.settings)

    def call(self, key: str, signal: StoreSignal, delay: float = 0.0) -> None:
        with self.request(key) as call:
            call.signal, call.delay, call.failure = signal, delay, f"{key} failed"

    def held(self, key: str) -> float:
        """Seconds until the key is retried."""
        with pytest.raises(CircuitOpen) as held, self.request(key):
            pass
        return held.value.seconds

    def open(self) -> None:
        for key in ("a/1", "b/1", "c/1"):
            self.call(key, UNAVAILABLE)
        assert self.is_open


def test_a_closed_circuit_lets_every_request_through() -> None:
    store = Store()
    with store.request("a/1"), store.request("a/2"), store.request("b/1"):
        assert not store.is_open


def test_a_single_failing_claim_does_not_open_the_circuit() -> None:
    store = Store()
    for _ in range(10):
        store.call("a/1", UNAVAILABLE)
    assert not store.is_open
    store.call("b/1", ANSWERED)
    assert store.seen.news == []


def test_failures_of_two_namespaces_open_the_circuit_and_report_the_last_answers() -> None:
    store = Store()
    store.call("a/1", UNAVAILABLE)
    store.call("b/1", UNAVAILABLE)
    assert store.is_open
    assert store.seen.news == [(True, ("a/1: a/1 failed", "b/1: b/1 failed"))]


def test_an_answer_between_two_failures_keeps_the_circuit_closed() -> None:
    store = Store()
    store.call("a/1", UNAVAILABLE)
    store.call("b/1", ANSWERED)
    store.call("c/1", UNAVAILABLE)
    assert not store.is_open


def test_failures_of_one_namespace_open_the_circuit_while_no_other_uses_the_store() -> None:
    store = Store()
    store.call("a/1", UNAVAILABLE)
    store.call("a/2", UNAVAILABLE)
    assert store.is_open
    assert store.held("a/3") > 0


def test_failures_of_one_namespace_do_not_open_the_circuit_while_another_is_answered() -> None:
    store = Store()
    store.call("b/1", ANSWERED)
    for number in range(30):
        store.call(f"a/{number}", UNAVAILABLE)
    assert not store.is_open
    with store.request("b/2"):
        pass


def test_an_answer_to_another_namespace_counts_for_a_minute() -> None:
    store = Store()
    store.call("b/1", ANSWERED)
    store.seen.clock.now += 61
    store.call("a/1", UNAVAILABLE)
    store.call("a/2", UNAVAILABLE)
    assert store.is_open


def test_a_circuit_that_opens_by_the_time_that_passed_is_announced() -> None:
    store = Store()
    store.call("b/1", ANSWERED)
    store.call("a/1", UNAVAILABLE)
    store.call("a/2", UNAVAILABLE)
    assert store.seen.news == []
    store.seen.clock.now += 61
    store.call("a/3", UNAVAILABLE)
    assert [is_open for is_open, _ in store.seen.news] == [True]


@pytest.mark.parametrize("poisoned", [2, 10, 100])
def test_a_claim_of_another_namespace_passes_at_once(poisoned: int) -> None:
    store = Store()
    for number in range(poisoned):
        if not store.is_open:
            store.call(f"a/{number}", UNAVAILABLE)
        else:
            store.held(f"a/{number}")
    with store.request("b/1") as call:
        call.signal = ANSWERED
    assert not store.is_open
    assert set(store.seen.woken_now()) >= {f"a/{number}" for number in range(2, poisoned)}


def test_from_the_third_namespace_on_claims_do_not_pass_at_once() -> None:
    store = Store()
    store.open()
    assert store.held("d/1") > 0


def test_half_open_circuit_lets_one_probe_through() -> None:
    store = Store()
    store.open()
    store.held("d/1")
    store.held("e/1")
    store.seen.clock.now += PROBES.ceiling
    with store.request("d/1"):
        assert store.held("e/1") > 0


def test_a_request_that_was_under_way_when_the_circuit_opened_holds_no_probe_back() -> None:
    store = Store()
    with store.request("z/long-purge"):
        store.open()
        store.held("d/1")
        store.seen.clock.now += PROBES.ceiling
        with store.request("d/1") as call:
            call.signal = ANSWERED
        assert not store.is_open


def test_a_probe_that_takes_long_lets_a_second_one_through() -> None:
    store = Store()
    store.open()
    store.seen.clock.now += 3600
    with store.request("d/1"):
        assert store.held("e/1") > 0
        store.seen.clock.now += 10
        with store.request("e/1") as call:
            call.signal = ANSWERED
    assert not store.is_open


def test_claims_of_other_namespaces_probe_before_those_that_failed() -> None:
    store = Store()
    store.open()
    store.held("d/1")
    store.seen.clock.now = store._circuit.open_until
    assert store.held("a/1") > 0, "it failed, and another is held back"
    with store.request("d/1"):
        pass


def test_a_claim_that_failed_probes_again_where_no_other_is_held_back() -> None:
    store = Store()
    store.open()
    store.seen.clock.now = store._circuit.open_until
    with store.request("a/1"):
        pass


def test_a_claim_that_failed_probes_again_where_the_others_do_not_come() -> None:
    store = Store()
    store.open()
    store.held("d/1")
    store.seen.clock.now = store._circuit.open_until + 5
    with store.request("a/1"):
        pass


def test_the_claim_that_waits_longest_is_woken_for_the_probe() -> None:
    store = Store()
    store.open()
    store.held("d/1")
    store.held("e/1")
    store.seen.woken.clear()
    store.seen.clock.now = store._circuit.open_until
    store.call("d/1", UNAVAILABLE)
    assert [key for key, _ in store.seen.woken] == ["e/1"]


def test_an_answer_wakes_every_claim_that_was_held_back() -> None:
    store = Store()
    store.open()
    for key in ("d/1", "e/1", "f/1"):
        store.held(key)
    store.seen.clock.now += PROBES.ceiling
    store.call("d/1", ANSWERED)
    assert store.seen.woken_now() == ["e/1", "f/1"]
    assert [is_open for is_open, _ in store.seen.news] == [True, False]


def test_an_inconclusive_outcome_does_not_close_the_circuit() -> None:
    store = Store()
    store.open()
    store.seen.clock.now += PROBES.ceiling
    store.call("d/1", UNKNOWN)
    assert store.is_open


def test_probes_that_fail_back_off() -> None:
    store = Store()
    store.open()
    pauses = []
    for number in range(8):
        store.seen.clock.now = store._circuit.open_until
        store.call(f"n{number}/1", UNAVAILABLE)
        pauses.append(store._circuit.open_until - store.seen.clock.now)
    assert pauses == sorted(pauses)
    assert pauses[-1] == PROBES.ceiling


def test_the_delay_that_the_server_asks_for_is_kept_within_a_bound() -> None:
    store = Store()
    store.call("a/1", UNAVAILABLE, delay=1e9)
    store.call("b/1", UNAVAILABLE, delay=1e9)
    assert store._circuit.seconds_left() == LONGEST_DELAY


def test_claims_that_were_held_back_and_are_gone_do_not_probe() -> None:
    store = Store()
    store.open()
    store.held("d/1")
    store.forget("d/1")
    store.seen.clock.now = store._circuit.open_until
    with store.request("a/1"):
        pass


def test_every_server_has_a_circuit_of_its_own() -> None:
    recorder = Recorder()
    breakers = CircuitBreakers(lambda _: CircuitBreaker(recorder.settings))
    for key in ("a/1", "b/1"):
        with breakers.of("store-1").request(key) as call:
            call.signal = UNAVAILABLE
    assert breakers.of("store-1").is_open
    assert not breakers.of("store-2").is_open


class ApiServer:
    """The probe."""

    def __init__(self) -> None:
        self.is_up = True
        self.probes = 0

    def __call__(self) -> bool:
        self.probes += 1
        return self.is_up


class Cluster(ProbedCircuitBreaker):
    """A circuit breaker before an API server, with both."""

    def __init__(self) -> None:
        self.seen, self.server = Recorder(), ApiServer()
        super().__init__(self.seen.settings, self.server)

    def held(self, key: str) -> float:
        with pytest.raises(CircuitOpen) as held:
            self.check(key)
        return held.value.seconds

    def open(self) -> None:
        self.server.is_up = False
        assert self.confirm("a/1", failure="no answer in time", delay=0.0)


def test_a_failure_while_the_server_answers_its_probe_concerns_its_claim_alone() -> None:
    cluster = Cluster()
    for number in range(100):
        assert not cluster.confirm(f"a/{number}", failure="webhook", delay=0.0)
    cluster.check("b/1")
    assert cluster.seen.news == []


def test_a_failure_while_the_server_does_not_answer_its_probe_opens_the_circuit() -> None:
    cluster = Cluster()
    cluster.open()
    assert cluster.held("b/1") > 0
    assert cluster.seen.news == [(True, ("a/1: no answer in time",))]


def test_a_half_open_circuit_is_closed_by_a_probe_and_every_claim_is_woken() -> None:
    cluster = Cluster()
    cluster.open()
    cluster.held("b/1")
    cluster.held("c/1")
    cluster.seen.clock.now += PROBES.ceiling
    cluster.server.is_up = True
    cluster.check("b/1")
    assert sorted(cluster.seen.woken_now()) == ["b/1", "c/1"]
    cluster.check("d/1")


def test_a_half_open_circuit_whose_probe_fails_opens_again_for_longer() -> None:
    cluster = Cluster()
    cluster.open()
    waits = []
    for _ in range(8):
        cluster.seen.clock.now += cluster._circuit.seconds_left()
        waits.append(cluster.held("b/1"))
    assert waits == sorted(waits)
    assert waits[-1] <= PROBES.ceiling + 2 * PROBES.base
    assert cluster.server.probes == 9, "one for the failure, and one for each time that the back-off was over"
