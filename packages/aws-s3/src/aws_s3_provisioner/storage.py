"""Bucket calls: find, create, tag, try, purge, remove. Almost one function of the SDK each.

Used by `provisioner`, as the administrator. Knows nothing of users. Each call names the permission that it needs, for
the message if AWS refuses it. What is set on a bucket is in `settings`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

from botocore.exceptions import ClientError

from aws_s3_provisioner.errors import (
    BAD_KEY,
    DENIED,
    code_of,
    refused_in_batch,
    request_id_of,
    tolerated,
    translated,
)
from aws_s3_provisioner.policy import mistakes_in_bucket_policy
from aws_s3_provisioner.stamps import STAMP, Stamps
from libbucket import AccessDenied, BucketExists, BucketNotEmpty, BucketNotFound, NotReady, StoreRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from mypy_boto3_s3.type_defs import CreateBucketRequestTypeDef, ObjectIdentifierTypeDef

    from aws_s3_provisioner.client import Clients
    from libbucket import AccessKeys

BATCH: Final = 1000
"""What S3 takes in one deletion."""

UPLOADS: Final = 100
"""Unfinished uploads that a batch aborts: each takes a request of its own, and a verb a bounded time."""

_LOCK_SCAN: Final = 200
_NO_CONTENT: Final = 204
# The last is Cloudian's: https://github.com/hashicorp/terraform-provider-aws/issues/36714
_NO_TAGS: Final = frozenset({"NoSuchTagSet", "NoSuchTagSetError", "ERROR_NO_SUCH_BUCKET_TAGSET"})
_NOT_IMPLEMENTED: Final = "NotImplemented"
_PROBE_PREFIX: Final = "objectbucket-probe/"
_DELETE: Final = "s3:DeleteObject and s3:DeleteObjectVersion"
# https://www.w3.org/TR/xml/#charsets; line breaks the SDK escapes.
_NOT_IN_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LOCKED: Final = frozenset({"AccessDenied", "InvalidRequest", "ObjectLocked"})
"""What a batch says of a locked object: AWS, and others."""


# IAM's own are 16 to 128 word characters: https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html; other
# stores' may have more, and none that would end the header's field. Their secrets are far shorter than this.
_ACCESS_KEY: Final = re.compile(r"[A-Za-z0-9_.~@+:-]{1,128}")
_LONGEST_SECRET: Final = 1024


class Trial(Enum):
    """What came of trying a claim's credentials on its bucket."""

    WORKS = "works"
    DENIED = "known, and denied"
    UNKNOWN = "not known, or not yet"
    NO_BUCKET = "there is no bucket"


