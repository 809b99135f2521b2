"""Refreshes the tokens of a user with `auth-provider: oidc`, as kubectl does, but does not write the kubeconfig.

Under `credentials`. Refreshed tokens are kept in memory until the process ends, because an identity provider may accept
each refresh token only once.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlencode

import msgspec
import urllib3

from libbucket._kube.client_config import TlsSettings
from libbucket._kube.errors import Misconfigured
from libbucket._kube.tls import build_context

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

_SECONDS: Final = 10.0
_EARLY_SECONDS: Final = 10.0


class _Discovery(msgspec.Struct):
    token_endpoint: str


class _Refreshed(msgspec.Struct):
    id_token: str
    refresh_token: str = ""


@dataclass(kw_only=True)
class OidcTokens:
    """Refreshed tokens, by issuer, client and the refresh token in the kubeconfig."""

    _known: dict[tuple[str, str, str], _Refreshed] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def current(self, config: Mapping[str, str], authorities: bytes) -> tuple[str, float | None]:
        """A valid ID token, and its expiry in seconds since the epoch.

        Raises:
            Misconfigured: there is none, and it cannot be refreshed.
        """
        identity = (config.get("idp-issuer-url", ""), config.get("client-id", ""), config.get("refresh-token", ""))
        with self._lock:
            known = self._known.get(identity) or _Refreshed(config.get("id-token", ""), identity[2])
            if not _is_valid(known.id_token):
                known = _refresh(config, known.refresh_token, authorities)
                self._known = {identity: known}
        return known.id_token, _expiry(known.id_token)


def _is_valid(token: str) -> bool:
    expires_at = _expiry(token)
    return bool(token) and (expires_at is None or expires_at - _EARLY_SECONDS > time.time())


def _expiry(token: str) -> float | None:
    """`exp` of a JWT; None if it has none."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _refresh(config: Mapping[str, str], refresh_token: str, authorities: bytes) -> _Refreshed:
    issuer = config.get("idp-issuer-url", "")
    if not refresh_token or not issuer:
        raise Misconfigured(
            "the user's ID token is missing or expired, and auth-provider oidc has no refresh-token and idp-issuer-url"
        )
    context = build_context(TlsSettings(authorities=authorities))
    with urllib3.PoolManager(ssl_context=context, timeout=_SECONDS, retries=False) as http:
        provider = _Provider(http=http, issuer=issuer)
        discovery = provider.ask("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration", _Discovery)
        fields = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": config.get("client-id", ""),
            "client_secret": config.get("client-secret", ""),
        }
        fresh = provider.ask("POST", discovery.token_endpoint, _Refreshed, fields)
    return _Refreshed(fresh.id_token, fresh.refresh_token or refresh_token)


@dataclass(frozen=True, kw_only=True)
class _Provider:
    http: urllib3.PoolManager
    issuer: str

    def ask(self, method: str, url: str, kind: type[T], fields: dict[str, str] | None = None) -> T:
        body = urlencode(fields) if fields else None
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if fields else {}
        try:
            answer = self.http.request(method, url, body=body, headers=headers)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Misconfigured(f"identity provider {self.issuer} does not answer ({type(error).__name__})") from error
        if answer.status != 200:
            raise Misconfigured(
                f"identity provider {self.issuer} refuses to refresh the token (HTTP status {answer.status})"
            )
        try:
            return msgspec.json.decode(answer.data, type=kind)
        except (ValueError, RecursionError) as error:
            raise Misconfigured(f"identity provider {self.issuer} did not return a token") from error
