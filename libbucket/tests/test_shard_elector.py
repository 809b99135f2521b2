"""Sharding against a fake API server, on clocks that only the tests advance: shards move, and none has two servers."""

from __future__ import annotations

import threading
from contextvars import Context, copy_context
from itertools import count
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from libbucket._controller.election import LeaseSettings
from libbucket._controller.leader import LeaderElector
from libbucket._controller.shard_elector import HOLDER, ShardElector
from libbucket._controller.shards import OWNERS, SHARDS, read_table, shard_of, table_annotations
from libbucket._kube.errors import LeadershipLost

from .lease_api import Clock, FakeApi, failing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from libbucket._controller.election import Election
    from libbucket._controller.shards import ShardTable


def key_of(shard: int) -> str:
    """A key of a shard."""
    return next(key for number in count() if shard_of(key := f"shop/claim-{number}") == shard)


KEYS = [key_of(shard) for shard in range(SHARDS)]


class Replica:
    """One replica, and the work that it has begun.

    Attributes:
        moves: its shards that begin and end, in order.
    """

    def __init__(
        self, api: FakeApi, clock: Callable[[], float], name: str, kind: type[Election] = ShardElector, **changes: float
    ) -> None:
        lease = LeaseSettings(name="lease", namespace="default", identity=name, **changes)
        self.name = name
        self.elector = kind(api, lease, clock=clock)
        self.moves: list[tuple[str, set[int]]] = []
        self.works: dict[int, list[Context]] = {shard: [] for shard in range(SHARDS)}
        self.elector.subscribe(
            on_acquired=lambda has_key: self.moves.append(("+", _shards(has_key))),
            on_lost=lambda has_key: self.moves.append(("-", _shards(has_key))),
        )

    def attempt(self) -> None:
        self.elector.attempt()

    def begin(self, shard: int) -> bool:
        """Begins work on the shard's key."""
        context = copy_context()
        if not context.run(self.elector.begin_work, KEYS[shard]):
            return False
        self.works[shard].append(context)
        return True

    def end(self, shard: int) -> None:
        """Ends all work on it."""
        for context in self.works[shard]:
            context.run(self.elector.end_work)
        self.works[shard].clear()

    def may_write(self, shard: int) -> bool:
        """Whether any work on this shard, begun now or earlier, passes the leadership check."""
        fresh = copy_context()
        has_begun = fresh.run(self.elector.begin_work, KEYS[shard])
        passes = any(_passes(self.elector, one) for one in [*self.works[shard], *([fresh] if has_begun else [])])
        if has_begun:
            fresh.run(self.elector.end_work)
        return passes

    @property
    def serves(self) -> set[int]:
        """The shards for which it may write."""
        return {shard for shard in range(SHARDS) if self.may_write(shard)}


def _passes(elector: Election, context: Context) -> bool:
    try:
        context.run(elector.check_leadership)
    except LeadershipLost:
        return False
    return True


def _shards(has_key: Callable[[str], bool]) -> set[int]:
    return {shard for shard, key in enumerate(KEYS) if has_key(key)}


def table_of(api: FakeApi) -> ShardTable:
    assert api.body is not None
    table = read_table(api.body["metadata"]["annotations"])
    assert table is not None
    return table


def assert_one_each(replicas: Iterable[Replica], shards: Iterable[int] = range(SHARDS)) -> None:
    """No shard has two servers."""
    taken: dict[int, str] = {}
    for one in replicas:
        for shard in filter(one.may_write, shards):
            assert shard not in taken, f"shard {shard} is served by {taken[shard]} and {one.name}"
            taken[shard] = one.name


def turns(clock: Clock, replicas: Iterable[Replica], seconds: float = 20, step: float = 2) -> None:
    """All replicas renew in turn for a time, and no shard has two servers at any time."""
    everyone = list(replicas)
    for _ in range(round(seconds / step)):
        clock.advance(step)
        for one in everyone:
            one.attempt()
            assert_one_each(everyone)


def released(api: FakeApi) -> None:
    """A leader held the Lease and released it, as before an upgrade to sharding."""
    clock = Clock()
    former = Replica(api, clock, "former", LeaderElector, retry_seconds=0.01)
    former.attempt()
    former.elector._give_up()


def gathered(names: str, *, step: float = 2) -> tuple[FakeApi, Clock, list[Replica]]:
    """Replicas that have divided the shards."""
    api, clock = FakeApi(), Clock()
    released(api)
    replicas = [Replica(api, clock, name) for name in names]
    for one in replicas:
        one.attempt()
    turns(clock, replicas, step=step)
    return api, clock, replicas


