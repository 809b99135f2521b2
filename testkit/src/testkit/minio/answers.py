"""MinIO's protocol as the answer sweep needs it: names of requests, and refusals as the server writes them.

Pure functions. The codes themselves are data: `testkit/answers/minio.toml`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

ADMIN_PATH: Final = "/minio/admin/v3/"
"""Source: `adminPathPrefix` and `adminAPIVersionPrefix` in MinIO's `cmd/admin-router.go`."""

_ADMIN: Final = {
    ("GET", "info-canned-policy"): "InfoCannedPolicy",
    ("PUT", "add-canned-policy"): "AddCannedPolicy",
    ("DELETE", "remove-canned-policy"): "RemoveCannedPolicy",
    ("GET", "user-info"): "GetUserInfo",
    ("PUT", "add-user"): "AddUser",
    ("DELETE", "remove-user"): "RemoveUser",
    ("POST", "idp/builtin/policy/attach"): "AttachPolicy",
    ("GET", "get-bucket-quota"): "GetBucketQuota",
    ("PUT", "set-bucket-quota"): "SetBucketQuota",
}
_BUCKET: Final = {
    ("GET", "tagging"): "GetBucketTagging",
    ("PUT", "tagging"): "PutBucketTagging",
    ("GET", "versioning"): "GetBucketVersioning",
    ("PUT", "versioning"): "PutBucketVersioning",
    ("GET", "object-lock"): "GetObjectLockConfiguration",
    ("GET", "versions"): "ListObjectVersions",
    ("GET", "uploads"): "ListMultipartUploads",
    ("POST", "delete"): "DeleteObjects",
    ("GET", "location"): "GetBucketLocation",
}
_OBJECT: Final = {
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("GET", "retention"): "GetObjectRetention",
    ("GET", "legal-hold"): "GetObjectLegalHold",
}
_PLAIN: Final = {
    ("PUT", False): "CreateBucket",
    ("DELETE", False): "DeleteBucket",
    ("GET", False): "ListObjectsV2",
    ("DELETE", True): "DeleteObject",
    ("GET", True): "GetObject",
    ("PUT", True): "PutObject",
}
_ACCESS_KEY: Final = re.compile(r"Credential=([^/]+)/")
_OF_A_CLAIM: Final = "obc-"
"""How the name of a claim's user begins: see `libbucket`'s names of identities."""

_BY_MIDDLEWARE: Final = frozenset({"RequestTimeTooSkewed", "InvalidBucketName", "XMinioInvalidResourceName"})
"""Refused before the admin API is reached, and so in XML: `setAuthMiddleware`, `setRequestValidityMiddleware`."""

REQUESTS: Final = frozenset({*_ADMIN.values(), *_BUCKET.values(), *_OBJECT.values(), *_PLAIN.values()}) - {
    "GetBucketLocation",
    "GetObject",
    "PutObject",
} | {"ListObjectsV2AsClaim"}
"""Every request that the provisioner sends."""


def request_name(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> str:  # noqa: ARG001 - one signature for all stores
    """What MinIO calls this request: S3's name, or the handler's of the admin API.

    The listing that tries a claim's own keys is `ListObjectsV2AsClaim`: a refusal of it says nothing about the
    administrator.

    Args:
        method: of HTTP.
        path: without the query.
        query: its parameters; a flag has the value "".
        headers: by any spelling of their names.
        body: not read.
    """
    if path.startswith(ADMIN_PATH):
        return _ADMIN.get((method, path.removeprefix(ADMIN_PATH)), "Unknown")
    _bucket, _, key = path.lstrip("/").partition("/")
    for known in (_OBJECT if key else _BUCKET).items():
        (verb, flag), name = known
        if method == verb and flag in query:
            return name
    name = _PLAIN.get((method, bool(key)), "Unknown")
    return f"{name}AsClaim" if name == "ListObjectsV2" and _is_of_a_claim(headers) else name


def error_answer(
    code: str, status: int, message: str, *, request: str = "", request_id: str = "18A2F6B7D1C0E95D"
) -> tuple[int, dict[str, str], bytes]:
    """A refusal as MinIO writes it: status, headers and body.

    XML from S3, JSON from the handlers of the admin API. Sources: `writeErrorResponse`, `writeErrorResponseJSON`,
    `getAPIErrorResponse`, `setCommonHeaders` in MinIO's `cmd/api-response.go`, `api-errors.go`, `api-headers.go`.

    Args:
        code: MinIO's.
        status: of HTTP.
        message: for people.
        request: a name that `request_name` gives.
        request_id: in headers and body.
    """
    headers = {
        "Server": "MinIO",
        "Accept-Ranges": "bytes",
        "x-amz-request-id": request_id,
        "x-amz-id-2": "dd9025bab4ad464b049177c95eb6ebf374d3b3fd1af9251148b658df7ac2e3e8",
        "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
        "X-Content-Type-Options": "nosniff",
    }
    fields = {
        "Code": code,
        "Message": message,
        "Resource": "/",
        "RequestId": request_id,
        "HostId": headers["x-amz-id-2"],
    }
    if request in _ADMIN.values() and code not in _BY_MIDDLEWARE:
        return status, {**headers, "Content-Type": "application/json"}, json.dumps(fields).encode()
    if status in {429, 503}:
        headers["Retry-After"] = "60"
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode()
    return status, {**headers, "Content-Type": "application/xml"}, body


def _is_of_a_claim(headers: Mapping[str, str]) -> bool:
    signed = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    found = _ACCESS_KEY.search(signed)
    return found is not None and found[1].startswith(_OF_A_CLAIM)
