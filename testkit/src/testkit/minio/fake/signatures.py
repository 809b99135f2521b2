"""Who makes a request: AWS signature version 4 in its header.

Written from MinIO's `cmd/signature-v4.go`, `doesSignatureMatch`: the key first, then the signature. How that is
calculated is in `testkit.sigv4`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

from testkit.minio.fake.state import MinioRefusal
from testkit.sigv4 import AWS, canonical_request, sign, string_to_sign

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
    canonical = canonical_request(
        request.method,
        request.target,
        request.headers,
        signed=names.split(";"),
        payload=request.headers["x-amz-content-sha256"],
    )
    text = string_to_sign(AWS, request.headers["x-amz-date"], scope, canonical)
    return sign(f"AWS4{secret}", scope, text)
