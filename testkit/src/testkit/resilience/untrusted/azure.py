"""Azure Blob Storage: an application that tries to make another SAS out of the one that it has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import AccessPolicy, BlobServiceClient

from libbucket.testing.application import Refused
from testkit.azure.application import AzureApplication, client_settings
from testkit.azure.backend import AzureBackend
from testkit.resilience.untrusted.base import Peek, UntrustedApplication, nothing_of
from testkit.stores.azure import AzureStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from libbucket.testing.application import Application

_HOUR: Final = timedelta(hours=1)


class UntrustedAzureApplication(UntrustedApplication):
    """With its connection string, and with its SAS."""

    capabilities = AzureBackend.capabilities

    def applications(self) -> Mapping[str, AzureApplication]:
        text = self.bound.environment["AZURE_STORAGE_CONNECTION_STRING"]
        return {"azure-storage-blob": AzureApplication.with_connection_string(text)}

    def signed_urls(self, key: str) -> Mapping[str, str]:
        url = f"{self._url}/{self.bound.bucket}/{key}"
        return {"the SAS in a URL": f"{url}?{self._sas}"}

    def peeks(self) -> Mapping[str, Peek]:
        bucket = self.bound.bucket
        requests: dict[str, Callable[[BlobServiceClient], object]] = {
            "all containers": lambda service: list(service.list_containers()),
            "who may use the container": lambda service: service.get_container_client(
                bucket
            ).get_container_access_policy(),
            "the container's metadata": lambda service: service.get_container_client(bucket).get_container_properties(),
            "the account's settings": lambda service: service.get_service_properties(),
        }
        assert isinstance(self.store, AzureStore)
        root = self.store.service
        return {
            what: Peek(
                attempt=lambda ask=ask: self._ask(self._service(self._sas), ask),  # type: ignore[misc]
                control=lambda ask=ask: self._ask(root, ask),  # type: ignore[misc]
            )
            for what, ask in requests.items()
        }

    def makers(self) -> Mapping[str, Callable[[], Application | None]]:
        service, bucket = self._service(self._sas), self.bound.bucket
        start, end = datetime.now(UTC) - _HOUR, datetime.now(UTC) + _HOUR
        everything = {"more": AccessPolicy(permission="racwdl", start=start, expiry=end)}

        def altered(**fields: str | None) -> AzureApplication:
            """The SAS with other words in it, and the signature that it has."""
            words = {**dict(parse_qsl(self._sas)), **fields}
            sas = urlencode({key: value for key, value in words.items() if value is not None})
            made = AzureApplication.with_sas(self._url, sas)
            with_refusal(lambda: made.list_keys(bucket))
            return made

        def get_key(one: BlobServiceClient) -> object:
            return one.get_user_delegation_key(start, end)

        def set_policy(one: BlobServiceClient) -> object:
            return one.get_container_client(bucket).set_container_access_policy(everything)

        later = end.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "a delegation key": lambda: nothing_of(self._ask(service, get_key)),
            "a policy of its own": lambda: nothing_of(self._ask(service, set_policy)),
            "a SAS without its policy": lambda: altered(si=None, sp="racwdl", se=later),
            "a SAS with more letters": lambda: altered(sp="racwdlxyi", se=later),
            "a SAS of the whole account": lambda: altered(si=None, sr=None, ss="b", srt="sco", sp="racwdl", se=later),
        }

    @property
    def _sas(self) -> str:
        return self.bound.environment["AZURE_STORAGE_SAS_TOKEN"]

    @property
    def _url(self) -> str:
        return self.bound.environment["AZURE_STORAGE_BLOB_ENDPOINT"]

    def _service(self, sas: str) -> BlobServiceClient:
        return BlobServiceClient(self._url, credential=AzureSasCredential(sas), **client_settings(""))

    def _ask(self, service: BlobServiceClient, request: Callable[[BlobServiceClient], Any]) -> Any:
        return with_refusal(lambda: request(service))


def with_refusal(request: Callable[[], Any]) -> Any:
    """Makes a request; the store's refusal, and only that, becomes `Refused`."""
    try:
        return request()
    except HttpResponseError as error:
        if error.status_code not in {401, 403}:
            raise
        raise Refused(f"HTTP {error.status_code}") from error