_REFUSED_TRIALS: Final[Mapping[str, Trial]] = {
    **dict.fromkeys(BAD_KEY, Trial.UNKNOWN),
    **dict.fromkeys(DENIED, Trial.DENIED),
    "NoSuchBucket": Trial.NO_BUCKET,
}


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One trial of a claim's credentials.

    Attributes:
        trial: what came of it.
        request_id: of the answer that refused it; "" where it worked, or nobody was asked.
    """

    trial: Trial
    request_id: str = ""


@dataclass(frozen=True, kw_only=True)
class NewBucket:
    """What a bucket is made with.

    Attributes:
        location: name of a region; empty for the store's own default.
        tags: the owner's tags and the class's tags; none where they are set by another call.
        object_ownership: empty for AWS's default.
    """

    location: str
    tags: Mapping[str, str]
    object_ownership: str


_TAGS_REFUSED: Final = frozenset({"UnsupportedArgument", "MalformedXML"})
"""How servers that know no tags in CreateBucket refuse them: those that do not read the element, and those that verify
the document against a schema without it. Source of the first: terraform-provider-aws, issue 45684."""


class TagsRefused(StoreRefused):
    """The region does not take tags in the call that makes a bucket: it was not made."""


@dataclass(frozen=True, kw_only=True)
class FoundTags:
    """The answer to the question for a bucket's tags.

    Attributes:
        tags: on it, which may be none; None where there is no such bucket.
        request_id: of the answer.
    """

    tags: Mapping[str, str] | None
    request_id: str


@dataclass(frozen=True, kw_only=True)
class _Page:
    """A page of a listing.

    Attributes:
        entries: key, and id of the version or of the upload, of each.
        request_id: of the answer.
    """

    entries: list[tuple[str, str]]
    request_id: str


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The buckets of one account, for one verb.

    Attributes:
        clients: of this verb.
        now: the time.
        stamps: in place of tags.
    """

    clients: Clients
    now: Callable[[], datetime]
    stamps: Stamps

    def find_tags(self, bucket: str) -> FoundTags:
        """The bucket's tags, or where the store has none its stamp.

        Raises:
            BucketExists: there is one, and it is another account's.
            ProvisionerError: AWS did not say.
        """
        with translated(self.clients.call("s3:GetBucketTagging")):
            try:
                found = self.clients.s3.get_bucket_tagging(Bucket=bucket)
            except ClientError as error:
                code, request_id = code_of(error), request_id_of(error.response)
                if code == "NoSuchBucket":
                    return FoundTags(tags=None, request_id=request_id)
                if code in DENIED and self._is_anothers(bucket):
                    raise _anothers(bucket, request_id) from error
                if self._is_missing(error):
                    tags, request_id = self.stamps.find(bucket)
                    return FoundTags(tags=tags, request_id=request_id)
                if code not in _NO_TAGS:
                    raise
                # Stores that only speak S3 say so of a bucket that is not there, too.
                return FoundTags(tags={} if self.exists(bucket) else None, request_id=request_id)
        tags = {tag["Key"]: tag["Value"] for tag in found["TagSet"]}
        return FoundTags(tags=tags, request_id=request_id_of(found))

    def exists(self, bucket: str) -> bool:
        """Whether the bucket is there; raises as `check_exists`, but for a bucket that is not there."""
        try:
            self.check_exists(bucket)
        except BucketNotFound:
            return False
        return True

    def check_exists(self, bucket: str) -> None:
        """Makes sure that the bucket is there.

        Raises:
            BucketNotFound: it is not.
            ProvisionerError: AWS did not say; or it is another account's, and not open to this one.
        """
        with translated(self.clients.call("s3:ListBucket")):
            try:
                self.clients.s3.list_objects_v2(Bucket=bucket, MaxKeys=1, Prefix=_PROBE_PREFIX)
            except ClientError as error:
                if code_of(error) != "NoSuchBucket":
                    raise
                raise BucketNotFound(
                    f"bucket {bucket}, which the StorageClass names, does not exist",
                    request_id=request_id_of(error.response),
                ) from error

    def create(self, bucket: str, new: NewBucket) -> bool:
        """Makes the bucket with its tags: False where one of that name was made since it was looked for.

        In us-east-1, and elsewhere than at AWS, a bucket that is the account's already is no error: True says less.

        Raises:
            BucketExists: AWS says that another account has it; other stores say so of the account's own as well.
            TagsRefused: it has to be made without tags.
            ProvisionerError: AWS did not make it.
        """
        call = self.clients.call("s3:CreateBucket and s3:TagResource" if new.tags else "s3:CreateBucket")
        with translated(call):
            try:
                self.clients.s3.create_bucket(**_creation(bucket, new))
            except ClientError as error:
                if code_of(error) in _TAGS_REFUSED and new.tags:
                    raise _tags_refused(call.where, error) from error
                is_anothers = code_of(error) == "BucketAlreadyExists" and self.clients.is_aws
                if is_anothers or code_of(error) not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise
                return False
        return True

    def tag(self, bucket: str, tags: Mapping[str, str]) -> None:
        """Replaces the bucket's tags."""
        if self.stamps.are_used:
            self.stamps.write(bucket, tags)
            return
        with translated(self.clients.call("s3:PutBucketTagging")):
            self.clients.s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": _tag_set(tags)})

    def attempt(self, keys: AccessKeys, bucket: str) -> Attempt:
        """Tries a claim's own keys on its bucket, in one request; what can be no key at all is not sent.

        Raises:
            ProvisionerError: AWS did not say.
        """
        if not _is_key(keys):
            return Attempt(trial=Trial.UNKNOWN)
        with translated(self.clients.call("s3:ListBucket")):
            try:
                self.clients.s3_as(keys).list_objects_v2(Bucket=bucket, MaxKeys=1, Prefix=_PROBE_PREFIX)
            except ClientError as error:
                trial = _REFUSED_TRIALS.get(code_of(error))
                if trial is None:
                    raise
                return Attempt(trial=trial, request_id=request_id_of(error.response))
        return Attempt(trial=Trial.WORKS)

    def attempt_writing(self, keys: AccessKeys, bucket: str, kms_key_id: str) -> Attempt:
        """Writes an empty object with a claim's own keys, encrypted as all of its objects, and removes it.

        S3 takes any key for a bucket: whether that exists, is enabled and may be used, an upload tells. Source:
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketEncryption.html.

        Raises:
            RetrySlowly: the KMS key can't be used.
            ProvisionerError: AWS did not say.
        """
        key = f"{_PROBE_PREFIX}write"
        encryption: Any = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id, "BucketKeyEnabled": True}
        with translated(self.clients.call("s3:PutObject")):
            try:
                made = self.clients.s3_as(keys).put_object(Bucket=bucket, Key=key, **encryption)
            except ClientError as error:
                trial = _REFUSED_TRIALS.get(code_of(error))
                if trial is None:
                    raise
                return Attempt(trial=trial, request_id=request_id_of(error.response))
        with translated(self.clients.call(_DELETE)):
            self.clients.s3.delete_object(Bucket=bucket, Key=key, VersionId=made.get("VersionId", "null"))
        return Attempt(trial=Trial.WORKS)

    def is_empty(self, bucket: str) -> bool:
        """Whether the bucket holds no version, no delete marker and no unfinished upload, but for its stamp."""
        return not self._versions(bucket, 1).entries and not self._uploads(bucket).entries

    def check_unlocked(self, bucket: str) -> None:
        """Looks for objects that are locked, as far as a bounded search goes.

        Raises:
            BucketNotEmpty: one is.
        """
        if not self._has_object_lock(bucket):
            return
        for key, version in islice(self._all_versions(bucket), _LOCK_SCAN):
            if self._is_locked(bucket, key, version):
                raise _locked(bucket, key)

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

    def remove(self, bucket: str) -> None:
        """Removes the empty bucket; one that is gone is fine.

        Raises:
            NotReady: something was written into it meanwhile, S3 does not find it for a moment, or another server has
                answered in place of S3.
        """
        self.stamps.remove(bucket)
        with translated(self.clients.call("s3:DeleteBucket")):
            try:
                # Its model has no answer, and what the SDK returns has metadata.
                told: Any = self.clients.s3.delete_bucket(Bucket=bucket)
            except ClientError as error:
                if code_of(error) != "NoSuchBucket":
                    self.stamps.restore(bucket)
                    raise
                self.check_gone(bucket, request_id_of(error.response))
                return
        # S3 answers with 204: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html. What answers
        # with another success may be a proxy, and has perhaps removed nothing.
        if told["ResponseMetadata"]["HTTPStatusCode"] != _NO_CONTENT and self.exists(bucket):
            raise NotReady(
                f"bucket {bucket} is still there, although its removal was answered with success",
                request_id=request_id_of(told),
            )

    def check_gone(self, bucket: str, request_id: str) -> None:
        """Makes sure that a bucket that was not found is gone: a part of S3 may not know it for a moment.

        Where the account's buckets may not be listed, that it was not found is all that can be known.

        Args:
            bucket: its name.
            request_id: of the answer that did not find it.

        Raises:
            NotReady: the account has it.
        """
        try:
            is_there = self.is_own(bucket)
        except (AccessDenied, StoreRefused):
            return
        if is_there:
            raise NotReady(f"S3 lists bucket {bucket}, and does not find it", delay=5, request_id=request_id)

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
        found = {*versions.entries, *uploads.entries}
        if found and found <= removed:
            still_lists = versions if versions.entries else uploads
            raise NotReady(
                f"S3 still lists what was removed from bucket {bucket}: it is retried",
                request_id=still_lists.request_id,
            )
        self._remove(bucket, versions.entries)
        self._abort_uploads(bucket, uploads.entries)
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

    def is_own(self, bucket: str) -> bool:
        """Whether the account has a bucket of this name, in any region."""
        with translated(self.clients.call("s3:GetBucketTagging or s3:ListAllMyBuckets")):
            # One page holds it: the name itself comes first of those that begin with it. Without a size of the page
            # AWS refuses accounts that may have more than 10,000 buckets:
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/BucketRestrictions.html
            found = self.clients.s3.list_buckets(Prefix=bucket, MaxBuckets=BATCH)
        return any(each.get("Name") == bucket for each in found.get("Buckets", []))

    def in_region(self, region: str) -> Storage | None:
        """The same in another region of AWS; None where only one is within reach."""
        clients = self.clients.in_region(region)
        return None if clients is None else replace(self, clients=clients, stamps=Stamps(clients))

    def _is_anothers(self, bucket: str) -> bool:
        """Whether a bucket whose tags may not be read is another account's: all of AWS shares the names.

        What is refused may also be ours, or not there at all, and only a permission be missing.
        """
        if self.is_own(bucket):
            return False
        with translated(self.clients.call("s3:GetBucketTagging or s3:ListBucket")):
            try:
                self.clients.s3.head_bucket(Bucket=bucket)
            except ClientError as error:
                if code_of(error) not in DENIED | {"404"}:
                    raise
                return code_of(error) != "404"
        return True

    def _is_missing(self, error: ClientError) -> bool:
        """Whether the store has no such thing, as Cloudflare R2 and Garage have no tags of buckets and no versions.

        AWS has all of it, so that the same answer there is a failure, from which nothing follows.
        """
        return code_of(error) == _NOT_IMPLEMENTED and not self.clients.is_aws

    def _versions(self, bucket: str, limit: int) -> _Page:
        with translated(self.clients.call("s3:ListBucketVersions")):
            try:
                found: Any = self.clients.s3.list_object_versions(Bucket=bucket, MaxKeys=limit)
            except ClientError as error:
                if not self._is_missing(error):
                    raise
                return self._keys(bucket, limit)
            return _Page(entries=_names(found), request_id=request_id_of(found))

    def _keys(self, bucket: str, limit: int) -> _Page:
        """A page of a store that keeps no older versions; its stamp is not among them."""
        found = self.clients.s3.list_objects_v2(Bucket=bucket, MaxKeys=limit + 1)
        names = [(each["Key"], "") for each in found.get("Contents", [])]
        entries = [each for each in names if each[0] != STAMP or not self.stamps.are_used]
        return _Page(entries=entries[:limit], request_id=request_id_of(found))

    def _all_versions(self, bucket: str) -> Iterator[tuple[str, str]]:
        with translated(self.clients.call("s3:ListBucketVersions")):
            for page in self.clients.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                yield from _names(page, markers=False)

    def _remove(self, bucket: str, versions: list[tuple[str, str]]) -> None:
        written = [each for each in versions if not _NOT_IN_XML.search(each[0])]
        self._remove_batch(bucket, written)
        for key, version in versions:
            if _NOT_IN_XML.search(key):
                self._remove_one(bucket, key, version)

    def _remove_batch(self, bucket: str, versions: list[tuple[str, str]]) -> None:
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

    def _uploads(self, bucket: str) -> _Page:
        with translated(self.clients.call("s3:ListBucketMultipartUploads")):
            # Names that XML can't hold come encoded if that is asked for. The SDK asks, and decodes, for objects only.
            found = self.clients.s3.list_multipart_uploads(Bucket=bucket, MaxUploads=UPLOADS, EncodingType="url")
        is_encoded = found.get("EncodingType") == "url"
        decoded = unquote_plus if is_encoded else str
        entries = [(decoded(upload["Key"]), upload["UploadId"]) for upload in found.get("Uploads", [])]
        return _Page(entries=entries, request_id=request_id_of(found))

    def _abort_uploads(self, bucket: str, uploads: list[tuple[str, str]]) -> None:
        for key, upload in uploads:
            with translated(self.clients.call("s3:AbortMultipartUpload")), tolerated("NoSuchUpload"):
                self.clients.s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)

    def _has_object_lock(self, bucket: str) -> bool:
        with translated(self.clients.call("s3:GetBucketObjectLockConfiguration")):
            try:
                found = self.clients.s3.get_object_lock_configuration(Bucket=bucket)
            except ClientError as error:
                is_none = code_of(error) in {"ObjectLockConfigurationNotFoundError", "NoSuchBucket"}
                if not is_none and not self._is_missing(error):
                    raise
                return False
        return found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"

    def _is_locked(self, bucket: str, key: str, version: str) -> bool:
        # Asked for by name: in the answer to HEAD, locks are left out for callers that may not read them.
        until = self._lock_of("s3:GetObjectRetention", "get_object_retention", bucket, key, version)
        if until.get("RetainUntilDate", self.now()) > self.now():
            return True
        hold = self._lock_of("s3:GetObjectLegalHold", "get_object_legal_hold", bucket, key, version)
        return bool(hold.get("Status") == "ON")

    def _lock_of(self, permission: str, look: str, bucket: str, key: str, version: str) -> dict[str, Any]:
        with translated(self.clients.call(permission)):
            try:
                found = getattr(self.clients.s3, look)(Bucket=bucket, Key=key, VersionId=version)
            except ClientError as error:
                if code_of(error) != "NoSuchObjectLockConfiguration":
                    raise
                return {}
        return dict(found.get("Retention") or found.get("LegalHold") or {})


