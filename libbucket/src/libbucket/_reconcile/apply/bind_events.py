"""Events about what a reconcile of a bound claim found and changed. Used by `bind`; changes nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libbucket._reconcile.model import manifests
from libbucket._reconcile.model.snapshot import ObjectState
from libbucket.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from libbucket._api import ObjectBucketClaim, ObjectBucketObject
    from libbucket._reconcile.model.intent import LastApplied
    from libbucket._reconcile.model.snapshot import Snapshot
    from libbucket._reconcile.status.reporter import Reporter
    from libbucket.types import Connection


class BindEvents:
    """Those of one reconcile.

    Args:
        reporter: writes them.
        snapshot: what was found.
        claim: that they are about.
    """

    def __init__(self, reporter: Reporter, snapshot: Snapshot, claim: ObjectBucketClaim) -> None:
        self._reporter = reporter
        self._snapshot = snapshot
        self._claim = claim

    def adopted(self, bucket_name: str) -> None:
        """A bucket was taken over from an earlier claim by an administrator."""
        self._normal(Reason.RECLAIMED, f"Bucket {bucket_name} of an earlier claim was adopted")

    def restored(self) -> None:
        """Secret or ConfigMap were gone, or edited."""
        if self._snapshot.last_applied is None:
            return
        kinds = [("Secret", self._snapshot.secret), ("ConfigMap", self._snapshot.config_map)]
        found = [kind for kind, state in kinds if state is not ObjectState.INTACT]
        if found:
            self._normal(Reason.RESTORED, f"Restored {' and '.join(found)}: removed or edited")

    def repaired(self, ob: ObjectBucketObject, connection: Connection, repairs: Sequence[str]) -> None:
        """One Event for each change that was made out of band: in the store, and in the ObjectBucket."""
        if not self._snapshot.is_unchanged:
            return
        found = list(repairs)
        if self._snapshot.spec_is_edited:
            edits = manifests.changed_fields(ob, endpoint=connection.endpoint, state=connection.additional_state)
            found += [f"ObjectBucket {field}" for field in edits]
        for what in found:
            self._normal(Reason.DRIFT_REPAIRED, f"Drift repaired: {what} was modified or removed")

    def rotated(self, last_applied: LastApplied) -> None:
        """The credentials are others than before."""
        was = self._snapshot.last_applied
        if was is None or self._snapshot.secret is not ObjectState.INTACT:
            return
        if was.secret_hash != last_applied.secret_hash:
            message = "Credentials rotated: the previous ones had stopped working, or were about to expire"
            self._normal(Reason.CREDENTIALS_ROTATED, message)

    def _normal(self, reason: Reason, message: str) -> None:
        self._reporter.event(self._claim, "Normal", reason, message)
