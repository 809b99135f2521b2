"""The work queue, on a clock that only the tests advance."""

from __future__ import annotations

import threading
import time
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from libbucket._backoff import Backoff
from libbucket._concurrency import LimitSettings
from libbucket._queue import QueueState, WorkQueue
from libbucket._ready_keys import Priority


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class NoJitter(Random):
    """Takes nothing off."""

    def random(self) -> float:
        return 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue:
    return WorkQueue(clock=clock, random=NoJitter())


def taken(queue: WorkQueue) -> list[str]:
    """Takes everything that is ready now, in its order; never waits."""
    queue.add(_NUDGE)
    keys = [queue.get()]
    while queue.state().ready:
        keys.append(queue.get())
    queue.done(_NUDGE)
    return [key for key in keys if key is not None and key != _NUDGE]


_NUDGE = "nudge/nudge"


def test_a_fast_clock_makes_delays_short() -> None:
    queue = WorkQueue(clock=lambda: time.monotonic() * 1000, pace=1000)
    queue.add_after("shop/a", 300)
    assert queue.get() == "shop/a"


def test_keys_come_in_the_order_in_which_they_were_added(queue: WorkQueue) -> None:
    for name in ("c", "a", "b"):
        queue.add(f"shop/{name}")

    assert taken(queue) == ["shop/c", "shop/a", "shop/b"]


def test_a_key_that_is_added_many_times_waits_once(queue: WorkQueue) -> None:
    for _ in range(5):
        queue.add("shop/a")

    assert taken(queue) == ["shop/a"]


def test_a_key_added_while_a_worker_has_it_is_requeued_afterwards(queue: WorkQueue) -> None:
    queue.add("shop/a")
    assert queue.get() == "shop/a"
    queue.add("shop/a")
    queue.add("shop/a")

    assert taken(queue) == []
    queue.done("shop/a")
    assert taken(queue) == ["shop/a"]


def test_a_key_that_is_requeued_is_not_delayed_as_well(queue: WorkQueue, clock: Clock) -> None:
    queue.add("shop/a")
    queue.get()
    queue.add("shop/a")
    queue.retry("shop/a", Backoff(base=5.0, ceiling=5.0))
    queue.done("shop/a")

    assert taken(queue) == ["shop/a"]
    queue.done("shop/a")
    clock.now += 100
    assert taken(queue) == []


def test_a_finished_key_is_not_requeued(queue: WorkQueue) -> None:
    queue.add("shop/a")
    queue.get()
    queue.done("shop/a")

    assert taken(queue) == []
    assert queue.state() == QueueState(ready=0, delayed=0, working=0, longest_wait=0.0)


def test_a_delayed_key_is_ready_at_its_time(queue: WorkQueue, clock: Clock) -> None:
    queue.add_after("shop/a", 10)

    clock.now += 9.9
    assert taken(queue) == []
    clock.now += 0.1
    assert taken(queue) == ["shop/a"]


@pytest.mark.parametrize("delays", [(10, 3), (3, 10), (3, 3), (10, 3, 5)])
def test_of_several_delays_the_earliest_wins_and_the_key_comes_once(
    queue: WorkQueue, clock: Clock, delays: tuple[float, ...]
) -> None:
    for delay in delays:
        queue.add_after("shop/a", delay)

    clock.now += 3
    assert taken(queue) == ["shop/a"]
    queue.done("shop/a")
    clock.now += 100
    assert taken(queue) == []


def test_a_delayed_key_that_is_added_comes_at_once_and_not_a_second_time(queue: WorkQueue, clock: Clock) -> None:
    queue.add_after("shop/a", 10)
    queue.add("shop/a")

    assert taken(queue) == ["shop/a"]
    queue.done("shop/a")
    clock.now += 10
    assert taken(queue) == []


def test_a_key_that_is_ready_is_not_delayed(queue: WorkQueue, clock: Clock) -> None:
    queue.add("shop/a")
    queue.add_after("shop/a", 10)

    assert queue.state().delayed == 0
    assert taken(queue) == ["shop/a"]
    queue.done("shop/a")
    clock.now += 10
    assert taken(queue) == []


def test_a_key_whose_time_comes_while_it_is_worked_on_waits_until_it_is_done(queue: WorkQueue, clock: Clock) -> None:
    queue.add("shop/a")
    queue.get()
    queue.add_after("shop/a", 5)
    clock.now += 5

    assert taken(queue) == []
    queue.done("shop/a")
    assert taken(queue) == ["shop/a"]


def test_a_negative_delay_is_none(queue: WorkQueue) -> None:
    queue.add_after("shop/a", -5)

    assert taken(queue) == ["shop/a"]


def test_namespaces_take_turns(queue: WorkQueue) -> None:
    for number in range(3):
        queue.add(f"big/{number}")
    queue.add("small/0")
    queue.add("tiny/0")

    assert taken(queue) == ["big/0", "small/0", "tiny/0", "big/1", "big/2"]


def by_first_letter(key: str) -> Priority:
    """Names that begin with "low" are not urgent."""
    return Priority.LOW if key.partition("/")[2].startswith("low") else Priority.NORMAL


