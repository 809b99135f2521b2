"""What is known about one claim: plain values, read by `reader`, explained by `explain`. No I/O.

Has no field that could hold a value of a Secret or ConfigMap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from libbucket import _api
    from libbucket._cli.pods import PodFact


@dataclass(frozen=True, kw_only=True)
class EventFact:
    """The last occurrence of an Event about the claim."""

    reason: str
    message: str
    time: str


@dataclass(frozen=True, kw_only=True)
class LeaseFact:
    """The Lease of a provisioner.

    Attributes:
        key: its namespace and name.
        holder: the leader; "" if there is none.
        is_current: whether it was renewed within its duration, by this machine's clock.
    """

    key: str
    holder: str
    is_current: bool


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One reading of the cluster.

    Attributes:
        claim: the claim.
        is_namespace_terminating: whether the namespace is being deleted.
        storage_class: None if it does not exist, or could not be read.
        secret: metadata of the Secret with the claim's name.
        config_map: metadata of the ConfigMap with the claim's name.
        events: about the claim, the newest first.
        leases: of libbucket's provisioners, by name of the Lease.
        lease_name: that the provisioner of the claim's class uses.
        pods: that the chart labels as provisioners: of all namespaces, or of the Lease's if others may not be read.
        denied: what RBAC does not let the service accounts of the provisioner's pods do for this claim.
        dead_webhooks: webhooks that must be asked about the claim or its objects, and have no ready endpoint.
        full_quotas: exhausted ResourceQuotas of the namespace, `name (resource: used/hard)`.
        lost_fields: what the installed CRDs do not keep.
        unread: what could not be read, with the reason.
    """

    claim: _api.ObjectBucketClaim
    is_namespace_terminating: bool = False
    storage_class: _api.StorageClass | None = None
    secret: _api.Metadata | None = None
    config_map: _api.Metadata | None = None
    events: tuple[EventFact, ...] = ()
    leases: tuple[LeaseFact, ...] = ()
    lease_name: str = ""
    pods: tuple[PodFact, ...] = ()
    denied: tuple[str, ...] = ()
    dead_webhooks: tuple[str, ...] = ()
    full_quotas: tuple[str, ...] = ()
    lost_fields: tuple[str, ...] = ()
    unread: dict[str, str] | None = None

    def could_read(self, what: str) -> bool:
        """Whether reading this was allowed and answered."""
        return what not in (self.unread or {})

    @property
    def own_leases(self) -> tuple[LeaseFact, ...]:
        """The Leases of the provisioner of the claim's class."""
        return tuple(one for one in self.leases if one.key.rpartition("/")[2] == self.lease_name)

    @property
    def replicas(self) -> tuple[PodFact, ...]:
        """The pods beside the Lease of the provisioner of the claim's class."""
        places = {one.key.rpartition("/")[0] for one in self.own_leases}
        return tuple(one for one in self.pods if one.key.partition("/")[0] in places)
