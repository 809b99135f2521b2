"""A reverse proxy that injects faults, between a provisioner and a real server.

Terminates HTTP, so that it can tell one request from the next, and asks its `FaultInjector` about each: before it is
passed on, and once its answer is there. Knows neither Kubernetes nor a store; each side of a provisioner has one.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

HOST: Final = "127.0.0.1"
_SECONDS: Final = 120.0
"""No connection is held longer than this without a byte: a watch sends bookmarks more often."""
_CHUNK: Final = 65536
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "expect"})


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as it came.

    Attributes:
        proxy: name of the proxy that it came through.
        method: HTTP method.
        target: path and query, as they were sent.
        client: TCP port of the client, from which its process can be told.
        headers: by name, in lower case.
        body: as it came.
    """

    proxy: str
    method: str
    target: str
    client: int = 0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def query(self) -> dict[str, str]:
        """Parameters of the query, each once; a flag has the value ""."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def signer(self) -> str:
        """The credentials that it names; "" where it names none."""
        return self.headers.get("authorization", "").partition("/")[0]

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]

    @property
    def is_watch(self) -> bool:
        """Whether it asks for a stream that does not end by itself."""
        return bool({"watch=true", "watch=1"} & set(self.target.partition("?")[2].split("&")))


class Verdict(Enum):
    """What becomes of a request, or of its answer."""

    PASS = auto()
    DROP = auto()
    """The connection ends here, and nothing more is passed on."""
    RESET = auto()
    """As DROP, with a TCP reset."""
    TWICE = auto()
    """Only for a request: it reaches the server twice, and the second answer is the one that is seen."""


@dataclass(frozen=True, kw_only=True)
class Instead:
    """An answer in the server's place: it never sees the request.

    Attributes:
        status: HTTP status.
        headers: besides Content-Length.
        body: as it is sent.
        missing: bytes that Content-Length announces beyond the body; the connection ends in their place.
        pause: seconds before each byte of the body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    missing: int = 0
    pause: float = 0.0


class FaultInjector:
    """Decides about every request; this one lets all pass. May block, kill or count. Called from several threads."""

    def opened(self) -> None:
        """A connection was made, and nothing has come through it: with TLS, the handshake is still to come."""

    def before(self, request: Request) -> Verdict | Instead:
        """The request is whole and has not been passed on."""
        return Verdict.PASS

    def after(self, request: Request, status: int) -> Verdict:
        """The server has answered, and no client has seen the answer."""
        return Verdict.PASS

    def passed_back(self, request: Request, answer: Instead) -> None:
        """The server's answer, as it is passed back; not for streams."""

    def stream_delay(self, request: Request) -> float:
        """Seconds by which every event of a watch comes late."""
        return 0.0

    def hold_stream(self, request: Request) -> None:
        """A part of a watch has come from the server, and is passed on when this returns."""


