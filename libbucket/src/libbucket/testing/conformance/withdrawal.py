# ruff: noqa: D102, FBT001 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about `revoke` and `delete`: credentials stop working, and exactly what should go is gone."""

from __future__ import annotations

import pytest

from libbucket.testing import builders
from libbucket.testing.conformance.backend import Ability
from libbucket.testing.conformance.operations import OPERATIONS, Operation
from libbucket.testing.conformance.world import (
    CONTENT,
    OBJECT,
    Guarantees,
    World,
    assert_refused,
    assert_shut_out,
    assert_works,
)

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=str)
both_kinds = pytest.mark.parametrize("greenfield", [True, False], ids=["greenfield", "brownfield"])


class Withdrawal(Guarantees):
    """A claim ends."""

    @both_kinds
    @each_operation
    def test_withdrawn_credentials_are_refused_though_bucket_and_data_stay(
        self, world: World, operation: Operation, greenfield: bool
    ) -> None:
        world.needs(operation.ability)
        tenant = world.tenant(greenfield=greenfield)
        tenant.application.put(tenant.bucket, "other", CONTENT)
        assert tenant.application.get(tenant.bucket, "other") == CONTENT
        world.revoke(tenant.record)
        assert_refused(
            f"{operation} with withdrawn credentials",
            lambda: operation.attempt(tenant.application, tenant.bucket, tenant.bucket),
        )
        administrator = world.administrator.application()
        assert administrator.get(tenant.bucket, OBJECT) == CONTENT
        assert administrator.list_keys(tenant.bucket) == sorted([OBJECT, "other"])
        operation.attempt(administrator, tenant.bucket, tenant.bucket)

    @both_kinds
    def test_a_withdrawn_identity_is_gone(self, world: World, greenfield: bool) -> None:
        tenant = world.tenant(greenfield=greenfield)
        assert world.administrator.identity_exists(tenant.record)
        world.revoke(tenant.record)
        assert not world.administrator.identity_exists(tenant.record)

    @both_kinds
    def test_revoking_changes_nothing_about_the_bucket(self, world: World, greenfield: bool) -> None:
        tenant = world.tenant(greenfield=greenfield)
        before = world.administrator.settings(tenant.bucket)
        world.revoke(tenant.record)
        assert world.administrator.settings(tenant.bucket) == before
        assert_shut_out(tenant)

    def test_revoking_one_grant_leaves_the_others_in(self, world: World) -> None:
        bucket = world.foreign_bucket()
        leaving, staying = world.brownfield(bucket), world.brownfield(bucket)
        world.revoke(leaving.record)
        assert_shut_out(leaving)
        assert_works(staying)

    @both_kinds
    def test_revoking_again_is_success(self, world: World, greenfield: bool) -> None:
        tenant = world.tenant(greenfield=greenfield)
        world.revoke(tenant.record)
        world.revoke(tenant.record)
        assert_shut_out(tenant)
        assert world.administrator.application().get(tenant.bucket, OBJECT) == CONTENT

    @both_kinds
    def test_revoking_after_the_bucket_has_gone_removes_the_identity(self, world: World, greenfield: bool) -> None:
        tenant = world.tenant(greenfield=greenfield)
        world.administrator.purge_bucket(tenant.bucket)
        assert world.administrator.identity_exists(tenant.record) == world.can(Ability.IDENTITY_APART)
        world.revoke(tenant.record)
        assert not world.administrator.identity_exists(tenant.record)

    @both_kinds
    def test_revoking_after_the_identity_has_gone_is_success(self, world: World, greenfield: bool) -> None:
        tenant = world.tenant(greenfield=greenfield)
        world.administrator.remove_identity(tenant.record)
        world.revoke(tenant.record)
        assert world.administrator.application().get(tenant.bucket, OBJECT) == CONTENT

    @both_kinds
    def test_revoking_by_the_record_of_an_unfinished_call_shuts_out(self, world: World, greenfield: bool) -> None:
        tenant = world.tenant(greenfield=greenfield)
        assert_works(tenant)
        world.revoke(builders.intent(tenant.request, greenfield=greenfield))
        assert_shut_out(tenant)

    def test_a_retained_bucket_is_taken_up_again_by_its_owner(self, world: World) -> None:
        first = world.tenant(greenfield=True)
        world.revoke(first.record)
        second = world.bind(first.request, greenfield=True)
        assert second.application.get(second.bucket, OBJECT) == CONTENT
        assert_shut_out(first)

    def test_deleting_removes_bucket_objects_and_identity(self, world: World) -> None:
        tenant = world.tenant(greenfield=True)
        assert world.administrator.bucket_exists(tenant.bucket)
        world.delete(tenant.record)
        assert not world.administrator.bucket_exists(tenant.bucket)
        assert not world.administrator.identity_exists(tenant.record)

    def test_deleting_shuts_out_even_from_a_new_bucket_of_that_name(self, world: World) -> None:
        world.needs(Ability.REUSED_NAMES)
        tenant = world.tenant(greenfield=True)
        world.delete(tenant.record)
        world.administrator.make_bucket(tenant.bucket)
        world.administrator.application().put(tenant.bucket, OBJECT, CONTENT)
        assert_shut_out(tenant)
        assert world.administrator.application().get(tenant.bucket, OBJECT) == CONTENT

    def test_deleting_leaves_the_neighbour_alone(self, world: World) -> None:
        leaving, staying = world.tenant(greenfield=True), world.tenant(greenfield=True)
        world.delete(leaving.record)
        assert not world.administrator.bucket_exists(leaving.bucket)
        assert staying.application.get(staying.bucket, OBJECT) == CONTENT
        assert_works(staying)

    def test_deleting_again_is_success(self, world: World) -> None:
        tenant = world.tenant(greenfield=True)
        world.delete(tenant.record)
        world.delete(tenant.record)
        assert not world.administrator.bucket_exists(tenant.bucket)

    def test_deleting_after_the_bucket_has_gone_removes_the_identity(self, world: World) -> None:
        tenant = world.tenant(greenfield=True)
        world.administrator.purge_bucket(tenant.bucket)
        assert world.administrator.identity_exists(tenant.record) == world.can(Ability.IDENTITY_APART)
        world.delete(tenant.record)
        assert not world.administrator.identity_exists(tenant.record)

    def test_deleting_after_the_identity_has_gone_removes_the_bucket(self, world: World) -> None:
        tenant = world.tenant(greenfield=True)
        world.administrator.remove_identity(tenant.record)
        world.delete(tenant.record)
        assert not world.administrator.bucket_exists(tenant.bucket)

    def test_deleting_by_the_record_of_an_unfinished_call_removes_all_of_it(self, world: World) -> None:
        tenant = world.tenant(greenfield=True)
        world.delete(builders.intent(tenant.request))
        assert not world.administrator.bucket_exists(tenant.bucket)
        assert not world.administrator.identity_exists(tenant.record)

    def test_deleting_what_was_never_begun_is_success(self, world: World) -> None:
        begun, never = world.greenfield(), world.request()
        world.delete(builders.intent(never))
        assert not world.administrator.bucket_exists(never.bucket_name)
        assert_works(begun)

    def test_deleting_empties_a_bucket_of_thousands_of_objects(self, world: World) -> None:
        tenant = world.greenfield()
        world.fill(tenant.bucket, world.backend.many_objects)
        assert len(tenant.application.list_keys(tenant.bucket)) == world.backend.many_objects
        world.delete(tenant.record)
        assert not world.administrator.bucket_exists(tenant.bucket)

    def test_deleting_removes_older_versions_and_delete_markers(self, world: World) -> None:
        world.needs(Ability.VERSIONS)
        tenant = world.greenfield()
        world.administrator.enable_versioning(tenant.bucket)
        for content in (b"first", b"second"):
            tenant.application.put(tenant.bucket, "rewritten", content)
            tenant.application.put(tenant.bucket, "deleted", content)
        tenant.application.delete(tenant.bucket, "deleted")
        tenant.application.delete(tenant.bucket, "rewritten")
        assert tenant.application.list_keys(tenant.bucket) == []
        markers = 1 if world.can(Ability.DELETE_MARKERS) else 0
        assert world.administrator.stored_versions(tenant.bucket) == 2 * (2 + markers), "of each of two keys"
        world.delete(tenant.record)
        assert not world.administrator.bucket_exists(tenant.bucket)

    def test_deleting_removes_unfinished_uploads(self, world: World) -> None:
        world.needs(Ability.MULTIPART)
        tenant = world.greenfield()
        for key in ("first", "second"):
            tenant.application.start_multipart(tenant.bucket, key)
        assert world.administrator.unfinished_uploads(tenant.bucket) == 2
        world.delete(tenant.record)
        assert not world.administrator.bucket_exists(tenant.bucket)
        if world.can(Ability.REUSED_NAMES):
            world.administrator.make_bucket(tenant.bucket)
            assert world.administrator.unfinished_uploads(tenant.bucket) == 0
