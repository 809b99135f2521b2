"""A Garage in memory behind two ports, one for each API, as the real one has them."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from testkit.garage.fake.admin_api import answer_admin
from testkit.garage.fake.s3_api import answer_s3
from testkit.garage.fake.state import State
from testkit.garage.server import TOKEN, GarageServer
from testkit.resilience.proxy import Instead, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HOST: Final = "127.0.0.1"
_SECONDS: Final = 30.0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _SECONDS
    server: _Server

    def _answer(self) -> None:
        request = Request(
            proxy="fake",
            method=self.command,
            target=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )
        answer = self.server.answered(request)
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - names of http.server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: Callable[[Request], Instead], lock: threading.Lock) -> None:
        super().__init__((_HOST, 0), _Handler)
        self._answer, self._lock = answer, lock

    @property
    def url(self) -> str:
        return f"http://{_HOST}:{self.server_address[1]}"

    def answered(self, request: Request) -> Instead:
        """Carried out whole, one after the other."""
        with self._lock:
            return self._answer(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of the server; anything else is one of this fake."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@contextmanager
def fake_garage() -> Iterator[GarageServer]:
    """One that runs until the block ends."""
    state, lock = State(token=TOKEN), threading.Lock()
    with ExitStack() as stack:
        s3, admin = (_running(stack, partial(answer, state), lock) for answer in (answer_s3, answer_admin))
        yield GarageServer(s3_url=s3.url, admin_url=admin.url)


def _running(stack: ExitStack, answer: Callable[[Request], Instead], lock: threading.Lock) -> _Server:
    server = _Server(answer, lock)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    stack.callback(thread.join, _SECONDS)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return server