def test_what_a_user_waits_for_comes_before_checks_of_the_same_namespace(clock: Clock) -> None:
    queue = WorkQueue(clock=clock, priority_of=by_first_letter)
    for number in range(5):
        queue.add(f"shop/low-{number}")
    queue.add("shop/new")

    assert queue.get() == "shop/new"
    assert queue.get() == "shop/low-0"


def test_checks_keep_every_eighth_turn(clock: Clock) -> None:
    queue = WorkQueue(clock=clock, priority_of=by_first_letter)
    for number in range(20):
        queue.add(f"shop/low-{number}")
        queue.add(f"shop/new-{number}")

    keys = [queue.get() or "" for _ in range(16)]

    assert [position for position, key in enumerate(keys) if "low" in key] == [7, 15]


def test_the_longest_wait_is_that_of_what_a_user_waits_for(clock: Clock) -> None:
    queue = WorkQueue(clock=clock, priority_of=by_first_letter)
    queue.add("shop/low")
    clock.now += 100
    queue.add("shop/new")
    clock.now += 5

    assert queue.state().longest_wait == 5


def test_a_check_that_waits_becomes_urgent_when_its_claim_is_edited(clock: Clock) -> None:
    edited: set[str] = set()
    queue = WorkQueue(clock=clock, priority_of=lambda key: Priority.NORMAL if key in edited else Priority.LOW)
    for number in range(3):
        queue.add(f"shop/{number}")

    edited.add("shop/2")
    queue.add("shop/2")

    assert queue.state().ready == 3
    assert [queue.get() for _ in range(3)] == ["shop/2", "shop/0", "shop/1"]


def test_checks_get_the_workers_that_limits_keep_from_urgent_keys(clock: Clock) -> None:
    limits = LimitSettings(workers=4, class_of=lambda key: key.partition("/")[2][:3], count=lambda: 2)
    queue = WorkQueue(clock=clock, limits=limits, priority_of=by_first_letter)
    for number in range(4):
        queue.add(f"shop/new-{number}")
        queue.add(f"office/low-{number}")

    keys = [queue.get() or "" for _ in range(4)]

    assert [key[:8] for key in keys] == ["shop/new", "shop/new", "shop/new", "office/l"]


def test_failures_in_a_row_are_backed_off_from_further_and_further(queue: WorkQueue) -> None:
    backoff = Backoff(base=1.0, ceiling=5.0)

    assert [queue.retry("shop/a", backoff) for _ in range(4)] == [1, 2, 4, 5]
    assert queue.failures("shop/a") == 4


def test_a_failed_key_is_requeued_after_the_back_off(queue: WorkQueue, clock: Clock) -> None:
    queue.add("shop/a")
    queue.get()
    delay = queue.retry("shop/a", Backoff(base=2.0, ceiling=60.0))
    queue.done("shop/a")

    assert taken(queue) == []
    clock.now += delay
    assert taken(queue) == ["shop/a"]


def test_a_failure_waits_at_least_for_retry_after(queue: WorkQueue) -> None:
    backoff = Backoff(base=1.0, ceiling=60.0)

    assert queue.retry("shop/a", backoff, at_least=30.0) == 30.0
    assert queue.retry("shop/a", backoff, at_least=0.5) == 2.0


def test_forgotten_failures_start_again_from_the_first_delay(queue: WorkQueue) -> None:
    backoff = Backoff(base=1.0, ceiling=60.0)
    queue.retry("shop/a", backoff)
    queue.forget("shop/a")

    assert queue.failures("shop/a") == 0
    assert queue.retry("shop/a", backoff) == 1.0


def test_failures_of_one_key_do_not_hold_up_another(queue: WorkQueue) -> None:
    backoff = Backoff(base=1.0, ceiling=60.0)
    queue.retry("shop/a", backoff)
    queue.retry("shop/a", backoff)

    assert queue.retry("shop/b", backoff) == 1.0


def test_an_edit_comes_at_once_in_spite_of_a_long_back_off(queue: WorkQueue) -> None:
    queue.retry("shop/a", Backoff(base=60.0, ceiling=60.0))
    queue.add("shop/a")

    assert taken(queue) == ["shop/a"]


def test_the_state_counts_keys_and_the_longest_wait(queue: WorkQueue, clock: Clock) -> None:
    queue.add("shop/a")
    queue.get()
    queue.add("shop/b")
    clock.now += 4
    queue.add("shop/c")
    queue.add_after("shop/d", 10)
    clock.now += 3

    assert queue.state() == QueueState(ready=2, delayed=1, working=1, longest_wait=7.0)


def _in_thread(queue: WorkQueue, answers: list[str | None]) -> threading.Thread:
    thread = threading.Thread(target=lambda: answers.append(queue.get()), daemon=True)
    thread.start()
    return thread


def test_closing_wakes_every_worker_that_waits() -> None:
    queue, answers = WorkQueue(), list[str | None]()
    queue.add_after("shop/a", 3600)
    workers = [_in_thread(queue, answers) for _ in range(3)]
    queue.close()
    for worker in workers:
        worker.join(5)

    assert answers == [None, None, None]


