"""Follows a collection: every object as it is now, then every change, until the operator interrupts.

Under `list --watch` and `events --follow`. A watch that ends is continued by listing again, with a back-off that grows
while the API server does not answer; what was seen already is not repeated. GET requests only.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec

from libbucket._backoff import Backoff
from libbucket._kube.decoding import read_lines
from libbucket._kube.errors import ClusterUnavailable, Expired
from libbucket._kube.lists import list_version
from libbucket._kube.tolerant_json import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket._kube.client import KubeClient

_LIFETIME: Final = "240"
_SILENCE: Final = 300.0
_RETRY: Final = Backoff(base=0.5, ceiling=30.0)


@dataclass(frozen=True, kw_only=True)
class Change:
    """An object as it is now, or as it was when it was deleted."""

    found: dict[str, Any]
    is_deleted: bool = False


class _Event(msgspec.Struct):
    type: str
    object: dict[str, Any]


def follow(
    client: KubeClient, path: str, params: dict[str, str], *, wait: Callable[[float], None] = time.sleep
) -> Iterator[list[Change]]:
    """Yields all objects at once, then one change after the other.

    Args:
        client: with the operator's permissions.
        path: of the collection.
        params: selectors.
        wait: sleeps for some seconds.

    Raises:
        KubeError: the first list failed, or a later request was refused.
    """
    seen: dict[str, str] = {}
    failures, is_first, random = 0, True, Random()  # noqa: S311 - jitter, not a secret
    while True:
        try:
            for changes in _one_watch(client, path, params):
                new = [change for change in changes if _is_new(change, seen)]
                failures = 0
                if new or is_first:
                    yield new
                is_first = False
        except (ClusterUnavailable, Expired):
            if is_first:
                raise
        failures += 1
        wait(_RETRY.delay(failures, random))


def _is_new(change: Change, seen: dict[str, str]) -> bool:
    meta = change.found.get("metadata") or {}
    uid, version = meta.get("uid", ""), meta.get("resourceVersion", "")
    if change.is_deleted:
        return seen.pop(uid, None) is not None
    is_known = seen.get(uid) == version
    seen[uid] = version
    return not is_known


def _one_watch(client: KubeClient, path: str, params: dict[str, str]) -> Iterator[list[Change]]:
    items, version = list_version(client, path, params)
    yield [Change(found=item) for item in items]
    query = {**params, "watch": "1", "resourceVersion": version, "timeoutSeconds": _LIFETIME}
    stream = client.open_stream(path, params=query, accept="application/json", silence=_SILENCE)
    with closing(stream):
        for line in read_lines(stream, client.host, _SILENCE):
            event = _decoded(line, path)
            if event.type == "ERROR":
                return
            yield [Change(found=event.object, is_deleted=event.type == "DELETED")]


def _decoded(line: bytes, path: str) -> _Event:
    try:
        return decode(line, _Event)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ClusterUnavailable(f"{path}: a line of the watch is no event") from error
