"""What authorities answer, and what becomes of it: in memory, below Azure's own clients."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from azure_provisioner.client import Network, silence_clients
from azure_provisioner.provisioner import AzureProvisioner
from libbucket import AccessDenied, SecretStr, Services, StoreUnavailable
from libbucket.testing import builders
from testkit.azure.error_answers import entra_error_answer, machine_error_answer
from testkit.azure.fake_entra import CLIENT, TENANT
from testkit.azure.fake_identities import ENTRA_HOST, MACHINE_HOST
from testkit.resilience.proxy import Instead
from testkit.resilience.wire import Wire, wired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testkit.azure.error_answers import Answer
    from testkit.resilience.proxy import Request

DELEGATED = {"storageAccount": "account", "credentials": "user-delegation-sas"}
CLIENT_SECRET = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": "secret"}
SECRET = {**DELEGATED, "secretName": "admin", "secretNamespace": "azure"}
CANARY = "what only the authority knows"


@pytest.fixture
def level() -> Iterator[None]:
    """The levels of the clients' loggers are as before."""
    loggers = [logging.getLogger(name) for name in ("azure.identity", "msal")]
    before = [each.level for each in loggers]
    yield
    for logger, each in zip(loggers, before, strict=True):
        logger.setLevel(each)


def provision(
    answered: Callable[[Request], Instead], parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"):
        monkeypatch.delenv(name, raising=False)
    held = {name: SecretStr(value) for name, value in CLIENT_SECRET.items()}
    provisioner = AzureProvisioner(Services(read_secret=lambda *_: held), Network())
    with wired(Wire(answered, lambda _seconds: None), ENTRA_HOST, MACHINE_HOST):
        provisioner.provision(builders.options(bucket_name="photos", parameters=parameters))


def always(answer: Answer) -> Callable[[Request], Instead]:
    status, headers, body = answer
    return lambda _request: Instead(status=status, headers=headers, body=body)


def by_tenant(answer: Answer) -> Callable[[Request], Instead]:
    """Of a tenant that is found, to a request for a token."""

    def answered(request: Request) -> Instead:
        if not request.path.endswith("/openid-configuration"):
            return always(answer)(request)
        base = f"https://{ENTRA_HOST}/{TENANT}"
        urls = {"token_endpoint": f"{base}/oauth2/v2.0/token", "authorization_endpoint": f"{base}/authorize"}
        return Instead(status=200, body=json.dumps({**urls, "issuer": f"{base}/v2.0"}).encode())

    return answered


def refused(answered: Callable[[Request], Instead], parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    with pytest.raises(AccessDenied) as caught:
        provision(answered, parameters, monkeypatch)
    return str(caught.value)


@pytest.mark.parametrize("answer", [machine_error_answer(400, "invalid_request", CANARY)])
@pytest.mark.usefixtures("level")
def test_the_log_does_not_repeat_what_a_machines_identity_service_answers(
    answer: Answer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused(always(answer), DELEGATED, monkeypatch)
    assert CANARY in caplog.text, "the control: the client itself writes it"
    caplog.clear()
    silence_clients()
    refused(always(answer), DELEGATED, monkeypatch)
    assert CANARY not in caplog.text


@pytest.mark.usefixtures("level")
def test_the_log_does_not_repeat_what_answers_in_the_place_of_entra_id(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer = 403, {"Content-Type": "text/html"}, f"<html>{CANARY}</html>".encode()
    refused(by_tenant(answer), SECRET, monkeypatch)
    assert CANARY in caplog.text, "the control: the clients themselves write it"
    caplog.clear()
    silence_clients()
    refused(by_tenant(answer), SECRET, monkeypatch)
    assert CANARY not in caplog.text


def test_a_refusal_of_entra_id_without_a_code_is_named_by_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = 403, {"Content-Type": "application/json"}, b'{"error": "blocked_by_gateway"}'
    assert "(HTTP 403: blocked_by_gateway)" in refused(by_tenant(answer), SECRET, monkeypatch)


def test_what_a_machines_identity_service_refuses_with_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = machine_error_answer(403, "unauthorized_client")
    assert "(HTTP 403: unauthorized_client)" in refused(always(answer), DELEGATED, monkeypatch)
    assert "(HTTP 400)" in refused(always(machine_error_answer(400, "<b>" + CANARY)), DELEGATED, monkeypatch)


def test_a_connection_that_a_machines_identity_service_cuts_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(_request: Request) -> Instead:
        raise ConnectionResetError(104, "Connection reset by peer")

    with pytest.raises(StoreUnavailable, match="the connection was cut"):
        provision(cut, DELEGATED, monkeypatch)


def test_the_first_refusal_of_entra_id_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a refusal the authority library asks for the authority's aliases, and may be refused again."""
    refusals = iter([700024, 90002])

    def answered(request: Request) -> Instead:
        return by_tenant(entra_error_answer(next(refusals), 400, "invalid_request"))(request)

    def looked_up(request: Request) -> Instead:
        is_lookup = request.path.endswith("/openid-configuration")
        return by_tenant((200, {}, b""))(request) if is_lookup else answered(request)

    assert "AADSTS700024" in refused(looked_up, SECRET, monkeypatch)
    assert list(refusals) == [], "the control: it was refused twice"
