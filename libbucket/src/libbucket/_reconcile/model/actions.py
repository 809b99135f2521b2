"""The actions that planning chooses and applying carries out: a closed union, matched exhaustively. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from libbucket._outcomes import MEANINGS, Retry
from libbucket._reconcile.model.deletion_policy import PURGE, DeletionPlan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket.errors import Reason


@dataclass(frozen=True)
class Ignore:
    """A claim of another provisioner, or gone: nothing may be written.

    Attributes:
        why: for the log.
    """

    why: str


@dataclass(frozen=True)
class Settled:
    """Bound, and everything is in place."""


@dataclass(frozen=True, kw_only=True)
class Blocked:
    """The claim's author or an administrator has to act first; the message describes how."""

    reason: Reason
    message: str

    @property
    def retry(self) -> Retry:
        """When the claim is requeued if nothing is edited."""
        return MEANINGS[self.reason].retry or Retry.SLOWLY


@dataclass(frozen=True, kw_only=True)
class Bind:
    """Bring the claim to Bound, or back to it.

    Attributes:
        calls_store: False if only objects in the cluster have to be repaired.
        checks_drift_first: whether only the regular drift check requires that call, so that a cheap drift check is
            enough if the provisioner supports it.
        invalid_update: names an edit that cannot be applied; the bound bucket keeps serving.
    """

    calls_store: bool
    checks_drift_first: bool = False
    invalid_update: str = ""


@dataclass(frozen=True, kw_only=True)
class Release:
    """The claim is being deleted: release everything that it has.

    Attributes:
        records_intent: whether the ObjectBucket, or the intent on it, is missing and has to be written before the
            store is called.
        plan: what is done with the bucket, if it was created for the claim and is deleted with it.
        waits: whether the bucket is purged later, and may be reclaimed until then.
        fallback: current parameters of the class, for use if the recorded ones never worked and do not work now: the
            class was wrong when the claim was created, and was replaced since. None if only the recorded ones can
            lead to what was created.
    """

    records_intent: bool = False
    plan: DeletionPlan = PURGE
    waits: bool = False
    fallback: Mapping[str, str] | None = None


@dataclass(frozen=True)
class RemoveFinalizer:
    """Nothing was provisioned for a claim that is being deleted: remove the finalizer."""


@dataclass(frozen=True, kw_only=True)
class ReleaseOrphan:
    """An ObjectBucket's claim no longer exists: release what it represents.

    Attributes:
        plan: what is done with the bucket.
        waits: whether the bucket is purged later: its claim was deleted by removing the finalizer, and the class
            has a grace period. There is none if an administrator deletes the ObjectBucket itself.
    """

    plan: DeletionPlan = PURGE
    waits: bool = False


@dataclass(frozen=True)
class BeginPurge:
    """The purge of a released bucket is due: from now on it cannot be cancelled."""


@dataclass(frozen=True)
class Retain:
    """The purge of a released bucket was cancelled: it is retained."""


Action = Ignore | Settled | Blocked | Bind | Release | RemoveFinalizer | ReleaseOrphan | BeginPurge | Retain


class Verb(Enum):
    """What a release does in the store."""

    NOTHING = auto()
    """The store was never called for the claim."""
    REVOKE = auto()
    """The bucket is retained."""
    REVOKE_UNTIL_PURGE = auto()
    """The bucket is purged later, and may be reclaimed until then."""
    DELETE = auto()
    DELETE_IF_EMPTY = auto()


@dataclass(frozen=True, kw_only=True)
class BucketRelease:
    """The second half of the plan of `Release` and `ReleaseOrphan`, from the ObjectBucket as it is at the last moment.

    Attributes:
        verb: what to do in the store.
        plan: when, and what would allow a deletion that is refused.
        fallback: see `Release`.
        revokes_foreign: whether a bucket that turns out to have another owner is the normal case, because it was
            refused when the claim asked for it: then only the identity is revoked.
    """

    verb: Verb
    plan: DeletionPlan = PURGE
    fallback: Mapping[str, str] | None = None
    revokes_foreign: bool = False


def foreign_object(kind: str, reason: Reason, key: str) -> Blocked:
    """An object of that name exists, and the claim does not own it."""
    message = (
        f"{kind} {key} exists that this claim does not own; it stays unchanged, and the claim binds when it is gone"
    )
    return Blocked(reason=reason, message=message)
