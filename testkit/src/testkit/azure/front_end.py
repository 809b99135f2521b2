"""A front of Azure Storage before azurite: it answers as Azure does where azurite does not.

Used by this package's tests. Requests of the provisioner go through it while it runs, and those of every application
whose address is `Front.url`. Each behaviour is off until a test turns it on, and names the page that describes it;
everything else is azurite's own answer. What it refuses by itself is in `front_rules`, what its front ends keep of
access policies in `policy_cache`, and what becomes of deleted containers in `deleted_containers`.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import urllib3
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient

from azure_provisioner import client
from testkit.azure.deleted_containers import DeletedContainers
from testkit.azure.error_answers import error_answer
from testkit.azure.front_rules import Request, Settings, refusal, rewritten_headers
from testkit.azure.policy_cache import PolicyCaches
from testkit.azure.requests_by_name import AS_CLAIM, request_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.azure.azurite import AzuriteServer
    from testkit.azure.error_answers import Answer

_HOP = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})


@dataclass(kw_only=True)
class Front(Settings):
    """A running one.

    Attributes:
        server: the azurite behind it.
        url: where it listens; an account is in the path.
        policy_seconds: how long each front end keeps a container's access policies, which it reads at the first request
            that needs them: 30 at Azure ("Define a stored access policy": "up to 30 seconds"); 0 for azurite's way. A
            connection stays with one front end (Azure/azure-storage-net#899).
        front_ends: among which new connections are distributed in turn.
        busy_seconds: how long the name of a deleted container is busy: at least 30 at Azure ("Delete Container").
        keeps_deleted: container soft delete is on ("Soft delete for containers"): `restore` brings them back.
        answers: statuses and headers for requests such as "GET container", in the place of azurite's.
        requests: "METHOD key-or-sas /path?query" of each request.
        request_ids: of the answers that it gave by itself.
    """

    server: AzuriteServer
    service: BlobServiceClient
    url: str = ""
    policy_seconds: float = 0
    front_ends: int = 2
    busy_seconds: float = 0
    keeps_deleted: bool = False
    answers: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    _passed: float = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _caches: PolicyCaches = field(init=False)
    _deleted: DeletedContainers = field(init=False)

    def __post_init__(self) -> None:
        self._caches = PolicyCaches(service=self.service, keys=(self.server.key, self.server.second_key))
        self._deleted = DeletedContainers(service=self.service)
        self.policies_of = self._read_policies

    def advance(self, seconds: float) -> None:
        """Lets time pass for the front: caches, busy names and the header Date. Azurite's own clock stays."""
        with self._lock:
            self._passed += seconds

    def restore(self, container: str) -> None:
        """The administrator restores a deleted container with its blobs, metadata and access policies.

        "Restore Container": "restores the contents and properties of a soft-deleted container". That access policies
        are among them is the cautious reading: no page excepts them.
        """
        self._deleted.restore(container)

    def answer(self, request: Request, front_end: int) -> Answer | Request:
        """What the front answers by itself, or the request to hand on to azurite."""
        with self._lock:
            now = time.monotonic() + self._passed
            refused = refusal(request, self) or self._deleted.refusal(request, now, self.busy_seconds)
            if refused is None and "si" in request.query and self.policy_seconds:
                decided = self._caches.decide(request, front_end, now, self.policy_seconds)
                if isinstance(decided, Request):
                    return decided
                refused = decided
        if refused is None:
            return request
        code, status, details = refused
        made = error_answer(code, status, details=details, is_head=request.method == "HEAD")
        self.request_ids.append(made[1]["x-ms-request-id"])
        return made

    def before(self, request: Request) -> None:
        """Notes what azurite is about to delete."""
        if request.name == "DeleteContainer" and self.keeps_deleted:
            self._deleted.note(request.container)

    def after(self, request: Request, status: int) -> None:
        """Notes what azurite has deleted."""
        if request.name == "DeleteContainer" and status == 202:
            self._deleted.has_gone(request.container, time.monotonic() + self._passed)

    def _read_policies(self, container: str) -> dict[str, tuple[str, str]]:
        try:
            found = self.service.get_container_client(container).get_container_access_policy()
        except HttpResponseError:
            return {}
        return {
            each.id: (str(each.access_policy.start or ""), str(each.access_policy.expiry or ""))
            for each in found["signed_identifiers"]
            if each.access_policy is not None
        }

    def date(self) -> str:
        """The time of the service."""
        return format_datetime(datetime.now(UTC) + timedelta(seconds=self._passed), usegmt=True)


@contextmanager
def azure_front(server: AzuriteServer) -> Iterator[Front]:
    """Puts one before a server until the block ends, for the provisioner's requests."""
    key = {"account_name": server.account, "account_key": server.key}
    verify: dict[str, Any] = {"connection_verify": server.ca_file} if server.ca_file else {}
    with (
        BlobServiceClient(server.url, credential=key, retry_total=0, **verify) as service,
        urllib3.PoolManager(timeout=20, retries=False, ca_certs=server.ca_file or None) as pool,
        ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as listener,
    ):
        front = Front(server=server, service=service)
        listener.daemon_threads = True
        listener.front, listener.pool = front, pool  # type: ignore[attr-defined]
        listener.connections = itertools.count()  # type: ignore[attr-defined]
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

    def setup(self) -> None:
        super().setup()
        self._connection: int = next(self.server.connections)  # type: ignore[attr-defined]

    def _answer(self) -> None:
        front: Front = self.server.front  # type: ignore[attr-defined]
        request = self._request()
        front.requests.append(f"{self.command} {'sas' if 'sig' in request.query else 'admin'} {self.path}")
        decided = front.answer(request, self._connection % front.front_ends)
        if not isinstance(decided, Request):
            self._reply(*decided)
            return
        scripted = front.answers.get(f"{self.command} {request.query.get('comp') or request.kind or 'blob'}")
        if scripted is not None:
            self._reply(*scripted, b"")
            return
        front.before(request)
        status, headers, data = self._of_azurite(front, decided)
        front.after(request, status)
        self._reply(status, rewritten_headers(request, headers, front), data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - the base class wants these names

    def _request(self) -> Request:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        split = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(split.query, keep_blank_values=True).items()}
        headers = dict(self.headers.items())
        name = request_name(self.command, split.path, query, headers, body).removesuffix(AS_CLAIM)
        return Request(
            name=name, method=self.command, path=split.path, query=query, headers=headers, body=body, target=self.path
        )

    def _of_azurite(self, front: Front, request: Request) -> Answer:
        pool: urllib3.PoolManager = self.server.pool  # type: ignore[attr-defined]
        kept = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        # The path as it came, where nothing was changed: it is signed.
        target = request.target or f"{request.path}?{urlencode(request.query)}"
        url = f"{front.server.endpoint}{target}"
        answer = pool.urlopen(request.method, url, headers=kept, body=request.body, redirect=False)
        headers = {name: value for name, value in answer.headers.items() if name.lower() not in {*_HOP, "date"}}
        return answer.status, {**headers, "Date": front.date()}, answer.data

    def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
