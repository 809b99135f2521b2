"""The HTTP endpoint: `/healthz` (the process answers), `/readyz` (it works, or says what it waits for), `/metrics`.

Up before the caches are filled, so that a probe sees a process that starts and one that hangs differently. Reads
only; knows nothing of what it reports.
"""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client.exposition import choose_encoder

from libbucket._run.problems import StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from libbucket._run.settings import Address

REQUEST_SECONDS: Final = 5.0
_TEXT: Final = "text/plain; charset=utf-8"


class HealthServer:
    """Answers until it is stopped, from threads of its own.

    Args:
        address: where to listen.
        registry: what `/metrics` shows.
        not_ready: gives "" when ready, else what is waited for.

    Raises:
        StartFailed: the address can't be listened on.
    """

    def __init__(self, address: Address, registry: CollectorRegistry, not_ready: Callable[[], str]) -> None:
        pages = {
            "/healthz": lambda _: (200, _TEXT, b"ok\n"),
            "/readyz": lambda _: _readiness(not_ready()),
            "/metrics": lambda accept: _metrics(registry, accept),
        }
        try:
            self._server = _Server((address.host, address.port), pages)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise StartFailed(f"can't listen on {address} (--bind-address): {why}") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it. Requests that are being answered are left to themselves."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


def _readiness(waits_for: str) -> tuple[int, str, bytes]:
    return (503, _TEXT, f"not ready: {waits_for}\n".encode()) if waits_for else (200, _TEXT, b"ok\n")


def _metrics(registry: CollectorRegistry, accept: str) -> tuple[int, str, bytes]:
    encode, content_type = choose_encoder(accept)
    return 200, content_type, encode(registry)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], pages: dict[str, Callable[[str], tuple[int, str, bytes]]]) -> None:
        self.pages = pages
        host, port = address
        if not host and socket.has_dualstack_ipv6():
            host = "::"
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._both = not address[0]
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Listens, without the base's look-up of our own name in DNS, which can take many seconds."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if self._both else 1)
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the base's signature
        """Logs instead of printing a traceback: usually the client has gone."""
        structlog.get_logger().debug("an HTTP request broke off", error=repr(sys.exc_info()[1]))


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_SECONDS  # of the socket: a client that sends nothing doesn't keep a thread
    server_version = "libbucket"
    sys_version = ""
    server: _Server

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self._answer(404, _TEXT, b"there are /healthz, /readyz and /metrics\n")
            return
        try:
            answer = page(self.headers.get("Accept", ""))
        except Exception as error:  # noqa: BLE001 - whatever a collector raises, the probe gets an answer
            structlog.get_logger().error("an HTTP page failed", page=self.path, error=repr(error))
            answer = (500, _TEXT, b"failed; the log says why\n")
        self._answer(*answer)

    do_HEAD = do_GET  # noqa: N815 - the base's name

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's signature
        """Nothing: probes come every few seconds."""
