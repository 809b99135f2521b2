"""A store's hosts inside this process: connections of urllib3 that lead to a function, and fail as real ones do.

Below the SDK and its pools, so that what they make of an answer, of a connection that is cut and of one that says
nothing is theirs, and the fence is asked as in a real connection. Every SDK of the four stores goes through urllib3.
Time passes on a clock of the caller's. Knows no store.
"""

from __future__ import annotations

from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import pytest
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from libbucket.fencing import ANSWER_SECONDS
from testkit.resilience.proxy import Instead, Request, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from testkit.resilience.proxy import FaultInjector

_LATENCY: Final = 0.05
"""Seconds that each request takes, so that a loop without a pause ends at a time limit."""


class Wire:
    """What the connections lead to.

    Args:
        upstream: answers a request.
        pass_time: lets so many seconds pass.
        answer_seconds: time limit of an answer as a whole; see `libbucket.fencing`.

    Attributes:
        injector: decides about every request; None where there is none.
    """

    def __init__(
        self,
        upstream: Callable[[Request], Instead],
        pass_time: Callable[[float], None],
        *,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._upstream, self._pass_time, self._answer_seconds = upstream, pass_time, answer_seconds
        self.injector: FaultInjector | None = None

    def exchange(self, request: Request, read_seconds: float) -> Instead:
        """The answer to a request.

        Raises:
            OSError: the connection was reset, or nothing came for `read_seconds`.
        """
        self._pass_time(_LATENCY)
        verdict = self.injector.before(request) if self.injector is not None else Verdict.PASS
        if isinstance(verdict, Instead):
            return self._awaited(verdict)
        if verdict is Verdict.PASS:
            answer = self._upstream(request)
            verdict = self.injector.after(request, answer.status) if self.injector is not None else Verdict.PASS
            if verdict is Verdict.PASS:
                if self.injector is not None:
                    self.injector.passed_back(request, answer)
                return answer
        if verdict is Verdict.DROP:
            self._pass_time(read_seconds)
            raise TimeoutError("timed out")
        raise ConnectionResetError(104, "Connection reset by peer")

    def _awaited(self, answer: Instead) -> Instead:
        """An answer in drops ends at the limit of the whole."""
        if answer.pause * len(answer.body) > self._answer_seconds:
            self._pass_time(self._answer_seconds)
            raise TimeoutError("no whole answer within the time limit")
        return answer


@contextmanager
def wired(wire: Wire, *hosts: str) -> Iterator[None]:
    """Connections to hosts whose names end so lead there until the block ends; all others are real."""

    def getresponse(self: Any) -> urllib3.HTTPResponse:
        return _as_response(self, wire.exchange(self.sent, self.timeout))

    with pytest.MonkeyPatch.context() as patch:
        for kind, name, ours in (
            (HTTPConnection, "request", _request),
            (HTTPConnection, "getresponse", getresponse),
            (HTTPConnection, "connect", _connect),
            (HTTPSConnection, "connect", _connect),
        ):
            patch.setattr(kind, name, _chosen(hosts, ours, getattr(kind, name)))
        yield


def _chosen(hosts: tuple[str, ...], ours: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    """A method of connections: ours for those to these hosts."""

    def chosen(self: Any, *args: Any, **kwargs: Any) -> Any:
        return (ours if self.host.endswith(hosts) else real)(self, *args, **kwargs)

    return chosen


def _request(self: Any, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> None:
    self.sent = _as_request(self.host, method, url, body, headers or {})
    self.options = options


def _connect(self: Any) -> None:
    self.is_verified = True


def _as_response(connection: Any, answer: Instead) -> urllib3.HTTPResponse:
    sent, options = connection.sent, connection.options
    return urllib3.HTTPResponse(
        body=BytesIO(b"" if sent.method == "HEAD" else answer.body),
        headers={**answer.headers, "Content-Length": str(len(answer.body) + answer.missing)},
        status=answer.status,
        preload_content=options.get("preload_content", True),
        decode_content=options.get("decode_content", True),
        enforce_content_length=True,
        request_method=sent.method,
        request_url=sent.target,
    )


def _as_request(host: str, method: str, target: str, body: Any, headers: Mapping[str, Any]) -> Request:
    given = {str(name).lower(): _text(value) for name, value in headers.items()}
    content = body.read() if hasattr(body, "read") else body or b""
    return Request(
        proxy="wire",
        method=method,
        target=target,
        headers={"host": host, **given},
        body=content.encode() if isinstance(content, str) else content,
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
