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
CANARY = "what only the authority knows"


@pytest.fixture
def level() -> Iterator[None]:
    """The level of the clients' logger is as before."""
    logger = logging.getLogger("azure.identity")
    before = logger.level
    yield
    logger.setLevel(before)


def provision(
    answered: Callable[[Request], Instead], parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"):
        monkeypatch.delenv(name, raising=False)
    held = {name: SecretStr(value) for name, value in CLIENT_SECRET.items()}
    provisioner = AzureProvisioner(Services(read_secret=lambda *_: held), Network())
    with wired(Wire(answered, lambda _seconds: None), ENTRA_HOST, MACHINE_HOST):
        provisioner.provision(builders.options(bucket_name="photos", parameters=parameters))


def refused(answer: Answer, parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    status, headers, body = answer
    with pytest.raises(AccessDenied) as caught:
        provision(lambda _request: Instead(status=status, headers=headers, body=body), parameters, monkeypatch)
    return str(caught.value)


@pytest.mark.parametrize("answer", [machine_error_answer(400, "invalid_request", CANARY)])
@pytest.mark.usefixtures("level")
def test_the_log_does_not_repeat_what_a_machines_identity_service_answers(
    answer: Answer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused(answer, DELEGATED, monkeypatch)
    assert CANARY in caplog.text, "the control: the client itself writes it"
    caplog.clear()
    silence_clients()
    refused(answer, DELEGATED, monkeypatch)
    assert CANARY not in caplog.text


@pytest.mark.usefixtures("level")
def test_the_log_does_not_repeat_what_entra_id_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer = entra_error_answer(7000215, 401, "invalid_client", CANARY)
    parameters = {**DELEGATED, "secretName": "admin", "secretNamespace": "azure"}
    silence_clients()
    refused(answer, parameters, monkeypatch)
    assert CANARY not in caplog.text


def test_what_a_machines_identity_service_refuses_with_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = machine_error_answer(403, "unauthorized_client")
    assert "(HTTP 403: unauthorized_client)" in refused(answer, DELEGATED, monkeypatch)
    assert "(HTTP 400)" in refused(machine_error_answer(400, "<b>" + CANARY), DELEGATED, monkeypatch)


def test_a_connection_that_a_machines_identity_service_cuts_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(_request: Request) -> Instead:
        raise ConnectionResetError(104, "Connection reset by peer")

    with pytest.raises(StoreUnavailable, match="the connection was cut"):
        provision(cut, DELEGATED, monkeypatch)


def test_the_first_refusal_of_entra_id_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a refusal the authority library asks for the authority's aliases, and may be refused again."""
    refusals = iter([700024, 90002])

    def answered(request: Request) -> Instead:
        if request.path.endswith("/openid-configuration"):
            base = f"https://{ENTRA_HOST}/{TENANT}"
            urls = {"token_endpoint": f"{base}/oauth2/v2.0/token", "authorization_endpoint": f"{base}/authorize"}
            return Instead(status=200, body=json.dumps({**urls, "issuer": f"{base}/v2.0"}).encode())
        status, headers, body = entra_error_answer(next(refusals), 400, "invalid_request")
        return Instead(status=status, headers=headers, body=body)

    with pytest.raises(AccessDenied, match="AADSTS700024"):
        provision(answered, {**DELEGATED, "secretName": "admin", "secretNamespace": "azure"}, monkeypatch)
    assert list(refusals) == [], "the control: it was refused twice"
