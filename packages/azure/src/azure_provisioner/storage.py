"""Container calls: find, make, tag, try, remove. One function of Azure's client each.

Used by `provisioner`, as the administrator. Knows nothing of access policies and signatures. Each call names the action
that it needs, for the message if Azure refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import ContainerEncryptionScope

from azure_provisioner.client import connect_as_claim
from azure_provisioner.errors import (
    Call,
    Refusal,
    code_of,
    is_refusal,
    refusal_of,
    request_id_in,
    request_id_of,
    time_of,
    translated,
)
from libbucket import BucketNotEmpty, NotReady, Reason, RetrySlowly, StoreRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from azure.storage.blob import BlobLeaseClient, ContainerClient, ContainerProperties

    from azure_provisioner.client import Clients, Network
    from azure_provisioner.parameters import Parameters
    from libbucket import SecretStr

_ANYTHING: Final = ["snapshots", "uncommittedblobs", "versions"]
_PROBE: Final = "objectbucket-probe"
"""No slash: names in $root have none ("Working with the root container")."""
_LEASED_SECONDS: Final = 5.0
_NO_CONTAINER: Final = "ContainerNotFound"
_BEING_DELETED: Final = "ContainerBeingDeleted"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A container that exists.

    Attributes:
        metadata: as it is written there, ownership tags included.
        modified: when it was last changed, its objects aside.
        has_policy: an immutability policy keeps it from deletion.
        has_hold: a legal hold does.
        keeps_versions: it has version-level immutability support, as every container has of an account with it: Azure
            deletes it by its management API only.
        is_leased: another client's lease guards it against deletion.
        is_leased_without_end: and it does not end by itself.
    """

    metadata: Mapping[str, str]
    modified: datetime
    has_policy: bool
    has_hold: bool
    keeps_versions: bool
    is_leased: bool
    is_leased_without_end: bool


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The containers of one account, for one verb."""

    clients: Clients

    def find(self, container: str) -> Found | None:
        """The container; None where there is none of that name.

        Raises:
            ProvisionerError: Azure did not say.
        """
        return self.look(container)[0]

    def look(self, container: str) -> tuple[Found | None, str]:
        """The same, and the request id of the answer that there is none; "" where there is one.

        Raises:
            ProvisionerError: Azure did not say.
        """
        with translated(self.clients.call("containers/read")):
            headers: list[Mapping[str, str]] = []
            try:
                keep = self.clients.keep_headers(headers)
                found = self.clients.container(container).get_container_properties(raw_response_hook=keep)
            except ResourceNotFoundError as error:
                if code_of(error) != _NO_CONTAINER:
                    raise
                return None, request_id_in(error)
            modified = time_of(headers[-1], "Last-Modified", self.clients.parameters.url)
            return _as_found(found, modified), ""

    def check_flat(self) -> None:
        """Refuses an account with a hierarchical namespace, before anything is made in it.

        An identity that may not ask is not told: then nobody knows ("Get Account Information" needs an action that the
        built-in data roles do not have).

        Raises:
            StoreRefused: it has one.
        """
        with translated(self.clients.call("getInfo/action")):
            try:
                found: Mapping[str, object] = self.clients.service.get_account_information()
            except HttpResponseError as error:
                if not is_refusal(error):
                    raise
                return
        if found.get("is_hns_enabled"):
            raise StoreRefused(
                f"the storage account at {self.clients.parameters.url} has a hierarchical namespace, which is not "
                "supported: have the StorageClass name an account without one"
            )

    def create(self, container: str, tags: Mapping[str, str]) -> str | None:
        """Makes the container with its ownership tags.

        Returns:
            None where it was made; the request id of the refusal where one of that name was made meanwhile.

        Raises:
            NotReady: one of that name is still being deleted.
        """
        with translated(self.clients.call("containers/write")):
            try:
                self.clients.container(container).create_container(metadata=dict(tags), **self._encryption())
            except ResourceExistsError as error:
                if code_of(error) != "ContainerAlreadyExists":
                    raise
                return request_id_in(error)
        return None

    def _encryption(self) -> dict[str, Any]:
        """Of what is written to a new container: with a scope, no application may choose another."""
        scope = self.clients.parameters.encryption_scope
        if not scope:
            return {}
        given = ContainerEncryptionScope(default_encryption_scope=scope, prevent_encryption_scope_override=True)
        return {"container_encryption_scope": given}

    def tag(self, container: str, metadata: Mapping[str, str], lease: BlobLeaseClient) -> None:
        """Writes the container's metadata, all of it: Azure replaces what was there. The lease must still be held."""
        with translated(self.clients.call("containers/write")):
            self.clients.container(container).set_container_metadata(dict(metadata), lease=lease)

    def try_sas(self, sas: SecretStr, container: str) -> Refusal | None:
        """Tries a claim's own SAS on its container: why it is refused; None where it is not.

        Raises:
            ProvisionerError: Azure did not say.
        """
        return try_sas(self.clients.parameters, container, sas, self.clients.network)

    def is_empty(self, container: str) -> bool:
        """Whether the container holds no blob, no version or snapshot of one, and no blocks of one to come.

        What was deleted and is kept for some days by the account's own settings does not count.

        Raises:
            ProvisionerError: Azure did not say.
        """
        with translated(self.clients.call("containers/blobs/read")):
            try:
                return self._lists_nothing(container, _ANYTHING)
            except HttpResponseError as error:
                if code_of(error) != "InvalidQueryParameterValue":
                    raise
                # A hierarchical namespace has no versions: "Blob Storage feature support".
                return self._lists_nothing(container, [each for each in _ANYTHING if each != "versions"])

    def _lists_nothing(self, container: str, kinds: list[str]) -> bool:
        pages: Any = self.clients.container(container).list_blobs(include=kinds, results_per_page=1).by_page()
        for page in pages:
            if pages.container != container:
                raise ValueError("a listing of another container, or none")
            if next(iter(page), None) is not None:
                return False
        return True

    def confirm_gone(self, container: str) -> None:
        """Asks by another request whether a container is gone: credentials and data depend on it, so not one 404 alone.

        Raises:
            NotReady: it exists.
        """
        headers: list[Mapping[str, str]] = []
        with translated(self.clients.call("containers/blobs/read")):
            try:
                keep = self.clients.keep_headers(headers)
                next(self.clients.container(container).list_blobs(results_per_page=1, raw_response_hook=keep), None)
            except HttpResponseError as error:
                if code_of(error) not in {_NO_CONTAINER, _BEING_DELETED}:
                    raise
                return
        raise NotReady(
            f"the storage account says of container {container} both that it exists and that it does not",
            request_id=request_id_of(headers[-1]),
        )

    def remove(self, container: str, found: Found) -> None:
        """Removes the container with everything in it, at once; one that is gone, or going, is fine.

        Raises:
            BucketNotEmpty: a policy or a hold keeps what is in it.
            NotReady: it is leased for the moment, or was changed since it was found.
        """
        with translated(self.clients.call("containers/delete")):
            try:
                # Not one that was made under this name since.
                self.clients.container(container).delete_container(if_unmodified_since=found.modified)
            except HttpResponseError as error:
                if code_of(error) not in {_NO_CONTAINER, _BEING_DELETED}:
                    raise
                if code_of(error) == _NO_CONTAINER:
                    self.confirm_gone(container)


