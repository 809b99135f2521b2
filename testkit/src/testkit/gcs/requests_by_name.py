"""Names the request of Google's APIs that an HTTP request is, and renders an answer as the API in question spells it.

For the answer sweep: `testkit/answers/gcs.toml` says which error codes each of these requests can be answered with.
Pure. Names are those of the reference: `storage.buckets.insert`, `iam.serviceAccounts.keys.create`, `sts.token`.

Written from
https://cloud.google.com/storage/docs/json_api/v1
https://cloud.google.com/storage/docs/xml-api/reference-methods
https://cloud.google.com/iam/docs/reference/rest
https://cloud.google.com/iam/docs/reference/credentials/rest and https://cloud.google.com/iam/docs/reference/sts/rest
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

_JSON: Final = (
    ("POST", r"/storage/v1/b", "storage.buckets.insert"),
    ("GET", r"/storage/v1/b", "storage.buckets.list"),
    ("GET", r"/storage/v1/b/[^/]+", "storage.buckets.get"),
    ("PATCH", r"/storage/v1/b/[^/]+", "storage.buckets.patch"),
    ("DELETE", r"/storage/v1/b/[^/]+", "storage.buckets.delete"),
    ("GET", r"/storage/v1/b/[^/]+/iam", "storage.buckets.getIamPolicy"),
    ("PUT", r"/storage/v1/b/[^/]+/iam", "storage.buckets.setIamPolicy"),
    ("GET", r"/storage/v1/b/[^/]+/managedFolders", "storage.managedFolders.list"),
    ("DELETE", r"/storage/v1/b/[^/]+/managedFolders/.+", "storage.managedFolders.delete"),
    ("GET", r"/storage/v1/b/[^/]+/o", "storage.objects.list"),
    ("POST", r"/batch/storage/v1", "storage.batch"),
    ("POST", r"/storage/v1/projects/[^/]+/hmacKeys", "storage.hmacKeys.create"),
    ("GET", r"/storage/v1/projects/[^/]+/hmacKeys", "storage.hmacKeys.list"),
    ("GET", r"/storage/v1/projects/[^/]+/hmacKeys/[^/]+", "storage.hmacKeys.get"),
    ("PUT", r"/storage/v1/projects/[^/]+/hmacKeys/[^/]+", "storage.hmacKeys.update"),
    ("DELETE", r"/storage/v1/projects/[^/]+/hmacKeys/[^/]+", "storage.hmacKeys.delete"),
)
_ACCOUNTS: Final = r"/v1/projects/[^/]+/serviceAccounts"
_IAM: Final = (
    ("POST", r"/v1/projects/-/serviceAccounts/[^/]+:generateAccessToken", "iamcredentials.generateAccessToken"),
    ("POST", _ACCOUNTS, "iam.serviceAccounts.create"),
    ("GET", _ACCOUNTS, "iam.serviceAccounts.list"),
    ("POST", _ACCOUNTS + r"/[^/]+:getIamPolicy", "iam.serviceAccounts.getIamPolicy"),
    ("POST", _ACCOUNTS + r"/[^/]+:setIamPolicy", "iam.serviceAccounts.setIamPolicy"),
    ("GET", _ACCOUNTS + r"/[^/]+", "iam.serviceAccounts.get"),
    ("DELETE", _ACCOUNTS + r"/[^/]+", "iam.serviceAccounts.delete"),
    ("POST", _ACCOUNTS + r"/[^/]+/keys", "iam.serviceAccounts.keys.create"),
    ("GET", _ACCOUNTS + r"/[^/]+/keys", "iam.serviceAccounts.keys.list"),
    ("DELETE", _ACCOUNTS + r"/[^/]+/keys/[^/]+", "iam.serviceAccounts.keys.delete"),
)
_TOKENS: Final = (("POST", r"/v1/token", "sts.token"), ("POST", r"(?:/o/oauth2|/oauth2)?/token", "oauth2.token"))
_RPC: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

REQUESTS: Final = (
    *(name for _, _, name in (*_TOKENS, *_JSON, *_IAM)),
    "storage.objects.delete",
    "oauth2.tokenAsClaim",
    "xml.listObjects",
    "xml.listMultipartUploads",
)
"""All requests that the provisioner sends. `storage.objects.delete` comes inside of `storage.batch` only;
`oauth2.tokenAsClaim` is `oauth2.token` with the key of a claim, which the sweep tells apart."""


def request_name(method: str, path: str, query: str, _headers: Mapping[str, str], _body: bytes) -> str:
    """The request that this is; "unknown" for one that the provisioner does not send.

    Args:
        method: of HTTP.
        path: as it was sent, without query.
        query: as it was sent, without `?`.
    """
    for verb, form, name in (*_TOKENS, *_JSON, *_IAM):
        if verb == method and re.fullmatch(form, path):
            return name
    if method == "GET" and re.fullmatch(r"/[^/]+", path):
        return "xml.listMultipartUploads" if re.search(r"(?:^|&)uploads(?:=?(?:&|$))", query) else "xml.listObjects"
    return "unknown"


def error_answer(request: str, code: str, status: int, message: str) -> tuple[int, dict[str, str], bytes]:
    """An error as the API of this request answers it: status, headers, body.

    Args:
        request: as `request_name` has it.
        code: reason of the JSON API, status or reason of IAM, code of the XML API, error of a token endpoint.
        status: of HTTP.
        message: for people.
    """
    headers = {"Content-Type": "application/json; charset=UTF-8", "X-GUploader-UploadID": "ADPycd-of-the-sweep"}
    one = {"domain": "global", "reason": code, "message": message}
    error: dict[str, object] = {"code": status, "message": message, "errors": [one]}
    if request.startswith("xml."):
        headers["Content-Type"] = "application/xml; charset=UTF-8"
        text = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
        return status, headers, b"<?xml version='1.0' encoding='UTF-8'?>" + text.encode()
    if request in {"sts.token", "oauth2.token", "oauth2.tokenAsClaim"}:
        return status, headers, json.dumps({"error": code, "error_description": message}).encode()
    if request.startswith(("iam.", "iamcredentials.")):
        error = {"code": status, "message": message, "status": code if code.isupper() else _RPC.get(status, "UNKNOWN")}
        if code not in _RPC.values():
            kind = "type.googleapis.com/google.rpc.ErrorInfo"
            error |= {"status": _RPC.get(status, "UNKNOWN")}
            error |= {"details": [{"@type": kind, "reason": code, "domain": "iam.googleapis.com"}]}
        headers = {"Content-Type": headers["Content-Type"], "X-Cloud-Trace-Context": "0123456789abcdef/1"}
    return status, headers, json.dumps({"error": error}).encode()
