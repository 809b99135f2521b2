"""A fake of Microsoft Entra ID's token endpoint: https on 127.0.0.1, for one application of one tenant.

Used by this package's tests. Checks what Entra ID checks of a client-credentials request: the tenant, the client, its
secret or its federated assertion, the grant and the scope; a refusal has the form of Entra ID's ("OAuth 2.0 client
credentials flow", Microsoft identity platform). Its tokens satisfy azurite, which verifies no signature.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate

from libbucket.testing.certificates import Authority
from libbucket.testing.processes import fresh_directory
from testkit.azure.error_answers import entra_error_answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TENANT: Final = "11111111-2222-3333-4444-555555555555"
CLIENT: Final = "66666666-7777-8888-9999-000000000000"
SCOPES: Final = frozenset({"https://storage.azure.com/.default", "https://management.azure.com/.default"})


@dataclass(kw_only=True)
class FakeEntra:
    """A running one.

    Attributes:
        url: what a class names as authorityHost.
        authority_pem: what signed its certificate.
        secret: of the only client.
        certificate: PEM of the one that is registered with the client; none where it is empty.
        assertion: what the client may show instead, as a pod's token file holds it.
        failure: an HTTP status that it answers every request for a token with; 0 for none.
        refusals: AADSTS codes that it answers the next requests for a token with, though all is as it should be
            (kedacore/keda#8152).
        asked: what each request for a token was granted with: "secret", "certificate", "assertion" or "refused".
        request_ids: of its refusals.
    """

    url: str
    authority_pem: bytes
    secret: str = "the client's secret"
    certificate: bytes = b""
    assertion: str = "the.pods.token"
    failure: int = 0
    refusals: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)

    def grant(self, form: dict[str, str]) -> str:
        """How this request is to be granted; empty if it is not."""
        is_ours = form.get("client_id") == CLIENT and form.get("scope") in SCOPES
        if not is_ours or form.get("grant_type") != "client_credentials":
            return ""
        if form.get("client_secret") == self.secret:
            return "secret"
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        shown = form.get("client_assertion", "") if form.get("client_assertion_type") == kind else ""
        if shown == self.assertion:
            return "assertion"
        return "certificate" if shown and self._is_signed(shown) else ""

    def _is_signed(self, assertion: str) -> bool:
        """By the certificate: "Microsoft identity platform application authentication certificate credentials"."""
        if not self.certificate:
            return False
        registered = load_pem_x509_certificate(self.certificate)
        thumb = base64.urlsafe_b64encode(registered.fingerprint(SHA256())).rstrip(b"=").decode()
        key: Any = registered.public_key()
        try:
            audience = f"{self.url}/{TENANT}/oauth2/v2.0/token"
            found = jwt.decode(assertion, key, algorithms=["PS256", "RS256"], audience=audience)
            headers = jwt.get_unverified_header(assertion)
        except jwt.PyJWTError:
            return False
        names = headers.get("x5t#S256", thumb)
        return (found["iss"], found["sub"], names) == (CLIENT, CLIENT, thumb)


@contextmanager
def fake_entra() -> Iterator[FakeEntra]:
    """Runs one until the block ends."""
    authority = Authority()
    with fresh_directory("entra-") as home, ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = _context(authority, home).wrap_socket(server.socket, server_side=True)
        fake = FakeEntra(url=f"https://127.0.0.1:{server.server_port}", authority_pem=authority.certificate_pem)
        server.fake = fake  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    timeout = 20

    def do_GET(self) -> None:
        base = f"{self._fake.url}/{TENANT}"
        if self.path != f"/{TENANT}/v2.0/.well-known/openid-configuration":
            self._reply(400, {"error": "invalid_tenant", "error_description": "AADSTS90002: no such tenant"})
            return
        urls = {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        }
        self._reply(200, {**urls, "issuer": f"{base}/v2.0"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        granted = self._fake.grant(form) if self.path == f"/{TENANT}/oauth2/v2.0/token" else ""
        self._fake.asked.append(granted or "refused")
        if self._fake.failure:
            self._reply(self._fake.failure, {"error": "temporarily_unavailable"}, **{"Retry-After": "7"})
        elif self._fake.refusals or not granted:
            code = self._fake.refusals.pop(0) if self._fake.refusals else 7000215
            status, headers, content = entra_error_answer(code, 401, "invalid_client", "told by the server")
            self._fake.request_ids.append(headers["x-ms-request-id"])
            self._send(status, headers, content)
        else:
            self._reply(200, {"token_type": "Bearer", "expires_in": 3600, "access_token": _token()})

    def log_message(self, *_: object) -> None:
        pass

    @property
    def _fake(self) -> FakeEntra:
        found: FakeEntra = self.server.fake  # type: ignore[attr-defined]
        return found

    def _reply(self, status: int, content: dict[str, Any], **headers: str) -> None:
        self._send(status, {"Content-Type": "application/json", **headers}, json.dumps(content).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _token() -> str:
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": f"https://sts.windows.net/{TENANT}/",
        "oid": CLIENT,
        "tid": TENANT,
    }
    times = {"iat": now, "nbf": now - 60, "exp": now + 3600}
    return ".".join([_part({"alg": "RS256", "typ": "JWT"}), _part({**claims, **times}), "c2ln"])


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def _context(authority: Authority, home: Path) -> ssl.SSLContext:
    certificate, key = authority.server()
    (home / "server.pem").write_bytes(certificate)
    (home / "server.key").write_bytes(key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(home / "server.pem", home / "server.key")
    return context
