"""Keeps the cache of one resource up to date: list in pages, then watch, indefinitely.

Between the API server and the queue. Handles every end of a watch: closed (watch again from the last version), 410
(list again), silence (the bookmarks that the server sends each minute stop), errors and 429 (back off), a history that
went backwards because etcd was restored from a snapshot (list again, and replace the cache). An object that cannot be
decoded is logged and left out. Unexpected exceptions are logged and retried like errors of the server: a thread that
ends silently would leave a stale cache. Knows nothing of the meaning of objects: `on_change` gets the old and the new
version.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import structlog

from libbucket import _api
from libbucket._backoff import Backoff
from libbucket._kube.cache import is_newer
from libbucket._kube.decoding import LOG_FAILURES, ResponseDecoder, read_lines
from libbucket._kube.errors import ClusterUnavailable, Expired, KubeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import urllib3

    from libbucket._kube.cache import Cache
    from libbucket._kube.client import KubeClient
    from libbucket._kube.decoding import Page
    from libbucket._kube.resources import Resource


T = TypeVar("T", bound=_api.Object)

PAGE_SIZE: Final = 500
_RELIST: Final = Backoff(base=0.5, ceiling=30.0)
_SILENT_WATCHES: Final = 2
"""In a row, after which the objects are listed again: a watch from a future version is silent as well."""


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """Time limits of a watch.

    Attributes:
        lifetime: seconds after which the server ends a watch, spread by up to half more.
        silence: seconds without an event or bookmark after which a watch is closed. The server sends
            a bookmark about once a minute.
    """

    lifetime: float = 240.0
    silence: float = 150.0


class Informer(Generic[T]):
    """Lists and watches one resource in one namespace, or in all. `run` needs its own thread.

    Args:
        client: lists and watches.
        resource: to watch.
        cache: filled by this informer; several informers may share one (one per namespace).
        on_change: called with (old, new) for every change; one of the two may be None.
        namespace: "" for all, or for cluster-scoped resources.
        selector: label selector; "" for all.
        settings: time limits.
    """

    def __init__(  # noqa: PLR0913 - wiring, called in one place
        self,
        client: KubeClient,
        resource: Resource[T],
        *,
        cache: Cache[T],
        on_change: Callable[[T | None, T | None], None],
        namespace: str = "",
        selector: str = "",
        settings: WatchSettings | None = None,
    ) -> None:
        self._client = client
        self.resource = resource
        self.cache = cache
        self._on_change = on_change
        self._namespace = namespace
        self._path = resource.path(namespace=namespace)
        self._query = {"labelSelector": selector} if selector else {}
        self._settings = settings or WatchSettings()
        self._log = structlog.get_logger().bind(resource=resource.plural)
        self._random = Random()  # noqa: S311 - jitter, not a secret
        self._stop = threading.Event()
        self._stream: urllib3.BaseHTTPResponse | None = None
        self._failures = 0
        self._version = ""
        self._reached = ""
        self._silent_watches = 0
        self._last_contact = time.monotonic()
        self._decoder = ResponseDecoder(resource.type, self._path, self._log)
        self.synced = threading.Event()
        """Set once the first list is in the cache."""

    @property
    def last_contact(self) -> float:
        """Time of the last list, event or bookmark, in seconds of `time.monotonic`; initially the start."""
        return self._last_contact

    def run(self) -> None:
        """Lists and watches until `stop`."""
        while not self._stop.is_set():
            try:
                self._list_if_needed()
                self._watch()
            except Exception as error:  # noqa: BLE001 - a thread that ends leaves a cache that never changes
                self._wait_after(error)

    def stop(self) -> None:
        """Ends `run`, also while a watch waits for bytes."""
        self._stop.set()
        stream = self._stream
        if stream is not None:
            with suppress(OSError, RuntimeError, ValueError):  # the watch has just ended
                stream.shutdown()

    def _wait_after(self, error: Exception) -> None:
        if self._stop.is_set():
            return
        self._failures += 1
        delay = _RELIST.delay(self._failures, self._random)
        if isinstance(error, ClusterUnavailable) and error.delay is not None:
            delay = max(delay, error.delay)
        if not isinstance(error, ClusterUnavailable):
            self._version = ""
        with suppress(*LOG_FAILURES):
            self._log_failure(error)
        self._stop.wait(delay)

    def _log_failure(self, error: Exception) -> None:
        is_usual = isinstance(error, Expired) and self._failures == 1  # normal after a pause
        if (self._failures not in {1, 10} or is_usual) and self._failures % 100 != 0:  # logged at once, then rarely
            return
        if isinstance(error, KubeError):
            self._log.warning("list or watch failed; retrying", error=str(error), attempt=self._failures)
        else:
            self._log.error(
                "list or watch failed with an internal error; retrying",
                error=f"{type(error).__name__}: {error}",
                attempt=self._failures,
                exc_info=error,
            )

    def _note_contact(self) -> None:
        self._last_contact = time.monotonic()

    def _succeeded(self) -> None:
        # Only a successful watch resets the back-off, not the list before it: an account that may list and not watch
        # would otherwise list in a loop.
        if self._failures:
            with suppress(*LOG_FAILURES):
                self._log.info("list and watch recovered", after_attempts=self._failures)
        self._failures = 0

    def _list_if_needed(self) -> None:
        if self._version and self._failures:
            self._check_history()
        if self._version:
            return
        seen: set[str] = set()
        version = ""
        for page in self._pages():
            version = page.version
            self._accept_history(version)
            seen.update(page.left_out)
            for one in page.items:
                seen.add(one.metadata.key)
                self._store(one, list_version=version)
        for gone in self.cache.retain(seen, version, namespace=self._namespace):
            self._notify(gone, None)
        self._version = self._reached = version
        self.synced.set()

    def _accept_history(self, version: str) -> None:
        """Discards what is known if this version belongs to an older history."""
        if is_newer(self._reached, version):
            with suppress(*LOG_FAILURES):
                self._log.warning(
                    "resource versions went back (was etcd restored?); replacing the cache by what is listed",
                    was=self._reached,
                    now=version,
                )
            self.cache.distrust(namespace=self._namespace)
        self._reached = version

    def _check_history(self) -> None:
        """Detects a history that went backwards, since a watch from a future version would be silent."""
        body = self._client.get(self._path, params={"limit": "1", **self._query}, accept=self.resource.accept_list)
        if is_newer(self._version, self._decoder.page(body).version):
            self._version = ""

    def _pages(self) -> Iterator[Page[T]]:
        token = ""
        while True:
            params = {"limit": str(PAGE_SIZE), **self._query} | ({"continue": token} if token else {})
            page = self._decoder.page(self._client.get(self._path, params=params, accept=self.resource.accept_list))
            self._note_contact()
            yield page
            token = page.more
            if not token:
                return

    def _watch(self) -> None:
        lifetime = self._settings.lifetime * (1 + self._random.random() / 2)
        params = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(int(lifetime)),
            **self._query,
        }
        started, version = time.monotonic(), self._version
        silence = self._settings.silence
        stream = self._client.open_stream(self._path, params=params, accept=self.resource.accept_event, silence=silence)
        self._stream = stream
        contact = self._last_contact
        try:
            with closing(stream):
                if self._stop.is_set():  # `stop` was called while the stream was being opened
                    return
                for line in read_lines(stream, self._client.host, silence):
                    self._take_event(line)
        finally:
            self._stream = None
            self._note_silence(is_silent=self._last_contact == contact and time.monotonic() - started >= silence)
        if time.monotonic() - started < 1 and self._version == version and not self._stop.is_set():
            raise ClusterUnavailable(f"{self._path}: the watch ends immediately")
        self._succeeded()

    def _note_silence(self, *, is_silent: bool) -> None:
        self._silent_watches = self._silent_watches + 1 if is_silent else 0
        if self._silent_watches >= _SILENT_WATCHES:
            self._silent_watches, self._version = 0, ""

    def _take_event(self, line: bytes) -> None:
        if self._stop.is_set():
            return
        kind, one = self._decoder.event(line)
        self._note_contact()
        self._succeeded()
        if one is None:
            return
        version = one.metadata.resource_version
        if kind != "DELETED" and is_newer(self._version, version):
            raise Expired(f"{self._path}: the watch went back from version {self._version} to {version}")
        if kind == "DELETED":
            known = self.cache.remove(one)
            if known is not None:
                self._notify(known, None)
        elif kind in {"ADDED", "MODIFIED"}:
            self._store(one)
        if version:
            self._version = self._reached = version

    def _store(self, one: T, *, list_version: str = "") -> None:
        is_news, old = self.cache.observe(one, list_version=list_version)
        if is_news:
            self._notify(old, one)

    def _notify(self, old: T | None, new: T | None) -> None:
        try:
            self._on_change(old, new)
        except Exception:  # noqa: BLE001 - logged below, where the log takes it
            # It concerns one object, which is in the cache, and is requeued with its next version or recheck.
            changed = new or old
            with suppress(*LOG_FAILURES):
                self._log.exception(
                    "watch event dropped because of an internal error",
                    object=changed.metadata.key if changed else "",
                )
