"""What Azure Storage refuses by settings of the account, the container or the identity, and azurite does not.

Used by `front_end`. Pure functions of a request and of the settings that a test has turned on; each setting names the
page that describes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Refused = tuple[str, int, dict[str, str]]
"""Code, status and further elements of the body."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request.

    Attributes:
        name: of the operation, see `requests_by_name`.
        target: path and query as they came; empty where the query was changed.
    """

    name: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    target: str

    @property
    def kind(self) -> str:
        return self.query.get("restype", "")

    @property
    def container(self) -> str:
        return unquote([*self.path.strip("/").split("/", 2), ""][1])

    @property
    def has_sas(self) -> bool:
        return "sig" in self.query

    @property
    def is_delegated(self) -> bool:
        """Signed by a user delegation key, whose identity's object id is in the SAS."""
        return "skoid" in self.query

    @property
    def has_token(self) -> bool:
        return self.header("Authorization").startswith("Bearer ")

    @property
    def is_anonymous(self) -> bool:
        return not self.has_sas and not self.header("Authorization")

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), "")


@dataclass(kw_only=True)
class Settings:
    """What a test turns on.

    Attributes:
        distrusts: how many requests with a SAS it refuses from now on, as a front end does whose cache of access
            policies is stale (Azure/azure-storage-net#899, "Define a stored access policy": up to 30 seconds).
        longest_sas: refuses a SAS that says no start or lasts longer, action Block ("Configure an expiration policy for
            shared access signatures"; microsoft/AzureStorageExplorer#8845 has the detail). The page names service,
            account and user delegation SAS, and excepts none that is bound to a stored access policy: then start and
            end of the policy count, because a SAS may take each from there ("Define a stored access policy").
        keeps_versions: every container has version-level immutability support, and none can be deleted
            (Azure/azure-sdk-for-python#22255).
        locked: containers with a locked time-based retention policy: never deleted by the data plane, also when empty
            and after the retention (Azure/azure-powershell#22564, "Time-based retention policies: Deletion").
        held: containers with a legal hold ("Legal holds for immutable blob data"; the code is that of the management
            API, because no page has the data plane's).
        requires_bound_sas: refuses user-delegation SAS that name no user, action Block (`SasPolicy` of Azure Resource
            Manager, requireUserBoundUserDelegationSas; the field is `sduoid`, "Create a user delegation SAS"). No page
            has the code: it is that of every SAS that is refused.
        lacks_data_role: refuses user-delegation SAS, whose identity may make containers and no more ("Create a user
            delegation SAS": permissions are those of the SAS and of the identity).
        actions: what the role of the identity allows, for its tokens and for SAS that it has signed ("Authorize with
            Microsoft Entra ID", permissions for blob service operations); None for everything.
        is_private: refuses policies for a container that is public, and readers without credentials ("Prevent anonymous
            read access to containers and blobs").
        is_walled: the account's firewall does not know this network ("Configure Azure Storage firewalls").
        forbids_keys: refuses account keys and what they have signed ("Prevent Shared Key authorization").
        is_hierarchical: a hierarchical namespace, without versions and tags ("Blob Storage feature support": blob
            versioning and blob index tags; Azure/azure-sdk-for-net#39388 has the code).
        revoked: signatures that it refuses ("Revoke a user delegation SAS").
        policies_of: start and end of each stored access policy of a container.
    """

    distrusts: int = 0
    longest_sas: timedelta | None = None
    keeps_versions: bool = False
    locked: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    requires_bound_sas: bool = False
    lacks_data_role: bool = False
    actions: frozenset[str] | None = None
    is_private: bool = False
    is_walled: bool = False
    forbids_keys: bool = False
    is_hierarchical: bool = False
    revoked: set[str] = field(default_factory=set)
    policies_of: Callable[[str], Mapping[str, tuple[str, str]]] = lambda _container: {}


def refusal(request: Request, settings: Settings) -> Refused | None:
    """What is refused before azurite hears of it; None where nothing is."""
    rules = (_network, _authorization, _sas, _role, _immutability, _public_access, _hierarchy)
    return next((found for rule in rules if (found := rule(request, settings)) is not None), None)


def rewritten_headers(request: Request, headers: dict[str, str], settings: Settings) -> dict[str, str]:
    """The headers of an answer, with what Azure says of containers and accounts in them."""
    more: dict[str, str] = {}
    if request.name == "GetContainerProperties":
        more = {
            "x-ms-immutable-storage-with-versioning-enabled": str(settings.keeps_versions).lower(),
            "x-ms-has-immutability-policy": str(request.container in settings.locked).lower(),
            "x-ms-has-legal-hold": str(request.container in settings.held).lower(),
        }
    if request.name == "GetAccountInformation":
        more = {"x-ms-is-hns-enabled": str(settings.is_hierarchical).lower()}
    return {**headers, **more}


def _network(_request: Request, settings: Settings) -> Refused | None:
    return ("AuthorizationFailure", 403, {}) if settings.is_walled else None


def _authorization(request: Request, settings: Settings) -> Refused | None:
    has_key = request.header("Authorization").startswith("SharedKey ") or (request.has_sas and not request.is_delegated)
    if settings.forbids_keys and has_key:
        return "KeyBasedAuthenticationNotPermitted", 403, {}
    return None


