"""Renders errors as Azure Storage and Microsoft Entra ID do: status, headers and body, with a request id in each.

Used by the fakes of this folder and by servers that answer in Azure's place. Pure: knows no server.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from email.utils import format_datetime
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Answer = tuple[int, dict[str, str], bytes]

API_VERSION: Final = "2026-10-06"

MESSAGES: Final[Mapping[str, str]] = {
    "AuthenticationFailed": (
        "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly "
        "including the signature."
    ),
    "AuthorizationFailure": "This request is not authorized to perform this operation.",
    "AuthorizationPermissionMismatch": (
        "This request is not authorized to perform this operation using this permission."
    ),
    "ContainerBeingDeleted": "The specified container is being deleted. Try operation later.",
    "ContainerNotFound": "The specified container does not exist.",
    "InvalidQueryParameterValue": ("Value for one of the query parameters specified in the request URI is invalid."),
    "KeyBasedAuthenticationNotPermitted": "Key based authentication is not permitted on this storage account.",
    "PublicAccessNotPermitted": "Public access is not permitted on this storage account.",
    "ServerBusy": "The server is busy.",
}
"""Texts of "Common REST API error codes" and "Blob service error codes", REST reference of Azure Storage."""


def error_answer(
    code: str, status: int, message: str = "", *, details: Mapping[str, str] | None = None, is_head: bool = False
) -> Answer:
    """An error of Azure Storage: "Status and error codes", REST reference.

    The body begins with a byte order mark and its message ends with request id and time, in lines of their own, as
    every answer of the service that is quoted in public issues does (Azure/azure-sdk-for-python#22255).

    Args:
        code: such as `ContainerNotFound`.
        status: of HTTP.
        message: its first line; Azure's own where it is empty and the code is known.
        details: further elements of the body, such as `AuthenticationErrorDetail`.
        is_head: the request was a HEAD: there is no body, and the code is in the header only.
    """
    request_id, now = str(uuid.uuid4()), datetime.now(UTC)
    headers = {
        "x-ms-request-id": request_id,
        "x-ms-version": API_VERSION,
        "x-ms-error-code": code,
        "Server": "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0",
        "Date": format_datetime(now, usegmt=True),
    }
    if is_head:
        return status, headers, b""
    text = f"{message or MESSAGES.get(code, 'Refused.')}\nRequestId:{request_id}\nTime:{now.isoformat()[:-6]}0Z"
    more = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in (details or {}).items())
    xml = (
        f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code>'
        f"<Message>{escape(text)}</Message>{more}</Error>"
    )
    return status, {**headers, "Content-Type": "application/xml"}, xml.encode()


def entra_error_answer(code: int, status: int, error: str, message: str = "") -> Answer:
    """A refusal of a token: "Microsoft Entra authentication and authorization error codes".

    Args:
        code: of AADSTS, such as 700016.
        status: of HTTP.
        error: of OAuth 2.0, such as `invalid_client`.
        message: what follows the code.
    """
    trace, now = str(uuid.uuid4()), datetime.now(UTC)
    moment = f"{now:%Y-%m-%d %H:%M:%SZ}"
    content = {
        "error": error,
        "error_description": f"AADSTS{code}: {message or 'Refused.'} Trace ID: {trace} Timestamp: {moment}",
        "error_codes": [code],
        "timestamp": moment,
        "trace_id": trace,
        "correlation_id": str(uuid.uuid4()),
        "error_uri": f"https://login.microsoftonline.com/error?code={code}",
    }
    headers = {"x-ms-request-id": trace, "Content-Type": "application/json; charset=utf-8"}
    return status, headers, json.dumps(content).encode()


def machine_error_answer(status: int, error: str, message: str = "") -> Answer:
    """A refusal of the instance metadata service: "How to use managed identities on an Azure VM", error handling."""
    content = {"error": error, "error_description": message or "Refused."}
    return status, {"Server": "IMDS/150.870.65.1854", "Content-Type": "application/json"}, json.dumps(content).encode()
