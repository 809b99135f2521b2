"""Long-lived threads: restarts after exceptions, and detection of dead ones."""

from __future__ import annotations

import threading
from random import Random

import pytest

from libbucket._controller.threads import Threads

SECONDS = 10.0


class NoPause(Random):
    """Jitter with the shortest delays."""

    def random(self) -> float:
        return 1.0


class Flaky:
    """Work that raises a number of times, and then runs until it is stopped."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)
        self.works = threading.Event()
        self.end = threading.Event()

    def __call__(self) -> None:
        if self._errors:
            raise self._errors.pop(0)
        self.works.set()
        self.end.wait(SECONDS)


@pytest.mark.parametrize("error", [ValueError("bad header"), OSError("broken pipe"), RecursionError(), MemoryError()])
def test_work_that_raises_once_is_begun_again(error: Exception) -> None:
    failed: list[str] = []
    threads, work = Threads(failed.append, NoPause()), Flaky(error)
    threads.start(work, "worker-0")
    assert work.works.wait(SECONDS)
    assert failed == ["worker-0"]
    assert threads.not_alive() == ""
    work.end.set()
    assert threads.join(SECONDS)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_is_named() -> None:
    threads, work = Threads(), Flaky(SystemExit())
    threads.start(work, "resync")
    assert threads.join(SECONDS)
    assert threads.not_alive() == "threads have died: resync"


def test_a_thread_whose_work_is_done_has_not_died() -> None:
    threads = Threads()
    threads.start(lambda: None, "initial-list")
    assert threads.join(SECONDS)
    assert threads.not_alive() == ""


def test_threads_are_not_restarted_after_a_stop() -> None:
    threads, work = Threads(), Flaky(ValueError(), ValueError())
    threads.stop()
    threads.start(work, "crds")
    assert threads.join(SECONDS)
    assert not work.works.is_set()
