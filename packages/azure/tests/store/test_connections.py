"""How Azure is reached: keys, identities, authorities, endpoints, and every way to get them wrong."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient

from azure_provisioner.client import Network
from azure_provisioner.provisioner import AzureProvisioner
from azure_provisioner.tokens import Tokens
from libbucket import (
    AccessDenied,
    AdminSecretMissing,
    InvalidAdminSecret,
    InvalidParameters,
    NotReady,
    ProvisionerError,
    RetrySlowly,
    SecretStr,
    Services,
    StoreUnavailable,
    Throttled,
)
from libbucket.testing import builders
from libbucket.testing.conformance.environment import OBJECT, Environment, Tenant, assert_refused, assert_works
from libbucket.testing.misbehaving import Answer, closed_port_url, scripted_server, silent_server
from testkit.azure.application import AzureApplication, client_settings
from testkit.azure.backend import AzureBackend, a_provisioner, parameters_for
from testkit.azure.fake_entra import CLIENT, TENANT, FakeEntra
from testkit.azure.front_end import azure_front
from testkit.azure.requests import recorded_requests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from libbucket import BucketOptions
    from testkit.azure.azurite import AzuriteServer

POD_VARIABLES = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST")
OTHER_KEY = base64.b64encode(b"another key").decode()


def test_every_form_of_the_sas_works_by_itself(environment: Environment, server: AzuriteServer) -> None:
    tenant = environment.tenant(greenfield=True)
    held = {name: value.reveal() for name, value in tenant.credentials.additional_secret_data.items()}
    assert held["AZURE_STORAGE_ACCOUNT"] == held["AZURE_STORAGE_ACCOUNT_NAME"] == server.account
    by_string = BlobServiceClient.from_connection_string(held["AZURE_STORAGE_CONNECTION_STRING"], **client_settings(""))
    by_url = ContainerClient.from_container_url(held["AZURE_STORAGE_CONTAINER_URL"], **client_settings(""))
    with by_string, by_url:
        assert [found.name for found in by_url.list_blobs()] == [OBJECT]
        assert [found.name for found in by_string.get_container_client(tenant.bucket).list_blobs()] == [OBJECT]
    by_sas = AzureApplication.with_sas(server.url, held["AZURE_STORAGE_SAS_TOKEN"])
    assert by_sas.list_keys(tenant.bucket) == [OBJECT]
    by_sas.close()


@pytest.mark.parametrize("key", ["AZURE_STORAGE_KEY", "AZURE_STORAGE_CONNECTION_STRING", "second key"])
def test_the_accounts_key_never_leaves_the_administrators_secret(
    environment: Environment, server: AzuriteServer, key: str
) -> None:
    whole = f"DefaultEndpointsProtocol=https;AccountName={server.account};AccountKey={server.key};EndpointSuffix=x"
    secrets = {
        "AZURE_STORAGE_KEY": {"AZURE_STORAGE_KEY": f" {server.key}\n"},
        "AZURE_STORAGE_CONNECTION_STRING": {"AZURE_STORAGE_CONNECTION_STRING": whole},
        "second key": {"AZURE_STORAGE_KEY": server.second_key},
    }
    tenant = environment.bind(environment.request(), greenfield=True, by=a_provisioner(server, secrets[key]))
    assert_works(tenant)
    held = " ".join(value.reveal() for value in tenant.credentials.additional_secret_data.values())
    assert server.key not in held + repr(tenant.answer)
    assert server.second_key not in held + repr(tenant.answer)
    assert "AccountKey" not in held


def test_applications_are_told_where_the_account_is(environment: Environment, server: AzuriteServer) -> None:
    endpoint = environment.greenfield().answer.connection.endpoint
    host, _, port = server.endpoint.removeprefix("http://").partition(":")
    assert (endpoint.bucket_host, endpoint.bucket_port) == (host, int(port))
    assert (endpoint.region, endpoint.sub_region) == ("", "")
    assert endpoint.additional_config == {"AZURE_STORAGE_BLOB_ENDPOINT": server.url}


def test_a_sas_is_of_no_use_in_the_clear_where_tls_is_spoken(tls_world: Environment) -> None:
    tenant = tls_world.tenant(greenfield=True)
    token = tenant.credentials.additional_secret_data["AZURE_STORAGE_SAS_TOKEN"].reveal()
    assert "spr=https&" in token
    assert_works(tenant)


def test_a_sas_follows_the_administrator_to_the_other_key_of_the_account_without_a_gap(
    environment: Environment, server: AzuriteServer, backend: AzureBackend
) -> None:
    by_second = a_provisioner(server, {"AZURE_STORAGE_KEY": server.second_key})
    first = environment.bind(environment.request(), greenfield=True, by=by_second)
    assert environment.again(first, by=by_second).credentials == first.credentials
    before = set(backend.administrator.policies(first.bucket))
    second = environment.again(first)
    assert second.credentials != first.credentials
    assert set(backend.administrator.policies(first.bucket)) == before
    for each in (first, second):
        assert_works(each)
    assert environment.again(second).credentials == second.credentials


def test_a_sas_of_a_key_that_was_regenerated_is_signed_again(environment: Environment) -> None:
    first = environment.greenfield()
    damaged = replace(first, answer=_signed_with_a_key_that_is_gone(first))
    second = environment.again(damaged)
    assert second.credentials != damaged.credentials
    assert_works(second)


def test_a_class_says_what_its_claims_may_do(environment: Environment) -> None:
    reader = environment.greenfield(environment.request(parameters={"permissions": "lr"}))
    environment.administrator.application().put(reader.bucket, OBJECT, b"x")
    assert reader.application.get(reader.bucket, OBJECT) == b"x"
    assert_refused("writing with rl", lambda: reader.application.put(reader.bucket, "new", b"x"))
    assert_refused("deleting with rl", lambda: reader.application.delete(reader.bucket, OBJECT))
    blind = environment.greenfield(environment.request(parameters={"permissions": "rcw"}))
    blind.application.put(blind.bucket, OBJECT, b"x")
    assert blind.application.get(blind.bucket, OBJECT) == b"x"
    assert environment.again(blind).credentials == blind.credentials
    assert_refused("listing with rcw", lambda: blind.application.list_keys(blind.bucket))


def test_tags_and_snapshots_of_its_objects_are_open_to_a_claim(environment: Environment) -> None:
    tenant = environment.tenant(greenfield=True)
    assert isinstance(tenant.application, AzureApplication)
    blob = tenant.application.blob(tenant.bucket, OBJECT)
    blob.set_blob_tags({"colour": "red"})
    assert blob.get_blob_tags() == {"colour": "red"}
    container = tenant.application.service.get_container_client(tenant.bucket)
    assert [found["name"] for found in container.find_blobs_by_tags("\"colour\"='red'")] == [OBJECT]
    assert blob.create_snapshot()["snapshot"]


@pytest.mark.parametrize(
    "change",
    [
        lambda container: container.get_container_properties(),
        lambda container: container.set_container_metadata({"objectbucket_claim_uid": "another"}),
        lambda container: container.get_container_access_policy(),
        lambda container: container.set_container_access_policy({}),
        lambda container: container.acquire_lease(15),
    ],
    ids=["properties", "tag", "reading-policies", "policies", "lease"],
)
def test_the_settings_of_its_own_container_are_closed_to_a_claim(environment: Environment, change: Any) -> None:
    tenant = environment.tenant(greenfield=True)
    assert isinstance(tenant.application, AzureApplication)
    with pytest.raises(HttpResponseError) as refused:
        change(tenant.application.service.get_container_client(tenant.bucket))
    assert refused.value.status_code == 403
    application = environment.administrator.application()
    assert isinstance(application, AzureApplication)
    change(application.service.get_container_client(tenant.bucket))


@pytest.mark.parametrize("parameters", [{"credentials": "user-delegation-sas"}, {}], ids=["delegated", "stored"])
def test_an_administrators_secret_that_is_missing_is_never_replaced_by_what_the_pod_has(
    monkeypatch: pytest.MonkeyPatch, tls_server: AzuriteServer, parameters: dict[str, str], tmp_path: Path
) -> None:
    for name in POD_VARIABLES:
        monkeypatch.setenv(name, str(tmp_path))

    def missing(namespace: str, name: str) -> Any:
        raise AdminSecretMissing(f"Secret {namespace}/{name} does not exist")

    provisioner = AzureProvisioner(Services(read_secret=missing))
    with recorded_requests() as made, pytest.raises(AdminSecretMissing):
        provisioner.provision(builders.options(parameters={**parameters_for(tls_server), **parameters}))
    assert made == []


def test_a_wrong_account_key_is_distinguished_from_a_missing_permission_by_naming_both(server: AzuriteServer) -> None:
    error = _refused(server, {"AZURE_STORAGE_KEY": OTHER_KEY})
    assert isinstance(error, AccessDenied)
    assert "the account key is another one" in error.message
    assert "Storage Blob Data Contributor" in error.message
    assert "containers/read" in error.message
    assert "Secret azure/admin" in error.message
    assert OTHER_KEY not in error.message


@pytest.mark.parametrize("port", ["closed", "tls"])
def test_no_server_listening_and_plain_http_to_a_tls_port_are_told(
    server: AzuriteServer, tls_server: AzuriteServer, port: str
) -> None:
    closed = closed_port_url()
    endpoint = closed if port == "closed" else tls_server.endpoint.replace("https", "http")
    error = _refused(server, {"AZURE_STORAGE_KEY": server.key}, endpoint=endpoint)
    assert isinstance(error, StoreUnavailable | RetrySlowly)
    if port == "closed":
        assert "refused" in error.message


def test_tls_to_a_plain_port_says_so(server: AzuriteServer) -> None:
    error = _refused(server, {"AZURE_STORAGE_KEY": server.key}, endpoint=server.endpoint.replace("http", "https"))
    assert isinstance(error, RetrySlowly)
    assert "does not speak TLS" in error.message


def test_an_authority_that_is_not_trusted_is_told_with_the_fix(tls_server: AzuriteServer) -> None:
    untrusting = a_provisioner(tls_server, network=Network())
    with pytest.raises(RetrySlowly, match="REQUESTS_CA_BUNDLE"):
        untrusting.provision(builders.options(parameters=parameters_for(tls_server)))


def test_the_authorities_of_the_environment_are_trusted(
    tls_world: Environment, tls_server: AzuriteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", tls_server.ca_file)
    assert_works(tls_world.bind(tls_world.request(), greenfield=True, by=a_provisioner(tls_server, network=Network())))


@pytest.fixture
def no_pod_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in POD_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def delegated(tls_world: Environment, entra: FakeEntra, no_pod_identity: None) -> Iterator[BucketOptions]:
    del no_pod_identity
    entra.asked.clear()
    entra.refusals.clear()
    parameters = {"credentials": "user-delegation-sas", "authorityHost": entra.url}
    yield tls_world.request(parameters=parameters)
    entra.failure = 0


@pytest.fixture
def without_secret(delegated: BucketOptions) -> BucketOptions:
    kept = {name: value for name, value in delegated.parameters.items() if not name.startswith("secret")}
    return replace(delegated, parameters=kept)


def _as_client(server: AzuriteServer, network: Network, secret: str, tokens: Tokens | None = None) -> AzureProvisioner:
    client = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": secret}
    return a_provisioner(server, client, network=network, tokens=tokens)


def test_a_client_secret_is_taken_to_the_authority_that_the_class_names(
    tls_world: Environment, tls_server: AzuriteServer, entra: FakeEntra, trusting: Network, delegated: BucketOptions
) -> None:
    assert_works(tls_world.bind(delegated, greenfield=True, by=_as_client(tls_server, trusting, entra.secret)))
    assert entra.asked == ["secret"]


def test_a_wrong_client_secret_is_refused_without_repeating_it(
    tls_server: AzuriteServer, entra: FakeEntra, trusting: Network, delegated: BucketOptions
) -> None:
    with pytest.raises(AccessDenied, match="AZURE_CLIENT_SECRET") as refused:
        _as_client(tls_server, trusting, "a wrong secret").provision(delegated)
    assert "a wrong secret" not in refused.value.message
    assert "Secret azure/admin" in refused.value.message
    assert entra.asked == ["refused"]


def test_workload_identity_shows_the_pods_own_token(
    tls_world: Environment,
    tls_server: AzuriteServer,
    entra: FakeEntra,
    trusting: Network,
    without_secret: BucketOptions,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "token").write_text(entra.assertion)
    variables = {"TENANT_ID": TENANT, "CLIENT_ID": CLIENT, "FEDERATED_TOKEN_FILE": str(tmp_path / "token")}
    for name, value in variables.items():
        monkeypatch.setenv(f"AZURE_{name}", value)
    provisioner = a_provisioner(tls_server, network=trusting)
    assert_works(tls_world.bind(without_secret, greenfield=True, by=provisioner))
    assert entra.asked == ["assertion"]
    provisioner.provision(without_secret)
    assert entra.asked == ["assertion"], "the token is used until it ends"
    (tmp_path / "token").write_text("another.pods.token")
    with pytest.raises(AccessDenied, match="the pod's own identity"):
        provisioner.provision(without_secret)
    (tmp_path / "token").unlink()
    with pytest.raises(AccessDenied, match="AZURE_FEDERATED_TOKEN_FILE"):
        provisioner.provision(without_secret)
    monkeypatch.delenv("AZURE_TENANT_ID")
    with pytest.raises(AccessDenied, match="AZURE_TENANT_ID"):
        provisioner.provision(without_secret)


def test_a_pod_without_an_identity_is_told_what_to_do(
    tls_server: AzuriteServer, trusting: Network, without_secret: BucketOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Azure's address for machines would be asked: simulate a machine outside Azure.
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", closed_port_url())
    with pytest.raises(AccessDenied, match="secretName"):
        a_provisioner(tls_server, network=trusting).provision(without_secret)


def test_a_hundred_verbs_ask_for_one_token(
    tls_world: Environment, tls_server: AzuriteServer, entra: FakeEntra, trusting: Network, delegated: BucketOptions
) -> None:
    provisioner = _as_client(tls_server, trusting, entra.secret)
    tenant = tls_world.bind(delegated, greenfield=True, by=provisioner)
    for _ in range(99):
        provisioner.provision(builders.again(tenant.request, tenant.answer))
    assert entra.asked == ["secret"]


def test_a_token_of_one_secret_is_not_used_for_another(
    entra: FakeEntra, trusting: Network, delegated: BucketOptions
) -> None:
    secret = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": entra.secret}
    held = {name: SecretStr(value) for name, value in secret.items()}
    provisioner = AzureProvisioner(Services(read_secret=lambda *_: held), trusting)
    provisioner.provision(delegated)
    held["AZURE_CLIENT_SECRET"] = SecretStr("a wrong secret")
    with pytest.raises(AccessDenied, match="AADSTS7000215"):
        provisioner.provision(delegated)
    held["AZURE_CLIENT_SECRET"] = SecretStr(entra.secret)
    provisioner.provision(delegated)
    assert entra.asked == ["secret", "refused"]


def test_a_token_that_the_store_refuses_is_not_used_again(
    tls_world: Environment, tls_server: AzuriteServer, entra: FakeEntra, trusting: Network, delegated: BucketOptions
) -> None:
    provisioner = _as_client(tls_server, trusting, entra.secret)
    refusal = {"x-ms-request-id": "1", "x-ms-error-code": "InvalidAuthenticationInfo"}
    with azure_front(tls_server) as front:
        front.answers["GET container"] = (401, refusal)
        with pytest.raises(AccessDenied):
            provisioner.provision(delegated)
    assert_works(tls_world.bind(delegated, greenfield=True, by=provisioner))
    assert entra.asked == ["secret", "secret"]


@pytest.mark.parametrize("code", [70021, 700211, 700213])
def test_a_federated_token_that_entra_id_refuses_now_and_then_is_shown_again_before_a_person_is_called(
    tls_world: Environment,
    tls_server: AzuriteServer,
    entra: FakeEntra,
    trusting: Network,
    delegated: BucketOptions,
    code: int,
) -> None:
    provisioner = _as_client(tls_server, trusting, entra.secret)
    entra.refusals = [code, code]
    assert_works(tls_world.bind(delegated, greenfield=True, by=provisioner))
    assert entra.asked == ["secret"] * 3


def test_a_federated_token_that_entra_id_keeps_refusing_is_told_with_its_code_and_request(
    tls_server: AzuriteServer, entra: FakeEntra, trusting: Network, delegated: BucketOptions
) -> None:
    entra.refusals = [700213] * 3
    clock = [0.0]
    provisioner = _as_client(tls_server, trusting, entra.secret, Tokens(clock=lambda: clock[0]))
    with pytest.raises(NotReady, match="with some valid requests: retried") as early:
        provisioner.provision(delegated)
    assert early.value.delay
    assert early.value.delay < 10, "no worker waits, and nobody for long"
    assert len(entra.asked) == 1
    clock[0] += 59
    with pytest.raises(NotReady) as later:
        provisioner.provision(delegated)
    assert later.value.request_id == entra.request_ids[-1]
    clock[0] += 2
    with pytest.raises(AccessDenied, match=r"issuer, subject and audience.*AADSTS700213") as refused:
        provisioner.provision(delegated)
    assert refused.value.request_id == entra.request_ids[-1]
    assert len(entra.asked) == 3


def test_refusals_that_may_pass_are_forgotten_once_a_token_was_issued(
    tls_world: Environment, tls_server: AzuriteServer, entra: FakeEntra, trusting: Network, delegated: BucketOptions
) -> None:
    entra.refusals = [700213]
    clock = [0.0]
    tokens = Tokens(clock=lambda: clock[0])
    provisioner = _as_client(tls_server, trusting, entra.secret, tokens)
    assert_works(tls_world.bind(delegated, greenfield=True, by=provisioner))
    clock[0] += 120
    tokens._kept.clear()  # it has ended
    entra.refusals = [700213]
    with pytest.raises(NotReady):
        provisioner.provision(delegated)


def test_what_entra_id_says_is_transient_is_an_outage_of_its_own(
    tls_server: AzuriteServer, entra: FakeEntra, trusting: Network, delegated: BucketOptions
) -> None:
    entra.refusals = [90033] * 3
    with pytest.raises(StoreUnavailable, match="authority that issues tokens"):
        _as_client(tls_server, trusting, entra.secret).provision(delegated)


def test_a_refusal_that_does_not_pass_is_not_retried(
    tls_server: AzuriteServer, entra: FakeEntra, trusting: Network, delegated: BucketOptions
) -> None:
    entra.refusals = [7000222]
    with pytest.raises(AccessDenied, match="expired"):
        _as_client(tls_server, trusting, entra.secret).provision(delegated)
    assert len(entra.asked) == 1


MACHINE = {"Content-Type": "application/json"}


def _machine_token() -> Answer:
    body = {"access_token": "a.b.c", "expires_in": "3600", "resource": "r", "token_type": "Bearer"}
    return Answer(headers=MACHINE, body=json.dumps(body).encode())


@pytest.mark.parametrize("status", [404, 410, 429, 500, 503])
def test_a_machine_whose_identity_service_is_being_updated_is_asked_again_soon(
    tls_server: AzuriteServer,
    trusting: Network,
    without_secret: BucketOptions,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    with scripted_server(Answer(status=status, headers=MACHINE, body=b"{}"), _machine_token()) as machine:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", machine.url)
        provisioner = a_provisioner(tls_server, network=trusting)
        with pytest.raises((StoreUnavailable, Throttled), match="machine's identity service"):
            provisioner.provision(without_secret)
        with pytest.raises(AccessDenied):  # azurite's turn: it takes no such token
            provisioner.provision(without_secret)
        assert len(machine.requests) == 2


def test_a_machine_whose_identity_service_does_not_answer_is_an_outage_and_says_what_may_block_it(
    tls_server: AzuriteServer, trusting: Network, without_secret: BucketOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = replace(trusting, read_seconds=0.3)
    with silent_server() as machine:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", machine.url)
        with pytest.raises(StoreUnavailable, match=r"network policy.*169\.254\.169\.254"):
            a_provisioner(tls_server, network=impatient).provision(without_secret)


def test_a_machine_without_an_identity_is_told_what_to_do(
    tls_server: AzuriteServer, trusting: Network, without_secret: BucketOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"error": "invalid_request", "error_description": "Identity not found"}).encode()
    with scripted_server(Answer(status=400, headers={**MACHINE, "x-ms-request-id": "machine-1"}, body=body)) as machine:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", machine.url)
        with pytest.raises(AccessDenied, match="secretName") as refused:
            a_provisioner(tls_server, network=trusting).provision(without_secret)
    assert refused.value.request_id == "machine-1"


def test_a_busy_authority_is_waited_for(
    tls_server: AzuriteServer, entra: FakeEntra, trusting: Network, delegated: BucketOptions
) -> None:
    provisioner = _as_client(tls_server, trusting, entra.secret)
    entra.failure = 429
    with pytest.raises(Throttled) as busy:
        provisioner.provision(delegated)
    assert busy.value.delay == 7
    entra.failure = 500
    with pytest.raises(StoreUnavailable):
        provisioner.provision(delegated)


def test_an_authority_that_is_not_there_is_distinguished_from_wrong_credentials(
    tls_server: AzuriteServer, entra: FakeEntra, trusting: Network, delegated: BucketOptions
) -> None:
    nowhere = closed_port_url().replace("http", "https")
    elsewhere = replace(delegated, parameters={**delegated.parameters, "authorityHost": nowhere})
    with pytest.raises(StoreUnavailable, match="authority that issues tokens"):
        _as_client(tls_server, trusting, entra.secret).provision(elsewhere)


def test_a_tenant_that_does_not_exist_is_named(
    tls_server: AzuriteServer, trusting: Network, delegated: BucketOptions
) -> None:
    secret = {"AZURE_TENANT_ID": "no-such-tenant", "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": "x"}
    with pytest.raises(AccessDenied, match="tenant"):
        a_provisioner(tls_server, secret, network=trusting).provision(delegated)


def test_a_tenant_that_is_none_is_told_by_its_key(
    tls_server: AzuriteServer, trusting: Network, delegated: BucketOptions
) -> None:
    secret = {"AZURE_TENANT_ID": "no tenant at all", "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": "x"}
    with pytest.raises(InvalidAdminSecret, match="AZURE_TENANT_ID"):
        a_provisioner(tls_server, secret, network=trusting).provision(delegated)


@pytest.mark.parametrize(
    ("secret", "parameters", "named"),
    [
        ("client", {}, "AZURE_STORAGE_KEY"),
        ("key", {"credentials": "user-delegation-sas"}, "AZURE_CLIENT_SECRET"),
    ],
)
def test_a_secret_of_the_other_kind_is_told_what_is_needed(
    tls_server: AzuriteServer, secret: str, parameters: dict[str, str], named: str
) -> None:
    client = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": "x"}
    held = client if secret == "client" else {"AZURE_STORAGE_KEY": tls_server.key}
    error = _refused(tls_server, held, **parameters)
    assert isinstance(error, InvalidAdminSecret)
    assert named in error.message


def test_the_pods_own_identity_can_not_sign_for_a_stored_access_policy(tls_server: AzuriteServer) -> None:
    parameters = {"storageAccount": tls_server.account, "endpoint": tls_server.endpoint}
    with pytest.raises(InvalidParameters, match="user-delegation-sas"):
        a_provisioner(tls_server).provision(builders.options(parameters=parameters))


def _refused(server: AzuriteServer, secret: dict[str, str], **parameters: str) -> ProvisionerError:
    request = builders.options(parameters={**parameters_for(server), **parameters})
    with pytest.raises(ProvisionerError) as refused:
        a_provisioner(server, secret).provision(request)
    return refused.value


def _signed_with_a_key_that_is_gone(tenant: Tenant) -> Any:
    held = tenant.credentials.additional_secret_data
    token = held["AZURE_STORAGE_SAS_TOKEN"].reveal()
    signature = token.rpartition("sig=")[2]
    damaged = {name: type(value)(value.reveal().replace(signature, OTHER_KEY)) for name, value in held.items()}
    connection = tenant.answer.connection
    return replace(
        tenant.answer,
        connection=replace(connection, authentication=replace(tenant.credentials, additional_secret_data=damaged)),
    )
