"""The number of worker threads: as many as there is work for, and one more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket._controller.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable


class Starter:
    """Records the threads that are started, and runs none.

    Args:
        at_most: threads that the system has.
    """

    def __init__(self, at_most: int = 100) -> None:
        self.works: dict[str, Callable[[], None]] = {}
        self._at_most = at_most

    def __call__(self, work: Callable[[], None], name: str) -> None:
        if len(self.works) == self._at_most:
            raise RuntimeError("can't start new thread")
        self.works[name] = work


def nothing(_number: int) -> None:
    """Ends at once."""


def a_pool(most: int = 3, *, at_most: int = 100) -> tuple[WorkerPool, Starter]:
    starter = Starter(at_most)
    pool = WorkerPool(starter, most)
    pool.begin(nothing)
    return pool, starter


def test_one_thread_waits_for_the_first_key() -> None:
    _, starter = a_pool()
    assert list(starter.works) == ["worker-0"]


def test_a_thread_is_started_when_the_last_idle_one_takes_a_key() -> None:
    pool, starter = a_pool()
    pool.busy(0)
    assert list(starter.works) == ["worker-0", "worker-1"]
    pool.idle(0)
    pool.busy(0)
    assert len(starter.works) == 2, "worker 1 is idle"


def test_there_are_never_more_threads_than_the_maximum() -> None:
    pool, starter = a_pool(most=3)
    for number in range(3):
        pool.busy(number)
    assert list(starter.works) == ["worker-0", "worker-1", "worker-2"]
    assert len(pool) == 3


def test_an_idle_thread_ends_unless_it_is_the_last_idle_one() -> None:
    pool, starter = a_pool()
    pool.busy(0)
    assert not pool.leave(1), "none else would take the next key"
    pool.idle(0)
    assert pool.leave(0)
    assert len(pool) == 1
    pool.busy(1)
    assert list(starter.works) == ["worker-0", "worker-1"]
    assert len(pool) == 2, "number 0 is used again"


def test_a_thread_that_failed_counts_as_idle_only_after_its_restart() -> None:
    starter = Starter()
    pool = WorkerPool(starter, 3)

    def work(number: int) -> None:
        pool.busy(number)
        raise ValueError("unexpected")

    pool.begin(work)
    with pytest.raises(ValueError, match="unexpected"):
        starter.works["worker-0"]()
    pool.busy(1)
    assert list(starter.works) == ["worker-0", "worker-1", "worker-2"], "while worker 0 backs off"


def test_a_system_without_further_threads_keeps_the_workers_that_there_are() -> None:
    pool, starter = a_pool(at_most=2)
    pool.busy(0)
    pool.busy(1)
    assert len(pool) == 2
    pool.idle(0)
    pool.idle(1)
    assert pool.leave(0)
    assert len(starter.works) == 2
