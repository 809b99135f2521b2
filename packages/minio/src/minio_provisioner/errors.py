"""Everything that MinIO, its client and the network raise, translated into the core's errors: once, here.

`storage` and `identity` wrap every call in `translated`; nothing passes through it untranslated. `check_response`
sees each HTTP answer before the client does, because the client drops the headers that matter. Decides by codes,
status and types, never by message text; and no message repeats what could hold a secret.

A status below 500, other than 408 and 429, is an answer: it is never an outage, whatever its code.
"""

from __future__ import annotations

import re
import ssl
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from xml.etree.ElementTree import ParseError

from minio.error import InvalidResponseError, MinioAdminException, MinioException, S3Error, ServerError
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.exceptions import SSLError as WrappedSSLError

from libbucket import (
    AccessDenied,
    BucketNotEmpty,
    NotReady,
    ProvisionerError,
    QuotaExceeded,
    Reason,
    RetrySlowly,
    StoreRefused,
    StoreUnavailable,
    Throttled,
    parse_json,
    parse_retry_after,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from urllib3 import BaseHTTPResponse

BAD_CREDENTIALS: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch"})
"""Codes that say: this access key does not exist or is disabled, or its secret is another one.

A disabled one is `InvalidAccessKeyId` too: MinIO's `cmd/api-errors.go`, `ErrAccessKeyDisabled`.
"""

OLDEST_RELEASE: Final = "RELEASE.2024-01-05"
"""The first MinIO whose policies know `s3:GetObjectAttributes`."""

_MAX_REQUEST_ID: Final = 128
_MAX_BODY: Final = 64 * 1024
"""Characters of a refusal that are parsed: MinIO's have a few hundred."""
_CODE_IN_XML: Final = re.compile(r"<Code>([A-Za-z0-9.]{1,100})</Code>")

_DENIED = "the administrator's user lacks the permission {permission} at MinIO {url}"
_BAD_KEY = (
    "MinIO at {url} does not accept the administrator's credentials ({code}): fix the Secret that secretName names"
)
_TEMPORARY_KEYS = (
    "MinIO at {url} takes the administrator's keys for temporary ones that lack their session token ({code}): put keys "
    "of a user or a service account into the Secret that secretName names"
)
_BAD_CLOCK = "MinIO at {url} refuses the request's time: a clock is wrong, there or here ({code})"
_OTHER_REGION = "MinIO at {url} has another region: set parameter region to the server's ({code})"
_LOCKED = "MinIO at {url} refuses {permission}: an object is locked ({code})"
_BUSY = "MinIO at {url} asks for fewer requests ({code})"
_DOWN = "MinIO at {url} can't answer now ({code})"
_FULL = "a limit of MinIO at {url} is reached ({code})"
_IN_USE = "the policy of this claim was manually attached to other users or groups: detach it from them first ({code})"
_REFILLED = (
    "MinIO at {url} lists nothing in the bucket, and refuses to remove it ({code}): something was written meanwhile, "
    "or the bucket is replicated to a site that has not removed its objects yet"
)
_NEEDS_VERSIONS = (
    "MinIO at {url} does not suspend versioning ({code}): the bucket has object locking, or is replicated, as all are "
    "with site replication: set additionalConfig.bucketVersioning to Enabled"
)
_NO_USERS = (
    "MinIO at {url} takes its users from LDAP and makes no users of its own ({code}), so claims can't have credentials "
    "there: parameter endpoint must name a MinIO without LDAP"
)
_TOO_OLD = (
    "MinIO at {url} does not know {permission} as it is used here ({code}): upgrade it to " + OLDEST_RELEASE + " or "
    "later, or, if it is another server, use a MinIO"
)

_NO_ADMIN_API = (
    "{url} answers {permission} as a server without MinIO's admin API does ({code}): parameter endpoint must be the "
    "address of a MinIO"
)
_VANISHED = "the bucket was removed by others while this was going on ({code})"
_REFUSED = "MinIO at {url} refuses {permission} with {code}"
_FAILED = "MinIO at {url} answers {permission} with {code}"

_ANSWERS: Final[Mapping[str, tuple[type[ProvisionerError], str]]] = {
    **dict.fromkeys(BAD_CREDENTIALS, (AccessDenied, _BAD_KEY)),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "AccountProblem"), (AccessDenied, _DENIED)),
    "InvalidTokenId": (AccessDenied, _TEMPORARY_KEYS),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired"), (AccessDenied, _BAD_CLOCK)),
    **dict.fromkeys(("AuthorizationHeaderMalformed", "InvalidRegion"), (RetrySlowly, _OTHER_REGION)),
    **dict.fromkeys(("SlowDown", "SlowDownRead", "SlowDownWrite", "TooManyRequests"), (Throttled, _BUSY)),
    **dict.fromkeys(
        ("InternalError", "RequestTimeout", "ServiceUnavailable", "XMinioBackendDown", "XMinioServerNotInitialized"),
        (StoreUnavailable, _DOWN),
    ),
    **dict.fromkeys(("TooManyBuckets", "XMinioStorageFull"), (QuotaExceeded, _FULL)),
    **dict.fromkeys(
        ("NotImplemented", "XMinioAdminVersionMismatch", "XMinioMalformedIAMPolicy"), (StoreRefused, _TOO_OLD)
    ),
    "BucketNotEmpty": (NotReady, _REFILLED),
    "InvalidBucketState": (StoreRefused, _NEEDS_VERSIONS),
    "NoSuchBucket": (NotReady, _VANISHED),
    "ObjectLocked": (BucketNotEmpty, _LOCKED),
    "XMinioIAMActionNotAllowed": (StoreRefused, _NO_USERS),
    "XMinioIAMPolicyInUse": (StoreRefused, _IN_USE),
}
"""What each code of S3 and of the admin API means to a claim. Source: MinIO's `cmd/api-errors.go`,
`cmd/admin-handler-utils.go` (`toAdminAPIErr`) and `cmd/handler-utils.go` (`errorResponseHandler`)."""