def try_sas(
    parameters: Parameters, container: str, sas: SecretStr, network: Network, *, is_cheap: bool = False
) -> Refusal | None:
    """Tries a SAS on a container: one request, with nothing but the SAS. Why it is refused; None where it is not.

    Lists where the SAS may list, and otherwise reads what is not there.

    Args:
        parameters: of the class.
        container: where.
        sas: the token.
        network: how connections are made.
        is_cheap: only whether, and not why: asks with HEAD where the SAS may read, which costs a tenth of a listing
            ("Map each REST operation to a price", Azure Storage), and has no body that would say more.

    Raises:
        ProvisionerError: Azure did not say.
    """
    call = Call(url=parameters.url, action="the claim's own access", source="the claim", clock=network.clock)
    with translated(call), connect_as_claim(parameters, container, sas, network) as client:
        try:
            _probe(client, parameters.permissions, is_cheap=is_cheap)
        except HttpResponseError as error:
            if is_refusal(error) or code_of(error) == _NO_CONTAINER or code_of(error) == _BEING_DELETED:
                return refusal_of(error, network.clock())
            if code_of(error) != "BlobNotFound":
                raise
    return None


def _probe(client: ContainerClient, permissions: str, *, is_cheap: bool) -> None:
    if is_cheap and "r" in permissions:
        client.get_blob_client(_PROBE).get_blob_properties()
    elif "l" in permissions:
        next(client.list_blobs(name_starts_with=_PROBE, results_per_page=1).by_page(), None)
    else:
        client.get_blob_client(_PROBE).download_blob(offset=0, length=1)


def check_deletable(container: str, found: Found) -> None:
    """Refuses what Azure would refuse to delete, before anything of it is touched.

    Raises:
        BucketNotEmpty: a policy, a hold or a setting keeps it.
        RetrySlowly: it is leased without end.
        NotReady: it is leased for the moment.
    """
    if found.is_leased_without_end:
        raise RetrySlowly(
            f"container {container} is guarded by a lease without end: break it, and it is deleted",
            reason=Reason.BUCKET_NOT_EMPTY,
        )
    if found.is_leased:
        raise NotReady(f"another client holds the lease of container {container}", delay=_LEASED_SECONDS)
    if found.has_hold:
        raise BucketNotEmpty(
            f"container {container} has a legal hold: clear it with `az storage container legal-hold clear`, and it is "
            "deleted"
        )
    if found.has_policy:
        raise BucketNotEmpty(
            f"container {container} has an immutability policy: delete the policy if it is unlocked; where it is "
            "locked, empty the container when its retention has ended, and delete it with `az storage container-rm "
            "delete`: then the claim goes"
        )
    if found.keeps_versions:
        raise BucketNotEmpty(
            f"container {container} has version-level immutability support, and Azure deletes such a container by its "
            "management API only: empty it, and delete it with `az storage container-rm delete`: then the claim goes"
        )


def _as_found(found: ContainerProperties, modified: datetime) -> Found:
    return Found(
        metadata=dict(found.metadata or {}),
        modified=modified,
        has_policy=bool(found.has_immutability_policy),
        has_hold=bool(found.has_legal_hold),
        keeps_versions=bool(found.immutable_storage_with_versioning_enabled),
        is_leased=found.lease.state == "leased",
        is_leased_without_end=found.lease.duration == "infinite",
    )
