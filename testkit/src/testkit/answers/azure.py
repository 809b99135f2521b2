"""Azure Blob Storage in the sweep: azurite behind the proxy, with the account's key and stored access policies."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

from azure_provisioner.client import Network
from azure_provisioner.policy import build_prefix
from azure_provisioner.provisioner import AzureProvisioner
from libbucket import SecretStr
from testkit.answers.adapter import BYSTANDER, CANARY, REQUEST_ID, Adapter
from testkit.answers.catalogue import load
from testkit.azure.azurite import azurite_server
from testkit.azure.backend import AzureAdministrator, AzureApplication, AzureBackend, application_with
from testkit.azure.error_answers import error_answer
from testkit.azure.requests_by_name import request_name
from testkit.resilience.proxy import Instead

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from libbucket import Authentication, Endpoint, ObjectBucket
    from libbucket.provisioner import Provisioner, Services
    from testkit.answers.adapter import Clock
    from testkit.answers.catalogue import Answer, Catalogue
    from testkit.azure.azurite import AzuriteServer
    from testkit.resilience.proxy import Request

_READ_SECONDS: Final = 3.0


class _Owner(AzureAdministrator):
    """The account's owner, whose containers have no versions: that is a setting of the account, not of a container."""

    def enable_versioning(self, bucket: str) -> None:
        del bucket


class _Behind(AzureBackend):
    """Applications go straight to the server, whichever address their claim was told: no signature holds it."""

    def __init__(self, server: AzuriteServer) -> None:
        super().__init__(server)
        self._administrator = _Owner(server)

    def application(self, endpoint: Endpoint, credentials: Authentication) -> AzureApplication:
        address = endpoint.additional_config["AZURE_STORAGE_BLOB_ENDPOINT"]
        direct = {
            name: SecretStr(value.reveal().replace(address, self.server.url))
            for name, value in credentials.additional_secret_data.items()
        }
        made = application_with(self.server, replace(credentials, additional_secret_data=direct))
        self._applications.append(made)
        return made


class AzureAdapter(Adapter):
    """A running server.

    Args:
        server: it.
    """

    name = "azure"
    new_keys = frozenset({"SetContainerAcl"})
    gone_keys = frozenset({"SetContainerAcl", "DeleteContainer"})
    late = _READ_SECONDS * 1.5

    def __init__(self, server: AzuriteServer) -> None:
        self._server = server
        self._backend = _Behind(server)
        self.make_bystander()

    @cached_property
    def catalogue(self) -> Catalogue:
        return load("azure")

    @property
    def upstream(self) -> str:
        return self._server.endpoint

    @property
    def backend(self) -> AzureBackend:
        return self._backend

    def provisioner(self, services: Services, clock: Clock) -> Provisioner:
        del clock  # it waits for nothing
        # Azurite reads start and end of a policy on its own clock.
        real = replace(services, now=lambda: datetime.now(UTC))
        return AzureProvisioner(real, Network(connect_seconds=2, read_seconds=_READ_SECONDS, wait_seconds=0))

    def parameters(self, url: str) -> Mapping[str, str]:
        return {**self._backend.parameters, "endpoint": url}

    def secrets(self, namespace: str, name: str) -> Mapping[str, SecretStr]:
        del namespace, name
        return {"AZURE_STORAGE_KEY": SecretStr(self._server.key)}

    def request_name(self, request: Request) -> str:
        return request_name(request.method, request.path, request.query, request.headers, request.body)

    def subject(self, request: Request) -> str:
        return request.path

    def render(self, answer: Answer, request: Request) -> Instead:
        is_head = request.method == "HEAD"
        status, headers, body = error_answer(answer.code, answer.status, CANARY, is_head=is_head)
        return Instead(status=status, headers={**headers, "x-ms-request-id": REQUEST_ID}, body=body)

    def keys_of(self, record: ObjectBucket) -> int:
        prefix = build_prefix(record.user_id)
        return sum(each.startswith(prefix) for each in self._backend.administrator.policies(record.bucket_name))

    def others(self) -> Mapping[str, object]:
        return {**super().others(), "policies": sorted(self._backend.administrator.policies(BYSTANDER))}


@contextmanager
def azure() -> Iterator[AzureAdapter]:
    """The real server."""
    with azurite_server() as server:
        adapter = AzureAdapter(server)
        yield adapter
        adapter.backend.close()
