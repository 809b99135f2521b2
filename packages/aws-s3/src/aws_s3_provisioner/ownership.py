"""Whose a bucket is: makes the claim's bucket so that it is known again, and never takes somebody else's.

Used by `provisioner`; the calls are in `storage` and `identity`. Knows nothing of keys and settings.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from aws_s3_provisioner.request import withdraw
from aws_s3_provisioner.storage import NewBucket
from libbucket import BucketExists, BucketLost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_s3_provisioner.request import Request

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IP_ADDRESS: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")
_RESERVED_STARTS: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_ENDS: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3", "-an")

_TOLERANT_REGION: Final = "us-east-1"
"""Where making a bucket that is the account's already is no error."""


def is_name(bucket: str) -> bool:
    """Whether a bucket can have this name."""
    has_form = _BUCKET_NAME.fullmatch(bucket) is not None and not _IP_ADDRESS.fullmatch(bucket)
    return has_form and ".." not in bucket


def is_reserved(bucket: str) -> bool:
    """Whether AWS takes this name for no new bucket, though there may be one of before."""
    return bucket.startswith(_RESERVED_STARTS) or bucket.endswith(_RESERVED_ENDS)


def ensure_bucket(request: Request) -> None:
    """The claim's bucket is there and stamped.

    AWS stamps a bucket in the call that makes it, and where it would take a bucket for made that was there, the stamp
    is read. A store that only speaks S3 may leave the stamp out, so that a crash before the next call leaves a bucket
    without one; to know it again, a note is left on the user before it is made.
    """
    if _settle(request):
        return
    if request.was_bound:
        raise BucketLost(f"bucket {request.bucket} is gone, with everything in it")
    tags = {**request.parameters.tags, **request.owner.stamp()}
    new = NewBucket(region=request.parameters.region, tags=tags, object_ownership=request.parameters.object_ownership)
    if not request.parameters.stamps_on_creation:
        _create_with_note(request, new)
        return
    made = request.storage.create(request.bucket, new)
    if not (made and new.region != _TOLERANT_REGION) and not _is_ours(request):
        raise _not_ours(request.bucket)


def _create_with_note(request: Request, new: NewBucket) -> None:
    """Makes the bucket at a store that may leave the stamp out.

    Raises:
        BucketExists: somebody made it since we looked.
    """
    if request.parameters.create_user:
        request.identity.ensure()
        request.identity.declare_intent(request.bucket)
    made = request.storage.create(request.bucket, new)
    found = request.storage.find_tags(request.bucket)
    if made and found == {} and request.storage.is_empty(request.bucket):
        request.storage.stamp(request.bucket, new.tags)
        found = new.tags
    # Without any tag, another worker of ours may have made it, and be about to stamp it.
    is_ours = request.owner.is_stamped_on(found or {}) or (
        not found and request.patience.until(lambda: _is_ours(request), request.patience.replica)
    )
    if request.parameters.create_user:
        request.identity.withdraw_intent()
    if not is_ours:
        raise _not_ours(request.bucket)


def _settle(request: Request) -> bool:
    """Whether the bucket is there and ours; the end of a creation that was cut short is done first.

    Raises:
        BucketExists: it is there, and not ours.
    """
    tags = request.storage.find_tags(request.bucket)
    if tags is None:
        return False
    if request.owner.is_stamped_on(tags):
        return True
    if not _may_stamp(request, tags):
        raise _not_ours(request.bucket)
    request.storage.stamp(request.bucket, {**tags, **request.parameters.tags, **request.owner.stamp()})
    return True


def has_bucket(request: Request) -> bool:
    """Whether there is a bucket of this claim to remove.

    Raises:
        BucketExists: there is one, and it is not ours; the claim's own credentials are withdrawn by then.
    """
    if not is_name(request.bucket):  # of a claim that was refused
        return False
    try:
        return _settle(request)
    except BucketExists:
        withdraw(request)
        raise


def _may_stamp(request: Request, tags: Mapping[str, str]) -> bool:
    """Whether a bucket that is not stamped as ours is so nevertheless."""
    if request.owner.owns(tags, taken_over=request.taken_over):
        return True
    if tags or request.parameters.stamps_on_creation or not request.parameters.create_user:
        return False
    if not request.identity.has_declared_intent(request.bucket):
        return False
    # What remains: a neighbour who makes an empty bucket of that very name, by hand and without tags, between our
    # note and our next call, finds it adopted. One that is not empty is not taken when it is empty later, either.
    if not request.storage.is_empty(request.bucket):
        request.identity.withdraw_intent()
        return False
    return True


def _is_ours(request: Request) -> bool:
    return request.owner.is_stamped_on(request.storage.find_tags(request.bucket) or {})


def _not_ours(bucket: str) -> BucketExists:
    return BucketExists(f"bucket {bucket} exists and was not made for this claim: it stays as it is")
