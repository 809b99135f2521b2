"""Everything that Azure, its clients and the network raise, translated into the core's errors: once, here.

`storage` and `identity` wrap every call in `translated`; nothing passes through it untranslated. `check_response` sees
each HTTP answer before Azure's client does, because the client takes any answer of 200 for Azure's. Decides by codes,
statuses and types, never by message text; and no message of ours repeats what could hold a secret.
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import CredentialUnavailableError

from libbucket import (
    AccessDenied,
    BucketNotEmpty,
    NotReady,
    ProvisionerError,
    QuotaExceeded,
    Reason,
    RetrySlowly,
    StoreUnavailable,
    Throttled,
    parse_retry_after,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BUSY_NAME_SECONDS: Final = 30.0
"""How long the name of a container is busy at least after its deletion: "Delete Container", Azure's REST reference."""

_BAD_KEY = (
    "Azure at {url} does not accept the credentials of {source}: mend them, or look whether a clock is wrong ({code})"
)
_DENIED = (
    "Azure at {url} refuses {source} the action {action}: the account key is another one, or the identity lacks the "
    "role Storage Blob Data Contributor on the account, or the account's firewall shuts the provisioner out ({code})"
)
_NO_KEYS = (
    "the storage account at {url} allows no access by account key: have the StorageClass say "
    "credentials: user-delegation-sas ({code})"
)
_DISABLED = "Azure at {url} has this account or container disabled ({code})"
_BUSY = "Azure at {url} asks for fewer requests ({code})"
_DOWN = "Azure at {url} can't answer now ({code})"
_BEING_DELETED = "a container of this name is still being deleted at {url} ({code})"
_VANISHED = "the container was removed by somebody while this was going on ({code})"
_RACED = "somebody changed the container while this was going on ({code})"
_LEASED = "the container's lease is in other hands just now ({code})"
_IMMUTABLE = "the container holds what a policy or a legal hold keeps from deletion ({code})"
_FULL = "a limit of the storage account at {url} is reached ({code})"
_OLD = "what answers at {url} does not know the API version that Azure's client speaks ({code})"
_OTHER = "Azure at {url} answers {action} with {code}"

