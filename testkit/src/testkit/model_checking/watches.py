"""The watches of a replica: the real caches and the real event router take in what the cluster holds.

Under `moves`, which decides when a watch delivers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from libbucket import _api
from libbucket._controller.event_router import EventRouter
from libbucket.testing.memory import MemoryProvisioner
from testkit.api_server import plural_of
from testkit.core import CACHED
from testkit.frozen import Frozen
from testkit.model_checking.identity import LABEL, identity
from testkit.model_checking.views import decoded, fill, new_watched_caches, view_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from testkit.api_server import Cluster
    from testkit.model_checking.views import View

_IDENTITY: Final = identity(None, MemoryProvisioner())


class _Keys:
    """Replaces the controller's queue, and records what is added."""

    def __init__(self) -> None:
        self.added: set[str] = set()

    def add(self, key: str) -> None:
        self.added.add(key)

    def forget(self, key: str) -> None:
        """Forgets nothing: how long a key waits is no matter here."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What catching up with one resource came to."""

    view: View
    woken: frozenset[str]
    forgotten: frozenset[str] = field(default_factory=frozenset)


def catch_up(view: View, cluster: Cluster, plural: str) -> Seen:
    """One watch delivers all that it has: the real cache takes it in, the real controller says which keys wake."""
    return _catch_up(view, _listed(cluster, plural), plural)


def is_behind(view: View, cluster: Cluster, plural: str) -> bool:
    """Whether that watch has something to deliver."""
    return {key: raw for key, (raw, _) in _listed(cluster, plural).items() if raw} != view[plural].objects


def keys_in(view: View, has_key: Callable[[str], bool]) -> frozenset[str]:
    """What the real router queues when a term begins: every claim in the caches, and those of the ObjectBuckets."""
    caches, keys = new_watched_caches(), _Keys()
    fill(caches, view)
    EventRouter(keys, caches, _IDENTITY, expect=lambda _key: None, forget=lambda *_: None).enqueue_all(has_key)
    return frozenset(keys.added)


@cache
def _catch_up(view: View, listed: Frozen[str, tuple[bytes, int]], plural: str) -> Seen:
    caches = new_watched_caches()
    fill(caches, view)
    name, kind = CACHED[plural]
    cache, keys = getattr(caches, name), _Keys()
    forgotten: set[str] = set()
    router = EventRouter(keys, caches, _IDENTITY, expect=lambda _key: None, forget=lambda key, _uid: forgotten.add(key))
    on_change: Any = {
        "objectbucketclaims": router.on_claim,
        "objectbuckets": router.on_bucket,
        "storageclasses": router.on_class,
    }.get(plural, router.on_owned)
    for one in cache:
        raw, version = listed.get(one.metadata.key, (b"", 0))
        if not raw or decoded(raw, kind).metadata.uid != one.metadata.uid:
            version = _created_at(raw, kind) - 1 if raw else version
            gone = msgspec.structs.replace(one.metadata, resource_version=str(version))
            if cache.remove(msgspec.structs.replace(one, metadata=gone)) is not None:
                on_change(one, None)
    for raw, _ in listed.values():
        if raw:
            is_news, old = cache.observe(decoded(raw, kind))
            if is_news:
                on_change(old, decoded(raw, kind))
    return Seen(view=view_of(caches), woken=frozenset(keys.added), forgotten=frozenset(forgotten))


def _created_at(raw: bytes, kind: type[_api.Object]) -> int:
    return int(decoded(raw, kind).metadata.uid.rpartition("@")[2])


@lru_cache(maxsize=4096)
def _listed(cluster: Cluster, plural: str) -> Frozen[str, tuple[bytes, int]]:
    """What a list of one resource gives, as the caches keep it; with the last version of what is gone."""
    kind = CACHED[plural][1]
    found: dict[str, tuple[bytes, int]] = {}
    for path, version in cluster.versions.items():
        if plural_of(path) != plural:
            continue
        raw = cluster.objects.get(path)
        kept = _kept(raw, kind) if raw is not None else b""
        if kept and kind is _api.Metadata:
            kept = kept if decoded(kept, kind).metadata.label(_api.PROVISIONER_LABEL) == LABEL else b""
        found[_key(path)] = (kept, version)
    return Frozen(found)


def _key(path: str) -> str:
    parts = path.split("/")
    return f"{parts[-3]}/{parts[-1]}" if "namespaces" in parts else parts[-1]


@cache
def _kept(raw: bytes, kind: type[_api.Object]) -> bytes:
    return msgspec.json.encode(decoded(raw, kind))


def forget_watches() -> None:
    """Drops what is remembered of deliveries."""
    _catch_up.cache_clear()
