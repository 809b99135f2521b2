"""What takes time at Google, what others do meanwhile, and what there is only so much of. The fake's knobs."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

import pytest

from libbucket import AccessDenied, NotReady, QuotaExceeded, RetrySlowly, StoreRefused, Throttled
from libbucket.testing import builders
from libbucket.testing.conformance.cost import requests_of_each_verb
from libbucket.testing.conformance.environment import OBJECT, Environment, assert_refused, assert_shut_out, assert_works
from testkit.gcs.applications import JsonApplication
from testkit.gcs.backend import GcsBackend, a_provisioner
from testkit.gcs.fake import server
from testkit.gcs.fake.wire import ApiError

if TYPE_CHECKING:
    from testkit.gcs.fake import FakeGcs
    from testkit.gcs.fake.model import Store
    from testkit.gcs.fake.wire import Answer
    from testkit.gcs.fake.wire import Request as FakeRequest


def test_a_fresh_account_that_google_does_not_know_yet_is_waited_for(environment: Environment, fake: FakeGcs) -> None:
    fake.knobs.unknown_account_calls = 4
    assert_works(environment.bind(environment.request(), greenfield=True))


def test_a_fresh_account_that_stays_unknown_is_not_waited_for_for_ever(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    fake.knobs.unknown_account_calls = 10**6
    hasty = a_provisioner(fake, backend.admin_key)
    request = environment.request()
    with pytest.raises(NotReady, match="service account") as refused:
        hasty.provision(request)
    assert refused.value.delay
    for account in fake.store.accounts.values():
        account.unknown_calls = 0
    assert_works(environment.greenfield(request))


def test_an_administrator_who_writes_every_policy_first_is_got_past(environment: Environment, fake: FakeGcs) -> None:
    fake.knobs.conflicting_policy_writes = True
    tenant = environment.greenfield(environment.request(config={"kubernetesServiceAccount": "app"}))
    assert_works(tenant)
    environment.revoke(tenant.record)
    assert_shut_out(tenant)


def test_conditions_of_others_survive_every_edit(environment: Environment, fake: FakeGcs) -> None:
    tenant = environment.greenfield()
    policy = fake.store.buckets[tenant.bucket].policy
    condition = {"title": "until monday", "expression": "request.time < timestamp('2030-01-01T00:00:00Z')"}
    binding = {"role": "roles/storage.objectViewer", "members": ["user:jane@example.com"], "condition": condition}
    policy.bindings.append(binding)
    guest = environment.brownfield(tenant.bucket)
    assert_works(guest)
    environment.revoke(guest.record)
    assert binding in policy.bindings
    environment.revoke(tenant.record)
    assert binding in policy.bindings


def test_google_asks_for_fewer_requests_and_its_delay_is_handed_on(environment: Environment, fake: FakeGcs) -> None:
    request, tenant = environment.request(), environment.greenfield()
    for verb in (
        lambda: environment.provisioner.provision(request),
        lambda: environment.provisioner.revoke(tenant.record),
        lambda: environment.provisioner.delete(tenant.record),
    ):
        fake.knobs.throttled_calls = 1
        with pytest.raises(Throttled) as refused:
            verb()
        assert refused.value.delay == 7
    assert_works(environment.greenfield(request))


def test_an_hmac_key_that_google_does_not_know_yet_is_waited_for(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    fake.knobs.hmac_start_seconds = 30
    hasty = a_provisioner(fake, backend.admin_key)
    request = environment.request()
    with pytest.raises(NotReady):
        hasty.provision(request)
    fake.knobs.hmac_start_seconds = 0
    assert_works(environment.greenfield(request))
    assert [each.state for each in fake.store.hmac_keys.values()].count("ACTIVE") == 1


def test_a_new_key_that_the_token_endpoint_does_not_know_yet_is_waited_for(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    request = environment.request(parameters={"credentials": "json-key"})
    hasty = a_provisioner(fake, backend.admin_key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("testkit.gcs.fake.tokens.find_key", _only_of("provisioner"))
        with pytest.raises(NotReady):
            hasty.provision(request)
    tenant = environment.greenfield(request)
    assert_works(tenant)
    assert len(fake.store.accounts[tenant.answer.additional_state["ServiceAccount"]].keys) == 1


def _only_of(beginning: str) -> object:
    from testkit.gcs.fake import tokens

    real = tokens.find_key
    return lambda store, email, key_id=None: real(store, email, key_id) if email.startswith(beginning) else []


def test_revoking_waits_until_the_hmac_key_has_stopped_for_certain(environment: Environment, fake: FakeGcs) -> None:
    fake.knobs.hmac_stop_seconds = 170
    tenant = environment.tenant(greenfield=True)
    with pytest.raises(NotReady, match="inactive") as pending:
        environment.provisioner.revoke(tenant.record)
    assert pending.value.delay == pytest.approx(180, abs=5)
    assert_shut_out(tenant)  # the permission is gone already
    fake.clock.turn(60)
    with pytest.raises(NotReady) as later:
        environment.provisioner.revoke(tenant.record)
    assert later.value.delay == pytest.approx(120, abs=5)
    fake.clock.turn(121)
    environment.provisioner.revoke(tenant.record)
    assert {each.state for each in fake.store.hmac_keys.values()} == {"DELETED"}


def test_a_class_says_how_long_to_wait(environment: Environment) -> None:
    tenant = environment.greenfield(environment.request(parameters={"revocationSeconds": "0"}))
    environment.provisioner.revoke(tenant.record)
    assert not environment.administrator.identity_exists(tenant.record)


def test_a_token_that_outlives_its_key_opens_nothing_after_revoking(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    tenant = environment.greenfield(environment.request(parameters={"credentials": "json-key"}))
    backend.administrator.application().put(tenant.bucket, OBJECT, b"x")
    assert isinstance(tenant.application, JsonApplication)
    assert tenant.application.get(tenant.bucket, OBJECT) == b"x"
    account = fake.store.accounts[tenant.answer.additional_state["ServiceAccount"]]
    account.keys.clear()
    assert tenant.application.get(tenant.bucket, OBJECT) == b"x", "so it is at Google: the token lives on"
    environment.revoke(tenant.record)
    assert_refused("a token that outlived its key", lambda: tenant.application.get(tenant.bucket, OBJECT))


def test_the_quota_of_accounts_names_the_parameter_that_helps(environment: Environment, fake: FakeGcs) -> None:
    fake.knobs.account_limit = len(fake.store.accounts)
    bound = [environment.greenfield() for _ in range(2)]
    fake.knobs.account_limit = 2
    with pytest.raises(QuotaExceeded, match=r"429 .*serviceAccount"):
        environment.greenfield()
    environment.delete(bound[0].record)
    assert_works(environment.greenfield())


def test_the_rate_of_new_accounts_is_no_quota_that_is_used_up(environment: Environment, fake: FakeGcs) -> None:
    """Google answers both with 429 `rateLimitExceeded`, and says for how long in a RetryInfo."""
    fake.knobs.accounts_per_minute = 1
    environment.greenfield()
    request = environment.request()
    with pytest.raises(NotReady, match=r"a minute.*429 rateLimitExceeded") as waiting:
        environment.provisioner.provision(request)
    assert waiting.value.delay == 60
    assert waiting.value.request_id
    fake.clock.turn(waiting.value.delay)
    assert_works(environment.greenfield(request))


@pytest.mark.parametrize("credentials", ["hmac", "json-key", "both"])
def test_a_policy_that_forbids_keys_is_named_with_the_parameter_that_helps(
    environment: Environment, fake: FakeGcs, credentials: str
) -> None:
    fake.knobs.keys_forbidden = True
    with pytest.raises(StoreRefused, match=r"iam\.disableServiceAccountKeyCreation.*workload-identity"):
        environment.provisioner.provision(environment.request(parameters={"credentials": credentials}))
    environment.provisioner.provision(environment.request(parameters={"credentials": "workload-identity"}))


def test_a_policy_that_forbids_hmac_keys_only_is_named(environment: Environment, fake: FakeGcs) -> None:
    fake.knobs.hmac_forbidden = True
    with pytest.raises(StoreRefused, match=r"storage\.restrictAuthTypes.*json-key"):
        environment.provisioner.provision(environment.request())
    environment.provisioner.provision(environment.request(parameters={"credentials": "json-key"}))


def test_a_location_that_a_policy_forbids_is_named_with_its_parameter(environment: Environment, fake: FakeGcs) -> None:
    fake.knobs.allowed_locations = frozenset({"europe-west3"})
    request = environment.request()
    with pytest.raises(StoreRefused, match=r"gcp\.resourceLocations.*parameter region"):
        environment.provisioner.provision(request)
    assert not environment.administrator.bucket_exists(request.bucket_name)
    environment.delete(builders.intent(request))
    assert_works(environment.greenfield(environment.request(parameters={"region": "europe-west3"})))


@pytest.mark.parametrize("credentials", ["hmac", "json-key", "both"])
def test_a_perimeter_that_keeps_a_claims_key_out_is_named(
    environment: Environment, fake: FakeGcs, credentials: str
) -> None:
    """Its ingress rule names the administrator alone: nothing that a claim waits for lets its account in."""
    fake.knobs.perimeter = True
    request = environment.request(parameters={"credentials": credentials})
    with pytest.raises(StoreRefused, match="vpcServiceControlsUniqueIdentifier: zvW4mQKV6irg5Nm") as refused:
        environment.provisioner.provision(request)
    assert refused.value.request_id
    fake.knobs.perimeter = False
    answer = environment.provisioner.provision(request)
    account = fake.store.accounts[answer.additional_state["ServiceAccount"]]
    assert len(account.keys) == (credentials != "hmac"), "the key of the first call is kept"
    fake.knobs.perimeter = True
    assert environment.provisioner.provision(builders.again(request, answer)).connection == answer.connection
    environment.delete(builders.recorded(answer, request))


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_wrong_is_told_as_such(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """https://cloud.google.com/storage/docs/xml-api/reference-status: RequestTimeTooSkewed and ExpiredToken."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=hours)

    request = environment.request()
    with monkeypatch.context() as patch:
        patch.setattr("gcs_provisioner.signing.datetime", Wrong)
        with pytest.raises(NotReady, match="clock"):
            environment.provisioner.provision(request)
    assert_works(environment.greenfield(request))