_OTHER_SERVERS: Final = frozenset({"MethodNotAllowed", "NoSuchBucket", "NoSuchKey", "NoSuchResource"})
"""What other servers say to requests of the admin API: its paths are keys in a bucket called minio to them."""
_ABOUT_BUCKETS: Final = frozenset({"admin:GetBucketQuota", "admin:SetBucketQuota"})
"""Requests of the admin API that a MinIO answers so, too."""

_UNTRUSTED: Final = frozenset({18, 19, 20, 21})
"""OpenSSL's verify codes for: self-signed, self-signed in chain, no local issuer, first certificate unverified."""
_WRONG_HOST: Final = frozenset({62, 63, 64})
_NOT_TLS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"}
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """What was being done, for messages.

    Attributes:
        url: the endpoint.
        permission: what MinIO calls the permission that the call needs.
    """

    url: str
    permission: str


def code_of(error: Exception) -> str:
    """The store's own code for `error` (`NoSuchBucket`, `XMinioAdminNoSuchUser`); empty if it has none."""
    if isinstance(error, S3Error):
        return error.code or ""
    if isinstance(error, MinioAdminException):
        return _admin_code(error)
    return ""


def request_id_of(response: BaseHTTPResponse) -> str:
    """What MinIO calls this answer in its own log and trace; empty if it does not say.

    Every answer of MinIO's has the header: `cmd/generic-handlers.go`, `addCustomHeadersMiddleware`.
    """
    given = response.headers.get("x-amz-request-id", "")[:_MAX_REQUEST_ID]
    return given if given.isascii() and given.isprintable() else ""


@contextmanager
def translated(call: Call) -> Iterator[None]:
    """Turns whatever a call of MinIO's client raises into the core's errors.

    Raises:
        ProvisionerError: never anything else of the client's, the network's or the parser's.
    """
    try:
        yield
    except ProvisionerError:
        raise
    except (S3Error, MinioAdminException) as error:
        raise _from_code(error, call) from error
    except (MinioException, HTTPError, OSError, ParseError, ValueError) as error:
        raise _from_transport(error, call) from error


def check_response(response: BaseHTTPResponse, url: str) -> None:
    """Refuses an answer that the client would misread, or whose headers it would drop.

    Raises:
        Throttled: 429 or 503; with the delay that the server asks for.
        StoreRefused: 201, which releases before RELEASE.2023-07 answer to the attachment of a policy.
        RetrySlowly: an HTML page, a success without a request id of MinIO's, or the bare 400 with which a TLS port of
            MinIO's answers plain HTTP.
    """
    if response.status == 400 and not response.headers:
        raise RetrySlowly(f"{url} refuses plain HTTP: it speaks TLS, so say https:// in parameter endpoint")
    if response.status == 201:  # MinIO's client takes it for a refusal, and can't read its encrypted body
        raise StoreRefused(_TOO_OLD.format(url=url, permission="admin:AttachUserOrGroupPolicy", code="HTTP 201"))
    if response.status in {429, 503}:
        raise Throttled(
            f"MinIO at {url} asks for fewer requests or is starting (HTTP {response.status})",
            delay=parse_retry_after(response.headers.get("Retry-After")),
        )
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    if is_page and not _is_failure(response.status):  # what stands before a server that is down answers with pages, too
        raise RetrySlowly(_not_minio(url, "a web page"))
    if response.status < 300 and not request_id_of(response):  # some proxies answer everything with 200
        raise RetrySlowly(_not_minio(url, f"HTTP {response.status} without a request id of MinIO's"))


def refused_in_batch(code: str, call: Call) -> ProvisionerError:
    """The core's error for one refusal in an answer, of status 200, to a request about several objects."""
    return _answer_for(code, 200, call)


def _is_failure(status: int) -> bool:
    """Whether an answer says that the server failed, and not that it refuses."""
    return status >= 500 or status == 408


