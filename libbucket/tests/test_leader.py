"""Leader election against a fake API server, on clocks that only the tests advance."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from libbucket._controller.election import LeaseSettings, boot_clock
from libbucket._controller.leader import LeaderElector
from libbucket._kube.errors import LeadershipLost

from .lease_api import Clock, FakeApi, failing

if TYPE_CHECKING:
    from collections.abc import Callable


def elector(api: FakeApi, clock: Callable[[], float], identity: str = "a", **changes: float) -> LeaderElector:
    lease = LeaseSettings(name="lease", namespace="default", identity=identity, **changes)
    return LeaderElector(api, lease, clock=clock)


def leading(api: FakeApi, clock: Clock, identity: str = "a") -> LeaderElector:
    one = elector(api, clock, identity)
    one.attempt()
    assert one.is_leader
    return one


def test_the_first_replica_becomes_the_leader() -> None:
    api, clock = FakeApi(), Clock()
    one = elector(api, clock)
    with pytest.raises(LeadershipLost):
        one.check_leadership()
    one.attempt()
    one.check_leadership()
    assert one.acquired.is_set()
    assert api.holder == "a"


def test_the_second_replica_is_standby_while_the_first_renews() -> None:
    api, clock = FakeApi(), Clock()
    one, two = leading(api, clock), elector(api, clock, "b")
    for _ in range(20):
        clock.advance(2)
        one.attempt()
        two.attempt()
        assert one.is_leader
        assert not two.is_leader
        assert not two.acquired.is_set()


def test_a_renewal_is_one_request() -> None:
    api, clock = FakeApi(), Clock()
    one = leading(api, clock)
    api.requests.clear()
    clock.advance(2)
    one.attempt()
    assert api.requests == ["update"]


def test_the_deadline_counts_from_before_the_renewal_was_sent() -> None:
    api, clock = FakeApi(), Clock()
    one = leading(api, clock)
    api.after = lambda _: clock.advance(4)  # the answer takes four seconds
    one.attempt()
    clock.advance(5.9)
    one.check_leadership()
    clock.advance(0.2)
    with pytest.raises(LeadershipLost):
        one.check_leadership()


def test_a_renewal_that_is_answered_after_the_deadline_does_not_count() -> None:
    api, clock = FakeApi(), Clock()
    one = leading(api, clock)
    api.after = lambda _: clock.advance(11)
    one.attempt()
    assert not one.is_leader
    assert not one.acquired.is_set()


def test_a_renewal_whose_answer_is_lost_does_not_count_and_is_found_by_the_next() -> None:
    api, clock = FakeApi(), Clock()
    one = leading(api, clock)
    clock.advance(9)
    api.after = failing("update")
    one.attempt()
    clock.advance(2)
    assert not one.is_leader
    api.after = lambda _: None
    one.attempt()
    assert one.is_leader


def test_a_leader_that_cannot_renew_stops_before_another_may_start() -> None:
    api, clock = FakeApi(), Clock()
    one, two = leading(api, clock), elector(api, clock, "b")
    two.attempt()
    for second in range(1, 17):
        clock.advance(1)
        two.attempt()
        assert not (one.is_leader and two.is_leader)
        assert one.is_leader == (second < 10)
        assert two.is_leader == (second > 15)


def test_a_standby_takes_over_only_after_it_saw_the_lease_unchanged_for_its_duration() -> None:
    api, clock = FakeApi(), Clock()
    leading(api, clock)
    clock.advance(3600)  # no renewal for an hour, but the new replica has not observed it
    two = elector(api, clock, "b")
    two.attempt()
    clock.advance(14.9)
    two.attempt()
    assert not two.is_leader
    clock.advance(0.2)
    two.attempt()
    assert two.is_leader


def test_wall_clocks_are_never_compared() -> None:
    api, clock = FakeApi(), Clock()
    leading(api, clock)
    api.edit(renewTime="1999-01-01T00:00:00.000000Z", acquireTime="1999-01-01T00:00:00.000000Z")
    two = elector(api, clock, "b")
    two.attempt()
    clock.advance(10)
    two.attempt()
    assert not two.is_leader
    api.edit(renewTime="1998-01-01T00:00:00.000000Z")  # a renewal, by a clock that goes backwards
    clock.advance(10)
    two.attempt()
    assert not two.is_leader


def test_a_longer_duration_in_the_record_is_respected() -> None:
    api, clock = FakeApi(), Clock()
    leading(api, clock)
    api.edit(leaseDurationSeconds=60)
    two = elector(api, clock, "b")
    two.attempt()
    clock.advance(30)
    two.attempt()
    assert not two.is_leader


def test_a_machine_that_was_suspended_is_no_leader_when_it_wakes() -> None:
    api, clock = FakeApi(), Clock()
    one = leading(api, clock)
    clock.advance(7200)
    with pytest.raises(LeadershipLost):
        one.check_leadership()


def test_the_default_clock_advances() -> None:
    assert boot_clock() <= boot_clock()


def test_a_replica_that_lost_the_lease_may_acquire_it_again() -> None:
    api, clock = FakeApi(), Clock()
    one, two = leading(api, clock), elector(api, clock, "b")
    two.attempt()
    clock.advance(16)
    two.attempt()
    assert two.is_leader
    one.attempt()
    assert not one.is_leader
    clock.advance(16)
    one.attempt()
    assert one.is_leader


def test_who_wins_again_does_not_go_on_with_the_work_of_an_earlier_term() -> None:
    api, clock = FakeApi(), Clock()
    one, two = leading(api, clock), elector(api, clock, "b")
    one.begin_work("shop/photos")
    one.check_leadership()
    two.attempt()
    clock.advance(16)
    two.attempt()
    clock.advance(16)
    one.attempt()
    clock.advance(16)  # it has to observe the Lease unchanged for a while first
    one.attempt()
    assert one.is_leader
    with pytest.raises(LeadershipLost):
        one.check_leadership()
    one.begin_work("shop/photos")
    one.check_leadership()


def test_work_of_an_expired_term_is_fenced_although_no_other_replica_led() -> None:
    api, clock = FakeApi(), Clock()
    one = leading(api, clock)
    one.begin_work("shop/photos")
    clock.advance(11)
    one.attempt()
    assert one.is_leader
    with pytest.raises(LeadershipLost):
        one.check_leadership()


def test_a_manual_edit_of_the_lease_is_noticed_at_the_next_renewal() -> None:
    api, clock = FakeApi(), Clock()
    one = leading(api, clock)
    api.edit(holderIdentity="another")
    one.attempt()
    assert not one.is_leader
    assert not one.acquired.is_set()


def test_a_deleted_lease_is_recreated_by_its_holder() -> None:
    api, clock = FakeApi(), Clock()
    one = leading(api, clock)
    api.body = None
    one.attempt()
    assert one.is_leader
    assert api.holder == "a"


def test_a_standby_leaves_a_deleted_lease_to_its_holder_until_it_would_have_expired() -> None:
    api, clock = FakeApi(), Clock()
    one, two = leading(api, clock), elector(api, clock, "b")
    two.attempt()
    api.body = None
    two.attempt()
    clock.advance(9)
    two.attempt()
    assert api.holder == ""
    clock.advance(7)
    two.attempt()
    assert [one.is_leader, two.is_leader] == [False, True]


def test_who_led_before_does_not_take_a_lease_that_was_removed_from_its_successor() -> None:
    api, clock = FakeApi(), Clock()
    one, two = leading(api, clock), elector(api, clock, "b")
    two.attempt()
    clock.advance(16)
    two.attempt()
    api.body = None
    one.attempt()
    assert two.is_leader
    assert not one.is_leader


def test_of_two_that_create_the_lease_at_once_one_wins() -> None:
    api, clock = FakeApi(), Clock()
    one, two = elector(api, clock), elector(api, clock, "b")

    def faster(verb: str) -> None:
        if verb == "create":
            api.before = lambda _: None
            two.attempt()

    api.before = faster
    one.attempt()
    assert two.is_leader
    assert not one.is_leader


def test_labels_of_others_stay_on_the_lease() -> None:
    api, clock = FakeApi(), Clock()
    one = leading(api, clock)
    assert api.body is not None
    api.body["metadata"]["labels"] = {"team": "storage"}
    api.edit()
    one.attempt()
    assert one.is_leader
    assert api.body["metadata"]["labels"] == {"team": "storage"}


def test_a_thread_with_the_context_of_the_work_is_bound_to_its_term() -> None:
    api, clock = FakeApi(), Clock()
    one, two = leading(api, clock), elector(api, clock, "b")
    one.begin_work("shop/photos")
    work = copy_context()
    one._give_up()
    two.attempt()
    two._give_up()
    one.attempt()
    with ThreadPoolExecutor(1) as pool, pytest.raises(LeadershipLost):
        pool.submit(work.run, one.check_leadership).result()


def test_what_belongs_to_no_term_is_checked_by_the_renewal_alone() -> None:
    api, clock = FakeApi(), Clock()
    one = leading(api, clock)
    one.check_renewal()
    clock.advance(10)
    with pytest.raises(LeadershipLost):
        one.check_renewal()


def test_each_change_of_leadership_is_notified_and_logged_once() -> None:
    api, clock = FakeApi(), Clock()
    with structlog.testing.capture_logs() as log:
        one = elector(api, clock)
        told: list[str] = []
        one.subscribe(on_acquired=lambda _: told.append("acquired"), on_lost=lambda _: told.append("lost"))
        for _ in range(3):
            one.attempt()
        api.before = failing()
        for _ in range(12):
            clock.advance(1)
            one.attempt()
        api.before = lambda _: None
        one.attempt()
    assert told == ["acquired", "lost", "acquired"]
    assert [line["event"] for line in log] == [
        "became leader",
        "cannot acquire or renew the lease; retrying",
        "lost leadership",
        "became leader",
    ]


def test_a_loss_is_noticed_while_a_renewal_waits_for_its_answer() -> None:
    api, clock = FakeApi(), Clock()
    one = leading(api, clock)

    def hang(_: str) -> None:
        clock.advance(11)
        one.expire()  # as the watchdog does
        assert not one.acquired.is_set()

    api.before = hang
    one.attempt()


def running(one: LeaderElector) -> threading.Thread:
    acquired = threading.Event()
    one.subscribe(on_acquired=lambda _: acquired.set(), on_lost=lambda _: acquired.clear())
    thread = threading.Thread(target=one.run, daemon=True)
    thread.start()
    assert acquired.wait(10)
    return thread


@pytest.mark.parametrize("error", [ValueError("Invalid header value"), RecursionError(), KeyError("spec")])
def test_an_unexpected_exception_in_an_attempt_is_survived(error: Exception) -> None:
    api, errors = FakeApi(), [error]
    failed: list[str] = []

    def raises_once(_verb: str) -> None:
        if errors:
            raise errors.pop()

    api.before = raises_once
    lease = LeaseSettings(name="lease", namespace="default", identity="a", retry_seconds=0.01)
    one = LeaderElector(api, lease, on_failure=failed.append)
    thread = running(one)
    assert one.acquired.wait(10)
    assert failed == ["leader-election"]
    one.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_stopping_releases_the_lease_so_that_another_takes_over_at_once() -> None:
    api, clock = FakeApi(), Clock()
    one, two = elector(api, clock, retry_seconds=0.01), elector(api, clock, "b")
    thread = running(one)
    two.attempt()
    assert not two.is_leader
    one.stop()
    thread.join(10)
    assert not one.is_leader
    assert api.holder == ""
    two.attempt()
    assert two.is_leader


def test_stopping_with_running_reconciles_keeps_the_lease() -> None:
    api, clock = FakeApi(), Clock()
    one, two = elector(api, clock, retry_seconds=0.01), elector(api, clock, "b")
    thread = running(one)
    one.stop(release=False)
    thread.join(10)
    assert not one.is_leader
    two.attempt()
    assert not two.is_leader


def test_writes_are_fenced_before_the_release_is_sent() -> None:
    api, clock = FakeApi(), Clock()
    one = elector(api, clock, retry_seconds=0.01)
    thread = running(one)
    seen: list[bool] = []

    def look(_: str) -> None:
        if one._stop.is_set():
            seen.append(one.is_leader)

    api.before = look
    one.stop()
    thread.join(10)
    assert not seen[-1]


def test_who_never_led_leaves_the_lease_alone_when_it_stops() -> None:
    api, clock = FakeApi(), Clock()
    leading(api, clock)
    two = elector(api, clock, "b")
    two.stop()
    two.run()
    assert api.holder == "a"


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.floats(0, 8),
        st.sampled_from(["well", "well", "well", "refused", "answer lost", "slow", "removed"]),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=300)
@given(steps=STEPS)
def test_there_are_never_two_leaders_under_any_failure(steps: list[tuple[str, float, str]]) -> None:
    api, clock = FakeApi(), Clock()
    # Each machine's clock shows another time; only their speed is the same.
    replicas = {
        name: elector(api, lambda offset=offset: clock.now + offset, name)  # type: ignore[misc]
        for name, offset in (("a", 0.0), ("b", 1e6), ("c", -900.0))
    }

    def check(_: str = "") -> None:
        assert sum(one.is_leader for one in replicas.values()) <= 1

    def slow(_: str) -> None:
        check()
        clock.advance(6)
        check()

    ways = {"well": check, "refused": check, "answer lost": failing("update create"), "slow": slow}
    was_removed = False
    for each in replicas.values():
        each.attempt()  # who has never seen the Lease can't know that it was removed
    for name, pause, way in steps:
        clock.advance(pause)
        if way == "removed" and not was_removed:  # twice between two reads of a replica would be undetectable
            api.body, was_removed = None, True
        api.before = failing() if way == "refused" else slow if way == "slow" else check
        api.after = ways.get(way, check)
        replicas[name].attempt()
        check()
