"""Concurrency limits of classes and namespaces, on a clock that stands still."""

from __future__ import annotations

import pytest

from libbucket._concurrency import ConcurrencyLimits, LimitSettings
from libbucket._queue import WorkQueue


def limits(workers: int, count: int = 2) -> ConcurrencyLimits:
    return ConcurrencyLimits(LimitSettings(workers=workers, count=lambda: count))


def started(asked: ConcurrencyLimits, storage_class: str) -> int:
    """Takes keys of a class up to its limit; returns their number."""
    number = 0
    while asked.may_start(storage_class):
        asked.start(storage_class, "shop/photos")
        number += 1
    return number


@pytest.mark.parametrize(("workers", "most"), [(1, 1), (2, 1), (3, 2), (4, 3), (8, 6), (16, 12)])
def test_a_class_takes_three_quarters_of_the_workers_and_the_only_one_takes_all(workers: int, most: int) -> None:
    assert started(limits(workers), "hanging") == most
    assert started(limits(workers, count=1), "only") == workers


def test_a_class_whose_store_is_silent_has_one_worker_until_it_answers() -> None:
    asked = limits(8)
    assert asked.note_class("hanging", answers=False)
    assert started(asked, "hanging") == 1
    assert not asked.note_class("hanging", answers=False), "it is said once"
    asked.end("hanging", "shop/photos")
    assert asked.note_class("hanging", answers=True)
    assert started(asked, "hanging") == 6


def test_however_many_stores_are_silent_a_quarter_of_the_workers_is_for_the_others() -> None:
    asked = limits(8, count=21)
    silent = [f"silent-{number}" for number in range(20)]
    for storage_class in silent:
        asked.note_class(storage_class, answers=False)
    assert sum(started(asked, each) for each in silent) == 6
    assert started(asked, "healthy") >= 2


def test_an_answer_of_a_class_that_always_answered_is_no_news() -> None:
    assert not limits(8).note_class("healthy", answers=True)


def a_queue(workers: int = 4) -> WorkQueue:
    """Claims of the class that their name begins with, of two classes."""
    by_class = LimitSettings(workers=workers, class_of=lambda key: key.partition("/")[2][0], count=lambda: 2)
    return WorkQueue(clock=lambda: 0.0, limits=by_class)


def take(queue: WorkQueue, number: int) -> list[str | None]:
    return [queue.get() for _ in range(number)]


def test_claims_of_a_class_that_hangs_leave_a_worker_for_another_class() -> None:
    queue = a_queue()
    for number in range(50):
        queue.add(f"shop/x{number}")
    assert take(queue, 3) == ["shop/x0", "shop/x1", "shop/x2"]
    queue.add("shop/y0")
    assert take(queue, 1) == ["shop/y0"], "the fourth worker was kept for it"


def test_classes_take_turns_and_in_each_class_namespaces() -> None:
    queue = a_queue(workers=8)
    for key in ("big/x0", "big/x1", "big/x2", "small/x0", "big/y0"):
        queue.add(key)
    assert take(queue, 5) == ["big/x0", "big/y0", "small/x0", "big/x1", "big/x2"]


def test_a_free_worker_serves_the_class_that_was_at_its_limit() -> None:
    queue = a_queue()
    for number in range(5):
        queue.add(f"shop/x{number}")
    take(queue, 3)
    queue.done("shop/x1")
    assert take(queue, 1) == ["shop/x3"]


def test_of_a_class_whose_store_is_silent_one_claim_at_a_time_is_taken_up() -> None:
    queue = a_queue()
    for number in range(5):
        queue.add(f"shop/x{number}")
    take(queue, 3)
    assert queue.note_class("shop/x0", answers=False) == "x"
    assert queue.note_class("shop/x1", answers=False) is None
    for number in range(3):
        queue.done(f"shop/x{number}")
    assert take(queue, 1) == ["shop/x3"]
    queue.add("shop/y0")
    queue.add("shop/y1")
    assert take(queue, 2) == ["shop/y0", "shop/y1"], "and no other of x"
    assert queue.note_class("shop/x3", answers=True) == "x"
    assert take(queue, 1) == ["shop/x4"]


def test_a_note_about_a_key_without_worker_is_ignored() -> None:
    assert a_queue().note_class("shop/x0", answers=False) is None


def test_a_namespace_on_whose_objects_the_api_server_fails_has_one_worker() -> None:
    queue = WorkQueue(limits=LimitSettings(workers=8))
    for number in range(5):
        queue.add(f"bad/{number}")
    first = queue.get()
    assert first is not None
    queue.limit_namespace(first, is_limited=True)
    queue.add("good/1")
    assert queue.get() == "good/1"
    assert queue.state().ready == 4
    queue.done(first)
    assert queue.get() == "bad/1"


