# ruff: noqa: D102, FBT001 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about access: a claim reaches its own bucket, no other bucket, and no settings."""

from __future__ import annotations

import pytest

from libbucket.testing.application import Refused
from libbucket.testing.conformance.backend import Ability
from libbucket.testing.conformance.environment import CONTENT, OBJECT, Environment, Guarantees, assert_refused
from libbucket.testing.conformance.operations import OPERATIONS, Operation

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=str)
both_kinds = pytest.mark.parametrize("greenfield", [True, False], ids=["greenfield", "brownfield"])


class Access(Guarantees):
    """Own access works; every other bucket is closed."""

    @both_kinds
    @each_operation
    def test_a_claim_may_use_its_own_bucket_and_no_other(
        self, environment: Environment, operation: Operation, greenfield: bool
    ) -> None:
        environment.needs(Ability.OBJECTS, operation.ability)
        owner, other = environment.tenant(greenfield=greenfield), environment.tenant(greenfield=greenfield)
        operation.attempt(other.application, other.bucket, other.bucket)
        environment.assert_refused(
            f"{operation} in another's bucket",
            lambda: operation.attempt(other.application, owner.bucket, other.bucket),
            operation.check,
        )
        assert environment.read(environment.administrator.application(), owner.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )
        operation.attempt(owner.application, owner.bucket, owner.bucket)

    @each_operation
    def test_a_bucket_that_no_claim_has_is_closed_to_every_claim(
        self, environment: Environment, operation: Operation
    ) -> None:
        environment.needs(Ability.OBJECTS, operation.ability)
        foreign, tenant, other = (
            environment.foreign_bucket(),
            environment.tenant(greenfield=True),
            environment.foreign_bucket(),
        )
        operation.attempt(environment.administrator.application(), other, other)
        environment.assert_refused(
            f"{operation} in a bucket without a claim",
            lambda: operation.attempt(tenant.application, foreign, tenant.bucket),
            operation.check,
        )

    def test_a_bucket_whose_name_begins_like_ones_own_is_closed(self, environment: Environment) -> None:
        tenant = environment.tenant(greenfield=True)
        longer = environment.new_name(beginning=tenant.bucket)
        environment.administrator.make_bucket(longer)
        environment.put(longer)
        assert_refused("reading from a longer name", lambda: environment.read(tenant.application, longer))
        assert_refused("listing a longer name", lambda: tenant.application.reach(longer))
        assert environment.read(tenant.application, tenant.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )

    @both_kinds
    def test_what_is_written_in_parts_is_read_as_one(self, environment: Environment, greenfield: bool) -> None:
        environment.needs(Ability.MULTIPART)
        tenant = environment.tenant(greenfield=greenfield)
        parts = [b"a" * (5 * 1024 * 1024), b"the end"]
        tenant.application.multipart(tenant.bucket, "large", parts)
        assert tenant.application.get(tenant.bucket, "large") == b"".join(parts), (
            "what was written in parts is not what is read"
        )

    def test_a_bucket_is_closed_to_the_public_until_its_administrator_opens_it(self, environment: Environment) -> None:
        environment.needs(Ability.ANONYMOUS)
        tenant = environment.tenant(greenfield=True)
        assert_refused("reading without credentials", lambda: tenant.application.anonymous_get(tenant.bucket, OBJECT))
        environment.administrator.application().make_public(tenant.bucket)
        assert tenant.application.anonymous_get(tenant.bucket, OBJECT) == CONTENT, (
            "the bucket is not public although its administrator made it so"
        )

    @both_kinds
    def test_a_claim_may_not_open_its_bucket_to_the_public(self, environment: Environment, greenfield: bool) -> None:
        environment.needs(Ability.ANONYMOUS)
        tenant = environment.tenant(greenfield=greenfield)
        assert_refused("opening one's bucket to the public", lambda: tenant.application.make_public(tenant.bucket))
        assert environment.read(tenant.application, tenant.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )
        environment.administrator.application().make_public(tenant.bucket)

    def test_a_claim_may_not_open_anothers_bucket_to_the_public(self, environment: Environment) -> None:
        environment.needs(Ability.ANONYMOUS)
        owner, other = environment.tenant(greenfield=True), environment.tenant(greenfield=True)
        assert_refused("opening another's bucket", lambda: other.application.make_public(owner.bucket))
        environment.administrator.application().make_public(owner.bucket)

    @both_kinds
    def test_a_claim_may_not_remove_its_bucket_but_only_its_objects(
        self, environment: Environment, greenfield: bool
    ) -> None:
        tenant = environment.tenant(greenfield=greenfield)
        if environment.can(Ability.OBJECTS):
            tenant.application.delete(tenant.bucket, OBJECT)
        assert_refused("removing one's own bucket", lambda: tenant.application.remove_bucket(tenant.bucket))
        assert environment.administrator.bucket_exists(tenant.bucket), "the bucket is gone, and should be there"
        environment.administrator.application().remove_bucket(tenant.bucket)
        assert not environment.administrator.bucket_exists(tenant.bucket), "the bucket is still there"

    def test_a_claim_sees_no_other_claims_bucket_in_a_listing(self, environment: Environment) -> None:
        environment.needs(Ability.LIST_BUCKETS)
        owner, other = environment.greenfield(), environment.greenfield()
        try:
            seen = other.application.list_all()
        except Refused:
            seen = []
        assert owner.bucket not in seen, "another's bucket is listed"
        assert {owner.bucket, other.bucket} <= set(environment.administrator.application().list_all()), (
            "the administrator's listing lacks a bucket"
        )
