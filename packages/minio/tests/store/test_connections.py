"""How MinIO is reached: TLS with an authority of one's own, public endpoints, and every way to get it wrong."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from libbucket import (
    AccessDenied,
    InvalidAdminSecret,
    ProvisionerError,
    RetrySlowly,
    StoreUnavailable,
)
from libbucket._outcomes import MEANINGS
from libbucket.testing import builders
from libbucket.testing.certificates import Authority
from libbucket.testing.conformance.environment import Environment, assert_works
from libbucket.testing.misbehaving import closed_port_url
from libbucket.testing.requests_watched import counted_requests
from minio_provisioner.provisioner import MinioProvisioner
from testkit.minio.backend import MinioBackend, _services, a_provisioner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.minio.server import MinioServer

ADMIN = {"secretName": "admin", "secretNamespace": "minio"}


@pytest.fixture
def tls_world(tls_server: MinioServer) -> Iterator[Environment]:
    environment = Environment(MinioBackend(tls_server))
    yield environment
    environment.clean_up()


def test_an_authority_in_the_class_is_trusted_and_told_to_applications(
    tls_world: Environment, tls_server: MinioServer
) -> None:
    tenant = tls_world.greenfield(tls_world.request(parameters={"caBundle": tls_server.ca_bundle}))
    config = tenant.answer.connection.endpoint.additional_config
    assert config["BUCKET_SSL"] == "true"
    assert config["BUCKET_ENDPOINT"] == tls_server.url
    assert config["BUCKET_CA_CERT"] == tls_server.ca_bundle.strip()
    assert_works(tenant)
    tls_world.delete(tenant.record)
    assert not tls_world.administrator.bucket_exists(tenant.bucket)


def test_an_authority_in_the_administrators_secret_is_trusted(tls_world: Environment, tls_server: MinioServer) -> None:
    secret = {"AWS_ACCESS_KEY_ID": tls_server.user, "AWS_SECRET_ACCESS_KEY": tls_server.password}
    with_ca = a_provisioner(tls_server, **secret, **{"ca.crt": tls_server.ca_bundle})
    assert_works(tls_world.bind(tls_world.request(), greenfield=True, by=with_ca))


@pytest.mark.parametrize("ca_bundle", ["", Authority().certificate_pem.decode()], ids=["none", "another"])
def test_a_certificate_of_another_authority_is_refused_and_ca_bundle_named(
    tls_server: MinioServer, ca_bundle: str
) -> None:
    error = _refused(tls_server, endpoint=tls_server.url, caBundle=ca_bundle)
    assert isinstance(error, RetrySlowly)
    assert "caBundle" in error.message


def test_tls_to_a_plain_port_says_so(server: MinioServer) -> None:
    error = _refused(server, endpoint=f"https://{server.netloc}")
    assert isinstance(error, RetrySlowly)
    assert "does not speak TLS" in error.message


def test_plain_http_to_a_tls_port_says_so(tls_server: MinioServer) -> None:
    error = _refused(tls_server, endpoint=f"http://{tls_server.netloc}")
    assert isinstance(error, RetrySlowly)
    assert "refuses plain HTTP" in error.message


def test_the_address_of_the_console_is_distinguished_from_that_of_the_api(server: MinioServer) -> None:
    error = _refused(server, endpoint=server.console_url)
    assert isinstance(error, RetrySlowly)
    assert "console" in error.message


def test_a_closed_port_is_an_outage(server: MinioServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = _refused(server, endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert isinstance(error, StoreUnavailable)
    assert "refused" in error.message


@pytest.mark.parametrize(
    ("user", "password"), [("root-of-the-tests", "wrong-password"), ("unknown-user", "only-for-the-tests")]
)
def test_wrong_credentials_of_the_administrator_are_named(server: MinioServer, user: str, password: str) -> None:
    error = _refused(server, {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password}, endpoint=server.url)
    assert isinstance(error, AccessDenied)
    assert "secretName" in error.message
    assert password not in error.message


def test_a_secret_without_a_password_is_named(server: MinioServer) -> None:
    error = _refused(server, {"MINIO_ROOT_USER": "root"}, endpoint=server.url)
    assert isinstance(error, InvalidAdminSecret)
    assert "MINIO_ROOT_PASSWORD" in error.message


def test_applications_receive_the_public_endpoint(environment: Environment) -> None:
    request = environment.request(parameters={"publicEndpoint": "https://s3.example.com", "region": "us-east-1"})
    endpoint = environment.provisioner.provision(request).connection.endpoint
    assert (endpoint.bucket_host, endpoint.bucket_port, endpoint.region) == ("s3.example.com", 443, "us-east-1")
    assert endpoint.additional_config == {"BUCKET_SSL": "true", "BUCKET_ENDPOINT": "https://s3.example.com"}


@pytest.mark.parametrize("secure", ["false", "no", ""])
def test_an_endpoint_may_be_host_and_port(environment: Environment, server: MinioServer, secure: str) -> None:
    endpoint = server.netloc if secure else server.url
    assert_works(environment.greenfield(environment.request(parameters={"endpoint": endpoint, "secure": secure})))


def test_a_long_user_id_is_taken(environment: Environment) -> None:
    request = replace(environment.request(), user_id="obc-" + "u" * 60)
    tenant = environment.greenfield(request)
    assert_works(tenant)
    environment.delete(tenant.record)
    assert not environment.administrator.identity_exists(tenant.record)


class Fence:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1


NEVER_REACHED = {
    "unknown host": ({"endpoint": "https://no-such-host.invalid:9000"}, "can't be resolved"),
    "closed port": ({"endpoint": closed_port_url()}, "refused"),
    "untrusted certificate": ({}, "caBundle"),
    "plain port": ({"plain": "yes"}, "does not speak TLS"),
}


@pytest.mark.parametrize("verb", ["provision", "grant", "delete", "delete_empty", "revoke"])
@pytest.mark.parametrize("wrong", NEVER_REACHED)
def test_a_class_whose_store_was_never_reached_has_sent_nothing(
    tls_server: MinioServer, server: MinioServer, wrong: str, verb: str
) -> None:
    given, words = NEVER_REACHED[wrong]
    parameters = {**ADMIN, "endpoint": tls_server.url, **given}
    if "plain" in parameters:
        parameters["endpoint"] = f"https://{server.netloc}"
    fence = Fence()
    provisioner = MinioProvisioner(replace(_services(server), before_request=fence))
    request = builders.options(parameters=parameters)
    argument = request if verb in {"provision", "grant"} else builders.intent(request)
    with pytest.raises(ProvisionerError, match=words) as refused:
        getattr(provisioner, verb)(argument)
    assert fence.asked == 0
    assert MEANINGS[refused.value.reason].before_first_request
    assert refused.value.request_id == ""


@pytest.mark.parametrize(
    ("secret", "parameters", "words"),
    [
        ({"MINIO_ROOT_USER": "unknown-user", "MINIO_ROOT_PASSWORD": "wrong-password"}, {}, "secretName"),
        ({}, {"endpoint": "console"}, "console"),
    ],
    ids=["wrong credentials", "not a MinIO"],
)
def test_a_class_whose_store_refuses_has_asked_it(
    server: MinioServer, secret: dict[str, str], parameters: dict[str, str], words: str
) -> None:
    fence = Fence()
    provisioner = MinioProvisioner(replace(_services(server, **secret), before_request=fence))
    endpoint = server.console_url if parameters else server.url
    with pytest.raises(RetrySlowly, match=words):
        provisioner.provision(builders.options(parameters={**ADMIN, "endpoint": endpoint}))
    assert fence.asked == 1


def test_every_request_of_a_whole_life_asks_the_fence(environment: Environment, server: MinioServer) -> None:
    fence = Fence()
    provisioner = MinioProvisioner(replace(_services(server), before_request=fence))
    with counted_requests() as sent:
        answer = provisioner.provision(request := environment.request())
        provisioner.is_intact(builders.again(request, answer))
        provisioner.delete(builders.recorded(answer, request, greenfield=True))
    assert fence.asked == len(sent)


def test_an_admin_answer_has_its_request_id(server: MinioServer) -> None:
    wrong = {"MINIO_ROOT_USER": "unknown-user", "MINIO_ROOT_PASSWORD": "wrong-password"}
    provisioner = a_provisioner(server, **wrong)
    record = builders.intent(builders.options(parameters={**ADMIN, "endpoint": server.url}))
    with pytest.raises(AccessDenied) as refused:
        provisioner.revoke(record)
    assert len(refused.value.request_id) == 16, "hexadecimal, as MinIO makes them"


def test_a_clock_that_is_wrong_is_named_by_every_verb(server: MinioServer, monkeypatch: pytest.MonkeyPatch) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    for module in ("minio.api", "minio.minioadmin"):
        monkeypatch.setattr(f"{module}.time.utcnow", lambda: yesterday)
    request = builders.options(parameters={**ADMIN, "endpoint": server.url})
    for verb, argument in (("provision", request), ("revoke", builders.intent(request))):
        with pytest.raises(AccessDenied, match="a clock is wrong"):
            getattr(a_provisioner(server), verb)(argument)


def _refused(server: MinioServer, secret: dict[str, str] | None = None, **parameters: str) -> ProvisionerError:
    request = builders.options(parameters={**ADMIN, **parameters})
    with pytest.raises(ProvisionerError) as refused:
        a_provisioner(server, **(secret or {})).provision(request)
    return refused.value
