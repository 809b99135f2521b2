"""The actions that planning decides on and applying carries out: a closed union, matched exhaustively. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from libbucket._outcomes import MEANINGS, Retry
from libbucket._reconcile.model.deletion_policy import PURGE, DeletionPlan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket.errors import Reason


@dataclass(frozen=True)
class Ignore:
    """A claim of another provisioner, or gone: nothing may be written."""

    why: str


@dataclass(frozen=True)
class Settled:
    """Bound, and everything is in place."""


@dataclass(frozen=True, kw_only=True)
class Blocked:
    """The claim's author or an administrator has to act first; the claim says how."""

    reason: Reason
    message: str

    @property
    def retry(self) -> Retry:
        """When the claim is requeued although nothing was edited."""
        return MEANINGS[self.reason].retry or Retry.SLOWLY


@dataclass(frozen=True, kw_only=True)
class Bind:
    """Bring the claim to Bound, or back to it.

    Attributes:
        calls_store: False where only objects in the cluster have to be put right.
        checks_drift_first: whether only the regular drift check asks for that call, so that one cheap drift check is
            enough where the provisioner can give one.
        invalid_update: names an edit that can't be followed; the bound bucket keeps serving.
    """

    calls_store: bool
    checks_drift_first: bool = False
    invalid_update: str = ""


@dataclass(frozen=True, kw_only=True)
class Release:
    """The claim is being deleted: give everything back.

    Attributes:
        records_first: whether the ObjectBucket, or what we record on it, is missing and has to be written before
            the store is called.
        plan: what is to be done with the bucket, where it was made for the claim and goes with it.
        waits: whether the bucket is purged later, and may be reclaimed until then.
        fallback: parameters of the class as it is now, for when the recorded ones never worked and do not work now:
            the class was wrong when the claim was made, and was made again since. None where those that are recorded
            are the only ones that can lead to what was made.
    """

    records_intent: bool = False
    plan: DeletionPlan = PURGE
    waits: bool = False
    fallback: Mapping[str, str] | None = None


@dataclass(frozen=True)
class RemoveFinalizer:
    """The claim is being deleted and nothing was ever made for it: only our finalizer goes."""


@dataclass(frozen=True, kw_only=True)
class ReleaseOrphan:
    """An ObjectBucket's claim no longer exists: release what it stands for.

    Attributes:
        plan: what is to be done with the bucket.
        waits: whether the bucket is purged later: its claim was deleted by removing the finalizer, and the class
            says so. Where an administrator deletes the ObjectBucket itself, it is not.
    """

    plan: DeletionPlan = PURGE
    waits: bool = False


@dataclass(frozen=True)
class BeginPurge:
    """A released bucket's time has come: from now on its purge can't be called off."""


@dataclass(frozen=True)
class Retain:
    """The purge of a released bucket was cancelled: it is retained."""


Action = Ignore | Settled | Blocked | Bind | Release | RemoveFinalizer | ReleaseOrphan | BeginPurge | Retain


def foreign_object(kind: str, reason: Reason, key: str) -> Blocked:
    """An object of that name exists that the claim does not own."""
    message = (
        f"a {kind} {key} exists that this claim does not own; it is not touched, and the claim binds when it is gone"
    )
    return Blocked(reason=reason, message=message)
