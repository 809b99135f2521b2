"""Policy documents: what a claim's identity may do, and the note that a bucket is being made.

Pure builders, used by `identity`. Knows no client; everything that a claim may do stands on this page.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Document = dict[str, Any]

_INTENT: Final = "ObjectBucketBeingCreated"
_NO_IDENTITIES: Final = "NoIdentities"
_GENERATION: Final = re.compile(rf"{_NO_IDENTITIES}([1-9][0-9]{{0,8}})")

_BUCKET_ACTIONS: Final = (
    "s3:GetBucketLocation",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions",
)
_OBJECT_ACTIONS: Final = (
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:DeleteObjectTagging",
    "s3:DeleteObjectVersion",
    "s3:GetObject",
    "s3:GetObjectAttributes",
    "s3:GetObjectTagging",
    "s3:GetObjectVersion",
    "s3:GetObjectVersionTagging",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
    "s3:PutObjectTagging",
)
_LOCK_BUCKET_ACTIONS: Final = ("s3:GetBucketObjectLockConfiguration", "s3:GetBucketVersioning")
_LOCK_OBJECT_ACTIONS: Final = (
    "s3:GetObjectLegalHold",
    "s3:GetObjectRetention",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
)


def build_access(bucket: str, *, object_locking: bool, generation: int = 1) -> Document:
    """What an application needs in its own bucket, and nothing else.

    MinIO lets every user change their own password and make service accounts for themselves unless a policy
    denies it: hence the denial. Who can do that outlives the removal of one key.

    Args:
        bucket: the bucket's name.
        generation: of the user that the policy is for; noted in the name of a statement: see `generation_of`.
        object_locking: the class makes buckets with object locking: then setting and reading locks belongs
            to what an application needs.
    """
    on_bucket = _BUCKET_ACTIONS + (_LOCK_BUCKET_ACTIONS if object_locking else ())
    on_objects = _OBJECT_ACTIONS + (_LOCK_OBJECT_ACTIONS if object_locking else ())
    return _document(
        _statement("Bucket", "Allow", on_bucket, f"arn:aws:s3:::{bucket}"),
        _statement("Objects", "Allow", on_objects, f"arn:aws:s3:::{bucket}/*"),
        {
            "Sid": _NO_IDENTITIES + (str(generation) if generation > 1 else ""),
            "Effect": "Deny",
            "Action": ["admin:*"],
        },
    )


def build_intent(bucket: str) -> Document:
    """The note, under the name of the claim's policy, that this claim is about to make `bucket`.

    It is written before the bucket is made, because MinIO can't stamp a bucket in the call that makes it.
    It allows nothing, so it does no harm if it stays behind.
    """
    return _document(
        _statement(_INTENT, "Deny", ("s3:*",), f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"),
    )


def generation_of(document: Mapping[str, Any]) -> int:
    """Which user of the claim's the policy was written for, as it is read from MinIO: 1 where it does not say."""
    found = [_GENERATION.fullmatch(str(one.get("Sid", ""))) for one in _statements(document)]
    return max((int(match[1]) for match in found if match), default=1)


def is_intent(document: Mapping[str, Any], bucket: str) -> bool:
    """Whether `document`, read from MinIO, is the note that `bucket` is being made."""
    statements = _statements(document)
    if len(statements) != 1:
        return False
    resources = statements[0].get("Resource", [])
    return statements[0].get("Sid") == _INTENT and f"arn:aws:s3:::{bucket}" in resources


def _statements(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = document.get("Statement")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _document(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _statement(sid: str, effect: str, actions: tuple[str, ...], *resources: str) -> Document:
    return {"Sid": sid, "Effect": effect, "Action": sorted(actions), "Resource": list(resources)}


def is_same(found: Mapping[str, Any], wanted: Document) -> bool:
    """Whether a policy as MinIO gives it back says what another says: it sorts what has no order."""
    return bool(_normal(found) == _normal(wanted))


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items() if item not in ("", None)}
    if isinstance(value, (list, tuple)):
        return sorted((_normal(item) for item in value), key=str)
    return value
