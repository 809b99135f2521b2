# ruff: noqa: D102 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about whose bucket it is: naming a bucket never grants access to it, and nothing foreign is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from libbucket.errors import BucketExists, InvalidClaim
from libbucket.testing import builders
from libbucket.testing.conformance.backend import Ability
from libbucket.testing.conformance.world import CONTENT, OBJECT, Guarantees, World, assert_works


class Ownership(Guarantees):
    """Ownership tags decide."""

    def test_a_bucket_that_exists_without_a_stamp_is_refused_and_not_touched(self, world: World) -> None:
        bucket = world.foreign_bucket()
        before = _everything(world, bucket)
        with pytest.raises(BucketExists):
            world.greenfield(world.request(bucket=bucket))
        assert _everything(world, bucket) == before
        assert_works(world.greenfield(world.request()))

    def test_a_bucket_of_another_claim_is_refused_and_its_owner_stays_in(self, world: World) -> None:
        owner = world.tenant(greenfield=True)
        before = _everything(world, owner.bucket)
        thief = world.request(bucket=owner.bucket)
        with pytest.raises(BucketExists):
            world.greenfield(thief)
        assert _everything(world, owner.bucket) == before
        assert_works(world.again(owner))

    def test_a_claim_made_again_under_the_same_name_is_another_owner(self, world: World) -> None:
        first = world.tenant(greenfield=True)
        second = world.request(bucket=first.bucket)
        owner = replace(first.request.owner, uid=second.owner.uid)
        with pytest.raises(BucketExists):
            world.greenfield(replace(second, owner=owner))
        assert_works(world.again(first))

    def test_a_claim_of_another_cluster_is_another_owner(self, world: World) -> None:
        first = world.tenant(greenfield=True)
        elsewhere = replace(first.request.owner, cluster_id="another-cluster")
        with pytest.raises(BucketExists):
            world.greenfield(replace(first.request, owner=elsewhere))
        assert_works(world.again(first))

    def test_a_bucket_without_a_stamp_is_never_deleted(self, world: World) -> None:
        bucket = world.foreign_bucket()
        before = _everything(world, bucket)
        record = builders.intent(world.request(bucket=bucket))
        with pytest.raises(BucketExists):
            world.delete(record)
        assert world.administrator.bucket_exists(bucket)
        assert _everything(world, bucket) == before
        own = world.tenant(greenfield=True)
        world.delete(own.record)
        assert not world.administrator.bucket_exists(own.bucket)

    def test_a_bucket_of_another_claim_is_never_deleted(self, world: World) -> None:
        owner = world.tenant(greenfield=True)
        before = _everything(world, owner.bucket)
        thief = world.request(bucket=owner.bucket)
        with pytest.raises(BucketExists):
            world.delete(builders.intent(thief))
        assert _everything(world, owner.bucket) == before
        assert owner.application.get(owner.bucket, OBJECT) == CONTENT
        world.delete(owner.record)
        assert not world.administrator.bucket_exists(owner.bucket)

    def test_a_claim_that_was_refused_a_bucket_leaves_its_owner_alone_when_it_is_revoked(self, world: World) -> None:
        owner = world.tenant(greenfield=True)
        thief = world.request(bucket=owner.bucket)
        with pytest.raises(BucketExists):
            world.greenfield(thief)
        world.revoke(builders.intent(thief))
        assert owner.application.get(owner.bucket, OBJECT) == CONTENT
        assert_works(world.again(owner))

    def test_a_claim_that_was_refused_a_bucket_gets_another_by_another_name(self, world: World) -> None:
        request = world.request(bucket=world.foreign_bucket())
        with pytest.raises(BucketExists):
            world.greenfield(request)
        assert_works(world.greenfield(replace(request, bucket_name=world.new_name())))

    def test_a_bucket_that_another_program_made_for_the_claim_is_taken_over_and_stamped(self, world: World) -> None:
        world.needs(Ability.TAKEOVER)
        request = replace(world.request(bucket=world.foreign_bucket()), taken_over=True)
        first = world.greenfield(request)
        assert first.application.get(first.bucket, OBJECT) == CONTENT
        later = world.bind(replace(request, taken_over=False), greenfield=True)
        assert_works(later)
        world.delete(later.record)
        assert not world.administrator.bucket_exists(later.bucket)

    def test_a_bucket_of_another_claim_is_never_taken_over(self, world: World) -> None:
        owner = world.tenant(greenfield=True)
        before = _everything(world, owner.bucket)
        thief = replace(world.request(bucket=owner.bucket), taken_over=True)
        with pytest.raises(BucketExists):
            world.greenfield(thief)
        with pytest.raises(BucketExists):
            world.delete(replace(builders.intent(thief), taken_over=True))
        assert _everything(world, owner.bucket) == before
        assert_works(world.again(owner))

    def test_a_bucket_that_was_to_be_taken_over_is_deleted_with_its_claim(self, world: World) -> None:
        world.needs(Ability.TAKEOVER)
        request = world.request(bucket=world.foreign_bucket())
        world.delete(replace(builders.intent(request), taken_over=True))
        assert not world.administrator.bucket_exists(request.bucket_name)
        world.delete(replace(builders.intent(request), taken_over=True))

    def test_a_name_that_no_store_takes_is_refused_and_its_claim_can_be_deleted(self, world: World) -> None:
        request = world.request(bucket="../No_Bucket/Has..This Name")
        with pytest.raises(InvalidClaim):
            world.greenfield(request)
        world.delete(builders.intent(request))
        assert not world.administrator.identity_exists(builders.intent(request))
        assert_works(world.greenfield(replace(request, bucket_name=world.new_name())))


def _everything(world: World, bucket: str) -> object:
    """What must not change on a bucket of another owner."""
    application = world.administrator.application()
    objects = {key: application.get(bucket, key) for key in application.list_keys(bucket)}
    return objects, world.administrator.settings(bucket)
