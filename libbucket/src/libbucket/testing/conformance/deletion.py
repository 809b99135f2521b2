# ruff: noqa: D102 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about deletion that is safe: only what is empty, step by step, and a bucket that is released."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest

from libbucket.errors import BucketExists, BucketNotEmpty
from libbucket.testing import builders
from libbucket.testing.conformance.backend import Ability
from libbucket.testing.conformance.environment import (
    CONTENT,
    OBJECT,
    Environment,
    Guarantees,
    assert_shut_out,
    assert_works,
    raises,
)

_STEPS = 100
_SEVERAL_BATCHES = 1200


class Deletion(Guarantees):
    """What is not to be lost is not."""

    def test_deleting_what_is_empty_removes_bucket_and_identity(self, environment: Environment) -> None:
        tenant = environment.greenfield()
        environment.delete_empty(tenant.record)
        assert not environment.administrator.bucket_exists(tenant.bucket), "the bucket is still there"
        assert not environment.administrator.identity_exists(tenant.record), "the claim's identity is still there"
        environment.delete_empty(tenant.record)

    def test_deleting_what_is_empty_leaves_a_bucket_with_an_object_and_its_credentials_alone(
        self, environment: Environment
    ) -> None:
        environment.needs(Ability.OBJECTS)
        tenant = environment.tenant(greenfield=True)
        before = environment.administrator.settings(tenant.bucket)
        with raises(BucketNotEmpty, "a bucket that holds something was deleted"):
            environment.delete_empty(tenant.record)
        assert environment.administrator.settings(tenant.bucket) == before, "settings of the bucket were changed"
        assert environment.read(tenant.application, tenant.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )
        assert_works(tenant)

    def test_what_its_owner_has_emptied_can_be_deleted(self, environment: Environment) -> None:
        environment.needs(Ability.OBJECTS)
        tenant = environment.tenant(greenfield=True)
        with raises(BucketNotEmpty, "a bucket that holds something was deleted"):
            environment.delete_empty(tenant.record)
        tenant.application.delete(tenant.bucket, OBJECT)
        environment.delete_empty(tenant.record)
        assert not environment.administrator.bucket_exists(tenant.bucket), "the bucket is still there"
        assert not environment.administrator.identity_exists(tenant.record), "the claim's identity is still there"

    def test_older_versions_are_not_nothing(self, environment: Environment) -> None:
        environment.needs(Ability.VERSIONS)
        tenant = environment.greenfield()
        environment.administrator.enable_versioning(tenant.bucket)
        tenant.application.put(tenant.bucket, OBJECT, CONTENT)
        tenant.application.delete(tenant.bucket, OBJECT)
        assert tenant.application.list_keys(tenant.bucket) == [], "the objects were not deleted"
        stored = environment.administrator.stored_versions(tenant.bucket)
        with raises(BucketNotEmpty, "a bucket that holds something was deleted"):
            environment.delete_empty(tenant.record)
        assert environment.administrator.stored_versions(tenant.bucket) == stored > 0, (
            "versions were removed, or there were none"
        )

    def test_unfinished_uploads_are_not_nothing(self, environment: Environment) -> None:
        environment.needs(Ability.MULTIPART, Ability.LISTED_UPLOADS)
        tenant = environment.greenfield()
        tenant.application.start_multipart(tenant.bucket, OBJECT)
        with raises(BucketNotEmpty, "a bucket that holds something was deleted"):
            environment.delete_empty(tenant.record)
        assert environment.administrator.unfinished_uploads(tenant.bucket) == 1, (
            "the uploads that were begun are not there"
        )

    def test_deleting_what_is_empty_after_the_bucket_has_gone_removes_the_identity(
        self, environment: Environment
    ) -> None:
        tenant = environment.greenfield()
        environment.administrator.purge_bucket(tenant.bucket)
        environment.delete_empty(tenant.record)
        assert not environment.administrator.identity_exists(tenant.record), "the claim's identity is still there"

    def test_deleting_what_is_empty_by_the_record_of_an_unfinished_call_removes_all_of_it(
        self, environment: Environment
    ) -> None:
        tenant, never = environment.greenfield(), environment.request()
        environment.delete_empty(builders.intent(tenant.request))
        environment.delete_empty(builders.intent(never))
        assert not environment.administrator.bucket_exists(tenant.bucket), "the bucket is still there"
        assert not environment.administrator.identity_exists(tenant.record), "the claim's identity is still there"

    def test_a_bucket_of_another_claim_is_not_read_before_it_is_refused(self, environment: Environment) -> None:
        owner, holder = environment.greenfield(), environment.tenant(greenfield=True)
        for tenant in (owner, holder):
            thief = environment.request(bucket=tenant.bucket)
            with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
                environment.delete_empty(builders.intent(thief))
            assert_works(environment.again(tenant))

    def test_a_purge_is_done_in_steps_and_goes_on_where_it_was(self, environment: Environment) -> None:
        environment.needs(Ability.OBJECTS)
        stepwise = environment.backend.stepwise_provisioner()
        if stepwise is None:
            pytest.skip("this store removes a bucket with everything in it at once")
        tenant, left = environment.greenfield(), min(environment.backend.many_objects, _SEVERAL_BATCHES)
        environment.fill(tenant.bucket, left)
        administrator = environment.administrator.application()
        removed = environment.delete_step(tenant.record, by=stepwise)
        assert 0 < removed < left, "one step removed nothing, or everything"
        assert_shut_out(tenant)
        assert len(administrator.list_keys(tenant.bucket)) == left - removed, (
            "the number that was reported is not what was removed"
        )
        steps = iter(lambda: environment.delete_step(tenant.record, by=stepwise), 0)
        removed += sum(islice(steps, _STEPS))
        assert removed <= left, "more objects are reported as removed than there were"
        assert not environment.administrator.bucket_exists(tenant.bucket), "the bucket is still there"

    def test_a_bucket_that_a_later_claim_of_its_name_gets_back_keeps_its_data_and_no_other_claims_keys(
        self, environment: Environment
    ) -> None:
        first = environment.tenant(greenfield=True)
        environment.revoke(first.record)
        request = environment.later_request(first)
        second = environment.greenfield(request)
        assert environment.read(second.application, second.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )
        assert_works(second)
        assert_shut_out(first)
        own = replace(request, owner=replace(request.owner, earlier_uids=()))
        assert_works(environment.bind(own, greenfield=True))
        with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
            environment.delete(first.record)
        environment.delete(builders.recorded(second.answer, own))
        assert not environment.administrator.bucket_exists(second.bucket), "the bucket is still there"

    def test_a_bucket_is_given_back_to_no_claim_whose_record_does_not_prove_it(self, environment: Environment) -> None:
        first = environment.tenant(greenfield=True)
        environment.revoke(first.record)
        request = environment.later_request(first)
        for owner in (
            replace(request.owner, earlier_uids=("another-uid",)),
            replace(request.owner, cluster_id="another-cluster"),
        ):
            with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
                environment.greenfield(replace(request, owner=owner))
            with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
                environment.delete(builders.intent(replace(request, owner=owner)))
        assert_works(environment.greenfield(request))

    def test_a_bucket_of_another_cluster_is_adopted_only_if_the_record_names_its_claim_and_cluster(
        self, environment: Environment
    ) -> None:
        first = environment.tenant(greenfield=True)
        # The cluster is lost with everything in it: nothing was revoked.
        of, cluster = environment.later_request(first), first.request.owner.cluster_id
        proven = replace(of.owner, cluster_id="rebuilt-cluster", earlier_clusters=(cluster,))
        request = replace(of, owner=proven, was_bound=True)
        for owner in (
            replace(proven, earlier_clusters=()),
            replace(proven, earlier_clusters=("another-cluster",)),
            replace(proven, earlier_uids=("another-uid",)),
        ):
            with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
                environment.greenfield(replace(request, owner=owner))
        second = environment.greenfield(request)
        assert environment.read(second.application, second.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )
        own = replace(request, owner=replace(proven, earlier_uids=(), earlier_clusters=()))
        assert_works(environment.bind(own, greenfield=True))

    def test_a_bucket_that_was_to_be_given_back_is_deleted_with_its_claim(self, environment: Environment) -> None:
        first, second = environment.tenant(greenfield=True), environment.greenfield()
        for tenant in (first, second):
            environment.revoke(tenant.record)
        environment.delete(builders.intent(environment.later_request(first)))
        assert not environment.administrator.bucket_exists(first.bucket), "the bucket is still there"
        environment.delete_empty(builders.intent(environment.later_request(second)))
        assert not environment.administrator.bucket_exists(second.bucket), "the bucket is still there"
