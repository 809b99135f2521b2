"""Controllers with the settings that tests and benchmarks share: one replica's, and nothing that happens by itself.

Imports nothing but libbucket: the benchmark of the memory loads it in a process of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libbucket._controller.controller import Controller
from libbucket._controller.controller_settings import ControllerSettings
from libbucket._kube.discovery import CrdFeatures
from libbucket._metrics import Metrics

if TYPE_CHECKING:
    from libbucket._controller.election import Election
    from libbucket._kube.client import KubeClient
    from libbucket.provisioner import ProvisionerFactory


def a_controller(
    client: KubeClient,
    factory: ProvisionerFactory,
    *,
    provisioner_name: str,
    workers: int,
    version: str = "1",
    elector: Election | None = None,
) -> Controller:
    """A controller that was not started, without drift checks and repairs.

    Args:
        client: of its API server.
        factory: creates the provisioner.
        provisioner_name: which StorageClasses are served.
        workers: maximum number of concurrent reconciles.
        version: of the provisioner's distribution.
        elector: None for the only replica.
    """
    settings = ControllerSettings(
        provisioner_name=provisioner_name,
        version=version,
        cluster_id="cluster-1",
        namespaces=(),
        workers=workers,
        allowed_config=frozenset(),
        resync_interval=0,
        repair_interval=0,
        features=CrdFeatures(),
    )
    return Controller(client, factory, settings, Metrics(), elector)
