"""Wires it together: informers fill the caches and the queue, workers empty it, a timer looks for drift.

Between the entry point, which starts and stops it, and the reconciler, which does the work. Decides nothing
about a claim: it knows which key an object's change concerns, and when a key comes again.
"""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

import structlog

from libbucket import _api
from libbucket._backoff import Backoff
from libbucket._controller.services import AdminSecrets
from libbucket._gate import LONGEST_DELAY, PROBES, Answer, Gate, Held
from libbucket._kube.cache import Cache, Unwatched
from libbucket._kube.discovery import InstalledCrds
from libbucket._kube.informer import Informer
from libbucket._kube.resources import BUCKETS, CLAIMS, CLASSES, CONFIG_MAP_METADATA, SECRET_METADATA
from libbucket._lanes import LaneSettings
from libbucket._queue import WorkQueue
from libbucket._reconcile.decide import Retry
from libbucket._reconcile.names import provisioner_label
from libbucket._reconcile.reconciler import Outcome, Reconciler
from libbucket._reconcile.record import claim_key_of, owner_of
from libbucket._reconcile.sent import Sent
from libbucket._reconcile.snapshot import Recheck
from libbucket._reconcile.store import Store
from libbucket._reconcile.surroundings import Caches, Identity
from libbucket.errors import Reason
from libbucket.provisioner import EmptyBucketDeleter, Services, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from libbucket._controller.leader import LeaderElector
    from libbucket._kube.client import KubeClient
    from libbucket._kube.discovery import CrdFeatures
    from libbucket._metrics import Metrics
    from libbucket.provisioner import ProvisionerFactory

SOON: Final = Backoff(base=1.0, ceiling=300.0)
IN_OUTAGE: Final = PROBES
SLOWLY: Final = Backoff(base=30.0, ceiling=300.0)
_OUTAGES: Final = frozenset({Reason.STORE_UNAVAILABLE, Reason.THROTTLED, Reason.CLUSTER_UNAVAILABLE})
"""Results of a reconcile that nobody has to mend: it ends by itself, and then things go on soon."""

_IDLE: Final = frozenset({"ignored", "settled", "fenced"})
"""Results that may have cost no request, and say nothing about the API server."""

_RECHECK_SPREAD: Final = 0.1
"""A recheck of all claims is spread over this share of the interval, plus what the interval itself is jittered by."""

_LOOK_STEP: Final = 900.0
_LOOK_FLOOR: Final = 10.0
"""Seconds until a claim that waits for a time is looked at again, at most and at least."""


@dataclass(frozen=True, kw_only=True)
class ControllerSettings:
    """What a controller is told.

    Attributes:
        provisioner_name: which StorageClasses are served.
        version: of the provisioner's distribution.
        cluster_id: uid of the namespace kube-system.
        namespaces: to watch; empty for all.
        admin_secret_namespaces: that a class may name in secretNamespace; empty for all.
        watch_secrets: whether Secrets are watched; if not, an edited one is found by the drift check only.
        workers: claims worked on at once.
        allowed_config: `additionalConfig` keys that the operator allows.
        resync_interval: seconds between two looks for drift; 0 for never.
        repair_interval: seconds between two times that the store's side is gone through in full; 0 for never.
        features: what the installed CRDs keep of what is written.
        crd_interval: seconds between two looks whether the CRDs were replaced.
        now: the clock, for credentials that end and for purges; tests turn it.
        pace: how fast time goes by for delays; 1 but in tests.
    """

    provisioner_name: str
    version: str
    cluster_id: str
    namespaces: tuple[str, ...]
    workers: int
    allowed_config: frozenset[str]
    resync_interval: float
    repair_interval: float
    features: CrdFeatures
    crd_interval: float = 60.0
    admin_secret_namespaces: tuple[str, ...] = ()
    watch_secrets: bool = True
    now: Callable[[], datetime] = utc_now
    pace: float = 1.0


