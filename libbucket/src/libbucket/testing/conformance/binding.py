# ruff: noqa: D102, FBT001 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about `provision` and `grant`: what they answer, and that every call is idempotent."""

from __future__ import annotations

import traceback
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from libbucket.errors import BucketLost, BucketNotFound, ProvisionerError, RetrySoon
from libbucket.provisioner import Inspector
from libbucket.testing import builders
from libbucket.testing.conformance.backend import Ability
from libbucket.testing.conformance.environment import (
    CONTENT,
    Environment,
    Guarantees,
    Tenant,
    assert_refused,
    assert_shut_out,
    assert_works,
    own_log,
    raises,
)
from libbucket.types import Authentication

if TYPE_CHECKING:
    from collections.abc import Callable

_SHORTEST_PART: Final = 12
"""Characters of a secret that appear in no text by accident."""

both_kinds = pytest.mark.parametrize("greenfield", [True, False], ids=["greenfield", "brownfield"])


class Binding(Guarantees):
    """A claim becomes bound, and stays bound."""

    @both_kinds
    def test_the_answer_has_what_an_application_needs(self, environment: Environment, greenfield: bool) -> None:
        tenant = environment.tenant(greenfield=greenfield)
        assert tenant.bucket == tenant.request.bucket_name, "the answer names another bucket than was asked for"
        assert_works(tenant)

    def test_the_host_is_a_bare_name_and_the_port_a_port(self, environment: Environment) -> None:
        endpoint = environment.greenfield().answer.connection.endpoint
        assert endpoint.bucket_host, "BUCKET_HOST is empty"
        assert not set("/:@ ") & set(endpoint.bucket_host), "BUCKET_HOST is a bare host name without scheme or port"
        assert 0 <= endpoint.bucket_port < 65536, "0 only where the store is not reached over a network"

    @both_kinds
    def test_no_secret_is_in_what_everybody_may_read(self, environment: Environment, greenfield: bool) -> None:
        tenant = environment.tenant(greenfield=greenfield)
        secrets = _secrets(tenant.credentials)
        hidden = {
            name: value for name, value in secrets.items() if name not in environment.backend.capabilities.public_data
        }
        assert hidden, "the answer has a secret that could leak"
        assert not [name for name, value in hidden.items() if _tells(repr(tenant.answer), value)], (
            "a secret is in what every reader of ObjectBuckets sees"
        )

    def test_no_error_and_no_log_line_holds_a_secret(
        self, environment: Environment, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with caplog.at_level("DEBUG"):  # the first call, too, which issues the credentials
            tenant = environment.tenant(greenfield=True)
        issuing = own_log(environment, caplog)
        secrets = [*environment.backend.secrets, *_secrets(tenant.credentials).values()]
        secrets = [each for each in secrets if each not in _public_values(environment, tenant.credentials)]
        request = replace(environment.request(bucket=tenant.bucket), credentials=tenant.credentials)
        nameless = replace(request, bucket_name="../No_Bucket/Has..This Name")
        broken = environment.backend.broken_provisioners().values()
        attempts: list[tuple[Callable[[Any], object], object]] = [
            (environment.provisioner.provision, request),
            (environment.provisioner.provision, nameless),
            (environment.provisioner.grant, nameless),
            (environment.provisioner.delete, builders.intent(request)),
            *((each.provision, replace(tenant.request, credentials=tenant.credentials)) for each in broken),
            *((each.delete, tenant.record) for each in broken),
        ]
        with caplog.at_level("DEBUG"):
            errors = [_error_of(verb, argument) for verb, argument in attempts]
            repeated = builders.again(tenant.request, tenant.answer)
            environment.bind(replace(repeated, credentials_unchanged=False), greenfield=True)
            if isinstance(environment.provisioner, Inspector):
                environment.provisioner.is_intact(repeated)
        written = capsys.readouterr()
        told = "\n".join([issuing, *errors, own_log(environment, caplog), written.out, written.err])
        assert not [secret for secret in secrets if _tells(told, secret)], (
            "a secret, or half of one, is in an error or a log line"
        )

    def test_the_region_of_the_class_is_where_the_bucket_is_and_what_an_application_is_told(
        self, environment: Environment
    ) -> None:
        if not environment.backend.regions:
            pytest.skip("this store's classes have no choice of a region")
        for region, found in environment.backend.regions.items():
            tenant = environment.greenfield(environment.request(parameters={"region": region}))
            assert environment.administrator.region(tenant.bucket) == found, (
                "the bucket is not in the region of the class"
            )
            assert tenant.answer.connection.endpoint.region == region, "the application is told another region"
            assert_works(tenant)
            environment.delete(tenant.record)
            assert not environment.administrator.bucket_exists(tenant.bucket), "the bucket is still there"

    @both_kinds
    def test_the_same_call_again_leaves_credentials_and_data_unchanged(
        self, environment: Environment, greenfield: bool
    ) -> None:
        first = environment.tenant(greenfield=greenfield)
        second = environment.again(first)
        assert second.answer.connection == first.answer.connection, "the second call has another answer than the first"
        assert environment.read(first.application, first.bucket) == CONTENT, (
            "what was written before is gone or changed"
        )
        assert_works(second)

    @both_kinds
    def test_another_replica_gives_the_same_answer(self, environment: Environment, greenfield: bool) -> None:
        first = environment.tenant(greenfield=greenfield)
        second = environment.again(first, by=environment.backend.provisioner())
        assert second.answer.connection == first.answer.connection, "the second call has another answer than the first"
        assert_works(first)

    @both_kinds
    def test_lost_credentials_are_replaced_and_the_old_ones_stop_working(
        self, environment: Environment, greenfield: bool
    ) -> None:
        first = environment.tenant(greenfield=greenfield)
        assert_works(first)
        second = environment.again(first, with_credentials=False)
        assert_works(second)
        if second.credentials != first.credentials:
            assert_shut_out(first)

    @both_kinds
    def test_an_answer_that_never_arrived_leaves_no_working_credentials_behind(
        self, environment: Environment, greenfield: bool
    ) -> None:
        lost = environment.tenant(greenfield=greenfield)
        found = environment.bind(lost.request, greenfield=greenfield)
        assert_works(found)
        if found.credentials != lost.credentials:
            assert_shut_out(lost)

    @both_kinds
    def test_credentials_that_do_not_work_are_replaced(self, environment: Environment, greenfield: bool) -> None:
        first = environment.tenant(greenfield=greenfield)
        edited = _with_secrets_corrupted(first.credentials)
        broken = environment.backend.application(first.answer.connection.endpoint, edited)
        assert_refused("reading with an edited Secret", lambda: environment.read(broken, first.bucket))
        again = builders.again(first.request, first.answer)
        edited_by_hand = replace(again, credentials=edited, credentials_unchanged=False)
        second = environment.bind(edited_by_hand, greenfield=greenfield)
        assert second.credentials != edited, "credentials that do not work are kept"
        assert_works(second)

    @both_kinds
    def test_working_credentials_are_never_replaced_on_doubt(self, environment: Environment, greenfield: bool) -> None:
        first = environment.tenant(greenfield=greenfield)
        assert_works(first)
        distrusting = environment.backend.distrusting()
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
        assert environment.again(first).credentials == first.credentials, "working credentials were replaced"

    def test_credentials_of_another_claim_on_the_same_bucket_are_never_taken_for_ones_own(
        self, environment: Environment
    ) -> None:
        bucket = environment.foreign_bucket()
        first, other = environment.brownfield(bucket), environment.brownfield(bucket)
        request = builders.again(first.request, first.answer)
        edited_by_hand = replace(request, credentials=other.credentials, credentials_unchanged=False)
        found = environment.bind(edited_by_hand, greenfield=False)
        assert found.credentials != other.credentials, "the claim goes on with another claim's credentials"
        assert_works(found)
        assert_works(other)

    def test_credentials_of_another_claim_are_never_taken_for_ones_own(self, environment: Environment) -> None:
        other = environment.tenant(greenfield=True)
        thief = environment.greenfield(environment.request(credentials=other.credentials))
        assert thief.credentials != other.credentials, "a claim was given another claim's credentials"
        assert_works(thief)
        assert_works(other)
        assert_refused("reading from the other tenant", lambda: environment.read(thief.application, other.bucket))

    def test_every_claim_has_an_identity_of_its_own(self, environment: Environment) -> None:
        first, second = environment.greenfield(), environment.greenfield()
        assert first.request.user_id != second.request.user_id, "two claims have one user id"
        assert first.credentials != second.credentials, "two claims have the same credentials"

    @both_kinds
    def test_an_unknown_parameter_is_warned_about_and_not_an_error(
        self, environment: Environment, greenfield: bool
    ) -> None:
        bucket = environment.new_name() if greenfield else environment.foreign_bucket()
        request = environment.request(bucket=bucket, parameters={"noSuchParameter": "x"})
        assert any(
            "noSuchParameter" in text for text in environment.bind(request, greenfield=greenfield).answer.warnings
        ), "no warning names the unknown parameter"
        usual = environment.request() if greenfield else environment.request(bucket=bucket)
        assert not any(
            "noSuchParameter" in text for text in environment.bind(usual, greenfield=greenfield).answer.warnings
        ), "a warning names a parameter that the class does not have"

    def test_a_bucket_that_the_class_names_must_exist(self, environment: Environment) -> None:
        request = environment.request()
        with raises(BucketNotFound, "a bucket that does not exist was granted"):
            environment.bind(request, greenfield=False)
        assert not environment.administrator.bucket_exists(request.bucket_name), "grant makes no bucket"
        environment.administrator.make_bucket(request.bucket_name)
        assert_works(environment.bind(request, greenfield=False))

    def test_a_grant_changes_neither_the_bucket_nor_its_data(self, environment: Environment) -> None:
        bucket = environment.foreign_bucket()
        before = environment.administrator.settings(bucket)
        tenant = environment.brownfield(bucket)
        assert environment.administrator.settings(bucket) == before, "settings of the bucket were changed"
        assert environment.read(tenant.application, bucket) == CONTENT, "what was written before is gone or changed"

    def test_a_grant_leaves_others_grants_alone(self, environment: Environment) -> None:
        bucket = environment.foreign_bucket()
        tenants = [environment.brownfield(bucket) for _ in range(3)]
        for tenant in tenants:
            assert_works(tenant)

    def test_a_grant_on_a_claimed_bucket_leaves_the_owner_in(self, environment: Environment) -> None:
        owner = environment.tenant(greenfield=True)
        guest = environment.brownfield(owner.bucket)
        assert_works(guest)
        assert_works(owner)
        environment.revoke(guest.record)
        assert_shut_out(guest)
        assert_works(environment.again(owner))

    @both_kinds
    def test_an_identity_that_was_removed_manually_is_recreated(
        self, environment: Environment, greenfield: bool
    ) -> None:
        first = environment.tenant(greenfield=greenfield)
        environment.administrator.remove_identity(first.record)
        assert_shut_out(first)
        assert_works(environment.again(first))

    def test_a_bucket_that_was_removed_manually_is_reported_as_lost_and_not_recreated(
        self, environment: Environment
    ) -> None:
        first = environment.greenfield()
        assert_works(environment.again(first))
        environment.administrator.purge_bucket(first.bucket)
        with raises(BucketLost, "the bucket of a bound claim is gone, and that is not said"):
            environment.again(first)
        assert not environment.administrator.bucket_exists(first.bucket), "the bucket is still there"
        environment.delete(first.record)
        if environment.can(Ability.REUSED_NAMES):
            assert_works(environment.greenfield(environment.request(bucket=first.bucket)))

    @both_kinds
    def test_nothing_is_reported_as_repaired_where_nothing_was_changed(
        self, environment: Environment, greenfield: bool
    ) -> None:
        first = environment.tenant(greenfield=greenfield)
        assert first.answer.repairs == (), "a repair is reported where nothing was changed"
        second = environment.again(first)
        assert second.answer.repairs == (), "a repair is reported where nothing was changed"
        assert environment.again(second).answer.repairs == (), "a repair is reported where nothing was changed"

    @both_kinds
    def test_an_identity_that_was_removed_manually_is_reported_once(
        self, environment: Environment, greenfield: bool
    ) -> None:
        environment.needs(Ability.REPORTED_REPAIRS)
        first = environment.tenant(greenfield=greenfield)
        environment.administrator.remove_identity(first.record)
        second = environment.again(first)
        assert second.answer.repairs, "the repair is not reported"
        assert all(what and what == what.strip() for what in second.answer.repairs), (
            "a repair is reported as an empty or padded text"
        )
        assert environment.again(second).answer.repairs == (), "a repair is reported where nothing was changed"

    def test_a_granted_bucket_that_was_removed_manually_is_reported(self, environment: Environment) -> None:
        first = environment.brownfield(environment.foreign_bucket())
        assert_works(environment.again(first))
        environment.administrator.purge_bucket(first.bucket)
        with raises(BucketNotFound, "a bucket that does not exist was granted"):
            environment.again(first)

    def test_a_user_id_is_the_same_for_ever_and_another_for_a_claim_recreated(self, environment: Environment) -> None:
        request = environment.request()
        recreated = replace(request.claim, uid=f"{request.claim.uid}-2")
        generate = environment.backend.provisioner().generate_user_id
        assert generate(request.claim, None) == request.user_id, "the user id of a claim changes from call to call"
        assert generate(request.claim, builders.intent(request)) == request.user_id, (
            "the user id of a claim changes from call to call"
        )
        assert generate(recreated, None) != request.user_id, "a claim made again has the user id of the earlier one"

    @both_kinds
    def test_a_drift_check_of_a_bound_claim_finds_it_intact(self, environment: Environment, greenfield: bool) -> None:
        tenant = environment.tenant(greenfield=greenfield)
        assert environment.looks_intact(tenant), "the drift check sees damage where there is none"
        assert environment.looks_intact(environment.again(tenant)), "the drift check sees damage where there is none"

    @both_kinds
    @pytest.mark.parametrize("harm", ["identity", "bucket", "credentials"])
    def test_a_drift_check_finds_what_is_broken(self, environment: Environment, greenfield: bool, harm: str) -> None:
        tenant = environment.tenant(greenfield=greenfield)
        assert environment.looks_intact(tenant), "the drift check sees damage where there is none"
        credentials = tenant.credentials
        if harm == "identity":
            environment.administrator.remove_identity(tenant.record)
        elif harm == "bucket":
            environment.administrator.purge_bucket(tenant.bucket)
        else:
            credentials = _with_secrets_corrupted(credentials)
        assert not environment.looks_intact(tenant, credentials), "the drift check does not see the damage"

    def test_a_drift_check_never_takes_anothers_credentials_for_the_claims_own(self, environment: Environment) -> None:
        bucket = environment.foreign_bucket()
        for first, second in (
            (environment.tenant(greenfield=True), environment.tenant(greenfield=True)),
            (environment.brownfield(bucket), environment.brownfield(bucket)),
        ):
            _assert_tells_apart(environment, first, second)


def _assert_tells_apart(environment: Environment, first: Tenant, second: Tenant) -> None:
    is_taken = environment.looks_intact(first, second.credentials)
    assert not is_taken, "the drift check takes another claim's credentials for its own"
    assert environment.looks_intact(second), "the drift check sees damage where there is none"


def _error_of(verb: Callable[[Any], object], argument: object) -> str:
    """Everything that could be shown about the error that this call must end with."""
    with raises(ProvisionerError, "a call that can't succeed must end with an error of libbucket") as caught:
        verb(argument)
    return "".join(traceback.format_exception(caught.value)) + repr(caught.value)


def _public_values(environment: Environment, credentials: Authentication) -> set[str]:
    names = environment.backend.capabilities.public_data
    return {value.reveal() for name, value in credentials.additional_secret_data.items() if name in names}


def _secrets(credentials: Authentication) -> dict[str, str]:
    found = {name: value.reveal() for name, value in credentials.additional_secret_data.items()}
    if credentials.access_keys is not None:
        found["AWS_SECRET_ACCESS_KEY"] = credentials.access_keys.secret_access_key.reveal()
    return {name: value for name, value in found.items() if value}


def _tells(text: str, secret: str) -> bool:
    """Whether a text holds a secret, or half of one: what is shortened for a log line is guessed sooner."""
    size = max(len(secret) // 2, min(len(secret), _SHORTEST_PART))
    return any(secret[start : start + size] in text for start in range(len(secret) - size + 1))


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
