"""AWS in memory as the conformance suite's interfaces see it: for the answer sweep, without sockets and SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from libbucket.testing.application import Application, Refused
from libbucket.testing.conformance import Administrator, Backend, Capabilities
from testkit.aws_s3.fake_iam import secret_of
from testkit.aws_s3.regional_s3 import Bucket, RegionalS3

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from libbucket import Authentication, Endpoint, ObjectBucket
    from libbucket.provisioner import Provisioner

REGION: Final = "eu-central-1"


class InMemoryApplication(Application):
    """An application with these keys; with none, the administrator's."""

    def __init__(self, s3: RegionalS3, key_id: str = "", secret: str = "") -> None:
        self._s3, self._key_id, self._secret = s3, key_id, secret

    def put(self, bucket: str, key: str, data: bytes) -> None:
        found = self._allowed(bucket, "s3:PutObject", key)
        found.objects.put(key, data, keeps_versions=found.versioning == "Enabled")

    def get(self, bucket: str, key: str) -> bytes:
        data = self._allowed(bucket, "s3:GetObject", key).objects.get(key)
        if data is None:
            raise LookupError("NoSuchKey")
        return data

    def list_keys(self, bucket: str) -> list[str]:
        return self._allowed(bucket, "s3:ListBucket").objects.keys

    def delete(self, bucket: str, key: str) -> None:
        found = self._allowed(bucket, "s3:DeleteObject", key)
        found.objects.delete(key, has_versions=bool(found.versioning), keeps_versions=found.versioning == "Enabled")

    def batch_delete(self, bucket: str, keys: Sequence[str]) -> None:
        for key in keys:
            self.delete(bucket, key)

    def remove_bucket(self, bucket: str) -> None:
        self._allowed(bucket, "s3:DeleteBucket")
        del self._s3.buckets[bucket]

    def start_multipart(self, bucket: str, key: str) -> None:
        self._allowed(bucket, "s3:PutObject", key).objects.start_upload(key)

    def _allowed(self, bucket: str, action: str, key: str = "") -> Bucket:
        """Key before bucket, as S3 looks at them."""
        iam, found = self._s3.iam, self._s3.buckets.get(bucket)
        if self._key_id and self._secret != secret_of(self._key_id):
            raise Refused("SignatureDoesNotMatch")
        account = found.account if found is not None else iam.account
        code = iam.refuses(self._key_id, bucket, account, action=action, object_key=key) if self._key_id else ""
        if code:
            raise Refused(code)
        if found is None:
            raise LookupError("NoSuchBucket")
        return found


class InMemoryAdministrator(Administrator):
    """Reads AWS directly."""

    def __init__(self, s3: RegionalS3) -> None:
        self._s3 = s3

    def application(self) -> InMemoryApplication:
        return InMemoryApplication(self._s3)

    def make_bucket(self, name: str) -> None:
        assert name not in self._s3.buckets
        self._s3.buckets[name] = Bucket(region=REGION)

    def purge_bucket(self, name: str) -> None:
        self._s3.buckets.pop(name, None)

    def bucket_exists(self, name: str) -> bool:
        return name in self._s3.buckets

    def identity_exists(self, record: ObjectBucket) -> bool:
        return record.user_id in self._s3.iam.users

    def remove_identity(self, record: ObjectBucket) -> None:
        self._s3.iam.users.pop(record.user_id, None)
        for key_id in self.keys(record.user_id):
            del self._s3.iam.keys[key_id]

    def keys(self, user: str) -> list[str]:
        """Ids of the user's access keys."""
        return [key_id for key_id, key in self._s3.iam.keys.items() if key.user == user]

    def settings(self, bucket: str) -> Mapping[str, object]:
        found = self._s3.buckets[bucket]
        return {name: value for name, value in vars(found).items() if name not in {"objects", "unknown_for"}}

    def enable_versioning(self, bucket: str) -> None:
        self._s3.buckets[bucket].versioning = "Enabled"


class InMemoryBackend(Backend):
    """All of AWS.

    Args:
        s3: with its IAM.
    """

    capabilities = Capabilities()

    def __init__(self, s3: RegionalS3) -> None:
        self._s3, self._administrator = s3, InMemoryAdministrator(s3)

    @property
    def parameters(self) -> Mapping[str, str]:
        return {"region": REGION, "secretName": "admin", "secretNamespace": "aws"}

    @property
    def administrator(self) -> InMemoryAdministrator:
        return self._administrator

    def provisioner(self) -> Provisioner:
        raise NotImplementedError("the sweep has its own, on the turned clock")

    def application(self, endpoint: Endpoint, credentials: Authentication) -> InMemoryApplication:
        del endpoint
        keys = credentials.access_keys
        assert keys is not None
        return InMemoryApplication(self._s3, keys.access_key_id, keys.secret_access_key.reveal())
