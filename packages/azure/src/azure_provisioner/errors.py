"""Everything that Azure Storage, its client and the network raise, translated into the core's errors: once, here.

`storage` and `identity` wrap every call in `translated`; nothing passes through it untranslated. `check_response` sees
each HTTP answer before Azure's client does, because the client takes any answer of 200 for Azure's. Decides by codes,
statuses and types, never by message text; and no message of ours repeats what could hold a secret. What the authority
that issues tokens answers is translated in `tokens`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from azure.core.exceptions import (
    AzureError,
    DecodeError,
    HttpResponseError,
)

from azure_provisioner.answer_codes import ANSWERS, DENIED, FAMILIES, NO_DATA_ROLE, OTHER, TIMED, UNBOUND
from azure_provisioner.clocks import is_wrong, lead, machine_time, time_in, wrong_clock
from azure_provisioner.faults import chain, tls_failure, transport_fault
from libbucket import (
    AccessDenied,
    NotReady,
    ProvisionerError,
    RetrySlowly,
    StoreRefused,
    StoreUnavailable,
    Throttled,
    parse_retry_after,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

BUSY_NAME_SECONDS: Final = 30.0
"""How long the name of a container is busy at least after its deletion: "Delete Container", Azure's REST reference."""

_OUTAGES: Final = frozenset({408, 429})
"""Statuses below 500 that are no answer to the request."""

_UNREAD: Final = (AttributeError, IndexError, KeyError, TypeError)
"""What Azure's client raises where an answer lacks what its model has, such as a listing without a body."""

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
        clock: tells the time of this machine.
    """

    url: str
    action: str
    source: str
    clock: Callable[[], datetime] = machine_time


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
        lead: how far the provisioner's clock is ahead of Azure's.
    """

    code: str
    is_out_of_policy: bool
    request_id: str
    lead: timedelta = timedelta()

    def as_error(self, call: Call, container: str, *, is_delegated: bool = False) -> ProvisionerError:
        """What it means to the claim, whose credentials stay as they are.

        Args:
            call: what was being done.
            container: where.
            is_delegated: the SAS was signed just now by an identity: no front end has to learn of it.
        """
        if self.code in TIMED and is_wrong(self.lead):
            return wrong_clock(self.lead, call.url, self.request_id)
        if self.is_out_of_policy:
            return AccessDenied(
                f"the SAS expiration policy of the storage account at {call.url} forbids the claim's SAS: set "
                f"parameter expiry to no more than that policy allows{f'; or {UNBOUND}' if is_delegated else ''} "
                f"({self.code})",
                request_id=self.request_id,
            )
        if self.code == "AuthorizationPermissionMismatch":
            return AccessDenied(NO_DATA_ROLE.format(source=call.source, code=self.code), request_id=self.request_id)
        if is_delegated:
            return NotReady(
                f"Azure refuses a user-delegation SAS for container {container} that was signed just now "
                f"({self.code}): retried. If that continues, {UNBOUND}; or its network rules block the provisioner",
                delay=_SAS_SECONDS,
                request_id=self.request_id,
            )
        return NotReady(
            f"Azure refuses the claim's SAS for container {container}, which was issued and may take it half a minute "
            f"to know ({self.code}): it is kept, and retried",
            delay=_SAS_SECONDS,
            request_id=self.request_id,
        )


def refusal_of(error: HttpResponseError, now: datetime) -> Refusal:
    """The refusal that an answer is, which has come just now."""
    detail = _info_of(error).get("authenticationerrordetail") or ""
    return Refusal(
        code=code_of(error) or str(error.status_code),
        # The code is that of every refused signature; the detail is compared, and never repeated.
        is_out_of_policy=detail.startswith("Policy violated by"),
        request_id=request_id_in(error),
        lead=lead(_headers_of(error), now),
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
    except (AzureError, OSError, ValueError, *_UNREAD) as error:
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
    if isinstance(error, (HttpResponseError, ValueError, *_UNREAD)):
        return _not_azure(call.url, "something that Azure's client can't read")
    return StoreUnavailable(f"Azure at {call.url} does not answer: {transport_fault(error)}")


def _from_answer(error: HttpResponseError, call: Call) -> ProvisionerError:
    code, status = code_of(error), error.status_code or 0
    headers = _headers_of(error)
    clock = lead(headers, call.clock())
    if code in TIMED and is_wrong(clock):
        return wrong_clock(clock, call.url, request_id_of(headers))
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
    family = next((meaning for beginning, meaning in FAMILIES.items() if code.startswith(beginning)), (None, ""))
    kind, sentence = ANSWERS.get(code, family)
    # A status below 500 is an answer, whatever its code stands for elsewhere.
    is_consistent = kind not in {Throttled, StoreUnavailable} or is_outage(status)
    return (kind, sentence) if is_consistent else (None, "")


def _from_unknown(code: str, status: int, headers: Mapping[str, str], call: Call) -> ProvisionerError:
    if is_outage(status):
        return from_status(status, headers, f"Azure at {call.url}")
    if status in {401, 403}:
        return AccessDenied(DENIED.format(url=call.url, action=call.action, source=call.source, code=code or status))
    if not code:
        return _not_azure(call.url, f"HTTP {status} without a code of Azure's")
    return StoreRefused(OTHER.format(url=call.url, action=call.action, code=code))


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


def time_of(headers: Mapping[str, str], name: str, url: str) -> datetime:
    """A time in the headers of an answer, on which a deletion or an edit depends.

    Raises:
        RetrySlowly: it has none: something else answers there.
    """
    try:
        return time_in(headers, name)
    except ValueError as error:
        raise _with_id(_not_azure(url, f"no {name} that can be read"), headers) from error


def _not_azure(url: str, what: str) -> RetrySlowly:
    return RetrySlowly(f"{url} answers with {what}: correct parameter endpoint, which must be of a blob service")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from either form of the header, or Azure's own in milliseconds; None where nothing can be read."""
    own = headers.get("x-ms-retry-after-ms") or headers.get("retry-after-ms")
    if own and len(own) <= _LONGEST_DELAY and own.isascii() and own.isdigit():
        return int(own) / 1000
    return parse_retry_after(headers.get("Retry-After"))