def _sas(request: Request, settings: Settings) -> Refused | None:
    if not request.has_sas:
        return None
    if settings.distrusts > 0:
        settings.distrusts -= 1
        return _unauthenticated("Signature did not match.")
    if request.query["sig"] in settings.revoked:
        return _unauthenticated("Signature did not match.")
    if settings.requires_bound_sas and request.is_delegated and "sduoid" not in request.query:
        return _unauthenticated("Signature did not match.")
    if settings.longest_sas is None:
        return None
    stored = settings.policies_of(request.container) if "si" in request.query else {}
    start, end = stored.get(request.query.get("si", ""), ("", ""))
    violation = _violation(request.query.get("st") or start, request.query.get("se") or end, settings.longest_sas)
    return _unauthenticated(violation) if violation else None


def _unauthenticated(detail: str) -> Refused:
    return "AuthenticationFailed", 403, {"AuthenticationErrorDetail": detail}


def _violation(start: str, end: str, longest: timedelta) -> str:
    if not start:
        return "Policy violated by no signed start."
    first, last = (datetime.fromisoformat(text) for text in (start, end))
    if first.tzinfo is None or last.tzinfo is None:
        first, last = first.replace(tzinfo=UTC), last.replace(tzinfo=UTC)
    return "Policy violated by the validity interval." if last - first > longest else ""


_SERVICE: Final = "Microsoft.Storage/storageAccounts/blobServices"
_CONTAINERS: Final = f"{_SERVICE}/containers"
_BLOBS: Final = f"{_CONTAINERS}/blobs"
ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "GetAccountInformation": (f"{_SERVICE}/getInfo/action",),
    "ListContainers": (f"{_CONTAINERS}/read",),
    "CreateContainer": (f"{_CONTAINERS}/write",),
    "GetContainerProperties": (f"{_CONTAINERS}/read",),
    "GetContainerMetadata": (f"{_CONTAINERS}/read",),
    "SetContainerMetadata": (f"{_CONTAINERS}/write",),
    "GetContainerAcl": (f"{_CONTAINERS}/getAcl/action",),
    "SetContainerAcl": (f"{_CONTAINERS}/setAcl/action",),
    "LeaseContainer": (f"{_CONTAINERS}/write",),
    "DeleteContainer": (f"{_CONTAINERS}/delete",),
    "ListBlobs": (f"{_BLOBS}/read",),
    "FindBlobsByTagsInContainer": (f"{_BLOBS}/filter/action",),
    "GetUserDelegationKey": (f"{_SERVICE}/generateUserDelegationKey/action",),
    "GetBlob": (f"{_BLOBS}/read",),
    "GetBlobProperties": (f"{_BLOBS}/read",),
    "PutBlob": (f"{_BLOBS}/write", f"{_BLOBS}/add/action"),
    "AppendBlock": (f"{_BLOBS}/write", f"{_BLOBS}/add/action"),
    "PutBlock": (f"{_BLOBS}/write",),
    "PutBlockList": (f"{_BLOBS}/write",),
    "SnapshotBlob": (f"{_BLOBS}/write",),
    "SetBlobMetadata": (f"{_BLOBS}/write",),
    "DeleteBlob": (f"{_BLOBS}/delete",),
    "GetBlobTags": (f"{_BLOBS}/tags/read",),
    "SetBlobTags": (f"{_BLOBS}/tags/write",),
}
"""Which action an operation needs; any one of several: "Authorize with Microsoft Entra ID", REST reference."""


def needed_actions(request: Request) -> tuple[str, ...]:
    """The actions of which an identity needs one for this request."""
    if request.name == "DeleteBlob" and "versionid" in request.query:
        return (f"{_BLOBS}/deleteBlobVersion/action",)
    if request.name == "ListBlobs" and "tags" in request.query.get("include", ""):
        return (f"{_BLOBS}/tags/read",)
    return ACTIONS.get(request.name, ())


def _role(request: Request, settings: Settings) -> Refused | None:
    if not request.has_token and not request.is_delegated:
        return None
    if request.is_delegated and settings.lacks_data_role:
        return "AuthorizationPermissionMismatch", 403, {}
    needed = needed_actions(request)
    if settings.actions is not None and needed and not settings.actions & set(needed):
        return "AuthorizationPermissionMismatch", 403, {}
    return None


def _immutability(request: Request, settings: Settings) -> Refused | None:
    if request.name != "DeleteContainer":
        return None
    if settings.keeps_versions:
        return "ContainerImmutableStorageWithVersioningEnabled", 409, {}
    if request.container in settings.locked:
        return "ContainerImmutabilityPolicyLocked", 409, {}
    if request.container in settings.held:
        return "ContainerProtectedFromDeletion", 409, {}
    return None


def _public_access(request: Request, settings: Settings) -> Refused | None:
    makes_public = bool(request.header("x-ms-blob-public-access"))
    writes = request.name in {"CreateContainer", "SetContainerAcl"}
    if settings.is_private and ((writes and makes_public) or request.is_anonymous):
        return "PublicAccessNotPermitted", 409, {}
    return None


def _hierarchy(request: Request, settings: Settings) -> Refused | None:
    asks_for = request.query.get("include", "")
    has_tags = request.name in {"GetBlobTags", "SetBlobTags", "FindBlobsByTagsInContainer"} or "tags" in asks_for
    if settings.is_hierarchical and (has_tags or "versions" in asks_for):
        name = "include" if asks_for else "comp"
        value = asks_for or request.query.get("comp", "")
        return "InvalidQueryParameterValue", 400, {"QueryParameterName": name, "QueryParameterValue": value}
    return None
