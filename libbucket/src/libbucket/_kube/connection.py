"""Follows changes of the cluster configuration: a rotated token, authority or kubeconfig is used at once.

Under `client`, which gets a connection before each request. Compares the files about once a second, and reloads the
configuration when one has changed, when credentials are about to expire, or when they were refused. Loading may take
long (a credential plugin, an identity provider) and runs in a separate thread, one at a time: requests use the previous
configuration meanwhile, and keep it if the new one cannot be loaded.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import msgspec
import structlog
import urllib3

from libbucket._api import Metadata
from libbucket._backoff import Backoff
from libbucket._kube.client_config import FileReader
from libbucket._kube.errors import Misconfigured
from libbucket._kube.transport import Request, RequestHook, Transport, no_leadership_check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket._kube.client_config import ClientConfig
    from libbucket._kube.config import Access

CHECK_SECONDS: Final = 1.0
GRACE_SECONDS: Final = 0.5
"""Seconds that the thread that starts a reload waits for it, so that its request uses the changed file."""

_RETRY: Final = Backoff(base=2.0, ceiling=60.0)
_REFUSED: Final = Backoff(base=10.0, ceiling=120.0)
_REFUSALS_FORGOTTEN_SECONDS: Final = 600.0
_EARLY_SECONDS: Final = 60.0
_EARLY_SHARE: Final = 0.2
_LEAST_LIFE_SECONDS: Final = 10.0
_IDENTITY: Final = "/api/v1/namespaces/kube-system"


@dataclass(frozen=True, kw_only=True)
class Live:
    """A configuration and its connections, replaced together."""

    config: ClientConfig
    transport: Transport

    @property
    def host(self) -> str:
        """Address of the API server."""
        return self.config.address.host

    def send(self, request: Request) -> urllib3.BaseHTTPResponse:
        """Sends a request with the credentials; exceptions of the transport are not translated."""
        return self.transport.send(request, self.config.authorization)


class Connection:
    """One pool of connections to one API server. Safe for threads.

    Args:
        config: the initial configuration.
        access: its source; None if it never changes.
        pool_size: connections kept open.

    Attributes:
        cluster_id: uid of the namespace kube-system, once it is known: changes to another cluster are rejected.

    Raises:
        Misconfigured: the configuration is invalid.
    """

    def __init__(self, config: ClientConfig, access: Access | None, pool_size: int) -> None:
        self._access = access
        self._pool_size = pool_size
        self._looking = threading.Lock()
        self._checked_at = time.monotonic()
        self._reload: threading.Thread | None = None
        self._files = config.files
        self._failures = 0
        self._refusals = 0
        self._refused_at = -_REFUSALS_FORGOTTEN_SECONDS
        self._random = Random()  # noqa: S311 - jitter, not a secret
        self._hook = RequestHook()
        self._streams: WeakSet[urllib3.BaseHTTPResponse] = WeakSet()
        self._log = structlog.get_logger()
        self._problem = ""
        self._live = Live(config=config, transport=self._connect(config))
        self._reload_at = _when_to_refresh(config)
        self.cluster_id = ""

    @property
    def host(self) -> str:
        """Address of the API server."""
        return self._live.host

    def live(self) -> Live:
        """The configuration for the next request. Waits for a second at most, and raises nothing."""
        if self._access is not None and time.monotonic() - self._checked_at >= CHECK_SECONDS:
            self._look(self._access)
        return self._live

    def doubt(self) -> None:
        """Schedules a reload because the credentials were refused; with a back-off."""
        now = time.monotonic()
        if now - self._refused_at >= _REFUSALS_FORGOTTEN_SECONDS:
            self._refusals = 0
        elif now - self._refused_at < _REFUSED.delay(self._refusals, self._random):
            return
        self._refused_at, self._refusals, self._reload_at = now, self._refusals + 1, now

    def keep(self, stream: urllib3.BaseHTTPResponse) -> None:
        """Registers a stream, which is closed when the configuration changes to another server."""
        self._streams.add(stream)

    @contextmanager
    def fenced(self, check_leadership: Callable[[], None]) -> Iterator[None]:
        """Until the block ends, requests of this thread check leadership after their connection is established."""
        self._hook.before_request = check_leadership
        try:
            yield
        finally:
            self._hook.before_request = no_leadership_check

    def close(self) -> None:
        """Closes the idle connections."""
        self._live.transport.close()

    def _look(self, access: Access) -> None:
        if not self._looking.acquire(blocking=False):
            return  # another thread checks already
        try:
            self._checked_at = time.monotonic()
            if (self._reload is not None and self._reload.is_alive()) or not self._is_stale(self._checked_at):
                return
            reload = threading.Thread(target=self._load, args=(access,), name="cluster-access", daemon=True)
            reload.start()
            self._reload = reload
        except RuntimeError:  # no thread can be started: the next request retries
            return
        finally:
            self._looking.release()
        reload.join(GRACE_SECONDS)

    def _is_stale(self, now: float) -> bool:
        return (self._reload_at is not None and now >= self._reload_at) or self._files.have_changed()

    def _load(self, access: Access) -> None:
        files = FileReader()
        try:
            config = access.load(files)
            # If only the header has changed, the connections stay.
            is_same = config.address == self._live.config.address
            live = Live(config=config, transport=self._live.transport if is_same else self._connect(config))
            self._check_cluster(live)
        except Misconfigured as error:
            self._keep_previous(files, str(error))
        except Exception as error:  # noqa: BLE001 - the next request tries again
            self._keep_previous(files, f"internal error of this program: {type(error).__name__}")
            self._log.debug("cluster configuration cannot be loaded", exc_info=True)
        else:
            self._take(live)

    def _connect(self, config: ClientConfig) -> Transport:
        return Transport(config.address, self._hook, self._pool_size)

    def _check_cluster(self, live: Live) -> None:
        """Checks that a changed address still leads to this cluster.

        Raises:
            Misconfigured: it is another cluster, or does not answer.
        """
        if not self.cluster_id or live.host == self.host:
            return
        request = Request(method="GET", path=_IDENTITY, headers={"Accept": "application/json"}, seconds=5.0)
        try:
            uid = msgspec.json.decode(live.send(request).read(), type=Metadata).metadata.uid
        except (urllib3.exceptions.HTTPError, OSError, ValueError, RecursionError) as error:
            raise Misconfigured(f"{live.host} does not answer") from error
        if uid != self.cluster_id:
            raise Misconfigured(f"{live.host} is another cluster")

    def _keep_previous(self, files: FileReader, problem: str) -> None:
        self._failures += 1
        self._files = files
        self._reload_at = time.monotonic() + _RETRY.delay(self._failures, self._random)
        if problem != self._problem:
            self._log.warning(
                "cluster configuration cannot be loaded; keeping the previous one and trying again", why=problem
            )
        self._problem = problem

    def _take(self, live: Live) -> None:
        old, self._live = self._live, live
        self._files, self._reload_at = live.config.files, _when_to_refresh(live.config)
        self._failures, self._problem = 0, ""
        if old.host != live.host:
            for stream in list(self._streams):
                with suppress(OSError, RuntimeError, ValueError):  # it has just ended
                    stream.shutdown()
        if old.transport is not live.transport:
            old.transport.close()
        log = self._log.debug if old.config == live.config else self._log.info
        log("cluster configuration loaded again", host=live.host)


def _when_to_refresh(config: ClientConfig) -> float | None:
    """The monotonic time at which expiring credentials are reloaded; None for others."""
    if config.expires_at is None:
        return None
    left = config.expires_at - time.time()
    early = min(_EARLY_SECONDS, _EARLY_SHARE * left)
    # A plugin may return credentials that have expired: it must not run for every request.
    return time.monotonic() + max(left - early, _LEAST_LIFE_SECONDS)
