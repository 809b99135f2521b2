"""Stored access policies and signatures as data."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import generate_container_sas

from azure_provisioner.parameters import parse_parameters
from azure_provisioner.policy import (
    MOST_POLICIES,
    Acl,
    StoredPolicy,
    build_id,
    build_prefix,
    build_secret,
    decide_policy,
    has_drifted,
    parse_held,
    parse_time,
    renewal_of,
)
from libbucket import Authentication, QuotaExceeded, SecretStr

NOW = datetime(2026, 11, 3, 10, 0, 0, tzinfo=UTC)
PARAMETERS = parse_parameters({"storageAccount": "account", "secretName": "a", "secretNamespace": "b", "expiry": "10d"})
PREFIX = build_prefix("obc-claim")
OTHER = StoredPolicy(id="manual", permission="r", expiry="2040-01-01")
NO_POLICIES = Acl(public_access="blob", policies=())


def ours(days: float, permission: str = "racwdxltf") -> StoredPolicy:
    """One that ends in some days, and lasts ten."""
    ends = NOW + timedelta(days=days)
    start, expiry = (f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in (ends - PARAMETERS.lifetime, ends))
    return StoredPolicy(id=PREFIX + "1", permission=permission, start=start, expiry=expiry)


NEW = ours(10 - 5 / 1440)
"""One that is made now: it begins five minutes earlier, for clocks that differ from Azure's."""


def test_a_new_policy_comes_last_and_leaves_everything_else() -> None:
    policy, changed = decide_policy(replace(NO_POLICIES, policies=(OTHER,)), PREFIX, PARAMETERS, NOW)
    assert changed == Acl(public_access="blob", policies=(OTHER, policy))
    assert policy.id.startswith(PREFIX)
    assert len(policy.id) <= 64
    assert policy.permission == "racwdxltf"
    assert (policy.start, policy.expiry) == ("2026-11-03T09:55:00Z", "2026-11-13T09:55:00Z")


def test_a_policy_that_is_right_is_not_written_again() -> None:
    acl = replace(NO_POLICIES, policies=(ours(6), OTHER))
    assert decide_policy(acl, PREFIX, PARAMETERS, NOW) == (ours(6), None)


@pytest.mark.parametrize(
    "wrong", [ours(5), ours(-1), ours(11), ours(6, "rl"), replace(ours(6), expiry=None), replace(ours(6), start=None)]
)
def test_a_policy_that_is_old_or_not_what_the_class_says_is_repaired_in_place(wrong: StoredPolicy) -> None:
    policy, changed = decide_policy(replace(NO_POLICIES, policies=(wrong, OTHER)), PREFIX, PARAMETERS, NOW)
    assert policy == NEW
    assert changed == replace(NO_POLICIES, policies=(NEW, OTHER))


def test_a_second_policy_of_the_same_claim_goes() -> None:
    second = replace(ours(3), id=PREFIX + "2")
    acl = replace(NO_POLICIES, policies=(ours(3), OTHER, second))
    assert decide_policy(acl, PREFIX, PARAMETERS, NOW)[1] == replace(NO_POLICIES, policies=(NEW, OTHER))


def test_a_full_container_takes_no_sixth_policy_but_keeps_its_five() -> None:
    others = tuple(replace(OTHER, id=str(number)) for number in range(MOST_POLICIES))
    with pytest.raises(QuotaExceeded, match=r"0 of them of claims.*policy that nothing uses.*user-delegation-sas"):
        decide_policy(replace(NO_POLICIES, policies=others), PREFIX, PARAMETERS, NOW)
    own = replace(NO_POLICIES, policies=(*others[1:], ours(1)))
    assert decide_policy(own, PREFIX, PARAMETERS, NOW)[0] == NEW


def test_policies_of_others_stay_when_a_claim_leaves() -> None:
    acl = replace(NO_POLICIES, policies=(OTHER, ours(3)))
    assert acl.without_claim(PREFIX) == replace(NO_POLICIES, policies=(OTHER,))
    assert acl.without_claim(build_prefix("another")) is None


def test_a_container_that_goes_keeps_policies_of_others_and_no_public_access() -> None:
    acl = replace(NO_POLICIES, policies=(OTHER, ours(3), replace(ours(3), id=build_prefix("obc-guest") + "1")))
    assert acl.without_claims() == Acl(public_access=None, policies=(OTHER,))
    assert replace(NO_POLICIES, policies=(OTHER,)).without_claims() is None


def test_a_policy_that_was_removed_never_comes_back_under_its_old_name() -> None:
    assert build_id(PREFIX, NOW) != build_id(PREFIX, NOW)
    assert len(build_id(PREFIX, NOW, replaced=build_id(PREFIX, NOW))) <= 64
    assert build_prefix("obc-claim") != build_prefix("obc-claim-2")


def test_what_a_secret_holds_is_read_back() -> None:
    token = "se=2026-11-04T10%3A00%3A00Z&sp=rl&sv=2026-10-06&sr=c&skoid=x&sig=a%2Fb%3D"
    held = parse_held(Authentication(additional_secret_data=build_secret(PARAMETERS, "photos", SecretStr(token))))
    assert held is not None
    assert (held.token.reveal(), held.policy, held.permission) == (token, "", "rl")
    assert held.expiry == NOW + timedelta(days=1)
    assert renewal_of(NOW, PARAMETERS) == NOW - timedelta(days=5)