_ANSWERS: Final[Mapping[str, tuple[type[ProvisionerError], str]]] = {
    **dict.fromkeys(
        ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"), (AccessDenied, _BAD_KEY)
    ),
    **dict.fromkeys(
        (
            "AuthorizationFailure",
            "AuthorizationPermissionMismatch",
            "AuthorizationProtocolMismatch",
            "AuthorizationResourceTypeMismatch",
            "AuthorizationServiceMismatch",
            "AuthorizationSourceIPMismatch",
            "InsufficientAccountPermissions",
            "UnauthorizedBlobOverwrite",
        ),
        (AccessDenied, _DENIED),
    ),
    "KeyBasedAuthenticationNotPermitted": (AccessDenied, _NO_KEYS),
    **dict.fromkeys(("AccountIsDisabled", "ContainerDisabled"), (AccessDenied, _DISABLED)),
    **dict.fromkeys(("ServerBusy", "SnapshotOperationRateExceeded"), (Throttled, _BUSY)),
    **dict.fromkeys(
        ("InternalError", "OperationTimedOut", "SystemInUse", "AccountBeingCreated"), (StoreUnavailable, _DOWN)
    ),
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

Codes: "Common REST API error codes" and "Blob service error codes", REST reference of Azure Storage.
"""

_UNTRUSTED: Final = frozenset({18, 19, 20, 21})
"""OpenSSL's verify codes for: self-signed, self-signed in chain, no local issuer, first certificate unverified."""
_WRONG_HOST: Final = frozenset({62, 63, 64})


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


def is_refusal(error: HttpResponseError) -> bool:
    """Whether it says that these credentials may not do this, or are none."""
    return error.status_code in {401, 403}


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
        raise _translate(error, call) from error


def check_response(response: Any, url: str) -> None:
    """Refuses an answer that is not Azure's: the client would take a web page for a container without a stamp.

    Raises:
        RetrySlowly: something else answers there.
        ProvisionerError: it says that it is busy or broken.
    """
    headers, status = response.http_response.headers, response.http_response.status_code
    if headers.get("x-ms-request-id") or headers.get("x-ms-version"):
        return
    if status == 429 or status >= 500:
        raise _from_status(status, headers, f"what answers at {url}")
    raise _not_azure(url, f"HTTP {status} without any header of Azure's")


def check_authority(response: Any) -> None:
    """Tells a busy or broken authority from one that refuses: azure-identity says the same of both.

    Raises:
        Throttled: it asks for fewer requests.
        StoreUnavailable: it fails.
    """
    status = response.http_response.status_code
    if status == 429 or status >= 500:
        raise _from_status(status, response.http_response.headers, "the authority that issues tokens")


def _translate(error: Exception, call: Call) -> ProvisionerError:
    own = next((each for each in _chain(error) if isinstance(each, ProvisionerError)), None)
    if own is not None:
        return own  # of `check_authority`, wrapped by azure-identity
    if isinstance(error, CredentialUnavailableError):
        return AccessDenied(
            f"{call.source} can't be used: this pod has neither workload identity (AZURE_CLIENT_ID, AZURE_TENANT_ID, "
            "AZURE_FEDERATED_TOKEN_FILE) nor managed identity; or let the class name a Secret with secretName"
        )
    if any(isinstance(each, FileNotFoundError | PermissionError) for each in _chain(error)):
        return AccessDenied(
            f"{call.source} can't be used: the file that AZURE_FEDERATED_TOKEN_FILE names can't be read"
        )
    tls = _tls_error(error)
    if tls is not None:
        return _from_tls(tls, call)
    if isinstance(error, ClientAuthenticationError) and not code_of(error):
        return _from_authority(error, call)
    if isinstance(error, HttpResponseError) and not isinstance(error, DecodeError) and error.response is not None:
        return _from_answer(error, call)
    if isinstance(error, HttpResponseError | ValueError):
        return _not_azure(call.url, "something that Azure's client can't read")
    return StoreUnavailable(f"Azure at {call.url} does not answer: {_transport_fault(error)}")


def _from_answer(error: HttpResponseError, call: Call) -> ProvisionerError:
    code, status = code_of(error), error.status_code or 0
    headers = _headers_of(error)
    where = f"Azure at {call.url}"
    if code in _ANSWERS:
        kind, sentence = _ANSWERS[code]
        message = sentence.format(url=call.url, action=call.action, source=call.source, code=code)
        if kind is Throttled:
            return Throttled(message, delay=_retry_after(headers))
        if code == "ContainerBeingDeleted":
            return NotReady(message, delay=BUSY_NAME_SECONDS)
        return kind(message)
    if status == 429 or status >= 500:
        return _from_status(status, headers, where)
    if status in {401, 403}:
        return AccessDenied(_DENIED.format(url=call.url, action=call.action, source=call.source, code=code or status))
    if not code:
        return _not_azure(call.url, f"HTTP {status} without a code of Azure's")
    return RetrySlowly(_OTHER.format(url=call.url, action=call.action, code=code), reason=Reason.STORE_UNAVAILABLE)


def _from_status(status: int, headers: Mapping[str, str], who: str) -> ProvisionerError:
    if status in {429, 503}:
        return Throttled(f"{who} asks for fewer requests (HTTP {status})", delay=_retry_after(headers))
    return StoreUnavailable(f"{who} fails with HTTP {status}")


def _from_authority(error: ClientAuthenticationError, call: Call) -> ProvisionerError:
    """From whoever issues tokens: refused, or never reached, which azure-identity wraps all the same."""
    if any(isinstance(each, ServiceRequestError | ServiceResponseError | OSError) for each in _chain(error)):
        return StoreUnavailable(f"the authority that issues tokens does not answer: {_transport_fault(error)}")
    return AccessDenied(
        f"Entra ID issues no token to {call.source}: look at tenant, client and secret (or the federated credential), "
        "and at parameter authorityHost"
    )


def _transport_fault(error: BaseException) -> str:
    """What went wrong below HTTP, by types of whatever lies under it."""
    chain = [type(each).__name__ for each in _chain(error)]
    faults = (  # the first that fits: some come wrapped in others
        ("NameResolutionError", "its name can't be resolved"),
        ("ServiceRequestTimeoutError", "no connection within the time limit"),
        ("ConnectTimeoutError", "no connection within the time limit"),
        ("ServiceResponseTimeoutError", "no answer within the time limit"),
        ("ReadTimeoutError", "no answer within the time limit"),
        ("NewConnectionError", "the connection is refused"),
    )
    return next((text for name, text in faults if name in chain), "the connection was cut")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it wraps and what it came from; each once."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop(0)
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        inner = (getattr(found, name, None) for name in ("inner_exception", "reason", "__cause__", "__context__"))
        waiting.extend([*inner, *found.args])


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    return next((each for each in _chain(error) if isinstance(each, ssl.SSLError)), None)


def _from_tls(error: ssl.SSLError, call: Call) -> ProvisionerError:
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        if code in _UNTRUSTED:
            problem = "is signed by an authority that is not trusted: name its certificate in REQUESTS_CA_BUNDLE"
        elif code in _WRONG_HOST:
            problem = "is another host's: mend parameter endpoint"
        else:
            problem = "is not valid"
        return RetrySlowly(f"the certificate at {call.url}, or at the authority that issues tokens, {problem}")
    if getattr(error, "reason", None) in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return RetrySlowly(f"{call.url} does not speak TLS: say http:// in parameter endpoint")
    return StoreUnavailable(f"Azure at {call.url} does not answer: TLS failed")


def _not_azure(url: str, what: str) -> RetrySlowly:
    return RetrySlowly(f"{url} answers with {what}: mend parameter endpoint, which must be of a blob service")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from either form of the header, or Azure's own in milliseconds; None where nothing can be read."""
    own = headers.get("x-ms-retry-after-ms") or headers.get("retry-after-ms")
    if own and own.isascii() and own.isdigit():
        return int(own) / 1000
    return parse_retry_after(headers.get("Retry-After"))
