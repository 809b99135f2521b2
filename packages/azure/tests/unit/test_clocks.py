"""The provisioner's clock is ahead of Azure's, or behind it: what is issued, renewed and revoked, and what is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from azure_provisioner.policy import parse_time
from libbucket import ExpiresLater, Misconfigured, NotReady
from libbucket.testing.application import Refused
from testkit.azure.in_memory_world import DELEGATED, World, world_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

kinds = pytest.mark.parametrize("given", [{}, DELEGATED], ids=["policy", "delegated"])


@pytest.fixture
def world() -> Iterator[World]:
    with world_in_memory() as made:
        yield made


@kinds
@pytest.mark.parametrize("minutes", [-14, -6, -4, 4])
def test_a_claim_is_bound_though_clocks_differ_by_some_minutes(
    world: World, given: dict[str, str], minutes: int
) -> None:
    world.ahead = timedelta(minutes=minutes)
    bound = world.bind(world.request(**given))
    assert world.application(bound).list_keys("photos") == []
    said = [each for each in bound.answer.warnings if f"{-minutes} minutes behind" in each]
    assert bool(said) == (minutes < -5), "a clock that will soon be too wrong is told before it is"


@kinds
@pytest.mark.parametrize("minutes", [6, 14, 16, 24 * 60])
def test_nothing_is_issued_by_a_clock_that_is_ahead_and_the_claim_says_so(
    world: World, given: dict[str, str], minutes: int
) -> None:
    """Else it would begin in the future, and Azure would refuse it without saying why."""
    world.ahead = timedelta(minutes=minutes)
    request = world.request(**given)
    with pytest.raises(Misconfigured, match=rf"clock is {minutes} minutes ahead of Azure's") as refused:
        world.bind(request)
    assert refused.value.request_id
    assert not world.storage.containers["photos"].policies
    world.ahead = timedelta()
    assert world.application(world.bind(request)).list_keys("photos") == []


@kinds
@pytest.mark.parametrize("minutes", [-16, -24 * 60])
def test_a_clock_that_is_too_far_behind_is_named(world: World, given: dict[str, str], minutes: int) -> None:
    world.ahead = timedelta(minutes=minutes)
    with pytest.raises(Misconfigured, match=rf"clock is {-minutes} minutes behind Azure's") as refused:
        world.bind(world.request(**given))
    assert refused.value.request_id


@pytest.mark.parametrize("minutes", [6, 16])
def test_a_renewal_by_a_clock_that_is_ahead_does_not_shut_the_application_out(world: World, minutes: int) -> None:
    request = world.request(expiry="30d")
    bound = world.bind(request)
    world.pass_time(timedelta(days=16).total_seconds())
    world.ahead = timedelta(minutes=minutes)
    with pytest.raises(Misconfigured, match="ahead"):
        world.provisioner.provision(bound.again())
    assert world.application(bound).list_keys("photos") == []
    assert world.provisioner.is_intact(bound.again())


def test_a_delegated_claim_of_a_clock_that_is_behind_has_a_sas_at_all_times(world: World) -> None:
    world.ahead = -timedelta(minutes=14)
    request = world.request(**DELEGATED, expiry="1h")
    bound = world.bind(request)
    for _ in range(12):
        assert bound.credentials.renew_at is not None
        world.pass_time((bound.credentials.renew_at - world.clock()).total_seconds() - 1)
        assert world.application(bound).list_keys("photos") == []
        world.pass_time(1)
        bound = world.bind(bound.again())


@pytest.mark.parametrize("minutes", [-4, 0, 4])
def test_a_delegated_sas_is_dead_when_its_revocation_returns_though_clocks_differ(world: World, minutes: int) -> None:
    bound = world.bind(world.request(**DELEGATED))
    with pytest.raises(ExpiresLater) as waiting:
        world.provisioner.revoke(bound.record)
    assert waiting.value.delay is not None
    world.ahead = timedelta(minutes=minutes)
    with pytest.raises(ExpiresLater) as waiting:
        world.provisioner.revoke(bound.record)
    assert waiting.value.delay is not None
    world.pass_time(waiting.value.delay)
    world.provisioner.revoke(bound.record)
    with pytest.raises(Refused):
        world.application(bound).list_keys("photos")


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_policy_is_revoked_whatever_the_clock_says(world: World, minutes: int) -> None:
    bound = world.bind(world.request())
    world.ahead = timedelta(minutes=minutes)
    with pytest.raises(NotReady, match="30 seconds"):
        world.provisioner.revoke(bound.record)
    world.pass_time(31)
    world.provisioner.revoke(bound.record)
    with pytest.raises(Refused):
        world.application(bound).list_keys("photos")


@pytest.mark.parametrize("minutes", [-14, -4, 4])
def test_a_clock_that_is_turned_a_few_minutes_changes_nothing_and_is_no_drift(world: World, minutes: int) -> None:
    request = world.request()
    bound = world.bind(request)
    policies = dict(world.storage.containers["photos"].policies)
    world.ahead = timedelta(minutes=minutes)
    again = world.bind(bound.again())
    assert again.answer.repairs == ()
    assert dict(world.storage.containers["photos"].policies) == policies


def test_a_policy_that_begins_in_the_future_by_an_earlier_clock_begins_now(world: World) -> None:
    request = world.request()
    bound = world.bind(request)
    (name,) = world.storage.containers["photos"].policies
    policy = world.storage.containers["photos"].policies[name]
    world.storage.containers["photos"].policies[name] = replace(policy, start="2026-11-02T00:00:00Z")
    again = world.bind(bound.again())
    starts = parse_time(world.storage.containers["photos"].policies[name].start)
    assert starts is not None
    assert starts <= world.now
    assert world.application(again).list_keys("photos") == []


def test_a_refusal_by_right_clocks_is_not_put_down_to_them(world: World) -> None:
    world.storage.keys = (world.storage.keys[1], world.storage.keys[1])
    with pytest.raises(Exception, match="does not accept the credentials"):
        world.bind(world.request())


def test_the_start_of_a_delegated_sas_is_five_minutes_ago_by_the_provisioners_clock(world: World) -> None:
    bound = world.bind(world.request(**DELEGATED))
    assert parse_qs(bound.sas)["st"] == ["2026-10-31T23:55:00Z"]