def _creation(bucket: str, new: NewBucket) -> CreateBucketRequestTypeDef:
    # Ceph wants no body without a LocationConstraint, and Garage knows nothing else in it: what is empty is left out.
    configuration: Any = {"Tags": _tag_set(new.tags)} if new.tags else {}
    if new.location:
        configuration["LocationConstraint"] = new.location
    request: CreateBucketRequestTypeDef = {"Bucket": bucket}
    if configuration:
        request["CreateBucketConfiguration"] = configuration
    if new.object_ownership:
        ownership: Any = new.object_ownership
        request["ObjectOwnership"] = ownership
    return request


def _tags_refused(where: str, error: ClientError) -> TagsRefused:
    return TagsRefused(
        f"{where} takes no tags in s3:CreateBucket ({code_of(error)}): the bucket was not made",
        request_id=request_id_of(error.response),
    )


def _is_key(keys: AccessKeys) -> bool:
    """Whether this may be a key at all: the claim's author can write anything into the Secret.

    A line break, a slash or a megabyte in the signature's header would be answered as a mistake in the class, or not.
    """
    has_form = _ACCESS_KEY.fullmatch(keys.access_key_id) is not None
    return has_form and 0 < len(keys.secret_access_key.reveal()) <= _LONGEST_SECRET


def _identifier(key: str, version: str) -> ObjectIdentifierTypeDef:
    return {"Key": key, "VersionId": version} if version else {"Key": key}


def _tag_set(tags: Mapping[str, str]) -> list[Any]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _names(page: Any, *, markers: bool = True) -> list[tuple[str, str]]:
    found = page.get("Versions", []) + (page.get("DeleteMarkers", []) if markers else [])
    return [(each["Key"], each["VersionId"]) for each in found]


def _locked(bucket: str, key: str, request_id: str = "") -> BucketNotEmpty:
    return BucketNotEmpty(
        f"bucket {bucket} holds objects that are locked (retention or legal hold), such as {key[:100]!r}: "
        "it can be deleted when the locks have ended",
        request_id=request_id,
    )


def _anothers(bucket: str, request_id: str) -> BucketExists:
    return BucketExists(f"bucket {bucket} exists in another AWS account: choose another name", request_id=request_id)
