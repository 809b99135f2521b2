"""One reconcile of the real core, resumed: its answers so far in, its next request (or its outcome) out.

Between two requests a reconcile follows from what it read, so that it can be played again: the real `Reconciler`, with
the real caches and the real client, over a transport that gives the recorded answers and stops at the first request
that has none. So a state of the state can hold a reconcile that is half done, as a value.
"""

from __future__ import annotations

import uuid
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast
from unittest import mock

import msgspec

from libbucket import _api
from libbucket._circuit import Settings
from libbucket._circuit_breaker import CircuitBreaker
from libbucket._controller.event_router import EventRouter
from libbucket._kube.cache import Cache
from libbucket._kube.client import KubeClient
from libbucket._kube.discovery import CrdFeatures, InstalledCrds
from libbucket._kube.errors import ClusterUnavailable, LeadershipLost, from_status, parse_status
from libbucket._metrics import Metrics
from libbucket._reconcile.apply.provisioner_calls import ProvisionerCalls
from libbucket._reconcile.apply.request_tracker import RequestTracker
from libbucket._reconcile.model import names
from libbucket._reconcile.model.claim_ref import claim_key_of
from libbucket._reconcile.model.context import Caches, Identity
from libbucket._reconcile.reconciler import Reconciler
from libbucket._reconcile.status.events import DirectEvents
from libbucket.provisioner import Inspector, Provisioner
from libbucket.testing.memory import PROVISIONER_NAME, MemoryProvisioner
from testkit.api_server import Cluster, Refusal, Request, dump, plural_of
from testkit.core import CACHED
from testkit.frozen import Frozen
from testkit.model_checking.object_store import Answered, Call, InUse, Raised

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket._outcomes import Retry
    from libbucket._reconcile.apply.provisioner_calls import OnChange
    from libbucket.types import BucketOptions, Claim, ObjectBucket

PROVISIONER: Final = PROVISIONER_NAME
_NOW: Final = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, kw_only=True)
class CacheView:
    """What one cache holds: objects by key, and the versions of those that it took out."""

    objects: Frozen[str, bytes] = Frozen()
    removed: Frozen[str, str] = Frozen()


View = Frozen[str, CacheView]
"""All caches of one replica, by plural."""

EMPTY: Final[View] = Frozen({plural: CacheView() for plural in CACHED})


@dataclass(frozen=True, kw_only=True)
class CachesChanged:
    """While the reconcile waited for an answer, a watch or another worker changed the caches to this."""

    view: View


@dataclass(frozen=True, kw_only=True)
class FenceMoved:
    """While the reconcile waited for an answer, leadership was lost or won: either ends what this term had begun."""


Item = bytes | Refusal | Answered | Raised | CachesChanged | FenceMoved


@dataclass(frozen=True, kw_only=True)
class Run:
    """A reconcile that has begun.

    Attributes:
        key: of the claim.
        view: the caches when it began.
        intact: what the gatherer remembered when it began.
        by: the replica that does it.
        names: how many bucket names were drawn for this claim before.
        trace: what it was told since, oldest first.
    """

    key: str
    view: View
    by: int = 0
    intact: Frozen[str, tuple[str, str]] = Frozen()
    names: int = 0
    trace: tuple[Item, ...] = ()

    def told(self, item: Item) -> Run:
        return replace(self, trace=(*self.trace, item))


@dataclass(frozen=True, kw_only=True)
class Step:
    """The progress of a reconcile.

    Attributes:
        wants: its next request; None when it is done.
        view: the caches now.
        intact: what the gatherer remembers now.
        names: how many bucket names were drawn.
        has_read: whether it read the caches after their last change.
        retry: how it is requeued, when it is done.
        result: its outcome in one word.
    """

    wants: Request | Call | None
    view: View
    intact: Frozen[str, tuple[str, str]]
    names: int
    has_read: bool
    retry: Retry | None = None
    result: str = ""


class Paused(BaseException):
    """There is no answer yet."""

    def __init__(self, wants: Request | Call) -> None:
        self.wants = wants


class Script:
    """Gives the recorded answers, with what happened between them."""

    def __init__(self, run: Run, caches: Caches) -> None:
        self._items = deque(run.trace)
        self._caches = caches
        self._whose = f"{run.by}/{run.key}"
        self.names = run.names
        self.has_read = False
        self.is_of_this_term = True

    def ask(self, wants: Request | Call) -> bytes | Answered:
        """The answer to a request.

        Raises:
            Paused: it is not known yet.
            KubeError: the server refused.
            ProvisionerError: the store did.
        """
        while self._items:
            item = self._items.popleft()
            if isinstance(item, CachesChanged):
                fill(self._caches, item.view)
                self.has_read = False
            elif isinstance(item, FenceMoved):
                self.is_of_this_term = False
            else:
                return self._unpacked(item, wants)
        raise Paused(wants)

    def _unpacked(self, item: bytes | Refusal | Answered | Raised, wants: Request | Call) -> bytes | Answered:
        if isinstance(item, Raised):
            raise item.error()
        if isinstance(item, Refusal):
            if item.code == 0:
                raise ClusterUnavailable("no answer")
            body = dump({"reason": item.reason, "details": {"name": "of-the-request"}})
            raise from_status(parse_status(body, item.code), {}, str(wants))
        return item

    def reads(self) -> None:
        self.has_read = True

    def check_leadership(self) -> None:
        if not self.is_of_this_term:
            raise LeadershipLost("another replica is, or was, the leader")

    def draw(self) -> uuid.UUID:
        """Replaces `uuid.uuid4`: every draw of a claim's is another one."""
        self.names += 1
        return uuid.uuid5(uuid.NAMESPACE_OID, f"{self._whose}#{self.names}")


