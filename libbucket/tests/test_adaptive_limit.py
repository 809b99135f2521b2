"""The adaptive concurrency limit of one class: growth, latency, decrease."""

from __future__ import annotations

import pytest

from libbucket._adaptive_limit import AdaptiveLimit


class Rounds:
    """Reconciles of one kind whose number is the limit, one round after the other.

    Args:
        limit: what they are limited by.
    """

    def __init__(self, limit: AdaptiveLimit) -> None:
        self.limit = limit
        self.now = 0.0

    def run(self, number: int, *, seconds: float, is_wanted: bool = True, kind: str = "bound NONE") -> None:
        for _ in range(number):
            if is_wanted:
                self.limit.want()
            self.now += seconds
            for _ in range(self.limit.limit):
                self.limit.succeeded(kind, seconds, self.now)


@pytest.fixture
def rounds() -> Rounds:
    return Rounds(AdaptiveLimit(first=4, most=64))


def test_a_class_starts_with_few_and_doubles_each_round_while_its_store_keeps_up(rounds: Rounds) -> None:
    seen = [rounds.limit.limit]
    for _ in range(5):
        rounds.run(1, seconds=0.1)
        seen.append(rounds.limit.limit)
    assert seen == [4, 8, 16, 32, 64, 64]


def test_the_maximum_is_never_exceeded_even_if_it_is_less_than_the_first_limit() -> None:
    assert AdaptiveLimit(first=4, most=2).limit == 2


def test_a_limit_that_keeps_no_claim_waiting_does_not_grow(rounds: Rounds) -> None:
    rounds.run(10, seconds=0.1, is_wanted=False)
    assert rounds.limit.limit == 4


def test_latency_that_grows_ends_slow_start_and_shrinks_the_limit(rounds: Rounds) -> None:
    rounds.run(3, seconds=0.1)
    assert rounds.limit.limit == 32
    rounds.run(1, seconds=0.4)
    before = rounds.limit.limit
    rounds.run(1, seconds=0.4)
    assert rounds.limit.limit < before <= 32
    rounds.run(1, seconds=0.1)
    rounds.run(1, seconds=0.1)
    after = rounds.limit.limit
    rounds.run(1, seconds=0.1)
    assert rounds.limit.limit <= after + 1


def test_latency_alone_leaves_a_few(rounds: Rounds) -> None:
    rounds.run(3, seconds=0.1)
    rounds.run(60, seconds=1.0)
    assert 6 <= rounds.limit.limit <= 8


def test_after_slow_start_the_limit_grows_by_one_a_round(rounds: Rounds) -> None:
    rounds.run(3, seconds=0.1)
    rounds.limit.decrease()
    assert rounds.limit.limit == 16
    rounds.run(3, seconds=0.1)
    assert rounds.limit.limit == 19


def test_latencies_that_vary_by_a_third_do_not_stop_the_growth(rounds: Rounds) -> None:
    for number in range(400):
        rounds.limit.want()
        rounds.limit.succeeded("bound NONE", 0.1 * (1 + number % 3 / 3), number / 100)
    assert rounds.limit.limit == 64


def test_one_reconcile_that_hangs_is_an_outlier(rounds: Rounds) -> None:
    for number in range(400):
        rounds.limit.want()
        rounds.limit.succeeded("bound NONE", 30.0 if number % 40 == 39 else 0.1, number / 100)
    assert rounds.limit.limit == 64


def test_reconciles_of_different_kinds_are_not_compared(rounds: Rounds) -> None:
    for number in range(200):
        rounds.limit.want()
        kind, seconds = ("bound DRIFT_CHECK", 0.05) if number % 2 else ("bound NONE", 0.5)
        rounds.limit.succeeded(kind, seconds, number / 100)
    assert rounds.limit.limit == 64


def test_a_store_that_became_slower_for_good_is_taken_as_it_is_some_time_later(rounds: Rounds) -> None:
    rounds.run(3, seconds=0.1)
    rounds.run(30, seconds=0.5)
    low = rounds.limit.limit
    rounds.run(4000, seconds=0.5)
    assert low < 32
    assert rounds.limit.limit == 64


def test_a_decrease_halves_but_leaves_what_a_known_rate_needs(rounds: Rounds) -> None:
    rounds.run(4, seconds=0.5)
    rounds.limit.decrease(at_least=60.0)
    assert rounds.limit.limit == 46, "60 per second, of half a second each, and half as many again"
    rounds.limit.decrease(at_least=1.0)
    rounds.limit.decrease(at_least=1.0)
    rounds.limit.decrease(at_least=1.0)
    assert rounds.limit.limit == 5


def test_failures_in_a_row_leave_one() -> None:
    limit = AdaptiveLimit(first=4, most=64)
    for _ in range(5):
        limit.decrease()
    assert limit.limit == 1
