"""Ownership in stores without tags: an object under a reserved name in the bucket; a path of its own for the user.

Used by `provisioner` for users, and by `storage`, which takes a store for one without tags of buckets when it says that
it can't do `GetBucketTagging`. Every user who may write into a bucket may write its stamp: so it proves something only
in a class whose claims all hold the administrator's own keys, and `ownership` makes no bucket with one for others.
Knows no call but those for the object.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from aws_s3_provisioner.errors import code_of, tolerated, translated
from aws_s3_provisioner.request_ids import Answered, request_id_of
from libbucket import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_s3_provisioner.client import Clients
    from libbucket import Owner

STAMP: Final = ".objectbucket/owner.json"
"""Name of the object."""

_LONGEST: Final = 16384
_UNREADABLE: Final = {STAMP: "unreadable"}


def stamped_path(path: str, owner: Owner) -> str:
    """A path for the user of this owner's claim, and of no other's: for stores that keep no tags of users.

    Args:
        path: of the class, with a slash at both ends.
        owner: of the claim.
    """
    tags = json.dumps(owner.ownership_tags(), sort_keys=True)
    return f"{path}{hashlib.sha256(tags.encode()).hexdigest()[:32]}/"


class Stamps:
    """The stamps of one verb's buckets.

    Args:
        clients: of this verb.

    Attributes:
        are_used: whether the store was found to have no tags of buckets.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._last: Mapping[str, str] = {}
        self.are_used = False

    def find(self, bucket: str) -> Answered[Mapping[str, str] | None]:
        """What the stamp says, which is nothing where there is none; None where there is no such bucket.

        What cannot be read is nobody's tags, and not none: such a bucket is not taken for a new one.
        """
        self.are_used = True
        with translated(self._clients.call("s3:GetObject")):
            try:
                found = self._clients.s3.get_object(Bucket=bucket, Key=STAMP)
                text = found["Body"].read(_LONGEST + 1)
            except ClientError as error:
                code, request_id = code_of(error), request_id_of(error.response)
                if code not in {"NoSuchKey", "NoSuchBucket"}:
                    raise
                return Answered(value={} if code == "NoSuchKey" else None, request_id=request_id)
        self._last = _tags_in(text)
        return Answered(value=self._last, request_id=request_id_of(found))

    def write(self, bucket: str, tags: Mapping[str, str]) -> None:
        """Replaces the stamp."""
        text = json.dumps(tags, sort_keys=True).encode()
        with translated(self._clients.call("s3:PutObject")):
            self._clients.s3.put_object(Bucket=bucket, Key=STAMP, Body=text, ContentType="application/json")

    def remove(self, bucket: str) -> None:
        """Removes the stamp, if the store has any: the bucket is about to go."""
        if not self.are_used:
            return
        with translated(self._clients.call("s3:DeleteObject")), tolerated("NoSuchKey", "NoSuchBucket"):
            self._clients.s3.delete_object(Bucket=bucket, Key=STAMP)

    def restore(self, bucket: str) -> None:
        """Writes the stamp that was removed: something was written into the bucket, and so it stays for now."""
        if self.are_used and self._last:
            self.write(bucket, self._last)


def _tags_in(text: bytes) -> Mapping[str, str]:
    try:
        found = parse_json(text.decode()) if len(text) <= _LONGEST else None
    except ValueError:
        return _UNREADABLE
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        return _UNREADABLE
    return found or _UNREADABLE
