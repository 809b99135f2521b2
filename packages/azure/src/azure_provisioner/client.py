"""Connections to one storage account: as the administrator, and as a claim with its SAS; with time limits, no retries.

Opened once per verb by `provisioner` and closed after it, so that no state of a request outlives it. Knows nothing of
ownership tags, policies and claims.
"""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from azure.core import PipelineClient
from azure.core.credentials import AzureSasCredential
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, UserAgentPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import (
    CertificateCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.storage.blob import BlobServiceClient, ContainerClient
from requests.adapters import HTTPAdapter

from azure_provisioner.admin_secret import CERTIFICATE
from azure_provisioner.clocks import machine_time
from azure_provisioner.errors import Call, check_response
from azure_provisioner.tokens import Identity, KeptCredential, Tokens, identity_key
from libbucket import AccessDenied, InvalidAdminSecret, ProvisionerError, Reason, fence_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from urllib3 import ProxyManager

    from azure_provisioner.admin_secret import Admin, Client
    from azure_provisioner.parameters import Parameters
    from libbucket import SecretStr

    Hook = Callable[[Any], None]

_TOKEN_FILE: Final = "AZURE_FEDERATED_TOKEN_FILE"  # noqa: S105 - the name of a variable


_USER_AGENT: Final = f"libbucket-azure/{version('azure-provisioner')}"
_TALKATIVE: Final = ("azure.identity", "msal")
"""Loggers of azure-identity, which warns with an authority's sentence, and of msal, with a whole page as an error."""
_SETTLE_SECONDS: Final = 30.0


def silence_clients() -> None:
    """Keeps what clients of authorities log out of the log: it repeats what an authority answers. Called at start."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def no_fence() -> None:
    """Lets every request go."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """How connections are made.

    Attributes:
        connect_seconds: time limit for a connection.
        read_seconds: time limit for an answer as a whole.
        wait_seconds: how long a verb waits for a lease that another worker holds, before it says NotReady.
        settle_seconds: how long a store's front ends may go on with access policies that were changed; None for 30, as
            "Define a stored access policy", REST reference of Azure Storage, has it, and for 0 where the class names an
            emulator, which has no front ends.
        ca_file: PEM of the authorities to trust; empty for the machine's, or those that REQUESTS_CA_BUNDLE names.
        clock: tells the time of this machine, which is compared with Azure's.
        fence: asked before each request to the store; see `Services.before_request`.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    wait_seconds: float = 1.0
    settle_seconds: float | None = None
    ca_file: str = ""
    clock: Callable[[], datetime] = machine_time
    fence: Callable[[], None] = no_fence


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What one verb works with.

    Attributes:
        parameters: of the class.
        admin: whose credentials `service` has.
        service: the account, as the administrator.
        network: how connections are made.
    """

    parameters: Parameters
    admin: Admin
    service: BlobServiceClient
    network: Network

    def call(self, action: str) -> Call:
        """What is about to be done as the administrator, for messages."""
        whole = f"Microsoft.Storage/storageAccounts/blobServices/{action}"
        return Call(url=self.parameters.url, action=whole, source=self.admin.named, clock=self.network.clock)

    @property
    def settle_seconds(self) -> float:
        """How long front ends of the store may go on with access policies that were changed."""
        if self.network.settle_seconds is not None:
            return self.network.settle_seconds
        return 0 if self.parameters.is_emulated else _SETTLE_SECONDS

    def keep_headers(self, kept: list[Mapping[str, str]]) -> Hook:
        """A `raw_response_hook` of one request, which keeps the headers of its answers and replaces the client's own.

        Args:
            kept: to which headers are added.
        """

        def keep(response: Any) -> None:
            check_response(response, self.parameters.url)
            kept.append(response.http_response.headers)

        return keep

    def container(self, name: str) -> ContainerClient:
        """One container, as the administrator; its connections are the service's."""
        return self.service.get_container_client(name)


@contextmanager
def connect(parameters: Parameters, admin: Admin, network: Network, tokens: Tokens) -> Iterator[Clients]:
    """Clients for one verb; their connections are closed at the end, whatever happens.

    Args:
        parameters: of the class.
        admin: whose credentials are used.
        network: how connections are made.
        tokens: of this process: an identity asks for one when the last has ended, or the store has refused it.
    """
    with ExitStack() as stack:
        credential: Any = _key(parameters, admin)
        if parameters.needs_identity:
            credential = KeptCredential(_identity(parameters, admin, network), tokens)
            stack.enter_context(_forgotten_when_refused(credential))
        service = stack.enter_context(
            BlobServiceClient(parameters.url, credential=credential, **_settings(parameters, network))
        )
        yield Clients(parameters=parameters, admin=admin, service=service, network=network)


@contextmanager
def connect_management(
    parameters: Parameters, admin: Admin, network: Network, tokens: Tokens
) -> Iterator[PipelineClient[Any, Any]]:
    """Azure Resource Manager, as the administrator's identity.

    The base of Azure's clients, and not the client of this service: that has thousands of files for four requests.

    Args:
        parameters: of the class.
        admin: whose identity is used.
        network: how connections are made.
        tokens: of this process.
    """
    credential = KeptCredential(_identity(parameters, admin, network), tokens)
    policies = [
        UserAgentPolicy(_USER_AGENT),
        BearerTokenCredentialPolicy(credential, f"{parameters.management_url}/.default"),
    ]
    transport = _FencedTransport(network, **_connections(network))
    with (
        _forgotten_when_refused(credential),
        _management_client(parameters, policies, transport) as client,
    ):
        yield client


def _management_client(parameters: Parameters, policies: Any, transport: Any) -> PipelineClient[Any, Any]:
    return PipelineClient(parameters.management_url, policies=policies, transport=transport)


@contextmanager
def _forgotten_when_refused(credential: KeptCredential) -> Iterator[None]:
    try:
        yield
    except ProvisionerError as error:
        if error.reason is Reason.ACCESS_DENIED:
            credential.forget()
        raise


@contextmanager
def connect_as_claim(
    parameters: Parameters, container: str, sas: SecretStr, network: Network
) -> Iterator[ContainerClient]:
    """The container as an application has it that knows nothing but its SAS."""
    credential = AzureSasCredential(sas.reveal())
    with ContainerClient(parameters.url, container, credential=credential, **_settings(parameters, network)) as client:
        yield client


def _settings(parameters: Parameters, network: Network) -> dict[str, Any]:
    return {
        **_limits(network),
        "user_agent": _USER_AGENT,  # tells our requests from others' in Azure's logs
        "permit_redirects": False,  # an account never sends elsewhere; and a SAS in the address would go along
        "raw_response_hook": lambda response: check_response(response, parameters.url),
    }


def _limits(network: Network) -> dict[str, Any]:
    # A request that was sent may have been carried out: the core tries again, looking first.
    connections = _connections(network)
    return {"retry_total": 0, "transport": _FencedTransport(network, **connections), **connections}


def _connections(network: Network) -> dict[str, Any]:
    return {
        "connection_timeout": network.connect_seconds,
        "read_timeout": network.read_seconds,
        **({"connection_verify": network.ca_file} if network.ca_file else {}),
    }


class _FencedAdapter(HTTPAdapter):
    """Connections that ask before they send, those through a proxy too."""

    def __init__(self, network: Network, **settings: Any) -> None:
        super().__init__(**settings)
        self._network = network
        fence_requests(self.poolmanager, network.fence, answer_seconds=network.read_seconds)

    def proxy_manager_for(self, proxy: str, **settings: Any) -> ProxyManager:
        """As the base class's own."""
        is_new = proxy not in self.proxy_manager
        manager: ProxyManager = super().proxy_manager_for(proxy, **settings)
        if is_new:
            fence_requests(manager, self._network.fence, answer_seconds=self._network.read_seconds)
        return manager


class _FencedTransport(RequestsTransport):  # type: ignore[misc,unused-ignore]
    """The SDK's own, whose connections ask before they send."""

    def __init__(self, network: Network, **settings: Any) -> None:
        super().__init__(**settings)
        self._network = network

    def open(self) -> None:
        """As the SDK's own."""
        is_new = not self.session
        super().open()
        if is_new:
            for scheme, adapter in list(self.session.adapters.items()):
                self.session.mount(scheme, _FencedAdapter(self._network, max_retries=adapter.max_retries))


def _key(parameters: Parameters, admin: Admin) -> dict[str, str] | None:
    if admin.key is None:
        return None
    return {"account_name": parameters.account, "account_key": admin.key.reveal()}


def _identity(parameters: Parameters, admin: Admin, network: Network) -> Identity:
    """An application of Entra ID; or the pod's own identity, only where the class names no Secret."""
    # Without the fence: nothing of this goes to the store.
    settings: dict[str, Any] = {**_connections(network), "retry_total": 0}
    if parameters.authority_host:
        # An authority of one's own is not asked about at the public one.
        settings |= {"authority": parameters.authority_host, "disable_instance_discovery": True}
    if admin.client is not None:
        return _client(admin.client, admin.named, settings)
    token_file = os.environ.get(_TOKEN_FILE)
    return _workload(admin.named, token_file, settings) if token_file else _machine(admin.named, settings)


def _client(client: Client, named: str, settings: dict[str, Any]) -> Identity:
    who, secret = (client.tenant, client.client), client.secret.reveal()

    def made(hook: Hook) -> ClientSecretCredential | CertificateCredential:
        given = {"raw_response_hook": hook, **settings}
        if client.is_certificate:
            return CertificateCredential(*who, certificate_data=secret.encode(), **given)
        return ClientSecretCredential(*who, secret, **given)

    try:
        ClientSecretCredential(*who, "any").close()
    except ValueError as error:
        raise InvalidAdminSecret(f"{named}: key AZURE_TENANT_ID holds no id or domain of a tenant") from error
    try:
        made(lambda _answer: None).close()
    except (TypeError, ValueError) as error:
        raise InvalidAdminSecret(
            f"{named}: key {CERTIFICATE} holds no certificate with its private RSA key, as PEM and without a password"
        ) from error
    kind = "certificate" if client.is_certificate else "client"
    key = identity_key(kind, settings.get("authority", ""), *who, secret)
    return Identity(named=named, key=key, connect=made)


def _workload(named: str, token_file: str, settings: dict[str, Any]) -> Identity:
    def made(hook: Hook) -> WorkloadIdentityCredential:
        return WorkloadIdentityCredential(raw_response_hook=hook, **settings)

    try:
        made(lambda _answer: None).close()
        shown = Path(token_file).read_text(encoding="utf-8", errors="replace")
    except ValueError as error:
        raise AccessDenied(
            "the pod's workload identity is not complete: AZURE_TENANT_ID and AZURE_CLIENT_ID belong in its environment"
        ) from error
    except OSError as error:
        raise AccessDenied(f"{named} can't be used: the file that {_TOKEN_FILE} names can't be read") from error
    who = (os.environ.get("AZURE_TENANT_ID", ""), os.environ.get("AZURE_CLIENT_ID", ""))
    return Identity(named=named, key=identity_key("workload", settings.get("authority", ""), *who, shown), connect=made)


def _machine(named: str, settings: dict[str, Any]) -> Identity:
    client = os.environ.get("AZURE_CLIENT_ID") or None

    def made(hook: Hook) -> ManagedIdentityCredential:
        return ManagedIdentityCredential(client_id=client, raw_response_hook=hook, **settings)

    return Identity(named=named, key=identity_key("machine", client or ""), connect=made, is_machine=True)
