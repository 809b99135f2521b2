"""The way to the API server as its files are now: a rotated token, authority or kubeconfig is picked up at once.

Under `client`, which asks it for a connection before each request. Looks at the files about once a second, and makes
everything anew when one has changed. What can't be read is not taken: until it can, the old way is gone on with.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import msgspec
import structlog
import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from libbucket._api import Metadata
from libbucket._kube.errors import Misconfigured
from libbucket.fencing import fence_requests
from libbucket.provisioner import no_fence

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from types import TracebackType
    from typing import Self

    from kubernetes.client import Configuration

    from libbucket._kube.config import Access

CONNECT_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 1.0
_DOUBT_SECONDS: Final = 10.0
_IDENTITY: Final = "/api/v1/namespaces/kube-system"


class Connection:
    """One pool of connections to one API server. Safe for threads.

    Args:
        configuration: of the `kubernetes` client, to begin with.
        access: where that came from; None if it never changes.
        pool_size: connections kept open.

    Attributes:
        cluster_id: uid of the namespace kube-system, once it is known: no other cluster is followed to.
    """

    def __init__(self, configuration: Configuration, access: Access | None, pool_size: int) -> None:
        self._access = access
        self._pool_size = pool_size
        self._lock = threading.Lock()
        self._stamp = access.stamp() if access is not None else None
        self._looked_at = time.monotonic()
        self._doubted_at = -_DOUBT_SECONDS
        self._sending = _Sending()
        self._streams: WeakSet[urllib3.BaseHTTPResponse] = WeakSet()
        self._api = self._make(configuration)
        self._problem = ""
        self._log = structlog.get_logger()
        self.cluster_id = ""

    @property
    def host(self) -> str:
        """Address of the API server."""
        return str(self._api.configuration.host)

    def api(self) -> ApiClient:
        """The client to use for the next request."""
        if self._access is not None and time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._look(self._access)
        return self._api

    def doubt(self) -> None:
        """The credentials were refused: has them read again although no file has changed, at most now and then."""
        with self._lock:
            if time.monotonic() - self._doubted_at >= _DOUBT_SECONDS:
                self._doubted_at, self._stamp = time.monotonic(), None

    def keep(self, stream: urllib3.BaseHTTPResponse) -> None:
        """Has a stream ended when the way leads elsewhere: it would go on at a server that nobody else asks."""
        self._streams.add(stream)

    @contextmanager
    def fenced(self, fence: Callable[[], None]) -> Iterator[None]:
        """Requests of this thread ask `fence` last, with their connection made, until the block ends."""
        self._sending.fence = fence
        try:
            yield
        finally:
            self._sending.fence = no_fence

    def close(self) -> None:
        """Closes the idle connections."""
        self._api.close()

    def _look(self, access: Access) -> None:
        with self._lock:
            if time.monotonic() - self._looked_at < LOOK_SECONDS:
                return
            self._looked_at = time.monotonic()
            stamp = access.stamp()
            if stamp == self._stamp:
                return
            try:
                made = self._make(access.load())
                self._check_cluster(made)
            except Misconfigured as error:
                # Not noted as seen: a server that does not answer yet may do so at the next look.
                self._say_once(str(error))
                return
            self._change_to(made, stamp)

    def _check_cluster(self, made: ApiClient) -> None:
        """Claims of another cluster must not be taken for those of this one.

        Raises:
            Misconfigured: it is another one, or does not say.
        """
        host = made.configuration.host
        if not self.cluster_id or host == self.host:
            return
        try:
            found = send(
                made, Request(method="GET", path=_IDENTITY, headers={"Accept": "application/json"}, seconds=5.0)
            )
            uid = msgspec.json.decode(found.read(), type=Metadata).metadata.uid
        except (urllib3.exceptions.HTTPError, ApiException, OSError, msgspec.DecodeError) as error:
            raise Misconfigured(f"{host} does not answer") from error
        if uid != self.cluster_id:
            raise Misconfigured(f"{host} is another cluster")

    def _say_once(self, problem: str) -> None:
        if problem != self._problem:
            self._log.warning("the way to the cluster has changed and can't be taken: keeps the old one", why=problem)
        self._problem = problem

    def _change_to(self, made: ApiClient, stamp: Hashable) -> None:
        old, was_doubted = self._api, self._stamp is None
        self._api, self._stamp, self._problem = made, stamp, ""
        if old.configuration.host != made.configuration.host:
            for stream in list(self._streams):
                with suppress(OSError, RuntimeError, ValueError):  # it has just ended by itself
                    stream.shutdown()
        old.close()
        log = self._log.debug if was_doubted else self._log.info
        log("takes the way to the cluster as its files say it now", host=self.host)

    def _make(self, configuration: Configuration) -> ApiClient:
        configuration.connection_pool_maxsize = self._pool_size
        # Retries stay small and blind to Retry-After here, because the callers back off with the whole picture.
        configuration.retries = _Retries(
            total=2, connect=2, read=1, status=0, redirect=0, backoff_factor=0.2, respect_retry_after_header=False
        )
        made = ApiClient(configuration)
        made.user_agent = "libbucket"
        fence_requests(made.rest_client.pool_manager, self._sending.check)
        return made


class _Retries(urllib3.Retry):
    """Tries again what was cut off, as an idle connection is; not what was waited for in vain, or all waits double."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: urllib3.connectionpool.ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        """As urllib3's own, but gives up at a time-out."""
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


class _Sending(threading.local):
    """What each thread asks before it sends."""

    fence: Callable[[], None] = staticmethod(no_fence)

    def check(self) -> None:
        """Asks it."""
        self.fence()


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is sent.

    Attributes:
        method: HTTP method.
        path: with the query.
        headers: besides those that every request has.
        body: for JSON; None for none.
        seconds: to wait for the next bytes of the answer.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any] | None = None
    seconds: float


def send(api: ApiClient, request: Request) -> urllib3.BaseHTTPResponse:
    """Sends a request with the credentials that are valid now; what the transport raises comes out as it is."""
    headers = {**request.headers, "User-Agent": api.user_agent}
    # Asks the configuration for the token each time, which is how a pod's is renewed.
    api.update_params_for_auth(headers, [], ["BearerToken"], request.path, request.method, request.body)
    answer = api.rest_client.request(
        request.method,
        api.configuration.host + request.path,
        headers=headers,
        body=request.body,
        _request_timeout=(CONNECT_SECONDS, request.seconds),
    )
    response: urllib3.BaseHTTPResponse = answer.response
    return response
