"""The real reconciler, cache and client on a fake API server and a store in memory, on one thread and a turned clock.

    core = Core()
    core.create_claim("photos")
    core.reconcile("shop/photos")
    assert core.claim("photos")["status"]["phase"] == "Bound"

The fake answers as `testkit.api_server` does; `on_request` plays webhooks, quotas and outages. Nothing is delivered to
the caches by itself: `sync` is the watch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from libbucket import _api
from libbucket._circuit import Settings
from libbucket._circuit_breaker import CircuitBreaker, ProbedCircuitBreaker
from libbucket._controller.caches import new_caches
from libbucket._controller.services import request_hook
from libbucket._kube.client import KubeClient
from libbucket._kube.discovery import CrdFeatures, InstalledCrds
from libbucket._kube.errors import ClusterUnavailable, from_status, parse_status
from libbucket._metrics import Metrics
from libbucket._reconcile.apply.provisioner_calls import ProvisionerCalls
from libbucket._reconcile.apply.request_tracker import RequestTracker
from libbucket._reconcile.model.context import Identity
from libbucket._reconcile.model.snapshot import Recheck
from libbucket._reconcile.reconciler import Collaborators, Reconciler
from libbucket._reconcile.status.events import DirectEvents
from libbucket.errors import AdminSecretMissing
from libbucket.provisioner import Services
from libbucket.testing import builders
from libbucket.testing.memory import PROVISIONER_NAME, MemoryProvisioner
from testkit.api_server import Cluster, Json, Refusal, Request, claim_path, class_path, dump, plural_of, respond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from libbucket._reconcile.model.outcome import Outcome
    from libbucket.provisioner import Provisioner, SecretReader
    from libbucket.types import SecretStr

NAMESPACE: Final = "shop"
CLASS: Final = "buckets"
_KUBE_SYSTEM: Final = "/api/v1/namespaces/kube-system"

CACHED: Final[Mapping[str, tuple[str, type[_api.Object]]]] = {
    "objectbucketclaims": ("claims", _api.ObjectBucketClaim),
    "objectbuckets": ("buckets", _api.ObjectBucketObject),
    "storageclasses": ("classes", _api.StorageClass),
    "secrets": ("secrets", _api.Metadata),
    "configmaps": ("config_maps", _api.Metadata),
}
"""Plural to the field of `Caches` and what is kept there."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What the API server answers instead.

    Attributes:
        code: HTTP status; 0 for no answer.
        message: its sentence.
        reason: of the `Status`.
    """

    code: int
    message: str = ""
    reason: str = ""


def dead_webhook(name: str = "validate.policies.example.com") -> Failure:
    """As kube-apiserver answers when a webhook with `failurePolicy: Fail` can't be reached.

    Source: `k8s.io/apiserver/pkg/admission/plugin/webhook/errors`, `apierrors.NewInternalError`.
    """
    return Failure(
        code=500,
        reason="InternalError",
        message=(
            f'Internal error occurred: failed calling webhook "{name}": failed to call webhook: Post '
            '"https://policies.security.svc:443/validate?timeout=10s": dial tcp 10.0.0.7:443: connect: refused'
        ),
    )


class FakeClient(KubeClient):
    """The real client, but for the transport.

    Attributes:
        cluster: everything that is there.
        requests: "METHOD plural namespace/name" of each request so far.
        on_request: asked before each request; what it gives is the answer.
        on_response: told of each request that was carried out.
        events: bodies of all Events.
    """

    def __init__(self) -> None:
        self.cluster = Cluster(has_uuids=True)
        self.requests: list[str] = []
        self.events: list[Json] = []
        self.on_request: Callable[[Request], Failure | None] = lambda _request: None
        self.on_response: Callable[[Request], None] = lambda _request: None
        self._check_leadership = lambda: None

    def impatient(self, seconds: float) -> FakeClient:
        del seconds
        return self

    def get(self, path: str, **_rest: Any) -> bytes:
        return self._sent(Request(method="GET", path=path))

    def _write(self, method: str, path: str, content_type: str, body: dict[str, Any]) -> bytes:
        del content_type
        path = path.partition("?")[0]
        return self._sent(Request(method=method, path=path, body=dump(body)))

    def _sent(self, request: Request) -> bytes:
        self.requests.append(str(request))
        failure = self.on_request(request)
        if failure is not None:
            raise _error(failure, request)
        if request.path == _KUBE_SYSTEM:
            return b"{}"
        if request.path.endswith("/events"):
            self.events.append(json.loads(request.body))
            return b"{}"
        self.cluster, answer = respond(self.cluster, request)
        self.on_response(request)
        if isinstance(answer, Refusal):
            body = dump({"reason": answer.reason, "details": {"name": "of-the-request"}})
            raise from_status(parse_status(body, answer.code), {}, str(request))
        return answer

    def count(self, method: str, plural: str) -> int:
        """How many requests of one kind were made."""
        return sum(one.startswith(f"{method} {plural}") for one in self.requests)


def _error(failure: Failure, request: Request) -> Exception:
    if failure.code == 0:
        return ClusterUnavailable("https://cluster.invalid: no answer in time")
    body = dump({"reason": failure.reason, "message": failure.message})
    return from_status(parse_status(body, failure.code), {}, request.path)


@dataclass
class Clock:
    """A wall clock that only the test turns."""

    now: datetime = field(default_factory=lambda: datetime(2026, 1, 1, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def _no_secrets(namespace: str, name: str) -> Mapping[str, SecretStr]:
    raise AdminSecretMissing(f"Secret {namespace}/{name} does not exist")


class Core:
    """One replica's core with one class, without threads.

    Args:
        provisioner: builds it from the core's services; a store in memory by default.
        secrets: administrators' Secrets.
        config: further keys of `additionalConfig` that are allowed.
    """

    def __init__(
        self,
        provisioner: Callable[[Services], Provisioner] | None = None,
        *,
        secrets: SecretReader = _no_secrets,
        config: Iterable[str] = (),
    ) -> None:
        self.client, self.clock, self.caches, self.metrics = FakeClient(), Clock(), new_caches(), Metrics()
        requests = RequestTracker()
        hook = request_hook(self.client.check_leadership, requests)
        services = Services(read_secret=secrets, now=self.clock, before_request=hook)
        self.provisioner = provisioner(services) if provisioner is not None else MemoryProvisioner(services)
        self.woken: list[tuple[str, float]] = []
        self._delivered: Cluster | None = None
        self.seconds = 0.0
        settings = Settings(wake=lambda *one: self.woken.append(one), clock=lambda: self.seconds)
        self.cluster = ProbedCircuitBreaker(settings, self.client.answers)
        identity = Identity(
            provisioner_name=PROVISIONER_NAME,
            version="1",
            cluster_id="cluster-1",
            allowed_config=frozenset({"maxObjects", "maxSize", *config}),
            supported_config=self.provisioner.supported_config,
            installed=InstalledCrds(self.client, CrdFeatures()),
            now=self.clock,
        )
        store = ProvisionerCalls(
            self.provisioner, self.metrics, self.client.check_leadership, requests, lambda _: CircuitBreaker(settings)
        )
        self.reconciler = Reconciler(
            Collaborators(
                client=self.client,
                caches=self.caches,
                identity=identity,
                store=store,
                cluster=self.cluster,
                events=DirectEvents(self.client),
            )
        )
        self.create_class()

    @property
    def store(self) -> Any:
        """The store in memory."""
        assert isinstance(self.provisioner, MemoryProvisioner)
        return self.provisioner.store

    def request(self, method: str, path: str, body: Json | None = None) -> Json:
        """A request of a person's, past `on_request`."""
        self.client.cluster, answer = respond(
            self.client.cluster, Request(method=method, path=path, body=dump(body or {}))
        )
        assert isinstance(answer, bytes), (method, path, answer)
        found: Json = json.loads(answer)
        return found

    def create_class(self, name: str = CLASS, *, provisioner: str = PROVISIONER_NAME, **rest: Any) -> None:
        """A StorageClass, by default of ours."""
        body = builders.a_class(name=name, provisioner=provisioner, **rest)
        self.request("POST", class_path("").rstrip("/"), body)
        self.sync()

    def create_claim(self, name: str, *, namespace: str = NAMESPACE, storage_class: str = CLASS, **spec: Any) -> str:
        """A claim; gives its key."""
        body = builders.a_claim(
            name=name, namespace=namespace, storage_class=storage_class, spec=spec or {"bucketName": f"{name}-1"}
        )
        key = f"{namespace}/{name}"
        self.request("POST", claim_path(key).rpartition("/")[0], body)
        self.sync()
        return key

    def delete_claim(self, key: str) -> None:
        """Asks for the deletion of a claim."""
        self.request("DELETE", claim_path(key))
        self.sync()

    def patch(self, path: str, body: Json) -> None:
        """A merge patch of a person's."""
        self.request("PATCH", path, body)
        self.sync()

    def reconcile(self, key: str, *, recheck: Recheck = Recheck.NONE, times: int = 1) -> Outcome:
        """Reconciles a key, each time after the watches have delivered."""
        for _ in range(times):
            self.sync()
            outcome = self.reconciler.reconcile(key, recheck=recheck)
        self.sync()
        return outcome

    def sync(self, *plurals: str) -> None:
        """The watches deliver all that they have; or those of these resources only."""
        if self._delivered is self.client.cluster:
            return
        self._delivered = None if plurals else self.client.cluster
        for plural, (name, kind) in CACHED.items():
            if plurals and plural not in plurals:
                continue
            cache = getattr(self.caches, name)
            found = {path: raw for path, raw in self.client.cluster.objects.items() if plural_of(path) == plural}
            objects = [msgspec.json.decode(raw, type=kind) for raw in found.values()]
            keys = {one.metadata.key for one in objects}
            for known in cache:
                if known.metadata.key not in keys:
                    cache.discard(known)
            for one in objects:
                old = cache.get(one.metadata.key)
                if old is not None and old.metadata.uid != one.metadata.uid:
                    cache.discard(old)
                cache.observe(one)

    def find(self, path: str) -> Json | None:
        """An object as it is."""
        return self.client.cluster.find(path)

    def claim(self, key: str) -> Json:
        """A claim as it is."""
        found = self.find(claim_path(key))
        assert found is not None, f"claim {key} is gone"
        return found

    def phase(self, key: str) -> str:
        """Its phase."""
        return str(self.claim(key).get("status", {}).get("phase", ""))

    def condition(self, key: str, kind: str = "Ready") -> Json:
        """One of its conditions; {} where it has none of that type."""
        conditions: list[Json] = self.claim(key).get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})
