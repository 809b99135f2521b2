"""What authorities answer, and what becomes of it: in memory, below Azure's own clients."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from testkit.aws_s3.wire import Wire, wired

from azure_provisioner.client import Network, silence_clients
from azure_provisioner.provisioner import AzureProvisioner
from libbucket import AccessDenied, SecretStr, Services
from libbucket.testing import builders
from testkit.azure.error_answers import entra_error_answer, machine_error_answer
from testkit.azure.fake_entra import CLIENT, TENANT
from testkit.azure.fake_identities import ENTRA_HOST, MACHINE_HOST
from testkit.resilience.proxy import Instead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.azure.error_answers import Answer

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


def refused(answer: Answer, parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"):
        monkeypatch.delenv(name, raising=False)
    held = {name: SecretStr(value) for name, value in CLIENT_SECRET.items()}
    provisioner = AzureProvisioner(Services(read_secret=lambda *_: held), Network())
    status, headers, body = answer
    wire = Wire(lambda _request: Instead(status=status, headers=headers, body=body), lambda _seconds: None)
    with wired(wire, (ENTRA_HOST, MACHINE_HOST)), pytest.raises(AccessDenied):
        provisioner.provision(builders.options(bucket_name="photos", parameters=parameters))


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
