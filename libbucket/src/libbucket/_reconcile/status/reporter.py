"""Publishes status: phase, conditions, and one Event for each change of them.

The only place that writes a claim's status. Last step of a reconcile. Writes only changes: a claim that keeps failing
in the same way is written once.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from libbucket import _api
from libbucket._api import Phase
from libbucket._kube.errors import Conflict, NotFound
from libbucket._kube.resources import BUCKETS, CLAIMS
from libbucket._outcomes import MEANINGS, Retry
from libbucket._reconcile.model.outcome import Failure
from libbucket._reconcile.status.event_budget import EventBudget
from libbucket.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket._api import ObjectBucketClaim, ObjectBucketObject
    from libbucket._kube.client import KubeClient
    from libbucket._reconcile.model.context import Caches, Identity
    from libbucket._reconcile.status.events import EventSink

OUR_CONDITIONS: Final = frozenset({"Ready", "Stalled", "Reconciling"})
IN_PLACE: Final = "Bucket, Secret and ConfigMap are in place"
_MESSAGE_LENGTH: Final = 1024


def now() -> str:
    """The current time in the format of Kubernetes."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Reporter:
    """Writes status and Events.

    Args:
        client: writes to the API server.
        caches: updated after each write.
        identity: what this process serves, and the features of the installed CRDs.
        events: writes Events.
        clock: returns the current time in the format of Kubernetes.
    """

    def __init__(
        self,
        client: KubeClient,
        caches: Caches,
        identity: Identity,
        events: EventSink,
        *,
        clock: Callable[[], str] = now,
    ) -> None:
        self._client = client
        self._caches = caches
        self._identity = identity
        self._clock = clock
        self._log = structlog.get_logger()
        self._said: dict[str, tuple[str, str]] = {}
        self._events = events
        self._event_budget = EventBudget()

    def pending(self, key: str, message: str) -> None:
        """Publishes the first status of a claim that is not bound at once: until then Flux considers it ready.

        A claim that failed becomes Pending again only after an edit.

        Raises:
            KubeError: a refusal, or no answer.
        """
        claim = self._caches.claims.get(key)
        if claim is None or claim.metadata.is_being_deleted:
            return
        if claim.status.phase in {Phase.PENDING, Phase.BOUND} or self._has_failed_as_it_is(claim):
            return
        ready = self._condition(claim, "Ready", "False", Reason.PROVISIONING, message)
        self._write_status(claim, Phase.PENDING, [ready])

    def bound(self, claim: ObjectBucketClaim, *, invalid_update: str = "") -> None:
        """Publishes that the claim is bound, with one Event."""
        was_ready = self._was_ready(claim)
        conditions = [self._condition(claim, "Ready", "True", Reason.BOUND, IN_PLACE)]
        if invalid_update:
            stalled = self._condition(claim, "Stalled", "True", Reason.INVALID_UPDATE, invalid_update)
            conditions.append(stalled)
            self._warn_of_edit(claim, invalid_update)
        written = self._write_status(claim, Phase.BOUND, conditions)
        self._said[claim.metadata.uid] = (Reason.BOUND, IN_PLACE)
        if not was_ready:
            self.event(written, "Normal", Reason.BOUND, f"Bound to bucket {claim.spec.bucket_name or ''}".rstrip())

    def shows(self, claim: ObjectBucketClaim | None, reason: Reason) -> bool:
        """Whether the claim's status has this reason."""
        return claim is not None and self._said_last(claim)[0] == reason

    def failed(self, claim: ObjectBucketClaim, failure: Failure, *, is_bound: bool, is_serving: bool) -> None:
        """Publishes why the claim is not bound: in status and, if that changed, in an Event.

        Args:
            claim: the current version.
            failure: the cause.
            is_bound: whether it was bound once.
            is_serving: whether an application can work.
        """
        is_final = failure.retry is Retry.NEVER and not claim.metadata.is_being_deleted
        ready = self._condition(claim, "Ready", "False", failure.reason, failure.message)
        conditions = [ready]
        if is_final:
            conditions.append(self._condition(claim, "Stalled", "True", failure.reason, failure.message))
        can_work = is_serving and not MEANINGS[failure.reason].bucket_missing
        if is_bound and can_work and not claim.metadata.is_being_deleted:
            # The claim keeps serving; that an edit or a repair is not complete is a separate condition.
            conditions[0] = self._condition(claim, "Ready", "True", Reason.BOUND, IN_PLACE)
            if not is_final:
                conditions.append(self._condition(claim, "Reconciling", "True", failure.reason, failure.message))
        said = self._said_last(claim)
        phase = Phase.BOUND if is_bound else Phase.FAILED if is_final else Phase.PENDING
        # A claim that is being deleted keeps its phase: tools interpret Pending as "being created".
        phase = (claim.status.phase or phase) if claim.metadata.is_being_deleted else phase
        self._write_status(claim, phase, conditions)
        self._said[claim.metadata.uid] = (failure.reason, failure.message)
        says_more = said[1] != failure.message and failure.retry not in {Retry.SOON, Retry.NEXT_TURN}
        if said[0] != failure.reason or says_more:
            self.event(claim, _severity(failure), failure.reason, failure.message)

    def status_refused(self, claim: ObjectBucketClaim, failure: Failure, refusal: str) -> None:
        """Reports once, in an Event and the log, that the API server refuses the claim's status."""
        message = f"status cannot be written: {refusal}"
        if failure.message != refusal:  # else the refusal itself is the failure
            message += f"; it would say {failure.reason}: {failure.message}"
        known = self._said.get(_about_status(claim.metadata.uid))
        self._said[_about_status(claim.metadata.uid)] = (failure.reason, refusal)
        if known != (failure.reason, refusal):
            self.event(claim, "Warning", Reason.REJECTED_BY_CLUSTER, message)

    def warn(self, claim: ObjectBucketClaim, reason: Reason, messages: tuple[str, ...]) -> None:
        """A Warning Event for each message."""
        for message in messages:
            self.event(claim, "Warning", reason, message)

    def bucket_phase(self, ob: ObjectBucketObject, phase: str) -> ObjectBucketObject:
        """Writes the phase of an ObjectBucket, if it differs.

        Raises:
            Conflict: it changed since it was read.
            KubeError: any other refusal, or no answer.
        """
        if ob.phase == phase:
            return ob
        # Conditional on this version: the cache may be stale, and the name may belong to another ObjectBucket by now.
        body = {"metadata": {"resourceVersion": ob.metadata.resource_version}, "status": {"phase": phase}}
        subresource = "status" if self._identity.features.bucket_status else ""
        try:
            written = self._client.patch(BUCKETS, ob.metadata.name, body, subresource=subresource)
        except NotFound:
            self._identity.installed.doubt()  # the object or its subresource is gone
            raise
        if written.phase != phase:
            self._identity.installed.doubt()
        self._caches.buckets.observe(written)
        return written

    def bucket_failed(self, ob: ObjectBucketObject | None, failure: Failure) -> None:
        """Publishes on an ObjectBucket without a claim why it still exists; logs changes."""
        if ob is None:
            return
        known = ob.status.condition("Ready")
        said = known.reason if known is not None else self._said.get(ob.metadata.uid, ("", ""))[0]
        self._said[ob.metadata.uid] = (failure.reason, failure.message)
        if said != failure.reason:
            log = self._log.info if failure.retry is Retry.NEXT_TURN else self._log.warning
            log(failure.message, reason=str(failure.reason), object_bucket=ob.metadata.name)
        if not self._identity.features.bucket_conditions:
            return
        ready = _condition(known, "Ready", "False", failure, generation=ob.metadata.generation, now=self._clock())
        if known is not None and _plain(known) == ready:
            return
        others = [_plain(one) for one in ob.status.conditions or () if one.type != "Ready"]
        body = {
            "metadata": {"resourceVersion": ob.metadata.resource_version},
            "status": {"phase": ob.phase, "conditions": [*others, ready]},
        }
        subresource = "status" if self._identity.features.bucket_status else ""
        self._caches.buckets.observe(self._client.patch(BUCKETS, ob.metadata.name, body, subresource=subresource))

    def event(self, claim: ObjectBucketClaim, kind: str, reason: Reason, message: str) -> None:
        """Logs something about a claim, and writes it as an Event."""
        meta = claim.metadata
        log = self._log.warning if kind == "Warning" else self._log.info
        log(message, reason=str(reason))
        if self._event_budget.allows(meta.uid):
            body = _event_body(claim, kind, reason, message[:_MESSAGE_LENGTH], self._clock(), self._identity)
            self._events.write(meta.namespace, body)

    def forget(self, uid: str) -> None:
        """Drops what is remembered about a claim that is gone."""
        self._said.pop(uid, None)
        self._said.pop(_about_edits(uid), None)
        self._said.pop(_about_status(uid), None)
        self._event_budget.forget(uid)

    def _warn_of_edit(self, claim: ObjectBucketClaim, message: str) -> None:
        stalled = claim.status.condition("Stalled")
        known = (
            stalled.message if stalled is not None else self._said.get(_about_edits(claim.metadata.uid), ("", ""))[1]
        )
        self._said[_about_edits(claim.metadata.uid)] = (Reason.INVALID_UPDATE, message)
        if known != message:
            self.event(claim, "Warning", Reason.INVALID_UPDATE, message)

    def _has_failed_as_it_is(self, claim: ObjectBucketClaim) -> bool:
        if claim.status.phase != Phase.FAILED:
            return False
        return not self._identity.features.conditions or claim.status.observed_generation == claim.metadata.generation

    def _was_ready(self, claim: ObjectBucketClaim) -> bool:
        ready = claim.status.condition("Ready")
        said = ready.reason if ready is not None else self._said.get(claim.metadata.uid, ("", ""))[0]
        return said == Reason.BOUND

    def _said_last(self, claim: ObjectBucketClaim) -> tuple[str, str]:
        """Reason and message of the claim's current status; from memory if the CRD prunes conditions."""
        shown = (claim.status.condition(kind) for kind in ("Stalled", "Reconciling", "Ready"))
        first = next((one for one in shown if one is not None), None)
        return (first.reason, first.message) if first else self._said.get(claim.metadata.uid, ("", ""))

    def _condition(
        self, claim: ObjectBucketClaim, kind: str, status: str, reason: Reason, message: str
    ) -> dict[str, Any]:
        what = Failure(reason=reason, message=message, retry=Retry.SOON)
        known, generation = claim.status.condition(kind), claim.metadata.generation
        return _condition(known, kind, status, what, generation=generation, now=self._clock())

    def _write_status(
        self, claim: ObjectBucketClaim, phase: str, conditions: list[dict[str, Any]]
    ) -> ObjectBucketClaim:
        status: dict[str, Any] = {"phase": phase}
        if self._identity.features.conditions:
            foreign = [_plain(one) for one in claim.status.conditions or () if one.type not in OUR_CONDITIONS]
            status |= {"conditions": foreign + conditions, "observedGeneration": claim.metadata.generation}
        if _shows(claim, status):
            return claim
        meta = claim.metadata
        body = {"metadata": {"resourceVersion": meta.resource_version}, "status": status}
        subresource = "status" if self._identity.features.claim_status else ""
        try:
            written = self._client.patch(CLAIMS, meta.name, body, namespace=meta.namespace, subresource=subresource)
        except NotFound:
            return self._gone(claim, subresource=subresource)
        if written.status.phase != phase or ("conditions" in status and not written.status.conditions):
            self._identity.installed.doubt()
        self._caches.claims.observe(written)
        return written

    def _gone(self, claim: ObjectBucketClaim, *, subresource: str) -> ObjectBucketClaim:
        """Handles a 404: the claim was deleted concurrently, or only the subresource is gone."""
        if subresource:
            with suppress(NotFound):
                self._client.read(CLAIMS, claim.metadata.name, namespace=claim.metadata.namespace)
                self._identity.installed.doubt()
                raise Conflict("claims no longer have a status subresource")
        return claim


