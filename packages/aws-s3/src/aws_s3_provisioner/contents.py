"""What a bucket holds: whether anything, whether something of it is locked, and how all of it is removed.

Used by `provisioner` and `ownership`, as the administrator. Knows versions, delete markers and unfinished uploads, and
nothing of whose the bucket is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

from botocore.exceptions import ClientError

from aws_s3_provisioner.errors import code_of, refused_in_batch, tolerated, translated
from aws_s3_provisioner.policy import mistakes_in_bucket_policy
from aws_s3_provisioner.request_ids import Answered, request_id_of
from aws_s3_provisioner.stamps import STAMP, Stamps
from libbucket import AccessDenied, BucketNotEmpty, NotReady

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

    from aws_s3_provisioner.client import Clients

BATCH: Final = 1000
"""What S3 takes in one deletion."""

UPLOADS: Final = 100
"""Unfinished uploads that a batch aborts: each takes a request of its own, and a verb a bounded time."""

_LOCK_SCAN: Final = 200
_DELETE: Final = "s3:DeleteObject and s3:DeleteObjectVersion"
# https://www.w3.org/TR/xml/#charsets; line breaks the SDK escapes.
_NOT_IN_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LOCKED: Final = frozenset({"AccessDenied", "InvalidRequest", "ObjectLocked"})
"""What a batch says of a locked object: AWS, and others."""

_Entries = list[tuple[str, str]]
"""Key, and id of the version or of the upload, of each."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The contents of one account's buckets, for one verb.

    Attributes:
        clients: of this verb.
        now: the time.
        stamps: that are in buckets in place of tags, and are no content.
    """

    clients: Clients
    now: Callable[[], datetime]
    stamps: Stamps

    def is_empty(self, bucket: str) -> bool:
        """Whether the bucket holds no version, no delete marker and no unfinished upload, but for its stamp."""
        return not self._versions(bucket, 1).value and not self._uploads(bucket).value

    def check_unlocked(self, bucket: str) -> None:
        """Looks for objects that are locked, as far as a bounded search goes.

        Raises:
            BucketNotEmpty: one is.
        """
        if not self._has_object_lock(bucket):
            return
        for key, version in islice(self._all_versions(bucket), _LOCK_SCAN):
            found = self._is_locked(bucket, key, version)
            if found.value:
                raise _locked(bucket, key, found.request_id)

    def purge(self, bucket: str) -> Iterator[int]:
        """Removes everything, in steps of at most `BATCH` versions and markers, and `UPLOADS` unfinished uploads.

        Yields:
            How many were removed.

        Raises:
            NotReady: others removed the bucket meanwhile, or nothing but what was removed before is still listed.
            BucketNotEmpty: an object is locked.
        """
        removed: set[tuple[str, str]] = set()
        while removed := self._purge_batch(bucket, removed):
            yield len(removed)

    def _purge_batch(self, bucket: str, removed: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """Removes a batch; gives what was in it, which `removed` is of the batch before."""
        try:
            return self._remove_page(bucket, removed)
        except AccessDenied:
            if not self._remove_claims_policy(bucket):
                raise
            return self._remove_page(bucket, removed)

    def _remove_page(self, bucket: str, removed: set[tuple[str, str]]) -> set[tuple[str, str]]:
        versions, uploads = self._versions(bucket, BATCH), self._uploads(bucket)
        found = {*versions.value, *uploads.value}
        if found and found <= removed:
            still_lists = versions if versions.value else uploads
            raise NotReady(
                f"S3 still lists what was removed from bucket {bucket}: it is retried",
                request_id=still_lists.request_id,
            )
        self._remove(bucket, versions.value)
        self._abort_uploads(bucket, uploads.value)
        return found

    def _remove_claims_policy(self, bucket: str) -> bool:
        """Removes the bucket's policy if a claim can have written it; gives whether it did.

        A claim may shut single users out of the objects, and so the administrator: out of the policy it can't. What
        an administrator wrote against deletion stays.
        """
        with translated(self.clients.call("s3:GetBucketPolicy")):
            try:
                document = json.loads(self.clients.s3.get_bucket_policy(Bucket=bucket)["Policy"])
            except ClientError as error:
                if code_of(error) != "NoSuchBucketPolicy":
                    raise
                return False
        if mistakes_in_bucket_policy(document, self.clients.bucket_arn(bucket)):
            return False
        with translated(self.clients.call("s3:DeleteBucketPolicy")), tolerated("NoSuchBucketPolicy", "NoSuchBucket"):
            self.clients.s3.delete_bucket_policy(Bucket=bucket)
        return True

    def _versions(self, bucket: str, limit: int) -> Answered[_Entries]:
        with translated(self.clients.call("s3:ListBucketVersions")):
            try:
                found: Any = self.clients.s3.list_object_versions(Bucket=bucket, MaxKeys=limit)
            except ClientError as error:
                if not self.clients.lacks(error):
                    raise
                return self._keys(bucket, limit)
            return Answered(value=_names(found), request_id=request_id_of(found))

    def _keys(self, bucket: str, limit: int) -> Answered[_Entries]:
        """A page of a store that keeps no older versions; its stamp is not among them."""
        found = self.clients.s3.list_objects_v2(Bucket=bucket, MaxKeys=limit + 1)
        names = [(each["Key"], "") for each in found.get("Contents", [])]
        entries = [each for each in names if each[0] != STAMP or not self.stamps.are_used]
        return Answered(value=entries[:limit], request_id=request_id_of(found))

    def _all_versions(self, bucket: str) -> Iterator[tuple[str, str]]:
        with translated(self.clients.call("s3:ListBucketVersions")):
            for page in self.clients.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                yield from _names(page, markers=False)

    def _remove(self, bucket: str, versions: _Entries) -> None:
        written = [each for each in versions if not _NOT_IN_XML.search(each[0])]
        self._remove_batch(bucket, written)
        for key, version in versions:
            if _NOT_IN_XML.search(key):
                self._remove_one(bucket, key, version)

    def _remove_batch(self, bucket: str, versions: _Entries) -> None:
        if not versions:
            return
        doomed: list[ObjectIdentifierTypeDef] = [_identifier(key, version) for key, version in versions]
        call = self.clients.call(_DELETE)
        with translated(call):
            answer = self.clients.s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})
        for refused in answer.get("Errors", []):
            if refused.get("Code") in _LOCKED and self._has_object_lock(bucket):
                raise _locked(bucket, refused.get("Key", ""), request_id_of(answer))
            raise refused_in_batch(refused.get("Code", ""), call, request_id=request_id_of(answer))

    def _remove_one(self, bucket: str, key: str, version: str) -> None:
        """Removes an object whose name a batch can't say."""
        with translated(self.clients.call(_DELETE)):
            try:
                which: Any = _identifier(key, version)
                self.clients.s3.delete_object(Bucket=bucket, **which)
            except ClientError as error:
                if code_of(error) not in _LOCKED or not self._has_object_lock(bucket):
                    raise
                raise _locked(bucket, key, request_id_of(error.response)) from error

    def _uploads(self, bucket: str) -> Answered[_Entries]:
        with translated(self.clients.call("s3:ListBucketMultipartUploads")):
            # Names that XML can't hold come encoded if that is asked for. The SDK asks, and decodes, for objects only.
            found = self.clients.s3.list_multipart_uploads(Bucket=bucket, MaxUploads=UPLOADS, EncodingType="url")
        is_encoded = found.get("EncodingType") == "url"
        decoded = unquote_plus if is_encoded else str
        entries = [(decoded(upload["Key"]), upload["UploadId"]) for upload in found.get("Uploads", [])]
        return Answered(value=entries, request_id=request_id_of(found))

    def _abort_uploads(self, bucket: str, uploads: _Entries) -> None:
        for key, upload in uploads:
            with translated(self.clients.call("s3:AbortMultipartUpload")), tolerated("NoSuchUpload"):
                self.clients.s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)

    def _has_object_lock(self, bucket: str) -> bool:
        with translated(self.clients.call("s3:GetBucketObjectLockConfiguration")):
            try:
                found = self.clients.s3.get_object_lock_configuration(Bucket=bucket)
            except ClientError as error:
                is_none = code_of(error) in {"ObjectLockConfigurationNotFoundError", "NoSuchBucket"}
                if not is_none and not self.clients.lacks(error):
                    raise
                return False
        return found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"

    def _is_locked(self, bucket: str, key: str, version: str) -> Answered[bool]:
        # Asked for by name: in the answer to HEAD, locks are left out for callers that may not read them.
        until = self._lock_of("s3:GetObjectRetention", "get_object_retention", bucket, key, version)
        if until.value.get("RetainUntilDate", self.now()) > self.now():
            return Answered(value=True, request_id=until.request_id)
        hold = self._lock_of("s3:GetObjectLegalHold", "get_object_legal_hold", bucket, key, version)
        return Answered(value=hold.value.get("Status") == "ON", request_id=hold.request_id)

    def _lock_of(self, permission: str, look: str, bucket: str, key: str, version: str) -> Answered[dict[str, Any]]:
        with translated(self.clients.call(permission)):
            try:
                found = getattr(self.clients.s3, look)(Bucket=bucket, Key=key, VersionId=version)
            except ClientError as error:
                if code_of(error) != "NoSuchObjectLockConfiguration":
                    raise
                return Answered(value={}, request_id=request_id_of(error.response))
        lock = dict(found.get("Retention") or found.get("LegalHold") or {})
        return Answered(value=lock, request_id=request_id_of(found))


def _identifier(key: str, version: str) -> ObjectIdentifierTypeDef:
    return {"Key": key, "VersionId": version} if version else {"Key": key}


def _names(page: Any, *, markers: bool = True) -> _Entries:
    found = page.get("Versions", []) + (page.get("DeleteMarkers", []) if markers else [])
    return [(each["Key"], each["VersionId"]) for each in found]


def _locked(bucket: str, key: str, request_id: str) -> BucketNotEmpty:
    return BucketNotEmpty(
        f"bucket {bucket} holds objects that are locked (retention or legal hold), such as {key[:100]!r}: "
        "it can be deleted when the locks have ended",
        request_id=request_id,
    )
