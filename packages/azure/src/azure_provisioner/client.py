"""Connections to one storage account: as the administrator, and as a claim with its SAS; with time limits, no retries.

Opened once per verb by `provisioner` and closed after it, so that no state of a request outlives it. Knows nothing of
stamps, policies and claims.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from azure.core.credentials import AzureSasCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ClientSecretCredential, ManagedIdentityCredential, WorkloadIdentityCredential
from azure.storage.blob import BlobServiceClient, ContainerClient

from azure_provisioner.errors import Call, check_authority, check_response
from libbucket import AccessDenied, InvalidAdminSecret, fence_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from azure_provisioner.parameters import Admin, ClientSecret, Parameters
    from libbucket import SecretStr

_TOKEN_FILE: Final = "AZURE_FEDERATED_TOKEN_FILE"  # noqa: S105 - the name of a variable

_Identity = ClientSecretCredential | WorkloadIdentityCredential | ManagedIdentityCredential


def no_fence() -> None:
    """Lets every request go."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """How connections are made.

    Attributes:
        connect_seconds: time limit for a connection.
        read_seconds: time limit for an answer.
        wait_seconds: how long a verb waits for a lease, or for what it made to work, before it says NotReady.
        ca_file: PEM of the authorities to trust; empty for the machine's, or those that REQUESTS_CA_BUNDLE names.
        fence: asked before each request; see `Services.fence`.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    wait_seconds: float = 5.0
    ca_file: str = ""
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
        return Call(url=self.parameters.url, action=whole, source=self.admin.named)

    def container(self, name: str) -> ContainerClient:
        """One container, as the administrator; its connections are the service's."""
        return self.service.get_container_client(name)


@contextmanager
def connect(parameters: Parameters, admin: Admin, network: Network) -> Iterator[Clients]:
    """Clients for one verb; their connections are closed at the end, whatever happens."""
    with ExitStack() as stack:
        credential: Any = _identity(parameters, admin, network) if parameters.delegated else _key(parameters, admin)
        if isinstance(credential, _Identity):
            stack.enter_context(credential)
        service = stack.enter_context(
            BlobServiceClient(parameters.url, credential=credential, **_settings(parameters, network))
        )
        yield Clients(parameters=parameters, admin=admin, service=service, network=network)


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
        "permit_redirects": False,  # an account never sends elsewhere; and a SAS in the address would go along
        "raw_response_hook": lambda response: check_response(response, parameters.url),
    }


def _limits(network: Network) -> dict[str, Any]:
    connections = {
        "connection_timeout": network.connect_seconds,
        "read_timeout": network.read_seconds,
        **({"connection_verify": network.ca_file} if network.ca_file else {}),
    }
    # A request that was sent may have been carried out: the core tries again, looking first.
    return {"retry_total": 0, "transport": _FencedTransport(network.fence, **connections), **connections}


class _FencedTransport(RequestsTransport):  # type: ignore[misc,unused-ignore]
    """The SDK's own, whose connections ask before they send."""

    def __init__(self, fence: Callable[[], None], **settings: Any) -> None:
        super().__init__(**settings)
        self._fence = fence

    def open(self) -> None:
        """As the SDK's own."""
        is_new = not self.session
        super().open()
        if is_new:
            for adapter in self.session.adapters.values():
                fence_requests(adapter.poolmanager, self._fence)


def _key(parameters: Parameters, admin: Admin) -> dict[str, str]:
    assert admin.key is not None, "parse_admin refuses a Secret without one"  # noqa: S101 - narrows a type
    return {"account_name": parameters.account, "account_key": admin.key.reveal()}


def _identity(parameters: Parameters, admin: Admin, network: Network) -> _Identity:
    """An application of Entra ID; or the pod's own identity, only where the class names no Secret."""
    settings: dict[str, Any] = {**_limits(network), "raw_response_hook": check_authority}
    if parameters.authority_host:
        # An authority of one's own is not asked about at the public one.
        settings |= {"authority": parameters.authority_host, "disable_instance_discovery": True}
    if admin.client is not None:
        return _client(admin.client, admin.named, settings)
    if os.environ.get(_TOKEN_FILE):
        return _workload(settings)
    return ManagedIdentityCredential(client_id=os.environ.get("AZURE_CLIENT_ID") or None, **settings)


def _client(client: ClientSecret, named: str, settings: dict[str, Any]) -> ClientSecretCredential:
    try:
        return ClientSecretCredential(client.tenant, client.client, client.secret.reveal(), **settings)
    except ValueError as error:
        raise InvalidAdminSecret(f"{named}: key AZURE_TENANT_ID holds no id or domain of a tenant") from error


def _workload(settings: dict[str, Any]) -> WorkloadIdentityCredential:
    try:
        return WorkloadIdentityCredential(**settings)
    except ValueError as error:
        raise AccessDenied(
            "the pod's workload identity is not complete: AZURE_TENANT_ID and AZURE_CLIENT_ID belong in its environment"
        ) from error