def test_a_closed_queue_returns_no_key(queue: WorkQueue) -> None:
    queue.add("shop/a")
    queue.close()

    assert queue.get() is None


def test_a_worker_that_waits_is_woken_by_a_key_and_by_a_time_that_comes() -> None:
    queue, answers = WorkQueue(), list[str | None]()
    worker = _in_thread(queue, answers)
    queue.add("shop/a")
    worker.join(5)
    worker = _in_thread(queue, answers)
    queue.add_after("shop/b", 0.01)
    worker.join(5)

    assert answers == ["shop/a", "shop/b"]


def test_a_worker_that_waits_for_a_late_time_is_woken_for_an_earlier_one() -> None:
    queue, answers = WorkQueue(), list[str | None]()
    queue.add_after("shop/late", 3600)
    worker = _in_thread(queue, answers)
    queue.add_after("shop/early", 0.01)
    worker.join(5)

    assert answers == ["shop/early"]


def test_a_worker_that_watched_the_time_and_ends_is_succeeded_by_another() -> None:
    queue, answers = WorkQueue(), list[str | None]()
    queue.add_after("shop/a", 0.2)
    watcher = threading.Thread(target=lambda: answers.append(queue.get(timeout=0.1)), daemon=True)
    watcher.start()
    workers = [_in_thread(queue, answers) for _ in range(3)]
    watcher.join(5)
    while len(answers) < 2:
        workers[0].join(0.01)
    assert answers == [None, "shop/a"]
    queue.close()
    for worker in workers:
        worker.join(5)


def test_workers_that_wait_take_every_key_whose_time_comes() -> None:
    queue, answers = WorkQueue(), list[str | None]()
    workers = [_in_thread(queue, answers) for _ in range(4)]
    for number in range(4):
        queue.add_after(f"shop/{number}", 0.01 * (4 - number))
    for worker in workers:
        worker.join(5)
    assert sorted(each or "" for each in answers) == [f"shop/{number}" for number in range(4)]


def test_many_workers_never_share_a_key_and_lose_none() -> None:
    queue, guard = WorkQueue(), threading.Lock()
    working, shared, counts = set[str](), list[str](), dict[str, int]()
    keys = [f"ns-{number % 3}/{number}" for number in range(30)]
    finished = threading.Event()

    def work() -> None:
        while (key := queue.get()) is not None:
            with guard:
                shared.extend({key} & working)
                working.add(key)
            queue.add(keys[(keys.index(key) + 1) % len(keys)])
            with guard:
                working.discard(key)
                counts[key] = counts.get(key, 0) + 1
                if len(counts) == len(keys) and min(counts.values()) >= 5:
                    finished.set()
            queue.done(key)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for worker in workers:
        worker.start()
    for key in keys:
        queue.add(key)
    all_came = finished.wait(20)
    queue.close()
    for worker in workers:
        worker.join(5)

    assert all_came
    assert shared == []


KEYS = st.sampled_from(["a/1", "a/2", "b/1", "c/1"])


class QueueMachine(RuleBasedStateMachine):
    """Any order of calls: no key is on two workers, and none that was asked for is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.low: set[str] = set()
        self.queue = WorkQueue(clock=self.clock, random=NoJitter(), priority_of=self._priority_of)
        self.wanted: dict[str, float] = {}
        """What was asked for and not yet given out, and from when on it has to come."""
        self.working: set[str] = set()

    def _priority_of(self, key: str) -> Priority:
        return Priority.LOW if key in self.low else Priority.NORMAL

    def _want(self, key: str, due: float) -> None:
        self.wanted[key] = min(self.wanted.get(key, due), due)

    @rule(key=KEYS)
    def priority_changes(self, key: str) -> None:
        self.low ^= {key}

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self._want(key, self.clock.now)

    @rule(key=KEYS, delay=st.integers(0, 5))
    def add_after(self, key: str, delay: int) -> None:
        self.queue.add_after(key, delay)
        self._want(key, self.clock.now + delay)

    @rule(key=KEYS)
    def retry(self, key: str) -> None:
        delay = self.queue.retry(key, Backoff(base=1.0, ceiling=4.0))
        self._want(key, self.clock.now + delay)

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)

    @rule(seconds=st.integers(1, 4))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    def _due(self) -> set[str]:
        return {key for key, due in self.wanted.items() if due <= self.clock.now and key not in self.working}

    @precondition(lambda self: self._due())
    @rule()
    def get(self) -> None:
        key = self.queue.get()
        assert key in self._due()
        assert key not in self.working
        del self.wanted[key]
        self.working.add(key)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.queue.done(key)
        self.working.discard(key)

    @invariant()
    def counts_are_right(self) -> None:
        assert self.queue.state().working == len(self.working)

    def teardown(self) -> None:
        """Every key is taken in the end."""
        for key in sorted(self.working):
            self.queue.done(key)
        self.clock.now += 100
        assert set(taken(self.queue)) == set(self.wanted)


QueueMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestAnyOrderOfCalls = QueueMachine.TestCase
