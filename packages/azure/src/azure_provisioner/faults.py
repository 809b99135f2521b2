"""What goes wrong below HTTP: names, connections, time limits, TLS; by types of errors and never by their text.

Used by `errors` and `tokens`, which know who was asked.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

from libbucket import ProvisionerError, RetrySlowly, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNTRUSTED: Final = frozenset({18, 19, 20, 21})
"""OpenSSL's verify codes for: self-signed, self-signed in chain, no local issuer, first certificate unverified."""
_WRONG_HOST: Final = frozenset({62, 63, 64})


def transport_fault(error: BaseException) -> str:
    """What went wrong below HTTP, by the types of the errors under it."""
    types = [type(each).__name__ for each in chain(error)]
    faults = (  # the first that fits: some come wrapped in others
        ("NameResolutionError", "its name can't be resolved"),
        ("ServiceRequestTimeoutError", "no connection within the time limit"),
        ("ConnectTimeoutError", "no connection within the time limit"),
        ("ServiceResponseTimeoutError", "no answer within the time limit"),
        ("ReadTimeoutError", "no answer within the time limit"),
        ("NewConnectionError", "the connection is refused"),
    )
    return next((text for name, text in faults if name in types), "the connection was cut")


def chain(error: BaseException) -> Iterator[BaseException]:
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


def tls_failure(error: BaseException, where: str, parameter: str) -> ProvisionerError | None:
    """What went wrong with TLS; None where that was not it.

    Args:
        error: of a client.
        where: the other end, for messages.
        parameter: of the class, which says where it is.
    """
    found = next((each for each in chain(error) if isinstance(each, ssl.SSLError)), None)
    if isinstance(found, ssl.SSLCertVerificationError):
        return RetrySlowly(f"the certificate at {where} {_fault_of(found, parameter)}")
    if getattr(found, "reason", None) in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return RetrySlowly(f"{where} does not speak TLS: check parameter {parameter}")
    return StoreUnavailable(f"{where} does not answer: TLS failed") if found is not None else None


def _fault_of(error: ssl.SSLCertVerificationError, parameter: str) -> str:
    if error.verify_code in _UNTRUSTED:
        return "is signed by an authority that is not trusted: name its certificate in REQUESTS_CA_BUNDLE"
    if error.verify_code in _WRONG_HOST:
        return f"is another host's: correct parameter {parameter}"
    return "is not valid"
