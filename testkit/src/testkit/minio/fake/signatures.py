"""Who makes a request: AWS signature version 4 in its header.

Written from https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html and MinIO's
`cmd/signature-v4.go`, `doesSignatureMatch`: the key first, then the signature.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from testkit.minio.fake.state import MinioRefusal

if TYPE_CHECKING:
    from testkit.minio.fake.state import State
    from testkit.resilience.proxy import Request

_HEADER: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]+)"
)


def identify(state: State, request: Request) -> str:
    """The access key that signed a request.

    Raises:
        MinioRefusal: none did, or it is not known, or the signature is not its own.
    """
    found = _HEADER.fullmatch(request.headers.get("authorization", ""))
    if found is None:
        raise MinioRefusal(403, "AccessDenied")
    access_key, scope, names, signature = found.groups()
    if not hmac.compare_digest(signature_of(request, state.secret_of(access_key), scope, names), signature):
        raise MinioRefusal(403, "SignatureDoesNotMatch")
    if hashlib.sha256(request.body).hexdigest() != request.headers["x-amz-content-sha256"]:
        raise MinioRefusal(400, "XAmzContentSHA256Mismatch")
    return access_key


def signature_of(request: Request, secret: str, scope: str, names: str) -> str:
    """The signature of a request with this secret, scope and list of signed headers."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    hashed = hashlib.sha256(_canonical(request, names).encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{scope}\n{hashed}"
    return hmac.digest(key, text.encode(), "sha256").hex()


def _canonical(request: Request, names: str) -> str:
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names.split(";"))
    pairs = [each.partition("=") for each in request.target.partition("?")[2].split("&") if each]
    query = "&".join(sorted(f"{_quoted(key)}={_quoted(value)}" for key, _, value in pairs))
    path = quote(unquote(request.path), safe="/~")
    return "\n".join((request.method, path, query, headers, names, request.headers["x-amz-content-sha256"]))


def _quoted(text: str) -> str:
    return quote(unquote(text), safe="~")
