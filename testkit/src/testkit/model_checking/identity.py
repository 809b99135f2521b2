"""What every replica of the model serves, and with which settings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

from libbucket._kube.discovery import CrdFeatures, InstalledCrds
from libbucket._reconcile.model import names
from libbucket._reconcile.model.context import Identity
from libbucket.testing.memory import PROVISIONER_NAME

if TYPE_CHECKING:
    from libbucket._kube.client import KubeClient
    from libbucket.provisioner import Provisioner

PROVISIONER: Final = PROVISIONER_NAME
LABEL: Final = names.provisioner_label(PROVISIONER)


def identity(client: KubeClient | None, provisioner: Provisioner) -> Identity:
    """Of a replica with this provisioner."""
    return Identity(
        provisioner_name=PROVISIONER,
        version="1",
        cluster_id="cluster-1",
        allowed_config=frozenset({"maxObjects"}),
        supported_config=provisioner.supported_config,
        installed=InstalledCrds(cast("KubeClient", client), CrdFeatures()),
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )
