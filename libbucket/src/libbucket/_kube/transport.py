"""Connections to one API server: TLS, proxies, time limits, retries of interrupted requests, fencing.

Between `connection`, which replaces one transport by another, and urllib3. Knows nothing of files or of what is sent.
"""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import urllib3
from urllib3.exceptions import ClosedPoolError, ReadTimeoutError
from urllib3.util import make_headers, parse_url

from libbucket._kube.errors import Misconfigured
from libbucket._kube.tls import build_context
from libbucket.fencing import fence_requests

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from libbucket._kube.client_config import Address

CONNECT_SECONDS: Final = 5.0
_UNACKNOWLEDGED_SECONDS: Final = 15
_USER_AGENT: Final = "libbucket"
_CLOSED_POOLS: Final = 3


def no_leadership_check() -> None:
    """For reads, and for a process without other replicas."""


class RequestHook(threading.local):
    """What each thread calls immediately before it sends a request."""

    before_request: Callable[[], None] = staticmethod(no_leadership_check)

    def __call__(self) -> None:
        self.before_request()


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request.

    Attributes:
        method: HTTP method.
        path: with the query.
        headers: in addition to those of every request.
        body: sent as JSON; None for none.
        seconds: time limit for the next bytes of the response.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any] | None = None
    seconds: float


class Transport:
    """Pooled connections to one API server. Safe for threads.

    Args:
        address: of the API server.
        before_request: called before each request, after its connection is established.
        pool_size: connections kept open.

    Raises:
        Misconfigured: a certificate, a key or the proxy is invalid.
    """

    def __init__(self, address: Address, before_request: Callable[[], None], pool_size: int) -> None:
        self.address = address
        self._manager = _build_manager(address, pool_size)
        fence_requests(self._manager, before_request, answer_seconds=None)  # watches do not end

    def send(self, request: Request, authorization: str) -> urllib3.BaseHTTPResponse:
        """Sends a request; exceptions of urllib3 are not translated."""
        headers = {**request.headers, "User-Agent": _USER_AGENT}
        if authorization:
            headers["Authorization"] = authorization
        try:
            return self._send(request, headers)
        except ReadTimeoutError:
            # If one connection gets no answer, the others may be dead as well: an API server that disappeared silently
            # leaves a whole pool of them, and each would cost a time-out.
            self.close()
            raise

    def _send(self, request: Request, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        for attempt in range(_CLOSED_POOLS):
            try:
                return self._manager.urlopen(
                    request.method,
                    self.address.host + request.path,
                    body=None if request.body is None else json.dumps(request.body).encode(),
                    headers=headers,
                    timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=request.seconds),
                    retries=_RETRIES,
                    preload_content=False,
                )
            except ClosedPoolError:  # another thread closed it before it was used: nothing was sent
                if attempt == _CLOSED_POOLS - 1:
                    raise
        raise AssertionError

    def close(self) -> None:
        """Closes the idle connections, and those in use after their response; new ones are created as needed."""
        self._manager.clear()


class _Retries(urllib3.Retry):
    """Retries interrupted requests, as on idle connections that were closed; not time-outs, which would double."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: urllib3.connectionpool.ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        """As in urllib3, but a time-out is not retried."""
        if isinstance(error, ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


# Few retries, and Retry-After is ignored here, because the callers back off.
_RETRIES: Final = _Retries(
    total=2, connect=2, read=1, status=0, redirect=0, backoff_factor=0.2, respect_retry_after_header=False
)


def _build_manager(address: Address, pool_size: int) -> urllib3.PoolManager:
    settings: dict[str, Any] = {"maxsize": pool_size, "socket_options": _socket_options()}
    if address.host.startswith("https:"):
        settings["ssl_context"] = build_context(address.tls)
        if address.tls.server_name:
            settings["server_hostname"] = address.tls.server_name
    if not address.proxy:
        return urllib3.PoolManager(**settings)
    return _through_proxy(address.proxy, settings)


def _through_proxy(proxy: str, settings: dict[str, Any]) -> urllib3.PoolManager:
    url = parse_url(proxy)
    if url.scheme not in {"http", "https"} or not url.host:
        raise Misconfigured(
            f"the proxy for the API server must be http:// or https://, not {url.scheme or 'without a scheme'}: "
            "see proxy-url in the kubeconfig, HTTPS_PROXY and ALL_PROXY"
        )
    headers = make_headers(proxy_basic_auth=unquote(url.auth)) if url.auth else None
    context = settings.get("ssl_context")
    return urllib3.ProxyManager(proxy, proxy_headers=headers, proxy_ssl_context=context, **settings)


def _socket_options() -> list[tuple[int, int, int]]:
    """Detects a dead peer within seconds, also while nothing is sent (a watch)."""
    options = [*urllib3.connection.HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    wanted = {
        "TCP_KEEPIDLE": _UNACKNOWLEDGED_SECONDS,
        "TCP_KEEPINTVL": 5,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": _UNACKNOWLEDGED_SECONDS * 1000,  # in milliseconds
    }
    found = ((getattr(socket, name, None), value) for name, value in wanted.items())  # not all exist everywhere
    return [
        *options,
        *((socket.IPPROTO_TCP, option, value) for option, value in found if option is not None),
    ]
