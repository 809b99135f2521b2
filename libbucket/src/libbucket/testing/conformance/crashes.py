# ruff: noqa: D102, FBT001 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about crashes: at every request of every verb, before it is sent and after it was answered.

The requests are found by running, not listed manually: each claim dies one request later than the one before it, until
one gets through.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from libbucket.testing import builders
from libbucket.testing.conformance.environment import (
    CONTENT,
    Environment,
    Guarantees,
    assert_shut_out,
    assert_works,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.requests_watched import When

both_sides = pytest.mark.parametrize("when", ["before", "after"])
both_kinds = pytest.mark.parametrize("greenfield", [True, False], ids=["greenfield", "brownfield"])

_MOST: Final = 100
"""No verb sends more requests than this."""


class Crashes(Guarantees):
    """The next call finishes or reverts what was interrupted."""

    @pytest.fixture(autouse=True)
    def _count(self, environment: Environment, request: pytest.FixtureRequest) -> Iterator[None]:
        yield
        request.node.user_properties.append(("crashes", environment.crashes))  # for the report

    @both_sides
    @both_kinds
    def test_a_binding_that_was_cut_off_is_finished_by_the_next_call(
        self, environment: Environment, when: When, greenfield: bool
    ) -> None:
        for number in _every_request(environment):
            request = environment.request() if greenfield else environment.request(bucket=environment.foreign_bucket())
            verb = environment.provisioner.provision if greenfield else environment.provisioner.grant
            environment.dies(number, when, partial(verb, request))
            tenant = environment.bind(request, greenfield=greenfield, by=environment.backend.provisioner())
            assert_works(tenant)
            (environment.delete if greenfield else environment.revoke)(tenant.record)
            assert environment.administrator.bucket_exists(tenant.bucket) is not greenfield, (
                "a new bucket stays after delete, or an existing one went with its grant"
            )
            assert not environment.administrator.identity_exists(tenant.record), "the claim's identity is still there"

    @both_sides
    def test_a_provision_that_was_cut_off_is_undone_by_delete(self, environment: Environment, when: When) -> None:
        for number in _every_request(environment):
            request = environment.request()
            environment.dies(number, when, partial(environment.provisioner.provision, request))
            environment.delete(builders.intent(request))
            assert not environment.administrator.bucket_exists(request.bucket_name), "the bucket is still there"
            assert not environment.administrator.identity_exists(builders.intent(request)), (
                "the claim's identity is still there"
            )

    @both_sides
    def test_a_grant_that_was_cut_off_is_undone_by_revoke(self, environment: Environment, when: When) -> None:
        for number in _every_request(environment):
            request = environment.request(bucket=environment.foreign_bucket())
            environment.dies(number, when, partial(environment.provisioner.grant, request))
            environment.revoke(builders.intent(request, greenfield=False))
            assert not environment.administrator.identity_exists(builders.intent(request)), (
                "the claim's identity is still there"
            )
            assert environment.read(environment.administrator.application(), request.bucket_name) == CONTENT, (
                "what was written before is gone or changed"
            )

    @both_sides
    @both_kinds
    def test_a_replacement_of_lost_credentials_that_was_cut_off_is_finished_by_the_next_call(
        self, environment: Environment, when: When, greenfield: bool
    ) -> None:
        for number in _every_request(environment):
            first = environment.tenant(greenfield=greenfield)
            verb = environment.provisioner.provision if greenfield else environment.provisioner.grant
            request = builders.again(first.request, first.answer, with_credentials=False)
            environment.dies(number, when, partial(verb, request))
            second = environment.again(first, with_credentials=False)
            assert_works(second)
            if second.credentials != first.credentials:
                assert_shut_out(first)
            (environment.delete if greenfield else environment.revoke)(second.record)
            assert not environment.administrator.identity_exists(second.record), "the claim's identity is still there"

    @both_sides
    def test_a_deletion_that_was_cut_off_is_finished_by_the_next_call(
        self, environment: Environment, when: When
    ) -> None:
        for number in _every_request(environment):
            tenant = environment.tenant(greenfield=True)
            environment.dies(number, when, partial(environment.provisioner.delete, tenant.record))
            environment.delete(tenant.record)
            assert not environment.administrator.bucket_exists(tenant.bucket), "the bucket is still there"
            assert not environment.administrator.identity_exists(tenant.record), "the claim's identity is still there"

    @both_sides
    @both_kinds
    def test_a_revocation_that_was_cut_off_is_finished_by_the_next_call(
        self, environment: Environment, when: When, greenfield: bool
    ) -> None:
        for number in _every_request(environment):
            tenant = environment.tenant(greenfield=greenfield)
            environment.dies(number, when, partial(environment.provisioner.revoke, tenant.record))
            environment.revoke(tenant.record)
            assert_shut_out(tenant)
            assert not environment.administrator.identity_exists(tenant.record), "the claim's identity is still there"
            assert environment.read(environment.administrator.application(), tenant.bucket) == CONTENT, (
                "what was written before is gone or changed"
            )


def _every_request(environment: Environment) -> Iterator[int]:
    """1, 2, 3, ... until the verb of the loop's body got through alive; skips the test where it sends nothing."""
    for number in range(1, _MOST):
        environment.survived = False
        yield number
        if environment.survived:
            if number == 1:
                pytest.skip("this store is not reached by HTTP requests")
            return
    pytest.fail(f"a verb sends more than {_MOST} requests")
