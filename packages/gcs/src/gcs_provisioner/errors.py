"""Everything that Google, its clients and the network raise, translated into the core's errors: once, here.

`storage`, `identity`, `keys` and `client` wrap every call in `translated`; nothing passes through it untranslated.
Decides by types, statuses and reasons, never by message text; and no message of ours repeats an exception's, which
could hold a secret.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from xml.etree.ElementTree import ParseError

from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage import exceptions as media
from google.resumable_media import common as resumable
from requests import exceptions as http

from libbucket import (
    AccessDenied,
    BucketNotEmpty,
    NotReady,
    ProvisionerError,
    QuotaExceeded,
    RetrySlowly,
    StoreUnavailable,
    Throttled,
    parse_retry_after,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

_DENIED: Final = "the administrator's service account lacks the permission {permission}"
_BAD_KEY: Final = (
    "Google does not accept the administrator's credentials: mend the Secret that secretName names, or the identity of "
    "the provisioner's pod"
)
_BUSY: Final = "Google asks for fewer requests ({status} at {url})"
_DOWN: Final = "Google can't answer now ({status} at {url})"
_FULL: Final = "a limit of the Google Cloud project is reached, for {permission} ({reason}): have it raised"
_LOCKED: Final = "Google refuses {permission}: an object is held or retained ({reason})"
_CHANGED: Final = "something was changed by others while this was going on ({status} for {permission})"
_VANISHED: Final = "something was removed by others while this was going on ({status} for {permission})"
_INVALID: Final = "Google refuses the request for {permission} as invalid ({status} {reason}): check the parameters"
_FORBIDDEN_BY_POLICY: Final = (
    "the Google Cloud project does not allow what {permission} is for ({reason}): an organisation policy or a setting "
    "of the project forbids it"
)
_DISABLED: Final = "an API that {permission} needs is not enabled in the Google Cloud project ({reason})"
_ELSEWHERE: Final = "{url} answers {status}: parameters endpoint and iamEndpoint must be the addresses of Google's APIs"

# https://cloud.google.com/storage/docs/json_api/v1/status-codes and https://cloud.google.com/apis/design/errors
_BY_REASON: Final[Mapping[str, tuple[type[ProvisionerError], str]]] = {
    **dict.fromkeys(("objectUnderActiveHold", "retentionPolicyNotMet"), (BucketNotEmpty, _LOCKED)),
    **dict.fromkeys(("rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"), (Throttled, _BUSY)),
    **dict.fromkeys(("quotaExceeded", "projectQuotaExceeded", "dailyLimitExceeded"), (QuotaExceeded, _FULL)),
    **dict.fromkeys(("accessNotConfigured", "SERVICE_DISABLED"), (AccessDenied, _DISABLED)),
    **dict.fromkeys(("FAILED_PRECONDITION", "failedPrecondition"), (RetrySlowly, _FORBIDDEN_BY_POLICY)),
    **dict.fromkeys(("orgPolicyConstraintFailed", "orgPolicyViolation"), (RetrySlowly, _FORBIDDEN_BY_POLICY)),
}
_BY_STATUS: Final[Mapping[int, tuple[type[ProvisionerError], str]]] = {
    400: (RetrySlowly, _INVALID),
    401: (AccessDenied, _BAD_KEY),
    403: (AccessDenied, _DENIED),
    404: (NotReady, _VANISHED),
    409: (NotReady, _CHANGED),
    412: (NotReady, _CHANGED),
    429: (Throttled, _BUSY),
    499: (StoreUnavailable, _DOWN),
    503: (Throttled, _BUSY),
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """What was being done, for messages.

    Attributes:
        url: the endpoint.
        permission: what Google calls the permission that the call needs.
    """

    url: str
    permission: str


@contextmanager
def translated(call: Call) -> Iterator[None]:
    """Turns whatever a call of Google's clients raises into the core's errors.

    Raises:
        ProvisionerError: never anything else of the clients', the network's or a parser's.
    """
    try:
        yield
    except ProvisionerError:
        raise
    except (api.GoogleAPIError, auth.GoogleAuthError, api.AsyncRestUnsupportedParameterError) as error:
        raise _from_google(error, call) from error
    except (media.InvalidResponse, resumable.InvalidResponse) as error:
        raise from_response(error.response, call) from error
    except (http.RequestException, OSError) as error:
        raise _from_transport(error, call) from error
    except (media.DataCorruption, media.InvalidPathError, resumable.DataCorruption) as error:
        raise StoreUnavailable(f"what {call.url} answered was damaged on its way") from error
    except (ParseError, ValueError) as error:
        raise _not_google(call) from error


def from_response(response: requests.Response, call: Call) -> ProvisionerError:
    """The core's error for an HTTP answer that is a refusal."""
    return _by_status(response.status_code, reason_of(response), response.headers, call)


