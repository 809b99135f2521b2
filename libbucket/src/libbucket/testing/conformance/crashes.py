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
from libbucket.testing.conformance.world import CONTENT, OBJECT, Guarantees, World, assert_shut_out, assert_works

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
    def _count(self, world: World, request: pytest.FixtureRequest) -> Iterator[None]:
        yield
        request.node.user_properties.append(("crashes", world.crashes))  # for the report

    @both_sides
    @both_kinds
    def test_a_binding_that_was_cut_off_is_finished_by_the_next_call(
        self, world: World, when: When, greenfield: bool
    ) -> None:
        for number in _every_request(world):
            request = world.request() if greenfield else world.request(bucket=world.foreign_bucket())
            verb = world.provisioner.provision if greenfield else world.provisioner.grant
            world.dies(number, when, partial(verb, request))
            tenant = world.bind(request, greenfield=greenfield, by=world.backend.provisioner())
            assert_works(tenant)
            (world.delete if greenfield else world.revoke)(tenant.record)
            assert world.administrator.bucket_exists(tenant.bucket) is not greenfield
            assert not world.administrator.identity_exists(tenant.record)

    @both_sides
    def test_a_provision_that_was_cut_off_is_undone_by_delete(self, world: World, when: When) -> None:
        for number in _every_request(world):
            request = world.request()
            world.dies(number, when, partial(world.provisioner.provision, request))
            world.delete(builders.intent(request))
            assert not world.administrator.bucket_exists(request.bucket_name)
            assert not world.administrator.identity_exists(builders.intent(request))

    @both_sides
    def test_a_grant_that_was_cut_off_is_undone_by_revoke(self, world: World, when: When) -> None:
        for number in _every_request(world):
            request = world.request(bucket=world.foreign_bucket())
            world.dies(number, when, partial(world.provisioner.grant, request))
            world.revoke(builders.intent(request, greenfield=False))
            assert not world.administrator.identity_exists(builders.intent(request))
            assert world.administrator.application().get(request.bucket_name, OBJECT) == CONTENT

    @both_sides
    @both_kinds
    def test_a_replacement_of_lost_credentials_that_was_cut_off_is_finished_by_the_next_call(
        self, world: World, when: When, greenfield: bool
    ) -> None:
        for number in _every_request(world):
            first = world.tenant(greenfield=greenfield)
            verb = world.provisioner.provision if greenfield else world.provisioner.grant
            request = builders.again(first.request, first.answer, with_credentials=False)
            world.dies(number, when, partial(verb, request))
            second = world.again(first, with_credentials=False)
            assert_works(second)
            if second.credentials != first.credentials:
                assert_shut_out(first)
            (world.delete if greenfield else world.revoke)(second.record)
            assert not world.administrator.identity_exists(second.record)

    @both_sides
    def test_a_deletion_that_was_cut_off_is_finished_by_the_next_call(self, world: World, when: When) -> None:
        for number in _every_request(world):
            tenant = world.tenant(greenfield=True)
            world.dies(number, when, partial(world.provisioner.delete, tenant.record))
            world.delete(tenant.record)
            assert not world.administrator.bucket_exists(tenant.bucket)
            assert not world.administrator.identity_exists(tenant.record)

    @both_sides
    @both_kinds
    def test_a_revocation_that_was_cut_off_is_finished_by_the_next_call(
        self, world: World, when: When, greenfield: bool
    ) -> None:
        for number in _every_request(world):
            tenant = world.tenant(greenfield=greenfield)
            world.dies(number, when, partial(world.provisioner.revoke, tenant.record))
            world.revoke(tenant.record)
            assert_shut_out(tenant)
            assert not world.administrator.identity_exists(tenant.record)
            assert world.administrator.application().get(tenant.bucket, OBJECT) == CONTENT


def _every_request(world: World) -> Iterator[int]:
    """1, 2, 3, ... until the verb of the loop's body got through alive; skips the test where it sends nothing."""
    for number in range(1, _MOST):
        world.survived = False
        yield number
        if world.survived:
            if number == 1:
                pytest.skip("this store is not reached by HTTP requests")
            return
    pytest.fail(f"a verb sends more than {_MOST} requests")
