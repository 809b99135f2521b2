# ruff: noqa: D102 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about whose bucket it is: naming a bucket never grants access to it, and nothing foreign is touched."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from libbucket.errors import BucketExists, InvalidClaim
from libbucket.provisioner import BucketLister
from libbucket.testing import builders
from libbucket.testing.conformance.backend import Ability
from libbucket.testing.conformance.environment import CONTENT, Environment, Guarantees, assert_works, raises

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket.provisioner import Provisioner
    from libbucket.types import BucketOptions

_MOST_REQUESTS: Final = 60


class Ownership(Guarantees):
    """Ownership tags decide."""

    def test_a_bucket_that_exists_without_tags_is_refused_and_not_touched(self, environment: Environment) -> None:
        bucket = environment.foreign_bucket()
        before = _everything(environment, bucket)
        with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
            environment.greenfield(environment.request(bucket=bucket))
        assert _everything(environment, bucket) == before, "a bucket of another owner, or what is in it, was changed"
        assert_works(environment.greenfield(environment.request()))

    def test_a_bucket_of_another_claim_is_refused_and_its_owner_stays_in(self, environment: Environment) -> None:
        owner = environment.tenant(greenfield=True)
        before = _everything(environment, owner.bucket)
        thief = environment.request(bucket=owner.bucket)
        with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
            environment.greenfield(thief)
        assert _everything(environment, owner.bucket) == before, (
            "a bucket of another owner, or what is in it, was changed"
        )
        assert_works(environment.again(owner))

    def test_a_claim_made_again_under_the_same_name_is_another_owner(self, environment: Environment) -> None:
        first = environment.tenant(greenfield=True)
        second = environment.request(bucket=first.bucket)
        owner = replace(first.request.owner, uid=second.owner.uid)
        claim = replace(first.request.claim, uid=second.owner.uid)
        second = replace(second, owner=owner, claim=claim)
        with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
            environment.greenfield(second)
        assert_works(environment.again(first))

    def test_a_claim_of_another_cluster_is_another_owner(self, environment: Environment) -> None:
        first = environment.tenant(greenfield=True)
        elsewhere = replace(first.request.owner, cluster_id="another-cluster")
        with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
            environment.greenfield(replace(first.request, owner=elsewhere))
        assert_works(environment.again(first))

    def test_a_bucket_without_tags_is_never_deleted(self, environment: Environment) -> None:
        bucket = environment.foreign_bucket()
        before = _everything(environment, bucket)
        record = builders.intent(environment.request(bucket=bucket))
        with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
            environment.delete(record)
        assert environment.administrator.bucket_exists(bucket), "the bucket is gone, and should be there"
        assert _everything(environment, bucket) == before, "a bucket of another owner, or what is in it, was changed"
        own = environment.tenant(greenfield=True)
        environment.delete(own.record)
        assert not environment.administrator.bucket_exists(own.bucket), "the bucket is still there"

    def test_a_bucket_of_another_claim_is_never_deleted(self, environment: Environment) -> None:
        owner = environment.tenant(greenfield=True)
        before = _everything(environment, owner.bucket)
        thief = environment.request(bucket=owner.bucket)
        with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
            environment.delete(builders.intent(thief))
        assert _everything(environment, owner.bucket) == before, (
            "a bucket of another owner, or what is in it, was changed"
        )
        assert environment.read(owner.application, owner.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )
        environment.delete(owner.record)
        assert not environment.administrator.bucket_exists(owner.bucket), "the bucket is still there"

    def test_a_claim_that_was_refused_a_bucket_leaves_its_owner_alone_when_it_is_revoked(
        self, environment: Environment
    ) -> None:
        owner = environment.tenant(greenfield=True)
        thief = environment.request(bucket=owner.bucket)
        with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
            environment.greenfield(thief)
        environment.revoke(builders.intent(thief))
        assert environment.read(owner.application, owner.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )
        assert_works(environment.again(owner))

    def test_a_claim_that_was_refused_a_bucket_gets_another_by_another_name(self, environment: Environment) -> None:
        request = environment.request(bucket=environment.foreign_bucket())
        with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
            environment.greenfield(request)
        assert_works(environment.greenfield(replace(request, bucket_name=environment.new_name())))

    def test_a_bucket_that_another_program_made_for_the_claim_is_taken_over_and_tagged(
        self, environment: Environment
    ) -> None:
        environment.needs(Ability.TAKEOVER)
        request = replace(environment.request(bucket=environment.foreign_bucket()), taken_over=True)
        first = environment.greenfield(request)
        assert environment.read(first.application, first.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )
        later = environment.bind(replace(request, taken_over=False), greenfield=True)
        assert_works(later)
        environment.delete(later.record)
        assert not environment.administrator.bucket_exists(later.bucket), "the bucket is still there"

    def test_a_bucket_of_another_claim_is_never_taken_over(self, environment: Environment) -> None:
        owner = environment.tenant(greenfield=True)
        before = _everything(environment, owner.bucket)
        thief = replace(environment.request(bucket=owner.bucket), taken_over=True)
        with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
            environment.greenfield(thief)
        with raises(BucketExists, "a bucket that is not this claim's was used or deleted"):
            environment.delete(replace(builders.intent(thief), taken_over=True))
        assert _everything(environment, owner.bucket) == before, (
            "a bucket of another owner, or what is in it, was changed"
        )
        assert_works(environment.again(owner))

    def test_a_bucket_that_was_to_be_taken_over_is_deleted_with_its_claim(self, environment: Environment) -> None:
        environment.needs(Ability.TAKEOVER)
        request = environment.request(bucket=environment.foreign_bucket())
        environment.delete(replace(builders.intent(request), taken_over=True))
        assert not environment.administrator.bucket_exists(request.bucket_name), "the bucket is still there"
        environment.delete(replace(builders.intent(request), taken_over=True))

    def test_of_two_claims_that_want_one_bucket_at_once_only_one_gets_it(self, environment: Environment) -> None:
        for number in range(1, _MOST_REQUESTS):
            name = environment.new_name()
            first, second = environment.request(bucket=name), environment.request(bucket=name)
            between = _Between(number, partial(_bound, environment, second, environment.provisioner))
            is_first = _bound(environment, first, environment.backend.fenced(between))
            if between.outcome is None:
                assert number > 1, "provision never asks for leadership"
                return  # it sent fewer requests than this
            assert not (is_first and between.outcome), (
                f"both claims got bucket {name}, at request {number} of the first"
            )
            assert is_first or between.outcome, "neither claim got the bucket"
        pytest.fail(f"provision sends more than {_MOST_REQUESTS} requests")

    def test_a_list_of_buckets_has_those_with_ownership_tags_and_no_others(self, environment: Environment) -> None:
        """A provisioner that lists buckets names each that has ownership tags, with its tags, and none without them."""
        provisioner = environment.provisioner
        if not isinstance(provisioner, BucketLister):
            pytest.skip("this provisioner does not list buckets")
        owner, foreign = environment.tenant(greenfield=True), environment.foreign_bucket()
        listed = dict(provisioner.list_buckets(environment.backend.parameters))
        assert owner.bucket in listed, "the bucket of a claim is not listed"
        assert owner.request.owner.matches(listed[owner.bucket]), "the bucket is listed with other tags than it has"
        assert foreign not in listed, "a bucket without ownership tags is listed"
        environment.delete(owner.record)
        assert owner.bucket not in dict(provisioner.list_buckets(environment.backend.parameters)), (
            "a bucket that was deleted is listed"
        )

    def test_a_name_that_no_store_takes_is_refused_and_its_claim_can_be_deleted(self, environment: Environment) -> None:
        request = environment.request(bucket="../No_Bucket/Has..This Name")
        with raises(InvalidClaim, "a name that no store takes was accepted"):
            environment.greenfield(request)
        environment.delete(builders.intent(request))
        assert not environment.administrator.identity_exists(builders.intent(request)), (
            "the claim's identity is still there"
        )
        assert_works(environment.greenfield(replace(request, bucket_name=environment.new_name())))


class _Between:
    """A request hook that has something done before one request.

    Args:
        number: of the request, counted from 1.
        action: what is done.

    Attributes:
        outcome: of the action; None before it was done.
    """

    def __init__(self, number: int, action: Callable[[], bool]) -> None:
        self.outcome: bool | None = None
        self._left, self._action = number, action

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.outcome = self._action()


def _bound(environment: Environment, request: BucketOptions, by: Provisioner) -> bool:
    """Whether a claim is bound in the end; the only other end is that the bucket is another's."""
    try:
        environment.patiently(by.provision, request)
    except BucketExists:
        return False
    return True


def _everything(environment: Environment, bucket: str) -> object:
    """What must not change on a bucket of another owner."""
    application = environment.administrator.application()
    if not environment.can(Ability.OBJECTS):
        return environment.administrator.settings(bucket)
    objects = {key: application.get(bucket, key) for key in application.list_keys(bucket)}
    return objects, environment.administrator.settings(bucket)
