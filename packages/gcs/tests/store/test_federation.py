"""`credentials: workload-identity-federation`: a Kubernetes service account as a principal, and no key of Google's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gcs_provisioner.bucket_policy import BucketPolicies
from libbucket import AccessDenied, NotReady, QuotaExceeded, RetrySlowly, StoreRefused, StoreUnavailable
from libbucket.testing import builders
from libbucket.testing.conformance.environment import OBJECT, assert_refused
from libbucket.testing.requests_watched import counted_requests
from testkit.gcs.applications import TokenApplication
from testkit.gcs.backend import a_provisioner

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket import BucketOptions, ObjectBucket
    from libbucket.testing.conformance.environment import Environment
    from testkit.gcs.backend import GcsBackend
    from testkit.gcs.fake import FakeGcs

README = Path(__file__).parents[2] / "README.md"
FEDERATION = {"credentials": "workload-identity-federation"}
ROLE = frozenset(
    f"storage.{each}"
    for each in (
        *("buckets.create", "buckets.delete", "buckets.get", "buckets.getIamPolicy", "buckets.list"),
        *("buckets.setIamPolicy", "buckets.update", "managedFolders.delete", "managedFolders.list"),
        *("multipartUploads.list", "objects.delete", "objects.list"),
    )
)


def bind(environment: Environment, request: BucketOptions) -> ObjectBucket:
    return environment.patiently(environment.provisioner.provision, request)


def pod(fake: FakeGcs, account: str = "default", namespace: str = "conformance") -> TokenApplication:
    """A pod with this Kubernetes service account, on a cluster of the project."""
    return TokenApplication(endpoint=fake.url, token=fake.token_of(namespace, account), project=fake.project)


def test_a_pod_gets_in_with_its_kubernetes_service_account_alone(environment: Environment, fake: FakeGcs) -> None:
    """In a project whose organisation forbids service-account keys and HMAC keys, as new ones do."""
    fake.knobs.keys_forbidden = fake.knobs.hmac_forbidden = True
    request = environment.request(parameters=FEDERATION, config={"kubernetesServiceAccount": "photos"})
    accounts = set(fake.store.accounts)
    answer = bind(environment, request)
    held = answer.connection.authentication
    assert held is not None
    assert held.access_keys is None
    assert {key: value.reveal() for key, value in held.additional_secret_data.items()} == {
        "GOOGLE_CLOUD_PROJECT": fake.project
    }
    config = answer.connection.endpoint.additional_config
    assert config["BUCKET_URL"] == f"gs://{answer.bucket_name}"
    assert config["GOOGLE_CLOUD_PROJECT"] == fake.project
    assert set(fake.store.accounts) == accounts, "no service account is made"
    application = pod(fake, "photos")
    application.put(answer.bucket_name, OBJECT, b"x")
    assert application.get(answer.bucket_name, OBJECT) == b"x"
    assert application.list_keys(answer.bucket_name) == [OBJECT]
    for other in (pod(fake), pod(fake, "photos", "another")):
        assert_refused("another pod", lambda each=other: each.get(answer.bucket_name, OBJECT))  # type: ignore[misc]
    environment.delete(builders.recorded(answer, request))
    assert not environment.administrator.bucket_exists(answer.bucket_name)


def test_the_class_that_the_readme_shows_first_binds_under_all_policies_of_a_new_organisation(
    environment: Environment, fake: FakeGcs
) -> None:
    """https://cloud.google.com/resource-manager/docs/secure-by-default-organizations, and a policy on locations."""
    fake.knobs.keys_forbidden = fake.knobs.hmac_forbidden = True
    fake.knobs.allowed_locations = frozenset({"europe-west3"})
    fake.knobs.foreign_members = ("user:", "group:", "domain:")
    shown = yaml.safe_load(README.read_text().partition("```yaml\n")[2].partition("```")[0])["parameters"]
    assert shown["project"] == "my-project-123"
    request = environment.request(parameters={**shown, "project": fake.project})
    answer = bind(environment, request)
    assert pod(fake).list_keys(answer.bucket_name) == []
    environment.delete(builders.recorded(answer, request))

    with pytest.raises(StoreRefused, match=r"gcp\.resourceLocations.*region"):
        environment.provisioner.provision(environment.request(parameters={**FEDERATION, "project": fake.project}))
    with pytest.raises(StoreRefused, match="credentials: workload-identity-federation"):
        bind(environment, environment.request(parameters={"region": "europe-west3", "credentials": "hmac"}))


def test_it_asks_iam_for_nothing(environment: Environment, fake: FakeGcs) -> None:
    request = environment.request(parameters=FEDERATION)
    fake.calls()
    answer = bind(environment, request)
    environment.provisioner.provision(builders.again(request, answer))
    environment.delete(builders.recorded(answer, request))
    assert not [each for each in fake.calls() if "/v1/projects/" in each or "hmacKeys" in each]


