"""One reconcile of the real core, resumed: its answers so far in, its next request (or its outcome) out.

Between two requests a reconcile follows from what it read, so that it can be played again: the real `Reconciler`, with
the real caches and the real client, over a transport that gives the recorded answers and stops at the first request
that has none. So a state of the state can hold a reconcile that is half done, as a value.
"""

from __future__ import annotations

import uuid
from collections import deque
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

from libbucket._circuit import Settings
from libbucket._circuit_breaker import CircuitBreaker
from libbucket._kube.client import KubeClient
from libbucket._kube.errors import ClusterUnavailable, from_status, parse_status
from libbucket._metrics import Metrics
from libbucket._reconcile.apply.provisioner_calls import ProvisionerCalls
from libbucket._reconcile.apply.request_tracker import RequestTracker
from libbucket._reconcile.model import names
from libbucket._reconcile.reconciler import Collaborators, Reconciler
from libbucket._reconcile.status.events import DirectEvents
from libbucket.provisioner import EmptyBucketDeleter, Inspector, Provisioner
from testkit.api_server import Refusal, Request, dump
from testkit.core import CACHED
from testkit.frozen import Frozen
from testkit.model_checking.fence import Fence, FenceMoved, OfLeader, OfShards
from testkit.model_checking.identity import identity
from testkit.model_checking.object_store import Answered, Call, InUse, Raised
from testkit.model_checking.views import fill, new_watched_caches, view_of
from testkit.model_checking.watches import forget_watches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from libbucket._outcomes import Retry
    from libbucket._reconcile.apply.provisioner_calls import OnChange
    from libbucket._reconcile.model.context import Caches
    from libbucket.types import BucketOptions, Claim, ObjectBucket
    from testkit.model_checking.views import View

_NOW: Final = "2026-01-01T00:00:00Z"
_METRICS: Final = Metrics()


@dataclass(frozen=True, kw_only=True)
class CachesChanged:
    """While the reconcile waited for an answer, a watch or another worker changed the caches to this."""

    view: View


Item = bytes | Refusal | Answered | Raised | CachesChanged | FenceMoved


@dataclass(frozen=True, kw_only=True)
class Run:
    """A reconcile that has begun.

    Attributes:
        key: of the claim.
        view: the caches when it began.
        intact: what the gatherer remembered when it began.
        by: the replica that does it.
        serves: the shards of that replica when it began; None where there is a leader.
        names: how many bucket names were drawn for this claim before.
        trace: what it was told since, oldest first.
    """

    key: str
    view: View
    by: int = 0
    serves: frozenset[int] | None = None
    intact: Frozen[str, tuple[str, str]] = Frozen()
    names: int = 0
    trace: tuple[Item, ...] = ()

    def told(self, item: Item) -> Run:
        return replace(self, trace=(*self.trace, item))

    def is_over(self, trace: Sequence[Item]) -> bool:
        """Whether a part of the trace ended its permission to write."""
        return any(isinstance(item, FenceMoved) and item.ends(self.key) for item in trace)


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
        self.fence: Fence = OfLeader() if run.serves is None else OfShards(run.key, run.serves)

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
                self.fence.moved(item)
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
        self.fence.check()

    def draw(self) -> uuid.UUID:
        """Replaces `uuid.uuid4`: every draw of a claim's is another one."""
        self.names += 1
        return uuid.uuid5(uuid.NAMESPACE_OID, f"{self._whose}#{self.names}")


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


class ScriptedProvisioner(Provisioner, Inspector, EmptyBucketDeleter):
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

    def delete_empty(self, ob: ObjectBucket) -> None:
        self._called("delete_empty", ob)

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
    # In a context of its own, where the elector binds the work to a term.
    return copy_context().run(_play, run)


def _play(run: Run) -> Step:
    caches = new_watched_caches()
    fill(caches, run.view)
    script = Script(run, caches)
    for name, _ in CACHED.values():
        getattr(caches, name).on_read = script.reads
    client, provisioner = ScriptedClient(script), ScriptedProvisioner(script)
    store = ProvisionerCalls(provisioner, _METRICS, client.check_leadership, RequestTracker(), _closed_circuit)
    reconciler = Reconciler(
        Collaborators(
            client=client,
            caches=caches,
            identity=identity(client, provisioner),
            store=store,
            cluster=ApiServerDown(),
            events=DirectEvents(client),
        )
    )
    reconciler._reporter._clock = lambda: _NOW
    remembered = reconciler._observer._intact
    remembered |= run.intact
    wants: Request | Call | None = None
    retry, result = None, "paused"
    with mock.patch.object(names, "uuid", SimpleNamespace(uuid4=script.draw)):
        try:
            if not script.fence.has_begun:
                return Step(wants=None, view=run.view, intact=run.intact, names=run.names, has_read=False)
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


def forget_everything() -> None:
    """Drops what was remembered of the core's steps: another core (with an injected fault) takes others."""
    advance.cache_clear()
    forget_watches()
