"""What can go wrong between us and the API server: typed once, here, from a status or a transport error.

Everything above reads these classes and never an HTTP status. Each carries one sentence for an operator.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import msgspec
import urllib3.exceptions as transport

if TYPE_CHECKING:
    from collections.abc import Mapping


class KubeError(Exception):
    """Base of all errors of a request to the API server."""


class ClusterUnavailable(KubeError):
    """The API server did not answer, or could not (408, 429, 5xx): the same request may succeed later.

    It says nothing yet about who is concerned: a dead admission webhook of one namespace ends in a 500 as well, and
    one with a long time limit in no answer at all. See `KubeClient.answers`.

    Attributes:
        delay: seconds that the server asked to wait, if it did.
    """

    def __init__(self, message: str, *, delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class NotFound(KubeError):
    """404: the object is gone, or its kind is not installed."""


class KindMissing(NotFound):
    """404 that names no object: its kind is not installed. Proves nothing about an object."""


class Unreadable(KubeError):
    """An object came back in a form that can't be decoded."""


class AlreadyExists(KubeError):
    """409 on create: an object of that name is there."""


class Conflict(KubeError):
    """409 on a write: the object changed since it was read. Read again, and try again."""


class Expired(KubeError):
    """410: the resource version or the page token is too old. List again."""


class Unauthorized(KubeError):
    """401: the credentials are not accepted (an expired token)."""


class Forbidden(KubeError):
    """403: RBAC, or an admission plugin, says no."""


class NamespaceTerminating(Forbidden):
    """403 on create, because the namespace is being deleted."""


class Rejected(KubeError):
    """Any other status below 500: the API server refuses what was written (a CEL rule, an object that is too large)."""


class LeadershipLost(KubeError):
    """A write was held back because this replica may no longer be the leader."""


class Misconfigured(KubeError):
    """There is no usable way to a cluster in the flags, the environment or the kubeconfig."""


_TEMPORARY: Final = frozenset({408, 429})
"""Below 500, and no answer to the request: it may succeed later."""


class _Cause(msgspec.Struct):
    reason: str = ""


class _Details(msgspec.Struct, rename="camel"):
    name: str = ""
    causes: list[_Cause] | None = None
    retry_after_seconds: float | None = None


class Status(msgspec.Struct):
    """A `meta/v1.Status`, as the API server explains a failure."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None

    def has_cause(self, reason: str) -> bool:
        """Whether one of the causes carries this reason."""
        causes = (self.details.causes if self.details else None) or ()
        return any(cause.reason == reason for cause in causes)


def from_status(status: Status, headers: Mapping[str, str], request: str) -> KubeError:
    """The error for a refusal.

    Args:
        status: what the server said; `code` is the HTTP status.
        headers: of the response, for Retry-After.
        request: method and path, for the sentence.
    """
    sentence = f"{request}: {status.message or 'HTTP status'} ({status.code})"
    if status.code == 403 and status.has_cause("NamespaceTerminating"):
        return NamespaceTerminating(sentence)
    if status.code == 409:
        return AlreadyExists(sentence) if status.reason == "AlreadyExists" else Conflict(sentence)
    if status.code == 404:
        return NotFound(sentence) if status.details is not None and status.details.name else KindMissing(sentence)
    plain = {401: Unauthorized, 403: Forbidden, 410: Expired}
    if status.code < 500 and status.code not in _TEMPORARY:
        return plain.get(status.code, Rejected)(sentence)
    return ClusterUnavailable(sentence, delay=_retry_after(status, headers))


def parse_status(body: bytes, code: int) -> Status:
    """The Status in a response's body; proxies answer HTML, so that anything else gives an empty one."""
    try:
        status = msgspec.json.decode(body, type=Status)
    except msgspec.DecodeError:
        return Status(code=code)
    status.code = code
    return status


def from_transport(error: Exception, host: str) -> ClusterUnavailable:
    """The error for a request that got no answer, in a sentence that says what to look at."""
    cause = _root(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ClusterUnavailable(f"{host}: its certificate does not fit the configured CA ({cause.verify_message})")
    if isinstance(cause, (ssl.SSLError, transport.SSLError)):
        return ClusterUnavailable(f"{host}: TLS handshake failed; is this an https port? ({cause})")
    if isinstance(cause, transport.NameResolutionError):
        return ClusterUnavailable(f"{host}: the host name is not known to DNS")
    if isinstance(cause, (transport.TimeoutError, TimeoutError)):  # of urllib3, or of the socket below it
        return ClusterUnavailable(f"{host}: no answer in time")
    return ClusterUnavailable(f"{host}: cannot be reached ({_brief(cause)})")


def _root(error: BaseException) -> BaseException:
    for _ in range(8):
        inner = getattr(error, "reason", None)
        inner = inner if isinstance(inner, BaseException) else error.__cause__ or _argument(error)
        if inner is None or isinstance(error, transport.NameResolutionError):
            return error
        error = inner
    return error


def _argument(error: BaseException) -> BaseException | None:
    return next((one for one in error.args if isinstance(one, BaseException)), None)


def _brief(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rpartition(": ")[2] or type(error).__name__


def _retry_after(status: Status, headers: Mapping[str, str]) -> float | None:
    seconds = headers.get("Retry-After", "")
    if seconds.isdigit():
        return float(seconds)
    return status.details.retry_after_seconds if status.details else None