def test_each_verb_takes_no_more_requests_than_the_readme_says(environment: Environment) -> None:
    request = environment.request(parameters=FEDERATION)

    def counted(verb: Callable[[], object]) -> int:
        with counted_requests() as sent:
            verb()
        return len(sent)

    bound: list[ObjectBucket] = []
    assert counted(lambda: bound.append(bind(environment, request))) == 8
    again = builders.again(request, bound[0])
    assert counted(lambda: environment.provisioner.provision(again)) == 3
    assert counted(lambda: environment.provisioner.is_intact(again)) == 2  # type: ignore[attr-defined]
    assert counted(lambda: environment.delete(builders.recorded(bound[0], request))) == 10


def test_the_first_call_gives_google_a_minute(environment: Environment) -> None:
    """https://cloud.google.com/storage/docs/consistency: nothing here can try what a pod may do."""
    request = environment.request(parameters=FEDERATION)
    with pytest.raises(NotReady, match="a minute") as waiting:
        environment.provisioner.provision(request)
    assert waiting.value.delay == 60
    environment.provisioner.provision(request)


def test_revoke_waits_until_the_permission_is_withdrawn_everywhere(environment: Environment, fake: FakeGcs) -> None:
    fake.knobs.withdraw_seconds = 170
    request = environment.request(parameters=FEDERATION)
    answer = bind(environment, request)
    with pytest.raises(NotReady, match="withdrawn") as waiting:
        environment.provisioner.revoke(builders.recorded(answer, request))
    assert waiting.value.delay == 180
    fake.clock.turn(180)
    environment.provisioner.revoke(builders.recorded(answer, request))
    assert_refused("reading after revoke", lambda: pod(fake).list_keys(answer.bucket_name))


def test_a_revoke_that_is_repeated_too_early_waits_for_the_rest(environment: Environment, fake: FakeGcs) -> None:
    """The author may edit a claim that is being deleted, which retries it at once."""
    request = environment.request(parameters=FEDERATION)
    record = builders.recorded(bind(environment, request), request)
    with pytest.raises(NotReady, match="withdrawn"):
        environment.provisioner.revoke(record)
    fake.clock.turn(60)
    with pytest.raises(NotReady, match="withdrawn") as waiting:
        environment.provisioner.revoke(record)
    assert waiting.value.delay == pytest.approx(120, abs=5)
    fake.clock.turn(waiting.value.delay or 0)
    environment.provisioner.revoke(record)