@pytest.mark.parametrize("credentials", ["hmac", "json-key"])
def test_a_perimeter_is_named_also_where_lists_do_not_show_the_key_yet(
    environment: Environment, fake: FakeGcs, credentials: str
) -> None:
    fake.knobs.list_lag_seconds = 20
    request = environment.request(parameters={"credentials": credentials})
    answer = environment.provisioner.provision(request)
    fake.knobs.perimeter = True
    with pytest.raises(StoreRefused, match="vpcServiceControlsUniqueIdentifier: zvW4mQKV6irg5Nm"):
        environment.provisioner.provision(builders.again(request, answer))
    fake.clock.turn(20)
    assert environment.provisioner.provision(builders.again(request, answer)).connection == answer.connection


@pytest.mark.parametrize("credentials", ["hmac", "workload-identity-federation"])
def test_a_constraint_of_the_organisations_own_on_policies_is_named(
    environment: Environment, fake: FakeGcs, monkeypatch: pytest.MonkeyPatch, credentials: str
) -> None:
    """https://cloud.google.com/iam/docs/org-policy-custom-constraints: who may be granted what, and lose it."""
    bucket, real = environment.foreign_bucket(), server._answer
    fake.store.buckets[bucket].resource["iamConfiguration"] = {"uniformBucketLevelAccess": {"enabled": True}}
    text = 'Operation denied by custom org policies: ["customConstraints/custom.noObjects": "No."]'

    def instead(store: Store, request: FakeRequest) -> Answer:
        if request.method == "PUT" and request.path.endswith("/iam"):
            return ApiError(400, "failedPrecondition", text).as_json()
        return real(store, request)

    monkeypatch.setattr(server, "_answer", instead)
    request = environment.request(bucket=bucket, parameters={"credentials": credentials})
    with pytest.raises(StoreRefused, match=r"constraint custom\.noObjects"):
        environment.provisioner.grant(request)
    environment.revoke(builders.intent(request, greenfield=False))


