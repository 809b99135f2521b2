"""Servers that don't do what a server should: for tests of time limits, retries and the reading of answers.

    with silent_server() as server:                       # takes requests and never answers
        ...; assert server.connections == 1

    with dripping_server() as server:                      # answers without end, a byte at a time
        ...

    with scripted_server(Answer(status=503, headers={"Retry-After": "7"})) as server:
        ...; assert server.requests == ["GET /bucket"]

On 127.0.0.1, on a free port, gone at the end of the block. Know no store and no provisioner.
"""

from __future__ import annotations

import select
import socket
import socketserver
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HOST: Final = "127.0.0.1"
_SECONDS: Final = 30.0
"""No connection of a test is held longer than this."""
_DRIP_SECONDS: Final = 0.02
_SLOW_BODY: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer of a scripted server to a request.

    Attributes:
        status: HTTP status.
        headers: besides Content-Length and Connection.
        body: as it is sent.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Misbehaving:
    """A running one.

    Attributes:
        url: `http://127.0.0.1:PORT`.
        requests: "METHOD /path?query" of each one that was read so far.
    """

    def __init__(self, server: _Server) -> None:
        self.url = f"http://{_HOST}:{server.server_address[1]}"
        self.requests: list[str] = []
        self._server = server

    @property
    def connections(self) -> int:
        """How many were opened so far, those included whose client has given up before this process saw them."""
        return self._server.count_connections()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__((_HOST, 0), handler)
        self.seen = Misbehaving(self)
        self.ending = threading.Event()
        self._accepted = 0
        self._lock = threading.Lock()

    def get_request(self) -> tuple[socket.socket, Any]:
        with self._lock:
            accepted = super().get_request()
            self._accepted += 1
            return accepted

    def count_connections(self) -> int:
        """Those that were accepted, once none waits for that: on a busy machine, clients may be faster."""
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            with self._lock:
                is_closed = self.socket.fileno() < 0
                if is_closed or not select.select([self.socket], [], [], 0)[0]:
                    break
            time.sleep(_DRIP_SECONDS)
        return self._accepted

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what these servers are for."""


class _Silent(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.request.settimeout(_SECONDS)
        while not self.server.ending.is_set() and self.request.recv(65536):
            pass


@contextmanager
def silent_server() -> Iterator[Misbehaving]:
    """Takes connections and requests, and never answers."""
    with _running(_Server(_Silent)) as seen:
        yield seen


@contextmanager
def dripping_server(start: bytes = _SLOW_BODY) -> Iterator[Misbehaving]:
    """Answers each request with `start`, and then a byte every 20 ms: each read succeeds, and the whole takes for ever.

    Args:
        start: of the answer; by default a status line, headers, and no byte of the body.
    """

    class Dripping(socketserver.BaseRequestHandler):
        server: _Server

        def handle(self) -> None:
            self.request.settimeout(_SECONDS)
            self.request.recv(65536)
            self.request.sendall(start)
            while not self.server.ending.wait(_DRIP_SECONDS):
                self.request.sendall(b"x")

    with _running(_Server(Dripping)) as seen:
        yield seen


@contextmanager
def scripted_server(*answers: Answer) -> Iterator[Misbehaving]:
    """Gives these answers one after another, and the last of them from then on."""
    remaining = list(answers)
    lock = threading.Lock()

    class Scripted(BaseHTTPRequestHandler):
        timeout = _SECONDS
        server: _Server

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if self.raw_requestline and self.parse_request():
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self._answer()
            self.close_connection = True

        def _answer(self) -> None:
            with lock:
                self.server.seen.requests.append(f"{self.command} {self.path}")
                answer = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            self.send_response_only(answer.status)
            for name, value in {
                **answer.headers,
                "Content-Length": str(len(answer.body)),
                "Connection": "close",
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

    with _running(_Server(Scripted)) as seen:
        yield seen


@contextmanager
def _running(server: _Server) -> Iterator[Misbehaving]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.seen
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()
        thread.join(_SECONDS)


def closed_port_url() -> str:
    """`http://127.0.0.1:PORT` of a port on which nothing listens."""
    with socket.socket() as free:
        free.bind((_HOST, 0))
        return f"http://{_HOST}:{free.getsockname()[1]}"
