"""A signed URL by an HMAC key: how the provisioner tries a claim's key with one request and no other credentials.

Pure; used by `trials`. Written from https://cloud.google.com/storage/docs/authentication/canonical-requests and
https://cloud.google.com/storage/docs/aws-simple-migration, in Amazon's spelling, which applications with these keys
use.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket import AccessKeys

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SCOPE: Final = ("auto", "s3", "aws4_request")
_SECONDS: Final = 300


def presign_listing(endpoint: str, bucket: str, keys: AccessKeys, *, query: Mapping[str, str]) -> str:
    """A URL that lists `bucket` for five minutes.

    Args:
        endpoint: of Cloud Storage, without a slash at the end.
        bucket: its name.
        keys: the HMAC key.
        query: of the listing.
    """
    date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = (date[:8], *_SCOPE)
    given = {
        **query,
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": "/".join((keys.access_key_id, *scope)),
        "X-Amz-Date": date,
        "X-Amz-Expires": str(_SECONDS),
        "X-Amz-SignedHeaders": "host",
    }
    encoded = "&".join(f"{quote(key, safe='')}={quote(given[key], safe='')}" for key in sorted(given))
    path, host = f"/{quote(bucket, safe='')}", _host_header(endpoint)
    canonical = "\n".join(("GET", path, encoded, f"host:{host}\n", "host", "UNSIGNED-PAYLOAD"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    secret = f"AWS4{keys.secret_access_key.reveal()}".encode()
    for part in scope:
        secret = hmac.digest(secret, part.encode(), "sha256")
    message = "\n".join((_ALGORITHM, date, "/".join(scope), digest))
    signature = hmac.digest(secret, message.encode(), "sha256").hex()
    return f"{endpoint}{path}?{encoded}&X-Amz-Signature={signature}"


def _host_header(endpoint: str) -> str:
    """What clients send: the port only where it is not the scheme's own."""
    parts = urlsplit(endpoint)
    is_usual = parts.port in {None, 443 if parts.scheme == "https" else 80}
    host = parts.netloc.rpartition("@")[2]
    return host.removesuffix(f":{parts.port}") if is_usual else host
