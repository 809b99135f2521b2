"""Calls a hook immediately before each request of a urllib3 pool is sent, and limits the time of each answer.

For fencing: of several replicas one leads, and may find at any time that it no longer does, because it was frozen or
disconnected from the cluster. A check before a call is not enough: between it and the first byte a connection is
established, a TLS handshake is made, an attempt fails and is retried seconds later. Works under every client that uses
urllib3, which are most. Knows neither Kubernetes nor a store.
"""

from __future__ import annotations

import io
import time
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, Final

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from urllib3 import PoolManager


ANSWER_SECONDS: Final = 60.0
"""Time limit for an answer of a store as a whole: it is a page of a listing at most."""


class _LimitedReader(io.RawIOBase):
    """Reads a socket until a deadline, whatever arrives in between."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        super().__init__()
        self._socket, self._deadline = sock, time.monotonic() + seconds
        self._per_read = sock.gettimeout()
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no whole answer within the time limit")
        self._socket.settimeout(left if self._per_read is None else min(left, self._per_read))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _limited(seconds: float | None) -> type[HTTPResponse]:
    """The class of responses that end at a limit; http.client's own where there is none."""
    if seconds is None:
        return HTTPResponse

    limit = seconds

    class Limited(HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self.fp.close()
            self.fp = io.BufferedReader(_LimitedReader(sock, limit))

    return Limited


def fence_requests(
    manager: PoolManager, before_request: Callable[[], None], *, answer_seconds: float | None = ANSWER_SECONDS
) -> None:
    """Has every attempt of every request of a pool manager call a hook, after its connection is established.

    Args:
        manager: must not have connections yet.
        before_request: usually `Services.before_request`. Raises to hold the request back; its exception leaves the
            call unchanged.
        answer_seconds: limit for an answer as a whole, from when its request was sent to its last byte; then
            `urllib3.exceptions.ReadTimeoutError` is raised. None for streams that do not end.
    """

    class Plain(HTTPConnection):
        response_class = _limited(answer_seconds)

        def request(self, *args: Any, **kwargs: Any) -> None:
            if self.is_closed:
                self.connect()
            before_request()
            super().request(*args, **kwargs)

    class Secure(HTTPSConnection):
        response_class = _limited(answer_seconds)

        def request(self, *args: Any, **kwargs: Any) -> None:
            before_request()  # the pool has connected already, to verify the certificate
            super().request(*args, **kwargs)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
