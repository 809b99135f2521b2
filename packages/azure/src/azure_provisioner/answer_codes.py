"""What each code of the Blob service means to a claim: one table, and the sentences in it.

Used by `errors`. Data only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from libbucket import (
    AccessDenied,
    BucketNotEmpty,
    NotReady,
    ProvisionerError,
    QuotaExceeded,
    RetrySlowly,
    StoreRefused,
    StoreUnavailable,
    Throttled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_BAD_KEY = "Azure at {url} does not accept the credentials of {source}: replace them, or set the clock right ({code})"
DENIED = (
    "Azure at {url} refuses {source} the action {action}: the account key is another one, or the identity lacks the "
    "role Storage Blob Data Contributor on the account, or the account's firewall blocks the provisioner ({code})"
)
_NO_ROLE = (
    "Azure at {url} refuses {source} the action {action}: its identity lacks the role Storage Blob Data Contributor on "
    "the account, or the assignment is new and takes effect within ten minutes ({code})"
)
_BLOCKED = (
    "the storage account at {url} refuses the provisioner's address: allow it in the account's network rules, or name "
    "a private endpoint by parameter endpoint ({code})"
)
_NO_PLAIN_HTTP = "the storage account at {url} takes https only: correct parameter endpoint ({code})"
_NO_KEYS = (
    "the storage account at {url} allows no access by account key: have the StorageClass say "
    "credentials: user-delegation-sas ({code})"
)
_DISABLED = "Azure at {url} has this account or container disabled ({code})"
_BUSY = "Azure at {url} asks for fewer requests ({code})"
_DOWN = "Azure at {url} can't answer now ({code})"
_NEW_ACCOUNT = "the storage account at {url} is still being created ({code})"
_BEING_DELETED = "a container of this name is still being deleted at {url} ({code})"
_VANISHED = "the container was deleted concurrently ({code})"
_RACED = "the container was changed while this was going on ({code})"
_LEASED = "another client holds the container's lease just now ({code})"
_IMMUTABLE = "the container holds what a policy or a legal hold keeps from deletion ({code})"
_VERSION_IMMUTABLE = (
    "the container has version-level immutability support, and Azure deletes such a container by its management API "
    "only: empty it, delete it with `az storage container-rm delete`, and the claim goes ({code})"
)
_POLICY_IMMUTABLE = (
    "the container has an immutability policy: delete the policy if it is unlocked; where it is locked, empty the "
    "container when its retention has ended, delete it with `az storage container-rm delete`, and the claim goes "
    "({code})"
)
_HELD = "the container has a legal hold: clear it with `az storage container legal-hold clear` ({code})"
_NO_PUBLIC_ACCESS = (
    "the container was made public, which the storage account at {url} now forbids, so its access policies can't be "
    "written: make the container private ({code})"
)
NO_DATA_ROLE = (
    "Azure refuses the SAS that {source} signed: its identity lacks the data actions of the role Storage Blob Data "
    "Contributor on the account, or the assignment is new and takes effect within ten minutes ({code})"
)
UNBOUND = (
    "the account requires user-bound SAS (sasPolicy.requireUserBoundUserDelegationSas), which claims have with "
    "credentials: role-assignment only"
)
_FULL = "a limit of the storage account at {url} is reached ({code})"
_OLD = "what answers at {url} does not know the API version that Azure's client speaks ({code})"
OTHER = "Azure at {url} refuses {action} with {code}"

TIMED: Final = frozenset({"AuthenticationFailed", "InvalidAuthenticationInfo", "InvalidXmlNodeValue"})
"""Of which a wrong clock is one cause: in a request for a user delegation key, times are values of nodes."""

_REFUSED_KEYS: Final = ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation")

ANSWERS: Final[Mapping[str, tuple[type[ProvisionerError], str]]] = {
    **dict.fromkeys(_REFUSED_KEYS, (AccessDenied, _BAD_KEY)),
    **dict.fromkeys(
        (
            "AuthorizationFailure",
            "AuthorizationResourceTypeMismatch",
            "AuthorizationServiceMismatch",
            "InsufficientAccountPermissions",
            "UnauthorizedBlobOverwrite",
        ),
        (AccessDenied, DENIED),
    ),
    "AuthorizationPermissionMismatch": (AccessDenied, _NO_ROLE),
    "AuthorizationSourceIPMismatch": (AccessDenied, _BLOCKED),
    **dict.fromkeys(("AccountRequiresHttps", "AuthorizationProtocolMismatch"), (AccessDenied, _NO_PLAIN_HTTP)),
    "KeyBasedAuthenticationNotPermitted": (AccessDenied, _NO_KEYS),
    **dict.fromkeys(("AccountIsDisabled", "ContainerDisabled"), (AccessDenied, _DISABLED)),
    "ServerBusy": (Throttled, _BUSY),
    **dict.fromkeys(("InternalError", "OperationTimedOut"), (StoreUnavailable, _DOWN)),
    "AccountBeingCreated": (StoreRefused, _NEW_ACCOUNT),
    "ContainerBeingDeleted": (NotReady, _BEING_DELETED),
    **dict.fromkeys(("ContainerNotFound", "ResourceNotFound"), (NotReady, _VANISHED)),
    **dict.fromkeys(
        ("ConditionNotMet", "ContainerAlreadyExists", "ResourceAlreadyExists", "TargetConditionNotMet"),
        (NotReady, _RACED),
    ),
    **dict.fromkeys(
        (
            "LeaseAlreadyBroken",
            "LeaseAlreadyPresent",
            "LeaseIdMismatchWithContainerOperation",
            "LeaseIdMismatchWithLeaseOperation",
            "LeaseIdMissing",
            "LeaseIsAlreadyBroken",
            "LeaseIsBreakingAndCannotBeAcquired",
            "LeaseIsBreakingAndCannotBeChanged",
            "LeaseIsBrokenAndCannotBeRenewed",
            "LeaseLost",
            "LeaseNotPresentWithContainerOperation",
            "LeaseNotPresentWithLeaseOperation",
        ),
        (NotReady, _LEASED),
    ),
    **dict.fromkeys(("BlobImmutableDueToPolicy", "ContainerProtectedFromDeletion"), (BucketNotEmpty, _IMMUTABLE)),
    "ContainerImmutableStorageWithVersioningEnabled": (BucketNotEmpty, _VERSION_IMMUTABLE),
    "PublicAccessNotPermitted": (StoreRefused, _NO_PUBLIC_ACCESS),
    **dict.fromkeys(
        (
            "TotalSharesCountExceedsAccountLimit",
            "TotalSharesProvisionedBandwidthExceedsAccountLimit",
            "TotalSharesProvisionedCapacityExceedsAccountLimit",
            "TotalSharesProvisionedIopsExceedsAccountLimit",
        ),
        (QuotaExceeded, _FULL),
    ),
    **dict.fromkeys(("FeatureVersionMismatch", "InvalidHeaderValue", "UnsupportedRestVersion"), (RetrySlowly, _OLD)),
}
"""What each code of the Blob service means to a claim; any other is judged by its status.

Codes: "Common REST API error codes" and "Blob service error codes", REST reference of Azure Storage;
`ContainerImmutableStorageWithVersioningEnabled`: Azure/azure-sdk-for-python#22255.
"""

FAMILIES: Final[Mapping[str, tuple[type[ProvisionerError], str]]] = {
    "ContainerImmutab": (BucketNotEmpty, _POLICY_IMMUTABLE),
    "ContainerLegalHold": (BucketNotEmpty, _HELD),
    "BlobImmutab": (BucketNotEmpty, _IMMUTABLE),
}
"""Beginnings of codes that have more members than any page lists: `ContainerImmutabilityPolicyLocked` is one."""
