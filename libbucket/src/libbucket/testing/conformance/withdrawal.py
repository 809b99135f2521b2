# ruff: noqa: D102, FBT001 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about `revoke` and `delete`: credentials stop working, and exactly what should go is gone."""

from __future__ import annotations

import pytest

from libbucket.testing import builders
from libbucket.testing.conformance.backend import Ability
from libbucket.testing.conformance.environment import (
    CONTENT,
    OBJECT,
    Environment,
    Guarantees,
    assert_refused,
    assert_shut_out,
    assert_works,
)
from libbucket.testing.conformance.operations import OPERATIONS, Operation

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=str)
both_kinds = pytest.mark.parametrize("greenfield", [True, False], ids=["greenfield", "brownfield"])


class Withdrawal(Guarantees):
    """A claim ends."""

    @both_kinds
    @each_operation
    def test_withdrawn_credentials_are_refused_though_bucket_and_data_stay(
        self, environment: Environment, operation: Operation, greenfield: bool
    ) -> None:
        environment.needs(Ability.OBJECTS, operation.ability)
        tenant = environment.tenant(greenfield=greenfield)
        tenant.application.put(tenant.bucket, "other", CONTENT)
        assert tenant.application.get(tenant.bucket, "other") == CONTENT, "what was written before is gone or changed"
        environment.revoke(tenant.record)
        assert_refused(
            f"{operation} with withdrawn credentials",
            lambda: operation.attempt(tenant.application, tenant.bucket, tenant.bucket),
        )
        administrator = environment.administrator.application()
        assert environment.read(administrator, tenant.bucket) == CONTENT, "what was written before is gone or changed"
        assert administrator.list_keys(tenant.bucket) == sorted([OBJECT, "other"]), "objects were removed or added"
        operation.attempt(administrator, tenant.bucket, tenant.bucket)

    @both_kinds
    def test_a_withdrawn_identity_is_gone(self, environment: Environment, greenfield: bool) -> None:
        tenant = environment.tenant(greenfield=greenfield)
        assert environment.administrator.identity_exists(tenant.record), "a bound claim has no identity"
        environment.revoke(tenant.record)
        assert not environment.administrator.identity_exists(tenant.record), "the claim's identity is still there"

    @both_kinds
    def test_revoking_changes_nothing_about_the_bucket(self, environment: Environment, greenfield: bool) -> None:
        tenant = environment.tenant(greenfield=greenfield)
        before = environment.administrator.settings(tenant.bucket)
        environment.revoke(tenant.record)
        assert environment.administrator.settings(tenant.bucket) == before, "settings of the bucket were changed"
        assert_shut_out(tenant)

    def test_revoking_one_grant_leaves_the_others_in(self, environment: Environment) -> None:
        bucket = environment.foreign_bucket()
        leaving, staying = environment.brownfield(bucket), environment.brownfield(bucket)
        environment.revoke(leaving.record)
        assert_shut_out(leaving)
        assert_works(staying)

    @both_kinds
    def test_revoking_again_is_success(self, environment: Environment, greenfield: bool) -> None:
        tenant = environment.tenant(greenfield=greenfield)
        environment.revoke(tenant.record)
        environment.revoke(tenant.record)
        assert_shut_out(tenant)
        assert environment.read(environment.administrator.application(), tenant.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )

    @both_kinds
    def test_revoking_after_the_bucket_has_gone_removes_the_identity(
        self, environment: Environment, greenfield: bool
    ) -> None:
        tenant = environment.tenant(greenfield=greenfield)
        environment.administrator.purge_bucket(tenant.bucket)
        assert environment.administrator.identity_exists(tenant.record) == environment.can(Ability.IDENTITY_APART), (
            "Ability.IDENTITY_APART is declared wrongly"
        )
        environment.revoke(tenant.record)
        assert not environment.administrator.identity_exists(tenant.record), "the claim's identity is still there"

    @both_kinds
    def test_revoking_after_the_identity_has_gone_is_success(self, environment: Environment, greenfield: bool) -> None:
        tenant = environment.tenant(greenfield=greenfield)
        environment.administrator.remove_identity(tenant.record)
        environment.revoke(tenant.record)
        assert environment.read(environment.administrator.application(), tenant.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )

    @both_kinds
    def test_revoking_by_the_record_of_an_unfinished_call_shuts_out(
        self, environment: Environment, greenfield: bool
    ) -> None:
        tenant = environment.tenant(greenfield=greenfield)
        assert_works(tenant)
        environment.revoke(builders.intent(tenant.request, greenfield=greenfield))
        assert_shut_out(tenant)

    def test_a_retained_bucket_is_taken_up_again_by_its_owner(self, environment: Environment) -> None:
        first = environment.tenant(greenfield=True)
        environment.revoke(first.record)
        second = environment.bind(first.request, greenfield=True)
        assert environment.read(second.application, second.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )
        assert_shut_out(first)

    def test_deleting_removes_bucket_objects_and_identity(self, environment: Environment) -> None:
        tenant = environment.tenant(greenfield=True)
        assert environment.administrator.bucket_exists(tenant.bucket), "the bucket is gone, and should be there"
        environment.delete(tenant.record)
        assert not environment.administrator.bucket_exists(tenant.bucket), "the bucket is still there"
        assert not environment.administrator.identity_exists(tenant.record), "the claim's identity is still there"

    def test_deleting_shuts_out_even_from_a_new_bucket_of_that_name(self, environment: Environment) -> None:
        environment.needs(Ability.REUSED_NAMES)
        tenant = environment.tenant(greenfield=True)
        environment.delete(tenant.record)
        environment.administrator.make_bucket(tenant.bucket)
        environment.put(tenant.bucket)
        assert_shut_out(tenant)
        assert environment.read(environment.administrator.application(), tenant.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )

    def test_deleting_leaves_the_other_tenant_alone(self, environment: Environment) -> None:
        leaving, staying = environment.tenant(greenfield=True), environment.tenant(greenfield=True)
        environment.delete(leaving.record)
        assert not environment.administrator.bucket_exists(leaving.bucket), "the bucket is still there"
        assert environment.read(staying.application, staying.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )
        assert_works(staying)

    def test_deleting_again_is_success(self, environment: Environment) -> None:
        tenant = environment.tenant(greenfield=True)
        environment.delete(tenant.record)
        environment.delete(tenant.record)
        assert not environment.administrator.bucket_exists(tenant.bucket), "the bucket is still there"

    def test_deleting_after_the_bucket_has_gone_removes_the_identity(self, environment: Environment) -> None:
        tenant = environment.tenant(greenfield=True)
        environment.administrator.purge_bucket(tenant.bucket)
        assert environment.administrator.identity_exists(tenant.record) == environment.can(Ability.IDENTITY_APART), (
            "Ability.IDENTITY_APART is declared wrongly"
        )
        environment.delete(tenant.record)
        assert not environment.administrator.identity_exists(tenant.record), "the claim's identity is still there"

    def test_deleting_after_the_identity_has_gone_removes_the_bucket(self, environment: Environment) -> None:
        tenant = environment.tenant(greenfield=True)
        environment.administrator.remove_identity(tenant.record)
        environment.delete(tenant.record)
        assert not environment.administrator.bucket_exists(tenant.bucket), "the bucket is still there"

    def test_deleting_by_the_record_of_an_unfinished_call_removes_all_of_it(self, environment: Environment) -> None:
        tenant = environment.tenant(greenfield=True)
        environment.delete(builders.intent(tenant.request))
        assert not environment.administrator.bucket_exists(tenant.bucket), "the bucket is still there"
        assert not environment.administrator.identity_exists(tenant.record), "the claim's identity is still there"

    def test_deleting_what_was_never_begun_is_success(self, environment: Environment) -> None:
        begun, never = environment.greenfield(), environment.request()
        environment.delete(builders.intent(never))
        assert not environment.administrator.bucket_exists(never.bucket_name), "the bucket is still there"
        assert_works(begun)

    def test_deleting_empties_a_bucket_of_thousands_of_objects(self, environment: Environment) -> None:
        environment.needs(Ability.OBJECTS)
        tenant = environment.greenfield()
        environment.fill(tenant.bucket, environment.backend.many_objects)
        assert len(tenant.application.list_keys(tenant.bucket)) == environment.backend.many_objects, (
            "the bucket was not filled"
        )
        environment.delete(tenant.record)
        assert not environment.administrator.bucket_exists(tenant.bucket), "the bucket is still there"

    def test_deleting_removes_older_versions_and_delete_markers(self, environment: Environment) -> None:
        environment.needs(Ability.VERSIONS)
        tenant = environment.greenfield()
        environment.administrator.enable_versioning(tenant.bucket)
        for content in (b"first", b"second"):
            tenant.application.put(tenant.bucket, "rewritten", content)
            tenant.application.put(tenant.bucket, "deleted", content)
        tenant.application.delete(tenant.bucket, "deleted")
        tenant.application.delete(tenant.bucket, "rewritten")
        assert tenant.application.list_keys(tenant.bucket) == [], "the objects were not deleted"
        markers = 1 if environment.can(Ability.DELETE_MARKERS) else 0
        assert environment.administrator.stored_versions(tenant.bucket) == 2 * (2 + markers), "of each of two keys"
        environment.delete(tenant.record)
        assert not environment.administrator.bucket_exists(tenant.bucket), "the bucket is still there"

    def test_deleting_removes_unfinished_uploads(self, environment: Environment) -> None:
        environment.needs(Ability.MULTIPART)
        tenant = environment.greenfield()
        for key in ("first", "second"):
            tenant.application.start_multipart(tenant.bucket, key)
        assert environment.administrator.unfinished_uploads(tenant.bucket) == 2, (
            "the uploads that were begun are not there"
        )
        environment.delete(tenant.record)
        assert not environment.administrator.bucket_exists(tenant.bucket), "the bucket is still there"
        if environment.can(Ability.REUSED_NAMES):
            environment.administrator.make_bucket(tenant.bucket)
            assert environment.administrator.unfinished_uploads(tenant.bucket) == 0, (
                "unfinished uploads came back with a new bucket of that name"
            )
