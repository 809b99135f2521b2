"""Decodes the responses of list and watch: pages and events of one resource, line by line.

Used by the informer. An object that cannot be decoded is logged and left out; the others are kept. Makes no request.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec
import urllib3

from libbucket import _api
from libbucket._kube.errors import ClusterUnavailable, Status, from_status, from_transport
from libbucket._kube.tolerant_json import decode, decode_with

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T", bound=_api.Object)

LOG_FAILURES: Final = (OSError, ValueError, RuntimeError)
"""Of a log that cannot be written to (a closed pipe, a full disk): no reason to end a watch."""

_CHUNK: Final = 64 * 1024
_LONGEST_LINE: Final = 64 * 1024 * 1024
"""Bytes of one event, many times the maximum size of an object: a longer one is no watch event."""


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Name(msgspec.Struct):
    name: str
    namespace: str = ""


class _Named(msgspec.Struct):
    """Only the name of an object, if nothing else of it can be decoded."""

    metadata: _Name


class _List(msgspec.Struct, Generic[T]):
    metadata: _ListMeta
    items: list[T] | None = None


class _RawList(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list.

    Attributes:
        version: resource version of the list.
        more: token for the next page; "" for none.
        items: that could be decoded.
        left_out: keys of the others.
    """

    version: str
    more: str
    items: list[T]
    left_out: list[str] = field(default_factory=list)


class _Event(msgspec.Struct, Generic[T]):
    type: str
    object: T


class _RawEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


class ResponseDecoder(Generic[T]):
    """Decodes the responses of one resource. Safe for one thread.

    Args:
        kind: type of the objects.
        path: of the collection, for messages.
        log: of the informer.
    """

    def __init__(self, kind: type[T], path: str, log: Any) -> None:
        self._kind = kind
        self._path = path
        self._log = log
        self._list_decoder = msgspec.json.Decoder(_List[kind])  # type: ignore[valid-type]
        self._event_decoder = msgspec.json.Decoder(_Event[kind])  # type: ignore[valid-type]

    def page(self, body: bytes) -> Page[T]:
        """Decodes one page of a list.

        Raises:
            ClusterUnavailable: it is not a list.
        """
        try:
            return self._read_list(body)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise ClusterUnavailable(
                f"{self._path}: the response is not a JSON list; is this an API server?"
            ) from error

    def event(self, line: bytes) -> tuple[str, T | None]:
        """Decodes one watch event: its type, and its object or None if that cannot be decoded.

        Raises:
            KubeError: the event is an error of the server.
            ClusterUnavailable: it is not a watch event.
        """
        try:
            return self._read_event(line)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise ClusterUnavailable(f"{self._path}: the watch ended in the middle of an event") from error

    def _read_list(self, body: bytes) -> Page[T]:
        try:
            page = decode_with(self._list_decoder, body)
        except msgspec.ValidationError:
            return self._read_list_one_by_one(body)
        return Page(version=page.metadata.resource_version, more=page.metadata.continue_, items=page.items or [])

    def _read_list_one_by_one(self, body: bytes) -> Page[T]:
        page = decode(body, _RawList)
        items, left_out = [], []
        for raw in page.items or ():
            one = self._decode_object(raw)
            if one is not None:
                items.append(one)
            else:
                left_out.append(_name_of(raw))
        meta = page.metadata
        return Page(version=meta.resource_version, more=meta.continue_, items=items, left_out=left_out)

    def _read_event(self, line: bytes) -> tuple[str, T | None]:
        try:
            event = decode_with(self._event_decoder, line)
        except msgspec.ValidationError:
            return self._read_odd_event(line)
        if event.type == "ERROR":
            return self._read_odd_event(line)
        return event.type, event.object

    def _read_odd_event(self, line: bytes) -> tuple[str, T | None]:
        event = decode(line, _RawEvent)
        if event.type == "ERROR":
            raise from_status(decode(bytes(event.object), Status), {}, self._path)
        return event.type, self._decode_object(event.object)

    def _decode_object(self, raw: msgspec.Raw) -> T | None:
        try:
            return decode(bytes(raw), self._kind)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            with suppress(*LOG_FAILURES):
                self._log.warning("ignored an object that cannot be decoded", error=str(error), object=_name_of(raw))
            return None


def _name_of(raw: msgspec.Raw) -> str:
    try:
        name = decode(bytes(raw), _Named).metadata
    except (msgspec.DecodeError, ValueError, RecursionError):
        return "unknown"
    return f"{name.namespace}/{name.name}" if name.namespace else name.name


def read_lines(stream: urllib3.BaseHTTPResponse, host: str, silence: float) -> Iterator[bytes]:
    """The lines of a stream, each as soon as it is complete.

    Args:
        stream: of a watch.
        host: for messages.
        silence: seconds within which a line has to be complete.

    Raises:
        ClusterUnavailable: a line is too long or takes too long.
        KubeError: the connection failed.
    """
    parts, size, begun = [b""], 0, 0.0
    try:
        while chunk := stream.read1(_CHUNK):
            *whole, rest = chunk.split(b"\n")
            if whole:
                whole[0] = b"".join((*parts, whole[0]))
                parts, size = [], 0
                yield from (line for line in whole if line)
            begun = begun if size else time.monotonic()
            parts.append(rest)
            size += len(rest)
            if size and (time.monotonic() - begun > silence or size > _LONGEST_LINE):
                raise ClusterUnavailable(f"{host}: a watch event does not end")
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise from_transport(error, host) from error
