"""The claim's bucket: found or made, and told from a bucket of that name that is not the claim's.

Used by `provisioner`; the calls are in `storage`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from google.api_core.exceptions import Conflict

from gcs_provisioner.errors import PermissionDenied
from gcs_provisioner.refusals import id_of
from gcs_provisioner.stamps import build_ownership_labels
from libbucket import BucketExists, BucketLost, BucketNotFound, InvalidClaim, NotReady

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

    from gcs_provisioner.request import Request

PROJECT_STATE: Final = "ProjectNumber"
"""The project that the bucket is in. Names are free for everybody the moment a bucket goes; labels can be copied."""

# https://cloud.google.com/storage/docs/buckets#naming; names with dots need a domain that is proven to be one's own.
_BUCKET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]")


def is_bucket_name(bucket: str, *, dots: bool = False) -> bool:
    """Whether Google takes the name; `dots` for an existing bucket, which may be named after a domain."""
    if dots and "." in bucket:
        return all(_BUCKET_NAME.fullmatch(each) or len(each) == 1 for each in bucket.split("."))
    return _BUCKET_NAME.fullmatch(bucket) is not None and not bucket.startswith("goog") and "google" not in bucket


def check_bucket_name(bucket: str) -> None:
    """Refuses a name that Google does not take.

    Raises:
        InvalidClaim: see `is_bucket_name`.
    """
    if not is_bucket_name(bucket):
        raise InvalidClaim(
            f"spec.bucketName {bucket[:100]!r} is not a name that Google Cloud Storage takes: 3 to 63 lower-case "
            "letters, digits, hyphens and underscores, beginning and ending with a letter or digit, not beginning "
            "with 'goog' and without 'google'"
        )


def ensure_bucket(request: Request, *, versioning: bool, is_known: bool) -> Bucket:
    """The claim's bucket is there and has its ownership labels, from the very call that makes it.

    Raises:
        BucketLost: it was there, and is gone, or is another one in another project.
        BucketExists: it is not the claim's.
        NotReady: another claim's bucket is made or deleted first.
    """
    found = None
    try:
        found = request.storage.get(request.bucket)
    except BucketNotFound as missing:
        if is_known:
            raise BucketLost(
                f"bucket {request.bucket} is gone, with everything in it", request_id=missing.request_id
            ) from missing
    except PermissionDenied:
        # So Google answers for a bucket of another project too. Making it harms nothing, and tells.
        if request.was_bound:
            raise
    if found is None:
        made = request.storage.create(request.bucket, build_ownership_labels(request.owner), versioning=versioning)
        if not isinstance(made, Conflict):
            return made
        found = _find_taken(request, made)
    check_project(request, found)
    check_ours(request, found)
    if not request.owner.matches(found.labels):
        request.storage.tag(found, build_ownership_labels(request.owner))
    return found


def find_to_delete(request: Request) -> Bucket | None:
    """The claim's bucket; None where there is none, or none that can be the claim's."""
    if not is_bucket_name(request.bucket):
        return None  # of a claim that was refused: there is nothing to remove
    try:
        found = request.storage.get(request.bucket)
    except BucketNotFound as missing:
        request.storage.check_gone(request.bucket, missing.request_id)
        return None
    except PermissionDenied:
        # So Google answers for a bucket of another customer, too, for which a claim was refused. It is none where the
        # administrator may read its policy, and lacks one permission, or has lost every right in the project.
        is_ours = request.was_bound or request.policies.is_readable(request.bucket)
        if is_ours:
            raise
        request.storage.check_project()
        return None
    return found if _is_in_its_project(request, found) else None


def check_ours(request: Request, found: Bucket) -> None:
    """Refuses a bucket without the claim's ownership labels.

    Raises:
        BucketExists: it has none, or another claim's.
    """
    if not request.owner.owns(found.labels, taken_over=request.taken_over):
        raise BucketExists(f"bucket {request.bucket} exists and was not made for this claim: it stays as it is")


def check_project(request: Request, found: Bucket) -> None:
    """Refuses a bucket of the right name, and perhaps with the right labels, in another project than before.

    Raises:
        BucketLost: it is not the bucket that the claim was bound to.
    """
    if not _is_in_its_project(request, found):
        raise BucketLost(
            f"bucket {request.bucket} is gone, with everything in it: the bucket of that name is another one now, in "
            f"Google Cloud project number {found.project_number}"
        )


def _is_in_its_project(request: Request, found: Bucket) -> bool:
    return request.state.get(PROJECT_STATE) in {None, str(found.project_number)}


def _find_taken(request: Request, conflict: Conflict) -> Bucket:
    """The bucket that was made since the first request: it may have been another worker of ours."""
    try:
        found = request.storage.find(request.bucket)
    except PermissionDenied as refusal:
        if request.storage.is_in_project(request.bucket):
            raise
        raise BucketExists(
            f"bucket {request.bucket} exists and belongs to another project: names are shared by all users of Google "
            "Cloud Storage",
            request_id=refusal.request_id,
        ) from refusal
    if found is None:
        text = f"bucket {request.bucket} exists and can't be seen yet"
        raise NotReady(text, delay=2, request_id=id_of(conflict))
    return found
