"""Bucket calls: look, make, stamp, set versioning, purge, remove. One function of MinIO's client each.

Used by `provisioner`, as the administrator. Knows nothing of users and policies. Each call names the permission
that it needs, for the message if MinIO refuses it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

from minio.commonconfig import ENABLED, Tags
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from minio.versioningconfig import SUSPENDED, VersioningConfig

from libbucket import BucketNotEmpty
from minio_provisioner.errors import BAD_CREDENTIALS, Call, code_of, refused_in_batch, translated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from minio.datatypes import Object

    from libbucket import AccessKeys
    from minio_provisioner.client import Clients

BATCH: Final = 1000
"""What S3 takes in one deletion."""

_LOCK_SCAN: Final = 10_000
_PROBE_PREFIX: Final = "objectbucket-probe/"
_LOCKED: Final = frozenset({"InvalidRequest", "ObjectLocked"})
"""What a batch says of a locked object: the first is this MinIO's word, for nothing else in a batch."""

_VERSIONING: Final = {"Enabled": ENABLED, "Suspended": SUSPENDED}


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The buckets of one MinIO, for one verb."""

    clients: Clients

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

    def create(self, bucket: str, *, object_locking: bool) -> bool:
        """Makes the bucket: False where somebody made one of that name since we looked."""
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

    def stamp(self, bucket: str, stamp: Mapping[str, str]) -> None:
        """Writes the owner's stamp as the bucket's tags; only for a bucket that has none."""
        tags = Tags.new_bucket_tags()
        tags.update(stamp)
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
            found = json.loads(self.clients.admin.bucket_quota_get(bucket))
        if (found.get("size") or found.get("quota") or 0) == size:
            return False
        with translated(self._call("admin:SetBucketQuota")):
            self.clients.admin.bucket_quota_set(bucket, size)
        return True

    def accepts(self, keys: AccessKeys, bucket: str) -> bool:
        """Whether a claim's own keys reach its bucket now.

        Raises:
            ProvisionerError: MinIO did not say.
        """
        with translated(self._call("s3:ListBucket")):
            try:
                list(self.clients.s3_as(keys).list_objects(bucket, prefix=_PROBE_PREFIX))
            except S3Error as error:
                if code_of(error) not in BAD_CREDENTIALS | {"AccessDenied", "NoSuchBucket"}:
                    raise
                return False
        return True

    def is_empty(self, bucket: str) -> bool:
        """Whether the bucket holds no version, no delete marker and no unfinished upload."""
        return not self._first_versions(bucket, 1) and not self._uploads(bucket)

    def check_unlocked(self, bucket: str) -> None:
        """Looks for objects that are locked, as far as a bounded look goes.

        Raises:
            BucketNotEmpty: one is.
        """
        if not self._has_object_lock(bucket):
            return
        with translated(self._call("s3:ListBucketVersions")):
            for found in islice(self._versions(bucket), _LOCK_SCAN):
                if not found.is_delete_marker and self._is_locked(bucket, found):
                    raise _locked(bucket, found.object_name or "")

    def purge_batch(self, bucket: str) -> int:
        """Removes at most `BATCH` versions and delete markers, and the unfinished uploads.

        Returns:
            How many were removed: 0 when the bucket has nothing left.

        Raises:
            NotReady: somebody else removed the bucket meanwhile.
            BucketNotEmpty: an object is locked.
        """
        return self._remove(bucket, self._first_versions(bucket, BATCH)) + self._abort_uploads(bucket)

    def remove(self, bucket: str) -> None:
        """Removes the empty bucket; one that is gone is fine.

        Raises:
            NotReady: something was written into it meanwhile.
        """
        with translated(self._call("s3:DeleteBucket")):
            try:
                self.clients.s3.remove_bucket(bucket)
            except S3Error as error:
                if code_of(error) != "NoSuchBucket":
                    raise

    def _call(self, permission: str) -> Call:
        return Call(url=self.clients.url, permission=permission)

    def _versions(self, bucket: str) -> Iterator[Object]:
        found: Iterator[Object] = self.clients.s3.list_objects(bucket, recursive=True, include_version=True)
        return found

    def _first_versions(self, bucket: str, limit: int) -> list[Object]:
        with translated(self._call("s3:ListBucketVersions")):
            return list(islice(self._versions(bucket), limit))

    def _remove(self, bucket: str, versions: Iterable[Object]) -> int:
        doomed = [DeleteObject(found.object_name or "", found.version_id) for found in versions]
        call = self._call("s3:DeleteObject")
        with translated(call):
            for refused in self.clients.s3.remove_objects(bucket, doomed):
                if refused.code in _LOCKED:
                    raise _locked(bucket, refused.name or "")
                raise refused_in_batch(refused.code, call)
        return len(doomed)

    def _uploads(self, bucket: str) -> list[tuple[str, str]]:
        # MinIO's client has no public call for it since 7.0; without a prefix the server answers with all of them.
        with translated(self._call("s3:ListBucketMultipartUploads")):
            found = self.clients.s3._list_multipart_uploads(bucket)  # noqa: SLF001
        return [(upload.object_name, upload.upload_id or "") for upload in found.uploads]

    def _abort_uploads(self, bucket: str) -> int:
        uploads = self._uploads(bucket)[:BATCH]
        for name, upload_id in uploads:
            with translated(self._call("s3:AbortMultipartUpload")):
                try:
                    self.clients.s3._abort_multipart_upload(bucket, name, upload_id)  # noqa: SLF001
                except S3Error as error:
                    if code_of(error) != "NoSuchUpload":
                        raise
        return len(uploads)

    def _has_object_lock(self, bucket: str) -> bool:
        with translated(self._call("s3:GetBucketObjectLockConfiguration")):
            try:
                self.clients.s3.get_object_lock_config(bucket)
            except S3Error as error:
                if code_of(error) not in {"ObjectLockConfigurationNotFoundError", "NoSuchBucket"}:
                    raise
                return False
        return True

    def _is_locked(self, bucket: str, found: Object) -> bool:
        name, version = found.object_name or "", found.version_id
        with translated(self._call("s3:GetObjectRetention")):
            retention = self.clients.s3.get_object_retention(bucket, name, version)
            if retention is not None and retention.retain_until_date > datetime.now(UTC):
                return True
        with translated(self._call("s3:GetObjectLegalHold")):
            return self.clients.s3.is_object_legal_hold_enabled(bucket, name, version)


def _locked(bucket: str, name: str) -> BucketNotEmpty:
    return BucketNotEmpty(
        f"bucket {bucket} holds objects that are locked (retention or legal hold), such as {name[:100]!r}: "
        "it can be deleted when the locks have ended"
    )