class Controller:
    """Serves the claims of one provisioner until it is stopped.

    Args:
        client: fenced, where there is more than one replica.
        factory: builds the provisioner.
        settings: what to serve, and how.
        metrics: told of everything that happens.
        elector: None where this process is the only one.
    """

    def __init__(
        self,
        client: KubeClient,
        factory: ProvisionerFactory,
        settings: ControllerSettings,
        metrics: Metrics,
        elector: LeaderElector | None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._elector = elector
        self._log = structlog.get_logger()
        lanes = LaneSettings(workers=settings.workers, lane_of=self._class_of, count=self._count_classes)
        self._queue = WorkQueue(clock=self._clock, pace=settings.pace, lanes=lanes)
        self._cluster = self._new_gate(self._say_cluster)
        self._rechecks: dict[str, Recheck] = {}
        self._stopping = threading.Event()
        self._random = Random()  # noqa: S311 - jitter, not a secret
        self._caches = Caches(
            claims=Cache(),
            buckets=Cache(group=claim_key_of),
            classes=Cache(),
            secrets=Cache() if settings.watch_secrets else Unwatched(),
            config_maps=Cache(),
        )
        self._installed = InstalledCrds(client, settings.features)
        sent = Sent(client.check_fence)
        admin_secrets = AdminSecrets(client, settings.admin_secret_namespaces)
        provisioner = factory(Services(read_secret=admin_secrets, now=settings.now, fence=sent.fence))
        identity = Identity(
            provisioner_name=settings.provisioner_name,
            version=settings.version,
            cluster_id=settings.cluster_id,
            allowed_config=settings.allowed_config,
            supported_config=provisioner.supported_config,
            installed=self._installed,
            now=settings.now,
            keeps_data=isinstance(provisioner, EmptyBucketDeleter),
        )
        store = Store(provisioner, metrics, client.check_fence, sent, self._new_gate)
        self._reconciler = Reconciler(client, self._caches, identity, store)
        self._informers = self._make_informers(client)
        self._threads: list[threading.Thread] = []
        metrics.watch_queue(self._queue.state)
        metrics.watch_claims(self._phases)

    def start(self) -> None:
        """Starts the threads and returns."""
        for informer in self._informers:
            self._start(informer.run, f"informer-{informer.resource.plural}")
        self._start(self._watch_crds, "crds")
        for number in range(self._settings.workers):
            self._start(self._work, f"worker-{number}")
        for name, depth, interval in (
            ("resync", Recheck.LOOK, self._settings.resync_interval),
            ("repair", Recheck.REPAIR, self._settings.repair_interval),
        ):
            if interval > 0:
                self._start(partial(self._recheck_all_again_and_again, depth, interval), name)

    def not_ready(self) -> str:
        """What it waits for before it can work; "" when it can."""
        waiting = sorted({one.resource.plural for one in self._informers if not one.synced.is_set()})
        return f"waiting for the first list of {', '.join(waiting)}" if waiting else ""

    def stop(self, seconds: float) -> bool:
        """Takes no new claim up, waits for those in work, and gives up after the time.

        Giving up is safe: what was begun is recorded in the cluster, and is gone on with after a restart.

        Returns:
            Whether all work ended in time.
        """
        deadline = time.monotonic() + seconds
        self._stopping.set()
        self._queue.close()
        self._installed.doubt()  # wakes who waits for that
        for informer in self._informers:
            informer.stop()
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    def _start(self, target: Any, name: str) -> None:
        # Daemons, so that a store's call that hangs for longer than anybody waits can't keep the process.
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _make_informers(self, client: KubeClient) -> list[Informer[Any]]:
        selector = f"{_api.PROVISIONER_LABEL}={provisioner_label(self._settings.provisioner_name)}"
        caches = self._caches
        informers: list[Informer[Any]] = [
            Informer(client, CLASSES, cache=caches.classes, on_change=self._on_class),
            Informer(client, BUCKETS, cache=caches.buckets, on_change=self._on_bucket),
        ]
        for namespace in self._settings.namespaces or ("",):
            informers += [
                Informer(client, CLAIMS, cache=caches.claims, on_change=self._on_claim, namespace=namespace),
            ]
            for resource, cache in ((SECRET_METADATA, caches.secrets), (CONFIG_MAP_METADATA, caches.config_maps)):
                if cache.is_watched:
                    owned = Informer(
                        client, resource, cache=cache, on_change=self._on_owned, namespace=namespace, selector=selector
                    )
                    informers.append(owned)
        return informers

    def _on_claim(self, old: _api.ObjectBucketClaim | None, new: _api.ObjectBucketClaim | None) -> None:
        if new is not None:
            if old is None or old.metadata.generation != new.metadata.generation:
                self._queue.forget(new.metadata.key)  # an edit deserves a quick answer, whatever failed before
            self._queue.add(new.metadata.key)
        elif old is not None:
            self._queue.forget(old.metadata.key)
            self._reconciler.forget(old.metadata.key, old.metadata.uid)

    def _on_bucket(self, old: _api.ObjectBucketObject | None, new: _api.ObjectBucketObject | None) -> None:
        bucket = new or old
        if bucket is None:
            return
        owner = owner_of(bucket, "")
        if owner.name and self._is_watched(owner.namespace):
            self._queue.add(claim_key_of(bucket))

    def _on_class(self, old: _api.StorageClass | None, new: _api.StorageClass | None) -> None:
        storage_class = new or old
        if storage_class is None or self._settings.provisioner_name not in _provisioners(old, new):
            return
        for claim in self._caches.claims.all():
            if claim.class_name == storage_class.metadata.name:
                self._queue.add(claim.metadata.key)

    def _on_owned(self, old: _api.Metadata | None, new: _api.Metadata | None) -> None:
        either = new or old
        if either is not None:
            self._queue.add(either.metadata.key)  # named as its claim; the claim's worker finds out whose it is

    def _is_watched(self, namespace: str) -> bool:
        return not self._settings.namespaces or namespace in self._settings.namespaces

    def _work(self) -> None:
        for informer in self._informers:
            while not informer.synced.wait(0.5):
                if self._stopping.is_set():
                    return
        while self._may_work():
            key = self._queue.get()
            if key is None:
                return
            try:
                self._work_on(key)
            finally:
                self._queue.done(key)

    def _may_work(self) -> bool:
        """Waits until this replica leads; False when it is stopped."""
        while not self._stopping.is_set():
            if self._elector is None or self._elector.acquired.wait(0.5):
                return not self._stopping.is_set()
        return False

    def _work_on(self, key: str) -> None:
        namespace, _, name = key.partition("/")
        with structlog.contextvars.bound_contextvars(namespace=namespace, name=name, reconcile=uuid.uuid4().hex[:8]):
            try:
                with self._cluster.passing(key) as call:
                    outcome = self._reconcile(key)
                    call.answer, call.delay = _answer_of_cluster(outcome), outcome.delay
            except Held as held:
                self._queue.add_after(key, held.seconds)
            else:
                self._note_store(key, outcome)
                self._plan_next(key, outcome)

    def _reconcile(self, key: str) -> Outcome:
        recheck = self._rechecks.pop(key, Recheck.NONE)
        started = time.monotonic()
        if self._elector is not None:
            self._elector.begin_work()
        outcome = self._reconciler.reconcile(key, recheck=recheck)
        self._metrics.reconciled(outcome.result, time.monotonic() - started)
        if recheck and outcome.retry in {Retry.SOON, Retry.SLOWLY}:
            self._rechecks[key] = max(recheck, self._rechecks.get(key, Recheck.NONE))  # it was not finished
        return outcome

    def _note_store(self, key: str, outcome: Outcome) -> None:
        """Gives a class whose store does not answer one worker, and takes that back when it does."""
        if outcome.store_answers is None:
            return
        storage_class = self._queue.note(key, answers=outcome.store_answers)
        if storage_class is not None:  # that a store is down, its gate says
            self._log.debug("changes the workers of a class", storage_class=storage_class, all=outcome.store_answers)

    def _plan_next(self, key: str, outcome: Outcome) -> None:
        at_least = min(outcome.delay, LONGEST_DELAY)
        if outcome.retry is Retry.SOON:
            backoff = IN_OUTAGE if outcome.result in _OUTAGES else SOON
            delay = self._queue.retry(key, backoff, at_least=at_least)
        elif outcome.retry is Retry.SLOWLY:
            delay = self._queue.retry(key, SLOWLY, at_least=at_least)
        else:
            self._queue.forget(key)
            if outcome.retry is Retry.NEXT_TURN:
                self._queue.add(key)
            elif outcome.look_in is not None:
                # In steps, since the queue's clock is another one than that by which credentials and buckets end.
                self._queue.add_after(key, min(max(outcome.look_in, _LOOK_FLOOR), _LOOK_STEP))
            return
        self._log.debug("comes again", result=outcome.result, seconds=round(delay, 1))

    def _watch_crds(self) -> None:
        while not self._stopping.is_set():
            self._installed.wait(self._settings.crd_interval)
            if self._stopping.is_set() or not self._installed.look():
                continue
            for claim in self._caches.claims.all():
                self._queue.add(claim.metadata.key)  # what was lost on it, or can be said on it again

    def _recheck_all_again_and_again(self, depth: Recheck, interval: float) -> None:
        while not self._stopping.wait(interval * (1 + self._random.random() * _RECHECK_SPREAD)):
            for claim in self._caches.claims.all():
                if claim.metadata.label(_api.PROVISIONER_LABEL) == provisioner_label(self._settings.provisioner_name):
                    key = claim.metadata.key
                    self._rechecks[key] = max(depth, self._rechecks.get(key, Recheck.NONE))
                    self._queue.add_after(key, self._random.random() * interval * _RECHECK_SPREAD)

    def _clock(self) -> float:
        return time.monotonic() * self._settings.pace

    def _new_gate(self, on_change: Callable[[bool], None]) -> Gate:
        return Gate(self._queue.add, on_change=on_change, clock=self._clock)

    def _say_cluster(self, is_down: bool) -> None:  # noqa: FBT001 - one bit of news
        if is_down:
            self._log.warning("the API server does not do what is asked: claims wait, and one of them asks")
        else:
            self._log.info("the API server answers again: claims go on")

    def _class_of(self, key: str) -> str:
        """The class whose store a claim's work waits for; "" where we serve none of that name."""
        claim = self._caches.claims.get(key)
        name = claim.class_name if claim is not None else ""
        return name if self._serves(name) else ""

    def _count_classes(self) -> int:
        return sum(one.provisioner == self._settings.provisioner_name for one in self._caches.classes.all())

    def _phases(self) -> Iterable[tuple[str, str]]:
        label = provisioner_label(self._settings.provisioner_name)
        for claim in self._caches.claims.all():
            if claim.metadata.label(_api.PROVISIONER_LABEL) == label or self._serves(claim.class_name):
                yield claim.seen.phase or _api.Phase.PENDING, claim.class_name

    def _serves(self, class_name: str) -> bool:
        storage_class = self._caches.classes.get(class_name)
        return storage_class is not None and storage_class.provisioner == self._settings.provisioner_name


def _answer_of_cluster(outcome: Outcome) -> Answer:
    if outcome.result == Reason.CLUSTER_UNAVAILABLE:
        return Answer.MISSING
    return Answer.UNKNOWN if outcome.result in _IDLE else Answer.GIVEN


def _provisioners(*classes: _api.StorageClass | None) -> set[str]:
    return {one.provisioner for one in classes if one is not None}
