from __future__ import annotations

import re
from dataclasses import replace

import pytest

from libbucket import (
    BucketExists,
    BucketLost,
    Claim,
    InvalidAdminSecret,
    Provisioner,
    SecretStr,
    Services,
    has_own_bucket,
    warn_unapplied,
)
from libbucket.testing import builders
from libbucket.testing.memory import MemoryProvisioner


def user_id(namespace: str = "shop", name: str = "photos", uid: str = "uid-1") -> str:
    return MemoryProvisioner().generate_user_id(Claim(namespace=namespace, name=name, uid=uid), None)


def test_a_user_id_is_readable_and_always_the_same() -> None:
    assert user_id().startswith("obc-shop-photos-")
    assert user_id() == user_id()


@pytest.mark.parametrize(
    "other",
    [user_id(namespace="shop2"), user_id(name="photos2"), user_id(uid="uid-2"), user_id("shop-photos", "")],
)
def test_another_claim_has_another_user_id(other: str) -> None:
    assert other != user_id()


def test_claims_whose_names_run_together_have_different_user_ids() -> None:
    assert user_id("a-b", "c") != user_id("a", "b-c")
    assert user_id("a" * 40, "b") != user_id("a" * 41, "b")


@pytest.mark.parametrize(("namespace", "name"), [("n" * 63, "m" * 253), ("a.b", "c..d.e"), ("x", "y")])
def test_a_user_id_has_a_form_that_every_store_can_take(namespace: str, name: str) -> None:
    assert re.fullmatch("[a-z][a-z0-9-]{0,63}", user_id(namespace, name))


def test_a_recorded_user_id_never_changes() -> None:
    claim = Claim(namespace="shop", name="photos", uid="uid-1")
    recorded = replace(builders.intent(builders.options()), user_id="photos-x7d2p")
    assert MemoryProvisioner().generate_user_id(claim, recorded) == "photos-x7d2p"
    assert MemoryProvisioner().generate_user_id(claim, replace(recorded, user_id="")) == user_id()


@pytest.mark.parametrize("verb", ["provision", "delete", "grant", "revoke"])
def test_a_provisioner_without_one_of_the_verbs_cannot_be_created(verb: str) -> None:
    three = {name: lambda *_: None for name in {"provision", "delete", "grant", "revoke"} - {verb}}
    with pytest.raises(TypeError, match=verb):
        type("Unfinished", (Provisioner,), three)()
    type("Finished", (Provisioner,), {**three, verb: lambda *_: None})()


def test_settings_that_a_grant_leaves_alone_are_warned_about_one_by_one() -> None:
    claim = builders.options(config={"b": "2", "a": "1", "c": "3"}).claim
    assert [text.split(" ")[0] for text in warn_unapplied(claim, ["b", "a", "d"])] == [
        "additionalConfig.a",
        "additionalConfig.b",
    ]
    assert warn_unapplied(claim, ()) == ()


@pytest.mark.parametrize("held", [{}, {"TOKEN": SecretStr("")}, {"OTHER": SecretStr("x")}])
def test_a_missing_value_of_an_administrators_secret_is_named(held: dict[str, SecretStr]) -> None:
    services = Services(read_secret=lambda _namespace, _name: held)
    with pytest.raises(InvalidAdminSecret, match="Secret storage/admin has no key TOKEN"):
        services.read_value("storage", "admin", "TOKEN")


def test_a_value_of_an_administrators_secret_is_read_afresh() -> None:
    held = {"TOKEN": SecretStr("first")}
    services = Services(read_secret=lambda namespace, name: held if (namespace, name) == ("storage", "admin") else {})
    assert services.read_value("storage", "admin", "TOKEN").reveal() == "first"
    held["TOKEN"] = SecretStr("second")
    assert services.read_value("storage", "admin", "TOKEN").reveal() == "second"


def test_a_bucket_that_is_not_there_is_made_once_and_is_lost_after_that() -> None:
    request = builders.options()

    assert not has_own_bucket(request, None)
    assert not has_own_bucket(builders.intent(builders.bound(request)), None), "there is nothing to delete"
    with pytest.raises(BucketLost, match=request.bucket_name):
        has_own_bucket(builders.bound(request), None)


def test_a_bucket_is_the_claims_own_by_its_tags_and_by_those_of_an_earlier_claim() -> None:
    request, earlier = builders.options(), builders.options()
    tags = request.owner.ownership_tags()
    later = replace(earlier, owner=replace(earlier.owner, earlier_uids=(request.owner.uid,)))

    for of in (request, builders.intent(request), later, builders.intent(later)):
        assert has_own_bucket(of, {**tags, "colour": "green"})
    for of in (earlier, builders.intent(earlier)):
        with pytest.raises(BucketExists, match="was not made for this claim"):
            has_own_bucket(of, tags)


def test_a_bucket_without_tags_is_the_claims_own_only_if_another_program_made_it_for_the_claim() -> None:
    request = builders.options()
    taken_over = builders.taken_over(request)

    assert has_own_bucket(taken_over, {})
    assert has_own_bucket(replace(builders.intent(request), taken_over=True), {})
    for of in (request, builders.intent(request)):
        with pytest.raises(BucketExists):
            has_own_bucket(of, {})
    with pytest.raises(BucketExists):
        has_own_bucket(taken_over, builders.options().owner.ownership_tags())
