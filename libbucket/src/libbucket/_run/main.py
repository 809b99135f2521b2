"""The life cycle of the process: settings, log, cluster, controller, signal, shutdown.

A problem that an operator can fix ends in one line and an exit code; only an internal error logs a traceback.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import uuid
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from libbucket._controller.controller import Controller
from libbucket._controller.controller_settings import ControllerSettings
from libbucket._controller.election import LeaseSettings
from libbucket._controller.leader import LeaderElector
from libbucket._controller.services import AdminSecrets
from libbucket._controller.shard_elector import ShardElector
from libbucket._controller.shards import SHARDS
from libbucket._controller.threads import Threads
from libbucket._kube.client import KubeClient
from libbucket._kube.config import Access
from libbucket._kube.errors import KubeError
from libbucket._kube.lease import lease_name
from libbucket._metrics import Metrics
from libbucket._run.cli import Answered, UsageError, parse_command_line
from libbucket._run.http import HealthServer
from libbucket._run.logging import logging_to
from libbucket._run.preflight import ClusterFacts, check_cluster
from libbucket._run.problems import StartFailed
from libbucket._run.signals import Interrupted, Signals, caught_signals
from libbucket._run.store_orphans import find_store_orphans
from libbucket.errors import ProvisionerError
from libbucket.provisioner import Services

if TYPE_CHECKING:
    from collections.abc import Sequence

    from libbucket._controller.election import Election, HasKey
    from libbucket._run.settings import Settings
    from libbucket.provisioner import Flag, Provisioner, ProvisionerFactory

STOPPED: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2

LEASE_SECONDS: Final = 5.0  # half of the renew deadline: leaves time for a retry after a dead connection
STOP_SECONDS: Final = 25.0  # Kubernetes kills after 30
_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_ROOT: Final = 0


@dataclass(frozen=True, kw_only=True)
class Program:
    """The arguments of a provisioner's entry point."""

    factory: ProvisionerFactory
    name: str
    provisioner_name: str
    version: str
    flags: Sequence[Flag] = ()


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """The parts of the process, before they are started."""

    client: KubeClient
    metrics: Metrics
    elector: Election | None
    controller: Controller


def main(program: Program, argv: Sequence[str] | None) -> int:
    """Runs a provisioner until a signal stops it; returns the exit code."""
    try:
        settings = parse_command_line(
            sys.argv[1:] if argv is None else argv,
            os.environ,
            program=program.name,
            provisioner_name=program.provisioner_name,
            version=program.version,
            flags=program.flags,
        )
    except Answered as answer:
        sys.stdout.write(str(answer))
        return STOPPED
    except UsageError as error:
        sys.stderr.write(f"{program.name}: {error}; see --help\n")
        return WRONG_USAGE
    with logging_to(sys.stderr, log_format=settings.log_format, verbosity=settings.verbosity):
        return _run(program, settings)


def _run(program: Program, settings: Settings) -> int:
    log = structlog.get_logger()
    log.info("starting", program=program.name, version=program.version, provisioner=settings.provisioner_name)
    try:
        with caught_signals() as signals:
            if settings.list_orphans:
                return signals.run(lambda: _list_orphans(program, settings))
            _live(program, settings, signals)
    except (StartFailed, KubeError) as error:
        log.error(_one_line(str(error)))  # noqa: TRY400 - an operator can fix it; a traceback only hides that
        return FAILED
    except Interrupted:
        log.info("interrupted during startup")
    except Exception:
        log.exception("internal error of this program")
        return FAILED
    return STOPPED


def _list_orphans(program: Program, settings: Settings) -> int:
    access = Access(kubeconfig=settings.kubeconfig, master=settings.master)
    with closing(KubeClient(access.load(), access=access)) as client:
        services = Services(read_secret=AdminSecrets(client, settings.admin_secret_namespaces), flags=settings.flags)
        found = find_store_orphans(client, _made(program, services), settings)
    for orphan in found.orphans:
        sys.stdout.write(f"{json.dumps(asdict(orphan))}\n" if settings.log_format == "json" else f"{orphan}\n")
    for problem in found.problems:
        structlog.get_logger().error(problem)
    return FAILED if found.problems else STOPPED


def _made(program: Program, services: Services) -> Provisioner:
    try:
        return program.factory(services)
    except ProvisionerError as error:
        raise StartFailed(error.message) from error
    except Exception as error:
        structlog.get_logger().debug("the provisioner cannot be created", exc_info=True)
        raise StartFailed(f"the provisioner cannot be created: {type(error).__name__}: {error}") from error


