"""Signature version 4, as a server calculates it: the canonical request, the string to sign, and the signature.

For the fakes of every store that takes it. What a store refuses, in which order, and how it parses the header is its
own: this module knows no key, no store and no answer. Written from
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html and
https://cloud.google.com/storage/docs/authentication/canonical-requests, which is the same with other words in it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AWS: Final = "AWS4-HMAC-SHA256"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"

_CREDENTIAL: Final = re.compile(r"Credential=([^/]+)/")


def access_key_of(headers: Mapping[str, str]) -> str:
    """The access key that a request's header names, whether it is signed rightly or not; "" for none.

    Args:
        headers: by their names in lower case.
    """
    found = _CREDENTIAL.search(headers.get("authorization", ""))
    return found[1] if found else ""


def canonical_request(
    method: str,
    target: str,
    headers: Mapping[str, str],
    *,
    signed: Sequence[str],
    payload: str,
    left_out: str = "",
) -> str:
    """The canonical form of a request.

    Args:
        method: its method.
        target: path and query, as they were sent.
        headers: by their names in lower case.
        signed: names of the headers that were signed, in their order.
        payload: hash of the body, or what is there in its place.
        left_out: a field of the query that is not signed: of a signed URL the signature itself.
    """
    path, _, query = target.partition("?")
    pairs = [each.partition("=") for each in query.split("&") if each]
    spelled = [(_quoted(key), _quoted(value)) for key, _, value in pairs if unquote(key) != left_out or not left_out]
    shown = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in signed)
    fields = "&".join(f"{key}={value}" for key, value in sorted(spelled))
    return "\n".join((method, quote(unquote(path), safe="/~"), fields, shown, ";".join(signed), payload))


def string_to_sign(algorithm: str, date: str, scope: str, canonical: str) -> str:
    """What is signed.

    Args:
        algorithm: such as `AWS`.
        date: of the request, as it was sent.
        scope: day, region, service and the ending, with slashes between them.
        canonical: the canonical request.
    """
    return "\n".join((algorithm, date, scope, hashlib.sha256(canonical.encode()).hexdigest()))


def sign(secret: str, scope: str, text: str) -> str:
    """The signature, in hexadecimal digits.

    Args:
        secret: with the store's prefix, such as `AWS4`.
        scope: as in `string_to_sign`.
        text: the string to sign.
    """
    key = secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _quoted(text: str) -> str:
    return quote(unquote(text), safe="~")
