"""Turns of requests that make or delete a bucket: one each two seconds and project, each bucket once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gcs_provisioner.pace import Pace


class Clock:
    """A clock that is turned."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def test_each_bucket_keeps_its_turn() -> None:
    clock = Clock()
    pace = Pace(clock)
    names = [f"bucket-{number}" for number in range(4)]
    assert [pace.seconds_left("p", name, 1.9) for name in names] == [0, 2, 4, 6]
    assert [pace.seconds_left("p", name, 1.9) for name in names[1:]] == [2, 4, 6]
    clock.turn(4)
    assert [pace.seconds_left("p", name, 1.9) for name in names[1:]] == [0, 2, 2], (
        "the second was late: two seconds again"
    )


def test_projects_have_rates_of_their_own() -> None:
    pace = Pace(Clock())
    assert pace.seconds_left("p", "a", 1.9) == 0
    assert pace.seconds_left("q", "b", 1.9) == 0
    assert pace.seconds_left("p", "c", 1.9) == 2


def test_a_turn_that_was_missed_for_long_is_given_again() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert [pace.seconds_left("p", name, 1.9) for name in ("a", "b")] == [0, 2]
    clock.turn(3600)
    assert [pace.seconds_left("p", name, 1.9) for name in ("c", "b")] == [0, 2]


def test_without_a_rate_there_are_no_turns() -> None:
    pace = Pace(Clock())
    assert [pace.seconds_left("p", name, 0) for name in ("a", "b")] == [0, 0]
