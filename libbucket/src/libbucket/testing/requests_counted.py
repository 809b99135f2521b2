"""Counts the HTTP requests that this process sends, whatever client sends them: what a verb costs its store.

Every client that a provisioner uses ends in the standard library's `http.client`, where each request begins with
`putrequest`. Knows no store; servers in the same process are not counted, since they send nothing.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_one_at_a_time = threading.Lock()


@contextmanager
def counted_requests() -> Iterator[list[str]]:
    """Gives a list that grows by "METHOD host:port/path" with every request until the block ends; from all threads."""
    seen: list[str] = []
    real = HTTPConnection.putrequest

    def putrequest(connection: HTTPConnection, method: str, url: str, *args: Any, **options: Any) -> None:
        seen.append(f"{method} {connection.host}:{connection.port}{url.partition('?')[0]}")
        real(connection, method, url, *args, **options)

    with _one_at_a_time:
        HTTPConnection.putrequest = putrequest  # type: ignore[method-assign, assignment]
        try:
            yield seen
        finally:
            HTTPConnection.putrequest = real  # type: ignore[method-assign]
