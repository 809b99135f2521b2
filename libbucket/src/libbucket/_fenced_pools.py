"""The connections of urllib3 that `fence_requests` puts under a pool manager.

Loaded by `fencing` at its first call only: urllib3 takes ten times as long to import as libbucket. Knows neither
Kubernetes nor a store.
"""

from __future__ import annotations

import io
import time
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


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


def fenced_pools(
    before_request: Callable[[], None], answer_seconds: float | None
) -> dict[str, type[HTTPConnectionPool]]:
    """The classes of connection pools by scheme; arguments as in `fence_requests`."""

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

    return {"http": PlainPool, "https": SecurePool}
