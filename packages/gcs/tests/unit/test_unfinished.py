"""What is remembered of calls that ended before their answer: bounded, and forgotten where that costs least."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gcs_provisioner.unfinished import MOST_ENTRIES, Unfinished
from libbucket import SecretStr

FILE = SecretStr("a key file")


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def turn(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def full(clock: Clock) -> Unfinished:
    """As many claims as are remembered wait for a key that does not work yet."""
    found = Unfinished(lambda: clock.now)
    for number in range(MOST_ENTRIES):
        assert found.has_room("a@b", f"{number}")
        found.note_file("a@b", f"{number}", FILE)
    return found


def test_what_is_waited_for_leaves_no_room_for_one_more(full: Unfinished) -> None:
    assert not full.has_room("a@b", "one more")
    assert full.has_room("a@b", "0"), "who is remembered already may go on"
    assert full.find("a@b", "0").file == FILE


def test_a_claim_that_is_done_makes_room(full: Unfinished) -> None:
    full.forget("a@b", "7")
    assert full.has_room("a@b", "one more")
    full.note_file("a@b", "one more", FILE)
    assert not full.has_room("a@b", "another")
    assert full.find("a@b", "0").file == full.find("a@b", "one more").file == FILE


def test_keys_that_were_handed_out_go_first(full: Unfinished, clock: Clock) -> None:
    full.hand_out("a@b", "7")
    assert not full.has_room("a@b", "one more"), "lists do not show it yet"
    clock.turn(seconds=31)
    assert full.has_room("a@b", "one more")
    full.note_account("a@b", "one more")
    clock.turn(minutes=3)
    assert full.has_room("a@b", "another"), "an account of three minutes is known everywhere"
    full.note_file("a@b", "another", FILE)
    assert full.find("a@b", "one more").account_at is None
    assert full.find("a@b", "0").file == FILE


def test_a_young_account_is_not_forgotten_for_another(full: Unfinished) -> None:
    """Until lists and IAM show it, only this memory tells it from one that does not exist."""
    full.forget("a@b", "7")
    full.note_account("a@b", "young")
    assert not full.has_room("a@b", "one more")


def test_a_key_that_never_works_does_not_keep_others_out_for_ever(full: Unfinished, clock: Clock) -> None:
    clock.turn(minutes=59)
    assert not full.has_room("a@b", "one more")
    clock.turn(minutes=2)
    assert full.has_room("a@b", "one more")
    full.note_file("a@b", "one more", FILE)
    assert full.find("a@b", "0").file is None, "the oldest"
    assert full.find("a@b", "1").file == full.find("a@b", "one more").file == FILE


def test_there_are_never_more_than_the_bound(full: Unfinished) -> None:
    """Where one is noted although there is no room, the oldest goes."""
    full.note_file("a@b", "one more", FILE)
    assert full.find("a@b", "0").file is None
    assert sum(full.find("a@b", f"{number}").file is not None for number in range(MOST_ENTRIES)) == MOST_ENTRIES - 1