def test_a_policy_write_that_is_refused_for_good_is_no_race(environment: Environment, fake: FakeGcs) -> None:
    """Domain restricted sharing, for a member that was in the bucket's policy before the first grant."""
    bucket = environment.foreign_bucket()
    first = environment.brownfield(bucket)
    binding = {"role": "roles/storage.objectViewer", "members": ["user:jane@elsewhere.example"]}
    fake.store.buckets[bucket].policy.bindings.append(binding)
    fake.knobs.foreign_members = ("user:jane@",)
    request = environment.request(bucket=bucket)
    fake.calls()
    with pytest.raises(StoreRefused, match="domain restricted sharing"):
        environment.provisioner.grant(request)
    assert len([each for each in fake.calls() if each.startswith("PUT")]) == 2, "one to see that it was no race"
    environment.revoke(builders.intent(request, greenfield=False))
    environment.revoke(first.record)
    assert not environment.administrator.identity_exists(first.record), "its removal withdraws the permission"
    assert_refused("reading after revoke", lambda: first.application.get(bucket, OBJECT))


def test_a_member_of_others_that_google_does_not_take_is_no_fresh_account(
    environment: Environment, fake: FakeGcs
) -> None:
    bucket = environment.foreign_bucket()
    tenant = environment.brownfield(bucket)
    fake.clock.turn(3600)
    fake.add_admin("soon-gone", ())
    policy = fake.store.buckets[bucket].policy
    policy.bindings.append({"role": "roles/of-nobody", "members": ["user:jane@example.com"]})
    policy.bindings = [each for each in policy.bindings if "obc-" not in repr(each)]
    with pytest.raises(StoreRefused, match=r"setIamPolicy.*as invalid"):
        environment.provisioner.grant(builders.again(tenant.request, tenant.answer))
    environment.revoke(tenant.record)
    assert not environment.administrator.identity_exists(tenant.record)


