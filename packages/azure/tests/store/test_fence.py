"""The core's fence is asked before every request to the store, with the connection made, and before nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from azure_provisioner.client import Network
from azure_provisioner.provisioner import AzureProvisioner
from libbucket import AccessDenied, ProvisionerError, RetrySoon, SecretStr, Services
from libbucket.testing import builders
from libbucket.testing.misbehaving import Answer, closed_port_url, scripted_server
from testkit.azure.backend import parameters_for
from testkit.azure.fake_entra import CLIENT, TENANT
from testkit.azure.requests import recorded_requests

if TYPE_CHECKING:
    from libbucket.testing.conformance.environment import Environment
    from testkit.azure.azurite import AzuriteServer
    from testkit.azure.fake_entra import FakeEntra

VERBS = ["provision", "grant", "delete", "revoke"]
each_verb = pytest.mark.parametrize("verb", VERBS)


class Fence:
    """Counts how often it is asked, and holds requests back when told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.holds = False

    def __call__(self) -> None:
        self.asked += 1
        if self.holds:
            raise RetrySoon("this replica no longer leads")


def fenced(fence: Fence, secret: dict[str, str], network: Network | None = None) -> AzureProvisioner:
    data = {name: SecretStr(value) for name, value in secret.items()}
    services = Services(read_secret=lambda *_: data, now=lambda: datetime.now(UTC), before_request=fence)
    return AzureProvisioner(services, network or Network(connect_seconds=2, read_seconds=5, wait_seconds=0))


def attempt(verb: str, provisioner: AzureProvisioner, parameters: dict[str, str]) -> ProvisionerError:
    request = builders.options(parameters=parameters)
    argument = request if verb in {"provision", "grant"} else builders.intent(request)
    with pytest.raises(ProvisionerError) as refused:
        getattr(provisioner, verb)(argument)
    return refused.value


def test_it_is_said_that_requests_are_tracked() -> None:
    assert AzureProvisioner.tracks_requests


def test_every_request_asks_it_once(environment: Environment, server: AzuriteServer) -> None:
    fence = Fence()
    provisioner = fenced(fence, {"AZURE_STORAGE_KEY": server.key})
    with recorded_requests() as made:
        tenant = environment.bind(environment.request(), greenfield=True, by=provisioner)
        provisioner.is_intact(builders.again(tenant.request, tenant.answer))
        provisioner.revoke(tenant.record)
        provisioner.delete(tenant.record)
    assert fence.asked == len(made) > 10


@each_verb
@pytest.mark.parametrize("fault", ["unknown host", "closed port", "wrong certificate"])
def test_a_store_that_was_never_reached_has_not_asked_it(tls_server: AzuriteServer, fault: str, verb: str) -> None:
    endpoint = {
        "unknown host": "https://account.store.invalid",
        "closed port": closed_port_url(),
        "wrong certificate": tls_server.endpoint,
    }[fault]
    fence = Fence()
    parameters = {**parameters_for(tls_server), "endpoint": endpoint}
    attempt(verb, fenced(fence, {"AZURE_STORAGE_KEY": tls_server.key}), parameters)
    assert fence.asked == 0


@each_verb
def test_a_store_that_answers_has_asked_it(server: AzuriteServer, verb: str) -> None:
    fence = Fence()
    attempt(verb, fenced(fence, {"AZURE_STORAGE_KEY": "YW5vdGhlciBrZXk="}), parameters_for(server))
    assert fence.asked == 1


@pytest.mark.parametrize("verb", ["provision", "grant", "delete"])
def test_a_request_for_a_token_does_not_ask_it(
    tls_server: AzuriteServer, entra: FakeEntra, trusting: Network, verb: str
) -> None:
    fence = Fence()
    client = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": "a wrong secret"}
    delegated = {"credentials": "user-delegation-sas", "authorityHost": entra.url}
    error = attempt(verb, fenced(fence, client, trusting), {**parameters_for(tls_server), **delegated})
    assert isinstance(error, AccessDenied)
    assert fence.asked == 0
    right = fenced(fence, {**client, "AZURE_CLIENT_SECRET": entra.secret}, trusting)
    request = builders.options(parameters={**parameters_for(tls_server), **delegated})
    right.delete(builders.intent(request))
    assert fence.asked == 2, "for two requests to the store, which both say that there is no such container"


def test_a_request_that_it_holds_back_is_not_sent_though_the_connection_is_made(server: AzuriteServer) -> None:
    fence = Fence()
    fence.holds = True
    with scripted_server(Answer(status=500)) as store:
        parameters = {**parameters_for(server), "endpoint": store.url}
        error = attempt("provision", fenced(fence, {"AZURE_STORAGE_KEY": server.key}), parameters)
        assert store.requests == []
    assert error.message == "this replica no longer leads"
    assert fence.asked == 1


def test_a_request_through_a_proxy_asks_it(server: AzuriteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    fence = Fence()
    provisioner = fenced(fence, {"AZURE_STORAGE_KEY": server.key})
    with scripted_server(Answer(status=409, headers={"x-ms-request-id": "1", "x-ms-error-code": "Unknown"})) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        attempt("provision", provisioner, {**parameters_for(server), "endpoint": "http://account.store.invalid"})
        assert fence.asked == len(proxy.requests) == 1
        fence.holds = True
        attempt("provision", provisioner, {**parameters_for(server), "endpoint": "http://account.store.invalid"})
        assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({}, {"permissions": "rl"}, True),
        ({}, {"endpoint": "https://ACCOUNT.blob.core.windows.net/"}, True),
        ({}, {"storageAccount": "another"}, False),
        ({"endpoint": "http://127.0.0.1:1"}, {"endpoint": "http://127.0.0.1:2"}, False),
        ({"storageAccount": "Not An Account!"}, {}, False),
        ({}, {"credentials": "user-delegation-sas"}, False),
    ],
)
def test_classes_of_one_account_share_a_circuit_breaker(
    one: dict[str, str], other: dict[str, str], is_same: bool
) -> None:
    provisioner = fenced(Fence(), {})
    ids = [provisioner.store_id({"storageAccount": "account", **each}) for each in (one, other)]
    assert (ids[0] == ids[1]) is is_same


def test_the_requests_of_a_class_are_told_by_its_address() -> None:
    provisioner = fenced(Fence(), {})
    assert provisioner.store_id({"storageAccount": "account"}) == "https://account.blob.core.windows.net"
