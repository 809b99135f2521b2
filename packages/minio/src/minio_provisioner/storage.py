"""Bucket calls: find, create, set tags and settings, purge, remove. One function of MinIO's client each.

Used by `provisioner`, as the administrator. Knows nothing of users and policies. Each call names the permission
that it needs, for the message if MinIO refuses it.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

from minio.commonconfig import ENABLED, Tags
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from minio.versioningconfig import SUSPENDED, VersioningConfig

from libbucket import BucketNotEmpty, NotReady, parse_json
from minio_provisioner.errors import BAD_CREDENTIALS, Call, code_of, refused_in_batch, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from minio.datatypes import Object

    from libbucket import AccessKeys
    from minio_provisioner.client import Clients

BATCH: Final = 1000
"""What S3 takes in one deletion."""

_LAG_SECONDS: Final = 10.0
"""Delay after an answer of a node that lags behind."""

_LOCK_SCAN: Final = 10_000
_PROBE_PREFIX: Final = "objectbucket-probe/"
_REMOVED: Final = frozenset({"NoSuchKey", "NoSuchVersion"})
"""Codes for an object, or a version of it, that is not there any more."""

_LOCKED: Final = frozenset({"InvalidRequest", "ObjectLocked"})
"""Codes in a batch for a locked object; MinIO uses the first one, and for nothing else in a batch."""

_VERSIONING: Final = {"Enabled": ENABLED, "Suspended": SUSPENDED}

_NAMED_IN_XML: Final = re.compile("[\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
"""Names that a request in XML 1.0 carries as they are.