def test_the_last_binding_of_a_policy_goes_with_its_account(environment: Environment, fake: FakeGcs) -> None:
    """The fake refuses a policy without bindings, as https://github.com/GoogleCloudPlatform/deploymentmanager-samples
    /issues/283 has it."""
    bucket = environment.foreign_bucket()
    fake.store.buckets[bucket].policy.bindings.clear()
    tenant = environment.brownfield(bucket)
    assert tenant.application.list_keys(bucket) == [OBJECT]
    environment.revoke(tenant.record)
    assert not environment.administrator.identity_exists(tenant.record)
    assert_refused("reading after revoke", lambda: tenant.application.get(bucket, OBJECT))


def test_keys_that_is_unknown_go_before_a_new_one_is_made(environment: Environment, fake: FakeGcs) -> None:
    request = environment.request()
    for _ in range(12):  # more than an account may have
        tenant = environment.bind(request, greenfield=True)
    states = [each.state for each in fake.store.hmac_keys.values()]
    assert states.count("ACTIVE") == 1
    assert len(states) == 12
    assert_works(tenant)


def test_an_account_of_that_name_that_is_not_ours_is_never_used(environment: Environment, fake: FakeGcs) -> None:
    request = environment.request()
    key = json.loads(fake.add_admin(request.user_id, ()))
    with pytest.raises(RetrySlowly, match="was not made for this claim"):
        environment.provisioner.provision(request)
    environment.delete(builders.intent(request))
    assert list(fake.store.accounts[key["client_email"]].keys) == [key["private_key_id"]], "and it stays as it is"


def test_what_is_left_of_a_removed_account_in_a_policy_is_tidied_up(environment: Environment, fake: FakeGcs) -> None:
    tenant = environment.tenant(greenfield=True)
    before = repr(fake.store.buckets[tenant.bucket].policy.bindings)
    environment.administrator.remove_identity(tenant.record)
    assert_works(environment.again(tenant))
    account = tenant.answer.additional_state["ServiceAccount"]
    assert repr(fake.store.buckets[tenant.bucket].policy.bindings).count(account) == before.count(account)


def test_a_bucket_of_another_project_is_another_customers(environment: Environment, fake: FakeGcs) -> None:
    from libbucket import BucketExists

    request = environment.request()
    fake.add_foreign_bucket(request.bucket_name)
    with pytest.raises(BucketExists, match="belongs to another project"):
        environment.provisioner.provision(request)
    with pytest.raises(AccessDenied, match=r"storage\.buckets\.get"):
        environment.provisioner.grant(request)
    environment.revoke(builders.intent(request))
    assert not environment.administrator.identity_exists(builders.intent(request))


def test_each_verb_takes_no_more_requests_than_the_readme_says(environment: Environment) -> None:
    costs = requests_of_each_verb(environment)

    said = {"provision": 10, "provision again": 5, "grant": 9, "is_intact": 1, "revoke": 12, "delete": 17}
    assert {verb: costs[verb] for verb in said} == said
