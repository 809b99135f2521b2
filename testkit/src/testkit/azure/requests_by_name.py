"""Names the operations of Azure's REST API, from what an HTTP request holds.

Used by the fakes of this folder and by servers that answer requests by their names. Pure. Names are those of the REST
reference of Azure Storage ("Operations on containers", "Operations on blobs", "Operations on the account"), of
Microsoft Entra ID's token endpoint and of the instance metadata service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

AS_CLAIM: Final = "AsClaim"

OF_THE_PROVISIONER: Final = (
    "CreateContainer",
    "GetContainerProperties",
    "SetContainerMetadata",
    "GetContainerAcl",
    "SetContainerAcl",
    "LeaseContainer",
    "DeleteContainer",
    "ListBlobs",
    "ListBlobsAsClaim",
    "GetBlobAsClaim",
    "GetBlobPropertiesAsClaim",
    "GetUserDelegationKey",
    "GetAccountInformation",
    "GetToken",
    "GetMachineToken",
    "DiscoverTenant",
    "DiscoverAuthority",
)
"""Every request that the provisioner sends, to the store or to an authority that issues tokens."""

_ACCOUNT: Final[Mapping[tuple[str, str], str]] = {
    ("GET", "list"): "ListContainers",
    ("POST", "userdelegationkey"): "GetUserDelegationKey",
    ("GET", "properties"): "GetBlobServiceProperties",
    ("PUT", "properties"): "SetBlobServiceProperties",
    ("GET", "blobs"): "FindBlobsByTags",
    ("POST", "batch"): "BlobBatch",
}
_CONTAINER: Final[Mapping[tuple[str, str], str]] = {
    ("PUT", ""): "CreateContainer",
    ("GET", ""): "GetContainerProperties",
    ("HEAD", ""): "GetContainerProperties",
    ("DELETE", ""): "DeleteContainer",
    ("GET", "metadata"): "GetContainerMetadata",
    ("HEAD", "metadata"): "GetContainerMetadata",
    ("PUT", "metadata"): "SetContainerMetadata",
    ("GET", "acl"): "GetContainerAcl",
    ("HEAD", "acl"): "GetContainerAcl",
    ("PUT", "acl"): "SetContainerAcl",
    ("PUT", "lease"): "LeaseContainer",
    ("PUT", "undelete"): "RestoreContainer",
    ("GET", "list"): "ListBlobs",
    ("GET", "blobs"): "FindBlobsByTagsInContainer",
    ("POST", "batch"): "BlobBatch",
}
_BLOB: Final[Mapping[tuple[str, str], str]] = {
    ("GET", ""): "GetBlob",
    ("HEAD", ""): "GetBlobProperties",
    ("PUT", ""): "PutBlob",
    ("DELETE", ""): "DeleteBlob",
    ("GET", "metadata"): "GetBlobMetadata",
    ("PUT", "metadata"): "SetBlobMetadata",
    ("PUT", "properties"): "SetBlobProperties",
    ("GET", "tags"): "GetBlobTags",
    ("PUT", "tags"): "SetBlobTags",
    ("PUT", "block"): "PutBlock",
    ("PUT", "blocklist"): "PutBlockList",
    ("GET", "blocklist"): "GetBlockList",
    ("PUT", "appendblock"): "AppendBlock",
    ("PUT", "snapshot"): "SnapshotBlob",
    ("PUT", "lease"): "LeaseBlob",
    ("PUT", "copy"): "CopyBlob",
    ("PUT", "undelete"): "UndeleteBlob",
}


def request_name(
    method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes = b""
) -> str:
    """The name of an operation, such as `SetContainerAcl`; `METHOD comp` where the reference has none.

    A request with a SAS, which is a claim's own, is told from the administrator's: `ListBlobsAsClaim`.

    Args:
        method: of HTTP.
        path: without the query; with or without the account, as azurite has it.
        query: its parameters, each once.
        headers: of the request, under any case.
        body: of the request; no operation is told by it.
    """
    del body
    return _operation(method, path, query, headers) + (AS_CLAIM if "sig" in query else "")


def _operation(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    if path.endswith(("/oauth2/v2.0/token", "/oauth2/token")):
        return "GetMachineToken" if path.startswith("/metadata/") else "GetToken"
    if path.endswith("/.well-known/openid-configuration"):
        return "DiscoverTenant"
    if path.endswith("/common/discovery/instance"):
        return "DiscoverAuthority"
    kind, component = query.get("restype", ""), query.get("comp", "")
    if kind == "account":
        return "GetAccountInformation"
    if kind == "service" or (component in {"list", "userdelegationkey"} and kind != "container"):
        return _ACCOUNT.get((method, component), f"{method} {component}")
    if kind == "container":
        return _CONTAINER.get((method, component), f"{method} {component}")
    if method == "PUT" and not component and any(name.lower() == "x-ms-copy-source" for name in headers):
        return "CopyBlob"
    return _BLOB.get((method, component), f"{method} {component}")
