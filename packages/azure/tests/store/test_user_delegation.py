"""User-delegation SAS: issued by an identity, renewed in time, waited for at the end; with a clock that tests turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from azure_provisioner.parameters import parse_parameters
from azure_provisioner.policy import parse_held, parse_time
from libbucket import BucketExists, BucketNotFound, InvalidAdminSecret, NotReady
from libbucket.testing import builders
from libbucket.testing.conformance.environment import (
    CONTENT,
    OBJECT,
    Environment,
    Tenant,
    assert_refused,
    assert_shut_out,
    assert_works,
)
from testkit.azure.backend import AzureBackend, a_provisioner
from testkit.azure.fake_entra import CLIENT, TENANT, FakeEntra
from testkit.azure.requests import recorded_requests

if TYPE_CHECKING:
    from azure_provisioner.client import Network
    from azure_provisioner.provisioner import AzureProvisioner
    from libbucket import BucketOptions
    from testkit.azure.azurite import AzuriteServer

DAY = timedelta(days=1)
HALF_A_DAY = timedelta(hours=12)
SKEW = timedelta(minutes=5)
REAL = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Steward:
    """Provisioners that sign with an identity of Entra ID, at any time."""

    environment: Environment
    server: AzuriteServer
    entra: FakeEntra
    network: Network

    def at(self, now: datetime, **secret: str) -> AzureProvisioner:
        client = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": self.entra.secret}
        return a_provisioner(self.server, secret or client, now=lambda: now, network=self.network)

    def request(self, *, bucket: str | None = None, **parameters: str) -> BucketOptions:
        delegated = {"credentials": "user-delegation-sas", "authorityHost": self.entra.url}
        return self.environment.request(bucket=bucket, parameters={**delegated, **parameters})

    def bound(self, now: datetime = REAL, *, greenfield: bool = True, **parameters: str) -> Tenant:
        bucket = None if greenfield else self.environment.foreign_bucket()
        request = self.request(bucket=bucket, **parameters)
        tenant = self.environment.bind(request, greenfield=greenfield, by=self.at(now))
        self.environment.administrator.application().put(tenant.bucket, OBJECT, CONTENT)
        return tenant

    def bind(self, request: BucketOptions) -> Tenant:
        return self.environment.bind(request, greenfield=True, by=self.at(REAL))

    def again(self, tenant: Tenant, now: datetime, *, with_credentials: bool = True) -> Tenant:
        return self.environment.again(tenant, by=self.at(now), with_credentials=with_credentials)


@pytest.fixture
def steward(tls_world: Environment, tls_server: AzuriteServer, entra: FakeEntra, trusting: Network) -> Steward:
    return Steward(tls_world, tls_server, entra, trusting)


both_kinds = pytest.mark.parametrize("greenfield", [True, False], ids=["greenfield", "brownfield"])


@both_kinds
def test_a_claim_gets_into_its_container_and_no_other(steward: Steward, greenfield: bool) -> None:
    owner, other_tenant = (steward.bound(greenfield=greenfield) for _ in range(2))
    assert_works(owner)
    assert_refused("reading from the other tenant", lambda: owner.application.get(other_tenant.bucket, OBJECT))
    assert_refused("listing the other tenant", lambda: owner.application.list_keys(other_tenant.bucket))
    assert other_tenant.application.get(other_tenant.bucket, OBJECT) == CONTENT


def test_a_sas_lasts_a_day_and_is_renewed_when_half_of_it_is_gone(steward: Steward) -> None:
    tenant = steward.bound()
    assert _ends(tenant) == REAL + DAY - SKEW
    assert tenant.renew_at == REAL + HALF_A_DAY - SKEW
    assert tenant.answer.additional_state == {"SasExpiry": f"{REAL + DAY - SKEW:%Y-%m-%dT%H:%M:%SZ}"}


@pytest.mark.parametrize("expiry", ["1h", "1d", "7d"])
def test_a_sas_says_when_it_starts_and_lasts_as_long_as_the_class_says_and_no_longer(
    steward: Steward, expiry: str
) -> None:
    """Else an account with a SAS expiration policy refuses it: "Configure an expiration policy", Azure Storage."""
    tenant = steward.bound(expiry=expiry)
    fields = parse_qs(tenant.credentials.additional_secret_data["AZURE_STORAGE_SAS_TOKEN"].reveal())
    start, end = (parse_time(fields[name][0]) for name in ("st", "se"))
    assert start is not None
    assert end is not None
    assert end - start == parse_parameters({**tenant.request.parameters}).lifetime
    assert_works(tenant)


@pytest.mark.parametrize(("expiry", "lasts"), [("1h", timedelta(hours=1)), ("6d", 6 * DAY), ("7d", 7 * DAY)])
def test_a_class_says_how_long_a_sas_lasts(steward: Steward, expiry: str, lasts: timedelta) -> None:
    tenant = steward.bound(expiry=expiry)
    assert _ends(tenant) == REAL + lasts - SKEW
    assert_works(tenant)


def test_a_young_sas_is_kept(steward: Steward) -> None:
    first = steward.bound(REAL - timedelta(hours=11))
    second = steward.again(first, REAL)
    assert second.answer.connection == first.answer.connection


def test_an_old_sas_is_replaced_before_it_ends_and_works_until_then(steward: Steward) -> None:
    first = steward.bound(REAL - timedelta(hours=13))
    assert first.renew_at is not None
    assert first.renew_at < REAL
    second = steward.again(first, REAL)
    assert second.credentials != first.credentials
    assert _ends(second) == REAL + DAY - SKEW
    assert second.renew_at == REAL + HALF_A_DAY - SKEW
    assert_works(second)
    assert_works(first)


def test_a_sas_that_ended_is_refused_and_its_claim_gets_another(steward: Steward, tls_backend: AzureBackend) -> None:
    # Azurite goes by the real time: what a turned clock has issued ended long ago.
    first = steward.bound(REAL - timedelta(minutes=30), expiry="1h")
    assert_works(first)
    request = steward.request()
    with pytest.raises(NotReady, match="refuses a user-delegation SAS"):
        steward.at(REAL - 3 * DAY).provision(request)
    second = steward.bind(request)
    assert_works(second)
    assert not tls_backend.administrator.policies(second.bucket), "no stored access policy is spent on it"


def test_lost_credentials_are_replaced(steward: Steward) -> None:
    first = steward.bound(REAL - timedelta(hours=1))
    second = steward.again(first, REAL, with_credentials=False)
    assert second.credentials != first.credentials
    assert_works(second)


def test_a_sas_with_other_permissions_than_the_class_now_says_is_replaced(steward: Steward) -> None:
    first = steward.bound()
    narrower = replace(
        builders.again(first.request, first.answer), parameters={**first.request.parameters, "permissions": "rl"}
    )
    second = steward.environment.bind(narrower, greenfield=True, by=steward.at(REAL))
    assert second.application.get(second.bucket, OBJECT) == CONTENT
    assert_refused("writing with rl", lambda: second.application.put(second.bucket, "new", b"x"))


@both_kinds
def test_revoking_waits_for_the_end_of_the_last_sas_and_says_so(steward: Steward, greenfield: bool) -> None:
    tenant = steward.bound(greenfield=greenfield)
    with recorded_requests() as made, pytest.raises(NotReady, match="can't be revoked singly") as waiting:
        steward.at(REAL + timedelta(hours=20)).revoke(tenant.record)
    assert waiting.value.delay == timedelta(hours=4).total_seconds(), "Azure's clock may be some minutes behind"
    assert f"{REAL + DAY - SKEW:%Y-%m-%dT%H:%M:%SZ}" in waiting.value.message
    assert_works(tenant)
    steward.at(REAL + DAY).revoke(tenant.record)
    assert made == [], "there is nothing to ask Azure for"


def test_revoking_is_over_when_azure_refuses_the_sas(steward: Steward) -> None:
    tenant = steward.bound(REAL - timedelta(minutes=30), expiry="1h")
    ended = replace(
        tenant.record, connection=replace(tenant.record.connection, additional_state={"SasExpiry": _past()})
    )
    steward.at(REAL).revoke(ended)
    assert steward.environment.administrator.application().get(tenant.bucket, OBJECT) == CONTENT


def test_a_shorter_lifetime_does_not_make_revoking_forget_the_longer_sas(steward: Steward) -> None:
    first = steward.bound(expiry="6d")
    shorter = replace(
        builders.again(first.request, first.answer, with_credentials=False),
        parameters={**first.request.parameters, "expiry": "1h"},
    )
    second = steward.environment.bind(shorter, greenfield=True, by=steward.at(REAL))
    assert _ends(second) == REAL + timedelta(hours=1) - SKEW
    with pytest.raises(NotReady) as waiting:
        steward.at(REAL + DAY).revoke(second.record)
    assert waiting.value.delay == (5 * DAY).total_seconds()


def test_a_sas_whose_issue_was_recorded_only_in_the_secret_is_waited_for_too(steward: Steward) -> None:
    first = steward.bound(expiry="6d")
    unrecorded = replace(builders.again(first.request, first.answer), additional_state={})
    shorter = replace(unrecorded, parameters={**first.request.parameters, "expiry": "1h"})
    second = steward.bind(shorter)
    assert _ends(second) == REAL + timedelta(hours=1) - SKEW
    assert second.answer.additional_state == first.answer.additional_state


def test_deleting_does_not_wait_because_the_container_goes_at_once(steward: Steward, tls_backend: AzureBackend) -> None:
    tenant = steward.bound()
    assert_works(tenant)
    steward.at(REAL).delete(tenant.record)
    assert not tls_backend.administrator.bucket_exists(tenant.bucket)
    steward.at(REAL).delete(tenant.record)


def test_what_is_not_ours_is_refused_to_an_identity_too(steward: Steward) -> None:
    foreign = steward.environment.foreign_bucket()
    with pytest.raises(BucketExists):
        steward.at(REAL).provision(steward.request(bucket=foreign))
    with pytest.raises(BucketExists):
        steward.at(REAL).delete(builders.intent(steward.request(bucket=foreign)))
    with pytest.raises(BucketNotFound):
        steward.at(REAL).grant(steward.request())


def test_more_than_five_claims_share_a_container(steward: Steward) -> None:
    bucket = steward.environment.foreign_bucket()
    for _ in range(6):
        assert_works(steward.environment.bind(steward.request(bucket=bucket), greenfield=False, by=steward.at(REAL)))


def test_what_a_call_costs(steward: Steward) -> None:
    request = steward.request()
    with recorded_requests() as made:
        tenant = steward.environment.bind(request, greenfield=True, by=steward.at(REAL))
    assert _to_azure(made) == [
        "GET container",
        "GET properties",
        "PUT container",
        "GET container",
        "POST userdelegationkey",
        "GET list",
    ]
    with recorded_requests() as made:
        steward.again(tenant, REAL)
    assert _to_azure(made) == ["GET container", "GET list"]
    with recorded_requests() as made:
        assert steward.at(REAL).is_intact(builders.again(tenant.request, tenant.answer))
    assert made == ["HEAD blob"]


def test_a_claim_goes_over_to_an_identity_and_its_stored_access_policy_goes(
    steward: Steward, tls_backend: AzureBackend
) -> None:
    first = steward.environment.tenant(greenfield=True)
    request = builders.again(first.request, first.answer)
    delegated = {"credentials": "user-delegation-sas", "authorityHost": steward.entra.url}
    moved = replace(request, parameters={**request.parameters, **delegated})
    with pytest.raises(InvalidAdminSecret, match="AZURE_STORAGE_KEY"):
        steward.at(REAL).provision(moved)
    client = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": steward.entra.secret}
    both = steward.at(REAL, AZURE_STORAGE_KEY=steward.server.key, **client)
    second = steward.environment.bind(moved, greenfield=True, by=both)
    assert_works(second)
    assert_shut_out(first)
    assert tls_backend.administrator.policies(first.bucket) == {}


def test_a_claim_goes_back_to_a_stored_access_policy_and_revoking_still_waits(steward: Steward) -> None:
    first = steward.bound()
    request = builders.again(first.request, first.answer)
    stored = {key: value for key, value in request.parameters.items() if key != "credentials"}
    by = steward.at(REAL, AZURE_STORAGE_KEY=steward.server.key)
    second = steward.environment.bind(replace(request, parameters=stored), greenfield=True, by=by)
    assert_works(second)
    with pytest.raises(NotReady, match="can't be revoked singly"):
        by.revoke(second.record)
    assert_shut_out(second)


def _ends(tenant: Tenant) -> datetime:
    held = parse_held(tenant.credentials)
    assert held is not None
    assert held.expiry is not None
    recorded = parse_time(tenant.answer.additional_state["SasExpiry"])
    assert recorded is not None
    assert held.expiry <= recorded
    return held.expiry


def _past() -> str:
    return f"{REAL - DAY:%Y-%m-%dT%H:%M:%SZ}"


def _to_azure(made: list[str]) -> list[str]:
    """Without the requests for a token."""
    return [name for name in made if not name.endswith(" blob")]
