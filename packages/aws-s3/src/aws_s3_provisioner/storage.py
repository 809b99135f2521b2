"""Bucket calls: find, create, tag, remove. Almost one function of the SDK each.

Used by `provisioner`, as the administrator. Knows nothing of users. Each call names the permission that it needs, for
the message if AWS refuses it. What a bucket holds is in `contents`, and what is set on it in `settings`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from aws_s3_provisioner.errors import DENIED, code_of, is_denial, translated
from aws_s3_provisioner.request_ids import Answered, request_id_of
from aws_s3_provisioner.stamps import Stamps
from aws_s3_provisioner.trials import PROBE_PREFIX
from libbucket import AccessDenied, BucketExists, BucketNotFound, NotReady, StoreRefused, has_ownership_tags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3.type_defs import CreateBucketRequestTypeDef

    from aws_s3_provisioner.client import Clients

_PAGE: Final = 1000
_NO_CONTENT: Final = 204
# The last is Cloudian's: https://github.com/hashicorp/terraform-provider-aws/issues/36714
_NO_TAGS: Final = frozenset({"NoSuchTagSet", "NoSuchTagSetError", "ERROR_NO_SUCH_BUCKET_TAGSET"})


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
class Storage:
    """The buckets of one account, for one verb.

    Attributes:
        clients: of this verb.
        stamps: in place of tags.
    """

    clients: Clients
    stamps: Stamps

    def find_tags(self, bucket: str) -> Answered[Mapping[str, str] | None]:
        """The bucket's tags, or where the store has none its stamp; None where there is no such bucket.

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
                    return Answered(value=None, request_id=request_id)
                if code in DENIED and self._is_anothers(bucket):
                    raise _anothers(bucket, request_id) from error
                if self.clients.lacks(error):
                    return self.stamps.find(bucket)
                if code not in _NO_TAGS:
                    raise
                # Stores that only speak S3 say so of a bucket that is not there, too.
                return Answered(value={} if self.exists(bucket) else None, request_id=request_id)
        tags = {tag["Key"]: tag["Value"] for tag in found["TagSet"]}
        return Answered(value=tags, request_id=request_id_of(found))

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
                self.clients.s3.list_objects_v2(Bucket=bucket, MaxKeys=1, Prefix=PROBE_PREFIX)
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
        """Replaces the bucket's tags.

        Raises:
            AccessDenied: S3 does not permit it, or the bucket has to be tagged manually.
            StoreRefused: the same; the page about such buckets names no code.
        """
        if self.stamps.are_used:
            self.stamps.write(bucket, tags)
            return
        try:
            with translated(self.clients.call("s3:PutBucketTagging")):
                self.clients.s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": _tag_set(tags)})
        except (AccessDenied, StoreRefused) as error:
            if not self.clients.is_aws or not _may_be_by_abac(error):
                raise
            kind = AccessDenied if isinstance(error, AccessDenied) else StoreRefused
            raise kind(f"{error.message}; {_about_abac(bucket, tags)}", request_id=error.request_id) from error

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

    def is_own(self, bucket: str) -> bool:
        """Whether the account has a bucket of this name, in any region."""
        with translated(self.clients.call("s3:GetBucketTagging or s3:ListAllMyBuckets")):
            # One page holds it: the name itself comes first of those that begin with it. Without a size of the page
            # AWS refuses accounts that may have more than 10,000 buckets:
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/BucketRestrictions.html
            found = self.clients.s3.list_buckets(Prefix=bucket, MaxBuckets=_PAGE)
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


def _tag_set(tags: Mapping[str, str]) -> list[Any]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _may_be_by_abac(error: AccessDenied | StoreRefused) -> bool:
    cause = error.__cause__
    return isinstance(error, StoreRefused) or (isinstance(cause, ClientError) and is_denial(cause))


def _about_abac(bucket: str, tags: Mapping[str, str]) -> str:
    """Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/buckets-tagging-enable-abac.html."""
    wanted = ", ".join(f"{key}={value}" for key, value in tags.items() if has_ownership_tags({key: value}))
    return (
        f"if bucket {bucket} has attribute-based access control (ABAC), tag it manually, with TagResource of S3 "
        f"Control: {wanted}"
    )


def _anothers(bucket: str, request_id: str) -> BucketExists:
    return BucketExists(f"bucket {bucket} exists in another AWS account: choose another name", request_id=request_id)
