"""How Google is reached, who the administrator is, and every way to get it wrong."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gcs_provisioner.provisioner import GcsProvisioner
from libbucket import (
    AccessDenied,
    AdminSecretMissing,
    BucketExists,
    InvalidParameters,
    ProvisionerError,
    RetrySlowly,
    SecretStr,
    Services,
    StoreRefused,
    StoreUnavailable,
    Throttled,
)
from libbucket._outcomes import StoreSignal, store_signal
from libbucket.testing import builders
from libbucket.testing.conformance.backend import REQUEST_ID
from libbucket.testing.conformance.environment import Environment, assert_works
from libbucket.testing.misbehaving import Answer, closed_port_url, scripted_server, silent_server
from libbucket.testing.requests_watched import counted_requests
from testkit.gcs.backend import FILE_KEY, QUICK, GcsBackend, a_provisioner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from testkit.gcs.fake import FakeGcs

ADMIN = {"secretName": "admin", "secretNamespace": "gcs"}


def refused_by_all(
    provisioner: GcsProvisioner, *, drift_checks: bool = True, **parameters: str
) -> list[ProvisionerError]:
    """What each verb says, and the drift check, which asks by the claim's key and needs no administrator."""
    request = builders.options(parameters={**ADMIN, **parameters}, credentials=builders.access_keys())
    record = builders.intent(request)
    errors = []
    verbs: list[Callable[[], object]] = [
        lambda: provisioner.provision(request),
        lambda: provisioner.grant(request),
        lambda: provisioner.delete(record),
        lambda: provisioner.revoke(record),
    ]
    if drift_checks:
        verbs.append(lambda: provisioner.is_intact(request))
    for verb in verbs:
        with pytest.raises(ProvisionerError) as refused:
            verb()
        errors.append(refused.value)
    return errors


def test_a_server_that_never_answers_is_given_up_within_the_limit(fake: FakeGcs, backend: GcsBackend) -> None:
    impatient = a_provisioner(fake, backend.admin_key, patience=replace(QUICK, read=0.2))
    with silent_server() as server:
        began = time.monotonic()
        errors = refused_by_all(impatient, endpoint=server.url, iamEndpoint=server.url)
        assert time.monotonic() - began < 10
        assert server.connections == len(errors), "nothing is retried"
    assert {type(each) for each in errors} == {StoreUnavailable}
    assert all("time limit" in each.message for each in errors)


def test_a_token_endpoint_that_never_answers_is_given_up_within_the_limit(fake: FakeGcs, backend: GcsBackend) -> None:
    with silent_server() as server:
        key = json.dumps({**json.loads(backend.admin_key), "token_uri": server.url})
        impatient = a_provisioner(fake, key, patience=replace(QUICK, read=0.2))
        began = time.monotonic()
        errors = refused_by_all(impatient, drift_checks=False, endpoint=fake.url, iamEndpoint=fake.url)
        assert time.monotonic() - began < 10
        assert server.connections == 4, "nothing is retried"
    assert {type(each) for each in errors} == {StoreUnavailable}


@pytest.mark.parametrize("status", [429, 503])
def test_the_delay_that_a_busy_server_asks_for_is_kept(fake: FakeGcs, backend: GcsBackend, status: int) -> None:
    with scripted_server(Answer(status=status, headers={"Retry-After": "7"}, body=b"{}")) as server:
        for error in refused_by_all(a_provisioner(fake, backend.admin_key), endpoint=server.url):
            assert isinstance(error, Throttled)
            assert error.delay == 7


def test_a_busy_token_endpoint_is_not_waited_for_either(fake: FakeGcs, backend: GcsBackend) -> None:
    with scripted_server(Answer(status=503, headers={"Retry-After": "9"}, body=b"{}")) as server:
        key = json.dumps({**json.loads(backend.admin_key), "token_uri": server.url})
        with pytest.raises(Throttled) as refused:
            a_provisioner(fake, key).provision(builders.options(parameters={**ADMIN, "endpoint": fake.url}))
        assert refused.value.delay == 9
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"<html>Welcome</html>", headers={"Content-Type": "text/html"}),
        Answer(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        Answer(status=405, body=b"<html>no</html>"),
    ],
    ids=["page", "redirect", "refusal"],
)
def test_a_web_page_is_told_from_google(fake: FakeGcs, backend: GcsBackend, answer: Answer) -> None:
    with scripted_server(answer) as server:
        for error in refused_by_all(
            a_provisioner(fake, backend.admin_key), endpoint=server.url, iamEndpoint=server.url
        ):
            assert type(error) is RetrySlowly
            assert "endpoint" in error.message


def test_no_server_listening_is_the_stores_failure(fake: FakeGcs, backend: GcsBackend) -> None:
    with silent_server() as server:
        pass
    for error in refused_by_all(a_provisioner(fake, backend.admin_key), endpoint=server.url):
        assert type(error) is StoreUnavailable


