"""A class that is edited, or an administrator's Secret that is replaced, between a claim's binding and its end.

The class's parameters are recorded anew with each call, also where that call fails. What an earlier class gave is found
by the claim's own record, and goes with the claim: another claim's access does not.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from libbucket import StoreRefused
from libbucket.testing import builders
from libbucket.testing.conformance.environment import CONTENT, OBJECT, Environment, Tenant, assert_refused, assert_works
from testkit.gcs.backend import GcsBackend, a_provisioner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket import BucketOptions, ObjectBucket
    from testkit.gcs.fake import FakeGcs

FEDERATION = {"credentials": "workload-identity-federation"}


@pytest.fixture
def bucket(environment: Environment, fake: FakeGcs) -> str:
    """An existing bucket that takes conditions, holding one object."""
    name = environment.foreign_bucket()
    fake.store.buckets[name].resource["iamConfiguration"] = {"uniformBucketLevelAccess": {"enabled": True}}
    return name


@pytest.fixture
def shared(fake: FakeGcs) -> str:
    """An account that several claims use, with no permission of its own."""
    email: str = json.loads(fake.add_admin("everyones", ()))["client_email"]
    fake.store.accounts[email].keys.clear()
    return email


def _grant(environment: Environment, backend: GcsBackend, request: BucketOptions) -> Tenant:
    answer = environment.patiently(environment.provisioner.grant, request)
    assert answer.connection.authentication is not None
    application = backend.application(answer.connection.endpoint, answer.connection.authentication)
    return Tenant(request=request, answer=answer, application=application, greenfield=False)


def _claim(environment: Environment, backend: GcsBackend, bucket: str, parameters: Mapping[str, str]) -> Tenant:
    request = environment.request(bucket=bucket, parameters={**parameters, "bucketName": bucket})
    return _grant(environment, backend, request)


def _edited(environment: Environment, tenant: Tenant, parameters: Mapping[str, str]) -> BucketOptions:
    """The next call for this claim, after its class was deleted and created with these parameters."""
    again = builders.again(tenant.request, tenant.answer)
    return replace(again, parameters={**environment.backend.parameters, "bucketName": tenant.bucket, **parameters})


def _recorded(answer: ObjectBucket, request: BucketOptions) -> ObjectBucket:
    return builders.recorded(answer, request, greenfield=False)


@pytest.mark.parametrize("kind", ["hmac", "json-key", "both"])
def test_an_own_account_goes_when_the_class_begins_to_share_one(
    environment: Environment, backend: GcsBackend, fake: FakeGcs, bucket: str, shared: str, kind: str
) -> None:
    before = [dict(each) for each in fake.store.buckets[bucket].policy.bindings]
    first = _claim(environment, backend, bucket, {"credentials": kind})
    own = first.answer.additional_state["ServiceAccount"]
    second = _grant(environment, backend, _edited(environment, first, {"credentials": kind, "serviceAccount": shared}))
    assert second.application.get(bucket, OBJECT) == CONTENT
    assert own not in fake.store.accounts
    assert own not in repr(fake.store.buckets[bucket].policy.bindings)
    assert_refused("the key of the earlier class", lambda: first.application.get(bucket, OBJECT))

    environment.revoke(second.record)
    assert_refused("the key of the shared account", lambda: second.application.get(bucket, OBJECT))
    assert fake.store.buckets[bucket].policy.bindings == before
    assert shared in fake.store.accounts


@pytest.mark.parametrize("kind", ["hmac", "json-key", "both"])
@pytest.mark.parametrize("later", ["own", "federation"])
def test_a_class_that_no_longer_shares_an_account_leaves_others_in(
    environment: Environment, backend: GcsBackend, fake: FakeGcs, bucket: str, shared: str, kind: str, later: str
) -> None:
    sharing = {"credentials": kind, "serviceAccount": shared}
    first, neighbour = (_claim(environment, backend, bucket, sharing) for _ in range(2))
    request = _edited(environment, first, FEDERATION if later == "federation" else {"credentials": kind})
    answer = environment.patiently(environment.provisioner.grant, request)
    assert neighbour.application.get(bucket, OBJECT) == CONTENT
    assert shared != answer.additional_state.get("ServiceAccount")
    assert len(_live_keys(fake, shared)) == len(_live_keys_of(neighbour))

    environment.revoke(_recorded(answer, request))
    assert neighbour.application.get(bucket, OBJECT) == CONTENT
    environment.revoke(neighbour.record)
    assert_refused("the last key of the shared account", lambda: neighbour.application.get(bucket, OBJECT))
    assert not _live_keys(fake, shared)


@pytest.mark.parametrize("parameters", [{}, FEDERATION], ids=["own", "federation"])
def test_a_claim_that_ends_after_its_class_was_edited_takes_its_shared_keys_with_it(
    environment: Environment, backend: GcsBackend, fake: FakeGcs, bucket: str, shared: str, parameters: dict[str, str]
) -> None:
    """The edited class was recorded, and no call has succeeded with it."""
    sharing = {"serviceAccount": shared}
    first, neighbour = (_claim(environment, backend, bucket, sharing) for _ in range(2))
    environment.revoke(_recorded(first.answer, _edited(environment, first, parameters)))
    assert neighbour.application.get(bucket, OBJECT) == CONTENT
    assert _live_keys(fake, shared) == _live_keys_of(neighbour)


def test_a_claim_that_ends_after_its_class_began_to_share_takes_its_own_account_with_it(
    environment: Environment, backend: GcsBackend, fake: FakeGcs, bucket: str, shared: str
) -> None:
    first = _claim(environment, backend, bucket, {"credentials": "json-key"})
    environment.revoke(_recorded(first.answer, _edited(environment, first, {"serviceAccount": shared})))
    assert first.answer.additional_state["ServiceAccount"] not in fake.store.accounts
    assert_refused("the key of a claim that ended", lambda: first.application.get(bucket, OBJECT))
    assert shared in fake.store.accounts


@pytest.mark.parametrize("kind", ["hmac", "json-key", "workload-identity"])
@pytest.mark.parametrize("edit", ["class", "Secret"])
def test_a_claim_keeps_its_account_where_the_project_of_its_class_is_another_one(
    environment: Environment, backend: GcsBackend, fake: FakeGcs, kind: str, edit: str
) -> None:
    """Accounts and HMAC keys are looked up where they were made: an address names its project."""
    request = environment.request(parameters={"credentials": kind})
    answer = environment.patiently(environment.provisioner.provision, request)
    again = builders.again(request, answer)
    provisioner = environment.provisioner
    if edit == "class":
        again = replace(again, parameters={**again.parameters, "project": "another-project-1"})
    else:
        key = {**json.loads(backend.admin_key), "project_id": "another-project-1"}
        provisioner = a_provisioner(fake, json.dumps(key))
    second = environment.patiently(provisioner.provision, again)
    assert second.additional_state == answer.additional_state
    held = answer.connection.authentication
    now = second.connection.authentication
    assert held is not None
    assert now is not None
    assert now.access_keys == held.access_keys

    environment.patiently(provisioner.delete, builders.recorded(second, again))
    assert answer.additional_state["ServiceAccount"] not in fake.store.accounts
    assert not environment.administrator.bucket_exists(answer.bucket_name)


@pytest.mark.parametrize("kind", ["workload-identity", "workload-identity-federation"])
def test_a_claim_keeps_its_identity_pool_where_the_project_of_its_class_is_another_one(
    environment: Environment, fake: FakeGcs, kind: str
) -> None:
    """A pool is found by the number of its project and by its name: those of two projects name none."""
    request = environment.request(parameters={"credentials": kind})
    answer = environment.patiently(environment.provisioner.provision, request)
    again = builders.again(request, answer)
    again = replace(again, parameters={**again.parameters, "project": "another-project-1"})
    before = fake.store.policy_writes
    second = environment.patiently(environment.provisioner.provision, again)
    assert second.additional_state == answer.additional_state
    assert fake.store.policy_writes == before
    environment.patiently(environment.provisioner.delete, builders.recorded(second, again))
    assert not environment.administrator.bucket_exists(answer.bucket_name)


def test_a_class_that_stays_as_it_is_changes_nothing(environment: Environment, fake: FakeGcs) -> None:
    tenant = environment.greenfield()
    fake.calls()
    second = environment.again(tenant)
    assert not [each for each in fake.calls() if not each.startswith("GET") and "/token" not in each]
    assert_works(second)


def _live_keys(fake: FakeGcs, email: str) -> set[str]:
    stamps = {
        each.access_id for each in fake.store.hmac_keys.values() if each.email == email and each.state == "ACTIVE"
    }
    return stamps | set(fake.store.accounts[email].keys)


def _live_keys_of(tenant: Tenant) -> set[str]:
    keys = tenant.credentials.access_keys
    file = tenant.credentials.additional_secret_data.get("GOOGLE_APPLICATION_CREDENTIALS_JSON")
    found = {keys.access_key_id} if keys is not None else set()
    return found | ({json.loads(file.reveal())["private_key_id"]} if file is not None else set())


def test_a_federated_identity_that_a_policy_keeps_does_not_let_its_claim_go(
    environment: Environment, backend: GcsBackend, fake: FakeGcs, bucket: str
) -> None:
    """The class gives keys now, and no call has succeeded with it; no account's removal ends that identity's access."""
    answer = environment.patiently(
        environment.provisioner.grant,
        environment.request(bucket=bucket, parameters={**FEDERATION, "bucketName": bucket}),
    )
    parameters = {**backend.parameters, "bucketName": bucket}
    record = replace(_recorded(answer, environment.last_request), parameters=parameters)
    policy = fake.store.buckets[bucket].policy
    policy.bindings.append({"role": "roles/storage.objectViewer", "members": ["user:jane@elsewhere.example"]})
    fake.knobs.foreign_members = ("user:jane@",)
    with pytest.raises(StoreRefused, match="domain restricted sharing"):
        environment.revoke(record)
    assert "principal://" in repr(policy.bindings)
    fake.knobs.foreign_members = ()

    environment.revoke(record)
    assert "principal://" not in repr(policy.bindings)


@pytest.mark.parametrize("sharing", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("later", ["hmac", "json-key"])
def test_a_class_that_gives_keys_now_lets_no_kubernetes_account_act_as_the_account(
    environment: Environment, backend: GcsBackend, fake: FakeGcs, bucket: str, shared: str, later: str, *, sharing: bool
) -> None:
    sharing_one = {"serviceAccount": shared} if sharing else {}
    parameters = {"credentials": "workload-identity", **sharing_one, "bucketName": bucket}
    request = environment.request(bucket=bucket, parameters=parameters)
    answer = environment.patiently(environment.provisioner.grant, request)
    policy = fake.store.accounts[answer.additional_state["ServiceAccount"]].policy
    assert "[conformance/default]" in repr(policy.bindings)
    edited = builders.again(request, answer)
    edited = replace(edited, parameters={**backend.parameters, **parameters, "credentials": later})
    second = _grant(environment, backend, edited)
    assert second.application.get(bucket, OBJECT) == CONTENT
    assert "[conformance/default]" not in repr(policy.bindings)

    again = builders.again(edited, second.answer)
    asked = replace(again, claim=replace(again.claim, additional_config={"kubernetesServiceAccount": "uploader"}))
    environment.patiently(environment.provisioner.grant, asked)
    assert "[conformance/uploader]" in repr(policy.bindings), "a claim may ask for one with any kind of credentials"
