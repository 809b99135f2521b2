"""Keeps a cache of one resource up to date: list in pages, then watch, for ever.

Between the API server and the queue. Every way in which a watch ends is handled here: closed (watch again
from the last version), 410 (list again), silence (the bookmarks that the server sends each minute stop),
errors and 429 (back off). One object that can't be decoded is logged and left out; the others go on.
Knows nothing of what the objects mean: `on_change` is told the old and the new version.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec
import structlog
import urllib3

from libbucket import _api
from libbucket._backoff import Backoff
from libbucket._kube.errors import ClusterUnavailable, Expired, KubeError, Status, from_status, from_transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket._kube.cache import Cache
    from libbucket._kube.client import KubeClient
    from libbucket._kube.resources import Resource


T = TypeVar("T", bound=_api.Object)

PAGE_SIZE: Final = 500
_RELIST: Final = Backoff(base=0.5, ceiling=30.0)
_PARTIAL: Final = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct, Generic[T]):
    metadata: _ListMeta
    items: list[T] | None = None


class _RawList(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct, Generic[T]):
    type: str
    object: T


class _RawEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """How patient a watch is.

    Attributes:
        lifetime: seconds after which the server ends a watch, spread by up to half more.
        silence: seconds without an event or bookmark after which a watch counts as dead. The server sends
            a bookmark about once a minute.
    """

    lifetime: float = 240.0
    silence: float = 150.0


class Informer(Generic[T]):
    """The cache of one resource in one namespace, or in all. `run` it in a thread of its own.

    Args:
        client: to list and watch with.
        resource: what.
        cache: filled by this informer; several informers may share one (one per namespace).
        on_change: called with (old, new) for every change that is news; one of the two may be None.
        namespace: "" for all, or for resources of the cluster.
        selector: label selector; "" for all.
        settings: patience of the watch.
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
        self.last_contact = time.monotonic()
        self._list_decoder = msgspec.json.Decoder(_List[resource.type])  # type: ignore[name-defined]
        self._event_decoder = msgspec.json.Decoder(_Event[resource.type])  # type: ignore[name-defined]
        self.synced = threading.Event()
        """Set once the first list is in the cache."""

    def run(self) -> None:
        """Lists and watches until `stop`."""
        while not self._stop.is_set():
            try:
                self._list_if_needed()
                self._watch()
            except KubeError as error:
                self._wait_after(error)

    def stop(self) -> None:
        """Ends `run`, also out of a watch that is waiting for bytes."""
        self._stop.set()
        stream = self._stream
        if stream is not None:
            with suppress(OSError, RuntimeError, ValueError):  # the watch has just ended by itself
                stream.shutdown()

    def _wait_after(self, error: KubeError) -> None:
        if self._stop.is_set():
            return
        self._failures += 1
        delay = _RELIST.delay(self._failures, self._random)
        if isinstance(error, ClusterUnavailable) and error.delay is not None:
            delay = max(delay, error.delay)
        if not isinstance(error, ClusterUnavailable):
            self._version = ""
        is_usual = isinstance(error, Expired) and self._failures == 1  # after a pause, a version may well be too old
        if (self._failures in {1, 10} and not is_usual) or self._failures % 100 == 0:  # says it at once, then seldom
            self._log.warning("can't list or watch; trying again", error=str(error), attempt=self._failures)
        self._stop.wait(delay)

    def _succeeded(self) -> None:
        # Only a watch that works is a success: a list that works before each watch that fails must not end the
        # backing off, or an account that may list and not watch lists for ever.
        if self._failures:
            self._log.info("lists and watches again", after_attempts=self._failures)
        self._failures = 0

    def _list_if_needed(self) -> None:
        if self._version:
            return
        seen: set[str] = set()
        version = ""
        for items, version in self._pages():  # noqa: B007 - the last page's version is the list's
            for one in items:
                seen.add(one.metadata.key)
                self._take(one)
        for gone in self.cache.retain(seen, version, namespace=self._namespace):
            self._on_change(gone, None)
        self._version = version
        self.last_contact = time.monotonic()
        self.synced.set()

    def _pages(self) -> Iterator[tuple[list[T], str]]:
        token = ""
        while True:
            params = {"limit": str(PAGE_SIZE), **self._query} | ({"continue": token} if token else {})
            body = self._client.get(self._path, params=params, accept=self._accept("List"))
            meta, items = self._decode_list(body)
            yield items, meta.resource_version
            token = meta.continue_
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
        stream = self._client.open_stream(
            self._path, params=params, accept=self._accept(""), silence=self._settings.silence
        )
        self._stream = stream
        try:
            with closing(stream):
                if self._stop.is_set():  # `stop` came while the stream was being opened, and did not see it
                    return
                for line in _lines(stream, self._client.host):
                    self._take_event(line)
        finally:
            self._stream = None
        if time.monotonic() - started < 1 and self._version == version and not self._stop.is_set():
            raise ClusterUnavailable(f"{self._path}: the watch ends as soon as it begins")
        self._succeeded()

    def _take_event(self, line: bytes) -> None:
        self.last_contact = time.monotonic()
        if self._stop.is_set():
            return
        kind, one = self._decode_event(line)
        self._succeeded()
        if one is None:
            return
        if kind == "DELETED":
            known = self.cache.remove(one)
            if known is not None:
                self._on_change(known, None)
        elif kind in {"ADDED", "MODIFIED"}:
            self._take(one)
        self._version = one.metadata.resource_version or self._version

    def _take(self, one: T) -> None:
        is_news, old = self.cache.observe(one)
        if is_news:
            self._on_change(old, one)

    def _decode_list(self, body: bytes) -> tuple[_ListMeta, list[T]]:
        try:
            return self._read_list(body)
        except msgspec.DecodeError as error:
            raise ClusterUnavailable(f"{self._path}: the answer is no JSON list; is this an API server?") from error

    def _read_list(self, body: bytes) -> tuple[_ListMeta, list[T]]:
        try:
            page = self._list_decoder.decode(body)
        except msgspec.ValidationError:
            return self._read_list_one_by_one(body)
        return page.metadata, page.items or []

    def _read_list_one_by_one(self, body: bytes) -> tuple[_ListMeta, list[T]]:
        page = msgspec.json.decode(body, type=_RawList)
        decoded = (self._decode_object(raw) for raw in page.items or ())
        return page.metadata, [one for one in decoded if one is not None]

    def _decode_event(self, line: bytes) -> tuple[str, T | None]:
        try:
            return self._read_event(line)
        except msgspec.DecodeError as error:
            raise ClusterUnavailable(f"{self._path}: the watch broke off in the middle of an event") from error

    def _read_event(self, line: bytes) -> tuple[str, T | None]:
        try:
            event = self._event_decoder.decode(line)
        except msgspec.ValidationError:
            return self._read_odd_event(line)
        if event.type == "ERROR":
            return self._read_odd_event(line)
        return event.type, event.object

    def _read_odd_event(self, line: bytes) -> tuple[str, T | None]:
        event = msgspec.json.decode(line, type=_RawEvent)
        if event.type == "ERROR":
            raise from_status(msgspec.json.decode(event.object, type=Status), {}, self._path)
        return event.type, self._decode_object(event.object)

    def _decode_object(self, raw: msgspec.Raw) -> T | None:
        try:
            return msgspec.json.decode(raw, type=self.resource.type)
        except msgspec.ValidationError as error:
            self._log.warning("left out an object that can't be read", error=str(error), object=_name_of(raw))
            return None

    def _accept(self, suffix: str) -> str:
        return _PARTIAL.format(suffix) if self.resource.metadata_only else "application/json"


def _name_of(raw: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=_api.Metadata).metadata.key
    except msgspec.ValidationError:
        return "unknown"


def _lines(stream: urllib3.BaseHTTPResponse, host: str) -> Iterator[bytes]:
    rest = b""
    try:
        for chunk in stream.stream(64 * 1024):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line for line in whole if line)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise from_transport(error, host) from error