def test_a_key_that_google_does_not_know_is_named(fake: FakeGcs) -> None:
    key = json.loads(fake.add_admin("removed"))
    del fake.store.accounts[key["client_email"]]
    unknown = a_provisioner(fake, json.dumps(key))
    for error in refused_by_all(unknown, drift_checks=False, endpoint=fake.url, iamEndpoint=fake.url):
        assert isinstance(error, AccessDenied)
        assert "secretName" in error.message


def test_a_named_secret_that_is_missing_is_no_reason_to_use_the_pods_identity(
    fake: FakeGcs, backend: GcsBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    def missing(namespace: str, name: str) -> Mapping[str, SecretStr]:
        raise AdminSecretMissing(f"Secret {namespace}/{name} does not exist")

    _give_pod_an_identity(monkeypatch, backend, tmp_path)
    provisioner = GcsProvisioner(Services(read_secret=missing), patience=QUICK)
    with pytest.raises(AdminSecretMissing):
        provisioner.provision(builders.options(parameters={**ADMIN, "endpoint": fake.url, "iamEndpoint": fake.url}))


def test_a_class_without_a_secret_uses_the_pods_identity(
    environment: Environment, backend: GcsBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    _give_pod_an_identity(monkeypatch, backend, tmp_path)
    tenant = environment.greenfield(environment.request(parameters={"secretName": "", "secretNamespace": ""}))
    assert_works(tenant)
    environment.delete(tenant.record)
    assert not environment.administrator.bucket_exists(tenant.bucket)


def test_a_class_without_a_secret_on_a_pod_without_an_identity_says_so(
    fake: FakeGcs, backend: GcsBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    # The variable NO_GCE_CHECK, which google-auth reads when it is imported.
    monkeypatch.setattr("google.auth.compute_engine._metadata._NO_GCE_CHECK", True)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    request = builders.options(parameters={"endpoint": fake.url, "iamEndpoint": fake.url})
    with pytest.raises(AccessDenied, match="secretName"):
        a_provisioner(fake, backend.admin_key).provision(request)


def test_an_emulator_that_the_environment_names_is_not_used(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_server(Answer(status=500)) as emulator:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
        request = environment.request()
        answer = environment.provisioner.provision(request)
        environment.delete(builders.recorded(answer, request))
        assert emulator.requests == []


def test_the_project_of_the_class_wins_and_one_must_be_named(fake: FakeGcs) -> None:
    key = {**json.loads(fake.add_admin("provisioner-2")), "project_id": ""}
    provisioner = a_provisioner(fake, json.dumps(key))
    parameters = {**ADMIN, "endpoint": fake.url, "iamEndpoint": fake.url}
    with pytest.raises(InvalidParameters, match="project"):
        provisioner.provision(builders.options(parameters=parameters))
    request = builders.options(parameters={**parameters, "project": fake.project})
    answer = provisioner.provision(request)
    assert answer.additional_state["ServiceAccount"].endswith(f"@{fake.project}.iam.gserviceaccount.com")


def test_applications_are_told_the_endpoint(environment: Environment, fake: FakeGcs) -> None:
    tenant = environment.greenfield()
    endpoint = tenant.answer.connection.endpoint
    assert f"http://{endpoint.bucket_host}:{endpoint.bucket_port}" == fake.url
    url = f"gs://{tenant.bucket}"
    assert endpoint.additional_config == {"BUCKET_SSL": "false", "BUCKET_ENDPOINT": fake.url, "BUCKET_URL": url}
    assert endpoint.region == "us"


def _give_pod_an_identity(monkeypatch: pytest.MonkeyPatch, backend: GcsBackend, folder: object) -> None:
    from pathlib import Path

    path = Path(str(folder)) / "key.json"
    path.write_text(backend.admin_key)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))


class Fence:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1


def fenced(fake: FakeGcs, key: str) -> tuple[GcsProvisioner, Fence]:
    fence, data = Fence(), {FILE_KEY: SecretStr(key)}
    services = Services(read_secret=lambda *_: data, now=fake.clock.now, before_request=fence)
    return GcsProvisioner(services, patience=QUICK), fence


@pytest.fixture(scope="module")
def untrusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An address where TLS is spoken with a certificate that nobody vouches for."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = _self_signed()
    (folder / "pair.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pair.pem")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    connection.settimeout(5)
                    with suppress(OSError), connection, context.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.parametrize("where", ["host", "port", "certificate"])
def test_a_token_endpoint_that_is_never_reached_has_not_asked_the_fence(
    fake: FakeGcs, backend: GcsBackend, untrusted: str, where: str
) -> None:
    url = {"host": "https://store.invalid", "port": closed_port_url(), "certificate": untrusted}[where]
    key = json.dumps({**json.loads(backend.admin_key), "token_uri": f"{url}/token"})
    provisioner, fence = fenced(fake, key)
    errors = refused_by_all(provisioner, drift_checks=False, endpoint=fake.url, iamEndpoint=fake.url)
    assert fence.asked == 0
    assert {type(each) for each in errors} == {RetrySlowly if where == "certificate" else StoreUnavailable}


@pytest.mark.parametrize("where", ["host", "port", "certificate"])
def test_an_endpoint_that_is_never_reached_has_asked_for_tokens_only(
    fake: FakeGcs, backend: GcsBackend, untrusted: str, where: str
) -> None:
    url = {"host": "https://store.invalid", "port": closed_port_url(), "certificate": untrusted}[where]
    provisioner, fence = fenced(fake, backend.admin_key)
    fake.calls()
    errors = refused_by_all(provisioner, endpoint=url, iamEndpoint=url)
    assert len(errors) == 5
    assert [each.partition("?")[0] for each in fake.calls()] == ["POST /oauth2/token"] * fence.asked
    assert fence.asked == 4, "a drift check has no token"


def test_the_fence_is_asked_for_each_request_of_every_verb(
    environment: Environment, fake: FakeGcs, backend: GcsBackend
) -> None:
    provisioner, fence = fenced(fake, backend.admin_key)
    request = environment.request(parameters={"credentials": "both", "revocationSeconds": "0"})
    with counted_requests() as sent:
        answer = provisioner.provision(request)
        assert provisioner.is_intact(builders.again(request, answer))
        provisioner.delete(builders.recorded(answer, request))
    assert fence.asked == len(sent)


def test_requests_through_a_proxy_ask_the_fence(
    fake: FakeGcs, backend: GcsBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_server(Answer(status=418, body=b"{}")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        key = json.dumps({**json.loads(backend.admin_key), "token_uri": "http://tokens.invalid/token"})
        provisioner, fence = fenced(fake, key)
        refused_by_all(provisioner, endpoint="http://storage.invalid", iamEndpoint="http://iam.invalid")
        assert fence.asked == len(proxy.requests) == 5
    monkeypatch.setenv("http_proxy", closed_port_url())
    provisioner, fence = fenced(fake, key)
    refused_by_all(provisioner, endpoint="http://storage.invalid", iamEndpoint="http://iam.invalid")
    assert fence.asked == 0


@pytest.mark.parametrize("status", [400, 403, 409, 412, 418, 422])
@pytest.mark.parametrize("api", ["endpoint", "iamEndpoint"])
def test_an_api_that_refuses_everything_is_no_outage(
    environment: Environment, fake: FakeGcs, backend: GcsBackend, api: str, status: int
) -> None:
    with scripted_server(backend.refusal(status, "nobodyKnowsThis")) as server:
        parameters = {**ADMIN, "endpoint": fake.url, "iamEndpoint": fake.url, api: server.url}
        with pytest.raises(ProvisionerError) as refused:
            environment.provisioner.provision(environment.request(parameters=parameters))
        assert server.requests
    assert store_signal(refused.value) is StoreSignal.ANSWERED
    assert refused.value.request_id == REQUEST_ID
    assert "nobodyKnowsThis" in refused.value.message


def test_a_claim_whose_name_another_customer_has_can_go(environment: Environment, fake: FakeGcs) -> None:
    request = environment.request()
    fake.add_foreign_bucket(request.bucket_name)
    with pytest.raises(BucketExists):
        environment.provisioner.provision(request)
    record = builders.intent(request)
    environment.delete(record)
    environment.delete_empty(record)
    assert request.bucket_name in fake.store.buckets, "and the bucket of the other customer stays"


def test_a_bucket_that_may_be_the_claims_blocks_its_deletion_and_the_permission_is_named(
    environment: Environment, fake: FakeGcs
) -> None:
    request = environment.request()
    answer = environment.provisioner.provision(request)
    whole = fake.store.accounts[f"provisioner@{fake.project}.iam.gserviceaccount.com"].permissions
    lacking = {r"storage\.buckets\.get": whole - {"storage.buckets.get"}, r"storage\.buckets\.list": frozenset[str]()}
    for permission, left in lacking.items():
        fake.allow("provisioner", left)
        with pytest.raises(AccessDenied, match=permission):
            environment.provisioner.delete(builders.intent(request))
    fake.allow("provisioner", whole)
    environment.delete(builders.intent(request))
    assert answer.bucket_name not in fake.store.buckets


def test_a_claim_of_a_project_that_does_not_exist_is_told_and_can_go(environment: Environment) -> None:
    request = environment.request(parameters={"project": "no-such-project-1"})
    with pytest.raises(StoreRefused, match="project"):
        environment.provisioner.provision(request)
    environment.delete(builders.intent(request))
    bucket = environment.foreign_bucket()
    granted = environment.request(bucket=bucket, parameters={"project": "no-such-project-1"})
    with pytest.raises(ProvisionerError, match=r"iam\.serviceAccounts\."):
        environment.provisioner.grant(granted)
    environment.revoke(builders.intent(granted, greenfield=False))
    assert environment.administrator.bucket_exists(bucket)


def _self_signed() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    begin = datetime.now(UTC) - timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(begin).not_valid_after(begin + timedelta(days=2))
    certificate = built.add_extension(address, critical=False).sign(key, hashes.SHA256())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(*form)
