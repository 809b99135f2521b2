from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket import PurgeUnfinished, drain, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """Time that passes only during `sleep`."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def __call__(self) -> float:
        return sum(self.slept)


def test_a_condition_that_holds_is_not_waited_for() -> None:
    clock = Clock()
    assert wait_until(lambda: True, 0.0, sleep=clock.sleep, clock=clock)
    assert clock.slept == []


def test_polls_slow_down_until_the_condition_holds() -> None:
    clock = Clock()
    assert wait_until(lambda: clock() >= 5, 30.0, pause=0.5, sleep=clock.sleep, clock=clock)
    assert clock.slept == [0.5, 1.0, 2.0, 2.0]


def test_a_pause_that_is_long_from_the_beginning_stays_so() -> None:
    clock = Clock()
    assert wait_until(lambda: clock() >= 6, 30.0, pause=3.0, sleep=clock.sleep, clock=clock)
    assert clock.slept == [3.0, 3.0]


def test_no_poll_begins_after_the_time_limit() -> None:
    clock = Clock()
    assert not wait_until(lambda: False, 4.0, pause=0.5, sleep=clock.sleep, clock=clock)
    assert clock() <= 4.0


def test_all_batches_are_removed_where_there_is_time() -> None:
    left = [1000, 1000, 500]
    drain(_batches(left), 20.0)
    assert left == []


def test_a_large_removal_stops_after_at_least_one_batch_and_reports_progress() -> None:
    clock, left = Clock(), [1000, 1000, 500]
    with pytest.raises(PurgeUnfinished) as pause:
        drain(_batches(left, clock), 0.0, clock=clock)
    assert pause.value.removed == 1000
    assert left == [1000, 500]


def test_an_empty_batch_does_not_stop_a_removal() -> None:
    clock, left = Clock(), [0, 0, 7, 1]
    with pytest.raises(PurgeUnfinished) as pause:
        drain(_batches(left, clock), 0.0, clock=clock)
    assert pause.value.removed == 7
    assert left == [1]


def _batches(left: list[int], clock: Clock | None = None) -> Iterator[int]:
    while left:
        if clock is not None:
            clock.sleep(1)
        yield left.pop(0)
