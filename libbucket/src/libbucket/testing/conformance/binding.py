# ruff: noqa: D102, FBT001 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about `provision` and `grant`: what they answer, and that every call is idempotent."""

from __future__ import annotations

import traceback
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from libbucket.errors import BucketLost, BucketNotFound, ProvisionerError, RetrySoon
from libbucket.testing import builders
from libbucket.testing.conformance.backend import Ability
from libbucket.testing.conformance.world import (
    CONTENT,
    OBJECT,
    Guarantees,
    World,
    assert_refused,
    assert_shut_out,
    assert_works,
)
from libbucket.types import Authentication

if TYPE_CHECKING:
    from collections.abc import Callable

both_kinds = pytest.mark.parametrize("greenfield", [True, False], ids=["greenfield", "brownfield"])


class Binding(Guarantees):
    """A claim becomes bound, and stays bound."""

    @both_kinds
    def test_the_answer_has_what_an_application_needs(self, world: World, greenfield: bool) -> None:
        tenant = world.tenant(greenfield=greenfield)
        assert tenant.bucket == tenant.request.bucket_name
        assert_works(tenant)

    def test_the_host_is_a_bare_name_and_the_port_a_port(self, world: World) -> None:
        endpoint = world.greenfield().answer.connection.endpoint
        assert endpoint.bucket_host, "BUCKET_HOST is empty"
        assert not set("/:@ ") & set(endpoint.bucket_host), "BUCKET_HOST is a bare host name without scheme or port"
        assert 0 <= endpoint.bucket_port < 65536, "0 only where the store is not reached over a network"

    @both_kinds
    def test_no_secret_is_in_what_everybody_may_read(self, world: World, greenfield: bool) -> None:
        tenant = world.tenant(greenfield=greenfield)
        secrets = _secrets(tenant.credentials)
        hidden = {name: value for name, value in secrets.items() if name not in world.backend.capabilities.public_data}
        assert hidden, "the answer has a secret that could leak"
        assert not [name for name, value in hidden.items() if value in repr(tenant.answer)]

    def test_no_error_and_no_log_line_holds_a_secret(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        tenant = world.tenant(greenfield=True)
        secrets = [*world.backend.secrets, *_secrets(tenant.credentials).values()]
        secrets = [each for each in secrets if each not in _public_values(world, tenant.credentials)]
        request = replace(world.request(bucket=tenant.bucket), credentials=tenant.credentials)
        nameless = replace(request, bucket_name="../No_Bucket/Has..This Name")
        broken = world.backend.broken_provisioners().values()
        attempts: list[tuple[Callable[[Any], object], object]] = [
            (world.provisioner.provision, request),
            (world.provisioner.provision, nameless),
            (world.provisioner.grant, nameless),
            (world.provisioner.delete, builders.intent(request)),
            *((each.provision, replace(tenant.request, credentials=tenant.credentials)) for each in broken),
            *((each.delete, tenant.record) for each in broken),
        ]
        with caplog.at_level("WARNING"):
            errors = [_error_of(verb, argument) for verb, argument in attempts]
        told = "\n".join([*errors, caplog.text])
        assert not [secret for secret in secrets if secret in told]

    def test_the_region_of_the_class_is_where_the_bucket_is_and_what_an_application_is_told(self, world: World) -> None:
        if not world.backend.regions:
            pytest.skip("this store's classes have no choice of a region")
        for region, found in world.backend.regions.items():
            tenant = world.greenfield(world.request(parameters={"region": region}))
            assert world.administrator.region(tenant.bucket) == found
            assert tenant.answer.connection.endpoint.region == region
            assert_works(tenant)
            world.delete(tenant.record)
            assert not world.administrator.bucket_exists(tenant.bucket)

    @both_kinds
    def test_the_same_call_again_leaves_credentials_and_data_unchanged(self, world: World, greenfield: bool) -> None:
        first = world.tenant(greenfield=greenfield)
        second = world.again(first)
        assert second.answer.connection == first.answer.connection
        assert first.application.get(first.bucket, OBJECT) == CONTENT
        assert_works(second)

    @both_kinds
    def test_another_replica_gives_the_same_answer(self, world: World, greenfield: bool) -> None:
        first = world.tenant(greenfield=greenfield)
        second = world.again(first, by=world.backend.provisioner())
        assert second.answer.connection == first.answer.connection
        assert_works(first)

    @both_kinds
    def test_lost_credentials_are_replaced_and_the_old_ones_stop_working(self, world: World, greenfield: bool) -> None:
        first = world.tenant(greenfield=greenfield)
        assert_works(first)
        second = world.again(first, with_credentials=False)
        assert_works(second)
        if second.credentials != first.credentials:
            assert_shut_out(first)

    @both_kinds
    def test_an_answer_that_never_arrived_leaves_no_working_credentials_behind(
        self, world: World, greenfield: bool
    ) -> None:
        lost = world.tenant(greenfield=greenfield)
        found = world.bind(lost.request, greenfield=greenfield)
        assert_works(found)
        if found.credentials != lost.credentials:
            assert_shut_out(lost)

    @both_kinds
    def test_credentials_that_do_not_work_are_replaced(self, world: World, greenfield: bool) -> None:
        first = world.tenant(greenfield=greenfield)
        edited = _with_secrets_corrupted(first.credentials)
        broken = world.backend.application(first.answer.connection.endpoint, edited)
        assert_refused("reading with an edited Secret", lambda: broken.get(first.bucket, OBJECT))
        again = builders.again(first.request, first.answer)
        edited_by_hand = replace(again, credentials=edited, credentials_unchanged=False)
        second = world.bind(edited_by_hand, greenfield=greenfield)
        assert second.credentials != edited
        assert_works(second)

    @both_kinds
    def test_working_credentials_are_never_replaced_on_doubt(self, world: World, greenfield: bool) -> None:
        first = world.tenant(greenfield=greenfield)
        assert_works(first)
        distrusting = world.backend.distrusting()
        if distrusting is None:
            pytest.skip("this provisioner never uses a claim's credentials")
        request = builders.again(first.request, first.answer)
        verb = "provision" if greenfield else "grant"
        with distrusting as provisioner:
            for _ in range(3):
                with suppress(RetrySoon):  # the claim waits: that is no reason to replace anything
                    answer = getattr(provisioner, verb)(request)
                    assert answer.connection.authentication == request.credentials, "replaced on doubt"
        assert_works(first)
        assert world.again(first).credentials == first.credentials

    def test_credentials_of_another_claim_are_never_taken_for_ones_own(self, world: World) -> None:
        other = world.tenant(greenfield=True)
        thief = world.greenfield(world.request(credentials=other.credentials))
        assert thief.credentials != other.credentials
        assert_works(thief)
        assert_works(other)
        assert_refused("reading from the other tenant", lambda: thief.application.get(other.bucket, OBJECT))

    def test_every_claim_has_an_identity_of_its_own(self, world: World) -> None:
        first, second = world.greenfield(), world.greenfield()
        assert first.request.user_id != second.request.user_id
        assert first.credentials != second.credentials

    @both_kinds
    def test_an_unknown_parameter_is_warned_about_and_not_an_error(self, world: World, greenfield: bool) -> None:
        bucket = world.new_name() if greenfield else world.foreign_bucket()
        request = world.request(bucket=bucket, parameters={"noSuchParameter": "x"})
        assert any("noSuchParameter" in text for text in world.bind(request, greenfield=greenfield).answer.warnings)
        usual = world.request() if greenfield else world.request(bucket=bucket)
        assert not any("noSuchParameter" in text for text in world.bind(usual, greenfield=greenfield).answer.warnings)

    def test_a_bucket_that_the_class_names_must_exist(self, world: World) -> None:
        request = world.request()
        with pytest.raises(BucketNotFound):
            world.bind(request, greenfield=False)
        assert not world.administrator.bucket_exists(request.bucket_name), "grant makes no bucket"
        world.administrator.make_bucket(request.bucket_name)
        assert_works(world.bind(request, greenfield=False))

    def test_a_grant_changes_neither_the_bucket_nor_its_data(self, world: World) -> None:
        bucket = world.foreign_bucket()
        before = world.administrator.settings(bucket)
        tenant = world.brownfield(bucket)
        assert world.administrator.settings(bucket) == before
        assert tenant.application.get(bucket, OBJECT) == CONTENT

    def test_a_grant_leaves_others_grants_alone(self, world: World) -> None:
        bucket = world.foreign_bucket()
        tenants = [world.brownfield(bucket) for _ in range(3)]
        for tenant in tenants:
            assert_works(tenant)

    def test_a_grant_on_a_claimed_bucket_leaves_the_owner_in(self, world: World) -> None:
        owner = world.tenant(greenfield=True)
        guest = world.brownfield(owner.bucket)
        assert_works(guest)
        assert_works(owner)
        world.revoke(guest.record)
        assert_shut_out(guest)
        assert_works(world.again(owner))

    @both_kinds
    def test_an_identity_that_was_removed_by_hand_is_made_again(self, world: World, greenfield: bool) -> None:
        first = world.tenant(greenfield=greenfield)
        world.administrator.remove_identity(first.record)
        assert_shut_out(first)
        assert_works(world.again(first))

    def test_a_bucket_that_was_removed_by_hand_is_reported_as_lost_and_not_made_again(self, world: World) -> None:
        first = world.greenfield()
        assert_works(world.again(first))
        world.administrator.purge_bucket(first.bucket)
        with pytest.raises(BucketLost):
            world.again(first)
        assert not world.administrator.bucket_exists(first.bucket)
        world.delete(first.record)
        if world.can(Ability.REUSED_NAMES):
            assert_works(world.greenfield(world.request(bucket=first.bucket)))

    @both_kinds
    def test_nothing_is_reported_as_repaired_where_nothing_was_changed(self, world: World, greenfield: bool) -> None:
        first = world.tenant(greenfield=greenfield)
        assert first.answer.repairs == ()
        second = world.again(first)
        assert second.answer.repairs == ()
        assert world.again(second).answer.repairs == ()

    @both_kinds
    def test_an_identity_that_was_removed_by_hand_is_reported_once(self, world: World, greenfield: bool) -> None:
        world.needs(Ability.REPORTED_REPAIRS)
        first = world.tenant(greenfield=greenfield)
        world.administrator.remove_identity(first.record)
        second = world.again(first)
        assert second.answer.repairs
        assert all(what and what == what.strip() for what in second.answer.repairs)
        assert world.again(second).answer.repairs == ()

    def test_a_granted_bucket_that_was_removed_by_hand_is_reported(self, world: World) -> None:
        first = world.brownfield(world.foreign_bucket())
        assert_works(world.again(first))
        world.administrator.purge_bucket(first.bucket)
        with pytest.raises(BucketNotFound):
            world.again(first)

    def test_a_user_id_is_the_same_for_ever_and_another_for_a_claim_made_again(self, world: World) -> None:
        request = world.request()
        recreated = replace(request.claim, uid=f"{request.claim.uid}-2")
        generate = world.backend.provisioner().generate_user_id
        assert generate(request.claim, None) == request.user_id
        assert generate(request.claim, builders.intent(request)) == request.user_id
        assert generate(recreated, None) != request.user_id

    @both_kinds
    def test_a_look_at_a_bound_claim_finds_it_intact(self, world: World, greenfield: bool) -> None:
        tenant = world.tenant(greenfield=greenfield)
        assert world.looks_intact(tenant)
        assert world.looks_intact(world.again(tenant))

    @both_kinds
    @pytest.mark.parametrize("harm", ["identity", "bucket", "credentials"])
    def test_a_look_finds_what_is_broken(self, world: World, greenfield: bool, harm: str) -> None:
        tenant = world.tenant(greenfield=greenfield)
        assert world.looks_intact(tenant)
        credentials = tenant.credentials
        if harm == "identity":
            world.administrator.remove_identity(tenant.record)
        elif harm == "bucket":
            world.administrator.purge_bucket(tenant.bucket)
        else:
            credentials = _with_secrets_corrupted(credentials)
        assert not world.looks_intact(tenant, credentials)

    def test_a_look_never_takes_anothers_credentials_for_the_claims_own(self, world: World) -> None:
        first, second = world.tenant(greenfield=True), world.tenant(greenfield=True)
        assert not world.looks_intact(first, second.credentials)
        assert world.looks_intact(second)


def _error_of(verb: Callable[[Any], object], argument: object) -> str:
    """Everything that could be shown about the error that this call must end with."""
    with pytest.raises(ProvisionerError) as caught:
        verb(argument)
    return "".join(traceback.format_exception(caught.value)) + repr(caught.value)


def _public_values(world: World, credentials: Authentication) -> set[str]:
    names = world.backend.capabilities.public_data
    return {value.reveal() for name, value in credentials.additional_secret_data.items() if name in names}


def _secrets(credentials: Authentication) -> dict[str, str]:
    found = {name: value.reveal() for name, value in credentials.additional_secret_data.items()}
    if credentials.access_keys is not None:
        found["AWS_SECRET_ACCESS_KEY"] = credentials.access_keys.secret_access_key.reveal()
    return {name: value for name, value in found.items() if value}


def _with_secrets_corrupted(credentials: Authentication) -> Authentication:
    """The same credentials after a manual edit of every secret in the claim's Secret."""
    corrupted = {
        name: type(value)(_corrupt(value.reveal())) for name, value in credentials.additional_secret_data.items()
    }
    keys = credentials.access_keys
    if keys is not None:
        secret = keys.secret_access_key
        keys = replace(keys, secret_access_key=type(secret)(_corrupt(secret.reveal())))
    return Authentication(access_keys=keys, additional_secret_data=corrupted)


def _corrupt(secret: str) -> str:
    return secret[::-1] + "x"
