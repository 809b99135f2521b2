"""Azure Blob Storage as the conformance suite sees it: applications, the administrator's view, where a test starts.

Used by this package's tests. Everything goes to azurite through Azure's own clients, past the provisioner.
"""

from __future__ import annotations

import base64
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.storage.blob import (
    AccessPolicy,
    BlobLeaseClient,
    BlobSasPermissions,
    BlobServiceClient,
    generate_blob_sas,
)

from azure_provisioner.client import Network
from azure_provisioner.policy import build_prefix
from azure_provisioner.provisioner import AzureProvisioner
from libbucket import Services
from libbucket.testing.conformance import Ability, Administrator, Backend, Capabilities, Check
from libbucket.testing.conformance.backend import REFUSAL_TEXT, REQUEST_ID
from libbucket.testing.misbehaving import Answer
from testkit.admin_secrets import constant, rotated
from testkit.azure.application import AzureApplication, client_settings
from testkit.azure.front_end import azure_front

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from azure_provisioner.tokens import Tokens
    from libbucket import Authentication, Endpoint, ObjectBucket, Provisioner
    from testkit.azure.azurite import AzuriteServer

SOON = timedelta(minutes=10)


class AzureAdministrator(Administrator):
    """The account owner's view of a server."""

    def __init__(self, server: AzuriteServer) -> None:
        self._server = server
        key = {"account_name": server.account, "account_key": server.key}
        self.service = BlobServiceClient(server.url, credential=key, **client_settings(server.ca_file))
        self._application = AzureApplication(self.service, ca_file=server.ca_file, sign=self._signature)

    def application(self) -> AzureApplication:
        return self._application

    def make_bucket(self, name: str) -> None:
        self.service.create_container(name)

    def purge_bucket(self, name: str) -> None:
        container = self.service.get_container_client(name)
        try:
            container.delete_container()
        except ResourceNotFoundError:
            pass
        except HttpResponseError:
            self.break_lease(name)
            container.delete_container()

    def bucket_exists(self, name: str) -> bool:
        try:
            return self.service.get_container_client(name).exists()
        except HttpResponseError as error:
            if error.status_code == 400:
                return False  # no container can have that name
            raise

    def identity_exists(self, record: ObjectBucket) -> bool:
        prefix = build_prefix(record.user_id)
        return any(found.startswith(prefix) for found in self.policies(record.bucket_name))

    def remove_identity(self, record: ObjectBucket) -> None:
        prefix = build_prefix(record.user_id)
        if self.identity_exists(record):
            kept = {
                name: policy
                for name, policy in self.policies(record.bucket_name).items()
                if not name.startswith(prefix)
            }
            public: Any = self.settings(record.bucket_name)["public access"]
            self.service.get_container_client(record.bucket_name).set_container_access_policy(
                kept, public_access=public
            )

    def settings(self, bucket: str) -> Mapping[str, object]:
        found = self.service.get_container_client(bucket).get_container_properties()
        return {
            "metadata": dict(found.metadata),
            "public access": found.public_access,
            "lease": dict(found.lease),
            "immutability": (found.has_immutability_policy, found.has_legal_hold),
        }

    def unfinished_uploads(self, bucket: str) -> int:
        container = self.service.get_container_client(bucket)
        finished = {found.name for found in container.list_blobs()}
        return sum(found.name not in finished for found in container.list_blobs(include=["uncommittedblobs"]))

    def policies(self, bucket: str) -> dict[str, AccessPolicy]:
        """The stored access policies, by their ids."""
        try:
            found = self.service.get_container_client(bucket).get_container_access_policy()
        except (ResourceNotFoundError, HttpResponseError):
            return {}
        return {each.id: each.access_policy for each in found["signed_identifiers"]}

    def write_policies(self, bucket: str, xml: str, *, public_access: str) -> None:
        """Writes stored access policies as they are in `xml`: Azure's client would write times its own way."""
        container = self.service.get_container_client(bucket)
        headers = {"x-ms-blob-public-access": public_access, "x-ms-version": container.api_version}
        url = f"{container.url}?restype=container&comp=acl"
        request = HttpRequest("PUT", url, headers={**headers, "Content-Type": "application/xml"}, content=xml)
        answer = container._pipeline.run(request)
        assert answer.http_response.status_code == 200, answer.http_response.text()

    def break_leases(self) -> None:
        """Breaks the leases of all containers that are not infinite."""
        for found in self.service.list_containers():
            if found.lease.duration == "fixed":
                self.break_lease(found.name)

    def break_lease(self, bucket: str) -> None:
        """Breaks the lease of the container: simulates the seconds after which it ends by itself."""
        lease = self.service.get_container_client(bucket)
        with suppress(ResourceExistsError, ResourceNotFoundError):
            BlobLeaseClient(lease).break_lease(lease_break_period=0)

    def wait_for_the_next_second(self, bucket: str) -> None:
        """Until the server's clock is in a later second than the container's last change: conditions count those."""
        dates: list[str] = []
        container = self.service.get_container_client(bucket)
        while True:
            found = container.get_container_properties(
                raw_response_hook=lambda response: dates.append(response.http_response.headers["Date"])
            )
            if parsedate_to_datetime(dates[-1]) > found.last_modified:
                return

    def _signature(self, container: str, blob: str) -> str:
        return generate_blob_sas(
            self._server.account,
            container,
            blob,
            account_key=self._server.key,
            permission=BlobSasPermissions(read=True, write=True, create=True),
            expiry=datetime.now(UTC) + SOON,
        )


