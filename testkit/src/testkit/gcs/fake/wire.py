"""Requests and answers as plain values, and the errors of the three APIs.

Written from
https://cloud.google.com/storage/docs/json_api/v1/status-codes
https://cloud.google.com/storage/docs/xml-api/reference-status
https://cloud.google.com/apis/design/errors
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Request:
    """One HTTP request; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def raw_path(self) -> str:
        return urlsplit(self.target).path

    @property
    def raw_query(self) -> str:
        return urlsplit(self.target).query

    @property
    def path(self) -> str:
        return unquote(self.raw_path)

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    def json(self) -> dict[str, Any]:
        try:
            found = json.loads(self.body or b"{}")
        except ValueError:
            raise ApiError(400, "parseError", "Parse Error") from None
        if not isinstance(found, dict):
            raise ApiError(400, "parseError", "Parse Error")
        return found


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class ApiError(Exception):
    """A refusal.

    Args:
        status: HTTP status.
        reason: the JSON API's reason, which is told as the XML API's code too where that has the same meaning.
        message: for people.
        code: the XML API's code.
        rpc: the status name of APIs that follow google.rpc (IAM).
        headers: of the answer.
        info: the reason of an ErrorInfo in the details of APIs that follow google.rpc.
        details: further ones.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        code: str = "",
        rpc: str = "",
        headers: Mapping[str, str] | None = None,
        info: str = "",
        details: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message
        self.code = code or _XML_CODES.get(status, "InvalidArgument")
        self.rpc = rpc or _RPC.get(status, "UNKNOWN")
        self.headers = headers or {}
        self.info = info or {"PERMISSION_DENIED": "IAM_PERMISSION_DENIED"}.get(self.rpc, "")
        self.details = details or []

    def as_json(self) -> Answer:
        one = {"domain": "global", "reason": self.reason, "message": self.message}
        error = {"code": self.status, "message": self.message, "errors": [one]}
        return json_answer({"error": error}, self.status, self.headers)

    def as_rpc(self) -> Answer:
        one = {"domain": "global", "reason": self.reason, "message": self.message}
        error = {"code": self.status, "message": self.message, "errors": [one], "status": self.rpc}
        details = [*self.details]
        if self.info:
            kind = "type.googleapis.com/google.rpc.ErrorInfo"
            details.append({"@type": kind, "reason": self.info, "domain": "iam.googleapis.com"})
        if details:
            error["details"] = details
        return json_answer({"error": error}, self.status, self.headers)

    def as_xml(self) -> Answer:
        text = f"<Error><Code>{self.code}</Code><Message>{escape(self.message)}</Message></Error>"
        return xml_answer(text, self.status, self.headers)


_XML_CODES = {
    400: "InvalidArgument",
    401: "AuthenticationRequired",
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "BucketNotEmpty",
    412: "PreconditionFailed",
    429: "SlowDown",
    501: "NotImplemented",
    503: "ServiceUnavailable",
}
_RPC = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
}


def json_answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    content = {"Content-Type": "application/json; charset=UTF-8"}
    return Answer(status, json.dumps(body).encode(), {**content, **(headers or {})})


def xml_answer(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    content = {"Content-Type": "application/xml; charset=UTF-8"}
    return Answer(status, b"<?xml version='1.0' encoding='UTF-8'?>" + text.encode(), {**content, **(headers or {})})


def element(name: str, *content: object) -> str:
    """One XML element; what is not markup yet is escaped."""
    inner = "".join(each if isinstance(each, Markup) else escape(str(each)) for each in content)
    return Markup(f"<{name}>{inner}</{name}>")


class Markup(str):
    """Text that is XML already."""

    __slots__ = ()


def forbidden_by_policy(text: str) -> ApiError:
    """A refusal by an organisation policy has the form of a precondition that failed, though there was none."""
    return ApiError(412, "conditionNotMet", text)
