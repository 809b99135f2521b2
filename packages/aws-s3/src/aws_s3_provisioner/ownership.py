"""Ownership of buckets: makes the claim's bucket so that it is recognised, and never takes another owner's.

Used by `provisioner`; the calls are in `storage` and `identity`. Knows nothing of keys and settings.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from aws_s3_provisioner.errors import Elsewhere
from aws_s3_provisioner.parameters import TOLERANT_REGION
from aws_s3_provisioner.request import withdraw
from aws_s3_provisioner.request_ids import Answered
from aws_s3_provisioner.stamps import STAMP
from aws_s3_provisioner.storage import NewBucket, TagsRefused
from libbucket import BucketExists, BucketLost, InvalidParameters, NotReady

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_s3_provisioner.request import Request

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IP_ADDRESS: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")
_RESERVED_STARTS: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_OTHER_KINDS: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
_RESERVED_ENDS: Final = (*_OTHER_KINDS, "-an")


def is_name(bucket: str) -> bool:
    """Whether a bucket can have this name."""
    has_form = _BUCKET_NAME.fullmatch(bucket) is not None and not _IP_ADDRESS.fullmatch(bucket)
    return has_form and ".." not in bucket


def is_reserved(bucket: str) -> bool:
    """Whether AWS takes this name for no new bucket, though there may be one of before."""
    return bucket.startswith(_RESERVED_STARTS) or bucket.endswith(_RESERVED_ENDS)


def is_foreign_kind(bucket: str) -> bool:
    """Whether AWS reserves this name for what is no general purpose bucket, with other actions and ARNs."""
    return bucket.endswith(_OTHER_KINDS)


def ensure_bucket(request: Request) -> None:
    """The claim's bucket exists and has ownership tags.

    AWS tags a bucket in the call that makes it, and where it would take a bucket for made that was there, the tags
    is read. Some regions, and stores that only speak S3, take no tags in that call, so that a crash before the next one
    leaves a bucket without any; to know it again, a note is left on the user before it is made.

    Raises:
        BucketExists: it is another owner's.
        BucketLost: it is gone, after the claim was bound.
        NotReady: S3 does not know it everywhere yet, or a bucket of that name is being made for another claim.
    """
    with request.creations.only((request.clients.public, request.clients.partition, request.bucket)):
        _ensure_bucket(request)


def _ensure_bucket(request: Request) -> None:
    found = _find_tags(request)
    _check_stamps(request)
    if _settle(request, found):
        return
    if request.was_bound:
        raise BucketLost(f"bucket {request.bucket} is gone, with everything in it", request_id=found.request_id)
    if not request.parameters.tags_on_creation:
        _create_with_note(request)
        return
    try:
        made = request.storage.create(request.bucket, _new(request, _ownership_tags(request)))
    except TagsRefused:
        _create_with_note(request)
        return
    if made and request.parameters.region != TOLERANT_REGION:
        return
    there = _tags_of_made(request)
    if not request.owner.matches(there.value):
        raise _not_ours(request, there.request_id)


def _check_stamps(request: Request) -> None:
    """Refuses claims with users where only a stamp would prove a bucket: each could write one for another's bucket."""
    if request.storage.stamps.are_used and request.parameters.create_user:
        problem = "which has no tags of buckets: what says there whose a bucket is, a claim's own user could write"
        raise InvalidParameters([f"createBucketUser must be no at {request.clients.where}, {problem}"])


def _create_with_note(request: Request) -> None:
    """Makes the bucket where it can't be tagged in the same call.

    Raises:
        BucketExists: another owner made it concurrently.
    """
    if request.parameters.create_user:
        request.identity.ensure()
        request.identity.declare_intent(request.bucket)
    made = request.storage.create(request.bucket, _new(request, {}))
    found = _tags_of_made(request)
    tags = found.value
    if made and not tags and request.contents.is_empty(request.bucket):
        tags = _ownership_tags(request)
        request.storage.tag(request.bucket, tags)
    # Without any tag, another worker of ours may have made it, and be about to tag it.
    is_ours = request.owner.matches(tags) or (
        not tags and request.patience.until(lambda: _is_ours(request), request.patience.replica)
    )
    if request.parameters.create_user:
        request.identity.withdraw_intent()
    if not is_ours:
        raise _not_ours(request, found.request_id)


