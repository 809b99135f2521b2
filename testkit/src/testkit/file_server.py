"""An HTTP server on 127.0.0.1 with one file, which serves it well or in one of the ways that downloads break.

Ranges and `If-Range` behave as in RFC 9110, sections 13.1.5 and 14.
"""

from __future__ import annotations

import hashlib
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class FileServer(ThreadingHTTPServer):
    """The server, and what a test changes of it while it runs.

    Attributes:
        body: the file.
        status: what is answered; other than 200 there is no file.
        cut_after: the connection closes after that many bytes of the next response only; None is never.
        drip: seconds between single bytes; 0 sends all at once.
        silent: whether a request is read and never answered.
        redirects: how often a request is sent on to another path before it is answered.
        knows_ranges: whether a Range is honoured.
        requests: path and Range header of every request, in order.
    """

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body = body
        self.status = 200
        self.cut_after: int | None = None
        self.drip = 0.0
        self.silent = False
        self.redirects = 0
        self.knows_ranges = True
        self.requests: list[tuple[str, str]] = []
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.tar.gz"

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.requests.append((self.path, asked))
        redirects = int(self.path.partition("?")[2] or 0)
        if self.server.silent:
            self.server.stopping.wait()
        elif redirects < self.server.redirects:
            self._answer(302, b"", {"Location": f"/elsewhere?{redirects + 1}"})
        elif self.server.status != 200:
            self._answer(self.server.status, b"no such file", {})
        else:
            self._send_file(asked)

    def _send_file(self, asked: str) -> None:
        body, headers = self.server.body, {"ETag": self.server.etag}
        found = re.fullmatch(r"bytes=(\d+)-", asked)
        unchanged = self.headers.get("If-Range", self.server.etag) == self.server.etag
        if not (found and self.server.knows_ranges and unchanged):
            self._answer(200, body, headers)
            return
        start = int(found[1])
        if start >= len(body):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
            return
        headers |= {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        self._answer(206, body[start:], headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        cut, self.server.cut_after = self.server.cut_after, None
        self._write(body if cut is None else body[:cut])

    def _write(self, body: bytes) -> None:
        if not self.server.drip:
            self.wfile.write(body)
            return
        for byte in body:
            self.wfile.write(bytes([byte]))
            if self.server.stopping.wait(self.server.drip):
                return

    def handle(self) -> None:
        # A client that gives up early is what these tests are about.
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class has
        """Prints nothing."""


@contextmanager
def file_server(body: bytes) -> Iterator[FileServer]:
    """Serves `body` until the block ends."""
    with FileServer(body) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()
