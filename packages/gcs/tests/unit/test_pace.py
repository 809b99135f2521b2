"""Turns of requests that make or delete a bucket: one each two seconds and project, each bucket once."""

from __future__ import annotations

from gcs_provisioner.pace import Pace
from testkit.core import Clock


def test_each_bucket_keeps_its_turn() -> None:
    clock = Clock()
    pace = Pace(clock)
    names = [f"bucket-{number}" for number in range(4)]
    assert [pace.seconds_left("p", name, 1.9, tenant="shop") for name in names] == [0, 2, 4, 6]
    assert [pace.seconds_left("p", name, 1.9, tenant="shop") for name in names[1:]] == [2, 4, 6]
    clock.turn(4)
    assert [pace.seconds_left("p", name, 1.9, tenant="shop") for name in names[1:]] == [0, 2, 2], (
        "the second was late: two seconds again"
    )


def test_buckets_that_missed_their_turns_come_one_after_the_other() -> None:
    clock = Clock()
    pace = Pace(clock)
    names = [f"bucket-{number}" for number in range(5)]
    assert [pace.seconds_left("p", name, 1.9, tenant="shop") for name in names] == [0, 2, 4, 6, 8]
    clock.turn(7)
    assert [pace.seconds_left("p", name, 1.9, tenant="shop") for name in names[1:]] == [0, 2, 4, 2]


def test_a_bucket_that_never_comes_again_delays_others_for_minutes_only() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert [pace.seconds_left("p", name, 1.9, tenant="shop") for name in ("a", "gone", "b", "c")] == [0, 2, 4, 6]
    clock.turn(303)
    assert [pace.seconds_left("p", name, 1.9, tenant="shop") for name in ("b", "c")] == [0, 2]
    clock.turn(2)
    assert pace.seconds_left("p", "c", 1.9, tenant="shop") == 0


def test_projects_have_rates_of_their_own() -> None:
    pace = Pace(Clock())
    assert pace.seconds_left("p", "a", 1.9, tenant="shop") == 0
    assert pace.seconds_left("q", "b", 1.9, tenant="shop") == 0
    assert pace.seconds_left("p", "c", 1.9, tenant="shop") == 2


def test_a_turn_that_was_missed_for_long_is_given_again() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert [pace.seconds_left("p", name, 1.9, tenant="shop") for name in ("a", "b")] == [0, 2]
    clock.turn(3600)
    assert [pace.seconds_left("p", name, 1.9, tenant="shop") for name in ("c", "b")] == [0, 2]


def test_without_a_rate_there_are_no_turns() -> None:
    pace = Pace(Clock())
    assert [pace.seconds_left("p", name, 0, tenant="shop") for name in ("a", "b")] == [0, 0]


def test_a_tenant_with_many_claims_does_not_keep_others_waiting() -> None:
    pace = Pace(Clock())
    many = [pace.seconds_left("p", f"many-{number}", 1.9, tenant="many") for number in range(500)]
    assert many == [2 * number for number in range(500)]
    few = [pace.seconds_left("p", f"few-{number}", 1.9, tenant="few") for number in range(3)]
    assert few == [4, 8, 12], "every other turn"
    assert pace.seconds_left("p", "one", 1.9, tenant="one") == 6
    again = [pace.seconds_left("p", f"many-{number}", 1.9, tenant="many") for number in range(1, 500)]
    changed = [number for number, left in enumerate(again, start=1) if left != 2 * number]
    assert len(changed) == 4, "who gave a turn away gets the last one, and no other waits for longer"
    assert sorted([*again, *few, 6]) == [2 * number for number in range(1, 504)]


def test_tenants_with_as_many_claims_take_turns() -> None:
    clock = Clock()
    pace, order = Pace(clock), []
    waiting = [(tenant, f"{tenant}-{number}") for tenant in ("a", "b", "c") for number in range(4)]
    for tenant, bucket in waiting:
        pace.seconds_left("p", bucket, 1.9, tenant=tenant)
    left = waiting[1:]  # the first was served at once
    while left:
        clock.turn(2)
        served = [each for each in left if pace.seconds_left("p", each[1], 1.9, tenant=each[0]) == 0]
        assert len(served) == 1
        order.append(served[0][0])
        left.remove(served[0])
    assert "".join(order[:9]).count("a") == "".join(order[:9]).count("b") == 3
    assert len(order) == 11


def test_turns_that_are_not_taken_are_forgotten() -> None:
    clock = Clock()
    pace = Pace(clock)
    for number in range(20):
        pace.seconds_left("p", f"gone-{number}", 1.9, tenant="gone")
    clock.turn(1000)
    assert pace.seconds_left("p", "new", 1.9, tenant="new") == 0
