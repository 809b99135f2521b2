"""An application of Azure Blob Storage with Azure's own client, as the conformance suite asks for it.

Used by `backend`, and by tests that have a connection string. Knows nothing of the provisioner.
"""

from __future__ import annotations

import base64
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import urllib3
from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, BlobServiceClient, PublicAccess

from libbucket.testing.application import Application, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def client_settings(ca_file: str) -> dict[str, Any]:
    """No retries, and time limits that suit a test."""
    verify = {"connection_verify": ca_file} if ca_file else {}
    return {"retry_total": 0, "connection_timeout": 5, "read_timeout": 20, **verify}


@contextmanager
def refusals() -> Iterator[None]:
    """The server's refusals, and only those, become `Refused`."""
    try:
        yield
    except HttpResponseError as error:
        if error.status_code in {401, 403}:
            raise Refused(f"HTTP {error.status_code}") from error
        raise


class AzureApplication(Application):
    """An application with Azure's own client.

    Args:
        service: which has its credentials.
        ca_file: of the authority to trust.
        sign: gives what makes the address of an object a signed URL.
    """

    def __init__(self, service: BlobServiceClient, *, ca_file: str, sign: Callable[[str, str], str]) -> None:
        self.service = service
        self._pool = urllib3.PoolManager(timeout=20, retries=False, ca_certs=ca_file or None)
        self._sign = sign

    @classmethod
    def with_connection_string(cls, text: str, *, ca_file: str = "") -> AzureApplication:
        """As the claim's Secret has it, with a SAS; it can sign nothing itself: the SAS serves every object."""
        sas = dict(part.split("=", 1) for part in text.split(";"))["SharedAccessSignature"]
        service = BlobServiceClient.from_connection_string(text, **client_settings(ca_file))
        return cls(service, ca_file=ca_file, sign=lambda _container, _blob: sas)

    @classmethod
    def with_sas(cls, endpoint: str, sas: str, *, ca_file: str = "") -> AzureApplication:
        """The same from the two parts."""
        service = BlobServiceClient(endpoint, credential=AzureSasCredential(sas), **client_settings(ca_file))
        return cls(service, ca_file=ca_file, sign=lambda _container, _blob: sas)

    def blob(self, bucket: str, key: str) -> Any:
        return self.service.get_blob_client(bucket, key)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        with refusals():
            self.blob(bucket, key).upload_blob(data, overwrite=True)

    def get(self, bucket: str, key: str) -> bytes:
        with refusals():
            data: bytes = self.blob(bucket, key).download_blob().readall()
            return data

    def list_keys(self, bucket: str) -> list[str]:
        with refusals():
            return sorted(found.name for found in self.service.get_container_client(bucket).list_blobs())

    def delete(self, bucket: str, key: str) -> None:
        with refusals():
            self.blob(bucket, key).delete_blob()

    def batch_delete(self, bucket: str, keys: Sequence[str]) -> None:
        with refusals():
            container = self.service.get_container_client(bucket)
            for answer in container.delete_blobs(*keys, raise_on_any_failure=False):
                if answer.status_code in {401, 403}:
                    raise Refused(f"HTTP {answer.status_code}")
                assert answer.status_code == 202, answer.status_code

    def copy(self, source_bucket: str, source_key: str, bucket: str, key: str) -> None:
        source = f"{self._plain_url(source_bucket, source_key)}?{self._sign(source_bucket, source_key)}"
        with refusals():
            self.blob(bucket, key).start_copy_from_url(source, requires_sync=True)

    def multipart(self, bucket: str, key: str, parts: Sequence[bytes]) -> None:
        with refusals():
            ids = [base64.b64encode(f"{number:05}".encode()).decode() for number, _ in enumerate(parts)]
            for block, part in zip(ids, parts, strict=True):
                self.blob(bucket, key).stage_block(block, part)
            self.blob(bucket, key).commit_block_list([BlobBlock(block) for block in ids])

    def start_multipart(self, bucket: str, key: str) -> None:
        with refusals():
            self.blob(bucket, key).stage_block(base64.b64encode(b"00000").decode(), b"begun")

    def presigned_get(self, bucket: str, key: str) -> bytes:
        return self._plain("GET", f"{self._plain_url(bucket, key)}?{self._sign(bucket, key)}")

    def presigned_put(self, bucket: str, key: str, data: bytes) -> None:
        self._plain("PUT", f"{self._plain_url(bucket, key)}?{self._sign(bucket, key)}", data)

    def anonymous_get(self, bucket: str, key: str) -> bytes:
        return self._plain("GET", self._plain_url(bucket, key))

    def list_all(self) -> list[str]:
        with refusals():
            return [found.name for found in self.service.list_containers()]

    def make_public(self, bucket: str) -> None:
        with refusals():
            container = self.service.get_container_client(bucket)
            held = container.get_container_access_policy()
            policies = {each.id: each.access_policy for each in held["signed_identifiers"]}
            container.set_container_access_policy(policies, public_access=PublicAccess.BLOB)

    def remove_bucket(self, bucket: str) -> None:
        with refusals():
            self.service.get_container_client(bucket).delete_container()

    def close(self) -> None:
        self.service.close()
        self._pool.clear()

    def _plain_url(self, bucket: str, key: str) -> str:
        return str(self.blob(bucket, key).url).partition("?")[0]

    def _plain(self, method: str, url: str, data: bytes | None = None) -> bytes:
        headers = {"x-ms-blob-type": "BlockBlob"} if method == "PUT" else {}
        response = self._pool.request(method, url, body=data, headers=headers)
        # A private container answers anonymous requests as if it were not there.
        if response.status in {401, 403} or (response.status == 404 and "sig=" not in url):
            raise Refused(f"HTTP {response.status}")
        assert response.status in {200, 201}, response.data
        return response.data
