"""A front end of Azure Storage before azurite: it answers as Azure does where azurite does not.

Used by this package's tests. Only the provisioner's requests go through it. Each behaviour is off until a test turns it
on, and names the page that describes it; everything else is azurite's own answer.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from azure_provisioner import client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testkit.azure.azurite import AzuriteServer

REQUEST_ID = "front-end-request-1"
_HOP = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})


@dataclass(kw_only=True)
class Front:
    """A running one.

    Attributes:
        server: the azurite behind it.
        url: where it listens.
        distrusts: how many requests with a SAS it refuses from now on, as a front end does whose cache of access
            policies is stale (Azure/azure-storage-net#899, "Define a stored access policy": up to 30 seconds).
        longest_sas: refuses a SAS that is bound to no policy, and says no start or lasts longer ("Configure an
            expiration policy for shared access signatures", action Block; not for stored access policies).
        keeps_versions: every container has version-level immutability support, and none can be deleted
            (Azure/azure-sdk-for-python#22255).
        lacks_data_role: refuses user-delegation SAS, whose identity may make containers and no more ("Create a user
            delegation SAS": permissions are those of the SAS and of the identity).
        is_private: refuses policies for a container that is public ("Prevent anonymous read access to containers").
        revoked: signatures that it refuses ("Revoke a user delegation SAS").
        answers: statuses and headers for requests such as "GET container", in the place of azurite's.
        requests: "METHOD key-or-sas /path?query" of each request.
    """

    server: AzuriteServer
    url: str = ""
    distrusts: int = 0
    longest_sas: timedelta | None = None
    keeps_versions: bool = False
    lacks_data_role: bool = False
    is_private: bool = False
    revoked: set[str] = field(default_factory=set)
    answers: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def refusal(self, method: str, query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, str, str] | None:
        """Status, code and detail of what it answers by itself."""
        has_sas, is_of_container = "sig" in query, query.get("restype") == "container"
        if has_sas and self.distrusts > 0:
            self.distrusts -= 1
            return 403, "AuthenticationFailed", "Signature did not match."
        if query.get("sig") in self.revoked:
            return 403, "AuthenticationFailed", "Signature did not match."
        if has_sas and "si" not in query and self.longest_sas is not None:
            detail = self._violation(query)
            if detail:
                return 403, "AuthenticationFailed", detail
        if "skoid" in query and self.lacks_data_role:
            return 403, "AuthorizationPermissionMismatch", ""
        if method == "DELETE" and is_of_container and self.keeps_versions:
            return 409, "ContainerImmutableStorageWithVersioningEnabled", ""
        if (
            method == "PUT"
            and query.get("comp") == "acl"
            and self.is_private
            and headers.get("x-ms-blob-public-access")
        ):
            return 409, "PublicAccessNotPermitted", ""
        return None

    def _violation(self, query: Mapping[str, str]) -> str:
        if "st" not in query:
            return "Policy violated by no signed start."
        start, end = (datetime.fromisoformat(query[name]) for name in ("st", "se"))
        assert self.longest_sas is not None
        return "Policy violated by the validity interval." if end - start > self.longest_sas else ""


@contextmanager
def azure_front(server: AzuriteServer) -> Iterator[Front]:
    """Puts one before a server until the block ends, for the provisioner's requests."""
    front = Front(server=server)
    with (
        urllib3.PoolManager(timeout=20, retries=False, ca_certs=server.ca_file or None) as pool,
        ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as listener,
    ):
        listener.daemon_threads = True
        listener.front, listener.pool = front, pool  # type: ignore[attr-defined]
        front.url = f"http://127.0.0.1:{listener.server_port}"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            with _provisioners_sent_to(front):
                yield front
        finally:
            listener.shutdown()
            thread.join()


@contextmanager
def _provisioners_sent_to(front: Front) -> Iterator[None]:
    real = client._FencedTransport.send

    def send(self: Any, request: Any, **settings: Any) -> Any:
        request.url = request.url.replace(front.server.endpoint, front.url, 1)
        return real(self, request, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client._FencedTransport, "send", send)
        yield


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    def _answer(self) -> None:
        front: Front = self.server.front  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        front.requests.append(f"{self.command} {'sas' if 'sig' in query else 'admin'} {self.path}")
        refused = front.refusal(self.command, query, self.headers)  # type: ignore[arg-type]
        if refused is not None:
            self._refuse(*refused)
            return
        scripted = front.answers.get(f"{self.command} {query.get('comp') or query.get('restype') or 'blob'}")
        if scripted is not None:
            self._reply(*scripted, b"")
            return
        kept = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        pool: urllib3.PoolManager = self.server.pool  # type: ignore[attr-defined]
        # The path as it came: it is signed.
        answer = pool.urlopen(
            self.command, f"{front.server.endpoint}{self.path}", headers=kept, body=body, redirect=False
        )
        headers = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
        if front.keeps_versions and self.command in {"GET", "HEAD"} and query.get("restype") == "container":
            headers["x-ms-immutable-storage-with-versioning-enabled"] = "true"
        self._reply(answer.status, headers, answer.data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - the base class wants these names

    def _refuse(self, status: int, code: str, detail: str) -> None:
        more = f"<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail>" if detail else ""
        xml = (
            f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>Refused.</Message>{more}</Error>'
        )
        headers = {"x-ms-error-code": code, "x-ms-request-id": REQUEST_ID, "Content-Type": "application/xml"}
        self._reply(status, headers, xml.encode())

    def _reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
