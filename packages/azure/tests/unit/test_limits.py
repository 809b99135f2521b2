"""Whatever a claim, its Secret, a class or a container's policies hold is parsed or refused at once, by its name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azure_provisioner.admin_secret import parse_admin
from azure_provisioner.delegation import check_ended
from azure_provisioner.parameters import MOST_CHARACTERS, build_store_id, parse_parameters
from azure_provisioner.policy import (
    Acl,
    StoredPolicy,
    build_prefix,
    build_secret,
    decide_policy,
    format_time,
    has_drifted,
    parse_held,
    parse_time,
    renewal_of,
)
from azure_provisioner.provisioner import AzureProvisioner
from libbucket import (
    Authentication,
    InvalidAdminSecret,
    InvalidClaim,
    InvalidParameters,
    NotReady,
    ProvisionerError,
    SecretStr,
    Services,
)
from libbucket.testing import builders

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 200
"""Milliseconds: a hundred times what these parsers take."""

at_once = settings(deadline=DEADLINE, max_examples=200)

NOW = datetime(2026, 11, 3, 10, tzinfo=UTC)
LEAST = {"storageAccount": "account", "secretName": "admin", "secretNamespace": "azure"}
PARAMETERS = parse_parameters(LEAST)
NAMES = ["storageAccount", "endpoint", "pathStyle", "credentials", "permissions", "expiry", "authorityHost"]
NAMES += ["secretName", "secretNamespace"]
KEYS = ["AZURE_STORAGE_KEY", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_TENANT_ID", "AZURE_CLIENT_ID"]
KEYS += ["AZURE_CLIENT_SECRET"]
PREFIX = build_prefix("obc-claim")
POISON = ["9" * 300_000 + "d", "https://" + "a." * 500_000, "[" * 100_000, "\0" * 100_000, "r" * 1_000_000]
MESSAGE = 2000
"""Characters that no message of a few mistakes has."""

texts = st.text(max_size=300) | st.sampled_from(POISON)
letters = st.text(alphabet="0123456789dhm-+. eE", max_size=40)
times = st.text(alphabet="0123456789-+:TWZ. ", max_size=60) | st.datetimes(timezones=st.just(UTC)).map(format_time)


def refusal_of(call: Callable[[], object]) -> ProvisionerError | None:
    """What it refuses with, in a message of bounded length; None where it does not."""
    try:
        call()
    except ProvisionerError as refused:
        if len(refused.message) > MESSAGE:
            raise
        return refused
    return None


def holding(token: str) -> Authentication:
    return Authentication(additional_secret_data={"AZURE_STORAGE_SAS_TOKEN": SecretStr(token)})


@at_once
@given(st.dictionaries(st.sampled_from(NAMES), texts | letters))
def test_the_parameters_of_a_class_are_read_or_refused_at_once(given: dict[str, str]) -> None:
    refused = refusal_of(lambda: parse_parameters({**LEAST, **given}))
    if isinstance(refused, InvalidParameters):
        assert {mistake.split()[0] for mistake in refused.mistakes} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", POISON, ids=lambda value: value[:8])
def test_a_parameter_that_is_too_long_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidParameters, match=f"{name} must have at most 2048 characters") as refused:
        parse_parameters({**LEAST, name: value})
    assert len(refused.value.message) < MESSAGE


def test_a_parameter_of_the_greatest_length_is_not_too_long() -> None:
    host = "a." * ((MOST_CHARACTERS - len("https://")) // 2 - 1) + "aa"
    assert parse_parameters({**LEAST, "endpoint": f"https://{host}"}).url == f"https://{host}"


@at_once
@given(st.dictionaries(st.sampled_from([*NAMES, "anything"]), texts))
def test_the_store_of_a_class_is_named_whatever_the_class_holds(given: dict[str, str]) -> None:
    assert len(build_store_id(given)) < 3 * MOST_CHARACTERS


@at_once
@given(st.dictionaries(st.sampled_from(KEYS), texts))
def test_the_administrators_secret_is_read_or_refused_at_once(data: dict[str, str]) -> None:
    secret = {name: SecretStr(value) for name, value in data.items()}
    for parameters in (PARAMETERS, parse_parameters({**LEAST, "credentials": "user-delegation-sas"})):
        refused = refusal_of(lambda parameters=parameters: parse_admin(secret, parameters))  # type: ignore[misc]
        assert refused is None or any(name in refused.message for name in KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_the_administrators_secret_that_is_too_long_is_named(key: str) -> None:
    with pytest.raises(InvalidAdminSecret, match=f"key {key} must have at most"):
        parse_admin({key: SecretStr("A" * 1_000_000)}, PARAMETERS)


@at_once
@given(st.text(max_size=200) | st.sampled_from([*POISON, "a" * 100_000 + "-", "-" * 100_000, "a-" * 100_000]))
def test_any_name_of_a_container_is_taken_or_refused_at_once(name: str) -> None:
    def unread(namespace: str, name: str) -> dict[str, SecretStr]:
        raise InvalidAdminSecret(f"{namespace}/{name}")

    provisioner = AzureProvisioner(Services(read_secret=unread))
    refused = refusal_of(lambda: provisioner.provision(builders.options(bucket_name=name, parameters=LEAST)))
    assert isinstance(refused, InvalidClaim | InvalidAdminSecret)
    assert isinstance(refused, InvalidAdminSecret) or "spec.bucketName" in refused.message


fields = st.dictionaries(
    st.sampled_from(["si", "sp", "st", "se", "sig", "sv", "sr", "spr", "skoid", "x"]), times | st.text(max_size=80)
)


@at_once
@given(fields.map(lambda found: "&".join(f"{name}={value}" for name, value in found.items())) | texts)
def test_a_sas_that_a_tenant_wrote_is_read_or_ignored_at_once(token: str) -> None:
    held = parse_held(holding(token))
    if held is None:
        return
    held.is_signed_by(SecretStr("a2V5"), "account", "photos")
    if held.expiry is not None:
        renewal_of(held.expiry, parse_parameters({**LEAST, "expiry": "36500d"}))
        format_time(min(held.expiry, NOW + timedelta(days=7)))


@pytest.mark.parametrize(
    "token",
    ["&".join(f"f{number}=x" for number in range(65)), "sig=" + "A" * 4096, "sig=x\r\nHost: elsewhere", "sig=ü"],
)
def test_what_can_be_no_sas_of_ours_is_none(token: str) -> None:
    assert parse_held(holding(token)) is None
    ours = parse_held(Authentication(additional_secret_data=build_secret(PARAMETERS, "photos", SecretStr("sig=x"))))
    assert ours is not None


@at_once
@given(st.text(max_size=200) | times | st.sampled_from(["9" * 1_000_000, "2026-" * 100_000]))
def test_a_time_is_one_that_can_be_counted_with(text: str) -> None:
    found = parse_time(text)
    if found is not None:
        assert found - timedelta(days=36500) < found < found + timedelta(days=36500)
        assert parse_time(format_time(found)) is not None


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
def test_a_time_at_the_end_of_all_times_is_none(text: str) -> None:
    assert parse_time(text) is None


@at_once
@given(st.text(max_size=100), times, st.text(max_size=20))
def test_policies_that_others_wrote_are_left_or_replaced_at_once(id_: str, expiry: str, permission: str) -> None:
    others = StoredPolicy(id=id_, expiry=expiry, permission=permission)
    for each in (others, replace(others, id=PREFIX + id_)):
        acl = Acl(public_access=None, policies=(each,))
        for is_lost in (False, True):
            policy, _ = decide_policy(acl, PREFIX, PARAMETERS, NOW, is_lost=is_lost)
            assert policy.permission == PARAMETERS.permissions
        has_drifted(acl, PREFIX, PARAMETERS, NOW)


@at_once
@given(times | st.text(max_size=100))
def test_the_recorded_end_of_a_sas_is_waited_for_or_ignored_at_once(ends: str) -> None:
    waiting = refusal_of(lambda: check_ended({"SasExpiry": ends}, NOW))
    assert waiting is None or isinstance(waiting, NotReady)


@pytest.mark.parametrize("verb", ["provision", "grant", "is_intact"])
def test_a_manipulated_secret_of_a_claim_costs_nothing_and_breaks_nothing(verb: str) -> None:
    provisioner = AzureProvisioner(Services(read_secret=lambda *_: {}))
    for token in ["se=0001-01-01T00:00:00Z&sp=r&sig=x", "sig=" + "&" * 1_000_000, *POISON]:
        request = replace(builders.options(parameters=LEAST), credentials=holding(token))
        refused = refusal_of(lambda request=request: getattr(provisioner, verb)(request))  # type: ignore[misc]
        assert isinstance(refused, InvalidAdminSecret) or (verb == "is_intact" and refused is None)