# Division.


def test_one_replica_serves_all_shards() -> None:
    api, _, (one,) = gathered("a")
    assert one.serves == set(range(SHARDS))
    assert one.elector.acquired.is_set()
    assert api.holder == HOLDER


@pytest.mark.parametrize(
    ("names", "shares"), [("ab", [8, 8]), ("abc", [6, 5, 5]), ("abcd", [4] * 4), ("abcde", [4, 3, 3, 3, 3])]
)
def test_replicas_divide_the_shards_evenly(names: str, shares: list[int]) -> None:
    _, _, replicas = gathered(names)
    assert [len(one.serves) for one in replicas] == shares
    assert set.union(*(one.serves for one in replicas)) == set(range(SHARDS))


def test_a_replica_that_is_added_takes_its_share_and_nothing_else_moves() -> None:
    api, clock, replicas = gathered("abc")
    before = {one.name: one.serves for one in replicas}
    added = Replica(api, clock, "d")
    turns(clock, [*replicas, added])
    assert len(added.serves) == 4
    assert all(one.serves <= before[one.name] for one in replicas)


def test_a_lost_replica_is_taken_over_within_the_lease_and_one_retry() -> None:
    _, clock, (one, two, lost) = gathered("abc")
    before = one.serves, two.serves, lost.serves
    turns(clock, [one, two], seconds=14)
    assert (one.serves, two.serves) == before[:2], "before the lease has expired"
    turns(clock, [one, two], seconds=4)
    assert one.serves | two.serves == set(range(SHARDS))
    assert one.serves >= before[0]
    assert two.serves >= before[1]
    assert not lost.serves


def test_a_replica_with_no_share_stands_by() -> None:
    names = "abcdefghijklmnopqr"
    _, _, replicas = gathered(names)
    assert [len(one.serves) for one in replicas] == [1] * SHARDS + [0, 0]


def test_each_renewal_is_one_request() -> None:
    api, clock, replicas = gathered("abcd")
    api.requests.clear()
    turns(clock, replicas, seconds=20)
    assert api.requests == ["patch"] * 10 * 4


def test_a_replica_joins_when_it_can_serve() -> None:
    api, clock = FakeApi(), Clock()
    released(api)
    one = ShardElector(api, LeaseSettings(name="lease", namespace="default", identity="a"), clock=clock)
    has_lists, asked = threading.Event(), threading.Event()

    def may_join() -> bool:
        asked.set()
        return has_lists.is_set()

    one.join_when(may_join)
    api.requests.clear()
    thread = threading.Thread(target=one.run, daemon=True)
    thread.start()
    assert asked.wait(10)
    assert not api.requests
    has_lists.set()
    assert one.acquired.wait(10)
    one.stop()
    thread.join(10)
    assert api.holder == ""


# Hand-over.


def second(act: Callable[[str], None]) -> Callable[[str], None]:
    """Lets the renewal pass, and acts on the write that follows it."""
    requests = count(1)
    return lambda verb: act(verb) if next(requests) == 2 else None


def test_a_shard_is_handed_over_when_no_work_on_it_runs() -> None:
    api, clock, (one,) = gathered("a")
    for shard in range(SHARDS):
        assert one.begin(shard)
    two = Replica(api, clock, "b")
    turns(clock, [one, two])
    assert not two.serves, "every shard has work"
    leaving = {shard for shard in range(SHARDS) if not one.elector.leads(KEYS[shard])}
    assert len(leaving) == 8
    assert not any(one.begin(shard) for shard in leaving), "no new work begins"
    assert all(one.may_write(shard) for shard in leaving), "the work that runs is completed"
    shard = min(leaving)
    one.end(shard)
    turns(clock, [one, two], seconds=4)
    assert two.serves == {shard}
    for each in leaving:
        one.end(each)
    turns(clock, [one, two], seconds=4)
    assert two.serves == leaving


def test_shards_without_work_are_handed_over_first() -> None:
    api, clock, (one,) = gathered("a")
    busy = {0, 1, 2, 15}
    assert all(one.begin(shard) for shard in busy)
    two = Replica(api, clock, "b")
    turns(clock, [one, two])
    assert len(two.serves) == 8
    assert not two.serves & busy


