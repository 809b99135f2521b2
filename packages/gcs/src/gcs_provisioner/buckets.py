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
from libbucket import BucketExists, BucketLost, BucketNotFound, InvalidClaim, NotReady, Reason, RetrySlowly

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

    from gcs_provisioner.request import Request

PROJECT_STATE: Final = "ProjectNumber"
"""The project that the bucket is in. Names are free for everybody the moment a bucket goes; labels can be copied."""

PROJECT_ID_STATE: Final = "Project"
"""That project's id, of a bucket that was made for the claim: a class that is edited may name another one."""

# https://cloud.google.com/storage/docs/buckets#naming; names with dots need a domain that is proven to be one's own.
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
_SHORTEST, _LONGEST = 3, 222
_ADDRESS: Final = re.compile(r"[0-9]+(\.[0-9]+){3}")
_KEPT: Final = ("google", "g00gle")
"""What no name may contain: "google", and close misspellings, of which the page names this one."""


def is_bucket_name(bucket: str, *, dots: bool = False) -> bool:
    """Whether Google takes the name; `dots` for an existing bucket, which may be named after a domain."""
    if not _SHORTEST <= len(bucket) <= _LONGEST or not all(_LABEL.fullmatch(each) for each in bucket.split(".")):
        return False
    if "." in bucket:
        return dots and not _ADDRESS.fullmatch(bucket)
    return not bucket.startswith("goog") and not any(each in bucket for each in _KEPT)


def check_bucket_name(bucket: str) -> None:
    """Refuses a name that Google does not take.

    Raises:
        InvalidClaim: see `is_bucket_name`.
    """
    if not is_bucket_name(bucket):
        raise InvalidClaim(
            f"spec.bucketName {bucket[:100]!r} is not a name that Google Cloud Storage takes: 3 to 63 lower-case "
            "letters, digits, hyphens and underscores, beginning and ending with a letter or digit, not beginning "
            "with 'goog' and without 'google' or 'g00gle'"
        )


def ensure_bucket(request: Request, *, versioning: bool, is_known: bool) -> Bucket:
    """The claim's bucket is there and has its ownership labels, from the very call that makes it.

    Raises:
        BucketLost: it was there, and is gone, or is another one in another project.
        BucketExists: it is not the claim's.
        RetrySlowly: it has the claim's labels, and is in another project: labels can be copied.
        NotReady: another claim's bucket is made or deleted first.
    """
    found, made_here = None, request.identity.unfinished
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
            made_here.note_bucket(request.owner.uid)
            return made
        found = _find_taken(request, made)
    check_project(request, found)
    check_ours(request, found)
    if not (is_known or _is_known(request)):
        _check_made_by_us(request)
        made_here.note_bucket(request.owner.uid)
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
        check_gone(request, missing)
        return None
    except PermissionDenied:
        # So Google answers for a bucket of another customer, too, for which a claim was refused. It is none where the
        # administrator may read its policy, and lacks one permission, or has lost every right in the project.
        if has_new_owner(request):
            return None
        is_ours = request.was_bound or request.policies.is_readable(request.bucket)
        if is_ours:
            raise
        request.storage.check_project()
        return None
    if not _is_in_its_project(request, found) or not (_is_known(request) or request.storage.is_in_project(found.name)):
        return None
    return found


def check_gone(request: Request, missing: BucketNotFound) -> None:
    """Makes sure of a bucket that Google has said to be gone: see `Storage.check_gone`.

    Buckets of a project that does not exist can't be listed. So of a claim that was never bound its word is enough.
    """
    try:
        request.storage.check_gone(request.bucket, missing.request_id)
    except PermissionDenied as refusal:
        if request.was_bound:
            raise
        request.overlooked.append(refusal.request_id)


def has_new_owner(request: Request) -> bool:
    """Whether the bucket that was made for the claim is gone, and its name another customer's: names are free at once.

    Google answers 403 then. The list of the project that the bucket was made in has it, if only a permission is
    missing. Of an existing bucket that project is not known.
    """
    return PROJECT_ID_STATE in request.state and not request.storage.is_in_project(request.bucket)


def check_still_ours(request: Request) -> Bucket:
    """The bucket as it is now; refuses to go on with one that has become another's since it was looked at.

    Raises:
        BucketExists: it has other labels.
        NotReady: it is gone, or the bucket of that name is another one.
    """
    text = f"bucket {request.bucket} was removed by others while it was being emptied"
    try:
        found = request.storage.get(request.bucket)
    except BucketNotFound as missing:
        raise NotReady(text, delay=2, request_id=missing.request_id) from missing
    if not _is_in_its_project(request, found):
        raise NotReady(text, delay=2)
    check_ours(request, found)
    return found


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


def _is_known(request: Request) -> bool:
    """Whether more than its labels shows that the bucket is the claim's."""
    return request.was_bound or request.taken_over or request.identity.unfinished.has_bucket(request.owner.uid)


def _check_made_by_us(request: Request) -> None:
    """Makes sure of a bucket that is found before the claim has any record of it, as by a call that died.

    Raises:
        RetrySlowly: it is not in the project of the class.
    """
    if not request.storage.is_in_project(request.bucket):
        raise RetrySlowly(
            f"bucket {request.bucket} has this claim's labels, and belongs to another project than "
            f"{request.storage.project}: it was not made for this claim, and stays as it is",
            reason=Reason.BUCKET_EXISTS,
        )


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
