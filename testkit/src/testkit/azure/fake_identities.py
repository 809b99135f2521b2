"""Entra ID's token endpoint and a machine's identity service in memory, for the answer sweep.

Each token lasts five minutes, which is the time that Azure's clients do not use any more: so each verb asks for one.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from testkit.azure.error_answers import Answer, entra_error_answer, machine_error_answer
from testkit.azure.fake_entra import CLIENT, TENANT, FakeEntra

if TYPE_CHECKING:
    from datetime import datetime

    from testkit.azure.fake_storage import FakeStorage

ENTRA_HOST: Final = "login.microsoftonline.com"
MACHINE_HOST: Final = "169.254.169.254"
SECONDS: Final = 300
_STORAGE: Final = "https://storage.azure.com"
_MANAGEMENT: Final = "https://management.azure.com"


class FakeIdentities:
    """Who issues tokens for an account.

    Args:
        storage: the account, which knows what was issued for it.

    Attributes:
        management_tokens: issued for Azure Resource Manager, with the time at which each ends.
    """

    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage
        self.management_tokens: dict[str, datetime] = {}
        self._entra = FakeEntra(url=f"https://{ENTRA_HOST}", authority_pem=b"")
        self._count = 0

    @property
    def authority(self) -> FakeEntra:
        """Entra ID, which knows one application."""
        return self._entra

    @property
    def client_secret(self) -> dict[str, str]:
        """What an administrator's Secret holds."""
        return {
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": CLIENT,
            "AZURE_CLIENT_SECRET": self._entra.secret,
        }

    def entra(self, method: str, path: str, body: bytes) -> Answer:
        """What Entra ID answers: "OAuth 2.0 client credentials flow"."""
        if path == "/common/discovery/instance":  # asked after refusals, by Microsoft's authority library
            names = {"preferred_network": ENTRA_HOST, "preferred_cache": ENTRA_HOST, "aliases": [ENTRA_HOST]}
            endpoint = f"https://{ENTRA_HOST}/{TENANT}/v2.0/.well-known/openid-configuration"
            return _json({"tenant_discovery_endpoint": endpoint, "metadata": [names]})
        if not path.startswith(f"/{TENANT}/"):
            return entra_error_answer(90002, 400, "invalid_request", "no such tenant")
        if method == "GET":
            base = f"https://{ENTRA_HOST}/{TENANT}"
            urls = {"token_endpoint": f"{base}/oauth2/v2.0/token", "issuer": f"{base}/v2.0"}
            return _json({**urls, "authorization_endpoint": f"{base}/oauth2/v2.0/authorize"})
        form = dict(parse_qsl(body.decode()))
        if not self._entra.grant(form):
            return entra_error_answer(7000215, 401, "invalid_client", "Invalid client secret provided.")
        token = self._issued(form["scope"].removesuffix("/.default"))
        return _json({"token_type": "Bearer", "expires_in": SECONDS, "access_token": token})

    def machine(self, query: dict[str, str], headers: dict[str, str]) -> Answer:
        """What the instance metadata service answers: "How to use managed identities on an Azure VM"."""
        resource = query.get("resource", "").rstrip("/")
        if headers.get("metadata", "").lower() != "true" or resource not in {_STORAGE, _MANAGEMENT}:
            return machine_error_answer(400, "invalid_request")
        until = int((self._storage.now + timedelta(seconds=SECONDS)).timestamp())
        token = {"access_token": self._issued(resource), "expires_in": str(SECONDS), "expires_on": str(until)}
        return _json({**token, "resource": resource, "token_type": "Bearer"})

    def _issued(self, resource: str) -> str:
        self._count += 1
        token = f"token-{self._count}"
        held = self._storage.tokens if resource == _STORAGE else self.management_tokens
        held.clear()
        held[token] = self._storage.now + timedelta(seconds=SECONDS)
        return token


def _json(content: dict[str, object]) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()
