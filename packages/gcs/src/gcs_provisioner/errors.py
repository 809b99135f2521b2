"""Everything that Google, its clients and the network raise, translated into the core's errors: once, here.

Every module that calls Google wraps its calls in `translated`; nothing passes through it untranslated. What an answer
says is read by `refusals`. Decides by types, statuses, reasons and names of constraints; no message of ours repeats an
exception's or an answer's text, which could hold a secret.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage import exceptions as media
from google.resumable_media import common as resumable
from requests import exceptions as http

from gcs_provisioner.answer_forms import has_form
from gcs_provisioner.constraints import advise
from gcs_provisioner.refusals import (
    DENIED_REASONS,
    PERIMETER_REASONS,
    SKEW_REASONS,
    constraint_of,
    header_of,
    oauth_error,
    perimeter_of,
    reason_of,
    reason_of_body,
    request_id_of,
    says_missing,
    status_of,
)
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

    import requests

_DENIED: Final = (
    "the administrator's service account lacks the permission {permission}, or what it is asked for does not exist "
    "({status} {reason})"
)
_BAD_KEY: Final = (
    "Google does not accept the administrator's credentials ({status} {reason}): replace the key in the Secret that "
    "secretName names, or fix the identity of the provisioner's pod, or the clock of its machine"
)
_NOT_IMPERSONATED: Final = (
    "the administrator's credentials may not act as the service account that impersonateServiceAccount, or the "
    "external-account file, names, or it does not exist ({status} {reason}): grant them "
    "roles/iam.serviceAccountTokenCreator on it"
)
_BUSY: Final = "Google asks for fewer requests ({status} at {url})"
_DOWN: Final = "Google can't answer now ({status} at {url})"
_FULL: Final = "a limit of the Google Cloud project is reached, for {permission} ({reason}): have it raised"
_LOCKED: Final = "Google refuses {permission}: an object is held or retained ({reason})"
_CHANGED: Final = "something was changed by others while this was going on ({status} {reason} for {permission})"
_VANISHED: Final = "something was removed by others while this was going on ({status} {reason} for {permission})"
_REFUSED: Final = "Google refuses the request for {permission} ({status} {reason})"
_INVALID: Final = (
    "Google refuses the request for {permission} as invalid ({status} {reason}): check the parameters of the "
    "class, such as project and region"
)
_INVALID_POLICY: Final = (
    "Google refuses the request for {permission} as invalid ({status} {reason}): a policy is written as a whole, and a "
    "member of it, this claim's or another, may not exist any more: remove such members from the policy"
)
_FORBIDDEN_BY_POLICY: Final = (
    "an organisation policy or a setting of the Google Cloud project forbids what {permission} is for ({status} "
    "{named}): {help}"
)
_PERIMETER: Final = (
    "VPC Service Controls do not let the provisioner's request for {permission} through ({status} {named}): look that "
    "id up in the VPC Service Controls troubleshooter"
)
_BILLING: Final = "billing of the Google Cloud project is disabled or closed ({status} {reason} for {permission})"
_PAYER: Final = "the bucket is a Requester Pays bucket, which this provisioner does not support ({reason})"
_KMS: Final = (
    "Cloud KMS does not let Cloud Storage use the key that kmsKeyName names ({status} {reason}): grant "
    "roles/cloudkms.cryptoKeyEncrypterDecrypter on it to the project's Cloud Storage service agent"
)
_SKEWED: Final = (
    "Google refuses the request for {permission} for its time ({status} {reason}): the clock of the provisioner's "
    "machine seems to be wrong"
)
_API_DISABLED: Final = "an API that {permission} needs is not enabled in the Google Cloud project ({reason})"
_ELSEWHERE: Final = "{url} answers {status}: parameters endpoint and iamEndpoint must be the addresses of Google's APIs"

_NOT_GOOGLE: Final = (
    "{url} answers{status} with something that is not Google's: check parameters endpoint and iamEndpoint, and any "
    "proxy before the provisioner"
)

NO_REASON: Final = "no reason given"

_Translation = tuple[type[ProvisionerError], str]

# https://cloud.google.com/storage/docs/json_api/v1/status-codes and https://cloud.google.com/apis/design/errors
_BY_REASON: Final[Mapping[str, _Translation]] = {
    **dict.fromkeys(("objectUnderActiveHold", "retentionPolicyNotMet"), (BucketNotEmpty, _LOCKED)),
    **dict.fromkeys(("quotaExceeded", "projectQuotaExceeded", "dailyLimitExceeded"), (QuotaExceeded, _FULL)),
    **dict.fromkeys(("accessNotConfigured", "SERVICE_DISABLED"), (AccessDenied, _API_DISABLED)),
    **dict.fromkeys(("FAILED_PRECONDITION", "failedPrecondition"), (StoreRefused, _FORBIDDEN_BY_POLICY)),
    **dict.fromkeys(("orgPolicyConstraintFailed", "orgPolicyViolation"), (StoreRefused, _FORBIDDEN_BY_POLICY)),
    **dict.fromkeys(("accountDisabled", "UserProjectAccountProblem", "BILLING_DISABLED"), (StoreRefused, _BILLING)),
    **dict.fromkeys(("UserProjectMissing", "userProjectMissing"), (StoreRefused, _PAYER)),
    **dict.fromkeys(SKEW_REASONS, (NotReady, _SKEWED)),
    **dict.fromkeys(PERIMETER_REASONS, (StoreRefused, _PERIMETER)),
    **dict.fromkeys(("CloudKmsDisabledKey", "CloudKmsBadKey"), (StoreRefused, _KMS)),
}
_WITHOUT_BODY: Final = frozenset({"storage.buckets.get", "storage.buckets.getIamPolicy", "storage.objects.list"})
"""Requests of which nothing can be missing but the project that pays: the JSON API says `required` for that."""
_RATE_REASONS: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"})
_RATED: Final = frozenset(f"storage.buckets.{each}" for each in ("create", "delete", "update", "setIamPolicy"))
"""What Google limits to a request each second or two, of a project or a bucket: https://cloud.google.com/storage/quotas."""
_BY_STATUS: Final[Mapping[int, _Translation]] = {
    400: (StoreRefused, _INVALID),
    401: (AccessDenied, _BAD_KEY),
    404: (NotReady, _VANISHED),
    408: (StoreUnavailable, _DOWN),
    409: (NotReady, _CHANGED),
    412: (NotReady, _CHANGED),
    429: (Throttled, _BUSY),
    499: (NotReady, _CHANGED),  # CANCELLED: an answer, and none about the request's sense
    503: (Throttled, _BUSY),
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """What was being done, for messages.

    Attributes:
        url: the endpoint.
        permission: what Google calls the permission that the call needs.
        conditional: whether the request carried a precondition (an etag, a metageneration). Google answers 412 to
            others as well: then an organisation policy forbids what they are for.
    """

    url: str
    permission: str
    conditional: bool = False


class TokenRefused(AccessDenied):
    """A token endpoint does not accept a key."""


class PermissionDenied(AccessDenied):
    """Google knows who asks, and does not let them, or what they ask for does not exist."""


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
        raise StoreUnavailable(f"the response of {call.url} was corrupted") from error
    except (ET.ParseError, ValueError, RecursionError) as error:
        raise _not_google(call) from error


def from_response(response: requests.Response, call: Call) -> ProvisionerError:
    """The core's error for an HTTP answer that is a refusal."""
    return _by_status(response.status_code, response, call)


def check_token_answer(status: int, headers: Mapping[str, str], url: str, body: bytes = b"") -> None:
    """Refuses an answer of a token endpoint that is no token, before google-auth waits and asks again by itself.

    Raises:
        Throttled: 429 or 503, with the delay that was asked for.
        StoreUnavailable: 408 and any other 5xx.
        TokenRefused: the key is not accepted.
        PermissionDenied: the account is not one to act as.
        StoreRefused: any other refusal.
    """
    if status < 400:
        return
    request_id = request_id_of(headers)
    if status in {429, 503}:
        delay = parse_retry_after(header_of(headers, "retry-after"))
        raise Throttled(_BUSY.format(status=status, url=url), delay=delay, request_id=request_id)
    if status >= 500 or status == 408:
        raise StoreUnavailable(_DOWN.format(status=status, url=url), request_id=request_id)
    reason = oauth_error(body)
    if url.endswith(":generateAccessToken") and status in {403, 404}:
        named = reason_of_body(body) or NO_REASON
        raise PermissionDenied(_NOT_IMPERSONATED.format(status=status, reason=named), request_id=request_id)
    # https://datatracker.ietf.org/doc/html/rfc6749#section-5.2 has its codes with 400 and 401.
    if status in {401, 403} or reason:
        raise TokenRefused(
            _BAD_KEY.format(status=status, reason=reason or NO_REASON),
            request_id=request_id,
        )
    raise StoreRefused(f"Google's token endpoint {url} refuses to answer ({status})", request_id=request_id)


def check_answer(response: requests.Response) -> None:
    """Refuses what is not Google's word: it ends deletions and decides what is written, and none is taken from a proxy.

    That is a 404 without a reason of Google's, and a success that is not in the form of what was asked for.

    Raises:
        StoreRefused: it has another reason.
        RetrySlowly: it has none, so that something else answers there.
    """
    parts = urlsplit(response.url)
    asked = f"{response.request.method} {parts.path}"
    call = Call(url=f"{parts.scheme}://{parts.netloc}", permission=asked)
    if not has_form(response):
        text = _NOT_GOOGLE.format(url=call.url, status=f" {response.status_code}")
        raise RetrySlowly(text, request_id=request_id_of(response.headers))
    if response.status_code != 404 or says_missing(response.content):
        return
    kind, sentence = _by_class(response.status_code, reason_of(response))
    raise _build(kind, sentence, response.status_code, response, call)


def from_refusal(error: api.GoogleAPICallError, call: Call) -> ProvisionerError:
    """The core's error for a refusal that one of Google's clients raised."""
    return _from_google(error, call)


def _names_policy(status: int, response: object) -> bool:
    """Whether a refusal is by an organisation policy that it names: by Cloud Storage 412, by IAM 400."""
    return status in {400, 403, 412} and bool(constraint_of(response))


def is_too_many(error: ProvisionerError) -> bool:
    """Whether an API has refused a request because there were too many: 429, and not the 503 that is told alike."""
    cause = error.__cause__
    return isinstance(cause, api.GoogleAPICallError) and status_of(cause) == 429


def _from_google(error: Exception, call: Call) -> ProvisionerError:
    if isinstance(error, api.GoogleAPICallError) and status_of(error):
        return _by_status(status_of(error), error.response, call)
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
        return AccessDenied(_BAD_KEY.format(status="no status", reason="the key itself can't be used"))
    return StoreUnavailable(f"Google does not answer at {call.url} as its client expects")


def _by_status(status: int, response: object, call: Call) -> ProvisionerError:
    reason = reason_of(response)
    if (status == 412 and not call.conditional) or _names_policy(status, response):
        return _build(StoreRefused, _FORBIDDEN_BY_POLICY, status, response, call)
    if reason in _RATE_REASONS and (status != 429 or call.permission in _RATED):
        # Neither an outage nor a busy service: what has a rate of its own waits, and all other requests go on.
        return _build(NotReady, _BUSY, status, response, call)
    if reason == "required" and status == 400 and call.permission in _WITHOUT_BODY:
        return _build(StoreRefused, _PAYER, status, response, call)
    if perimeter_of(response):
        return _build(StoreRefused, _PERIMETER, status, response, call)
    kind, sentence = _BY_REASON.get(reason) or _BY_STATUS.get(status) or _by_class(status, reason)
    if sentence == _INVALID and call.permission.endswith(".setIamPolicy"):
        sentence = _INVALID_POLICY
    return _build(kind, sentence, status, response, call)


def _by_class(status: int, reason: str) -> _Translation:
    if status >= 500:
        return StoreUnavailable, _DOWN
    if status == 403:
        return (PermissionDenied, _DENIED) if reason in DENIED_REASONS else (StoreRefused, _REFUSED)
    # Without a reason it is not in the form of Google's errors: something else answers there.
    return (StoreRefused, _REFUSED) if reason and status >= 400 else (RetrySlowly, _ELSEWHERE)


def _build(kind: type[ProvisionerError], sentence: str, status: int, response: object, call: Call) -> ProvisionerError:
    headers = getattr(response, "headers", None) or {}
    constraint, reason = constraint_of(response), reason_of(response) or NO_REASON
    text = sentence.format(
        url=call.url,
        permission=call.permission,
        status=status,
        reason=reason,
        named=f"constraint {constraint}" if constraint else (perimeter_of(response) or reason),
        help=advise(constraint, call.permission),
    )
    request_id = request_id_of(headers)
    if issubclass(kind, Throttled | NotReady):
        delay = parse_retry_after(header_of(headers, "retry-after"))
        if delay is None and kind is NotReady and reason in _RATE_REASONS:
            delay = random.uniform(2, 10)  # noqa: S311 - so that those that met do not meet again
        return kind(text, delay=delay, request_id=request_id)
    return kind(text, request_id=request_id)


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
    return RetrySlowly(_NOT_GOOGLE.format(url=call.url, status=""))
