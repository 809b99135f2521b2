"""What is held back from a server that is down, on a clock that only the tests move."""

from __future__ import annotations

from random import Random

import pytest

from libbucket._gate import LONGEST_DELAY, PROBES, Answer, Gate, Gates, Held


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class NoJitter(Random):
    def random(self) -> float:
        return 0.0


class Door(Gate):
    """A gate with its clock, and with what it did."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.woken: list[str] = []
        self.news: list[bool] = []
        super().__init__(self.woken.append, on_change=self.news.append, clock=self.clock, random=NoJitter())

    def call(self, key: str, answer: Answer, delay: float = 0.0) -> None:
        with self.passing(key) as call:
            call.answer, call.delay = answer, delay

    def held(self, key: str) -> float:
        """Seconds that the key is told to wait."""
        with pytest.raises(Held) as held, self.passing(key):
            pass
        return held.value.seconds

    def go_down(self) -> None:
        self.call("a", Answer.MISSING)
        self.call("b", Answer.MISSING)
        assert self.is_down


def test_a_server_that_answers_lets_everybody_in() -> None:
    door = Door()
    with door.passing("a"), door.passing("b"), door.passing("c"):
        assert not door.is_down


def test_a_claim_that_fails_alone_holds_nobody_back() -> None:
    door = Door()
    for _ in range(10):
        door.call("a", Answer.MISSING)
    door.call("b", Answer.GIVEN)
    assert door.news == []


def test_two_claims_that_fail_in_a_row_close_it() -> None:
    door = Door()
    door.go_down()
    assert door.held("c") > 0
    assert door.news == [True]


def test_two_claims_that_fail_with_an_answer_between_them_do_not() -> None:
    door = Door()
    door.call("a", Answer.MISSING)
    door.call("b", Answer.GIVEN)
    door.call("c", Answer.MISSING)
    assert not door.is_down


def test_after_its_time_one_may_ask_and_the_others_wait_for_what_it_hears() -> None:
    door = Door()
    door.go_down()
    door.clock.now += PROBES.ceiling
    with door.passing("c"):
        assert door.held("d") > 0


def test_an_answer_lets_in_all_that_were_held() -> None:
    door = Door()
    door.go_down()
    door.held("c")
    door.held("d")
    door.clock.now += PROBES.ceiling
    door.call("a", Answer.GIVEN)
    assert door.woken == ["c", "d"]
    assert door.news == [True, False]
    door.call("c", Answer.GIVEN)


def test_a_refusal_is_an_answer_too() -> None:
    door = Door()
    door.go_down()
    door.clock.now += PROBES.ceiling
    door.call("a", Answer.GIVEN)
    assert not door.is_down


def test_a_call_that_may_not_have_been_made_says_nothing() -> None:
    door = Door()
    door.go_down()
    door.clock.now += PROBES.ceiling
    door.call("c", Answer.UNKNOWN)
    assert door.is_down
    door.call("d", Answer.GIVEN)  # whose turn it is now


def test_an_hour_costs_little_more_than_one_call_for_each_ceiling() -> None:
    door, calls = Door(), 0
    door.go_down()
    end = door.clock.now + 3600
    while door.clock.now < end:
        try:
            door.call("a", Answer.MISSING)
            calls += 1
        except Held as held:
            door.clock.now += held.seconds
    assert calls <= 3600 / PROBES.ceiling + 10


def test_calls_that_fail_together_count_once() -> None:
    door = Door()
    with door.passing("a") as one, door.passing("b") as two, door.passing("c") as three:
        one.answer = two.answer = three.answer = Answer.MISSING
    assert door.held("d") <= 2 * PROBES.base


def test_who_asks_comes_back_in_time_and_the_others_only_in_case_that_nobody_wakes_them() -> None:
    door = Door()
    door.go_down()
    assert door.held("a") <= 3 * PROBES.base
    assert door.held("c") == LONGEST_DELAY
    assert door.held("d") == LONGEST_DELAY


def test_a_server_that_asks_for_time_gets_it_from_all_up_to_a_limit() -> None:
    door = Door()
    door.call("a", Answer.MISSING, delay=40)
    door.call("b", Answer.MISSING, delay=86400)
    assert 40 < door.held("a") <= LONGEST_DELAY + PROBES.base


def test_each_server_has_its_own() -> None:
    doors = {"one": Door(), "two": Door()}
    gates = Gates(lambda server: doors[str(server)])
    doors["one"].go_down()
    with pytest.raises(Held), gates.passing("one", "c"):
        pass
    with gates.passing("two", "c"):
        pass
