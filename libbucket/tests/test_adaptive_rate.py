"""The adaptive rate limit of one class: measurement, growth, decrease."""

from __future__ import annotations

from math import inf

import pytest

from libbucket._adaptive_rate import AdaptiveRate


class Starts:
    """Reconciles that start as soon as the rate lets them, and succeed at once.

    Args:
        rate: what they are limited by.
    """

    def __init__(self, rate: AdaptiveRate) -> None:
        self.rate = rate
        self.now = 100.0

    def run(self, seconds: float, *, each: float = 0.001) -> int:
        """Starts reconciles for so long, at least `each` seconds apart; returns their number."""
        until, count = self.now + seconds, 0
        while self.now < until:
            self.now += max(self.rate.seconds_left(self.now), each)
            self.rate.start(self.now)
            self.rate.succeeded()
            count += 1
        return count

    def throttle(self) -> bool:
        self.rate.start(self.now)
        return self.rate.throttled(self.now + 0.01, started=self.now)


@pytest.fixture
def starts() -> Starts:
    return Starts(AdaptiveRate())


def test_a_store_that_never_throttled_has_no_rate_limit(starts: Starts) -> None:
    starts.run(10, each=0.001)
    assert starts.rate.rate == inf
    assert starts.rate.seconds_left(starts.now) == 0


def test_the_first_throttling_sets_the_rate_just_below_what_succeeded(starts: Starts) -> None:
    starts.run(10, each=0.1)
    starts.throttle()
    assert starts.rate.rate == pytest.approx(9.0, rel=0.05)


def test_a_time_without_claims_is_not_taken_for_a_slow_store(starts: Starts) -> None:
    starts.run(1, each=0.1)
    starts.now += 3600
    starts.run(3, each=0.01)
    starts.throttle()
    assert starts.rate.rate == pytest.approx(90.0, rel=0.05)


def test_what_started_before_the_rate_fell_is_no_news(starts: Starts) -> None:
    starts.run(10, each=0.1)
    starts.throttle()
    fallen = starts.rate.rate
    assert not starts.rate.throttled(starts.now + 1, started=starts.now)
    assert starts.rate.rate == fallen


def test_starts_are_spaced_evenly(starts: Starts) -> None:
    starts.run(10, each=0.1)
    starts.throttle()
    starts.now += 0.01 + 1 / starts.rate.rate
    for _ in range(3):
        assert starts.rate.seconds_left(starts.now) == pytest.approx(0.0, abs=0.001)
        starts.rate.start(starts.now)
        left = starts.rate.seconds_left(starts.now)
        assert left == pytest.approx(1 / starts.rate.rate, rel=0.3)
        starts.now += left


def test_the_rate_returns_stays_and_then_grows_faster_and_faster(starts: Starts) -> None:
    starts.run(10, each=0.1)
    starts.throttle()
    seen = []
    for _ in range(4):
        starts.run(2)
        seen.append(starts.rate.rate)
    assert seen[0] == pytest.approx(10, rel=0.05)
    assert seen[1] == pytest.approx(11, rel=0.05)
    assert seen[3] - seen[2] > seen[2] - seen[1] > seen[1] - seen[0]


def test_a_rate_limit_that_was_lifted_is_found_within_half_a_minute(starts: Starts) -> None:
    starts.run(10, each=0.1)
    starts.throttle()
    starts.run(30)
    assert starts.rate.rate == inf


def test_the_longer_the_store_did_not_throttle_the_longer_the_next_attempt_takes(starts: Starts) -> None:
    starts.run(10, each=0.1)
    starts.throttle()
    starts.run(4)
    starts.throttle()
    known = starts.rate.rate / 0.9
    starts.run(3)
    assert starts.rate.rate < known


def test_time_that_is_not_used_does_not_count(starts: Starts) -> None:
    starts.run(10, each=0.1)
    starts.throttle()
    starts.run(1)
    before = starts.rate.rate
    starts.now += 3600
    starts.rate.start(starts.now)
    assert starts.rate.rate < 1.1 * before


def test_a_store_that_goes_on_throttling_is_asked_less_and_less(starts: Starts) -> None:
    starts.run(10, each=0.01)
    for _ in range(12):
        starts.throttle()
        starts.now += 1 / starts.rate.rate
    assert starts.rate.rate < 0.2


def test_a_reconcile_that_called_no_store_gives_its_turn_back(starts: Starts) -> None:
    starts.run(10, each=0.1)
    starts.throttle()
    starts.now += 1
    starts.rate.start(starts.now)
    assert starts.rate.seconds_left(starts.now) > 0
    starts.rate.give_back()
    assert starts.rate.seconds_left(starts.now) == 0
