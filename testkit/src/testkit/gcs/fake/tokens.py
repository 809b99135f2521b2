"""The token endpoint, and whose an access token is.

Written from
https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests (claims, one hour at most)
https://datatracker.ietf.org/doc/html/rfc7523#section-3 (iss, aud, exp, iat are checked)
https://cloud.google.com/iam/docs/service-account-creds (tokens that were minted outlive their key)
https://cloud.google.com/iam/docs/keys-create-delete (a new key may take a minute to be known)
https://github.com/googleapis/google-api-ruby-client/issues/720 (the answer for a disabled account)
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from testkit.gcs.fake.model import Account, AccountKey, Store, Token
from testkit.gcs.fake.permissions import ANONYMOUS, Principal
from testkit.gcs.fake.wire import Answer, ApiError, Request, json_answer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCE: Final = "https://oauth2.googleapis.com/token"
"""Google's own, whatever address the request came to: that is what its client signs for any `token_uri`."""
_LONGEST: Final = 3600
_SKEW: Final = 300


def mint(store: Store, request: Request) -> Answer:
    """Answers an assertion with an access token, or with `invalid_grant`."""
    fields = {key: values[0] for key, values in parse_qs(request.body.decode()).items()}
    if fields.get("grant_type") != _GRANT:
        return json_answer({"error": "unsupported_grant_type"}, 400)
    try:
        account, key = _verify(store, fields.get("assertion", ""))
    except _Invalid as invalid:
        return json_answer({"error": "invalid_grant", "error_description": str(invalid)}, 400)
    token = "ya29." + secrets.token_urlsafe(24)
    life = store.knobs.token_seconds
    store.tokens[token] = Token(account.email, account.uid, key.id, store.clock.now() + timedelta(seconds=life))
    return json_answer({"access_token": token, "expires_in": life, "token_type": "Bearer"})


def bearer(store: Store, header: str) -> Principal:
    """Whose token it is.

    Raises:
        ApiError: 401 for a token that nobody minted, that has ended, or whose account is gone.
    """
    token = store.tokens.get(header.partition(" ")[2].strip())
    if token is not None and token.federated and token.ends > store.clock.now():
        return Principal(federated=token.federated)
    account = store.account_of(token.email, token.uid) if token else None
    if token is None or account is None or token.ends <= store.clock.now() or is_distrusted(store, account):
        raise ApiError(401, "authError", "Invalid Credentials", code="AuthenticationRequired")
    if not store.knobs.tokens_outlive_keys and token.key_id not in account.keys:
        raise ApiError(401, "authError", "Invalid Credentials", code="AuthenticationRequired")
    return Principal(account.email, account.uid)


def authenticate(store: Store, request: Request) -> Principal:
    """Who makes a request of the JSON and IAM APIs: they take bearer tokens, and no signature and no HMAC key."""
    header = request.headers.get("authorization", "")
    if not header:
        return ANONYMOUS
    if not header.startswith("Bearer "):
        raise ApiError(401, "authError", "Invalid Credentials", code="AuthenticationRequired")
    return bearer(store, header)


def is_signed_by(public: RSAPublicKey, signature: bytes, message: bytes) -> bool:
    """RSASSA-PKCS1-v1_5 with SHA-256."""
    try:
        public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def find_key(store: Store, email: str, key_id: str | None = None) -> list[AccountKey]:
    """The account's keys that are known by now; one of them, or all."""
    account = store.accounts.get(email)
    if account is not None and (account.disabled or is_distrusted(store, account)):
        return []
    settled = store.clock.now() - timedelta(seconds=store.knobs.key_start_seconds)
    now = store.clock.now()
    known = [
        each
        for each in (account.keys.values() if account else ())
        if each.created <= settled and not each.disabled and (each.ends is None or each.ends > now)
    ]
    return [each for each in known if key_id in {None, each.id}]


def is_distrusted(store: Store, account: Account) -> bool:
    """Whether the account's credentials are refused for no reason of their own: see `Knobs.distrusts`."""
    return store.knobs.distrusts and not account.permissions


class _Invalid(Exception):
    """What is wrong with an assertion."""


def _verify(store: Store, assertion: str) -> tuple[Account, AccountKey]:
    try:
        head, claims, signature = assertion.split(".")
        header, payload, signed = _decode(head), _decode(claims), _bytes(signature)
    except (ValueError, binascii.Error):
        raise _Invalid("Invalid JWT") from None
    account = store.accounts.get(str(payload.get("iss")))
    if header.get("alg") != "RS256" or account is None:
        raise _Invalid("Invalid grant: account not found")
    if account.disabled:
        raise _Invalid("Robot is disabled.")
    keys = find_key(store, account.email, str(header.get("kid")))
    if not keys or not is_signed_by(keys[0].public, signed, f"{head}.{claims}".encode()):
        raise _Invalid("Invalid JWT Signature.")
    _check_claims(payload)
    return account, keys[0]


def _check_claims(payload: dict[str, Any]) -> None:
    now = time.time()
    issued, ends = payload.get("iat"), payload.get("exp")
    if not isinstance(issued, int | float) or not isinstance(ends, int | float):
        raise _Invalid("Invalid JWT: iat and exp are required")
    if payload.get("aud") != AUDIENCE:
        raise _Invalid("Invalid JWT: audience")
    if ends < now - _SKEW or issued > now + _SKEW or ends - issued > _LONGEST:
        raise _Invalid("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.")
    if not payload.get("scope"):
        raise _Invalid("Invalid OAuth scope or ID token audience provided.")


def _bytes(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _decode(part: str) -> dict[str, Any]:
    found = json.loads(_bytes(part))
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004 - as for what is no JSON
    return found
