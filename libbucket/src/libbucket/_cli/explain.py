"""From facts to sentences: the state of a claim, since when, what it waits for, who has to act, what to do next.

A pure function of `Facts`. Reads and prints nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from libbucket import _api
from libbucket._cli.advice import ADVICE
from libbucket._outcomes import Actor, meaning_of
from libbucket.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from libbucket._cli.facts import Facts
    from libbucket._cli.pods import PodFact

_WHO: Final = {
    Actor.NOBODY: "the provisioner, which continues by itself",
    Actor.AUTHOR: "the claim's author",
    Actor.ADMINISTRATOR: "an administrator",
}


_NOTEWORTHY: Final = frozenset(
    {
        Reason.RESTORED,
        Reason.CREDENTIALS_ROTATED,
        Reason.DRIFT_REPAIRED,
        Reason.UNMANAGED_CONFIG,
        Reason.PROVISIONER_WARNING,
    }
)
"""Reasons of Events only, that say what a person may have to know of a claim that waits for nothing."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The answer of `why`.

    Attributes:
        claim: `namespace/name`.
        phase: as on the claim; "" before the first status.
        reason: of the condition or Event that explains the state, or of this program: `NoProvisioner`,
            `NoLeader`, `OtherProvisioner`, `NotReconciled`, `Deleting`.
        state: one sentence.
        since: time in the format of Kubernetes; "" if unknown.
        waits_for: noun phrase.
        turn: who has to act.
        next_step: what to do.
        notes: anything else that may matter, one sentence each.
    """

    claim: str
    phase: str
    reason: str
    state: str
    since: str
    waits_for: str
    turn: str
    next_step: str
    notes: tuple[str, ...] = ()


def explain(facts: Facts) -> Explanation:
    """Explains the state of a claim."""
    notes = tuple(_notes(facts))
    reason, message, since = _reported(facts)
    if facts.claim.metadata.is_being_deleted:
        if reason in {"", Reason.PROVISIONING, Reason.BOUND}:
            return _unfinished_deletion(facts, notes)
    elif reason in {"", Reason.PROVISIONING}:
        idle = _not_served(facts, notes)
        if idle is not None:
            return idle
    if reason:
        return _by_reason(facts, reason, message, since, notes)
    return _without_status(facts, notes)


def reported(claim: _api.ObjectBucketClaim) -> tuple[str, str, str]:
    """Reason, message and time of the condition that says most; of each "" if no condition says anything."""
    for kind in ("Stalled", "Reconciling", "Ready"):
        found = claim.status.condition(kind)
        if found is not None and (found.status == "True" or kind == "Ready"):
            return found.reason, found.message, found.last_transition_time or ""
    return (Reason.BOUND, "", "") if claim.status.phase == "Bound" else ("", "", "")


def _reported(facts: Facts) -> tuple[str, str, str]:
    """The same, else of the newest Event with a known reason."""
    found = reported(facts.claim)
    newest = next((one for one in facts.events if one.reason in ADVICE), None)
    return (newest.reason, newest.message, newest.time) if newest and not found[0] else found


def _by_reason(facts: Facts, reason: str, message: str, since: str, notes: tuple[str, ...]) -> Explanation:
    meaning = meaning_of(reason)
    if meaning is None:
        waits_for, action, turn = "what the message says", "Read the message.", "unknown: not a reason of libbucket"
    else:
        waits_for, action = ADVICE[Reason(reason)]
        is_settled = waits_for == "nothing" and meaning.actor is Actor.NOBODY
        turn = "none" if is_settled else _WHO[meaning.actor]
    verb = "is being deleted and reports" if facts.claim.metadata.is_being_deleted else "reports"
    blank = _blank(facts, notes)
    return replace(
        blank,
        reason=str(reason),
        state=f"The claim {verb} {reason}: {message}" if message else f"The claim {verb} {reason}.",
        since=since or blank.since,
        waits_for=waits_for,
        turn=turn,
        next_step=action,
    )


def _unfinished_deletion(facts: Facts, notes: tuple[str, ...]) -> Explanation:
    """Explains a claim that is being deleted, and shows no reason why that takes time."""
    claim = facts.claim.metadata
    others = ", ".join(one for one in claim.finalizers or () if one != _api.FINALIZER)
    blank = replace(_blank(facts, notes), reason="Deleting", state="The claim is being deleted.")
    if not claim.has_finalizer():
        action = "Ask the owner of these finalizers." if others else "Nothing."
        return replace(blank, waits_for=f"the finalizers {others}" if others else "the API server", next_step=action)
    known = facts.storage_class if facts.could_read("Leases") else None
    idle = _without_leader(facts, known.provisioner, notes) if known is not None else None
    if idle is not None:
        return replace(idle, state=f"The claim is being deleted. {idle.state}")
    return replace(blank, waits_for="the provisioner to release its bucket", turn=_WHO[Actor.NOBODY], next_step="Wait.")


def _not_served(facts: Facts, notes: tuple[str, ...]) -> Explanation | None:
    """Explains a claim on which no provisioner works now; None if one may be working."""
    if facts.is_namespace_terminating:
        found = _by_reason(facts, Reason.NAMESPACE_TERMINATING, "", "", notes)
        return replace(found, state="The namespace is being deleted.")
    if facts.storage_class is None:
        if not facts.could_read("StorageClass"):
            return None
        found = _by_reason(facts, Reason.STORAGE_CLASS_MISSING, "", "", notes)
        return replace(found, state=f"StorageClass {facts.claim.class_name!r} does not exist.")
    return _without_leader(facts, facts.storage_class.provisioner, notes) if facts.could_read("Leases") else None


def _without_leader(facts: Facts, provisioner: str, notes: tuple[str, ...]) -> Explanation | None:
    own = facts.own_leases
    if any(one.holder and one.is_current for one in own):
        return None
    others = sorted(one.key for one in facts.leases if one.holder and one.is_current)
    reason, state, action = "NoProvisioner", f"No provisioner for {provisioner} leads.", "Start the provisioner."
    pods, ready = facts.replicas, [one for one in facts.replicas if not one.problem]
    if pods and not ready:
        state = f"No provisioner for {provisioner} leads: of its pods ({len(pods)}) none is ready."
        action = "Repair its pods: the notes say why they are not ready."
    elif own and pods:
        reason = "NoLeader"
        state = f"Pods of a provisioner for {provisioner} exist ({len(pods)}), and none leads: all are standbys."
        action = f"Check that the pods may update the Lease {own[0].key}."
    elif others and not own:
        reason = "OtherProvisioner"
        state = f"No Lease exists for {provisioner}; these have a leader: {', '.join(others)}."
        action = "Correct the class's provisioner or --provisioner-name, or start the provisioner that is missing."
    elif not own:
        state += " (One that runs without --leader-elect has no Lease.)"
    elsewhere = () if pods else _unready(facts.pods)  # one of them may be the provisioner that never led
    return replace(
        _blank(facts, (*elsewhere, *notes)),
        reason=reason,
        state=state,
        waits_for=f"a provisioner that serves {provisioner}",
        turn=_WHO[Actor.ADMINISTRATOR],
        next_step=action,
    )


def _without_status(facts: Facts, notes: tuple[str, ...]) -> Explanation:
    """Explains a claim that says nothing itself; what could not be read may be what explains it."""
    blank = _blank(facts, notes)
    unread = " and ".join(what for what in ("StorageClass", "Leases") if not facts.could_read(what))
    if not unread:
        return blank
    return replace(
        blank,
        state=f"The claim shows no status, and {unread}, which may explain why, could not be read.",
        next_step="Have an administrator run this command: the notes say what you may not read.",
    )


def _notes(facts: Facts) -> Iterator[str]:
    yield from _about_provisioner(facts)
    yield from _about_objects(facts)
    yield from _about_events(facts)
    for webhook in facts.dead_webhooks:
        yield f"Webhook {webhook} must answer before objects of the claim are written, and has no ready endpoint."
    for quota in facts.full_quotas:
        yield f"ResourceQuota {quota} is exhausted."
    for lost in facts.lost_fields:
        yield f"The CRDs are another project's: {lost}."
    for what, problem in (facts.unread or {}).items():
        yield f"{what} could not be read: {problem}"


def _about_provisioner(facts: Facts) -> Iterator[str]:
    is_led = any(one.holder and one.is_current for one in facts.own_leases)
    if facts.own_leases and not is_led:
        yield "Its provisioner has no leader now: nothing is retried until one leads."
    if not is_led:
        yield from _unready(facts.replicas)
    for phrase in facts.denied:
        yield f"RBAC does not let {phrase}."


def _unready(pods: Iterable[PodFact]) -> Iterator[str]:
    return (f"Pod {pod.key} of a provisioner is not ready: {pod.problem}" for pod in pods if pod.problem)


def _about_objects(facts: Facts) -> Iterator[str]:
    claim = facts.claim.metadata
    if facts.is_namespace_terminating:
        yield f"Namespace {claim.namespace} is being deleted."
    for kind, found in (("Secret", facts.secret), ("ConfigMap", facts.config_map)):
        if found is not None and not found.metadata.is_controlled_by(claim.uid):
            yield f"{kind} {claim.key} exists and does not belong to the claim."
        if found is None and facts.claim.status.phase == "Bound" and facts.could_read(kind):
            yield f"{kind} {claim.key} of this bound claim is missing."


def _about_events(facts: Facts) -> Iterator[str]:
    """What no condition keeps, as a key that was ignored or keys that were replaced: the newest of each kind."""
    told = dict.fromkeys(one.reason for one in facts.events if one.reason in _NOTEWORTHY)
    for reason in told:
        newest = next(one for one in facts.events if one.reason == reason)
        said = newest.message.rstrip(".")
        yield f"Event {reason} of {newest.time}: {said}. {ADVICE[Reason(reason)][1]}"


def _blank(facts: Facts, notes: tuple[str, ...]) -> Explanation:
    """What every explanation of this claim has; the state is that of a claim about which nothing is known."""
    claim = facts.claim
    return Explanation(
        claim=claim.metadata.key,
        phase=claim.status.phase or "",
        reason="NotReconciled",
        state="The claim shows no status, and nothing in the cluster explains why.",
        since=claim.metadata.deletion_timestamp or claim.metadata.creation_timestamp or "",
        waits_for="a provisioner to reconcile it",
        turn=_WHO[Actor.ADMINISTRATOR],
        next_step="Check that a provisioner with this name runs, and read its log.",
        notes=notes,
    )
