"""Wires the parts: informers fill the caches and the queue, workers take keys from it, timers schedule drift checks.

Between the entry point, which starts and stops it, and the reconciler, which does the work. Decides nothing about a
claim: which key a change concerns is in `event_router`, when a key is requeued in `requeue_policy`.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from random import Random
from typing import TYPE_CHECKING, Any, Final

import structlog

from libbucket import _api
from libbucket._circuit import Settings
from libbucket._circuit_breaker import CircuitBreaker, ProbedCircuitBreaker
from libbucket._concurrency import LimitSettings
from libbucket._controller.caches import new_caches
from libbucket._controller.claim_states import claim_states
from libbucket._controller.event_router import EventRouter
from libbucket._controller.priorities import priority_of
from libbucket._controller.requeue_policy import RequeuePolicy
from libbucket._controller.services import AdminSecrets, request_hook
from libbucket._controller.threads import Threads
from libbucket._controller.worker_pool import WorkerPool
from libbucket._controller.workers import Workers
from libbucket._kube.discovery import InstalledCrds
from libbucket._kube.informer import Informer
from libbucket._kube.resources import BUCKETS, CLAIMS, CLASSES, CONFIG_MAP_METADATA, SECRET_METADATA
from libbucket._queue import WorkQueue
from libbucket._reconcile.apply.provisioner_calls import ProvisionerCalls
from libbucket._reconcile.apply.request_tracker import RequestTracker
from libbucket._reconcile.model.context import Identity
from libbucket._reconcile.model.names import provisioner_label
from libbucket._reconcile.model.snapshot import Recheck
from libbucket._reconcile.reconciler import Collaborators, Reconciler
from libbucket._reconcile.status.events import DRAIN_SECONDS, DirectEvents, EventQueue
from libbucket._reconcile.status.pending_status import serve_all
from libbucket.provisioner import EmptyBucketDeleter, Services

if TYPE_CHECKING:
    from libbucket._controller.controller_settings import ControllerSettings
    from libbucket._controller.election import Election, HasKey
    from libbucket._kube.client import KubeClient
    from libbucket._metrics import Metrics
    from libbucket._reconcile.apply.provisioner_calls import OnChange
    from libbucket.provisioner import Provisioner, ProvisionerFactory

_STALE_SECONDS: Final = 600.0
"""Without a list, an event or a bookmark for so long, a cache is stale: the server sends a bookmark every minute."""

_SYNC_POLL_SECONDS: Final = 0.5
_FIRST_CALLS: Final = 4
"""Reconciles of a class at once, before it is known what its store takes."""


class Controller:
    """Serves the claims of one provisioner until it is stopped.

    Args:
        client: fenced, if there is more than one replica.
        factory: creates the provisioner.
        settings: what to serve, and how.
        metrics: of this process.
        elector: None if this process is the only replica.
    """

    def __init__(
        self,
        client: KubeClient,
        factory: ProvisionerFactory,
        settings: ControllerSettings,
        metrics: Metrics,
        elector: Election | None,
    ) -> None:
        self._settings = settings
        self._elector = elector
        self._log = structlog.get_logger()
        self._random = Random()  # noqa: S311 - jitter, not a secret
        self._stopping = threading.Event()
        self._lists_arrived = False
        self._begun: SimpleQueue[HasKey] = SimpleQueue()
        self._caches = new_caches(watch_secrets=settings.watch_secrets)
        self._installed = InstalledCrds(client, settings.features)
        self._queue = self._make_queue()
        self._policy = RequeuePolicy(self._queue)
        self._threads = Threads(metrics.thread_failed)
        self._event_thread = Threads(metrics.thread_failed)
        # Events are written beside the work, and say what has happened: they need no term.
        self._events = EventQueue(DirectEvents(client.fenced(elector.check_renewal) if elector else client))
        requests = RequestTracker()
        provisioner = self._make_provisioner(client, factory, requests)
        cluster = ProbedCircuitBreaker(self._breaker_settings(self._log_cluster), client.answers)
        others = Collaborators(
            client=client,
            caches=self._caches,
            identity=self._identity(provisioner),
            store=ProvisionerCalls(provisioner, metrics, client.check_leadership, requests, self._new_breaker),
            cluster=cluster,
            events=self._events,
            work=elector.work if elector else serve_all,
        )
        self._reconciler = Reconciler(others)
        self._router = self._make_router(others.identity)
        self._informers = self._make_informers(client)
        self._workers = self._make_workers(cluster, metrics)
        if elector is not None:
            elector.subscribe(on_acquired=self._begun.put, on_lost=self._end_term)
        metrics.watch_queue(self._queue.state)
        metrics.watch_claims(lambda: claim_states(self._caches, settings.provisioner_name))
        metrics.watch_orphans(self._reconciler.count_unclaimed)

    def start(self) -> None:
        """Starts the threads and returns."""
        for informer in self._informers:
            self._threads.start(informer.run, f"informer-{informer.resource.plural}")
        self._event_thread.start(self._events.run, "events")
        self._threads.start(self._reconciler.pending.run, "pending-status")
        self._threads.start(self._begin_terms, "initial-list")
        self._threads.start(self._watch_crds, "crds")
        self._workers.start()
        for name, depth, interval in (
            ("resync", Recheck.DRIFT_CHECK, self._settings.resync_interval),
            ("repair", Recheck.FULL, self._settings.repair_interval),
        ):
            if interval > 0:
                self._threads.start(partial(self._recheck_all, depth, interval), name)

    def not_ready(self) -> str:
        """Why it is not ready; "" if it is."""
        waiting = sorted({one.resource.plural for one in self._informers if not one.synced.is_set()})
        if waiting:
            return f"waiting for the first list of {', '.join(waiting)}"
        now = time.monotonic()
        stale = sorted({one.resource.plural for one in self._informers if now - one.last_contact > _STALE_SECONDS})
        return f"no event from {', '.join(stale)} for {_STALE_SECONDS / 60:.0f} minutes" if stale else ""

    def not_alive(self) -> str:
        """Why it is not alive; "" if it is."""
        return self._threads.not_alive() or self._event_thread.not_alive()

    def stop(self, seconds: float) -> bool:
        """Starts no new reconcile, and waits for the running ones, up to a time limit.

        The limit is safe: the intent is recorded in the cluster, and an interrupted reconcile resumes after a restart.

        Returns:
            Whether all reconciles ended in time.
        """
        self._stopping.set()
        self._threads.stop()
        self._workers.stop()
        self._reconciler.pending.stop()
        self._installed.doubt()  # wakes threads that wait for it
        for informer in self._informers:
            informer.stop()
        have_ended = self._threads.join(seconds)
        self._event_thread.stop()
        self._events.stop()  # after the workers, whose last Events it writes
        return self._event_thread.join(DRAIN_SECONDS) and have_ended

    def _make_queue(self) -> WorkQueue:
        settings, caches = self._settings, self._caches
        limits = LimitSettings(
            workers=settings.workers,
            first=_FIRST_CALLS,
            class_of=self._class_of,
            count=partial(caches.classes.count, settings.provisioner_name),
        )
        return WorkQueue(
            clock=self._clock,
            pace=settings.pace,
            limits=limits,
            priority_of=lambda key: priority_of(caches.claim_summaries.get(key)),
        )

    def _make_provisioner(
        self, client: KubeClient, factory: ProvisionerFactory, requests: RequestTracker
    ) -> Provisioner:
        settings = self._settings
        return factory(
            Services(
                read_secret=AdminSecrets(client, settings.admin_secret_namespaces),
                now=settings.now,
                before_request=request_hook(client.check_leadership, requests),
                flags=settings.flags,
            )
        )

    def _make_router(self, identity: Identity) -> EventRouter:
        return EventRouter(
            self._queue,
            self._caches,
            identity,
            expect=self._reconciler.pending.expect,
            forget=self._reconciler.forget,
            leads=self._works,
        )

    def _make_workers(self, cluster: ProbedCircuitBreaker, metrics: Metrics) -> Workers:
        return Workers(
            pool=WorkerPool(self._threads.start, self._settings.workers),
            queue=self._queue,
            reconciler=self._reconciler,
            policy=self._policy,
            cluster=cluster,
            metrics=metrics,
            elector=self._elector,
            are_synced=self._are_synced,
        )

    def _identity(self, provisioner: Provisioner) -> Identity:
        settings = self._settings
        return Identity(
            provisioner_name=settings.provisioner_name,
            version=settings.version,
            cluster_id=settings.cluster_id,
            allowed_config=settings.allowed_config,
            supported_config=provisioner.supported_config,
            installed=self._installed,
            now=settings.now,
            keeps_data=isinstance(provisioner, EmptyBucketDeleter),
            namespaces=settings.namespaces,
        )

    def _make_informers(self, client: KubeClient) -> list[Informer[Any]]:
        selector = f"{_api.PROVISIONER_LABEL}={provisioner_label(self._settings.provisioner_name)}"
        caches, router = self._caches, self._router
        informers: list[Informer[Any]] = [
            Informer(client, CLASSES, cache=caches.classes, on_change=router.on_class),
            Informer(client, BUCKETS, cache=caches.buckets, on_change=router.on_bucket),
        ]
        for namespace in self._settings.namespaces or ("",):
            informers.append(
                Informer(client, CLAIMS, cache=caches.claims, on_change=router.on_claim, namespace=namespace)
            )
            informers += [
                Informer(client, kind, cache=cache, on_change=router.on_owned, namespace=namespace, selector=selector)
                for kind, cache in ((SECRET_METADATA, caches.secrets), (CONFIG_MAP_METADATA, caches.config_maps))
                if cache.is_watched
            ]
        return informers

    def _are_synced(self, seconds: float) -> bool:
        """Whether every cache is filled; waits up to a number of seconds for each."""
        return all(one.synced.wait(seconds) for one in self._informers)

    def _leads(self, key: str) -> bool:
        return self._elector is None or self._elector.leads(key)

    def _works(self, key: str) -> bool:
        """Whether changes are queued. In a standby, and before all caches are filled, they only update the caches."""
        return self._leads(key) and self._has_lists()

    def _has_lists(self) -> bool:
        # Asked for every change: a list that has arrived stays.
        self._lists_arrived = self._lists_arrived or all(one.synced.is_set() for one in self._informers)
        return self._lists_arrived

    def _begin_terms(self) -> None:
        """Queues all keys that are served, and then those of each term that begins.

        In a thread of its own: with many claims it takes longer than a renewal of leadership may.
        """
        while not self._are_synced(_SYNC_POLL_SECONDS):
            if self._stopping.is_set():
                return
        self._router.enqueue_all(self._leads)
        while not self._stopping.is_set():
            with suppress(Empty):
                self._router.enqueue_all(self._begun.get(timeout=_SYNC_POLL_SECONDS))

    def _end_term(self, has_key: HasKey) -> None:
        self._policy.clear(has_key)
        if self._elector is not None and not self._elector.acquired.is_set():
            self._queue.clear()  # else workers drop the keys, one by one
        self._reconciler.leadership_lost(has_key)

    def _watch_crds(self) -> None:
        while not self._stopping.is_set():
            self._installed.wait(self._settings.crd_interval)
            if not self._stopping.is_set() and self._installed.has_changed():
                self._router.enqueue_all()  # conditions that were pruned, or are kept now

    def _recheck_all(self, depth: Recheck, interval: float) -> None:
        """Schedules a recheck of every claim that is served, spread over the interval."""
        label = provisioner_label(self._settings.provisioner_name)
        while not self._stopping.wait(interval):
            for key, claim in self._caches.claim_summaries.items():
                # A standby checks nothing, and must not begin its term with a check of every claim.
                if claim.label == label and self._works(key):
                    self._policy.schedule_recheck(key, depth, self._random.random() * interval)

    def _clock(self) -> float:
        return time.monotonic() * self._settings.pace

    def _breaker_settings(self, on_change: OnChange) -> Settings:
        return Settings(wake=self._queue.add_after, on_change=on_change, clock=self._clock, random=self._random)

    def _new_breaker(self, on_change: OnChange) -> CircuitBreaker:
        return CircuitBreaker(self._breaker_settings(on_change))

    def _log_cluster(self, is_open: bool, failures: tuple[str, ...]) -> None:  # noqa: FBT001 - one bit of news
        if is_open:
            self._log.warning("API server unavailable: reconciles paused, probing it", last_answers=list(failures))
        else:
            self._log.info("API server answers again: reconciles resume")

    def _class_of(self, key: str) -> str:
        """The class of a claim, for its concurrency limit; "" if it is not served."""
        claim = self._caches.claim_summaries.get(key)
        name = claim.storage_class if claim is not None else ""
        return name if self._caches.serves(self._settings.provisioner_name, name) else ""
