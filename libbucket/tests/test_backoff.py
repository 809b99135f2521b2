from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from libbucket._backoff import Backoff


class NoJitter(Random):
    """Takes nothing off."""

    def random(self) -> float:
        return 0.0


def test_each_further_failure_doubles_the_delay_up_to_the_ceiling() -> None:
    backoff = Backoff(base=1.0, ceiling=10.0)

    assert [backoff.delay(attempt, NoJitter()) for attempt in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_the_factor_can_be_chosen() -> None:
    backoff = Backoff(base=1.0, ceiling=100.0, factor=3.0)

    assert [backoff.delay(attempt, NoJitter()) for attempt in (1, 2, 3)] == [1, 3, 9]


def test_an_attempt_that_is_none_counts_as_the_first() -> None:
    assert Backoff(base=1.0, ceiling=10.0).delay(0, NoJitter()) == 1.0


@settings(deadline=None)  # on a busy machine, time says nothing
@given(attempt=st.integers(min_value=-1, max_value=10**9), seed=st.integers())
def test_the_jitter_takes_off_at_most_half_however_often_it_failed(attempt: int, seed: int) -> None:
    backoff = Backoff(base=0.5, ceiling=30.0)
    whole = backoff.delay(attempt, NoJitter())

    assert whole / 2 <= backoff.delay(attempt, Random(seed)) <= whole <= 30.0


def test_jitter_spreads_simultaneous_failures() -> None:
    random = Random(1)

    assert len({Backoff(base=1.0, ceiling=10.0).delay(1, random) for _ in range(1000)}) > 900
