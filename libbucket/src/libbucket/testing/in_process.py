"""Runs the core in this process, against a real API server: for tests that inspect their provisioner.

    store = MemoryStore()
    with core_in_process(cluster.kubeconfig, lambda services: MemoryProvisioner(services, store=store), settings):
        ...

The other way, a process of its own, is `libbucket.testing.provisioner_process`. Knows the core's parts; knows no
test.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from libbucket._clock import utc_now
from libbucket._controller.controller import Controller
from libbucket._controller.controller_settings import ControllerSettings
from libbucket._kube.client import KubeClient
from libbucket._kube.config import load_configuration
from libbucket._kube.discovery import CrdFeatures
from libbucket._kube.resources import NAMESPACES
from libbucket._kube.transport import no_leadership_check
from libbucket._metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from libbucket.provisioner import ProvisionerFactory

_STOP_SECONDS: Final = 10.0


@contextmanager
def core_in_process(  # noqa: PLR0913 - each is one thing that a test may be about
    kubeconfig: Path,
    factory: ProvisionerFactory,
    *,
    provisioner_name: str,
    version: str = "1",
    namespaces: tuple[str, ...] = (),
    admin_secret_namespaces: tuple[str, ...] = (),
    watch_secrets: bool = True,
    workers: int = 4,
    allowed_config: frozenset[str] = frozenset({"maxObjects", "maxSize"}),
    resync_interval: float = 0.0,
    repair_interval: float = 0.0,
    now: Callable[[], datetime] = utc_now,
    features: CrdFeatures | None = None,
    crd_interval: float = 60.0,
    check_leadership: Callable[[], None] = no_leadership_check,
    pace: float = 1.0,
) -> Iterator[Controller]:
    """A controller that serves the claims of `provisioner_name` until the block ends.

    Args:
        kubeconfig: of the cluster.
        factory: builds the provisioner.
        provisioner_name: which classes are served; give each test its own.
        version: of the provisioner; another version reconciles every claim in full once.
        namespaces: to watch; empty for all.
        admin_secret_namespaces: that a class may name in secretNamespace; empty for all.
        watch_secrets: whether Secrets are watched.
        workers: maximum number of concurrent reconciles.
        allowed_config: `additionalConfig` keys that the operator allows.
        resync_interval: seconds between two drift checks; 0 for never.
        repair_interval: seconds between two full reconciliations of a claim; 0 for never.
        now: the clock, for credentials that end.
        crd_interval: seconds between two checks whether the CRDs were replaced.
        features: what the installed CRDs keep; all, unless it is given.
        check_leadership: called before each write and each request to the store; raise `LeadershipLost` in it to stop
            the core there.
        pace: how fast time goes by for delays: 60 makes a minute of a second.
    """
    client = KubeClient(load_configuration(kubeconfig=str(kubeconfig)), check_leadership=check_leadership)
    settings = ControllerSettings(
        provisioner_name=provisioner_name,
        version=version,
        cluster_id=client.read(NAMESPACES, "kube-system").metadata.uid,
        namespaces=namespaces,
        admin_secret_namespaces=admin_secret_namespaces,
        watch_secrets=watch_secrets,
        workers=workers,
        allowed_config=allowed_config,
        resync_interval=resync_interval,
        repair_interval=repair_interval,
        features=features or CrdFeatures(),
        crd_interval=crd_interval,
        now=now,
        pace=pace,
    )
    controller = Controller(client, factory, settings, Metrics(), None)
    controller.start()
    try:
        yield controller
    finally:
        controller.stop(_STOP_SECONDS)
        client.close()
