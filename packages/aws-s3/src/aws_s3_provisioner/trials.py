"""What S3 makes of a claim's own keys: one request each, and nothing but the answer counts.

Used by `credentials` and `provisioner`. Knows no user, and decides nothing about keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from aws_s3_provisioner.errors import BAD_KEY, DENIED, code_of, translated
from aws_s3_provisioner.request_ids import request_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_s3_provisioner.client import Clients
    from libbucket import AccessKeys

PROBE_PREFIX: Final = "objectbucket-probe/"
"""What is listed, or written, only in order to try it."""

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
class Trials:
    """Tries keys, for one verb.

    Attributes:
        clients: of this verb.
    """

    clients: Clients

    def attempt(self, keys: AccessKeys, bucket: str) -> Attempt:
        """Tries a claim's own keys on its bucket, in one request; what can be no key at all is not sent.

        Raises:
            ProvisionerError: AWS did not say.
        """
        if not _is_key(keys):
            return Attempt(trial=Trial.UNKNOWN)
        with translated(self.clients.call("s3:ListBucket")):
            try:
                self.clients.s3_as(keys).list_objects_v2(Bucket=bucket, MaxKeys=1, Prefix=PROBE_PREFIX)
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
        key = f"{PROBE_PREFIX}write"
        encryption: Any = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id, "BucketKeyEnabled": True}
        with translated(self.clients.call("s3:PutObject")):
            try:
                made = self.clients.s3_as(keys).put_object(Bucket=bucket, Key=key, **encryption)
            except ClientError as error:
                trial = _REFUSED_TRIALS.get(code_of(error))
                if trial is None:
                    raise
                return Attempt(trial=trial, request_id=request_id_of(error.response))
        with translated(self.clients.call("s3:DeleteObject and s3:DeleteObjectVersion")):
            self.clients.s3.delete_object(Bucket=bucket, Key=key, VersionId=made.get("VersionId", "null"))
        return Attempt(trial=Trial.WORKS)


def _is_key(keys: AccessKeys) -> bool:
    """Whether this may be a key at all: the claim's author can write anything into the Secret.

    A line break, a slash or a megabyte in the signature's header would be answered as a mistake in the class, or not.
    """
    has_form = _ACCESS_KEY.fullmatch(keys.access_key_id) is not None
    return has_form and 0 < len(keys.secret_access_key.reveal()) <= _LONGEST_SECRET
