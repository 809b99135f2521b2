# ruff: noqa: D102 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about `additionalConfig`: applied, changed, cleared, and never touched where the claim is silent."""

from __future__ import annotations

import pytest

from libbucket.errors import InvalidConfig
from libbucket.testing.conformance.backend import Ability
from libbucket.testing.conformance.environment import Environment, Guarantees, Tenant, assert_works, raises


def _samples(environment: Environment) -> dict[str, tuple[tuple[str, str], tuple[str, str]]]:
    """For each key two values, each as it is written and as it is found."""
    found = {}
    for key, values in environment.backend.capabilities.config.items():
        first, second, *_ = values.items()
        found[key] = (first, second)
    if not found:
        pytest.skip("this store supports no key of additionalConfig")
    return found


class Settings(Guarantees):
    """Every key that the provisioner supports."""

    def test_every_supported_key_is_tried_by_this_suite(self, environment: Environment) -> None:
        capabilities = environment.backend.capabilities
        tried = {*capabilities.config, *capabilities.config_of_classes}
        assert environment.provisioner.supported_config == tried, (
            "Capabilities.config, with config_of_classes, must have every key of supported_config, and no other"
        )

    def test_a_setting_is_applied_and_changed_with_credentials_unchanged(self, environment: Environment) -> None:
        for key, ((written, found), (other, other_found)) in _samples(environment).items():
            first = environment.greenfield(environment.request(config={key: written}))
            assert environment.administrator.config(first.bucket, key) == found, (
                "the setting in the store is not the one that is expected"
            )
            changed = environment.again(first, config={key: other})
            assert environment.administrator.config(first.bucket, key) == other_found, (
                "the setting in the store is not the one that is expected"
            )
            assert changed.credentials == first.credentials, "a changed setting replaced the credentials"
            assert_works(changed)

    def test_a_setting_that_leaves_the_claim_is_reset(self, environment: Environment) -> None:
        for key, (first_value, other) in _samples(environment).items():
            afterwards = environment.backend.capabilities.reset.get(key)
            written, found = other if first_value[1] == afterwards else first_value
            first = environment.greenfield(environment.request(config={key: written}))
            assert environment.administrator.config(first.bucket, key) == found, (
                "the setting in the store is not the one that is expected"
            )
            assert found != afterwards, "the declaration tells a setting from its absence"
            environment.again(first, config={})
            assert environment.administrator.config(first.bucket, key) == afterwards, (
                "a setting that left the claim is not reset"
            )

    def test_a_setting_that_the_claim_never_had_is_left_as_it_is(self, environment: Environment) -> None:
        for key, ((_, found), (other, other_found)) in _samples(environment).items():
            first = environment.greenfield()
            environment.administrator.set_config(first.bucket, key, found)
            environment.again(first)
            assert environment.administrator.config(first.bucket, key) == found, (
                "the setting in the store is not the one that is expected"
            )
            environment.again(first, config={key: other})
            assert environment.administrator.config(first.bucket, key) == other_found, (
                "the setting in the store is not the one that is expected"
            )

    def test_a_setting_that_was_changed_manually_is_applied_again(self, environment: Environment) -> None:
        for key, ((written, found), (_, other_found)) in _samples(environment).items():
            first = environment.greenfield(environment.request(config={key: written}))
            environment.administrator.set_config(first.bucket, key, other_found)
            second = environment.again(first)
            assert environment.administrator.config(first.bucket, key) == found, (
                "the setting in the store is not the one that is expected"
            )
            if environment.can(Ability.REPORTED_REPAIRS) and key not in environment.backend.capabilities.silent:
                assert second.answer.repairs, "the repair is not reported"
            assert environment.again(second).answer.repairs == (), "a repair is reported where nothing was changed"

    def test_a_value_that_makes_no_sense_is_refused_by_name_and_the_claim_goes_on(
        self, environment: Environment
    ) -> None:
        for key, ((written, found), _) in _samples(environment).items():
            first = environment.greenfield(environment.request(config={key: written}))
            with raises(InvalidConfig, "a value that makes no sense was accepted", match=key):
                environment.again(first, config={key: "{no such value"})
            assert environment.administrator.config(first.bucket, key) == found, (
                "the setting in the store is not the one that is expected"
            )
            assert_works(first)

    def test_a_grant_leaves_the_settings_of_the_bucket_alone(self, environment: Environment) -> None:
        for key, ((_, found), _) in _samples(environment).items():
            bucket = environment.foreign_bucket()
            environment.administrator.set_config(bucket, key, found)
            environment.brownfield(bucket)
            assert environment.administrator.config(bucket, key) == found, "a grant changed a setting of the bucket"

    def test_a_setting_that_a_grant_does_not_apply_is_warned_about(self, environment: Environment) -> None:
        for key, ((written, _), _) in _samples(environment).items():
            bucket = environment.foreign_bucket()
            before = environment.administrator.config(bucket, key)
            request = environment.request(bucket=bucket, parameters={"bucketName": bucket}, config={key: written})
            asking = environment.bind(request, greenfield=False)
            is_applied = environment.administrator.config(bucket, key) != before
            assert is_applied is not _is_warned_about(key, asking), (
                "a setting of the claim is neither applied nor warned about, or it is both"
            )
            assert not _is_warned_about(key, environment.brownfield(bucket)), "a key that the claim has not is named"


def _is_warned_about(key: str, tenant: Tenant) -> bool:
    return any(key in text for text in tenant.answer.warnings)