def _new(request: Request, tags: Mapping[str, str]) -> NewBucket:
    parameters = request.parameters
    return NewBucket(location=parameters.location, tags=tags, object_ownership=parameters.object_ownership)


def _ownership_tags(request: Request) -> dict[str, str]:
    return {**request.parameters.tags, **request.owner.ownership_tags()}


def _tags_of_made(request: Request) -> Answered[Mapping[str, str]]:
    """The tags of a bucket that S3 has just said to be there.

    Raises:
        BucketExists: it is another account's.
        NotReady: the part of S3 that was asked has not heard of it yet.
    """
    found = _find_tags(request)
    if found.value is None:
        raise NotReady(
            f"bucket {request.bucket} was made, and S3 does not know it everywhere yet",
            delay=2,
            request_id=found.request_id,
        )
    return Answered(value=found.value, request_id=found.request_id)


def _find_tags(request: Request) -> Answered[Mapping[str, str] | None]:
    """The bucket's tags; None where there is no such bucket.

    Raises:
        BucketExists: there is one in another region, and it is not ours.
        Elsewhere: there is one in another region, and it is the claim's, or may be.
    """
    try:
        return request.storage.find_tags(request.bucket)
    except Elsewhere as error:
        if not request.was_bound:
            _check_elsewhere(request, error)
        raise


def _check_elsewhere(request: Request, found: Elsewhere) -> None:
    """Refuses a bucket in another region that no earlier call can have made: all of AWS shares the names.

    One may have been made there nevertheless, if the class named that region then.

    Raises:
        BucketExists: it is another account's, or another owner's.
    """
    if not request.storage.is_own(request.bucket):
        raise BucketExists(
            f"bucket {request.bucket} exists in another region and another AWS account: choose another name",
            request_id=found.request_id,
        )
    there = request.storage.in_region(found.region)
    answer = there.find_tags(request.bucket) if there is not None else None
    if answer is None or answer.value is None:
        return
    if not request.owner.owns(answer.value, taken_over=request.taken_over):
        raise _not_ours(request, answer.request_id)


def _settle(request: Request, found: Answered[Mapping[str, str] | None]) -> bool:
    """Whether the bucket is there and ours; the end of a creation that was cut short is done first.

    Raises:
        BucketExists: it is there, and not ours.
    """
    tags = found.value
    if tags is None:
        return False
    if request.owner.matches(tags):
        return True
    # Another replica may have tagged it since, and removed its note: then the tags tell.
    if not _may_tag(request, tags) and (tags or not _is_ours(request)):
        raise _not_ours(request, found.request_id)
    request.storage.tag(request.bucket, {**tags, **_ownership_tags(request)})
    return True


def has_bucket(request: Request) -> bool:
    """Whether there is a bucket of this claim to remove.

    Raises:
        BucketExists: there is one, and it is not ours; the claim's own credentials are withdrawn by then.
        NotReady: S3 does not find it for a moment.
    """
    if not is_name(request.bucket):  # of a claim that was refused
        return False
    try:
        found = _find_tags(request)
        if found.value is None:
            request.storage.check_gone(request.bucket, found.request_id)
            return False
        return _settle(request, found)
    except BucketExists:
        withdraw(request)
        raise


def _may_tag(request: Request, tags: Mapping[str, str]) -> bool:
    """Whether a bucket that is not tagged as ours is so nevertheless."""
    if request.owner.owns(tags, taken_over=request.taken_over):
        return True
    if not tags and request.was_bound and request.storage.stamps.are_used:
        # An application that emptied its bucket has removed the stamp with the rest. An empty bucket is all that the
        # claim then gets back.
        return request.contents.is_empty(request.bucket)
    if tags or not request.parameters.create_user:
        return False
    if not request.identity.has_declared_intent(request.bucket):
        return False
    # What remains: another tenant who creates an empty bucket of that name, out of band and without tags, between our
    # note and our next call, finds it adopted. One that is not empty is not taken when it is empty later, either.
    if not request.contents.is_empty(request.bucket):
        request.identity.withdraw_intent()
        return False
    return True


def _is_ours(request: Request) -> bool:
    return request.owner.matches(_find_tags(request).value or {})


def _not_ours(request: Request, request_id: str) -> BucketExists:
    proof = f", as far as its object {STAMP} says" if request.storage.stamps.are_used else ""
    return BucketExists(
        f"bucket {request.bucket} exists and was not made for this claim{proof}: it stays as it is",
        request_id=request_id,
    )