class Proxy:
    """A running one.

    Args:
        name: for `Request.proxy`.
        upstream: address of the real server; a path in it is not used.
        ca_path: the authority to trust where the server speaks TLS.
        tls: what it shows itself by; None for a proxy without TLS.

    Attributes:
        url: where it listens.
        upstream: as it was given.
        tls: set it at any time, for new connections.
        injector: decides about every request; set it at any time.
    """

    def __init__(
        self, name: str, upstream: str, *, ca_path: Path | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.name = name
        self.upstream = upstream
        self.tls = tls
        self.injector = FaultInjector()
        parts = urlsplit(upstream)
        assert parts.hostname
        assert parts.port
        self._server_address = (parts.hostname, parts.port)
        self._tls = ssl.create_default_context(cafile=ca_path) if parts.scheme == "https" else None
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name=name)
        self.url = f"{'https' if tls else 'http'}://{HOST}:{self._server.server_address[1]}"

    def connect(self) -> HTTPConnection:
        """A new connection to the real server."""
        host, port = self._server_address
        if self._tls is not None:
            return HTTPSConnection(host, port, timeout=_SECONDS, context=self._tls)
        return HTTPConnection(host, port, timeout=_SECONDS)

    def cut(self) -> None:
        """Ends every open connection, as a router that forgot them would."""
        self._server.cut()

    def start(self) -> None:
        """Begins to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Ends serving, and every open connection."""
        self._server.shutdown()
        self._server.server_close()
        self.cut()
        self._thread.join(_SECONDS)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((HOST, 0), _Handler)

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open.add(connection)
        return connection, address

    def wrap(self, connection: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
        """Does the TLS handshake; from then on the connection is the encrypted one."""
        wrapped = tls.wrap_socket(connection, server_side=True)
        with self._lock:
            self._open.discard(connection)
            self._open.add(wrapped)
        return wrapped

    def forget(self, connection: ssl.SSLSocket) -> None:
        """Ends a connection that `wrap` made, which the base does not know."""
        with self._lock:
            self._open.discard(connection)
        with suppress(OSError):
            connection.close()

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _SECONDS
    wbufsize = -1  # head and body of an answer in one packet
    upstream: HTTPConnection | None = None

    def log_message(self, *_: Any) -> None:
        """Logged by the fault injector."""

    def setup(self) -> None:
        self.server.proxy.injector.opened()
        if self.server.proxy.tls is not None:
            self.request.settimeout(_SECONDS)
            self.request = self.server.wrap(self.request, self.server.proxy.tls)
        super().setup()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        if self.upstream is not None:
            self.upstream.close()
        if isinstance(self.request, ssl.SSLSocket):
            self.server.forget(self.request)

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(_CHUNK + 1)
        is_one = bool(self.raw_requestline) and self.parse_request()
        self.close_connection = True  # unless it is answered
        if not is_one:
            return
        body = self._read_body()
        # The request line, because the parsed path loses a second leading slash, which is part of what is signed.
        target = self.requestline.split(" ")[1]
        port = self.client_address[1]
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(
            proxy=self.server.proxy.name, method=self.command, target=target, client=port, headers=headers, body=body
        )
        with suppress(OSError, HTTPException):
            self._meddle(request, body)
            self.wfile.flush()

    def _meddle(self, request: Request, body: bytes) -> None:
        injector = self.server.proxy.injector
        verdict = injector.before(request)
        if isinstance(verdict, Instead):
            self._answer_instead(verdict)
        elif verdict is Verdict.RESET:
            self._reset()
        elif verdict is not Verdict.DROP:
            if verdict is Verdict.TWICE:
                self._send_on(request, body).read()
            response = self._send_on(request, body)
            verdict = injector.after(request, response.status)
            if verdict is Verdict.PASS:
                self._pass_back(request, response, injector.stream_delay(request))
            elif verdict is Verdict.RESET:
                self._reset()

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        whole = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return whole

    def _send_on(self, request: Request, body: bytes) -> HTTPResponse:
        # A connection of its own for each: one that the server has closed meanwhile would be a fault of ours.
        if self.upstream is not None:
            self.upstream.close()
        self.upstream = self.server.proxy.connect()
        self.upstream.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP and name.lower() != "content-length":
                self.upstream.putheader(name, value)
        if body or "Content-Length" in self.headers:
            self.upstream.putheader("Content-Length", str(len(body)))
        self.upstream.endheaders(body or None)
        return self.upstream.getresponse()

    def _pass_back(self, request: Request, response: HTTPResponse, delay: float) -> None:
        self.send_response_only(response.status, response.reason)
        headers = {name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
        for name, value in headers.items():
            self.send_header(name, value)
        is_stream = response.chunked
        if is_stream:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if is_stream and request.method != "HEAD":
            self._pass_stream(request, response, delay)
        else:
            content = response.read()
            headers.pop("Content-Length", None)
            self.server.proxy.injector.passed_back(
                request, Instead(status=response.status, headers=headers, body=content)
            )
            self.wfile.write(content)
        self.close_connection = self.headers.get("Connection", "").lower() == "close"

    def _pass_stream(self, request: Request, response: HTTPResponse, delay: float) -> None:
        self.wfile.flush()
        for chunk in _late(response, delay) if delay else iter(lambda: response.read1(_CHUNK), b""):
            self.server.proxy.injector.hold_stream(request)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _answer_instead(self, answer: Instead) -> None:
        self.send_response_only(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body) + answer.missing)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._write_body(answer)
        self.close_connection = bool(answer.missing)

    def _write_body(self, answer: Instead) -> None:
        if not answer.pause:
            self.wfile.write(answer.body)
            return
        for byte in answer.body:
            self.wfile.flush()
            time.sleep(answer.pause)
            self.wfile.write(bytes([byte]))

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.connection.close()


def _late(response: HTTPResponse, delay: float) -> Iterator[bytes]:
    """The chunks of a stream, each `delay` seconds after it came."""
    arrived: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def read() -> None:
        # The connection may be cut under it at any moment; AttributeError is how a response says that it was closed.
        with suppress(OSError, HTTPException, ValueError, AttributeError):
            while chunk := response.read1(_CHUNK):
                arrived.put((time.monotonic() + delay, chunk))
        arrived.put((0.0, b""))

    threading.Thread(target=read, daemon=True).start()
    while True:
        due, chunk = arrived.get()
        if not chunk:
            return
        time.sleep(max(due - time.monotonic(), 0.0))
        yield chunk


@contextmanager
def proxy_before(
    name: str, upstream: str, *, ca_path: Path | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Proxy]:
    """Runs a proxy until the block ends."""
    proxy = Proxy(name, upstream, ca_path=ca_path, tls=tls)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