def _about_edits(uid: str) -> str:
    return f"{uid}/edit"


def _about_status(uid: str) -> str:
    return f"{uid}/status"


def _severity(failure: Failure) -> str:
    return "Normal" if failure.retry is Retry.NEXT_TURN else "Warning"


def _condition(  # noqa: PLR0913 - the fields of a condition
    known: _api.Condition | None, kind: str, status: str, what: Failure, *, generation: int, now: str
) -> dict[str, Any]:
    since = known.last_transition_time if known is not None and known.status == status else None
    return {
        "type": kind,
        "status": status,
        "reason": str(what.reason),
        "message": what.message[:_MESSAGE_LENGTH],
        "observedGeneration": generation,
        "lastTransitionTime": since or now,
    }


def _shows(claim: ObjectBucketClaim, status: dict[str, Any]) -> bool:
    seen = claim.status
    if seen.phase != status["phase"]:
        return False
    if "conditions" not in status:
        return True
    shown = [_plain(one) for one in seen.conditions or ()]
    return bool(seen.observed_generation == status["observedGeneration"] and shown == status["conditions"])


def _plain(condition: _api.Condition) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
    }
    if condition.observed_generation is not None:
        plain["observedGeneration"] = condition.observed_generation
    if condition.last_transition_time is not None:
        plain["lastTransitionTime"] = condition.last_transition_time
    return plain


def _event_body(  # noqa: PLR0913, PLR0917 - the fields of an Event
    claim: ObjectBucketClaim, kind: str, reason: Reason, message: str, time: str, identity: Identity
) -> dict[str, Any]:
    meta = claim.metadata
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta.name[:220]}.{uuid.uuid4().hex[:16]}", "namespace": meta.namespace},
        "involvedObject": {
            "apiVersion": _api.API_VERSION,
            "kind": _api.CLAIM_KIND,
            "namespace": meta.namespace,
            "name": meta.name,
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
        },
        "type": kind,
        "reason": str(reason),
        "message": message,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
        "source": {"component": identity.provisioner_name},
        "reportingComponent": identity.provisioner_name,
        "reportingInstance": "",
    }
