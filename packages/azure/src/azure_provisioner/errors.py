"""Everything that Azure Storage, its client and the network raise, translated into the core's errors: once, here.

`storage` and `identity` wrap every call in `translated`; nothing passes through it untranslated. `check_response` sees
each HTTP answer before Azure's client does, because the client takes any answer of 200 for Azure's. Decides by codes,
statuses and types, never by message text; and no message of ours repeats what could hold a secret. What the authority
that issues tokens answers is translated in `tokens`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from azure.core.exceptions import (
    AzureError,
    DecodeError,
    HttpResponseError,
)

from azure_provisioner.faults import chain, tls_failure, transport_fault
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
    parse_retry_after,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BUSY_NAME_SECONDS: Final = 30.0
"""How long the name of a container is busy at least after its deletion: "Delete Container", Azure's REST reference."""

_BAD_KEY = "Azure at {url} does not accept the credentials of {source}: replace them, or set the clock right ({code})"
_DENIED = (
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
_NO_DATA_ROLE = (
    "Azure refuses the SAS that {source} signed: its identity lacks the data actions of the role Storage Blob Data "
    "Contributor on the account, or the assignment is new and takes effect within ten minutes ({code})"
)
_UNBOUND = (
    "the account requires user-bound SAS (sasPolicy.requireUserBoundUserDelegationSas), which claims have with "
    "credentials: role-assignment only"
)
_FULL = "a limit of the storage account at {url} is reached ({code})"
_OLD = "what answers at {url} does not know the API version that Azure's client speaks ({code})"
_OTHER = "Azure at {url} refuses {action} with {code}"

_ANSWERS: Final[Mapping[str, tuple[type[ProvisionerError], str]]] = {
    **dict.fromkeys(
        ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"), (AccessDenied, _BAD_KEY)
    ),
    **dict.fromkeys(
        (
            "AuthorizationFailure",
            "AuthorizationResourceTypeMismatch",
            "AuthorizationServiceMismatch",
            "InsufficientAccountPermissions",
            "UnauthorizedBlobOverwrite",
        ),
        (AccessDenied, _DENIED),
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

_FAMILIES: Final[Mapping[str, tuple[type[ProvisionerError], str]]] = {
    "ContainerImmutab": (BucketNotEmpty, _POLICY_IMMUTABLE),
    "ContainerLegalHold": (BucketNotEmpty, _HELD),
    "BlobImmutab": (BucketNotEmpty, _IMMUTABLE),
}
"""Beginnings of codes that have more members than any page lists: `ContainerImmutabilityPolicyLocked` is one."""

_OUTAGES: Final = frozenset({408, 429})
"""Statuses below 500 that are no answer to the request."""

_SAS_SECONDS: Final = 5.0
_LONGEST_ID: Final = 128
_LONGEST_DELAY: Final = 9


@dataclass(frozen=True, kw_only=True)
class Call:
    """What was being done, for messages.

    Attributes:
        url: of the account's blob service.
        action: what Azure calls the permission that the call needs.
        source: where the credentials come from.
    """

    url: str
    action: str
    source: str


def code_of(error: HttpResponseError) -> str:
    """Azure's own code for `error` (`ContainerNotFound`); empty if it has none."""
    code = _headers_of(error).get("x-ms-error-code") or getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _headers_of(error: HttpResponseError) -> Mapping[str, str]:
    # The base class that the client declares has them only in its subclasses.
    return getattr(error.response, "headers", None) or {}


def request_id_in(error: HttpResponseError) -> str:
    """The request id of an answer; see `request_id_of`."""
    return request_id_of(_headers_of(error))


def _info_of(error: HttpResponseError) -> Mapping[str, str]:
    """What the body of an error says beside code and message."""
    return getattr(error, "additional_info", None) or {}


def is_refusal(error: HttpResponseError) -> bool:
    """Whether it says that these credentials may not do this, or are none."""
    return error.status_code in {401, 403}


def request_id_of(headers: Mapping[str, str]) -> str:
    """What Azure's operators find an answer by in their logs; empty where it has no id, or none that may be logged."""
    found = headers.get("x-ms-request-id") or ""
    return found if len(found) <= _LONGEST_ID and found.isascii() and found.isprintable() else ""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a claim's own SAS was refused.

    Attributes:
        code: Azure's own, or the status.
        is_out_of_policy: the account's SAS expiration policy forbids it.
        request_id: of the answer.
    """

    code: str
    is_out_of_policy: bool
    request_id: str

    def as_error(self, call: Call, container: str, *, is_delegated: bool = False) -> ProvisionerError:
        """What it means to the claim, whose credentials stay as they are.

        Args:
            call: what was being done.
            container: where.
            is_delegated: the SAS was signed just now by an identity: no front end has to learn of it.
        """
        if self.is_out_of_policy:
            return AccessDenied(
                f"the SAS expiration policy of the storage account at {call.url} forbids the claim's SAS: set "
                f"parameter expiry to no more than that policy allows{f'; or {_UNBOUND}' if is_delegated else ''} "
                f"({self.code})",
                request_id=self.request_id,
            )
        if self.code == "AuthorizationPermissionMismatch":
            return AccessDenied(_NO_DATA_ROLE.format(source=call.source, code=self.code), request_id=self.request_id)
        if is_delegated:
            return NotReady(
                f"Azure refuses a user-delegation SAS for container {container} that was signed just now "
                f"({self.code}): retried. If that continues, {_UNBOUND}; or its network rules block the provisioner",
                delay=_SAS_SECONDS,
                request_id=self.request_id,
            )
        return NotReady(
            f"Azure refuses the claim's SAS for container {container}, which was issued and may take it half a minute "
            f"to know ({self.code}): it is kept, and retried",
            delay=_SAS_SECONDS,
            request_id=self.request_id,
        )


def refusal_of(error: HttpResponseError) -> Refusal:
    """The refusal that an answer is."""
    detail = _info_of(error).get("authenticationerrordetail") or ""
    return Refusal(
        code=code_of(error) or str(error.status_code),
        # The code is that of every refused signature; the detail is compared, and never repeated.
        is_out_of_policy=detail.startswith("Policy violated by"),
        request_id=request_id_in(error),
    )


@contextmanager
def translated(call: Call) -> Iterator[None]:
    """Turns whatever a call of Azure's clients raises into the core's errors.

    Raises:
        ProvisionerError: never anything else of the clients', the network's or the parser's.
    """
    try:
        yield
    except ProvisionerError:
        raise
    except (AzureError, OSError, ValueError) as error:
        raise translate(error, call) from error


def check_response(response: Any, url: str) -> None:
    """Refuses an answer that is not Azure's: the client would take a web page for a container without ownership tags.

    Raises:
        RetrySlowly: something else answers there.
        ProvisionerError: it says that it is busy or broken.
    """
    headers, status = response.http_response.headers, response.http_response.status_code
    if headers.get("x-ms-request-id") or headers.get("x-ms-version"):
        return
    if is_outage(status):
        raise from_status(status, headers, f"what answers at {url}")
    raise _not_azure(url, f"HTTP {status} without any header of Azure's")


def translate(error: Exception, call: Call) -> ProvisionerError:
    """What an error of Azure's clients, of the network or of a parser means to the core."""
    own = next((each for each in chain(error) if isinstance(each, ProvisionerError)), None)
    if own is not None:
        return own  # of a hook, wrapped by a client
    tls = tls_failure(error, call.url, "endpoint")
    if tls is not None:
        return tls
    if isinstance(error, HttpResponseError) and not isinstance(error, DecodeError) and error.response is not None:
        return _with_id(_from_answer(error, call), _headers_of(error))
    if isinstance(error, HttpResponseError | ValueError):
        return _not_azure(call.url, "something that Azure's client can't read")
    return StoreUnavailable(f"Azure at {call.url} does not answer: {transport_fault(error)}")


def _from_answer(error: HttpResponseError, call: Call) -> ProvisionerError:
    code, status = code_of(error), error.status_code or 0
    headers = _headers_of(error)
    kind, sentence = _meaning_of(code, status)
    if kind is None or (code == "InvalidHeaderValue" and _info_of(error).get("headername") != "x-ms-version"):
        return _from_unknown(code, status, headers, call)
    message = sentence.format(url=call.url, action=call.action, source=call.source, code=code)
    if kind is Throttled:
        return Throttled(message, delay=_retry_after(headers))
    if code == "ContainerBeingDeleted":
        return NotReady(message, delay=BUSY_NAME_SECONDS)
    return kind(message)


def _meaning_of(code: str, status: int) -> tuple[type[ProvisionerError] | None, str]:
    """The error class of a known code, and its sentence; None for a code that is judged by its status."""
    family = next((meaning for beginning, meaning in _FAMILIES.items() if code.startswith(beginning)), (None, ""))
    kind, sentence = _ANSWERS.get(code, family)
    # A status below 500 is an answer, whatever its code stands for elsewhere.
    is_consistent = kind not in {Throttled, StoreUnavailable} or is_outage(status)
    return (kind, sentence) if is_consistent else (None, "")


def _from_unknown(code: str, status: int, headers: Mapping[str, str], call: Call) -> ProvisionerError:
    if is_outage(status):
        return from_status(status, headers, f"Azure at {call.url}")
    if status in {401, 403}:
        return AccessDenied(_DENIED.format(url=call.url, action=call.action, source=call.source, code=code or status))
    if not code:
        return _not_azure(call.url, f"HTTP {status} without a code of Azure's")
    return StoreRefused(_OTHER.format(url=call.url, action=call.action, code=code))


def is_outage(status: int) -> bool:
    """Whether this status says nothing about the request: any other is an answer to it."""
    return status >= 500 or status in _OUTAGES


def from_status(status: int, headers: Mapping[str, str], who: str) -> ProvisionerError:
    """What an answer means whose status alone says that it is none."""
    if status in {429, 503}:
        busy = Throttled(f"{who} asks for fewer requests (HTTP {status})", delay=_retry_after(headers))
        return _with_id(busy, headers)
    return _with_id(StoreUnavailable(f"{who} fails with HTTP {status}"), headers)


def _with_id(error: ProvisionerError, headers: Mapping[str, str]) -> ProvisionerError:
    error.request_id = error.request_id or request_id_of(headers)
    return error


def _not_azure(url: str, what: str) -> RetrySlowly:
    return RetrySlowly(f"{url} answers with {what}: correct parameter endpoint, which must be of a blob service")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from either form of the header, or Azure's own in milliseconds; None where nothing can be read."""
    own = headers.get("x-ms-retry-after-ms") or headers.get("retry-after-ms")
    if own and len(own) <= _LONGEST_DELAY and own.isascii() and own.isdigit():
        return int(own) / 1000
    return parse_retry_after(headers.get("Retry-After"))
