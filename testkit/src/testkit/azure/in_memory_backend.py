"""The fake of Blob Storage as the conformance suite's interfaces see it: for the answer sweep, without sockets and SDK.

Applications send what their clients would send, with the SAS of their Secret; the administrator's requests need none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from azure_provisioner.policy import build_prefix
from libbucket.testing.application import Application, Refused
from libbucket.testing.conformance import Administrator, Backend, Capabilities
from testkit.azure.front_rules import Request
from testkit.azure.requests_by_name import AS_CLAIM, request_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket import Authentication, Endpoint, ObjectBucket
    from libbucket.provisioner import Provisioner
    from testkit.azure.fake_storage import FakeStorage


def as_request(
    account: str, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Request:
    """A request as the fake takes it.

    Args:
        account: its name, which is in the host of the request.
        method: of HTTP.
        target: path and query.
        headers: of the request.
        body: of the request.
    """
    path, _, text = target.partition("?")
    query = dict(parse_qsl(text, keep_blank_values=True))
    given = headers or {}
    name = request_name(method, path, query, given, body).removesuffix(AS_CLAIM)
    whole = f"/{account}{path}"
    return Request(name=name, method=method, path=whole, query=query, headers=given, body=body, target=target)


class InMemoryApplication(Application):
    """An application with this SAS; with none, the account's owner."""

    def __init__(self, storage: FakeStorage, sas: str = "") -> None:
        self._storage, self._sas = storage, dict(parse_qsl(sas))

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self._send("PUT", f"/{bucket}/{key}", body=data)

    def get(self, bucket: str, key: str) -> bytes:
        return self._send("GET", f"/{bucket}/{key}")

    def list_keys(self, bucket: str) -> list[str]:
        self._send("GET", f"/{bucket}", restype="container", comp="list")
        return self._storage.containers[bucket].names("", with_uncommitted=False)

    def delete(self, bucket: str, key: str) -> None:
        self._send("DELETE", f"/{bucket}/{key}")

    def remove_bucket(self, bucket: str) -> None:
        self._send("DELETE", f"/{bucket}", restype="container")

    def start_multipart(self, bucket: str, key: str) -> None:
        self._send("PUT", f"/{bucket}/{key}", body=b"begun", comp="block", blockid="MDAwMDA=")

    def _send(self, method: str, path: str, *, body: bytes = b"", **query: str) -> bytes:
        target = f"{path}?{urlencode({**query, **self._sas})}"
        request = as_request(self._storage.account, method, target, body=body)
        status, headers, data = self._storage.answer(request, is_owner=not self._sas)
        if status in {401, 403}:
            raise Refused(headers["x-ms-error-code"])
        if status >= 400:
            raise LookupError(headers["x-ms-error-code"])
        return data


class InMemoryAdministrator(Administrator):
    """Reads and changes the fake directly."""

    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage

    def application(self) -> InMemoryApplication:
        return InMemoryApplication(self._storage)

    def make_bucket(self, name: str) -> None:
        request = as_request(self._storage.account, "PUT", f"/{name}?restype=container")
        assert self._storage.answer(request, is_owner=True)[0] == 201

    def purge_bucket(self, name: str) -> None:
        self._storage.containers.pop(name, None)

    def bucket_exists(self, name: str) -> bool:
        return name in self._storage.containers

    def identity_exists(self, record: ObjectBucket) -> bool:
        return bool(self.policies(record))

    def remove_identity(self, record: ObjectBucket) -> None:
        for name in self.policies(record):
            del self._storage.containers[record.bucket_name].policies[name]

    def policies(self, record: ObjectBucket) -> list[str]:
        """Ids of a claim's stored access policies."""
        found = self._storage.containers.get(record.bucket_name)
        prefix = build_prefix(record.user_id)
        return [name for name in (found.policies if found is not None else ()) if name.startswith(prefix)]

    def settings(self, bucket: str) -> Mapping[str, object]:
        found = self._storage.containers[bucket]
        return {name: value for name, value in vars(found).items() if name not in {"blobs", "uncommitted"}}

    def enable_versioning(self, bucket: str) -> None:
        """Does nothing: it is a setting of the account, not of a container."""


class InMemoryBackend(Backend):
    """One account.

    Args:
        storage: it.
    """

    capabilities = Capabilities()

    def __init__(self, storage: FakeStorage) -> None:
        self._storage, self._administrator = storage, InMemoryAdministrator(storage)

    @property
    def parameters(self) -> Mapping[str, str]:
        return {"storageAccount": self._storage.account, "secretName": "admin", "secretNamespace": "azure"}

    @property
    def administrator(self) -> InMemoryAdministrator:
        return self._administrator

    def provisioner(self) -> Provisioner:
        raise NotImplementedError("the sweep has its own, on the turned clock")

    def application(self, endpoint: Endpoint, credentials: Authentication) -> InMemoryApplication:
        del endpoint
        held = credentials.additional_secret_data["AZURE_STORAGE_SAS_TOKEN"]
        return InMemoryApplication(self._storage, held.reveal())