class AzureBackend(Backend):
    """A running server, ready for the suite."""

    capabilities = Capabilities(
        cannot={
            Ability.VERSIONS: "versioning is a setting of the whole storage account, not of a container",
            Ability.IDENTITY_APART: "a stored access policy is part of its container",
        },
        unchecked={Check.COPY_SOURCE: "azurite lets everybody copy from the same account"},
        config_of_classes={"azurePrincipalId": "needs a class with credentials: role-assignment"},
        public_data=frozenset({"AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"}),
    )

    def __init__(self, server: AzuriteServer) -> None:
        self.server = self._server = server
        self._administrator = AzureAdministrator(server)
        self._applications: list[AzureApplication] = [self._administrator.application()]

    @property
    def parameters(self) -> Mapping[str, str]:
        return parameters_for(self._server)

    @property
    def administrator(self) -> AzureAdministrator:
        return self._administrator

    def provisioner(self) -> Provisioner:
        return a_provisioner(self._server)

    def fenced(self, before_request: Callable[[], None]) -> Provisioner:
        return a_provisioner(self._server, before_request=before_request)

    @property
    def secrets(self) -> Sequence[str]:
        return [self._server.key]

    def broken_provisioners(self) -> Mapping[str, Provisioner]:
        return {"another account's key": a_provisioner(self._server, _ANOTHER_KEY)}

    def rotating(self, is_spoilt: Callable[[], bool]) -> Provisioner:
        services = Services(read_secret=rotated(_key_of(self._server), _ANOTHER_KEY, is_spoilt))
        return AzureProvisioner(services, Network(ca_file=self._server.ca_file, wait_seconds=1))

    def misled(self, url: str, seconds: float) -> tuple[Provisioner, Mapping[str, str]]:
        network = Network(connect_seconds=seconds, read_seconds=seconds)
        return a_provisioner(self._server, network=network), {**self.parameters, "endpoint": url}

    def refusal(self, status: int, code: str) -> Answer:
        """As "Status and error codes", REST reference of Azure Storage, has it."""
        xml = (
            f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{REFUSAL_TEXT}</Message></Error>'
        )
        headers = {"x-ms-error-code": code, "x-ms-request-id": REQUEST_ID, "Content-Type": "application/xml"}
        return Answer(status=status, headers=headers, body=xml.encode())

    @contextmanager
    def distrusting(self) -> Iterator[Provisioner]:
        """Behind a front end whose cache of access policies is stale."""
        with azure_front(self.server) as front:
            front.distrusts = 1_000
            yield impatient(self.server)

    def pause(self, delay: float | None) -> None:
        """Simulates the seconds after which the lease of a writer that died ends by itself."""
        del delay
        self._administrator.break_leases()

    def application(self, endpoint: Endpoint, credentials: Authentication) -> AzureApplication:
        assert endpoint.additional_config["AZURE_STORAGE_BLOB_ENDPOINT"] == self._server.url
        made = application_with(self._server, credentials)
        self._applications.append(made)
        return made

    def close(self) -> None:
        for application in self._applications:
            application.close()


def application_with(server: AzuriteServer, credentials: Authentication) -> AzureApplication:
    """An application with what the Secret holds: the connection string, or the SAS where that can't be read."""
    held = {name: value.reveal() for name, value in credentials.additional_secret_data.items()}
    try:
        return AzureApplication.with_connection_string(held["AZURE_STORAGE_CONNECTION_STRING"], ca_file=server.ca_file)
    except (KeyError, ValueError):
        return AzureApplication.with_sas(server.url, held["AZURE_STORAGE_SAS_TOKEN"], ca_file=server.ca_file)


def parameters_for(server: AzuriteServer) -> dict[str, str]:
    """Of a class for this server, with the administrator's key."""
    return {
        "storageAccount": server.account,
        "endpoint": server.endpoint,
        "secretName": "admin",
        "secretNamespace": "azure",
    }


def impatient(server: AzuriteServer, *, now: Callable[[], datetime] | None = None) -> AzureProvisioner:
    """One that waits for nothing."""
    return a_provisioner(server, now=now, network=Network(ca_file=server.ca_file, wait_seconds=0))


def a_provisioner(
    server: AzuriteServer,
    secret: Mapping[str, str] | None = None,
    *,
    now: Callable[[], datetime] | None = None,
    network: Network | None = None,
    tokens: Tokens | None = None,
    before_request: Callable[[], None] = lambda: None,
) -> AzureProvisioner:
    """A provisioner whose administrator's Secret holds the account's key, or what is given."""
    clock = now or (lambda: datetime.now(UTC))
    read_secret = constant(secret or _key_of(server))
    services = Services(read_secret=read_secret, now=clock, before_request=before_request)
    network = network or Network(ca_file=server.ca_file, wait_seconds=1)
    return AzureProvisioner(services, network, tokens)


_ANOTHER_KEY: Final = {"AZURE_STORAGE_KEY": base64.b64encode(b"another key").decode()}


def _key_of(server: AzuriteServer) -> dict[str, str]:
    return {"AZURE_STORAGE_KEY": server.key}
