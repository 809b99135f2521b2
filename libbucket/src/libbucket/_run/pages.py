"""The pages of the HTTP endpoint, and HTTP on bytes. Opens no socket; `http` does.

Clients cannot cause unbounded work: metrics are collected at most once in `METRICS_SECONDS`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

METRICS_SECONDS: Final = 1.0
"""How long collected metrics are served again: frequent scrapes must not occupy the interpreter."""

HEAD_TOO_LARGE: Final = b"HTTP/1.0 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n\r\n"
_TEXT: Final = "text/plain; charset=utf-8"
_OPEN_METRICS: Final = "application/openmetrics-text"


@dataclass(frozen=True, kw_only=True)
class Page:
    """One response."""

    status: int
    body: bytes
    content_type: str = _TEXT


NOT_FOUND: Final = Page(status=404, body=b"not found; available: /healthz, /readyz and /metrics\n")
_OK: Final = Page(status=200, body=b"ok\n")
_FAILED: Final = Page(status=500, body=b"failed; see the log\n")


def probe(prefix: str, why_not: Callable[[], str]) -> Page:
    """200, or 503 with the prefix and the reason that `why_not` returns."""
    try:
        sentence = " ".join(why_not().split())
    except Exception as error:  # noqa: BLE001 - the probe gets an answer in any case
        structlog.get_logger().error("a probe failed", probe=prefix, error=repr(error))
        return _FAILED
    return Page(status=503, body=f"{prefix}: {sentence}\n".encode(errors="backslashreplace")) if sentence else _OK


class Exposition:
    """The page `/metrics`, in the two formats of Prometheus. For one thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._pages: dict[str, tuple[float, Page]] = {}

    def page(self, accept: str) -> Page:
        """The metrics, at most `METRICS_SECONDS` old.

        Args:
            accept: of the request.
        """
        # Not the version that the client requests: each spelling of it would be collected separately.
        wanted = f"{_OPEN_METRICS}; version=1.0.0" if _OPEN_METRICS in accept else ""
        if wanted not in self._pages or time.monotonic() >= self._pages[wanted][0]:
            page = self._collect(wanted)
            self._pages[wanted] = (time.monotonic() + METRICS_SECONDS, page)
        return self._pages[wanted][1]

    def _collect(self, wanted: str) -> Page:
        encode, content_type = choose_encoder(wanted)
        try:
            return Page(status=200, body=encode(self._registry), content_type=content_type)
        except Exception as error:  # noqa: BLE001 - the scrape gets an answer in any case
            structlog.get_logger().error("metrics could not be collected", error=repr(error))
            return _FAILED


class Request(BaseHTTPRequestHandler):
    """The HTTP parser of the standard library, on bytes instead of a socket.

    Args:
        head: request line and headers.

    Attributes:
        is_valid: whether the request is valid; otherwise `refusal` is the response.
    """

    server_version = "libbucket"
    sys_version = ""
    default_request_version = "HTTP/1.0"  # with the default, a refusal would have no status line

    def __init__(self, head: bytes) -> None:  # the base class would serve a whole connection
        self.rfile, self._written = BytesIO(head), BytesIO()
        self.wfile = self._written
        self.raw_requestline = self.rfile.readline()
        self.is_valid = self.parse_request()
        if self.is_valid and self.command not in {"GET", "HEAD"}:
            self.send_error(405)
            self.is_valid = False

    @property
    def refusal(self) -> bytes:
        """The response to an invalid request."""
        return self._written.getvalue()

    def answer(self, page: Page) -> bytes:
        """The page as bytes of HTTP."""
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        return self._written.getvalue() + (b"" if self.command == "HEAD" else page.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's signature
        """Logs nothing: probes are frequent."""
