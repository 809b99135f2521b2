"""Names the request of AWS's APIs that an HTTP request is, and renders an answer as the API in question spells it.

For the answer sweep: `testkit/answers/aws-s3.toml` says which error codes each of these requests can be answered with.
Pure. Names are those of the APIs' operations, as botocore's models have them: `CreateBucket`, `CreateAccessKey`.

Written from https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html,
https://docs.aws.amazon.com/IAM/latest/APIReference/API_Operations.html and
https://docs.aws.amazon.com/STS/latest/APIReference/API_Operations.html.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_ID: Final = "4442587FB7D0A2F9"
HOST_ID: Final = "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6qMa0emYBDXOo6QBU0Wo="
UNKNOWN: Final = "unknown"

# The first part of the query that is there decides.
_ON_BUCKET: Final[Mapping[tuple[str, str], str]] = {
    ("GET", "tagging"): "GetBucketTagging",
    ("PUT", "tagging"): "PutBucketTagging",
    ("GET", "versioning"): "GetBucketVersioning",
    ("PUT", "versioning"): "PutBucketVersioning",
    ("GET", "encryption"): "GetBucketEncryption",
    ("PUT", "encryption"): "PutBucketEncryption",
    ("GET", "policy"): "GetBucketPolicy",
    ("PUT", "policy"): "PutBucketPolicy",
    ("DELETE", "policy"): "DeleteBucketPolicy",
    ("PUT", "lifecycle"): "PutBucketLifecycleConfiguration",
    ("DELETE", "lifecycle"): "DeleteBucketLifecycle",
    ("GET", "object-lock"): "GetObjectLockConfiguration",
    ("GET", "versions"): "ListObjectVersions",
    ("GET", "uploads"): "ListMultipartUploads",
    ("GET", "list-type"): "ListObjectsV2",
    ("POST", "delete"): "DeleteObjects",
    ("PUT", ""): "CreateBucket",
    ("HEAD", ""): "HeadBucket",
    ("DELETE", ""): "DeleteBucket",
}
_ON_OBJECT: Final[Mapping[tuple[str, str], str]] = {
    ("GET", "retention"): "GetObjectRetention",
    ("GET", "legal-hold"): "GetObjectLegalHold",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("DELETE", "versionId"): "DeleteObject",
    ("PUT", ""): "PutObject",
}
AS_CLAIM: Final = "ListObjectsV2AsClaim"
"""`ListObjectsV2` with the keys of a claim: no administrator's permission is needed for it."""
S3: Final = frozenset({*_ON_BUCKET.values(), *_ON_OBJECT.values(), "ListBuckets", AS_CLAIM})
STS: Final = frozenset({"AssumeRoleWithWebIdentity", "GetCallerIdentity"})
ADDITIONS: Final = frozenset(
    {
        "DeactivateMFADevice",
        "DeleteLoginProfile",
        "DeleteServiceSpecificCredential",
        "DeleteSigningCertificate",
        "DeleteSSHPublicKey",
        "GetLoginProfile",
        "ListGroupsForUser",
        "ListMFADevices",
        "ListServiceSpecificCredentials",
        "ListSigningCertificates",
        "ListSSHPublicKeys",
        "RemoveUserFromGroup",
    }
)
"""Requests about what others have put on a user: nothing but a message depends on their answers."""

IAM: Final = ADDITIONS | {
    "CreateAccessKey",
    "CreateUser",
    "DeleteAccessKey",
    "DeletePolicy",
    "DeleteUser",
    "DeleteUserPolicy",
    "DetachUserPolicy",
    "GetUser",
    "GetUserPolicy",
    "ListAccessKeys",
    "ListAttachedUserPolicies",
    "ListUserPolicies",
    "PutUserPermissionsBoundary",
    "PutUserPolicy",
    "TagUser",
    "UntagUser",
}
REQUESTS: Final = S3 | IAM | STS
"""All requests that the provisioner sends."""

_IN_HOST: Final = re.compile(r"[a-z0-9][a-z0-9.-]+\.s3[.-].*")


def request_name(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> str:
    """The request that this is; `UNKNOWN` for one that the provisioner does not send.

    Args:
        method: of HTTP.
        path: without the query.
        query: without the question mark.
        headers: with `Host`, which holds the bucket's name unless the path does.
        body: of a request to IAM or STS, which has the name.
    """
    action = parse_qs(body.decode(errors="replace")).get("Action", [""])[0] if method == "POST" and not query else ""
    if action:
        return action if action in IAM | STS else UNKNOWN
    parts = [part for part in path.split("/") if part]
    if not _IN_HOST.fullmatch(headers.get("Host", "")):
        if not parts:
            return "ListBuckets" if method == "GET" else UNKNOWN
        parts = parts[1:]
    known = _ON_OBJECT if parts else _ON_BUCKET
    given = parse_qs(query, keep_blank_values=True)
    asked = next((part for verb, part in known if verb == method and part in given), "")
    return known.get((method, asked), UNKNOWN)


def error_answer(
    request: str, code: str, status: int, *, message: str = "no", headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a refusal, as the API of this request writes it.

    Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#RESTErrorResponses,
    https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html.

    Args:
        request: see `request_name`.
        code: of AWS's.
        status: of HTTP.
        message: its sentence.
        headers: further ones.
    """
    if request in IAM | STS:
        told = {"x-amzn-RequestId": REQUEST_ID, "Content-Type": "text/xml", **(headers or {})}
        kind = "Sender" if status < 500 else "Receiver"
        body = (
            f"<ErrorResponse><Error><Type>{kind}</Type><Code>{escape(code)}</Code>"
            f"<Message>{escape(message)}</Message></Error><RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
        )
        return status, told, body.encode()
    ids = f"<RequestId>{REQUEST_ID}</RequestId><HostId>{HOST_ID}</HostId>"
    told = {
        "x-amz-request-id": REQUEST_ID,
        "x-amz-id-2": HOST_ID,
        "Content-Type": "application/xml",
        **(headers or {}),
    }
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{escape(code)}</Code>'
        f"<Message>{escape(message)}</Message>{ids}</Error>"
    )
    return status, told, b"" if request == "HeadBucket" else body.encode()
