"""One row for each claim: class, bucket, phase, reason, age, and how old its credentials are. Pure.

Of a Secret it knows when it was written last, never what is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from libbucket._cli.explain import reported
from libbucket._kube.client import FIELD_MANAGER
from libbucket._outcomes import Actor, meaning_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from libbucket import _api

_NOBODY: Final = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A claim in the list.

    Attributes:
        claim: `namespace/name`.
        storage_class: its StorageClass.
        bucket: name of its bucket; "" before it has one.
        phase: "" before the first status.
        reason: of its conditions; "" if they say nothing.
        message: of the same condition.
        actor: `author` or `administrator` if one of them has to act.
        created: time.
        credentials_since: when the keys of its Secret were written last; "" if unknown.
        object_bucket: name of its ObjectBucket.
        is_being_deleted: whether it is.
    """

    claim: str
    storage_class: str
    bucket: str
    phase: str
    reason: str
    message: str
    actor: str
    created: str
    credentials_since: str
    object_bucket: str
    is_being_deleted: bool


def rows(claims: Iterable[_api.ObjectBucketClaim], secrets: Mapping[str, str]) -> list[Row]:
    """The rows of these claims, by namespace and name.

    Args:
        claims: in any order.
        secrets: when each Secret was written, by `namespace/name uid-of-its-controller`.
    """
    return sorted((row_of(claim, secrets) for claim in claims), key=lambda row: row.claim.split("/"))


def row_of(claim: _api.ObjectBucketClaim, secrets: Mapping[str, str]) -> Row:
    """The row of one claim."""
    meta = claim.metadata
    reason, message, _ = reported(claim)
    meaning = meaning_of(reason)
    actor = _NOBODY if meaning is None or meaning.actor is Actor.NOBODY else meaning.actor.name.lower()
    return Row(
        claim=meta.key,
        storage_class=claim.class_name,
        bucket=claim.spec.bucket_name or "",
        phase=claim.status.phase or "",
        reason=str(reason),
        message=message,
        actor=actor,
        created=meta.creation_timestamp or "",
        credentials_since=secrets.get(f"{meta.key} {meta.uid}", ""),
        object_bucket=claim.object_bucket_name,
        is_being_deleted=meta.is_being_deleted,
    )


def written_secrets(items: Iterable[dict[str, Any]]) -> dict[str, str]:
    """When each Secret that has a controller was written, from metadata alone.

    The provisioner's own entry in `managedFields` that holds data has the time of its last write; a Secret that another
    program wrote has the time of its creation.

    Args:
        items: `PartialObjectMetadata`, as JSON.
    """
    return {
        f"{meta.get('namespace')}/{meta.get('name')} {owner.get('uid')}": _written(meta)
        for meta in (item.get("metadata") or {} for item in items)
        for owner in meta.get("ownerReferences") or ()
        if owner.get("controller")
    }


def _written(meta: dict[str, Any]) -> str:
    times = [
        str(entry.get("time") or "")
        for entry in meta.get("managedFields") or ()
        if entry.get("manager") == FIELD_MANAGER and "f:data" in (entry.get("fieldsV1") or {})
    ]
    return max(times, default="") or str(meta.get("creationTimestamp") or "")