class WatchedCache(Cache[Any]):
    """Notes when it was read."""

    def __init__(self, kind: type[Any], group: Callable[[Any], str] | None = None) -> None:
        super().__init__(kind, group=group)
        self.on_read: Callable[[], None] = lambda: None

    def get(self, key: str) -> Any:
        self.on_read()
        return super().get(key)

    def grouped(self, group: str) -> list[Any]:
        self.on_read()
        return super().grouped(group)


class ScriptedClient(KubeClient):
    """The real client, but for the transport. Events are accepted and forgotten: no decision rests on one."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._check_leadership = script.check_leadership

    def get(self, path: str, **_rest: Any) -> bytes:
        return self._asked(Request(method="GET", path=path))

    def _write(self, method: str, path: str, content_type: str, body: dict[str, Any]) -> bytes:
        del content_type
        self._check_leadership()
        path = path.partition("?")[0]
        if path.endswith("/events"):
            return b"{}"
        return self._asked(Request(method=method, path=path, body=dump(body)))

    def _asked(self, request: Request) -> bytes:
        answer = self._script.ask(request)
        assert isinstance(answer, bytes)
        return answer


class ScriptedProvisioner(Provisioner, Inspector):
    """Asks the script; names identities as the real one does."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._real = InUse.kind()
        self.supported_config = self._real.supported_config  # type: ignore[misc]

    def provision(self, options: BucketOptions) -> ObjectBucket:
        answer: ObjectBucket = self._called("provision", options)
        return answer

    def grant(self, options: BucketOptions) -> ObjectBucket:
        answer: ObjectBucket = self._called("grant", options)
        return answer

    def delete(self, ob: ObjectBucket) -> None:
        self._called("delete", ob)

    def revoke(self, ob: ObjectBucket) -> None:
        self._called("revoke", ob)

    def is_intact(self, options: BucketOptions) -> bool:
        return bool(self._called("is_intact", options))

    def generate_user_id(self, claim: Claim, ob: ObjectBucket | None) -> str:
        return self._real.generate_user_id(claim, ob)

    def _called(self, verb: str, request: BucketOptions | ObjectBucket) -> Any:
        answer = self._script.ask(Call(verb=verb, request=request))
        assert isinstance(answer, Answered)
        return answer.value


@cache
def advance(run: Run) -> Step:
    """Plays a reconcile up to the first request that has no answer yet, or to its end."""
    caches = _caches()
    fill(caches, run.view)
    script = Script(run, caches)
    for name, _ in CACHED.values():
        getattr(caches, name).on_read = script.reads
    client, provisioner = ScriptedClient(script), ScriptedProvisioner(script)
    store = ProvisionerCalls(provisioner, _METRICS, client.check_leadership, RequestTracker(), _closed_circuit)
    reconciler = Reconciler(
        client, caches, _identity(client, provisioner), store, ApiServerDown(), DirectEvents(client)
    )
    reconciler._reporter._clock = lambda: _NOW
    remembered = reconciler._observer._intact
    remembered |= run.intact
    wants: Request | Call | None = None
    retry, result = None, "paused"
    with mock.patch.object(names, "uuid", SimpleNamespace(uuid4=script.draw)):
        try:
            outcome = reconciler.reconcile(run.key)
            retry, result = outcome.retry, outcome.result
        except Paused as paused:
            wants = paused.wants
    return Step(
        wants=wants,
        view=view_of(caches),
        intact=Frozen(remembered),
        names=script.names,
        has_read=script.has_read,
        retry=retry,
        result=result,
    )


def _closed_circuit(on_change: OnChange) -> CircuitBreaker:
    """One that remembers no failure: how long a claim is held back is no matter here."""
    return CircuitBreaker(Settings(wake=lambda _key, _seconds: None, on_change=on_change))


class ApiServerDown:
    """What a request without an answer means here: the API server is down, and not this claim's objects at fault."""

    def confirm(self, key: str, *, failure: str, delay: float) -> bool:
        """It is."""
        del key, failure, delay
        return True


def simplified(run: Run) -> Run:
    """The same reconcile, without a change of the caches that it has not read yet except as the newest one.

    Else each moment at which something changed that it never reads would make another state.
    """
    step = advance(run)
    changes = [at for at, item in enumerate(run.trace) if isinstance(item, CachesChanged)]
    if step.has_read or not changes or changes[-1] == len(run.trace) - 1:
        return run
    rest = replace(run, trace=run.trace[: changes[-1]] + run.trace[changes[-1] + 1 :])
    return rest if advance(rest).view == step.view else rest.told(CachesChanged(view=step.view))


def _caches() -> Caches:
    return Caches(
        **{name: WatchedCache(kind, claim_key_of if name == "buckets" else None) for name, kind in CACHED.values()}
    )


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
        cache._groups.clear()
        for key, raw in view[plural].objects.items():
            cache._put(key, decoded(raw, kind))
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


@cache
def _catch_up(view: View, listed: Frozen[str, tuple[bytes, int]], plural: str) -> Seen:
    caches = _caches()
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


def _identity(client: ScriptedClient | None, provisioner: Provisioner) -> Identity:
    return Identity(
        provisioner_name=PROVISIONER,
        version="1",
        cluster_id="cluster-1",
        allowed_config=frozenset({"maxObjects"}),
        supported_config=provisioner.supported_config,
        installed=InstalledCrds(cast("KubeClient", client), CrdFeatures()),
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )


LABEL: Final = names.provisioner_label(PROVISIONER)
_METRICS: Final = Metrics()
_IDENTITY: Final = _identity(None, MemoryProvisioner())


def forget_everything() -> None:
    """Drops what was remembered of the core's steps: another core (with an injected fault) takes others."""
    for remembered in (advance, _catch_up):
        remembered.cache_clear()
