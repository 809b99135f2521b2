"""The settings of a controller: built by the entry point from the command line, and by tests. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from libbucket._clock import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from libbucket._kube.discovery import CrdFeatures


@dataclass(frozen=True, kw_only=True)
class ControllerSettings:
    """The settings of a controller.

    Attributes:
        provisioner_name: which StorageClasses are served.
        version: of the provisioner's distribution.
        cluster_id: uid of the namespace kube-system.
        namespaces: to watch; empty for all.
        admin_secret_namespaces: that a class may name in secretNamespace; empty for all.
        watch_secrets: whether Secrets are watched; if not, an edit is found by the drift check only.
        workers: maximum number of concurrent reconciles.
        allowed_config: `additionalConfig` keys that the operator allows.
        resync_interval: seconds between two drift checks; 0 for never.
        repair_interval: seconds between two full reconciliations; 0 for never.
        features: of the installed CRDs.
        crd_interval: seconds between two checks whether the CRDs were replaced.
        now: the clock, for credentials that expire and for purges; tests set it.
        pace: speed of time for delays; more than 1 in tests.
        flags: of this provisioner alone, for `Services.flags`.
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
    admin_secret_namespaces: tuple[str, ...] = ()
    watch_secrets: bool = True
    crd_interval: float = 60.0
    now: Callable[[], datetime] = utc_now
    pace: float = 1.0
    flags: Mapping[str, str] = field(default_factory=dict)
