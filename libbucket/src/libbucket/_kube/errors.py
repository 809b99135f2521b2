"""Errors of requests to the API server, translated from a status or a transport error.

Higher layers use these classes and never an HTTP status. Each has one sentence for operators.
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
    """The API server did not answer, or failed (408, 429, 5xx): the same request may succeed later.

    Other requests may succeed: a dead admission webhook of one namespace causes a 500 as well, and one with a long time
    limit causes a time-out. See `KubeClient.answers`.

    Attributes:
        delay: seconds that the server asked to wait, if it did.
    """

    def __init__(self, message: str, *, delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class NotFound(KubeError):
    """404: the object is gone, or its kind is not installed."""


class KindMissing(NotFound):
    """404 without the name of an object: its kind is not installed. Proves nothing about an object."""


class Unreadable(KubeError):
    """An object in a response cannot be decoded."""


class AlreadyExists(KubeError):
    """409 on create: an object of that name exists."""


class Conflict(KubeError):
    """409 on a write: the object changed since it was read. Read it and retry."""


class Expired(KubeError):
    """410: the resource version or the page token is too old. List again."""


class Unauthorized(KubeError):
    """401: the credentials are rejected (an expired token)."""


class Forbidden(KubeError):
    """403: denied by RBAC or an admission plugin."""


class NamespaceTerminating(Forbidden):
    """403 on create, because the namespace is being deleted."""


class Rejected(KubeError):
    """Any other status below 500: the API server refuses the object (a CEL rule, its size)."""


class LeadershipLost(KubeError):
    """A write was held back because this replica may no longer be the leader."""


class Misconfigured(KubeError):
    """Flags, environment and kubeconfig contain no usable cluster configuration."""


_TEMPORARY: Final = frozenset({408, 429})
"""Statuses below 500 after which the same request may succeed later."""


class _Cause(msgspec.Struct):
    reason: str = ""


class _Details(msgspec.Struct, rename="camel"):
    name: str = ""
    causes: list[_Cause] | None = None
    retry_after_seconds: float | None = None


class Status(msgspec.Struct):
    """A `meta/v1.Status`, the API server's description of a failure."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None

    def has_cause(self, reason: str) -> bool:
        """Whether one of the causes has this reason."""
        causes = (self.details.causes if self.details else None) or ()
        return any(cause.reason == reason for cause in causes)


def from_status(status: Status, headers: Mapping[str, str], request: str) -> KubeError:
    """The error for a refusal.

    Args:
        status: from the response; `code` is the HTTP status.
        headers: of the response, for Retry-After.
        request: method and path, for the message.
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
    """The Status in a response's body; an empty one for other content, such as the HTML of a proxy."""
    try:
        status = msgspec.json.decode(body, type=Status)
    except msgspec.DecodeError:
        return Status(code=code)
    status.code = code
    return status


def from_transport(error: Exception, host: str) -> ClusterUnavailable:
    """The error for a request without an answer; its message names the likely cause."""
    cause = _root(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ClusterUnavailable(f"{host}: its certificate does not fit the configured CA ({cause.verify_message})")
    if isinstance(cause, (ssl.SSLError, transport.SSLError)):
        return ClusterUnavailable(f"{host}: TLS handshake failed; is this an https port? ({cause})")
    if isinstance(cause, transport.NameResolutionError):
        return ClusterUnavailable(f"{host}: the host name is not known to DNS")
    if isinstance(cause, (transport.TimeoutError, TimeoutError)):  # of urllib3, or of the socket
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
