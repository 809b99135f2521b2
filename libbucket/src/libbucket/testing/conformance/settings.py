# ruff: noqa: D102 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about `additionalConfig`: applied, changed, cleared, and never touched where the claim is silent."""

from __future__ import annotations

import pytest

from libbucket.errors import InvalidConfig
from libbucket.testing.conformance.backend import Ability
from libbucket.testing.conformance.world import Guarantees, World, assert_works


def _samples(world: World) -> dict[str, tuple[tuple[str, str], tuple[str, str]]]:
    """For each key two values, each as it is written and as it is found."""
    found = {}
    for key, values in world.backend.capabilities.config.items():
        first, second, *_ = values.items()
        found[key] = (first, second)
    if not found:
        pytest.skip("this store supports no key of additionalConfig")
    return found


class Settings(Guarantees):
    """Every key that the provisioner supports."""

    def test_every_supported_key_is_tried_by_this_suite(self, world: World) -> None:
        assert world.provisioner.supported_config == set(world.backend.capabilities.config)

    def test_a_setting_is_applied_and_changed_with_credentials_unchanged(self, world: World) -> None:
        for key, ((written, found), (other, other_found)) in _samples(world).items():
            first = world.greenfield(world.request(config={key: written}))
            assert world.administrator.config(first.bucket, key) == found
            changed = world.again(first, config={key: other})
            assert world.administrator.config(first.bucket, key) == other_found
            assert changed.credentials == first.credentials
            assert_works(changed)

    def test_a_setting_that_leaves_the_claim_is_reset(self, world: World) -> None:
        for key, (first_value, other) in _samples(world).items():
            afterwards = world.backend.capabilities.reset.get(key)
            written, found = other if first_value[1] == afterwards else first_value
            first = world.greenfield(world.request(config={key: written}))
            assert world.administrator.config(first.bucket, key) == found
            assert found != afterwards, "the declaration tells a setting from its absence"
            world.again(first, config={})
            assert world.administrator.config(first.bucket, key) == afterwards

    def test_a_setting_that_the_claim_never_had_is_left_as_it_is(self, world: World) -> None:
        for key, ((_, found), (other, other_found)) in _samples(world).items():
            first = world.greenfield()
            world.administrator.set_config(first.bucket, key, found)
            world.again(first)
            assert world.administrator.config(first.bucket, key) == found
            world.again(first, config={key: other})
            assert world.administrator.config(first.bucket, key) == other_found

    def test_a_setting_that_was_changed_by_hand_is_applied_again(self, world: World) -> None:
        for key, ((written, found), (_, other_found)) in _samples(world).items():
            first = world.greenfield(world.request(config={key: written}))
            world.administrator.set_config(first.bucket, key, other_found)
            second = world.again(first)
            assert world.administrator.config(first.bucket, key) == found
            if world.can(Ability.REPORTED_REPAIRS) and key not in world.backend.capabilities.silent:
                assert second.answer.repairs
            assert world.again(second).answer.repairs == ()

    def test_a_value_that_makes_no_sense_is_refused_by_name_and_the_claim_goes_on(self, world: World) -> None:
        for key, ((written, found), _) in _samples(world).items():
            first = world.greenfield(world.request(config={key: written}))
            with pytest.raises(InvalidConfig, match=key):
                world.again(first, config={key: "{no such value"})
            assert world.administrator.config(first.bucket, key) == found
            assert_works(first)

    def test_a_grant_leaves_the_settings_of_the_bucket_alone(self, world: World) -> None:
        for key, ((_, found), _) in _samples(world).items():
            bucket = world.foreign_bucket()
            world.administrator.set_config(bucket, key, found)
            world.brownfield(bucket)
            assert world.administrator.config(bucket, key) == found
