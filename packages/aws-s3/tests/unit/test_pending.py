"""Keys that do not work yet: remembered per user, made twice an hour at most, bounded in number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_s3_provisioner import pending
from aws_s3_provisioner.pending import PendingKeys
from libbucket import AccessKeys, SecretStr

if TYPE_CHECKING:
    import pytest


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def keys(name: str) -> AccessKeys:
    return AccessKeys(access_key_id=name, secret_access_key=SecretStr("s3cr3t"))


def test_keys_are_found_until_they_are_forgotten() -> None:
    found = PendingKeys(Clock())
    assert found.find("user") is None
    found.keep("user", keys("A"))
    assert found.find("user") == keys("A")
    assert found.find("another") is None
    found.forget("user")
    found.forget("user")
    assert found.find("user") is None


def test_two_keys_may_be_made_within_an_hour_until_one_works() -> None:
    clock = Clock()
    found = PendingKeys(clock)
    for name in "AB":
        assert found.may_make("user")
        found.keep("user", keys(name))
        found.discard_keys("user")
        clock.now += 1000
    assert not found.may_make("user")
    assert found.may_make("another")
    clock.now += 1601
    assert found.may_make("user"), "the first was made more than an hour ago"
    found.keep("user", keys("C"))
    assert not found.may_make("user")
    found.forget("user")
    assert found.may_make("user")


def test_what_is_discarded_is_gone_and_what_is_not_there_is_fine() -> None:
    found = PendingKeys(Clock())
    found.discard_keys("user")
    found.keep("user", keys("A"))
    found.discard_keys("user")
    assert found.find("user") is None


def test_the_oldest_users_are_forgotten_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "_MOST_USERS", 3)
    found = PendingKeys(Clock())
    for name in "ABCAD":
        found.keep(name, keys(name))
    assert [name for name in "ABCD" if found.find(name)] == ["A", "C", "D"]


def test_nothing_of_a_secret_is_printed() -> None:
    found = PendingKeys(Clock())
    found.keep("user", keys("A"))
    assert "s3cr3t" not in repr(vars(found))