def test_a_namespace_that_succeeds_again_has_all_workers() -> None:
    asked = limits(8)
    assert asked.note_namespace("bad", is_limited=True)
    asked.start("", "bad/1")
    assert not asked.may_start_in("bad", "")
    assert asked.may_start_in("good", "")
    assert asked.note_namespace("bad", is_limited=False)
    assert asked.may_start_in("bad", "")


def test_however_many_namespaces_fail_a_quarter_of_the_workers_is_for_the_others() -> None:
    asked = limits(8)
    for number in range(20):
        asked.note_namespace(f"bad-{number}", is_limited=True)
    taken = [number for number in range(20) if _starts(asked, f"bad-{number}")]
    assert len(taken) == 6
    assert asked.may_start_in("good", "")


def _starts(asked: ConcurrencyLimits, namespace: str) -> bool:
    if not asked.may_start_in(namespace, ""):
        return False
    asked.start("", f"{namespace}/1")
    return True


@pytest.mark.parametrize(("workers", "count", "most"), [(8, 1, 6), (8, 2, 5), (4, 2, 2), (1, 1, 1)])
def test_a_namespace_whose_claims_hang_leaves_a_worker_of_its_class_for_the_others(
    workers: int, count: int, most: int
) -> None:
    asked = limits(workers, count=count)
    asked.may_start_in("other", "class")
    taken = 0
    while asked.may_start("class") and asked.may_start_in("hanging", "class"):
        asked.start("class", f"hanging/{taken}")
        taken += 1
    assert taken == most
    if workers > 1:
        assert asked.may_start("class")
        assert asked.may_start_in("other", "class")
    asked.end("class", "hanging/0")
    assert asked.may_start_in("hanging", "class")


def test_the_only_namespace_has_all_workers() -> None:
    asked = limits(8, count=1)
    taken = 0
    while asked.may_start("class") and asked.may_start_in("only", "class"):
        asked.start("class", f"only/{taken}")
        taken += 1
    assert taken == 8


def adaptive(queue_clock: list[float], workers: int = 8) -> WorkQueue:
    """One class, with adaptive limits; the clock is the one element of the list."""
    settings = LimitSettings(workers=workers, first=4)
    return WorkQueue(clock=lambda: queue_clock[0], limits=settings)


def test_a_class_of_which_nothing_is_known_has_few_workers() -> None:
    queue = adaptive([100.0])
    for number in range(8):
        queue.add(f"shop/{number}")
    take(queue, 4)
    assert queue.get(timeout=0) is None
    assert queue.state().limits == {"": 4}


def test_successes_raise_the_limit_of_a_class() -> None:
    queue = adaptive([100.0])
    for number in range(12):
        queue.add(f"shop/{number}")
    for key in take(queue, 4):
        assert queue.get(timeout=0) is None
        assert key is not None
        queue.note_response(key, succeeded="bound NONE")
    assert queue.state().limits == {"": 8}


def paced(clock: list[float]) -> WorkQueue:
    """A queue of eight keys, the first of which was throttled after half a second."""
    queue = adaptive(clock)
    for number in range(8):
        queue.add(f"shop/{number}")
    first = queue.get()
    assert first is not None
    clock[0] += 0.5
    queue.note_response(first, throttled=True)
    queue.done(first)
    return queue


def test_a_class_that_is_throttled_is_paced_and_the_queue_knows_until_when() -> None:
    clock = [100.0]
    queue = paced(clock)
    assert queue.get(timeout=0) is None
    left = queue.seconds_to_next_turn()
    assert 0.5 < left < 1.0, "one in half a second was too many"
    clock[0] += left
    assert queue.get(timeout=0) == "shop/1"


def test_a_key_that_calls_no_store_does_not_use_the_turn_of_a_class_that_is_paced() -> None:
    clock = [100.0]
    queue = paced(clock)
    clock[0] += 5
    for number in range(1, 8):
        assert queue.get(timeout=0) == f"shop/{number}"
        queue.done(f"shop/{number}")


def test_a_class_whose_store_fails_goes_on_with_half_as_many_after_it_answers() -> None:
    queue = adaptive([100.0])
    for number in range(8):
        queue.add(f"shop/{number}")
    take(queue, 4)
    queue.note_class("shop/0", answers=False)
    queue.note_class("shop/0", answers=True)
    assert queue.state().limits == {"": 2}
