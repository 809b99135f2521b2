"""What a MinIO in memory keeps. Plain data: knows no request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from testkit.aws_s3.fake_objects import Objects


class MinioRefusal(Exception):
    """An answer that is no success.

    Args:
        status: of HTTP.
        code: MinIO's own; see `testkit/answers/minio.toml` for the source of each.
    """

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


@dataclass(kw_only=True)
class Bucket:
    """One bucket.

    Attributes:
        tags: on it.
        versioning: `Enabled`, `Suspended`, or "" for a bucket that never kept versions.
        has_lock: whether its objects can be locked; it keeps versions then, and can't stop to. Source:
            `PutBucketHandler` in MinIO's `cmd/bucket-handlers.go`, `PutBucketVersioningHandler`.
        quota: bytes; 0 for none.
        objects: in it.
        retained: versions under retention, by key and version id: mode and date.
    """

    tags: dict[str, str] = field(default_factory=dict)
    versioning: str = ""
    has_lock: bool = False
    quota: int = 0
    objects: Objects = field(default_factory=Objects)
    retained: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    @property
    def keeps_versions(self) -> bool:
        """Whether a write leaves the version before it."""
        return self.versioning == "Enabled"


@dataclass(kw_only=True)
class User:
    """A user.

    Attributes:
        secret: its secret key.
        is_enabled: whether it may ask for anything.
        policies: names of those that are attached.
    """

    secret: str
    is_enabled: bool = True
    policies: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class State:
    """All of it.

    Attributes:
        root: name and secret key of the administrator.
        buckets: by name.
        users: by name, which is the access key.
        policies: documents by name.
    """

    root: tuple[str, str]
    buckets: dict[str, Bucket] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)

    def bucket(self, name: str) -> Bucket:
        """A bucket.

        Raises:
            MinioRefusal: there is none.
        """
        if name not in self.buckets:
            raise MinioRefusal(404, "NoSuchBucket")
        return self.buckets[name]

    def secret_of(self, access_key: str) -> str:
        """The secret key that belongs to an access key.

        Source: `checkKeyValid` in MinIO's `cmd/signature-v4-utils.go`.

        Raises:
            MinioRefusal: there is no such user, or it is disabled.
        """
        if access_key == self.root[0]:
            return self.root[1]
        user = self.users.get(access_key)
        if user is None or not user.is_enabled:
            raise MinioRefusal(403, "InvalidAccessKeyId")
        return user.secret