def test_a_shard_is_ended_before_the_write_that_frees_it() -> None:
    api, clock, (one,) = gathered("a")
    two = Replica(api, clock, "b")
    two.attempt()
    served: list[int] = []
    api.before = lambda _: served.append(one.elector.shards)
    one.attempt()
    assert served == [16, 8], "the renewal, and the write that frees them"


def test_a_hand_over_whose_answer_is_lost_is_completed() -> None:
    api, clock, (one,) = gathered("a")
    two = Replica(api, clock, "b")
    two.attempt()
    api.after = second(failing())
    one.attempt()
    api.after = lambda _: None
    assert len(one.serves) == 8
    turns(clock, [one, two])
    assert [len(each.serves) for each in (one, two)] == [8, 8]


def test_a_hand_over_that_did_not_arrive_is_repeated() -> None:
    api, clock, (one,) = gathered("a")
    two = Replica(api, clock, "b")
    two.attempt()
    api.before = second(failing())
    one.attempt()
    api.before = lambda _: None
    assert len(one.serves) == 8
    turns(clock, [one, two])
    assert [len(each.serves) for each in (one, two)] == [8, 8]


def test_work_does_not_continue_in_a_later_term() -> None:
    _, clock, (one, two) = gathered("ab")
    shard = min(one.serves)
    assert one.begin(shard)
    (work,) = one.works[shard]
    turns(clock, [two])
    assert two.may_write(shard)
    turns(clock, [one])
    assert one.may_write(shard), "two was lost after that"
    assert not _passes(one.elector, work)


def test_work_that_is_bound_to_no_key_is_refused() -> None:
    _, _, (one,) = gathered("a")
    assert not _passes(one.elector, Context())


def test_each_shard_is_reported_once_when_it_begins_and_ends() -> None:
    api, clock, (one,) = gathered("a")
    two = Replica(api, clock, "b")
    turns(clock, [one, two])
    everything = set(range(SHARDS))
    assert one.moves == [("+", everything), ("-", two.serves)]
    assert two.moves == [("+", two.serves)]
    assert one.elector.shards == two.elector.shards == 8


# Loss.


def test_a_disconnected_replica_stops_before_another_serves() -> None:
    api, clock, (one, two) = gathered("ab")
    before = one.serves
    api.before = lambda _: None
    for second in range(1, 30):
        clock.advance(1)
        api.before = failing()
        one.attempt()
        api.before = lambda _: None
        two.attempt()
        assert_one_each([one, two])
        assert one.serves == (before if second < 10 else set())
        assert (len(two.serves) == SHARDS) == (second > 15)
    assert not one.elector.acquired.is_set()


def test_a_frozen_replica_that_wakes_up_serves_nothing_of_before() -> None:
    _, clock, (one, two) = gathered("ab")
    for shard in one.serves:
        one.begin(shard)
    turns(clock, [two], seconds=18)
    assert two.serves == set(range(SHARDS))
    assert not one.serves
    turns(clock, [two, one])
    assert_one_each([one, two])
    assert len(one.serves) == 8


def test_the_clock_counts_while_the_machine_is_suspended() -> None:
    _, clock, (one, two) = gathered("ab")
    clock.advance(3600)
    assert not one.serves
    assert not two.serves
    turns(clock, [one, two])
    assert [len(each.serves) for each in (one, two)] == [8, 8]


def test_a_renewal_that_is_answered_after_the_deadline_does_not_count() -> None:
    api, clock, (one,) = gathered("a")
    api.after = lambda _: clock.advance(11)
    one.attempt()
    assert not one.serves
    assert one.moves[-1] == ("-", set(range(SHARDS)))


def test_a_replica_whose_entry_was_removed_stops_and_joins_again() -> None:
    api, clock, (one, two) = gathered("ab")
    assert api.body is not None
    annotations = api.body["metadata"]["annotations"]
    changes = table_annotations(table_of(api).without(["a"]), annotations)
    api.body["metadata"]["annotations"] = {key: value for key, value in {**annotations, **changes}.items() if value}
    api.edit()
    one.attempt()
    assert_one_each([one, two])
    turns(clock, [one, two])
    assert [len(each.serves) for each in (one, two)] == [8, 8]


def test_a_table_that_cannot_be_read_ends_all_terms_until_the_lease_expires() -> None:
    api, clock, (one, two) = gathered("ab")
    assert api.body is not None
    api.body["metadata"]["annotations"][OWNERS] = "{}"
    api.edit()
    turns(clock, [one, two], seconds=14)
    assert not one.serves | two.serves
    turns(clock, [one, two], seconds=8)
    assert [len(each.serves) for each in (one, two)] == [8, 8]


