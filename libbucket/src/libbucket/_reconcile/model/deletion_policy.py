"""What becomes of a bucket when its claim is deleted: purged, purged later, or kept while it holds anything. Pure.

Three voices, and the first that speaks decides: an administrator, by an annotation on the ObjectBucket; the claim's
author, by the same annotation on the claim, which may always protect and may allow a purge unless the class forbids
that; the class, whose parameters are recorded when the claim is bound. What nobody can read protects.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import durationpy

from libbucket import _api
from libbucket.errors import InvalidParameters
from libbucket.parameters import ParameterReader

if TYPE_CHECKING:
    from collections.abc import Mapping

_POLICY: Final = "deletionPolicy"
_BY_ANNOTATION: Final = "purgeByAnnotation"
_AFTER: Final = "purgeAfter"
_LONGEST: Final = timedelta(days=3660)


class DeletionPolicy(StrEnum):
    """What `delete` may do."""

    PURGE = "Purge"
    IF_EMPTY = "IfEmpty"


@dataclass(frozen=True, kw_only=True)
class DeletionRules:
    """What a class says.

    Attributes:
        policy: for claims that say nothing.
        purge_by_annotation: whether a claim may allow the purge of its own bucket.
        purge_after: between the release of a bucket and its purge; zero for none.
    """

    policy: DeletionPolicy = DeletionPolicy.PURGE
    purge_by_annotation: bool = True
    purge_after: timedelta = timedelta()


@dataclass(frozen=True, kw_only=True)
class DeletionPlan:
    """What is to be done with one bucket.

    Attributes:
        policy: whether it may be purged.
        purge_after: how long it waits for that.
        remedy: what allows the purge of a bucket that may not be purged, for the message.
    """

    policy: DeletionPolicy = DeletionPolicy.PURGE
    purge_after: timedelta = timedelta()
    remedy: str = ""


PURGE: Final = DeletionPlan()
"""At once, with everything in it: what becomes of a bucket where nobody says otherwise."""


def parse_rules(parameters: Mapping[str, str]) -> DeletionRules:
    """What a class's parameters say.

    Raises:
        InvalidParameters: they can't be read; all mistakes at once.
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
    """What is to be done with a bucket whose claim is being deleted, or gone.

    Args:
        parameters: of the class, as recorded.
        on_claim: the annotation of the claim; "" where there is none, or no claim.
        on_bucket: the annotation of the ObjectBucket; "" where there is none.
    """
    rules = _readable_rules(parameters)
    said = on_bucket or on_claim
    policy = _read(said) if said else rules.policy
    if not on_bucket and rules.policy is DeletionPolicy.IF_EMPTY and not rules.purge_by_annotation:
        policy = DeletionPolicy.IF_EMPTY
    if policy is DeletionPolicy.PURGE:
        return DeletionPlan(purge_after=rules.purge_after)
    # An empty bucket goes at once: there is nothing to get back.
    return DeletionPlan(policy=policy, remedy=_remedy(said, rules, by_claim=not on_bucket))


def _remedy(said: str, rules: DeletionRules, *, by_claim: bool) -> str:
    who = "claim" if by_claim else "ObjectBucket"
    if by_claim and rules.policy is DeletionPolicy.IF_EMPTY and not rules.purge_by_annotation:
        who = "ObjectBucket, as an administrator (the class has purgeByAnnotation: false),"
    is_stray = said and said not in {str(one) for one in DeletionPolicy}
    stray = f"; {said!r} is neither Purge nor IfEmpty" if is_stray else ""
    return f"empty it, or annotate the {who} with {_api.DELETION_POLICY}=Purge to have everything removed{stray}"


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
    """When a bucket is to be purged, by the annotation of its ObjectBucket; None where that says no time."""
    try:
        found = datetime.fromisoformat(annotation)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def seconds_to_purge(annotation: str, now: datetime) -> float | None:
    """Seconds until then, 0 or less once it is time; None where no time is said."""
    found = purge_time(annotation)
    return (found - now).total_seconds() if found is not None else None
