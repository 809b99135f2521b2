from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from libbucket import AccessKeys, Authentication, Owner, SecretStr, is_stamped
from libbucket.testing import builders

SECRET = "do-not-print-me"


@pytest.mark.parametrize("show", [repr, str, "{}".format, "%s".__mod__, lambda value: f"{value!s:>20}"])
def test_a_secret_does_not_print(show: object) -> None:
    assert callable(show)
    assert SECRET not in show(SecretStr(SECRET))
    assert SECRET in show(SECRET), "the same way of printing shows a plain string"


def test_a_secret_does_not_print_inside_what_holds_it() -> None:
    keys = AccessKeys(access_key_id="KEY", secret_access_key=SecretStr(SECRET))
    held = Authentication(access_keys=keys, additional_secret_data={"TOKEN": SecretStr(SECRET)})
    assert SECRET not in repr(builders.options(credentials=held))
    assert "KEY" in repr(held)


def test_a_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(SecretStr(SECRET))
    with pytest.raises(TypeError, match="pickled"):
        copy.copy(SecretStr(SECRET))
    assert pickle.loads(pickle.dumps("plain")) == "plain"


def test_a_secret_is_given_where_it_is_asked_for() -> None:
    assert SecretStr(SECRET).reveal() == SECRET


def test_secrets_are_equal_by_what_they_hold_and_never_to_a_plain_string() -> None:
    assert SecretStr("a") == SecretStr("a")
    assert len({SecretStr("a"), SecretStr("a"), SecretStr("b")}) == 2
    assert SecretStr("a") != "a"


def test_an_empty_secret_is_false() -> None:
    assert not SecretStr("")
    assert SecretStr("x")


def test_a_stamp_is_recognised_on_what_it_was_put_on() -> None:
    owner = builders.owner()
    assert owner.is_stamped_on(owner.stamp())
    assert owner.is_stamped_on({**owner.stamp(), "team": "shop"})


@pytest.mark.parametrize("key", ["objectbucket_cluster_id", "objectbucket_claim_uid"])
def test_a_stamp_that_lacks_or_changes_what_decides_is_not_recognised(key: str) -> None:
    owner = builders.owner()
    stamp = owner.stamp()
    assert not owner.is_stamped_on({**stamp, key: "another"})
    del stamp[key]
    assert not owner.is_stamped_on(stamp)


def test_a_stamp_with_a_name_that_the_store_cut_is_recognised() -> None:
    owner = builders.owner(name="a-very-long-name")
    assert owner.is_stamped_on({**owner.stamp(), "objectbucket_claim_name": "a-very-l"})


def test_the_stamp_says_whose_the_bucket_is_under_keys_that_every_store_takes() -> None:
    stamp = Owner(cluster_id="c", namespace="n", name="m", uid="u").stamp()
    assert sorted(stamp.values()) == ["c", "m", "n", "u"]
    assert all(key.isidentifier() and key.islower() for key in stamp)


def test_a_request_cannot_be_changed_on_its_way() -> None:
    request = builders.options()
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.bucket_name = "another"  # type: ignore[misc] # that is the point


def test_a_record_gives_its_bucket_and_state_directly() -> None:
    record = builders.intent(builders.options(bucket_name="photos-1"))
    assert (record.bucket_name, record.additional_state) == ("photos-1", {})


@pytest.mark.parametrize("key", list(builders.owner().stamp()))
def test_what_carries_a_part_of_any_stamp_is_stamped(key: str) -> None:
    assert is_stamped({key: "x"})
    assert not is_stamped({"team": "shop"})


def test_what_nobody_stamped_is_the_owners_only_where_it_was_taken_over() -> None:
    owner = builders.owner()
    assert owner.owns({"team": "shop"}, taken_over=True)
    assert not owner.owns({"team": "shop"}, taken_over=False)


@pytest.mark.parametrize("taken_over", [True, False])
def test_what_somebody_stamped_is_that_owners_whatever_was_taken_over(taken_over: bool) -> None:
    owner = builders.owner()
    other = dataclasses.replace(owner, uid="another")
    assert owner.owns(owner.stamp(), taken_over=taken_over)
    assert not owner.owns(other.stamp(), taken_over=taken_over)