Others make it malformed, or, where they hold a carriage return, name another object: a parser reads a line feed, and
MinIO says that what is not there was removed. Source: https://www.w3.org/TR/xml/, sections 2.2 and 2.11.
"""


@dataclass(frozen=True, kw_only=True)
class Content:
    """Something that a bucket holds: a version or a delete marker, or an unfinished upload.

    Attributes:
        name: of the object.
        id: of the version, or of the upload.
        is_upload: whether it is an upload.
    """

    name: str
    id: str
    is_upload: bool = False


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The buckets of one MinIO, for one verb."""

    clients: Clients

    def list_names(self) -> list[str]:
        """Names of all buckets."""
        with translated(self._call("s3:ListAllMyBuckets")):
            return [bucket.name for bucket in self.clients.s3.list_buckets()]

    def find_tags(self, bucket: str) -> Mapping[str, str] | None:
        """The bucket's tags, which may be none; None where there is no such bucket.

        Raises:
            ProvisionerError: MinIO did not say.
        """
        # Existence is asked for separately: MinIO answers "no tags" for a bucket that is not there. And by listing,
        # since the answer to HEAD has no body, so that a wrong password would look like a missing permission.
        with translated(self._call("s3:ListBucket")):
            try:
                list(self.clients.s3.list_objects(bucket, prefix=_PROBE_PREFIX))
            except S3Error as error:
                if code_of(error) != "NoSuchBucket":
                    raise
                return None
        with translated(self._call("s3:GetBucketTagging")):
            return dict(self.clients.s3.get_bucket_tags(bucket) or {})

    def confirm_gone(self, bucket: str) -> None:
        """Returns if a second, different request says too that there is no such bucket.

        Raises:
            NotReady: it is there: the node, or the proxy, that said otherwise lags behind.
        """
        self.clients.pool.clear()  # behind a load balancer, a new connection may reach another node
        # Not by HEAD, whose answer has no body: a wrong password would look like a missing permission.
        with translated(self._call("s3:GetBucketVersioning")):
            try:
                self.clients.s3.get_bucket_versioning(bucket)
            except S3Error as error:
                if code_of(error) != "NoSuchBucket":
                    raise
                return
        raise NotReady(
            f"MinIO at {self.clients.url} says that bucket {bucket} is there, and that it is not: the claim waits "
            "until it says the same each time",
            delay=_LAG_SECONDS,
        )

    def create(self, bucket: str, *, object_locking: bool) -> bool:
        """Creates the bucket; False where there is one of that name already."""
        needed = "s3:CreateBucket"
        if object_locking:
            needed += ", s3:PutBucketObjectLockConfiguration and s3:PutBucketVersioning"
        with translated(self._call(needed)):
            try:
                self.clients.s3.make_bucket(bucket, object_lock=object_locking)
            except S3Error as error:
                if code_of(error) not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise
                return False
        return True

    def set_tags(self, bucket: str, wanted: Mapping[str, str]) -> None:
        """Replaces the bucket's tags."""
        tags = Tags.new_bucket_tags()
        tags.update(wanted)
        with translated(self._call("s3:PutBucketTagging")):
            self.clients.s3.set_bucket_tags(bucket, tags)

    def set_versioning(self, bucket: str, status: str) -> bool:
        """Sets versioning to `Enabled` or `Suspended`; False where it is that already.

        A bucket that never had versions is left so when they are to be suspended: it already keeps none.
        """
        with translated(self._call("s3:GetBucketVersioning")):
            found = self.clients.s3.get_bucket_versioning(bucket).status
        if found == status or (found != ENABLED and status == "Suspended"):
            return False
        with translated(self._call("s3:PutBucketVersioning")):
            self.clients.s3.set_bucket_versioning(bucket, VersioningConfig(_VERSIONING[status]))
        return True

    def set_quota(self, bucket: str, size: int) -> bool:
        """Limits the bucket to `size` bytes; 0 lifts the limit; False where it is so already.

        MinIO enforces it some time later.
        """
        with translated(self._call("admin:GetBucketQuota")):
            found = parse_json(self.clients.admin.bucket_quota_get(bucket)) or {}
        if (found.get("size") or found.get("quota") or 0) == size:
            return False
        with translated(self._call("admin:SetBucketQuota")):
            self.clients.admin.bucket_quota_set(bucket, size)
        return True

    def find_refusal(self, keys: AccessKeys, bucket: str) -> str:
        """The code with which a claim's own keys are refused now, by the node that is asked; empty where they are not.

        Raises:
            ProvisionerError: MinIO did not say.
        """
        with translated(self._call("s3:ListBucket")):
            try:
                list(self.clients.s3_as(keys).list_objects(bucket, prefix=_PROBE_PREFIX))
            except S3Error as error:
                if code_of(error) not in BAD_CREDENTIALS | {"AccessDenied", "NoSuchBucket"}:
                    raise
                return code_of(error)
        return ""

    def is_empty(self, bucket: str) -> bool:
        """Whether the bucket holds no version, no delete marker and no unfinished upload."""
        return not self._find_content(bucket, 1)

    def has_object_lock(self, bucket: str) -> bool:
        """Whether objects of the bucket can be locked."""
        with translated(self._call("s3:GetBucketObjectLockConfiguration")):
            try:
                self.clients.s3.get_object_lock_config(bucket)
            except S3Error as error:
                if code_of(error) not in {"ObjectLockConfigurationNotFoundError", "NoSuchBucket"}:
                    raise
                return False
        return True

    def check_unlocked(self, bucket: str, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Looks for objects that are locked, as far as a bounded search goes: it takes two requests for each version.

        Args:
            bucket: one with object locking.
            seconds: no version is read later than this.
            clock: seconds that never run backwards.

        Raises:
            BucketNotEmpty: one is.
        """
        deadline = clock() + seconds
        with translated(self._call("s3:ListBucketVersions")):
            for found in islice(self._versions(bucket), _LOCK_SCAN):
                if clock() > deadline:
                    return
                if not found.is_delete_marker and self._is_locked(bucket, found):
                    raise _locked(bucket, found.object_name or "")

    def purge(self, bucket: str) -> Iterator[int]:
        """Removes everything, in steps of at most `BATCH` versions and delete markers, and as many unfinished uploads.

        Yields:
            How many are gone: what is listed after it was removed is not counted.

        Raises:
            NotReady: others removed the bucket meanwhile, or something is still listed that MinIO says it has removed.
            BucketNotEmpty: an object is locked.
        """
        found = self._find_content(bucket, BATCH)
        while found:
            self.remove_content(bucket, found)
            rest = self._find_content(bucket, BATCH)
            remaining = set(found) & set(rest)
            if remaining:
                raise NotReady(
                    f"MinIO at {self.clients.url} says it has removed {len(remaining)} objects of bucket {bucket}, "
                    f"and still lists them: such as {min(one.name for one in remaining)[:100]!r}"
                )
            yield len(found)
            found = rest

    def remove_content(self, bucket: str, found: Iterable[Content]) -> None:
        """Removes what was found: in one request what one can name, and each of the rest in one of its own."""
        versions = [one for one in found if not one.is_upload]
        self._remove_batch(bucket, [one for one in versions if _NAMED_IN_XML.fullmatch(one.name)])
        for one in versions:
            if not _NAMED_IN_XML.fullmatch(one.name):
                self._remove_one(bucket, one)
        for one in found:
            if one.is_upload:
                self._abort(bucket, one)

    def remove(self, bucket: str) -> None:
        """Removes the empty bucket.

        Raises:
            NotReady: something was written into it meanwhile; or MinIO says that it does not exist, although it did a
                moment ago: whether it is gone, or a node lags behind, the next call finds out.
        """
        with translated(self._call("s3:DeleteBucket")):
            self.clients.s3.remove_bucket(bucket)

    def _call(self, permission: str) -> Call:
        return Call(url=self.clients.url, permission=permission)

    def _versions(self, bucket: str) -> Iterator[Object]:
        found: Iterator[Object] = self.clients.s3.list_objects(bucket, recursive=True, include_version=True)
        return found

    def _find_content(self, bucket: str, limit: int) -> list[Content]:
        with translated(self._call("s3:ListBucketVersions")):
            versions = [
                Content(name=found.object_name or "", id=found.version_id or "")
                for found in islice(self._versions(bucket), limit)
            ]
        # MinIO's client has no public call for it since 7.0; without a prefix the server answers with all of them.
        with translated(self._call("s3:ListBucketMultipartUploads")):
            found = self.clients.s3._list_multipart_uploads(bucket, encoding_type="url")  # noqa: SLF001
        uploads = [
            Content(name=upload.object_name, id=upload.upload_id or "", is_upload=True)
            for upload in found.uploads[:limit]
        ]
        return versions + uploads

    def _remove_batch(self, bucket: str, versions: Iterable[Content]) -> None:
        doomed = [DeleteObject(one.name, one.id) for one in versions]
        call = self._call("s3:DeleteObject")
        with translated(call):
            for refused in self.clients.s3.remove_objects(bucket, doomed):
                if refused.code in _LOCKED:
                    raise _locked(bucket, refused.name or "")
                raise refused_in_batch(refused.code, call)

    def _remove_one(self, bucket: str, version: Content) -> None:
        # Not by `remove_object`, which refuses names of white space.
        with translated(self._call("s3:DeleteObject")):
            try:
                self.clients.s3._execute(  # noqa: SLF001
                    "DELETE", bucket, version.name, query_params={"versionId": version.id} if version.id else None
                )
            except S3Error as error:
                if code_of(error) in _LOCKED:
                    raise _locked(bucket, version.name) from error
                if code_of(error) not in _REMOVED:
                    raise

    def _abort(self, bucket: str, upload: Content) -> None:
        with translated(self._call("s3:AbortMultipartUpload")):
            try:
                self.clients.s3._abort_multipart_upload(bucket, upload.name, upload.id)  # noqa: SLF001
            except S3Error as error:
                if code_of(error) != "NoSuchUpload":
                    raise

    def _is_locked(self, bucket: str, found: Object) -> bool:
        name, version = found.object_name or "", found.version_id
        if not name.strip():
            return False  # MinIO's client asks for no such name; if it is locked, the purge stops at it
        return self._is_retained(bucket, name, version) or self._is_held(bucket, name, version)

    def _is_retained(self, bucket: str, name: str, version: str | None) -> bool:
        """Whether a retention has not ended; not that of what an application removed since it was listed."""
        with translated(self._call("s3:GetObjectRetention")):
            try:
                found = self.clients.s3.get_object_retention(bucket, name, version)
            except S3Error as error:
                if code_of(error) not in _REMOVED:
                    raise
                return False
        return found is not None and found.retain_until_date > datetime.now(UTC)

    def _is_held(self, bucket: str, name: str, version: str | None) -> bool:
        """Whether there is a legal hold; not that of what an application removed since it was listed."""
        with translated(self._call("s3:GetObjectLegalHold")):
            try:
                return self.clients.s3.is_object_legal_hold_enabled(bucket, name, version)
            except S3Error as error:
                if code_of(error) not in _REMOVED:
                    raise
                return False


def _locked(bucket: str, name: str) -> BucketNotEmpty:
    return BucketNotEmpty(
        f"bucket {bucket} holds objects that are locked (retention or legal hold), such as {name[:100]!r}: "
        "it can be deleted when the locks have ended"
    )
