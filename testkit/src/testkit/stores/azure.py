"""Azurite, the emulator of Azure Blob Storage, for the demo."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobLeaseClient, BlobServiceClient

from libbucket.testing.application import Application

# The server is started as that package's own tests start it.
from testkit.azure.application import refusals
from testkit.azure.azurite import AzuriteServer, azurite_directory, azurite_server
from testkit.stores.base import Bound, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["azure", "azurite_directory"]

_LIMITS: dict[str, Any] = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 10}


class AzureApplication(Application):
    """Talks to an account with Azure's own client; where it has several, with each of them in turn."""

    def __init__(self, *services: BlobServiceClient) -> None:
        self._services = list(services)

    @classmethod
    def of(cls, environment: dict[str, str]) -> AzureApplication:
        """As a pod has it: once with the connection string, once with the SAS and the endpoint."""
        sas = AzureSasCredential(environment["AZURE_STORAGE_SAS_TOKEN"])
        by_sas = BlobServiceClient(environment["AZURE_STORAGE_BLOB_ENDPOINT"], credential=sas, **_LIMITS)
        text = environment["AZURE_STORAGE_CONNECTION_STRING"]
        return cls(BlobServiceClient.from_connection_string(text, **_LIMITS), by_sas)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        with refusals():
            self._next().get_blob_client(bucket, key).upload_blob(data, overwrite=True)

    def get(self, bucket: str, key: str) -> bytes:
        with refusals():
            data: bytes = self._next().get_blob_client(bucket, key).download_blob().readall()
            return data

    def list_keys(self, bucket: str) -> list[str]:
        with refusals():
            return sorted(found.name for found in self._next().get_container_client(bucket).list_blobs())

    def delete(self, bucket: str, key: str) -> None:
        with refusals():
            self._next().get_blob_client(bucket, key).delete_blob()

    def remove_bucket(self, bucket: str) -> None:
        container = self._next().get_container_client(bucket)
        with refusals():
            try:
                container.delete_container()
            except HttpResponseError as error:
                if error.status_code != 412:
                    raise
                # Left by a process that was killed; ends by itself, which is not waited for here.
                BlobLeaseClient(container).break_lease(lease_break_period=0)
                container.delete_container()

    def _next(self) -> BlobServiceClient:
        self._services.append(self._services.pop(0))
        return self._services[-1]


class AzureStore(Store):
    title = "Azure Blob Storage (azurite)"
    program = "azure-provisioner"
    provisioner_name = "azure-blob.io/bucket"
    brownfield_bucket = "reports"
    module = "azure_provisioner"
    config = ("maxSize", "1Gi", "2Gi")

    def __init__(self, server: AzuriteServer) -> None:
        self.address = server.url
        self.parameters = {"storageAccount": server.account, "endpoint": server.endpoint}
        self.admin_secret = {"AZURE_STORAGE_KEY": server.key}
        key = {"account_name": server.account, "account_key": server.key}
        self.service = BlobServiceClient(server.url, credential=key, **_LIMITS)

    def application(self, bound: Bound) -> AzureApplication:
        return AzureApplication.of(dict(bound.environment))

    def administrator(self) -> AzureApplication:
        return AzureApplication(self.service)

    def make_bucket(self, name: str) -> None:
        self.service.create_container(name)

    def what_is_there(self, bound: Bound) -> list[str]:
        try:
            found = self.service.get_container_client(bound.bucket).get_container_access_policy()
        except ResourceNotFoundError:
            return []
        ids = [each.id for each in found["signed_identifiers"]]
        return ["bucket", *(["stored access policy"] if bound.state["AccessPolicy"] in ids else [])]

    def census(self) -> frozenset[str]:
        found = set()
        for container in self.service.list_containers():
            policies = self.service.get_container_client(container.name).get_container_access_policy()
            found |= {f"bucket {container.name}"}
            found |= {f"policy {each.id} of {container.name}" for each in policies["signed_identifiers"]}
        return frozenset(found)

    def setting(self, bucket: str) -> str:
        return ""

    def remove_ownership_tags(self, bound: Bound) -> None:
        self.service.get_container_client(bound.bucket).set_container_metadata({})


@contextmanager
def azure() -> Iterator[AzureStore]:
    """Starts a server on a free port, in memory."""
    with azurite_server() as server:
        yield AzureStore(server)
