"""What every recipe of applying works with. Built by the reconciler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from libbucket._kube.client import KubeClient
    from libbucket._reconcile.apply.provisioner_calls import ProvisionerCalls
    from libbucket._reconcile.model.context import Caches, Identity
    from libbucket._reconcile.status.pending_status import PendingStatus
    from libbucket._reconcile.status.reporter import Reporter


@dataclass(frozen=True, kw_only=True)
class ApplyContext:
    """The collaborators of `Binder` and `Releaser`.

    Attributes:
        client: writes to the API server.
        caches: updated after each write.
        identity: what this process serves.
        store: calls the provisioner.
        reporter: writes status and Events.
        pending: publishes that a claim is Pending while a call takes long.
    """

    client: KubeClient
    caches: Caches
    identity: Identity
    store: ProvisionerCalls
    reporter: Reporter
    pending: PendingStatus
