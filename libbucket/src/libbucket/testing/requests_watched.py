"""Watches the HTTP requests of this process, from any client: counts them, or ends the process at one of them.

Every client that a provisioner uses ends in the standard library's `http.client`, where each request begins with
`putrequest` and its answer comes out of `getresponse`. Knows no store; servers in the same process are not counted,
since they send nothing.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

When = Literal["before", "after"]
"""Before a request is sent, or after its answer has come and no caller has seen it."""

_one_at_a_time = threading.Lock()


class Killed(BaseException):
    """The process died here. Like the interpreter's own exits, no `except Exception` holds it up."""


class _Watch:
    """Intercepts every HTTP connection of this process.

    Args:
        kill_at: which request dies, counted from 1; 0 for none.
        when: on which side of it.
    """

    def __init__(self, kill_at: int, when: When) -> None:
        self.seen: list[str] = []
        self._kill_at, self._when = kill_at, when
        self._dead = False
        self._lock = threading.Lock()
        self._doomed: set[int] = set()

    def begins(self, connection: HTTPConnection, method: str, url: str) -> None:
        with self._lock:
            self._die_if(self._dead)
            self.seen.append(f"{method} {connection.host}:{connection.port}{url.partition('?')[0]}")
            if len(self.seen) == self._kill_at:
                self._die_if(self._when == "before")
                self._doomed.add(id(connection))

    def ends(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._die_if(id(connection) in self._doomed)

    def _die_if(self, is_so: bool) -> None:  # noqa: FBT001 - reads as a sentence
        if is_so:
            self._dead = True  # and stays so: a dead process tidies nothing up
            raise Killed


@contextmanager
def counted_requests() -> Iterator[list[str]]:
    """Gives a list that grows by "METHOD host:port/path" with every request until the block ends; from all threads."""
    with _watching(_Watch(0, "before")) as watch:
        yield watch.seen


@contextmanager
def killed_at(number: int, when: When) -> Iterator[list[str]]:
    """Lets every request of the block pass but one, where the process seems to die: no later one passes either.

    Args:
        number: of the request, counted from 1.
        when: on which side of it.

    Raises:
        Killed: in whatever thread sends that request.
    """
    with _watching(_Watch(number, when)) as watch:
        yield watch.seen


@contextmanager
def _watching(watch: _Watch) -> Iterator[_Watch]:
    real_request, real_response = HTTPConnection.putrequest, HTTPConnection.getresponse

    def putrequest(connection: HTTPConnection, method: str, url: str, *args: Any, **options: Any) -> None:
        watch.begins(connection, method, url)
        real_request(connection, method, url, *args, **options)

    def getresponse(connection: HTTPConnection) -> HTTPResponse:
        response = real_response(connection)
        try:
            watch.ends(connection)
        except Killed:
            response.close()
            connection.close()
            raise
        return response

    with _one_at_a_time:
        HTTPConnection.putrequest = putrequest  # type: ignore[method-assign, assignment]
        HTTPConnection.getresponse = getresponse  # type: ignore[method-assign, assignment]
        try:
            yield watch
        finally:
            HTTPConnection.putrequest = real_request  # type: ignore[method-assign]
            HTTPConnection.getresponse = real_response  # type: ignore[method-assign]
