"""Turns of requests that make or delete a bucket: one each two seconds and project, each bucket once."""

from __future__ import annotations

from gcs_provisioner.pace import Pace
from testkit.core import Clock


def test_each_bucket_keeps_its_turn() -> None:
    clock = Clock()
    pace = Pace(clock)
    names = [f"bucket-{number}" for number in range(4)]
    assert [pace.take_turn("p", name, 1.9, tenant="shop") for name in names] == [0, 2, 4, 6]
    assert [pace.take_turn("p", name, 1.9, tenant="shop") for name in names[1:]] == [2, 4, 6]
    clock.turn(4)
    assert [pace.take_turn("p", name, 1.9, tenant="shop") for name in names[1:]] == [0, 2, 2], (
        "the second was late: two seconds again"
    )


def test_buckets_that_missed_their_turns_come_one_after_the_other() -> None:
    clock = Clock()
    pace = Pace(clock)
    names = [f"bucket-{number}" for number in range(5)]
    assert [pace.take_turn("p", name, 1.9, tenant="shop") for name in names] == [0, 2, 4, 6, 8]
    clock.turn(7)
    assert [pace.take_turn("p", name, 1.9, tenant="shop") for name in names[1:]] == [0, 2, 4, 2]


def test_a_turn_that_is_near_is_taken_and_waited_for() -> None:
    clock = Clock()
    pace = Pace(clock)
    names = ["a", "b", "c", "d"]
    assert [pace.take_turn("p", name, 1.9, tenant="shop") for name in names] == [0, 2, 4, 6]
    clock.turn(2.5)
    assert pace.take_turn("p", "b", 1.9, tenant="shop") == 0, "half a second late"
    clock.turn(1.5)
    assert pace.take_turn("p", "c", 1.9, tenant="shop") == 0.5, "its caller waits, and comes two seconds after b"
    clock.turn(2)
    assert pace.take_turn("p", "d", 1.9, tenant="shop") == 0.5, "two seconds after c"


def test_one_caller_of_a_project_waits_at_a_time() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert [pace.take_turn("p", name, 1.9, tenant="shop") for name in ("a", "b", "c")] == [0, 2, 4]
    clock.turn(1.5)
    assert [pace.take_turn("p", name, 1.9, tenant="shop") for name in ("b", "c", "d")] == [0.5, 2.5, 4.5]


def test_a_bucket_that_never_comes_again_delays_others_for_minutes_only() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert [pace.take_turn("p", name, 1.9, tenant="shop") for name in ("a", "gone", "b", "c")] == [0, 2, 4, 6]
    clock.turn(303)
    assert [pace.take_turn("p", name, 1.9, tenant="shop") for name in ("b", "c")] == [0, 2]
    clock.turn(2)
    assert pace.take_turn("p", "c", 1.9, tenant="shop") == 0


def test_projects_have_rates_of_their_own() -> None:
    pace = Pace(Clock())
    assert pace.take_turn("p", "a", 1.9, tenant="shop") == 0
    assert pace.take_turn("q", "b", 1.9, tenant="shop") == 0
    assert pace.take_turn("p", "c", 1.9, tenant="shop") == 2


def test_a_turn_that_was_missed_for_long_is_given_again() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert [pace.take_turn("p", name, 1.9, tenant="shop") for name in ("a", "b")] == [0, 2]
    clock.turn(3600)
    assert [pace.take_turn("p", name, 1.9, tenant="shop") for name in ("c", "b")] == [0, 2]


def test_without_a_rate_there_are_no_turns() -> None:
    pace = Pace(Clock())
    assert [pace.take_turn("p", name, 0, tenant="shop") for name in ("a", "b")] == [0, 0]


def test_a_tenant_with_many_claims_does_not_keep_others_waiting() -> None:
    pace = Pace(Clock())
    many = [pace.take_turn("p", f"many-{number}", 1.9, tenant="many") for number in range(500)]
    assert many == [2 * number for number in range(500)]
    few = [pace.take_turn("p", f"few-{number}", 1.9, tenant="few") for number in range(3)]
    assert few == [4, 8, 12], "every other turn"
    assert pace.take_turn("p", "one", 1.9, tenant="one") == 6
    again = [pace.take_turn("p", f"many-{number}", 1.9, tenant="many") for number in range(1, 500)]
    changed = [number for number, left in enumerate(again, start=1) if left != 2 * number]
    assert len(changed) == 4, "who gave a turn away gets the last one, and no other waits for longer"
    assert sorted([*again, *few, 6]) == [2 * number for number in range(1, 504)]


def test_tenants_with_as_many_claims_take_turns() -> None:
    clock = Clock()
    pace, order = Pace(clock), []
    waiting = [(tenant, f"{tenant}-{number}") for tenant in ("a", "b", "c") for number in range(4)]
    for tenant, bucket in waiting:
        pace.take_turn("p", bucket, 1.9, tenant=tenant)
    left = waiting[1:]  # the first was served at once
    while left:
        clock.turn(2)
        served = [each for each in left if pace.take_turn("p", each[1], 1.9, tenant=each[0]) == 0]
        assert len(served) == 1
        order.append(served[0][0])
        left.remove(served[0])
    assert "".join(order[:9]).count("a") == "".join(order[:9]).count("b") == 3
    assert len(order) == 11


def test_turns_that_are_not_taken_are_forgotten() -> None:
    clock = Clock()
    pace = Pace(clock)
    for number in range(20):
        pace.take_turn("p", f"gone-{number}", 1.9, tenant="gone")
    clock.turn(1000)
    assert pace.take_turn("p", "new", 1.9, tenant="new") == 0