def test_a_permission_that_went_although_the_answer_was_lost_is_waited_for(
    environment: Environment, fake: FakeGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = environment.request(parameters=FEDERATION)
    record = builders.recorded(bind(environment, request), request)
    with monkeypatch.context() as patched:
        edit = BucketPolicies.edit

        def answer_lost(self: BucketPolicies, *given: Any) -> None:
            edit(self, *given)
            raise StoreUnavailable("the connection was cut", request_id="of-the-lost-answer")

        patched.setattr(BucketPolicies, "edit", answer_lost)
        with pytest.raises(StoreUnavailable):
            environment.provisioner.revoke(record)
    with pytest.raises(NotReady, match="withdrawn") as waiting:
        environment.provisioner.revoke(record)
    assert waiting.value.delay == pytest.approx(180, abs=5)
    fake.clock.turn(waiting.value.delay or 0)
    environment.provisioner.revoke(record)


def test_a_permission_that_an_earlier_process_withdrew_is_waited_for(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    request = environment.request(parameters=FEDERATION)
    record = builders.recorded(bind(environment, request), request)
    with pytest.raises(NotReady, match="withdrawn"):
        environment.provisioner.revoke(record)
    restarted = a_provisioner(fake, backend.admin_key)
    with pytest.raises(NotReady, match="withdrawn") as waiting:
        restarted.revoke(record)
    fake.clock.turn(waiting.value.delay or 0)
    restarted.revoke(record)


def test_a_claim_that_never_got_in_goes_at_once_also_after_a_restart(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    request = environment.request(parameters=FEDERATION)
    a_provisioner(fake, backend.admin_key).revoke(builders.intent(request))


def test_two_claims_of_one_kubernetes_account_come_and_go_one_by_one(environment: Environment, fake: FakeGcs) -> None:
    bucket = environment.foreign_bucket()
    fake.store.buckets[bucket].resource["iamConfiguration"] = {"uniformBucketLevelAccess": {"enabled": True}}
    before = [dict(each) for each in fake.store.buckets[bucket].policy.bindings]
    requests = [environment.request(bucket=bucket, parameters={**FEDERATION, "bucketName": bucket}) for _ in range(2)]
    answers = [environment.patiently(environment.provisioner.grant, each) for each in requests]
    first, second = (builders.recorded(*each, greenfield=False) for each in zip(answers, requests, strict=True))
    environment.revoke(first)
    assert pod(fake).list_keys(bucket) == [OBJECT]
    environment.revoke(second)
    assert_refused("reading after revoke", lambda: pod(fake).list_keys(bucket))
    assert fake.store.buckets[bucket].policy.bindings == before


def test_claims_that_iam_has_no_room_for_are_refused_before_anything_is_made(
    environment: Environment, fake: FakeGcs
) -> None:
    """https://cloud.google.com/iam/quotas: 20 conditional bindings of one role and member."""
    bucket = environment.foreign_bucket()
    fake.store.buckets[bucket].resource["iamConfiguration"] = {"uniformBucketLevelAccess": {"enabled": True}}
    parameters = {**FEDERATION, "bucketName": bucket}
    for _ in range(20):
        request = environment.request(bucket=bucket, parameters=parameters)
        answer = environment.patiently(environment.provisioner.grant, request)
    before = fake.store.buckets[bucket].policy.etag
    one_more = environment.request(bucket=bucket, parameters=parameters)
    with pytest.raises(QuotaExceeded, match="another Kubernetes service account"):
        environment.provisioner.grant(one_more)
    assert fake.store.buckets[bucket].policy.etag == before
    environment.revoke(builders.recorded(answer, request, greenfield=False))
    environment.patiently(environment.provisioner.grant, one_more)


def test_another_kubernetes_account_of_the_claim_replaces_the_first(environment: Environment, fake: FakeGcs) -> None:
    request = environment.request(parameters=FEDERATION, config={"kubernetesServiceAccount": "one"})
    answer = bind(environment, request)
    again = builders.again(request, answer)
    edited = replace(again, claim=replace(again.claim, additional_config={"kubernetesServiceAccount": "two"}))
    environment.patiently(environment.provisioner.provision, edited)
    assert pod(fake, "two").list_keys(answer.bucket_name) == []
    assert_refused("the first account", lambda: pod(fake, "one").list_keys(answer.bucket_name))


def test_a_drift_check_sees_whether_the_permission_stands(environment: Environment, fake: FakeGcs) -> None:
    request = environment.request(parameters=FEDERATION)
    answer = bind(environment, request)
    again = builders.again(request, answer)
    assert environment.provisioner.is_intact(again)  # type: ignore[attr-defined]
    fake.store.buckets[answer.bucket_name].policy.bindings.pop()
    assert not environment.provisioner.is_intact(again)  # type: ignore[attr-defined]
    assert environment.provisioner.provision(again).repairs == ("permission on the bucket",)


def test_a_bucket_without_uniform_access_is_refused(environment: Environment) -> None:
    bucket = environment.foreign_bucket()
    with pytest.raises(RetrySlowly, match="uniform bucket-level access"):
        environment.provisioner.grant(environment.request(bucket=bucket, parameters=FEDERATION))


def test_a_pool_that_does_not_exist_is_named(environment: Environment, fake: FakeGcs) -> None:
    fake.knobs.workload_pool = False
    with pytest.raises(
        StoreRefused, match=r"\(400 \w+\).*workloadIdentityPool \(project-of-the-tests\.svc\.id\.goog\)"
    ):
        bind(environment, environment.request(parameters=FEDERATION))
    fake.knobs.workload_pool = True
    with pytest.raises(StoreRefused, match="workloadIdentityProjectNumber"):
        bind(environment, environment.request(parameters={**FEDERATION, "workloadIdentityProjectNumber": "987654321"}))


def test_a_class_that_gave_keys_before_leaves_none(environment: Environment, fake: FakeGcs) -> None:
    request = environment.request(parameters={"credentials": "both"})
    answer = bind(environment, request)
    email = answer.additional_state["ServiceAccount"]
    again = builders.again(request, answer)
    federated = replace(again, parameters={**again.parameters, **FEDERATION})
    second = environment.patiently(environment.provisioner.provision, federated)
    assert email not in fake.store.accounts
    assert "ServiceAccount" not in second.additional_state
    assert email not in repr(fake.store.buckets[answer.bucket_name].policy.bindings)


@pytest.mark.parametrize("without", ["", *sorted(ROLE)])
def test_the_role_of_the_readme_is_enough_and_each_line_is_needed(
    environment: Environment, fake: FakeGcs, without: str
) -> None:
    provisioner = a_provisioner(fake, fake.add_admin("steward", ROLE - {without}))

    def live() -> None:
        request = environment.request(parameters={**FEDERATION, "revocationSeconds": "0"})
        answer = environment.patiently(provisioner.provision, request)
        versions = replace(request.claim, additional_config={"bucketVersioning": "Enabled"})
        provisioner.provision(replace(builders.again(request, answer), claim=versions))
        application = pod(fake)
        application.put(answer.bucket_name, "key", b"x")
        record = builders.recorded(answer, request)
        fake.store.buckets[answer.bucket_name].folders.add("managed/")
        provisioner.delete(record)
        empty = environment.request(parameters={**FEDERATION, "revocationSeconds": "0"})
        provisioner.delete_empty(builders.recorded(environment.patiently(provisioner.provision, empty), empty))
        foreign = environment.request(parameters=FEDERATION)
        fake.add_foreign_bucket(foreign.bucket_name)
        provisioner.delete(builders.intent(foreign))

    if not without:
        live()
        return
    with pytest.raises(AccessDenied):
        live()


@pytest.fixture
def google(fake: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's own addresses of tokens are the fake's."""
    for module in ("admin_secret", "connector"):
        impersonation = (f"{fake.url}/v1/projects/-/serviceAccounts/",)
        monkeypatch.setattr(f"gcs_provisioner.{module}.IMPERSONATION_ADDRESSES", impersonation)
    monkeypatch.setattr("gcs_provisioner.admin_secret.STS_ADDRESSES", (f"{fake.url}/v1/",))


@pytest.mark.usefixtures("google")
@pytest.mark.parametrize("impersonated", ["", "file", "class"])
def test_the_administrator_may_be_an_external_account(
    environment: Environment, fake: FakeGcs, tmp_path: Path, impersonated: str
) -> None:
    """https://google.aip.dev/auth/4117, with and without a service account that it acts as."""
    (tmp_path / "token").write_text("a-token-of-another-provider")
    member = fake.add_external("a-token-of-another-provider", () if impersonated else ROLE)
    steward: str = json.loads(fake.add_admin("steward", ROLE))["client_email"]
    binding = {"role": "roles/iam.workloadIdentityUser", "members": [member]}
    fake.store.accounts[steward].policy.bindings.append(binding)
    file = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{fake.url}/v1/token",
        "credential_source": {"file": str(tmp_path / "token")},
    }
    if impersonated == "file":
        url = f"{fake.url}/v1/projects/-/serviceAccounts/{steward}:generateAccessToken"
        file["service_account_impersonation_url"] = url
    extra = {"impersonateServiceAccount": steward} if impersonated == "class" else {}
    provisioner = a_provisioner(fake, json.dumps(file))
    request = environment.request(parameters={**FEDERATION, **extra, "project": fake.project})
    answer = environment.patiently(provisioner.provision, request)
    assert pod(fake).list_keys(answer.bucket_name) == []
    environment.patiently(provisioner.delete, builders.recorded(answer, request))
    assert not environment.administrator.bucket_exists(answer.bucket_name)


@pytest.mark.usefixtures("google")
@pytest.mark.parametrize("is_allowed", [True, False])
def test_an_administrators_key_may_act_as_another_service_account(
    environment: Environment, fake: FakeGcs, *, is_allowed: bool
) -> None:
    steward: str = json.loads(fake.add_admin("steward", ROLE))["client_email"]
    key = fake.add_admin("may-nothing-itself", ())
    email = json.loads(key)["client_email"]
    if is_allowed:
        member = f"serviceAccount:{email}#{fake.store.accounts[email].uid}"
        binding = {"role": "roles/iam.serviceAccountTokenCreator", "members": [member]}
        fake.store.accounts[steward].policy.bindings.append(binding)
    provisioner = a_provisioner(fake, key)
    request = environment.request(parameters={**FEDERATION, "impersonateServiceAccount": steward})
    if not is_allowed:
        with pytest.raises(AccessDenied, match=r"roles/iam\.serviceAccountTokenCreator") as refused:
            provisioner.provision(request)
        assert refused.value.request_id
        return
    answer = environment.patiently(provisioner.provision, request)
    assert pod(fake).list_keys(answer.bucket_name) == []
    environment.patiently(provisioner.delete, builders.recorded(answer, request))
    assert not environment.administrator.bucket_exists(answer.bucket_name)


@pytest.mark.usefixtures("google")
def test_an_external_account_that_google_does_not_know_is_told(
    environment: Environment, fake: FakeGcs, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("a-token-of-nobody")
    file = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{fake.url}/v1/token",
        "credential_source": {"file": str(tmp_path / "token")},
    }
    provisioner = a_provisioner(fake, json.dumps(file))
    for content in ("a-token-of-nobody", None):
        if content is None:
            (tmp_path / "token").unlink()
        with pytest.raises(AccessDenied, match="administrator's credentials"):
            provisioner.provision(environment.request(parameters={**FEDERATION, "project": fake.project}))
