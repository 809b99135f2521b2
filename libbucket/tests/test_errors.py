from __future__ import annotations

import inspect

import pytest

from libbucket import (
    InvalidClaim,
    InvalidParameters,
    ProvisionerError,
    Reason,
    RetrySlowly,
    RetrySoon,
    Terminal,
    Throttled,
    errors,
)

KINDS = (RetrySoon, RetrySlowly, Terminal)
ALL = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, ProvisionerError) and found is not ProvisionerError
]


@pytest.mark.parametrize("error", ALL)
def test_every_error_is_one_of_three_kinds(error: type[ProvisionerError]) -> None:
    assert len([kind for kind in KINDS if issubclass(error, kind)]) == 1


@pytest.mark.parametrize("error", ALL)
def test_every_error_has_a_reason_of_the_list_that_is_not_a_bug(error: type[ProvisionerError]) -> None:
    assert error.default_reason in set(Reason) - {Reason.INTERNAL_ERROR}


@pytest.mark.parametrize("error", [one for one in ALL if one not in KINDS])
def test_every_named_error_is_part_of_the_public_surface(error: type[ProvisionerError]) -> None:
    import libbucket

    assert getattr(libbucket, error.__name__) is error


def test_an_error_carries_its_sentence_and_its_own_reason() -> None:
    error = InvalidClaim("bucketName must be lower case")
    assert (str(error), error.message) == ("bucketName must be lower case",) * 2
    assert error.reason is Reason.INVALID_CLAIM


def test_a_reason_can_be_given_for_one_error_only() -> None:
    assert Terminal("no", reason=Reason.BUCKET_EXISTS).reason is Reason.BUCKET_EXISTS
    assert Terminal("no").reason is Reason.INVALID_CLAIM


def test_a_delay_is_the_servers_or_none() -> None:
    assert Throttled("slow down", delay=7.5).delay == 7.5
    assert Throttled("slow down").delay is None


def test_mistakes_in_parameters_are_reported_in_one_sentence() -> None:
    error = InvalidParameters(["region is required", "secure must be true or false"])
    assert str(error) == "StorageClass parameters: region is required; secure must be true or false"
    assert error.mistakes == ("region is required", "secure must be true or false")


def test_reasons_are_words_that_a_condition_may_carry() -> None:
    assert all(reason.value.isalnum() and reason.value[0].isupper() for reason in Reason)
    assert len({reason.value for reason in Reason}) == len(Reason)
