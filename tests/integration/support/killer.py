"""The MinIO provisioner, which kills itself around one of its writes: SIGKILL, as the kernel would.

    KILLER_AT=before:3 KILLER_LOG=writes.log python killer.py --kubeconfig ...

Counts every request that is no GET or HEAD, to the API server and to MinIO alike. `before` dies with the request
not sent; `after` dies when its answer is there and nobody has looked at it. Without `KILLER_AT` it only writes
down what it counts.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from urllib3.connection import HTTPConnection

from minio_provisioner.__main__ import main

_READING = frozenset({"GET", "HEAD"})
_QUESTIONS = ("/selfsubjectaccessreviews",)  # sent with POST, and change nothing


class Killer:
    """Stands in every HTTP connection of this process.

    Args:
        at: `before:N` or `after:N`; empty for never.
        log_path: gets one line for each write, before it is sent.
    """

    def __init__(self, at: str, log_path: Path) -> None:
        when, _, number = at.partition(":")
        self._at = (when, int(number)) if at else ("", 0)
        self._log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._send = HTTPConnection.request
        self._receive = HTTPConnection.getresponse
        self._under_way: dict[int, int] = {}

    def install(self) -> None:
        """From now on all requests pass here."""
        killer = self

        def request(connection: HTTPConnection, method: str, url: str, *args: Any, **more: Any) -> None:
            killer.begin(connection, method, url)
            killer._send(connection, method, url, *args, **more)

        def getresponse(connection: HTTPConnection) -> Any:
            response = killer._receive(connection)
            killer.end(connection)
            return response

        HTTPConnection.request = request  # type: ignore[method-assign, assignment]
        HTTPConnection.getresponse = getresponse  # type: ignore[method-assign, assignment]

    def begin(self, connection: HTTPConnection, method: str, url: str) -> None:
        """A request is about to be sent."""
        path = url.partition("?")[0]
        if method in _READING or path.endswith(_QUESTIONS):
            return
        with self._lock:
            number = next(self._numbers)
            self._under_way[id(connection)] = number
            os.write(self._log, f"{method} {connection.host}:{connection.port}{url}\n".encode())
            self._die_at("before", number)

    def end(self, connection: HTTPConnection) -> None:
        """An answer is there."""
        number = self._under_way.pop(id(connection), 0)
        if number:
            self._die_at("after", number)

    def _die_at(self, when: str, number: int) -> None:
        if self._at == (when, number):
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    Killer(os.environ.get("KILLER_AT", ""), Path(os.environ["KILLER_LOG"])).install()
    sys.exit(main())
