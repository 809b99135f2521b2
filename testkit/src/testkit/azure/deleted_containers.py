"""What becomes of a container that was deleted: its name is busy for a while, and it can be restored.

Used by `front_end`. "Delete Container": no container of the same name can be made for at least 30 seconds, that is
refused with 409 `ContainerBeingDeleted`, and every other operation on it with 404. "Soft delete for containers" and
"Restore Container": a deleted container comes back with its contents and properties.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import ResourceNotFoundError
from azure.core.rest import HttpRequest

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

    from testkit.azure.front_rules import Refused, Request


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """All of a container."""

    metadata: dict[str, str]
    public_access: str | None
    policies: bytes
    blobs: dict[str, bytes]


@dataclass(frozen=True, kw_only=True)
class DeletedContainers:
    """Those of one account.

    Attributes:
        service: azurite, as the account's owner.
    """

    service: BlobServiceClient
    _kept: dict[str, _Kept] = field(default_factory=dict)
    _gone_at: dict[str, float] = field(default_factory=dict)

    def note(self, container: str) -> None:
        """Remembers a container that is about to be deleted."""
        client: Any = self.service.get_container_client(container)
        with suppress(ResourceNotFoundError):
            found = client.get_container_properties()
            self._kept[container] = _Kept(
                metadata=dict(found.metadata or {}),
                public_access=found.public_access,
                policies=_send(client, HttpRequest("GET", f"{client.url}?restype=container&comp=acl")),
                blobs={each.name: client.download_blob(each.name).readall() for each in client.list_blobs()},
            )

    def has_gone(self, container: str, now: float) -> None:
        """It was deleted at this time."""
        self._gone_at[container] = now

    def refusal(self, request: Request, now: float, busy_seconds: float) -> Refused | None:
        """What a name that is busy is answered with."""
        gone_at = self._gone_at.get(request.container)
        if gone_at is None or now - gone_at >= busy_seconds:
            return None
        if request.name == "CreateContainer":
            return "ContainerBeingDeleted", 409, {}
        return "ContainerNotFound", 404, {}

    def restore(self, container: str) -> None:
        """Brings a container back."""
        kept = self._kept.pop(container)
        self._gone_at.pop(container, None)
        client: Any = self.service.get_container_client(container)
        client.create_container(metadata=kept.metadata)
        public = {"x-ms-blob-public-access": kept.public_access} if kept.public_access else {}
        headers = {**public, "Content-Type": "application/xml"}
        url = f"{client.url}?restype=container&comp=acl"
        _send(client, HttpRequest("PUT", url, headers=headers, content=kept.policies))
        for name, data in kept.blobs.items():
            client.upload_blob(name, data)


def _send(client: Any, request: HttpRequest) -> bytes:
    request.headers["x-ms-version"] = client.api_version
    answer = client._pipeline.run(request).http_response
    answer.read()
    assert answer.status_code == 200, answer.text()
    data: bytes = answer.content
    return data