@pytest.mark.parametrize("protocol", [None, "https"])
def test_a_sas_of_the_accounts_key_is_known_by_its_signature(protocol: str | None) -> None:
    """Azure's own client signs it: what is signed, and in which order, is on the page that `policy` names."""
    key, other = ("a2V5", "b3RoZXI=")
    token = generate_container_sas("account", "photos", account_key=key, policy_id="obc-1", protocol=protocol)
    held = parse_held(Authentication(additional_secret_data=build_secret(PARAMETERS, "photos", SecretStr(token))))
    assert held is not None
    assert held.is_signed_by(SecretStr(key), "account", "photos")
    assert not held.is_signed_by(SecretStr(other), "account", "photos")
    assert not held.is_signed_by(SecretStr(key), "account", "videos")
    assert not held.is_signed_by(SecretStr(key), "another", "photos")
    for edited in (f"{token}&sp=racwdl", f"{token}&se=2040-01-01", token.replace("obc-1", "obc-2")):
        found = parse_held(Authentication(additional_secret_data={"AZURE_STORAGE_SAS_TOKEN": SecretStr(edited)}))
        assert found is not None
        assert not found.is_signed_by(SecretStr(key), "account", "photos")


def test_a_lost_sas_gets_another_policy_in_the_place_of_the_old_one() -> None:
    acl = replace(NO_POLICIES, policies=(ours(6), OTHER))
    policy, changed = decide_policy(acl, PREFIX, PARAMETERS, NOW, is_lost=True)
    assert policy.id != ours(6).id
    assert changed == replace(NO_POLICIES, policies=(policy, OTHER))


@pytest.mark.parametrize(("turned", "is_replaced"), [(timedelta(minutes=5), False), (timedelta(days=1), True)])
def test_a_leaked_sas_is_replaced_though_the_clock_was_turned_back(turned: timedelta, is_replaced: bool) -> None:
    """By a day: it was wrong before, and when the last two policies were made is not known."""
    first, acl = decide_policy(NO_POLICIES, PREFIX, PARAMETERS, NOW)
    assert acl is not None
    second, acl = decide_policy(acl, PREFIX, PARAMETERS, NOW, is_lost=True)
    assert acl is not None
    third, _ = decide_policy(acl, PREFIX, PARAMETERS, NOW - turned, is_lost=True)
    assert first.id != second.id
    assert (third.id != second.id) == is_replaced


def test_a_policy_is_replaced_twice_in_two_hours_and_no_more() -> None:
    acl, made = replace(NO_POLICIES, policies=(ours(6),)), []
    for minute in range(0, 300, 5):
        policy, changed = decide_policy(acl, PREFIX, PARAMETERS, NOW + timedelta(minutes=minute), is_lost=True)
        if changed is not None and policy.id != acl.policies[0].id:
            made.append(minute)
            acl = changed
    assert all(third - first >= 120 for first, third in zip(made, made[2:], strict=False))
    assert len(made) >= 6


@pytest.mark.parametrize(
    ("own", "is_drift"),
    [
        ((), True),
        ((ours(6),), False),
        ((ours(3),), False),
        ((ours(-1),), True),
        ((ours(11),), True),
        ((ours(6, "rl"),), True),
        ((replace(ours(6), start=None),), False),
        ((replace(ours(6), start="2026-11-04T10:00:00Z"),), True),
    ],
)
def test_a_policy_whose_end_is_moved_in_time_has_not_drifted(own: tuple[StoredPolicy, ...], is_drift: bool) -> None:
    assert has_drifted(replace(NO_POLICIES, policies=own), PREFIX, PARAMETERS, NOW) is is_drift


@pytest.mark.parametrize("held", [None, Authentication()])
def test_nothing_held_is_nothing(held: Authentication | None) -> None:
    assert parse_held(held) is None


def test_a_secret_has_the_forms_in_which_tools_take_a_sas() -> None:
    data = {name: value.reveal() for name, value in build_secret(PARAMETERS, "photos", SecretStr("sig=x")).items()}
    assert data == {
        "AZURE_STORAGE_ACCOUNT": "account",
        "AZURE_STORAGE_ACCOUNT_NAME": "account",
        "AZURE_STORAGE_SAS_TOKEN": "sig=x",
        "AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=https://account.blob.core.windows.net/;SharedAccessSignature=sig=x",
        "AZURE_STORAGE_CONTAINER_URL": "https://account.blob.core.windows.net/photos?sig=x",
    }


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-03T10:00:00Z", NOW),
        ("2026-11-03T10:00:00.0000000Z", NOW),
        ("2026-11-03T12:00:00+02:00", NOW),
        ("2026-11-03", datetime(2026, 11, 3, tzinfo=UTC)),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_read_as_azure_and_others_write_them(text: str | None, time: datetime | None) -> None:
    assert parse_time(text) == time