def _from_code(error: S3Error | MinioAdminException, call: Call) -> ProvisionerError:
    code, status = code_of(error), _status_of(error)
    if not code and not _is_failure(status):
        return RetrySlowly(_not_minio(call.url, f"HTTP {status} without a code of MinIO's"))
    if code in _OTHER_SERVERS and call.permission.startswith("admin:") and call.permission not in _ABOUT_BUCKETS:
        return RetrySlowly(_NO_ADMIN_API.format(url=call.url, permission=call.permission, code=code))
    return _answer_for(code or f"HTTP {status}", status, call)


def _answer_for(code: str, status: int, call: Call) -> ProvisionerError:
    unknown = (StoreUnavailable, _FAILED) if _is_failure(status) else (StoreRefused, _REFUSED)
    kind, sentence = _ANSWERS.get(code, unknown)
    if not _is_failure(status) and issubclass(kind, (StoreUnavailable, Throttled)):
        kind, sentence = NotReady, _REFUSED  # one object of a batch, say: no word about the server as a whole
    shown = code if code.isascii() and code.isprintable() else "a code that can't be printed"
    return kind(sentence.format(url=call.url, permission=call.permission, code=shown[:100]))


def _from_transport(error: Exception, call: Call) -> ProvisionerError:
    if isinstance(error, MaxRetryError) and error.reason is not None:
        error = error.reason
    tls = _tls_error(error)
    if tls is not None:
        return _from_tls(tls, call)
    if isinstance(error, InvalidResponseError):
        status, content_type, _body = _arguments(error)
        return _from_foreign_answer(status, content_type or "", call)
    if isinstance(error, ServerError):
        return _from_foreign_answer(error.status_code, "", call)
    if isinstance(error, ParseError | ValueError):
        return RetrySlowly(_not_minio(call.url, "something that MinIO's client can't read"))
    return StoreUnavailable(f"MinIO at {call.url} does not answer: {_transport_fault(error)}")


def _transport_fault(error: Exception) -> str:
    faults: tuple[tuple[type[Exception], str], ...] = (  # the first that fits: some are kinds of others
        (NameResolutionError, "its name can't be resolved"),
        (NewConnectionError, "the connection is refused"),
        (ConnectTimeoutError, "no connection within the time limit"),
        (ReadTimeoutError, "no answer within the time limit"),
    )
    return next((text for kind, text in faults if isinstance(error, kind)), "the connection was cut")


def _from_foreign_answer(status: int, content_type: str, call: Call) -> ProvisionerError:
    if _is_failure(status):
        return StoreUnavailable(f"MinIO at {call.url}, or what stands before it, answers with HTTP {status}")
    return RetrySlowly(_not_minio(call.url, f"HTTP {status} {content_type[:100]}".strip()))


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    if isinstance(error, ssl.SSLError):
        return error
    if isinstance(error, WrappedSSLError):
        return next((arg for arg in error.args if isinstance(arg, ssl.SSLError)), None)
    return None


def _from_tls(error: ssl.SSLError, call: Call) -> ProvisionerError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return RetrySlowly(_about_certificate(error, call), reason=Reason.INVALID_PARAMETERS)
    reason = getattr(error, "reason", None)  # absent where Python itself made the error
    if reason in _NOT_TLS:
        return RetrySlowly(f"{call.url} does not speak TLS: if it speaks plain HTTP, say http:// in parameter endpoint")
    return StoreUnavailable(f"no TLS connection with MinIO at {call.url} ({reason or 'unknown cause'})")


def _about_certificate(error: ssl.SSLCertVerificationError, call: Call) -> str:
    if error.verify_code in _UNTRUSTED:
        return (
            f"the certificate of {call.url} is from an authority that is not trusted: give its PEM in parameter "
            "caBundle, or as ca.crt in the Secret that secretName names"
        )
    if error.verify_code in _WRONG_HOST:
        return f"the certificate of {call.url} is for another host: fix parameter endpoint, or the certificate"
    return f"the certificate of {call.url} is not valid: {error.verify_message}"


def _not_minio(url: str, what: str) -> str:
    return f"{url} answers with {what}: parameter endpoint must be the address of MinIO's S3 API, not of its console"


def _admin_code(error: MinioAdminException) -> str:
    """The code in an answer of the admin API: JSON, but XML where MinIO refuses a request before it reaches that API.

    It does so when clocks differ: `cmd/auth-handler.go`, `setAuthMiddleware`.
    """
    _status, body = _arguments(error)
    with suppress(ValueError):
        parsed = parse_json(body)
        return str(parsed.get("Code", "")) if isinstance(parsed, dict) else ""
    found = _CODE_IN_XML.search(body[:_MAX_BODY])
    return found[1] if found else ""  # not MinIO's: the status decides


def _arguments(error: InvalidResponseError | MinioAdminException) -> tuple[Any, ...]:
    """What `error` was made from: the client keeps it in private attributes, and its pickling hook gives it."""
    _kind, arguments = error.__reduce__()  # type: ignore[no-untyped-call]
    return tuple(arguments)


def _status_of(error: S3Error | MinioAdminException) -> int:
    if isinstance(error, S3Error):
        return error.response.status
    status, _body = _arguments(error)
    return int(status)
