"""What Azure has beyond the suite: containers that may not go, leases, names that are busy, and the drift check."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError

from azure_provisioner.errors import Refusal
from libbucket import BucketExists, BucketLost, BucketNotEmpty, NotReady, RetrySlowly, SecretStr
from libbucket.testing import builders
from libbucket.testing.conformance.environment import OBJECT, Environment, assert_shut_out, assert_works
from libbucket.testing.misbehaving import Answer, scripted_server
from testkit.azure.application import AzureApplication
from testkit.azure.backend import a_provisioner, impatient
from testkit.azure.requests import recorded_requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket import Authentication, BucketOptions
    from testkit.azure.azurite import AzuriteServer
    from testkit.azure.backend import AzureBackend

XML = {"Content-Type": "application/xml"}
TAGGED = builders.options(user_id="obc-claim")
DATE = format_datetime(datetime.now(UTC), usegmt=True)
REQUEST_ID = {"x-ms-request-id": "1", "Date": DATE, "Last-Modified": "Tue, 03 Nov 2026 10:00:00 GMT", "ETag": '"1"'}


def an_error(status: int, code: str) -> Answer:
    return Answer(status=status, headers={**REQUEST_ID, "x-ms-error-code": code})


def no_policies() -> Answer:
    return Answer(headers={**REQUEST_ID, **XML}, body=b"<SignedIdentifiers />")


def an_empty_container() -> Answer:
    xml = f'<EnumerationResults ContainerName="{TAGGED.bucket_name}"><Blobs /><NextMarker /></EnumerationResults>'
    return Answer(headers={**REQUEST_ID, **XML}, body=xml.encode())


def a_container(**headers: str) -> Answer:
    metadata = {f"x-ms-meta-{key}": value for key, value in TAGGED.owner.ownership_tags().items()}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(headers={**REQUEST_ID, **metadata, "x-ms-lease-state": "available", **named})


def asked_of(server: AzuriteServer, url: str) -> BucketOptions:
    parameters = {"storageAccount": server.account, "endpoint": url, "secretName": "a", "secretNamespace": "b"}
    return replace(TAGGED, parameters=parameters)


@pytest.mark.parametrize("verb", ["delete", "delete_empty"])
@pytest.mark.parametrize(
    ("kept_by", "advice"),
    [
        ("x-ms-has-immutability-policy", "immutability policy: delete the policy if it is unlocked"),
        ("x-ms-has-legal-hold", "legal-hold clear"),
        ("x-ms-immutable-storage-with-versioning-enabled", "version-level immutability support.*container-rm delete"),
    ],
)
def test_a_container_that_azure_keeps_is_not_touched(
    server: AzuriteServer, kept_by: str, advice: str, verb: str
) -> None:
    with scripted_server(a_container(**{kept_by: "true"})) as azure:
        with pytest.raises(BucketNotEmpty, match=advice):
            getattr(a_provisioner(server), verb)(builders.intent(asked_of(server, azure.url)))
        assert [request.split()[0] for request in azure.requests] == ["GET"], "only read"
    with scripted_server(a_container(), no_policies(), Answer(status=202, headers=REQUEST_ID)) as azure:
        a_provisioner(server).delete(builders.intent(asked_of(server, azure.url)))
        assert [request.split()[0] for request in azure.requests] == ["GET", "GET", "DELETE"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("BlobImmutableDueToPolicy", "keeps from deletion"),
        ("ContainerProtectedFromDeletion", "keeps from deletion"),
        ("ContainerImmutableStorageWithVersioningEnabled", "container-rm delete"),
        ("ContainerImmutabilityPolicyLocked", "delete the policy if it is unlocked"),
        ("ContainerImmutabilityPolicyOfTheFuture", "delete the policy if it is unlocked"),
        ("ContainerLegalHoldExists", "legal-hold clear"),
    ],
)
def test_what_azure_itself_keeps_from_deletion_is_told_the_same_way(
    server: AzuriteServer, code: str, advice: str
) -> None:
    refused = an_error(409, code)
    with scripted_server(a_container(), no_policies(), refused) as azure, pytest.raises(BucketNotEmpty, match=advice):
        a_provisioner(server).delete(builders.intent(asked_of(server, azure.url)))


def test_a_name_that_is_still_busy_is_retried_half_a_minute_later(server: AzuriteServer) -> None:
    gone, busy = an_error(404, "ContainerNotFound"), an_error(409, "ContainerBeingDeleted")
    with scripted_server(gone, busy) as azure, pytest.raises(NotReady, match="still being deleted") as waiting:
        a_provisioner(server).provision(asked_of(server, azure.url))
    assert waiting.value.delay == 30


@pytest.mark.parametrize("verb", ["provision", "grant"])
def test_a_container_that_is_going_is_waited_for(server: AzuriteServer, verb: str) -> None:
    with scripted_server(an_error(409, "ContainerBeingDeleted")) as azure, pytest.raises(NotReady) as waiting:
        getattr(a_provisioner(server), verb)(asked_of(server, azure.url))
    assert waiting.value.delay == 30


@pytest.mark.parametrize(
    ("answer", "requests"), [(an_error(409, "ContainerBeingDeleted"), 3), (an_error(404, "ContainerNotFound"), 4)]
)
def test_a_container_that_is_going_or_gone_already_is_deleted(
    server: AzuriteServer, answer: Answer, requests: int
) -> None:
    with scripted_server(a_container(), no_policies(), answer) as azure:
        a_provisioner(server).delete(builders.intent(asked_of(server, azure.url)))
        assert len(azure.requests) == requests


@pytest.mark.parametrize("verb", ["delete", "delete_empty", "revoke"])
@pytest.mark.parametrize("code", ["ContainerNotFound", "ResourceNotFound"])
def test_one_answer_does_not_prove_that_a_container_is_gone(server: AzuriteServer, verb: str, code: str) -> None:
    with scripted_server(an_error(404, code), an_empty_container()) as azure, pytest.raises(NotReady):
        getattr(a_provisioner(server), verb)(builders.intent(asked_of(server, azure.url)))


@pytest.mark.parametrize("verb", ["delete", "delete_empty", "revoke"])
def test_two_different_requests_prove_it(server: AzuriteServer, verb: str) -> None:
    with scripted_server(an_error(404, "ContainerNotFound")) as azure:
        getattr(a_provisioner(server), verb)(builders.intent(asked_of(server, azure.url)))
        assert len(set(azure.requests)) == 2


def test_a_deletion_that_finds_nothing_is_not_believed_at_once(server: AzuriteServer) -> None:
    gone = an_error(404, "ContainerNotFound")
    with (
        scripted_server(a_container(), no_policies(), gone, an_empty_container()) as azure,
        pytest.raises(NotReady, match="both that it exists") as unclear,
    ):
        a_provisioner(server).delete(builders.intent(asked_of(server, azure.url)))
    assert unclear.value.request_id == "1"


def test_revoking_waits_until_azure_stops_letting_the_sas_in(
    server: AzuriteServer,
) -> None:
    """Azure may go on for some seconds with a policy that is gone; azurite does not."""
    xml = {**REQUEST_ID, "Content-Type": "application/xml"}
    no_policies = Answer(headers=xml, body=b"<SignedIdentifiers />")
    still_in = Answer(headers=xml, body=b"<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>")

    def revoke(url: str) -> None:
        record = builders.intent(asked_of(server, url))
        state = {"AccessPolicy": "obc-policy-1"}
        record = replace(record, connection=replace(record.connection, additional_state=state))
        impatient(server).revoke(record)

    with (
        scripted_server(no_policies, still_in) as azure,
        pytest.raises(NotReady, match="still accepts") as waiting,
    ):
        revoke(azure.url)
    assert waiting.value.delay == 5
    with scripted_server(no_policies, an_error(403, "AuthenticationFailed")) as azure:
        revoke(azure.url)
        assert len(azure.requests) == 2


def test_a_new_policy_that_azure_does_not_know_yet_is_kept_for_the_next_call(
    environment: Environment, backend: AzureBackend
) -> None:
    request = environment.request()
    with pytest.MonkeyPatch.context() as patch:
        refused = Refusal(code="AuthenticationFailed", is_out_of_policy=False, request_id="1")
        patch.setattr("azure_provisioner.storage.Storage.try_sas", lambda *_: refused)
        with pytest.raises(NotReady, match="AuthenticationFailed") as waiting:
            impatient(backend.server).provision(request)
    assert waiting.value.delay == 5
    before = set(backend.administrator.policies(request.bucket_name))
    assert_works(environment.greenfield(request))
    assert set(backend.administrator.policies(request.bucket_name)) == before


def test_a_container_that_is_leased_without_end_is_not_deleted_and_the_lease_is_named(
    environment: Environment, backend: AzureBackend
) -> None:
    tenant = environment.tenant(greenfield=True)
    backend.administrator.service.get_container_client(tenant.bucket).acquire_lease(-1)
    with pytest.raises(RetrySlowly, match="lease without end"):
        environment.provisioner.delete(tenant.record)
    assert tenant.application.list_keys(tenant.bucket) == [OBJECT]
    backend.administrator.break_lease(tenant.bucket)
    environment.delete(tenant.record)
    assert not backend.administrator.bucket_exists(tenant.bucket)


def test_a_container_whose_policies_are_just_being_edited_is_deleted_a_moment_later(
    environment: Environment, backend: AzureBackend
) -> None:
    tenant = environment.tenant(greenfield=True)
    lease = backend.administrator.service.get_container_client(tenant.bucket).acquire_lease(15)
    with pytest.raises(NotReady, match="lease"):
        environment.provisioner.delete(tenant.record)
    lease.release()
    environment.delete(tenant.record)
    assert not backend.administrator.bucket_exists(tenant.bucket)


def test_leases_and_snapshots_of_its_objects_do_not_keep_a_container(
    environment: Environment, backend: AzureBackend
) -> None:
    tenant = environment.tenant(greenfield=True)
    blob: Any = backend.administrator.application().blob(tenant.bucket, OBJECT)
    blob.create_snapshot()
    blob.acquire_lease(-1)
    environment.delete(tenant.record)
    assert not backend.administrator.bucket_exists(tenant.bucket)


def test_policies_of_a_guest_go_with_the_container_and_the_guest_is_revoked_all_the_same(
    environment: Environment,
) -> None:
    owner = environment.tenant(greenfield=True)
    guest = environment.brownfield(owner.bucket)
    environment.delete(owner.record)
    assert_shut_out(guest)
    environment.revoke(guest.record)


def test_metadata_that_were_added_stays_beside_the_tags(environment: Environment, backend: AzureBackend) -> None:
    tenant = environment.greenfield()
    container = backend.administrator.service.get_container_client(tenant.bucket)
    container.set_container_metadata({**tenant.request.owner.ownership_tags(), "cost_centre": "42"})
    environment.again(tenant)
    assert container.get_container_properties().metadata["cost_centre"] == "42"


def test_a_container_that_another_program_made_is_tagged_and_its_metadata_kept(
    environment: Environment, backend: AzureBackend
) -> None:
    bucket = environment.foreign_bucket()
    container = backend.administrator.service.get_container_client(bucket)
    container.set_container_metadata({"cost_centre": "42"})
    tenant = environment.greenfield(replace(environment.request(bucket=bucket), taken_over=True))
    assert container.get_container_properties().metadata == {
        **tenant.request.owner.ownership_tags(),
        "cost_centre": "42",
    }
    thief = replace(environment.request(bucket=bucket), taken_over=True)
    with pytest.raises(BucketExists):
        environment.provisioner.provision(thief)
    with pytest.raises(BucketExists):
        environment.provisioner.delete(replace(builders.intent(thief), taken_over=True))


def test_a_drift_check_of_a_bound_claim_is_one_request_with_its_own_sas(
    environment: Environment, server: AzuriteServer
) -> None:
    def must_not_be_read(namespace: str, name: str) -> Any:
        raise AssertionError(f"{namespace}/{name} must not be read for a drift check")

    tenant = environment.tenant(greenfield=True)
    checker = a_provisioner(server)
    object.__setattr__(checker._services, "read_secret", must_not_be_read)
    with recorded_requests() as made:
        assert checker.is_intact(builders.again(tenant.request, tenant.answer))
    assert made == ["HEAD blob"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda backend, tenant: backend.administrator.remove_identity(tenant.record),
        lambda backend, tenant: backend.administrator.purge_bucket(tenant.bucket),
    ],
    ids=["policy", "container"],
)
def test_a_drift_check_finds_what_was_removed(
    environment: Environment, backend: AzureBackend, damage: Callable[[Any, Any], None]
) -> None:
    tenant = environment.tenant(greenfield=True)
    request = builders.again(tenant.request, tenant.answer)
    checker = a_provisioner(backend.server)
    assert checker.is_intact(request)
    damage(backend, tenant)
    assert not checker.is_intact(request)
    if backend.administrator.bucket_exists(tenant.bucket):
        assert_works(environment.bind(request, greenfield=True))
    else:
        with pytest.raises(BucketLost):
            checker.provision(request)


def test_a_drift_check_finds_a_wrong_secret_without_asking_azure(
    environment: Environment, server: AzuriteServer
) -> None:
    tenant, other_tenant = environment.tenant(greenfield=True), environment.tenant(greenfield=True)
    request = builders.again(tenant.request, tenant.answer)
    checker = a_provisioner(server)
    assert checker.is_intact(request)
    delegated = {**request.parameters, "credentials": "user-delegation-sas", "endpoint": "https://127.0.0.1:1"}
    with recorded_requests() as made:
        assert not checker.is_intact(replace(request, credentials=None))
        assert not checker.is_intact(replace(request, credentials=other_tenant.credentials))
        assert not checker.is_intact(replace(request, credentials=_with_an_edited_url(tenant.credentials)))
        assert not checker.is_intact(replace(request, parameters=delegated))
        assert not checker.is_intact(replace(request, bucket_name="Not A Name"))
    assert made == []


def test_a_key_that_another_controller_added_to_the_secret_is_no_drift(
    environment: Environment, server: AzuriteServer
) -> None:
    tenant = environment.tenant(greenfield=True)
    request = builders.again(tenant.request, tenant.answer)
    more = {**tenant.credentials.additional_secret_data, "reloader.example.com": SecretStr("x")}
    with_another_key = replace(request, credentials=replace(tenant.credentials, additional_secret_data=more))
    with recorded_requests() as made:
        assert a_provisioner(server).is_intact(with_another_key)
    assert made == ["HEAD blob"]
    assert not a_provisioner(server).is_intact(
        replace(with_another_key, credentials=_with_an_edited_url(tenant.credentials))
    )


def test_a_claim_that_was_refused_for_anothers_container_leaves_nothing_in_the_way_of_its_deletion(
    environment: Environment, backend: AzureBackend
) -> None:
    owner = environment.tenant(greenfield=True)
    before = backend.administrator.policies(owner.bucket)
    request = environment.request(bucket=owner.bucket)
    with pytest.raises(BucketExists):
        environment.provisioner.provision(request)
    with pytest.raises(BucketExists):
        environment.provisioner.delete(builders.intent(request))
    with recorded_requests() as made:
        environment.provisioner.revoke(
            builders.intent(request)
        )  # what the core does next for a claim that was never bound
    assert made == ["GET acl"]
    assert set(backend.administrator.policies(owner.bucket)) == set(before)
    assert_works(owner)


def test_an_edit_of_one_key_of_the_secret_is_repaired_with_the_same_sas(environment: Environment) -> None:
    tenant = environment.tenant(greenfield=True)
    edited = replace(tenant.request, credentials=_with_an_edited_url(tenant.credentials))
    assert environment.bind(edited, greenfield=True).credentials == tenant.credentials


def test_a_sas_of_this_claim_does_not_set_its_own_permissions(environment: Environment, server: AzuriteServer) -> None:
    """What a SAS that is bound to a policy may do is in the policy: its holder adds nothing."""
    tenant = environment.greenfield(environment.request(parameters={"permissions": "rl"}))
    token = tenant.credentials.additional_secret_data["AZURE_STORAGE_SAS_TOKEN"].reveal()
    assert "sp=" not in token
    assert "se=" not in token
    wider = AzureApplication.with_sas(server.url, f"{token}&sp=racwdl&se=2040-01-01")
    with pytest.raises(HttpResponseError) as refused:
        wider.blob(tenant.bucket, "new").upload_blob(b"x")
    assert refused.value.status_code == 403
    wider.close()


def _with_an_edited_url(credentials: Authentication) -> Authentication:
    data = {**credentials.additional_secret_data, "AZURE_STORAGE_CONTAINER_URL": SecretStr("https://elsewhere")}
    return replace(credentials, additional_secret_data=data)
