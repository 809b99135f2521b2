"""Policy documents: what a claim's identity may do, and the note that a bucket is being made.

Pure builders, used by `identity`. Knows no client; everything that a claim may do stands on this page.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minio_provisioner.parameters import Locks

Document = dict[str, Any]

_INTENT: Final = "ObjectBucketBeingCreated"
_NO_IDENTITIES: Final = "NoIdentities"
_NOTE: Final = re.compile(rf"{_NO_IDENTITIES}([1-9][0-9]{{0,8}})?(?:K([0-9a-f]{{16}}))?")

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
    "s3:GetObjectVersionAttributes",
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
)
_RETENTION_ACTION: Final = "s3:PutObjectRetention"


@dataclass(frozen=True, kw_only=True)
class Note:
    """What the policy notes in the name of a statement: MinIO has no other place for it.

    Attributes:
        generation: which user of the claim's the policy was written for.
        fingerprint: of the secret key that was set last; empty where none is noted.
    """

    generation: int = 1
    fingerprint: str = ""

    @property
    def sid(self) -> str:
        """Name of the statement that carries it."""
        key = f"K{self.fingerprint}" if self.fingerprint else ""
        return f"{_NO_IDENTITIES}{self.generation if self.generation > 1 else ''}{key}"


def fingerprint_of(secret_key: str) -> str:
    """Tells two secret keys of 240 random bits apart, and nothing about either."""
    return hashlib.sha256(secret_key.encode()).hexdigest()[:16]


def build_access(bucket: str, *, locks: Locks | None, note: Note = Note()) -> Document:
    """What an application needs in its own bucket, and nothing else.

    MinIO lets every user change their own password and make service accounts for themselves unless a policy
    denies it: hence the denial. Who can do that outlives the removal of one key.

    Args:
        bucket: the bucket's name.
        note: what `note_in` finds in the policy later.
        locks: what applications may lock, where the class makes buckets with object locking: then setting and reading
            locks belongs to what they need.
    """
    on_bucket = _BUCKET_ACTIONS + (_LOCK_BUCKET_ACTIONS if locks else ())
    on_objects = _OBJECT_ACTIONS + (_LOCK_OBJECT_ACTIONS if locks else ())
    return _document(
        _statement("Bucket", "Allow", on_bucket, f"arn:aws:s3:::{bucket}"),
        _statement("Objects", "Allow", on_objects, f"arn:aws:s3:::{bucket}/*"),
        *_retention(bucket, locks),
        {"Sid": note.sid, "Effect": "Deny", "Action": ["admin:*"]},
    )


def _retention(bucket: str, locks: Locks | None) -> list[Document]:
    """The permission to set a retention, as far as the class allows it.

    MinIO takes the values of conditions from headers and queries of the request, too (`getConditionValues` in its
    `cmd/bucket-policy.go`), so these bind every client but one that forges them. That there is no such permission at
    all (`max_days` 0) binds everyone.
    """
    if locks is None or locks.max_days == 0:
        return []
    conditions: Document = {}
    if locks.max_days is not None:
        conditions["NumericLessThanEquals"] = {"s3:object-lock-remaining-retention-days": [locks.max_days]}
    if locks.mode:
        conditions["StringEquals"] = {"s3:object-lock-mode": [locks.mode]}
    statement = _statement("Retention", "Allow", (_RETENTION_ACTION,), f"arn:aws:s3:::{bucket}/*")
    return [{**statement, "Condition": conditions} if conditions else statement]


def build_intent(bucket: str) -> Document:
    """The note, under the name of the claim's policy, that this claim is about to make `bucket`.

    It is written before the bucket is made, because MinIO can't create a bucket with tags.
    It allows nothing, so it does no harm if it stays behind.
    """
    return _document(
        _statement(_INTENT, "Deny", ("s3:*",), f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"),
    )


def note_in(document: Mapping[str, Any] | None) -> Note:
    """What a policy, as it is read from MinIO, notes; the note of a first user where it says nothing."""
    for statement in _statements(document or {}):
        found = _NOTE.fullmatch(str(statement.get("Sid", "")))
        if found:
            return Note(generation=int(found[1] or 1), fingerprint=found[2] or "")
    return Note()


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
