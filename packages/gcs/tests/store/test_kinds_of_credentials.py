"""What else a claim can get than one kind of key: both, none, or a part of an account that its class shares."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from libbucket import Authentication, BucketOptions, ObjectBucket, QuotaExceeded, RetrySlowly
from libbucket.testing import builders
from libbucket.testing.conformance.environment import CONTENT, OBJECT, Environment, Tenant, assert_refused
from testkit.gcs.applications import HmacApplication, JsonApplication
from testkit.gcs.backend import FILE_KEY, GcsBackend
from testkit.gcs.fake import server
from testkit.gcs.fake.iam_api import new_key
from testkit.gcs.fake.wire import ApiError

if TYPE_CHECKING:
    from testkit.gcs.fake import FakeGcs
    from testkit.gcs.fake.model import Store
    from testkit.gcs.fake.wire import Answer
    from testkit.gcs.fake.wire import Request as FakeRequest

WORKLOAD = {"credentials": "workload-identity"}


def bind(environment: Environment, request: BucketOptions) -> ObjectBucket:
    return environment.patiently(environment.provisioner.provision, request)


def kubernetes_members(fake: FakeGcs, email: str) -> list[str]:
    return [each for binding in fake.store.accounts[email].policy.bindings for each in binding["members"]]


@pytest.fixture
def shared(fake: FakeGcs) -> str:
    """An account that all claims of a class use."""
    email: str = json.loads(fake.add_admin("shared-by-all", ()))["client_email"]
    fake.store.accounts[email].keys.clear()
    return email


def test_both_kinds_of_key_work_side_by_side(environment: Environment, fake: FakeGcs) -> None:
    request = environment.request(parameters={"credentials": "both"})
    answer = bind(environment, request)
    held = answer.connection.authentication
    assert held is not None
    assert held.access_keys is not None
    keys, key = held.access_keys, held.additional_secret_data[FILE_KEY].reveal()
    by_hmac = HmacApplication(
        endpoint=fake.url, access_key=keys.access_key_id, secret_key=keys.secret_access_key.reveal()
    )
    by_key = JsonApplication(endpoint=fake.url, key=key, project=fake.project)
    by_hmac.put(answer.bucket_name, "one", b"1")
    assert by_key.get(answer.bucket_name, "one") == b"1"
    assert bind(environment, builders.again(request, answer)).connection == answer.connection
    environment.revoke(builders.recorded(answer, request))
    assert_refused("an HMAC key", lambda: by_hmac.get(answer.bucket_name, "one"))
    assert_refused("a service-account key", lambda: by_key.get(answer.bucket_name, "one"))


@pytest.mark.parametrize("kind", ["HMAC key", "service-account key"])
def test_a_drift_check_of_both_kinds_of_key_misses_neither(environment: Environment, fake: FakeGcs, kind: str) -> None:
    request = environment.request(parameters={"credentials": "both"})
    answer = bind(environment, request)
    again = builders.again(request, answer)
    assert environment.provisioner.is_intact(again)  # type: ignore[attr-defined]
    if kind == "HMAC key":
        fake.store.hmac_keys.clear()
    else:
        fake.store.accounts[answer.additional_state["ServiceAccount"]].keys.clear()
    assert not environment.provisioner.is_intact(again)  # type: ignore[attr-defined]


def test_a_lost_service_account_key_takes_its_tokens_and_the_other_key_with_it(
    environment: Environment, fake: FakeGcs
) -> None:
    request = environment.request(parameters={"credentials": "both"})
    answer = bind(environment, request)
    held = answer.connection.authentication
    assert held is not None
    before = fake.store.accounts[answer.additional_state["ServiceAccount"]].uid
    halved = replace(builders.again(request, answer), credentials=Authentication(access_keys=held.access_keys))
    halved = replace(halved, credentials_unchanged=False)
    second = bind(environment, halved).connection.authentication
    assert second is not None
    assert second.access_keys != held.access_keys
    assert second.additional_secret_data[FILE_KEY] != held.additional_secret_data[FILE_KEY]
    assert fake.store.accounts[answer.additional_state["ServiceAccount"]].uid != before, "another account by that name"


def test_a_lost_hmac_key_leaves_the_other_key_as_it_is(environment: Environment) -> None:
    request = environment.request(parameters={"credentials": "both"})
    answer = bind(environment, request)
    held = answer.connection.authentication
    assert held is not None
    halved = replace(request, credentials=Authentication(additional_secret_data=held.additional_secret_data))
    second = bind(environment, halved).connection.authentication
    assert second is not None
    assert second.access_keys != held.access_keys
    assert second.additional_secret_data == held.additional_secret_data


def test_a_claim_with_workload_identity_gets_no_key_but_its_own_namespaces_account(
    environment: Environment, fake: FakeGcs
) -> None:
    request = environment.request(parameters=WORKLOAD)
    answer = bind(environment, request)
    held = answer.connection.authentication
    assert held is not None
    email = answer.additional_state["ServiceAccount"]
    assert held.access_keys is None
    assert {name: value.reveal() for name, value in held.additional_secret_data.items()} == {
        "GOOGLE_SERVICE_ACCOUNT_EMAIL": email,
        "GOOGLE_CLOUD_PROJECT": fake.project,
    }
    assert kubernetes_members(fake, email) == [f"serviceAccount:{fake.project}.svc.id.goog[conformance/default]"]
    assert fake.store.accounts[email].keys == {}
    assert fake.store.hmac_keys == {}
    assert bind(environment, builders.again(request, answer)).connection == answer.connection
    environment.delete(builders.recorded(answer, request))
    assert email not in fake.store.accounts


def test_a_claim_names_its_kubernetes_service_account(environment: Environment, fake: FakeGcs) -> None:
    request = environment.request(parameters=WORKLOAD, config={"kubernetesServiceAccount": "uploader"})
    answer = bind(environment, request)
    (member,) = kubernetes_members(fake, answer.additional_state["ServiceAccount"])
    assert member.endswith("[conformance/uploader]")


def test_a_drift_check_without_keys_sees_whether_the_permission_stands(environment: Environment, fake: FakeGcs) -> None:
    request = environment.request(parameters=WORKLOAD)
    answer = bind(environment, request)
    again = builders.again(request, answer)
    assert environment.provisioner.is_intact(again)  # type: ignore[attr-defined]
    fake.store.buckets[answer.bucket_name].policy.bindings.pop()
    assert not environment.provisioner.is_intact(again)  # type: ignore[attr-defined]
    environment.administrator.purge_bucket(answer.bucket_name)
    assert not environment.provisioner.is_intact(again)  # type: ignore[attr-defined]


def test_a_project_without_a_workload_pool_is_told(environment: Environment, fake: FakeGcs) -> None:
    fake.knobs.workload_pool = False
    with pytest.raises(RetrySlowly, match=r"\(400 \w+\).*workloadIdentityPool"):
        bind(environment, environment.request(parameters=WORKLOAD))


def _tenant(environment: Environment, backend: GcsBackend, parameters: dict[str, str], bucket: str) -> Tenant:
    request = environment.request(bucket=bucket, parameters={**parameters, "bucketName": bucket})
    answer = environment.patiently(environment.provisioner.grant, request)
    assert answer.connection.authentication is not None
    application = backend.application(answer.connection.endpoint, answer.connection.authentication)
    return Tenant(request=request, answer=answer, application=application, greenfield=False)


def test_claims_of_a_shared_account_come_and_go_one_by_one(
    environment: Environment, backend: GcsBackend, fake: FakeGcs, shared: str
) -> None:
    bucket = environment.foreign_bucket()
    uniform = backend.administrator.client.bucket(bucket)
    uniform.iam_configuration.uniform_bucket_level_access_enabled = True
    uniform.patch(retry=None)
    before = [dict(each) for each in fake.store.buckets[bucket].policy.bindings]
    first, second = (_tenant(environment, backend, {"serviceAccount": shared}, bucket) for _ in range(2))
    environment.revoke(first.record)
    assert second.application.get(bucket, OBJECT) == CONTENT
    assert_refused("a withdrawn key of a shared account", lambda: first.application.get(bucket, OBJECT))
    environment.revoke(second.record)
    assert fake.store.buckets[bucket].policy.bindings == before
    assert shared in fake.store.accounts, "the account is its owner's"
    assert_refused("the last withdrawn key", lambda: second.application.get(bucket, OBJECT))


def test_a_shared_account_leaves_each_claim_its_own_keys(
    environment: Environment, backend: GcsBackend, shared: str
) -> None:
    parameters = {"serviceAccount": shared}
    first, second = (environment.greenfield(environment.request(parameters=parameters)) for _ in range(2))
    backend.administrator.application().put(second.bucket, OBJECT, CONTENT)
    lost = environment.again(first, with_credentials=False)
    assert lost.credentials != first.credentials
    assert second.application.get(second.bucket, OBJECT) == CONTENT
    environment.delete(lost.record)
    assert second.application.get(second.bucket, OBJECT) == CONTENT


def test_a_shared_account_needs_uniform_access_on_an_existing_bucket(environment: Environment, shared: str) -> None:
    bucket = environment.foreign_bucket()
    with pytest.raises(RetrySlowly, match="uniform bucket-level access"):
        environment.provisioner.grant(environment.request(bucket=bucket, parameters={"serviceAccount": shared}))


def test_a_shared_account_that_is_not_there_is_named(environment: Environment) -> None:
    missing = "nobody@project-of-the-tests.iam.gserviceaccount.com"
    with pytest.raises(RetrySlowly, match=missing):
        bind(environment, environment.request(parameters={"serviceAccount": missing}))


def test_the_eleventh_key_of_a_shared_account_is_refused_with_what_helps(environment: Environment, shared: str) -> None:
    for _ in range(10):
        bind(environment, environment.request(parameters={"serviceAccount": shared}))
    with pytest.raises(QuotaExceeded, match="workload-identity"):
        bind(environment, environment.request(parameters={"serviceAccount": shared}))
    bind(environment, environment.request(parameters={"serviceAccount": shared, **WORKLOAD}))


@pytest.mark.parametrize("status", [400, 429])
def test_the_last_key_of_a_shared_account_is_told_as_a_limit_to_whom_it_is_refused(
    environment: Environment, shared: str, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Another claim makes the tenth key after this one has counted nine.

    https://github.com/googleapis/google-api-dotnet-client/issues/2027 (400, which was 429 before).
    """
    parameters = {"serviceAccount": shared, "credentials": "json-key"}
    for _ in range(9):
        bind(environment, environment.request(parameters=parameters))
    real = server._answer

    def instead(store: Store, request: FakeRequest) -> Answer:
        if request.method != "POST" or not request.path.endswith("/keys"):
            return real(store, request)
        new_key(store, store.accounts[shared])
        rpc = "FAILED_PRECONDITION" if status == 400 else ""
        return ApiError(status, "failedPrecondition" if rpc else "rateLimitExceeded", "Limit.", rpc=rpc).as_rpc()

    monkeypatch.setattr(server, "_answer", instead)
    request = environment.request(parameters=parameters)
    with pytest.raises(QuotaExceeded, match="has 10 keys"):
        environment.patiently(environment.provisioner.provision, request)
