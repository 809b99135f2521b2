"""What the caches of a replica hold, as a value: filled into real caches, and taken out of them again.

Under `core`, which plays a reconcile over such caches, and `watches`, which brings them up to date.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from libbucket import _api
from libbucket._kube.cache import Cache
from libbucket._kube.summaries import Summaries
from libbucket._reconcile.model import names
from libbucket._reconcile.model.claim_ref import claim_key_of
from libbucket._reconcile.model.context import Caches
from libbucket._reconcile.model.summaries import bucket_summary, claim_summary
from testkit.core import CACHED
from testkit.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from testkit.model_checking.core import Run


@dataclass(frozen=True, kw_only=True)
class CacheView:
    """What one cache holds: objects by key, and the versions of those that it took out."""

    objects: Frozen[str, bytes] = Frozen()
    removed: Frozen[str, str] = Frozen()


View = Frozen[str, CacheView]
"""All caches of one replica, by plural."""

EMPTY: Final[View] = Frozen({plural: CacheView() for plural in CACHED})


class WatchedCache(Cache[Any]):
    """Notes when it was read."""

    def __init__(
        self,
        kind: type[Any],
        group: Callable[[Any], str] | None = None,
        summaries: Summaries[Any, Any] | None = None,
    ) -> None:
        super().__init__(kind, group=group, summaries=summaries)
        self.on_read: Callable[[], None] = lambda: None

    def get(self, key: str) -> Any:
        self.on_read()
        return super().get(key)

    def grouped(self, group: str) -> list[Any]:
        self.on_read()
        return super().grouped(group)

    def keys_of(self, group: str) -> list[str]:
        self.on_read()
        return super().keys_of(group)


def new_watched_caches() -> Caches:
    """Empty ones that note when they are read."""
    claims, buckets = Summaries(claim_summary), Summaries(bucket_summary)
    summaries: dict[str, Summaries[Any, Any]] = {"claims": claims, "buckets": buckets}
    watched = {
        name: WatchedCache(kind, claim_key_of if name == "buckets" else None, summaries.get(name))
        for name, kind in CACHED.values()
    }
    return Caches(**watched, claim_summaries=claims, bucket_summaries=buckets)


def watched_by(view: View, key: str, *, since: View | None = None) -> View:
    """The part of the caches that a reconcile of this claim reads: what else changes is no matter to it.

    Args:
        view: the caches.
        key: of the claim.
        since: the part that it began with, if it has begun.
    """
    raw = (since or view)["objectbucketclaims"].objects.get(key)
    claim = decoded(raw, _api.ObjectBucketClaim) if raw is not None else None
    namespace, _, name = key.partition("/")
    named = names.bucket_object_names(namespace, name, claim.metadata.uid) if claim is not None else ()
    return _part(view, key, frozenset(named))


@lru_cache(maxsize=100_000)
def _part(view: View, key: str, named: frozenset[str]) -> View:
    """ObjectBuckets that are of this claim by what they say, or have a name that it may want."""

    def is_watched(plural: str, one: str) -> bool:
        if plural != "objectbuckets" or one in named:
            return plural in {"objectbuckets", "storageclasses"} or one == key
        raw = view[plural].objects.get(one)
        return raw is not None and claim_key_of(decoded(raw, _api.ObjectBucketObject)) == key

    def kept(plural: str) -> CacheView:
        objects = {one: raw for one, raw in view[plural].objects.items() if is_watched(plural, one)}
        removed = {one: version for one, version in view[plural].removed.items() if is_watched(plural, one)}
        return CacheView(objects=Frozen(objects), removed=Frozen(removed))

    return Frozen({plural: kept(plural) for plural in CACHED})


def put_back(view: View, run: Run, part: View) -> View:
    """All the caches, with that part of them as the reconcile left it."""
    old = watched_by(view, run.key, since=run.view)
    if part == old:
        return view

    def whole(plural: str) -> CacheView:
        objects = {one: raw for one, raw in view[plural].objects.items() if one not in old[plural].objects}
        removed = {one: raw for one, raw in view[plural].removed.items() if one not in old[plural].removed}
        return CacheView(
            objects=Frozen({**objects, **part[plural].objects}), removed=Frozen({**removed, **part[plural].removed})
        )

    return Frozen({plural: whole(plural) for plural in CACHED})


def fill(caches: Caches, view: View) -> None:
    """Fills caches from a view."""
    for plural, (name, kind) in CACHED.items():
        cache = getattr(caches, name)
        cache._packed.clear()
        cache._fresh.clear()
        cache._groups.clear()
        if cache._summaries is not None:
            cache._summaries._by_key.clear()
        for key, raw in view[plural].objects.items():
            cache._put(key, decoded(raw, kind), None)
        cache._removed = dict(view[plural].removed)


def view_of(caches: Caches) -> View:
    """What caches hold."""
    views = {}
    for plural, (name, _) in CACHED.items():
        cache = getattr(caches, name)
        objects = Frozen({one.metadata.key: msgspec.json.encode(one) for one in cache})
        views[plural] = CacheView(objects=objects, removed=Frozen(cache._removed))
    return Frozen(views)


@cache
def decoded(raw: bytes, kind: type[_api.Object]) -> Any:
    """As the client decodes it. Immutable, so it can be shared."""
    return msgspec.json.decode(raw, type=kind)