# A Lease that is missing.


def test_the_first_replica_of_all_waits_as_if_the_lease_had_been_removed() -> None:
    api, clock = FakeApi(), Clock()
    one = Replica(api, clock, "a")
    one.attempt()
    turns(clock, [one], seconds=14)
    assert not one.serves
    turns(clock, [one], seconds=4)
    assert one.serves == set(range(SHARDS))


def test_replicas_keep_their_shards_when_the_lease_is_removed() -> None:
    api, clock, replicas = gathered("abc")
    before = [(one.serves, len(one.moves)) for one in replicas]
    api.body = None
    turns(clock, replicas, seconds=40)
    assert [(one.serves, len(one.moves)) for one in replicas] == before


def test_a_replica_that_starts_after_the_lease_was_removed_takes_nothing_that_is_served() -> None:
    api, clock, (one, two) = gathered("ab")
    api.body = None
    three = Replica(api, clock, "c")
    three.attempt()
    assert_one_each([one, two, three])
    turns(clock, [three, one, two])
    assert [len(each.serves) for each in (one, two, three)] == [6, 5, 5]


# Shutdown.


def test_a_replica_that_stops_leaves_its_shards_to_the_others_at_once() -> None:
    _, clock, (one, two) = gathered("ab")
    one.elector._give_up()
    assert not one.serves
    turns(clock, [two], seconds=2)
    assert two.serves == set(range(SHARDS))


def test_a_replica_that_stops_with_running_reconciles_keeps_its_shards() -> None:
    api, clock, (one, two) = gathered("ab")
    one.elector.stop(release=False)
    one.elector._give_up()
    assert not one.serves
    assert len(table_of(api).owned_by("a")) == 8
    turns(clock, [two], seconds=14)
    assert len(two.serves) == 8
    turns(clock, [two], seconds=4)
    assert len(two.serves) == SHARDS


def test_the_release_is_repeated_while_others_write_the_table() -> None:
    api, _, (one, two) = gathered("ab")
    others = iter([two, two])

    def interfere(verb: str) -> None:
        other = next(others, None) if verb == "patch" and not one.serves else None
        if other is not None:
            api.before = lambda _: None
            other.attempt()
            api.before = interfere

    api.before = interfere
    one.elector._give_up()
    assert not table_of(api).owned_by("a")
    assert "a" not in table_of(api).replicas


def test_the_last_replica_releases_the_lease() -> None:
    api, _, (one, two) = gathered("ab")
    one.elector._give_up()
    assert api.holder == HOLDER
    two.elector._give_up()
    assert api.holder == ""


def test_a_replica_that_was_killed_keeps_the_lease_from_being_released() -> None:
    api, _, (one, _killed) = gathered("ab")
    one.elector._give_up()
    assert api.holder == HOLDER


# Leaders and shards, in one cluster during an upgrade.


def test_sharding_waits_for_a_leader_to_stop() -> None:
    api, clock = FakeApi(), Clock()
    leader, one = Replica(api, clock, "leader", LeaderElector), Replica(api, clock, "a")
    turns(clock, [leader, one], seconds=60)
    assert leader.serves == set(range(SHARDS))
    leader.elector._give_up()
    turns(clock, [one], seconds=2)
    assert one.serves == set(range(SHARDS))


def test_sharding_takes_over_from_a_lost_leader_within_the_lease() -> None:
    api, clock = FakeApi(), Clock()
    leader, one, two = Replica(api, clock, "leader", LeaderElector), Replica(api, clock, "a"), Replica(api, clock, "b")
    turns(clock, [leader, one, two])
    turns(clock, [one, two], seconds=14)
    assert not one.serves | two.serves
    turns(clock, [one, two], seconds=10)
    assert [len(each.serves) for each in (one, two)] == [8, 8]


def test_a_leader_waits_for_all_shards_to_stop() -> None:
    api, clock, (one, two) = gathered("ab")
    leader = Replica(api, clock, "leader", LeaderElector)
    turns(clock, [one, leader, two], seconds=60)
    assert not leader.serves
    one.elector._give_up()
    turns(clock, [two, leader], seconds=60)
    assert not leader.serves
    two.elector._give_up()
    turns(clock, [leader], seconds=2)
    assert leader.serves == set(range(SHARDS))


