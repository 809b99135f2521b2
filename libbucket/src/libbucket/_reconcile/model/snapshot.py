"""Everything that is known about one claim at one moment: observed, then planned from. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto
from typing import TYPE_CHECKING

from libbucket._api import Phase
from libbucket._reconcile.model.belonging import served_by_others
from libbucket._reconcile.model.claim_ref import claim_ref_of

if TYPE_CHECKING:
    from libbucket import _api
    from libbucket._kube.discovery import CrdFeatures
    from libbucket._reconcile.model.additional_config import SelectedConfig
    from libbucket._reconcile.model.context import Identity
    from libbucket._reconcile.model.intent import Intent, LastApplied
    from libbucket.types import Authentication


class ObjectState(Enum):
    """The state of the Secret or ConfigMap of a claim."""

    ABSENT = auto()
    INTACT = auto()
    """Owned by the claim, and as it was written."""
    CHANGED = auto()
    """Owned by the claim, and edited out of band, or never completed."""
    FOREIGN = auto()
    """It has that name, and the claim does not own it: never written to."""


class Recheck(IntEnum):
    """How thoroughly a claim that seems unchanged is reconciled."""

    NONE = 0
    DRIFT_CHECK = 1
    """A cheap drift check, where the provisioner has one; a full reconciliation only if that finds drift."""
    FULL = 2
    """A full reconciliation: the whole verb."""


@dataclass(frozen=True, kw_only=True)
class Orphans:
    """The ObjectBuckets of earlier claims of one name: each needs a different action, or none yet.

    Attributes:
        unreleased: being deleted, or never more than an intent, or its claim lost its finalizer by force: the bucket
            is to be revoked or deleted.
        reclaimable: the claim that has the name now may have it; of several the one that was released last.
        due: its purge is due.
        cancelled: its purge was cancelled.
        next_purge_in: seconds until the next purge; None if none is planned.
    """

    unreleased: _api.ObjectBucketObject | None = None
    reclaimable: _api.ObjectBucketObject | None = None
    due: _api.ObjectBucketObject | None = None
    cancelled: _api.ObjectBucketObject | None = None
    next_purge_in: float | None = None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything that a plan depends on.

    Attributes:
        key: `namespace/name` of the claim.
        identity: what this process serves.
        features: what the installed CRDs kept when this was observed.
        claim: None once it is gone.
        storage_class: None if it does not exist.
        bucket: the ObjectBucket that is proven to be this claim's, or that it reclaims.
        duplicate: another ObjectBucket that is proven to be this claim's: left by an interrupted replacement.
        orphans: ObjectBuckets of earlier claims of this name.
        living_owner: `namespace/name` of a claim that exists and that the intent names as an earlier owner of the
            bucket; "" if there is none.
        intent: recorded on `bucket`.
        last_applied: recorded on `bucket` for this claim; None if it was never bound.
        bucket_object_name: the name for its ObjectBucket; "" if all possible names belong to others.
        secret: state of the Secret.
        config_map: state of the ConfigMap.
        credentials: what the Secret holds, if it was read.
        has_objects: whether a claim that is being deleted and has no ObjectBucket still has its Secret or
            ConfigMap: those are deleted before the ObjectBucket.
        config: the claim's `additionalConfig`, sorted.
        fingerprint: of everything that the provisioner's answer depends on.
        recheck: how thoroughly to reconcile although nothing seems to have changed.
        needs_renewal: whether credentials that expire are due for rotation.
        spec_is_edited: whether the spec of `bucket` was edited out of band.
    """

    key: str
    identity: Identity
    features: CrdFeatures
    claim: _api.ObjectBucketClaim | None
    storage_class: _api.StorageClass | None
    bucket: _api.ObjectBucketObject | None
    duplicate: _api.ObjectBucketObject | None
    intent: Intent | None
    last_applied: LastApplied | None
    bucket_object_name: str
    config: SelectedConfig
    fingerprint: str
    orphans: Orphans = field(default_factory=Orphans)
    living_owner: str = ""
    secret: ObjectState = ObjectState.ABSENT
    config_map: ObjectState = ObjectState.ABSENT
    credentials: Authentication | None = None
    has_objects: bool = False
    recheck: Recheck = Recheck.NONE
    needs_renewal: bool = False
    spec_is_edited: bool = False

    @property
    def earlier_uid(self) -> str:
        """The uid of the earlier claim of this name whose bucket this claim reclaims; "" if it reclaims none."""
        reclaimed = self.orphans.reclaimable
        if reclaimed is None or self.bucket is None or reclaimed.metadata.uid != self.bucket.metadata.uid:
            return ""
        return claim_ref_of(reclaimed).uid

    @property
    def served_by_others(self) -> str:
        """Why another provisioner serves the claim; "" if this one does, or there is no claim."""
        if self.claim is None:
            return ""
        return served_by_others(self.claim, self.identity, intent=self.intent, storage_class=self.storage_class)

    @property
    def serves_class(self) -> bool:
        """Whether the class exists, and names this provisioner."""
        return self.storage_class is not None and self.storage_class.provisioner == self.identity.provisioner_name

    @property
    def parameters(self) -> dict[str, str]:
        """The current parameters of the class, or the recorded ones if it is gone or no longer ours."""
        if self.storage_class is not None and self.serves_class:
            return self.storage_class.parameters or {}
        return self.intent.parameters if self.intent else {}

    @property
    def is_greenfield(self) -> bool:
        """Whether the bucket is created for this claim. Once recorded, that never changes."""
        return self.intent.greenfield if self.intent else not self.parameters.get("bucketName")

    @property
    def is_unchanged(self) -> bool:
        """Whether the desired state is the one last applied: any difference is drift."""
        return not self.is_edited and not self.needs_renewal

    @property
    def is_edited(self) -> bool:
        """Whether the desired state differs from the one last applied, or none was applied."""
        return self.last_applied is None or self.last_applied.fingerprint != self.fingerprint

    @property
    def is_bound(self) -> bool:
        """Whether it was bound once, by this provisioner or, before a takeover, by another program."""
        if self.last_applied is not None:
            return True
        taken_over = self.bucket is not None and self.intent is None
        return taken_over and self.claim is not None and self.claim.status.phase == Phase.BOUND

    @property
    def is_serving(self) -> bool:
        """Whether an application can work: bound once, and Secret and ConfigMap are intact."""
        return self.last_applied is not None and self.secret is self.config_map is ObjectState.INTACT
