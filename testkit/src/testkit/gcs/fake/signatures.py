"""Who makes a request of the XML API: by a token, by a V4 signature in a header, or by a signed URL.

Written from
https://cloud.google.com/storage/docs/authentication/signatures (algorithms, credential scope, string to sign)
https://cloud.google.com/storage/docs/authentication/canonical-requests
https://cloud.google.com/storage/docs/authentication/hmackeys (a new key is known within 60 seconds, a state change
within 3 minutes; keys go with their account)
https://cloud.google.com/storage/docs/aws-simple-migration (the Amazon spelling of all of it; Accept-Encoding can't be
signed, and chunks with trailing checksums are not understood)
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from testkit.gcs.fake.permissions import ANONYMOUS, Principal
from testkit.gcs.fake.tokens import authenticate, find_key, is_distrusted, is_signed_by
from testkit.gcs.fake.wire import ApiError, Request
from testkit.sigv4 import UNSIGNED, canonical_request, sign, string_to_sign

if TYPE_CHECKING:
    from testkit.gcs.fake.model import HmacKey, Store

_SKEW: Final = timedelta(minutes=15)
_LONGEST: Final = 7 * 24 * 3600
_HEADER: Final = re.compile(r"(\S+) Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]+)")
_KINDS: Final = {
    "AWS4-HMAC-SHA256": ("AWS4", "aws4_request"),
    "GOOG4-HMAC-SHA256": ("GOOG4", "goog4_request"),
    "GOOG4-RSA-SHA256": ("", "goog4_request"),
}


@dataclass(frozen=True)
class _Signed:
    """A signature with what it was made over."""

    algorithm: str
    credential: str
    names: list[str]
    signature: str
    date: str
    payload: str
    left_out: str = ""


def identify(store: Store, request: Request) -> Principal:
    """Who asks.

    Raises:
        ApiError: 401 or 403 for credentials that are not what they say.
    """
    if any(each in request.query for each in ("X-Amz-Signature", "X-Goog-Signature")):
        return _verify(store, request, _from_query(request))
    header = request.headers.get("authorization", "")
    if not header:
        return ANONYMOUS
    if header.startswith("Bearer "):
        return authenticate(store, request)
    return _verify(store, request, _from_header(request, header))


def _from_header(request: Request, header: str) -> _Signed:
    found = _HEADER.fullmatch(header)
    if found is None:
        raise ApiError(400, "invalid", "The authorization header is malformed.", code="InvalidSecurity")
    style = "amz" if found[1].startswith("AWS4") else "goog"
    payload = request.headers.get(f"x-{style}-content-sha256", "")
    _check_payload(request, payload)
    date = request.headers.get(f"x-{style}-date", "")
    if abs(_parse_date(date) - datetime.now(UTC)) > _SKEW:
        raise ApiError(403, "forbidden", "The request's time is too far off.", code="RequestTimeTooSkewed")
    return _Signed(found[1], found[2], found[3].split(";"), found[4], date, payload)


def _from_query(request: Request) -> _Signed:
    style = "Amz" if "X-Amz-Signature" in request.query else "Goog"
    given = {key: request.query.get(f"X-{style}-{key}", "") for key in ("Algorithm", "Credential", "Date", "Expires")}
    began, life = _parse_date(given["Date"]), given["Expires"]
    if not life.isdigit() or int(life) > _LONGEST:
        raise ApiError(400, "invalid", "Invalid expiration.", code="InvalidArgument")
    if not began - _SKEW <= datetime.now(UTC) <= began + timedelta(seconds=int(life)):
        raise ApiError(400, "expired", "The provided token has expired.", code="ExpiredToken")
    names, signature = request.query[f"X-{style}-SignedHeaders"].split(";"), request.query[f"X-{style}-Signature"]
    credential = unquote(given["Credential"])
    return _Signed(given["Algorithm"], credential, names, signature, given["Date"], UNSIGNED, f"X-{style}-Signature")


def _verify(store: Store, request: Request, signed: _Signed) -> Principal:
    if signed.algorithm not in _KINDS or signed.credential.count("/") < 4:
        raise ApiError(400, "invalid", "Unsupported algorithm or malformed credential.", code="InvalidSecurity")
    who, day, region, service, ending = signed.credential.rsplit("/", 4)
    prefix, expected_ending = _KINDS[signed.algorithm]
    # Google's front end rewrites this header, so a signature over it never matches.
    if "accept-encoding" in signed.names or ending != expected_ending or not signed.date.startswith(day):
        raise _mismatch()
    scope = "/".join((day, region, service, ending))
    message = string_to_sign(signed.algorithm, signed.date, scope, _canonical(request, signed))
    if not prefix:
        return _by_rsa(store, who, signed, message)
    key = find_hmac_key(store, who)
    if not hmac.compare_digest(sign(prefix + key.secret, scope, message), signed.signature):
        raise _mismatch()
    return Principal(key.email, key.uid)


def _by_rsa(store: Store, email: str, signed: _Signed, message: str) -> Principal:
    try:
        signature = binascii.unhexlify(signed.signature)
    except binascii.Error:
        raise _mismatch() from None
    if not any(is_signed_by(key.public, signature, message.encode()) for key in find_key(store, email)):
        raise _mismatch()
    return Principal(email, store.accounts[email].uid)


def find_hmac_key(store: Store, access_id: str) -> HmacKey:
    """The key, if it works now: it does so a while after its state was changed."""
    key, now, knobs = store.hmac_keys.get(access_id), store.clock.now(), store.knobs
    account = store.account_of(key.email, key.uid) if key is not None else None
    is_there = account is not None and not account.disabled and not is_distrusted(store, account)
    if key is None or not is_there or key.created + timedelta(seconds=knobs.hmac_start_seconds) > now:
        raise _unknown()
    if key.state != "ACTIVE" and key.updated + timedelta(seconds=knobs.hmac_stop_seconds) <= now:
        raise _unknown()
    return key


def _canonical(request: Request, signed: _Signed) -> str:
    target = f"{request.raw_path}?{request.raw_query}"
    names, left_out = signed.names, signed.left_out
    return canonical_request(
        request.method, target, request.headers, signed=names, payload=signed.payload, left_out=left_out
    )


def _check_payload(request: Request, payload: str) -> None:
    if payload == UNSIGNED:
        return
    if payload.startswith("STREAMING-") and payload.endswith("-TRAILER"):
        raise _mismatch()
    if hashlib.sha256(request.body).hexdigest() != payload:
        raise ApiError(400, "invalid", "The content does not match its hash.", code="XAmzContentSHA256Mismatch")


def _parse_date(date: str) -> datetime:
    try:
        return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise ApiError(400, "invalid", "The date is malformed.", code="InvalidSecurity") from None


def _mismatch() -> ApiError:
    return ApiError(403, "forbidden", "The signature we calculated does not match.", code="SignatureDoesNotMatch")


def _unknown() -> ApiError:
    return ApiError(403, "forbidden", "The access key does not exist in our records.", code="InvalidAccessKeyId")
