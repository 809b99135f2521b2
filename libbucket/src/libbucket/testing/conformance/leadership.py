# ruff: noqa: D102 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about leadership: each request to the store is preceded by the check that this replica still leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from libbucket.testing import builders
from libbucket.testing.conformance.environment import Environment, Guarantees, assert_works, raises
from libbucket.testing.requests_watched import counted_requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket.provisioner import Provisioner

VERBS: Final = ("provision", "grant", "revoke", "delete")
each_verb = pytest.mark.parametrize("verb", VERBS)


class LeadershipIsLost(Exception):
    """What the request hook raises here. No provisioner knows it, as none knows the core's."""


class Leadership(Guarantees):
    """A replica that lost it sends nothing."""

    @each_verb
    def test_nothing_is_sent_and_nothing_changes_once_leadership_is_lost(
        self, environment: Environment, verb: str
    ) -> None:
        def lose() -> None:
            raise LeadershipIsLost

        call = _call(environment, verb, environment.backend.fenced(lose))
        with counted_requests() as sent, raises(LeadershipIsLost, f"{verb} goes on, or hides that leadership is lost"):
            call()
        assert not sent, "a request was sent without the leadership that it needs"
        _finish(environment, verb)

    @each_verb
    def test_leadership_is_checked_before_each_request(self, environment: Environment, verb: str) -> None:
        asked: list[int] = []
        watched: list[list[str]] = [[]]
        call = _call(environment, verb, environment.backend.fenced(lambda: asked.append(len(watched[0]))))
        with counted_requests() as sent:
            watched[0] = sent
            call()
        assert asked, f"{verb} never asks for leadership"
        unchecked = [request for number, request in enumerate(sent) if number not in asked]
        assert not unchecked, "requests were sent without asking for leadership just before"


def _call(environment: Environment, verb: str, by: Provisioner) -> Callable[[], object]:
    """A verb of this provisioner, for a claim that is new or bound, as the verb needs it."""
    if verb in {"provision", "grant"}:
        bucket = None if verb == "provision" else environment.foreign_bucket()
        request = environment.request(bucket=bucket)
        return lambda: environment.patiently(getattr(by, verb), request)
    tenant = environment.tenant(greenfield=verb == "delete")
    assert_works(tenant)
    environment.last = tenant
    return lambda: environment.patiently(getattr(by, verb), tenant.record)


def _finish(environment: Environment, verb: str) -> None:
    """Fails unless everything is as it was before the verb."""
    if verb in {"provision", "grant"}:
        intent = builders.intent(environment.last_request)
        assert not environment.administrator.identity_exists(intent), "an identity was made"
        is_there = environment.administrator.bucket_exists(intent.bucket_name)
        assert is_there is (verb == "grant"), "a bucket was made, or removed"
        return
    assert environment.last is not None, "there is a bound claim"
    assert environment.administrator.bucket_exists(environment.last.bucket), "the bucket was removed"
    assert_works(environment.last)
