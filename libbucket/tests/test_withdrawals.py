"""When permissions were withdrawn, as far as a process can know."""

from __future__ import annotations

import pytest

from libbucket import StoreUnavailable, Withdrawals
from testkit.core import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def withdrawals(clock: Clock) -> Withdrawals:
    """Those of a process that has run for an hour."""
    made = Withdrawals(clock)
    clock.turn(3600)
    return made


def test_a_permission_counts_for_as_long_as_the_store_takes(withdrawals: Withdrawals, clock: Clock) -> None:
    withdrawals.note("a")
    assert withdrawals.seconds_left("a", 180) == 180
    clock.turn(60.5)
    assert withdrawals.seconds_left("a", 180) == 120
    clock.turn(119.5)
    assert withdrawals.seconds_left("a", 180) == 0


def test_a_claim_whose_permission_went_long_ago_is_not_waited_for(withdrawals: Withdrawals) -> None:
    assert withdrawals.seconds_left("a", 180) == 0


def test_an_earlier_process_may_have_withdrawn_it_just_before(clock: Clock) -> None:
    withdrawals = Withdrawals(clock)
    clock.turn(60)
    assert withdrawals.seconds_left("a", 180) == 120


def test_a_request_without_an_answer_may_have_withdrawn_it(withdrawals: Withdrawals) -> None:
    with pytest.raises(StoreUnavailable), withdrawals.withdrawing("a"):
        raise StoreUnavailable("the connection was cut")
    assert withdrawals.seconds_left("a", 180) == 180


def test_requests_that_found_nothing_to_withdraw_change_nothing(withdrawals: Withdrawals) -> None:
    with withdrawals.withdrawing("a"):
        pass
    assert withdrawals.seconds_left("a", 180) == 0


def test_what_is_forgotten_for_newer_ones_counts_as_lately_withdrawn(withdrawals: Withdrawals, clock: Clock) -> None:
    for number in range(5000):
        withdrawals.note(str(number))
        clock.turn(0.01)
    assert 100 < withdrawals.seconds_left("0", 180) < 180
    assert withdrawals.seconds_left("4999", 180) == 180
    assert len(withdrawals._at) == 4096
