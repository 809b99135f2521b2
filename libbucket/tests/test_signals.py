"""Waiting for signals in the main thread."""

from __future__ import annotations

import signal
import threading

import pytest

from libbucket._run.signals import Interrupted, caught_signals


def test_work_without_a_signal_returns_its_result() -> None:
    with caught_signals() as signals:
        assert signals.run(lambda: 42) == 42


def test_an_error_of_the_work_comes_out_where_it_is_waited_for() -> None:
    def fail() -> None:
        raise ValueError("broken")

    with caught_signals() as signals, pytest.raises(ValueError, match="broken"):
        signals.run(fail)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_interrupts_the_wait_for_work(number: signal.Signals) -> None:
    never = threading.Event()
    with caught_signals() as signals:
        signal.raise_signal(number)
        with pytest.raises(Interrupted):
            signals.run(lambda: never.wait(10))
    never.set()


def test_a_second_signal_interrupts_the_shutdown() -> None:
    never = threading.Event()
    with caught_signals() as signals:
        signal.raise_signal(signal.SIGTERM)
        signals.wait()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted):
            signals.run(lambda: never.wait(10))
    never.set()


def test_the_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with caught_signals():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_in_another_thread_the_handlers_are_left_alone() -> None:
    seen: list[object] = []

    def look() -> None:
        with caught_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(10)
    assert seen == [signal.getsignal(signal.SIGTERM)]
