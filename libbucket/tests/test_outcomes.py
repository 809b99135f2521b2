"""The table of reasons: complete, and consistent with the error classes."""

from __future__ import annotations

import pytest

import libbucket
from libbucket import InvalidParameters, ProvisionerError, PurgeUnfinished, Reason, RetrySlowly, RetrySoon
from libbucket._outcomes import MEANINGS, OUTAGES, Actor, Retry, StoreSignal, retry_of, store_signal

CLASSES = [
    one
    for one in vars(libbucket).values()
    if isinstance(one, type) and issubclass(one, ProvisionerError) and one is not ProvisionerError
]


def make(kind: type[ProvisionerError]) -> ProvisionerError:
    if issubclass(kind, InvalidParameters):
        return kind(["region is required"])
    return kind(3) if issubclass(kind, PurgeUnfinished) else kind("it failed")


def test_every_reason_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Reason)


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_class_is_requeued_as_its_default_reason_says(kind: type[ProvisionerError]) -> None:
    error = make(kind)
    assert retry_of(error) is MEANINGS[error.reason].retry


def test_outages_are_requeued_soon() -> None:
    unavailable = [one for one in MEANINGS.values() if one.store in OUTAGES]
    assert {one.retry for one in unavailable} == {Retry.SOON}


def test_an_error_that_waits_for_an_edit_is_never_an_outage() -> None:
    assert store_signal(RetrySoon("down", reason=Reason.STORE_UNAVAILABLE)) is StoreSignal.UNAVAILABLE
    assert store_signal(RetrySlowly("refused", reason=Reason.STORE_UNAVAILABLE)) is StoreSignal.ANSWERED


def test_a_reason_of_the_class_can_come_up_before_the_first_request() -> None:
    assert all(one.before_first_request for one in MEANINGS.values() if one.of_the_class)


def test_reasons_for_the_author_are_not_for_the_administrator() -> None:
    by_author = {reason for reason, one in MEANINGS.items() if one.actor is Actor.AUTHOR}
    assert {Reason.INVALID_CLAIM, Reason.INVALID_CONFIG, Reason.BUCKET_EXISTS} <= by_author
    assert not by_author & {Reason.ACCESS_DENIED, Reason.INVALID_PARAMETERS, Reason.STORE_UNAVAILABLE}


@pytest.mark.parametrize(
    "reason", [Reason.THROTTLED, Reason.CLUSTER_UNAVAILABLE, Reason.INTERNAL_ERROR, Reason.NOT_READY]
)
def test_failures_with_another_cause_do_not_suspect_the_parameters(reason: Reason) -> None:
    assert not MEANINGS[reason].suspects_parameters


@pytest.mark.parametrize("reason", [Reason.STORE_UNAVAILABLE, Reason.ACCESS_DENIED, Reason.INVALID_PARAMETERS])
def test_failures_that_prove_no_access_suspect_the_parameters(reason: Reason) -> None:
    assert MEANINGS[reason].suspects_parameters


def test_outages_are_those_of_the_two_servers() -> None:
    outages = {reason for reason, meaning in MEANINGS.items() if meaning.is_outage}
    assert outages == {Reason.STORE_UNAVAILABLE, Reason.CLUSTER_UNAVAILABLE}
