"""A node of MinIO that answers some requests in its own way, and has the real server answer the rest.

Used by this package's tests: for nodes whose cache of users is stale, and for answers that the real server gives only
in states that a test can't bring about. On 127.0.0.1, gone at the end of the block.
"""

from __future__ import annotations

import http.client
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket.testing.misbehaving import Answer
    from testkit.minio.server import MinioServer

_ACCESS_KEY: Final = re.compile(r"Credential=([^/]+)/")
_SECONDS: Final = 30.0
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that a node got.

    Attributes:
        method: of HTTP.
        path: with the query.
        access_key: whose credentials it is signed with.
        connection: the client's port: another one is another connection.
    """

    method: str
    path: str
    access_key: str
    connection: int


@dataclass(kw_only=True)
class Node:
    """A running one.

    Attributes:
        url: its endpoint.
        answer: gives its own answer to a request, or None to have the server answer. A test may change it.
        asked: the requests so far.
    """

    url: str
    answer: Callable[[Asked], Answer | None]
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def node_before(server: MinioServer, answer: Callable[[Asked], Answer | None]) -> Iterator[Node]:
    """Runs a node before a server that speaks plain HTTP."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _SECONDS

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            signed = _ACCESS_KEY.search(self.headers.get("Authorization", ""))
            asked = Asked(
                method=self.command,
                path=self.path,
                access_key=signed[1] if signed else "",
                connection=self.client_address[1],
            )
            node.asked.append(asked)
            own = node.answer(asked)
            if own is not None:
                self._send(own.status, list(own.headers.items()), own.body)
                return
            upstream = http.client.HTTPConnection(server.netloc, timeout=_SECONDS)
            try:  # the Host header stays the client's: it is signed
                upstream.request(self.command, self.path, body=body, headers=dict(self.headers.items()))
                answered = upstream.getresponse()
                self._send(answered.status, answered.getheaders(), answered.read())
            finally:
                upstream.close()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - http.server's way to name them

        def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        node = Node(url=f"http://127.0.0.1:{listening.server_port}", answer=answer)
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield node
        finally:
            listening.shutdown()
            thread.join(_SECONDS)
