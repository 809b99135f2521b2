"""Everything that is known about one claim at one moment: observed, then planned from. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import TYPE_CHECKING

from libbucket._api import Phase

if TYPE_CHECKING:
    from libbucket import _api
    from libbucket._kube.discovery import CrdFeatures
    from libbucket._reconcile.model.additional_config import SelectedConfig
    from libbucket._reconcile.model.intent import Intent, LastApplied
    from libbucket.types import Authentication


class ObjectState(Enum):
    """How the Secret or ConfigMap of a claim stands."""

    ABSENT = auto()
    INTACT = auto()
    """Ours, and as we wrote it."""
    CHANGED = auto()
    """Ours, and edited by somebody, or never finished."""
    FOREIGN = auto()
    """Of that name, and not ours: never touched."""


class Recheck(IntEnum):
    """How thoroughly a claim that seems unchanged is reconciled."""

    NONE = 0
    DRIFT_CHECK = 1
    """A cheap drift check, where the provisioner has one; a full reconciliation only if that finds drift."""
    FULL = 2
    """A full reconciliation: the whole verb."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything that a decision depends on.

    Attributes:
        key: `namespace/name` of the claim.
        provisioner_name: ours.
        label: ours, as the value of `bucket-provisioner`.
        features: what the installed CRDs keep of what is written.
        claim: None once it is gone.
        storage_class: None where it does not exist.
        bucket: the ObjectBucket that is proven to be this claim's.
        duplicate: another ObjectBucket that is proven to be this claim's: left by a replacement that was cut off.
        record: the intent recorded on it.
        observed: the result recorded on it.
        bucket_object_name: the name for its ObjectBucket; "" when both possible names belong to others.
        orphan: an ObjectBucket of ours that is being deleted, whose claim no longer exists.
        due: an ObjectBucket of ours that was released, whose claim no longer exists, and whose time has come.
        undone: the same, but somebody has called its purge off.
        purge_in: seconds until the next purge of a bucket that was this name's; None where none is planned.
        earlier_uid: of the claim of this name that had `bucket` before and is gone; "" where it is not given back.
        secret: state of the Secret.
        config_map: state of the ConfigMap.
        credentials: what the Secret holds, where it was read.
        has_objects: whether a claim that is being deleted and has no ObjectBucket still has its Secret or
            ConfigMap: those go before the ObjectBucket does.
        config: the claim's `additionalConfig`, sorted.
        fingerprint: of everything that the provisioner's answer depends on.
        recheck: how thoroughly to reconcile although nothing seems to have changed.
        needs_renewal: whether it is time to replace credentials that end by themselves.
        spec_is_edited: whether somebody has changed what we wrote to the spec of `bucket`.
        keeps_data: whether the provisioner can remove a bucket only if it is empty.
    """

    key: str
    provisioner_name: str
    label: str
    features: CrdFeatures
    claim: _api.ObjectBucketClaim | None
    storage_class: _api.StorageClass | None
    bucket: _api.ObjectBucketObject | None
    duplicate: _api.ObjectBucketObject | None
    intent: Intent | None
    last_applied: LastApplied | None
    bucket_object_name: str
    orphan: _api.ObjectBucketObject | None
    secret: ObjectState
    config_map: ObjectState
    credentials: Authentication | None
    has_objects: bool
    config: SelectedConfig
    fingerprint: str
    recheck: Recheck = Recheck.NONE
    needs_renewal: bool = False
    due: _api.ObjectBucketObject | None = None
    undone: _api.ObjectBucketObject | None = None
    purge_in: float | None = None
    earlier_uid: str = ""
    spec_is_edited: bool = False
    keeps_data: bool = True

    @property
    def parameters(self) -> dict[str, str]:
        """Of the class as it is now, or as it was when it was seen last."""
        if self.storage_class is not None and self.storage_class.provisioner == self.provisioner_name:
            return self.storage_class.parameters or {}
        return self.intent.parameters if self.intent else {}

    @property
    def is_greenfield(self) -> bool:
        """Whether the bucket is made for this claim: once recorded, that never changes."""
        return self.intent.greenfield if self.intent else not self.parameters.get("bucketName")

    @property
    def is_unchanged(self) -> bool:
        """Whether what was bound once is still what is asked for: what differs then was changed by somebody else."""
        return not self.is_asked_anew and not self.needs_renewal

    @property
    def is_asked_anew(self) -> bool:
        """Whether something is asked for that the store was not asked for before."""
        return self.last_applied is None or self.last_applied.fingerprint != self.fingerprint

    @property
    def is_bound(self) -> bool:
        """Whether it was bound once, by us or, before a takeover, by another program."""
        taken_over = self.bucket is not None and self.claim is not None and self.intent is None
        return self.last_applied is not None or (taken_over and self.claim.status.phase == Phase.BOUND)  # type: ignore[union-attr]

    @property
    def is_serving(self) -> bool:
        """Whether an application can work: bound once, and Secret and ConfigMap are in place."""
        return self.last_applied is not None and self.secret is self.config_map is ObjectState.INTACT
