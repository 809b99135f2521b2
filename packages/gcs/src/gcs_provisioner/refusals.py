"""What an answer of Google's that refuses something says: its reason, a constraint, a perimeter, its request id.

Used by `errors`, and wherever a reason decides what happens next. Reads any answer of any server: nothing here raises,
and what is given has the form of a word of Google's. Knows no error of the core, and no request.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.api_core import exceptions as api


DENIED_REASONS: Final = frozenset(
    {"", "forbidden", "insufficientPermissions", "IAM_PERMISSION_DENIED", "PERMISSION_DENIED", "AccessDenied"}
)


PERIMETER_REASONS: Final = frozenset({"SECURITY_POLICY_VIOLATED", "SecurityPolicyViolated"})
"""Of IAM, and of the XML API: https://github.com/kubeflow/kubeflow/issues/3105."""


SKEW_REASONS: Final = frozenset({"RequestTimeTooSkewed", "ExpiredToken"})
"""Of the XML API, for a signature of another time: https://cloud.google.com/storage/docs/xml-api/reference-status."""


_CONSTRAINT: Final = re.compile(r"(?:custom)?constraints/([A-Za-z][A-Za-z0-9.]{1,120})", re.IGNORECASE)


_PERIMETER_ID: Final = re.compile(r"vpcServiceControlsUniqueIdentifier: ?([A-Za-z0-9_-]{1,120})")


_WORD: Final = re.compile(r"[A-Za-z][\w.-]{0,79}", re.ASCII)


_DURATION: Final = re.compile(r"(\d{1,9})(?:\.\d{1,9})?s", re.ASCII)


_REQUEST_ID: Final = re.compile(r"[\w.:/;=+-]{1,300}", re.ASCII)


_MOST_READ: Final = 64 * 1024


# Cloud Storage sends the first with every answer of its JSON and XML APIs; IAM and others send what their front end
# has: https://cloud.google.com/storage/docs/troubleshooting and https://cloud.google.com/trace/docs/trace-context.
REQUEST_ID_HEADERS: Final = ("x-guploader-uploadid", "x-goog-request-id", "x-request-id", "x-cloud-trace-context")


def reason_of(response: object) -> str:
    """Google's own word for a refusal (`forbidden`, `ALREADY_EXISTS`, `NoSuchBucket`); empty where there is none."""
    content = _content(response)
    return _reason_of_json(content) or _reason_of_xml(content)


def request_id_of(headers: Mapping[str, str]) -> str:
    """The id of an answer in Google's logs; "" where it has none."""
    for name in REQUEST_ID_HEADERS:
        value = header_of(headers, name)
        if value and _REQUEST_ID.fullmatch(value):
            return value
    return ""


def id_of(refusal: Exception) -> str:
    """`request_id_of` the answer that one of Google's clients raised an error for."""
    return request_id_of(getattr(getattr(refusal, "response", None), "headers", None) or {})


def constraint_of(response: object) -> str:
    """The organisation policy constraint that an answer names, such as `gcp.resourceLocations`; "" for none.

    Cloud Storage has it in the text of a 412, and IAM in a violation's type; no field is common to both.
    """
    found = _CONSTRAINT.search(_content(response).decode(errors="replace"))
    return found[1] if found else ""


def status_of(error: api.GoogleAPICallError) -> int:
    """The HTTP status that stands behind an error of Google's client; 0 where there is none."""
    return int(error.code or 0)


def perimeter_of(response: object) -> str:
    """The id of a refusal by VPC Service Controls, which their troubleshooter asks for; "" for none."""
    found = _PERIMETER_ID.search(_content(response).decode(errors="replace"))
    return found[0] if found else ""


def retry_delay_of(response: object) -> float | None:
    """The seconds of a RetryInfo among the details of an answer of IAM; None where there is none.

    https://cloud.google.com/apis/design/errors#error_details
    """
    try:
        details = json.loads(_content(response) or b"{}").get("error", {}).get("details", ())
        told = [each.get("retryDelay") for each in details if "RetryInfo" in each.get("@type", "")]
        found = _DURATION.fullmatch(told[0]) if told else None
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    return float(found[1]) if found else None


def is_by_organisation(response: object) -> bool:
    """Whether a refusal is told as one by a policy or a service perimeter of the organisation."""
    is_named = bool(constraint_of(response) or perimeter_of(response))
    return is_named or reason_of(response) in PERIMETER_REASONS


def reason_of_body(body: bytes) -> str:
    """As `reason_of`, of a body of one of Google's JSON APIs."""
    return _reason_of_json(body[:_MOST_READ])


def _content(response: object) -> bytes:
    found = getattr(response, "content", b"") or b""
    return found[:_MOST_READ] if isinstance(found, bytes) else b""


def _reason_of_json(content: bytes) -> str:
    try:
        error = json.loads(content or b"{}").get("error", {})
        details = [each.get("reason") for each in error.get("details", ()) if "ErrorInfo" in each.get("@type", "")]
        reasons = [each.get("reason") for each in error.get("errors", ())]
        return _word(next(filter(None, [*details, *_worth(error, reasons)]), ""))
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ""


def says_missing(content: bytes) -> bool:
    """Whether the body of a 404 is one of Google's: its JSON API, IAM and its XML API have words for that."""
    if _reason_of_xml(content[:_MOST_READ]).startswith("NoSuch"):
        return True
    try:
        error = json.loads(content[:_MOST_READ] or b"{}").get("error", {})
        return error.get("status") == "NOT_FOUND" or any(e.get("reason") == "notFound" for e in error.get("errors", ()))
    except (ValueError, AttributeError, TypeError, RecursionError):
        return False


def _reason_of_xml(content: bytes) -> str:
    if not content.lstrip().startswith(b"<"):
        return ""
    try:
        root = ET.fromstring(content)  # noqa: S314 - at most 64 KiB of an answer; Python's expat bounds entities
    except (ET.ParseError, ValueError):
        return ""
    return _word(root.findtext("Code", "")) if root.tag.endswith("Error") else ""


def _worth(error: dict[str, Any], reasons: list[Any]) -> list[Any]:
    """IAM's status names say more than the reasons it sends along, where they say anything but the status itself."""
    status = error.get("status")
    if status in {"FAILED_PRECONDITION", "ALREADY_EXISTS"}:
        return [status, *reasons]
    return [*reasons, status]


def oauth_error(body: bytes) -> str:
    """The error code of a token endpoint, such as `invalid_grant`."""
    try:
        found = json.loads(body[:_MOST_READ] or b"{}")
    except (ValueError, RecursionError):
        return ""
    return _word(found.get("error")) if isinstance(found, dict) else ""


def _word(value: object) -> str:
    """A reason, if it has the form of one: it is repeated in messages, and a server may answer anything."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""


def header_of(headers: Mapping[str, str], name: str) -> str | None:
    """A header of an answer, by its name in lower case. Not every mapping that comes here ignores case."""
    return next((value for key, value in headers.items() if key.lower() == name), None)