def test_a_leader_takes_over_from_lost_shards_within_the_lease() -> None:
    api, clock, (one, two) = gathered("ab")
    leader = Replica(api, clock, "leader", LeaderElector)
    turns(clock, [one, two, leader], seconds=4)
    clock.advance(2)
    turns(clock, [leader], seconds=18)
    assert leader.serves == set(range(SHARDS))
    turns(clock, [one, two, leader])
    assert not one.serves | two.serves


def test_a_table_of_before_a_leader_is_not_used() -> None:
    api, clock, (one, two) = gathered("ab")
    leader = Replica(api, clock, "leader", LeaderElector)
    turns(clock, [leader], seconds=20)
    leader.elector._give_up()
    assert OWNERS in (api.body or {})["metadata"]["annotations"]
    one.attempt()
    assert not one.serves
    one.attempt()
    assert table_of(api).replicas.keys() == {"a"}
    turns(clock, [one, two])
    assert [len(each.serves) for each in (one, two)] == [8, 8]


def test_standing_by_is_logged_once() -> None:
    api, clock = FakeApi(), Clock()
    leader = Replica(api, clock, "leader", LeaderElector)
    leader.attempt()
    with structlog.testing.capture_logs() as log:
        turns(clock, [leader, Replica(api, clock, "a")], seconds=20)
    assert not log


# Any order of anything.

WATCHED = (0, 4, 7, 11, 15)
"""Shards on which work is begun."""

NAMES = "abcx"
"""x has a leader: a replica of the other kind, or of an earlier version."""

STEPS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.floats(0, 8),
        st.sampled_from(
            ["well", "well", "well", "refused", "answer lost", "slow", "overtaken", "removed", "stops", "ends"]
        ),
        st.sampled_from(NAMES),
    ),
    max_size=60,
)


class Trial:
    """Replicas of both kinds, each with a clock that shows another time, and the steps of one order of events."""

    def __init__(self) -> None:
        self.api, self.clock = FakeApi(), Clock()
        offsets = {"a": 0.0, "b": 1e6, "c": -900.0, "x": 77.0}
        self.replicas = {name: self._replica(name, offset) for name, offset in offsets.items()}
        released(self.api)
        self.replicas["x"].attempt()  # a leader that has never seen the Lease can't know that it was removed
        self.replicas["x"].elector._give_up()

    def _replica(self, name: str, offset: float) -> Replica:
        kind = LeaderElector if name == "x" else ShardElector
        return Replica(self.api, lambda: self.clock.now + offset, name, kind)

    def check(self, _: str = "") -> None:
        assert_one_each(self.replicas.values(), WATCHED)

    def slow(self, _: str) -> None:
        self.check()
        self.clock.advance(6)
        self.check()

    def overtaken(self, other: Replica) -> Callable[[str], None]:
        """Another replica makes an attempt just before each write."""

        def interfere(verb: str) -> None:
            if verb in {"update", "patch"}:
                self.api.before = self.check
                other.attempt()
                self.api.before = interfere
            self.check()

        return interfere

    def take(self, name: str, seconds: float, way: str, other: str) -> None:
        """One step."""
        one = self.replicas[name]
        ways = {
            "refused": failing("update create patch"),
            "slow": self.slow,
            "overtaken": self.overtaken(self.replicas[other]) if other != name else self.check,
        }
        self.api.before = ways.get(way, self.check)
        self.api.after = failing("update create patch") if way == "answer lost" else self.check
        if way == "removed":
            self.api.body = None
        if way == "stops":
            one.elector._give_up()
        else:
            one.attempt()
        self.api.before = self.api.after = self.check
        for shard in WATCHED:
            if way == "ends":
                one.end(shard)
            elif len(one.works[shard]) < 2:
                one.begin(shard)
        self.check()
        self.clock.advance(seconds)
        self.check()


@settings(deadline=None, max_examples=200)
@given(steps=STEPS)
def test_no_shard_has_two_servers_under_any_failure(steps: list[tuple[str, float, str, str]]) -> None:
    trial = Trial()
    for step in steps:
        trial.take(*step)


@settings(deadline=None, max_examples=50)
@given(steps=STEPS)
def test_every_shard_is_served_once_failures_end(steps: list[tuple[str, float, str, str]]) -> None:
    trial = Trial()
    for step in steps:
        trial.take(*step)
    left = [trial.replicas[name] for name in "abc"]
    for one in left:
        for shard in range(SHARDS):
            one.end(shard)
    turns(trial.clock, left, seconds=60)
    assert [len(one.serves) for one in left] == [6, 5, 5]
