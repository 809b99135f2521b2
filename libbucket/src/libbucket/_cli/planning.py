"""What applying a manifest would do: a claim before and after, and what is around it, in; one step out. Pure.

Whether a claim could be bound is decided by the core's own planner, with what the command knows. What only the
provisioner or the store knows is not: parameters of the store, names that are taken there, --allow-additional-config.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from libbucket import _api
from libbucket._outcomes import Actor, meaning_of
from libbucket._reconcile.model.actions import Blocked, Ignore
from libbucket._reconcile.plan.planner import decide

if TYPE_CHECKING:
    from libbucket._reconcile.model.snapshot import Snapshot

CREATE: Final = "create"
CHANGE: Final = "change"
UNCHANGED: Final = "unchanged"
WAITS: Final = "waits"
REFUSED: Final = "refused"

BAD: Final = frozenset({WAITS, REFUSED})


@dataclass(frozen=True, kw_only=True)
class Step:
    """What would happen to one object.

    Attributes:
        kind: of the object.
        name: `namespace/name`, or the name of a StorageClass.
        result: `create`, `change`, `unchanged`, `waits` (it would be stored, and could not be followed), `refused`.
        detail: one sentence.
    """

    kind: str
    name: str
    result: str
    detail: str = ""


def plan_claim(before: _api.ObjectBucketClaim | None, after: Snapshot, *, is_served: bool | None) -> Step:
    """What applying a claim would do.

    Args:
        before: the claim as it is; None if it is new.
        after: the claim as it would be, and what is around it.
        is_served: whether a provisioner of its class leads; None if unknown.
    """
    step = Step(kind=_api.CLAIM_KIND, name=after.key, result=CREATE if before is None else UNCHANGED)
    action = decide(after)
    if isinstance(action, Ignore) and after.storage_class is None:
        return replace(step, result=WAITS, detail=f"{action.why}; it would wait for it")
    if isinstance(action, Blocked):
        meaning = meaning_of(action.reason)
        turn = " (its author's turn)" if meaning is not None and meaning.actor is Actor.AUTHOR else ""
        return replace(step, result=WAITS, detail=f"{action.reason}{turn}: {action.message}")
    if is_served is False:
        provisioner = after.storage_class.provisioner if after.storage_class is not None else "its class"
        return replace(step, result=WAITS, detail=f"no provisioner for {provisioner} leads")
    if before is None:
        return replace(step, detail=_what_is_made(after))
    edits = changed_fields(before, after.claim or before)
    return replace(step, result=CHANGE if edits else UNCHANGED, detail="; ".join(edits))


def _what_is_made(after: Snapshot) -> str:
    claim = after.claim or _api.ObjectBucketClaim()
    if not after.is_greenfield:
        return f"access to the existing bucket {after.parameters.get('bucketName', '')}, which its class names"
    if after.earlier_uid and after.bucket is not None:
        return f"bucket {after.bucket.endpoint.bucket_name} of the earlier claim of this name, with its content"
    name = claim.spec.bucket_name
    what = f"bucket {name}" if name else f"a bucket with a generated name, {claim.spec.generate_bucket_name}-..."
    policy = (after.storage_class.reclaim_policy if after.storage_class else "") or "Delete"
    return f"{what}, deleted with the claim" if policy == "Delete" else f"{what}, kept when the claim is deleted"


def changed_fields(before: _api.ObjectBucketClaim, after: _api.ObjectBucketClaim) -> list[str]:
    """One phrase for each field of spec that differs, and for the annotation that a deletion reads."""
    was, now = _fields(before), _fields(after)
    return [
        f"{name}: {_shown(was.get(name))} -> {_shown(now.get(name))}"
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]


def _fields(claim: _api.ObjectBucketClaim) -> dict[str, Any]:
    spec = claim.spec
    config = {f"additionalConfig.{key}": value for key, value in _api.strings(spec.additional_config).items()}
    plain = {
        "storageClassName": spec.storage_class_name,
        "bucketName": spec.bucket_name,
        "generateBucketName": spec.generate_bucket_name,
        _api.DELETION_POLICY: claim.metadata.annotation(_api.DELETION_POLICY) or None,
    }
    return {**config, **{key: value for key, value in plain.items() if value is not None}}


def _shown(value: str | None) -> str:
    return "unset" if value is None else repr(value if len(value) <= 100 else f"{value[:100]}...")


def plan_class(before: _api.StorageClass | None, after: _api.StorageClass) -> Step:
    """What applying a StorageClass would do."""
    step = Step(kind="StorageClass", name=after.metadata.name, result=UNCHANGED)
    if before is None:
        return replace(step, result=CREATE, detail=f"served by {after.provisioner}")
    return step if _settings(before) == _settings(after) else replace(step, result=CHANGE, detail="it differs")


def _settings(one: _api.StorageClass) -> tuple[object, ...]:
    return one.provisioner, one.parameters or {}, one.reclaim_policy


def refused(kind: str, name: str, problem: str) -> Step:
    """What the API server would not store."""
    return Step(kind=kind, name=name, result=REFUSED, detail=problem)
