"""What goes over the wire to Azure, whichever version of its client is installed."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient

from azure_provisioner.admin_secret import Admin
from azure_provisioner.client import Clients, Network, connect_as_claim
from azure_provisioner.identity import StoredPolicies
from azure_provisioner.parameters import parse_parameters
from azure_provisioner.policy import Acl, StoredPolicy
from libbucket import SecretStr, StoreUnavailable
from libbucket.testing.misbehaving import Answer, scripted_server

if TYPE_CHECKING:
    from collections.abc import Callable

WITH_FRACTIONS = StoredPolicy(
    id="others", start="2020-01-01T00:00:00.1234567Z", expiry="2040-01-01T10:00:00.7654321Z", permission="rl"
)
A_DATE = StoredPolicy(id="a date", expiry="2040-01-01", permission="r")
ONLY_A_PERMISSION = StoredPolicy(id="only a permission", permission="lr")


def test_policies_of_others_are_sent_as_they_were_read() -> None:
    """Azure's client writes times its own way: without what `_AsItIs` does, others' policies would change or vanish."""
    policies = (WITH_FRACTIONS, A_DATE, ONLY_A_PERMISSION)
    bodies = _bodies_of(
        lambda stored: stored.acl._write("photos", Acl(public_access=None, policies=policies), _lease(), NOW)
    )
    (body,) = bodies
    found = [
        {re.sub("{.*}", "", part.tag): part.text for part in each.iter() if part.text} for each in ET.fromstring(body)
    ]
    assert found == [
        {
            "Id": "others",
            "Start": "2020-01-01T00:00:00.1234567Z",
            "Expiry": "2040-01-01T10:00:00.7654321Z",
            "Permission": "rl",
        },
        {"Id": "a date", "Expiry": "2040-01-01", "Permission": "r"},
        {"Id": "only a permission", "Permission": "lr"},
    ]


def test_requests_name_this_provisioner_and_its_version() -> None:
    parameters = parse_parameters({"storageAccount": "account", "secretName": "a", "secretNamespace": "b"})
    with connect_as_claim(parameters, "photos", SecretStr("sig=x"), Network()) as client:
        assert str(client._config.user_agent_policy.user_agent).startswith("libbucket-azure/0.")


NOW = datetime(2026, 11, 3, 10, tzinfo=UTC)


def _lease() -> Any:
    class Lease:
        id = "11111111-2222-3333-4444-555555555555"

    return Lease()


def _bodies_of(act: Callable[[StoredPolicies], object]) -> list[bytes]:
    sent: list[bytes] = []
    real = RequestsTransport.send

    def send(self: RequestsTransport, request: Any, **settings: Any) -> Any:
        sent.append(request.body if isinstance(request.body, bytes) else request.body.encode())
        return real(self, request, **settings)

    parameters = parse_parameters({"storageAccount": "account", "secretName": "a", "secretNamespace": "b"})
    with (
        scripted_server(Answer(status=500, headers={"x-ms-request-id": "1"})) as server,
        pytest.MonkeyPatch.context() as patch,
        BlobServiceClient(
            server.url, credential={"account_name": "account", "account_key": "a2V5"}, retry_total=0
        ) as it,
    ):
        patch.setattr(RequestsTransport, "send", send)
        admin = Admin(key=SecretStr("a2V5"))
        clients = Clients(parameters=parameters, admin=admin, service=it, network=Network())
        with pytest.raises(StoreUnavailable):
            act(StoredPolicies(clients=clients, prefix="obc-", try_sas=lambda *_: None))
    return sent
