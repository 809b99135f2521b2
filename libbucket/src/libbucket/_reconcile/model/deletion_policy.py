"""What happens to a bucket when its claim is deleted: purged, purged later, or retained while it has objects. Pure.

Precedence: the annotation on the ObjectBucket, which only an administrator can write; the same annotation on the claim,
which may always protect, and may allow a purge unless the class forbids that; the class, whose parameters are recorded
when the claim is bound. An invalid value protects.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import durationpy

from libbucket import _api
from libbucket._reconcile.model.intent import intent_of
from libbucket.errors import InvalidParameters
from libbucket.parameters import ParameterReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket._api import ObjectBucketObject

_POLICY: Final = "deletionPolicy"
_BY_ANNOTATION: Final = "purgeByAnnotation"
_AFTER: Final = "purgeAfter"
_LONGEST: Final = timedelta(days=3660)


class DeletionPolicy(StrEnum):
    """Whether a deletion may remove data."""

    PURGE = "Purge"
    IF_EMPTY = "IfEmpty"


@dataclass(frozen=True, kw_only=True)
class DeletionRules:
    """The rules of a class.

    Attributes:
        policy: for claims without the annotation.
        purge_by_annotation: whether a claim may allow the purge of its own bucket.
        purge_after: grace period between the release of a bucket and its purge; zero for none.
    """

    policy: DeletionPolicy = DeletionPolicy.PURGE
    purge_by_annotation: bool = True
    purge_after: timedelta = timedelta()


@dataclass(frozen=True, kw_only=True)
class DeletionPlan:
    """How one bucket is deleted.

    Attributes:
        policy: whether it may be purged.
        purge_after: grace period before that.
        remedy: how to allow the purge of a bucket that may not be purged, for the message.
    """

    policy: DeletionPolicy = DeletionPolicy.PURGE
    purge_after: timedelta = timedelta()
    remedy: str = ""


PURGE: Final = DeletionPlan()
"""The default: at once, with all data."""


def parse_rules(parameters: Mapping[str, str]) -> DeletionRules:
    """Parses the rules in a class's parameters.

    Raises:
        InvalidParameters: they are invalid; all mistakes at once.
    """
    reader = ParameterReader(parameters)
    choices = frozenset(str(one) for one in DeletionPolicy)
    rules = DeletionRules(
        policy=DeletionPolicy(reader.choice(_POLICY, choices, default=str(DeletionPolicy.PURGE))),
        purge_by_annotation=reader.flag(_BY_ANNOTATION, default=True),
        purge_after=_duration(reader),
    )
    reader.finish()
    return rules


def plan_deletion(parameters: Mapping[str, str], *, on_claim: str = "", on_bucket: str = "") -> DeletionPlan:
    """How to delete a bucket whose claim is being deleted, or gone.

    Args:
        parameters: of the class, as recorded.
        on_claim: the annotation of the claim; "" if there is none, or no claim.
        on_bucket: the annotation of the ObjectBucket; "" if there is none.
    """
    rules = _readable_rules(parameters)
    annotation = on_bucket or on_claim
    policy = _read(annotation) if annotation else rules.policy
    if not on_bucket and rules.policy is DeletionPolicy.IF_EMPTY and not rules.purge_by_annotation:
        policy = DeletionPolicy.IF_EMPTY
    if policy is DeletionPolicy.PURGE:
        return DeletionPlan(purge_after=rules.purge_after)
    # An empty bucket is deleted without a grace period: there is no data to recover.
    return DeletionPlan(policy=policy, remedy=_remedy(annotation, rules, by_claim=not on_bucket))


def _remedy(annotation: str, rules: DeletionRules, *, by_claim: bool) -> str:
    who = "claim" if by_claim else "ObjectBucket"
    if by_claim and rules.policy is DeletionPolicy.IF_EMPTY and not rules.purge_by_annotation:
        who = "ObjectBucket, as an administrator (the class has purgeByAnnotation: false),"
    is_unknown = annotation and annotation not in {str(one) for one in DeletionPolicy}
    unknown = f"; {annotation!r} is neither Purge nor IfEmpty" if is_unknown else ""
    return f"empty it, or annotate the {who} with {_api.DELETION_POLICY}=Purge to have everything removed{unknown}"


def _read(annotation: str) -> DeletionPolicy:
    return DeletionPolicy.PURGE if annotation == DeletionPolicy.PURGE else DeletionPolicy.IF_EMPTY


def _readable_rules(parameters: Mapping[str, str]) -> DeletionRules:
    try:
        return parse_rules(parameters)
    except InvalidParameters:
        return DeletionRules(policy=DeletionPolicy.IF_EMPTY)


def _duration(reader: ParameterReader) -> timedelta:
    text = reader.text(_AFTER)
    if not text:
        return timedelta()
    try:
        found = durationpy.from_str(text)
    except (ValueError, OverflowError):
        found = timedelta(-1)
    if not timedelta() <= found <= _LONGEST:
        reader.mistake(_AFTER, f"must be a duration such as 72h or 30m, of ten years at most, not {text!r}")
        return timedelta()
    return found


def purge_time(annotation: str) -> datetime | None:
    """The time of a purge in the annotation of an ObjectBucket; None if it is invalid."""
    try:
        found = datetime.fromisoformat(annotation)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def seconds_to_purge(annotation: str, now: datetime) -> float | None:
    """Seconds until the purge, 0 or less when due; None if no time is set."""
    found = purge_time(annotation)
    return (found - now).total_seconds() if found is not None else None


def is_planned(bucket: ObjectBucketObject) -> bool:
    """Whether a purge is planned."""
    return bool(bucket.metadata.annotation(_api.PURGE_AT))


def was_planned(bucket: ObjectBucketObject) -> bool:
    """Whether a purge was planned once; one that an earlier version planned is known by the policy that it wrote."""
    intent = intent_of(bucket)
    if is_planned(bucket) or (intent is not None and intent.purge_planned):
        return True
    return bucket.phase == _api.Phase.RELEASED and bool(bucket.metadata.annotation(_api.DELETION_POLICY))