def _live(program: Program, settings: Settings, signals: Signals) -> None:
    with ExitStack() as stack:
        # In another thread, so that a signal does not wait for an API server that does not answer.
        parts = signals.run(lambda: _build(program, settings))
        stack.callback(parts.client.close)
        election = Threads(parts.metrics.thread_failed)
        if settings.bind_address is not None:
            server = HealthServer(
                settings.bind_address,
                parts.metrics.registry,
                not_ready=parts.controller.not_ready,
                not_alive=lambda: parts.controller.not_alive() or election.not_alive(),
            )
            stack.callback(server.stop)
            server.start()
        parts.controller.start()
        _warn_of_root()
        if parts.elector is not None:
            election.start(parts.elector.run, "leader-election")
        signals.wait()
        _stop(parts, signals)


def _warn_of_root() -> None:
    # After the start, so that a failed start logs a single line.
    if os.geteuid() == _ROOT:
        structlog.get_logger().warning("running as root is not required: set runAsUser and runAsNonRoot")


def _stop(parts: _Parts, signals: Signals) -> None:
    log = structlog.get_logger()
    log.info("shutting down: no new reconciles are started", at_most_seconds=STOP_SECONDS)
    try:
        in_time = signals.run(lambda: parts.controller.stop(STOP_SECONDS))
    except Interrupted:
        in_time = False
    if parts.elector is not None:
        # The lease is kept while a call to the store may still be running, so that no other replica interferes.
        parts.elector.stop(release=in_time)
    if in_time:
        log.info("stopped")
    else:
        log.warning("stopped before all reconciles finished; they resume at the next start")


def _build(program: Program, settings: Settings) -> _Parts:
    access = Access(kubeconfig=settings.kubeconfig, master=settings.master)
    client = KubeClient(access.load(), access=access, pool_size=settings.workers + 8)
    lease = _lease(settings)
    facts = check_cluster(
        client,
        namespaces=settings.namespaces,
        watch_secrets=settings.watch_secrets,
        lease=(lease.namespace, lease.name) if lease else None,
    )
    client.stay_at(facts.cluster_id)
    metrics = Metrics()
    elector = _elector(client, lease, metrics, sharding=settings.sharding)
    fenced = client.fenced(elector.check_leadership) if elector else client
    wiring = _wiring(program, settings, facts)
    try:
        controller = Controller(fenced, program.factory, wiring, metrics, elector)
    except ProvisionerError as error:
        raise StartFailed(error.message) from error
    except Exception as error:
        structlog.get_logger().debug("the provisioner cannot be created", exc_info=True)
        raise StartFailed(f"the provisioner cannot be created: {type(error).__name__}: {error}") from error
    if isinstance(elector, ShardElector):
        elector.join_when(lambda: not controller.not_ready())
    return _Parts(client=client, metrics=metrics, elector=elector, controller=controller)


def _lease(settings: Settings) -> LeaseSettings | None:
    if not settings.leader_elect:
        return None
    return LeaseSettings(
        name=lease_name(settings.provisioner_name),
        namespace=settings.leader_elect_namespace or _pod_namespace(),
        identity=f"{socket.gethostname()}_{uuid.uuid4()}",
    )


def _pod_namespace() -> str:
    try:
        return _POD_NAMESPACE.read_text().strip() or "default"
    except OSError:
        return "default"


def _elector(client: KubeClient, lease: LeaseSettings | None, metrics: Metrics, *, sharding: bool) -> Election | None:
    metrics.leader(SHARDS if lease is None else 0)
    if lease is None:
        return None
    kind = ShardElector if sharding else LeaderElector
    elector = kind(client.impatient(LEASE_SECONDS), lease, on_failure=metrics.thread_failed)

    def show(_has_key: HasKey) -> None:
        metrics.leader(elector.shards)

    elector.subscribe(on_acquired=show, on_lost=show)
    return elector


def _wiring(program: Program, settings: Settings, facts: ClusterFacts) -> ControllerSettings:
    return ControllerSettings(
        provisioner_name=settings.provisioner_name,
        version=program.version,
        cluster_id=facts.cluster_id,
        namespaces=settings.namespaces,
        admin_secret_namespaces=settings.admin_secret_namespaces,
        watch_secrets=settings.watch_secrets,
        workers=settings.workers,
        allowed_config=settings.allowed_config,
        resync_interval=settings.resync_interval,
        repair_interval=settings.repair_interval,
        features=facts.features,
        flags=settings.flags,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