def check_token_answer(status: int, headers: Mapping[str, str], url: str) -> None:
    """Refuses an answer of a token endpoint that google-auth would wait for by itself.

    Raises:
        Throttled: 429 or 503, with the delay that was asked for.
        StoreUnavailable: another 5xx.
    """
    if status in {429, 503}:
        raise Throttled(_BUSY.format(status=status, url=url), delay=parse_retry_after(headers.get("Retry-After")))
    if status >= 500:
        raise StoreUnavailable(_DOWN.format(status=status, url=url))


def reason_of(response: object) -> str:
    """Google's own word for a refusal (`forbidden`, `ALREADY_EXISTS`); empty where the answer has none."""
    try:
        error = json.loads(getattr(response, "content", b"") or b"{}").get("error", {})
        details = [each.get("reason") for each in error.get("details", ()) if "ErrorInfo" in each.get("@type", "")]
        reasons = [each.get("reason") for each in error.get("errors", ())]
        return str(next(filter(None, [*details, *_worth(error, reasons)]), ""))
    except (ValueError, AttributeError, TypeError):
        return ""


def status_of(error: api.GoogleAPICallError) -> int:
    """The HTTP status that stands behind an error of Google's client; 0 where there is none."""
    return int(error.code or 0)


def _worth(error: dict[str, Any], reasons: list[Any]) -> list[Any]:
    """IAM's status names say more than the reasons it sends along, where they say anything but the status itself."""
    status = error.get("status")
    return [status, *reasons] if status in {"FAILED_PRECONDITION", "ALREADY_EXISTS"} else reasons


def _from_google(error: Exception, call: Call) -> ProvisionerError:
    if isinstance(error, api.GoogleAPICallError) and status_of(error):
        headers = getattr(error.response, "headers", None) or {}
        return _by_status(status_of(error), reason_of(error.response), headers, call)
    if isinstance(error, auth.TransportError):
        cause = error.args[0] if error.args and isinstance(error.args[0], Exception) else error.__cause__
        return _from_transport(cause if isinstance(cause, Exception) else error, call)
    if isinstance(error, auth.TimeoutError | auth.ResponseError) or getattr(error, "retryable", False):
        return StoreUnavailable(f"Google does not answer at {call.url}")
    if isinstance(error, auth.DefaultCredentialsError):
        return AccessDenied(
            "the StorageClass names no secretName, and the provisioner's pod has no identity of Google's: name a "
            "Secret, or give the pod one (Workload Identity)"
        )
    if isinstance(error, auth.GoogleAuthError):
        return AccessDenied(_BAD_KEY)
    return StoreUnavailable(f"Google does not answer at {call.url} as its client expects")


def _by_status(status: int, reason: str, headers: Mapping[str, str], call: Call) -> ProvisionerError:
    kind, sentence = _BY_REASON.get(reason) or _BY_STATUS.get(status) or _by_class(status)
    text = sentence.format(url=call.url, permission=call.permission, status=status, reason=reason or "no reason given")
    if issubclass(kind, Throttled):
        return kind(text, delay=parse_retry_after(headers.get("Retry-After")))
    return kind(text)


def _by_class(status: int) -> tuple[type[ProvisionerError], str]:
    return (StoreUnavailable, _DOWN) if status >= 500 else (RetrySlowly, _ELSEWHERE)


def _from_transport(error: Exception, call: Call) -> ProvisionerError:
    if isinstance(error, http.SSLError):
        return RetrySlowly(f"no TLS connection with {call.url}: its certificate is not valid, or it speaks no TLS")
    if isinstance(error, http.JSONDecodeError | http.TooManyRedirects | http.InvalidSchema | http.ContentDecodingError):
        return _not_google(call)
    faults: tuple[tuple[type[Exception], str], ...] = (  # the first that fits: some are kinds of others
        (http.ConnectTimeout, "no connection within the time limit"),
        (http.Timeout, "no answer within the time limit"),
        (http.ProxyError, "the proxy does not let it through"),
        (http.ConnectionError, "the connection is refused or was cut"),
    )
    fault = next((text for kind, text in faults if isinstance(error, kind)), "the connection was cut")
    return StoreUnavailable(f"Google does not answer at {call.url}: {fault}")


def _not_google(call: Call) -> RetrySlowly:
    return RetrySlowly(
        f"{call.url} answers with something that is not Google's: check parameters endpoint and iamEndpoint"
    )
