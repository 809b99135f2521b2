"""Buckets and objects of a MinIO in memory, as far as the provisioner and the tests ask for them.

Source: the handlers in MinIO's `cmd/bucket-handlers.go`, `bucket-listobjects-handlers.go`, `object-handlers.go` and
`bucket-object-lock.go`; codes: `errorCodes` in its `cmd/api-errors.go`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

from testkit.aws_s3.fake_objects import Locked, keys_xml, uploads_xml, versions_xml
from testkit.minio.fake.state import Bucket, MinioRefusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from testkit.minio.fake.state import State
    from testkit.resilience.proxy import Request

Answer = tuple[int, dict[str, str], bytes]

_NS: Final = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_PAGE: Final = 1000
_OK: Final[Answer] = (200, {}, b"")
_NO_CONTENT: Final[Answer] = (204, {}, b"")
_BUCKET_FLAGS: Final = {
    ("GET", "location"): "s3:GetBucketLocation",
    ("GET", "tagging"): "s3:GetBucketTagging",
    ("PUT", "tagging"): "s3:PutBucketTagging",
    ("GET", "versioning"): "s3:GetBucketVersioning",
    ("PUT", "versioning"): "s3:PutBucketVersioning",
    ("GET", "object-lock"): "s3:GetBucketObjectLockConfiguration",
    ("GET", "versions"): "s3:ListBucketVersions",
    ("GET", "uploads"): "s3:ListBucketMultipartUploads",
    ("POST", "delete"): "s3:DeleteObject",
    ("GET", "policy"): "s3:GetBucketPolicy",
    ("GET", "lifecycle"): "s3:GetLifecycleConfiguration",
    ("GET", "encryption"): "s3:GetEncryptionConfiguration",
}
_ABSENT: Final = {
    "policy": "NoSuchBucketPolicy",
    "lifecycle": "NoSuchLifecycleConfiguration",
    "encryption": "ServerSideEncryptionConfigurationNotFoundError",
}
_OBJECT_ACTIONS: Final = {"GET": "s3:GetObject", "PUT": "s3:PutObject", "POST": "s3:PutObject"}
_BUCKET_ACTIONS: Final = {
    "GET": "s3:ListBucket",
    "HEAD": "s3:ListBucket",
    "PUT": "s3:CreateBucket",
    "DELETE": "s3:DeleteBucket",
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request of the S3 API.

    Attributes:
        method: of HTTP.
        bucket: its name.
        key: of an object; "" for the bucket itself.
        query: a flag has the value "".
        headers: by name, in lower case.
        body: as it came.
    """

    method: str
    bucket: str
    key: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def of(cls, request: Request) -> Asked:
        """Reads a request."""
        bucket, _, key = request.path.lstrip("/").partition("/")
        query = dict(parse_qsl(request.target.partition("?")[2], keep_blank_values=True))
        return cls(
            method=request.method,
            bucket=bucket,
            key=unquote(key),
            query=query,
            headers=request.headers,
            body=request.body,
        )


def action_of(asked: Asked) -> str:
    """What a policy has to permit."""
    if asked.key:
        if asked.method == "DELETE":
            is_upload = "uploadId" in asked.query
            return "s3:AbortMultipartUpload" if is_upload else "s3:DeleteObject"
        return _OBJECT_ACTIONS[asked.method]
    flagged = [_BUCKET_FLAGS[asked.method, flag] for flag in asked.query if (asked.method, flag) in _BUCKET_FLAGS]
    return flagged[0] if flagged else _BUCKET_ACTIONS[asked.method]


def answer_s3(state: State, asked: Asked) -> Answer:
    """Status, headers and body.

    Raises:
        MinioRefusal: it is refused.
    """
    if asked.key:
        return _on_object(state.bucket(asked.bucket), asked)
    if asked.method == "PUT" and not asked.query:
        return _create(state, asked)
    bucket = state.bucket(asked.bucket)
    if asked.method == "DELETE":
        return _remove(state, bucket, asked)
    if asked.method == "HEAD":
        return _OK
    flag = next((name for name in asked.query if name in _ON_BUCKET or name in _ABSENT), "")
    if flag in _ABSENT:
        raise MinioRefusal(404, _ABSENT[flag])
    return _ON_BUCKET[flag](bucket, asked) if flag else _keys(bucket, asked)


def _create(state: State, asked: Asked) -> Answer:
    if asked.bucket in state.buckets:
        raise MinioRefusal(409, "BucketAlreadyOwnedByYou")
    has_lock = asked.headers.get("x-amz-bucket-object-lock-enabled", "") == "true"
    state.buckets[asked.bucket] = Bucket(has_lock=has_lock, versioning="Enabled" if has_lock else "")
    return _OK


def _remove(state: State, bucket: Bucket, asked: Asked) -> Answer:
    is_forced = asked.headers.get("x-minio-force-delete") == "true"
    if is_forced and bucket.has_lock:
        raise MinioRefusal(405, "MethodNotAllowed")
    if not is_forced and not bucket.objects.is_empty:
        raise MinioRefusal(409, "BucketNotEmpty")
    del state.buckets[asked.bucket]
    return _NO_CONTENT


def _location(_bucket: Bucket, _asked: Asked) -> Answer:
    return _xml("<LocationConstraint/>")


def _tagging(bucket: Bucket, asked: Asked) -> Answer:
    if asked.method == "PUT":
        found = ET.fromstring(asked.body).iter(f"{_NS}Tag")
        pairs = ((tag.findtext(f"{_NS}Key"), tag.findtext(f"{_NS}Value")) for tag in found)
        bucket.tags = {key or "": value or "" for key, value in pairs}
        return _OK
    if not bucket.tags:
        raise MinioRefusal(404, "NoSuchTagSet")
    tags = "".join(f"<Tag><Key>{escape(k)}</Key><Value>{escape(v)}</Value></Tag>" for k, v in bucket.tags.items())
    return _xml(f"<Tagging><TagSet>{tags}</TagSet></Tagging>")


def _versioning(bucket: Bucket, asked: Asked) -> Answer:
    if asked.method == "PUT":
        wanted = ET.fromstring(asked.body).findtext(f"{_NS}Status", "")
        if bucket.has_lock and wanted != "Enabled":
            raise MinioRefusal(409, "InvalidBucketState")
        bucket.versioning = wanted
        return _OK
    status = f"<Status>{bucket.versioning}</Status>" if bucket.versioning else ""
    return _xml(f"<VersioningConfiguration>{status}</VersioningConfiguration>")


def _object_lock(bucket: Bucket, _asked: Asked) -> Answer:
    if not bucket.has_lock:
        raise MinioRefusal(404, "ObjectLockConfigurationNotFoundError")
    return _xml("<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>")


def _keys(bucket: Bucket, asked: Asked) -> Answer:
    return _listing(asked, keys_xml(bucket.objects, asked.query.get("prefix", ""), _PAGE))


def _versions(bucket: Bucket, asked: Asked) -> Answer:
    after = asked.query.get("key-marker", ""), asked.query.get("version-id-marker", "")
    return _listing(asked, versions_xml(bucket.objects, int(asked.query.get("max-keys") or _PAGE), after))


def _uploads(bucket: Bucket, asked: Asked) -> Answer:
    return _listing(asked, uploads_xml(bucket.objects, int(asked.query.get("max-uploads") or _PAGE)))


def _listing(asked: Asked, text: str) -> Answer:
    """MinIO's client refuses a listing that does not name its bucket."""
    return _xml(text.replace("<EncodingType>", f"<Name>{asked.bucket}</Name><EncodingType>", 1))


def _delete(bucket: Bucket, asked: Asked) -> Answer:
    errors = ""
    for each in ET.fromstring(asked.body).iter(f"{_NS}Object"):
        key, version = each.findtext(f"{_NS}Key", ""), each.findtext(f"{_NS}VersionId", "")
        try:
            _delete_one(bucket, key, version)
        except Locked:
            named = f"<Key>{escape(key)}</Key><VersionId>{version}</VersionId>"
            errors += f"<Error>{named}<Code>InvalidRequest</Code></Error>"
    return _xml(f"<DeleteResult>{errors}</DeleteResult>")


def _delete_one(bucket: Bucket, key: str, version: str, *, bypasses: bool = False) -> None:
    if not version:
        bucket.objects.delete(key, has_versions=bool(bucket.versioning), keeps_versions=bucket.keeps_versions)
        return
    if (key, version) in bucket.retained and not bypasses:
        raise Locked
    bucket.objects.delete_version(key, version)
    bucket.retained.pop((key, version), None)


def _on_object(bucket: Bucket, asked: Asked) -> Answer:
    flag = next((name for name in ("retention", "legal-hold", "uploadId", "uploads") if name in asked.query), "")
    return _ON_OBJECT[asked.method, flag](bucket, asked)


def _put(bucket: Bucket, asked: Asked) -> Answer:
    made = bucket.objects.put(asked.key, asked.body, keeps_versions=bucket.keeps_versions)
    mode = asked.headers.get("x-amz-object-lock-mode")
    if mode:
        bucket.retained[made.key, made.id] = mode, asked.headers["x-amz-object-lock-retain-until-date"]
    return 200, {"ETag": '"etag"'}, b""


def _get(bucket: Bucket, asked: Asked) -> Answer:
    found = bucket.objects.get(asked.key)
    if found is None:
        raise MinioRefusal(404, "NoSuchKey")
    return 200, {"ETag": '"etag"'}, found


def _delete_object(bucket: Bucket, asked: Asked) -> Answer:
    bypasses = asked.headers.get("x-amz-bypass-governance-retention") == "true"
    try:
        _delete_one(bucket, asked.key, asked.query.get("versionId", ""), bypasses=bypasses)
    except Locked:
        raise MinioRefusal(400, "InvalidRequest") from None
    return _NO_CONTENT


def _retention(bucket: Bucket, asked: Asked) -> Answer:
    found = bucket.retained.get((asked.key, asked.query.get("versionId", "")))
    if not bucket.has_lock:
        raise MinioRefusal(400, "InvalidRequest")
    if found is None:
        raise MinioRefusal(404, "NoSuchObjectLockConfiguration")
    return _xml(f"<Retention><Mode>{found[0]}</Mode><RetainUntilDate>{found[1]}</RetainUntilDate></Retention>")


def _legal_hold(bucket: Bucket, asked: Asked) -> Answer:
    version = bucket.objects.find(asked.key, asked.query.get("versionId", ""))
    if version is None:
        raise MinioRefusal(404, "NoSuchVersion")
    if asked.method == "PUT":
        version.is_held = b">ON<" in asked.body
        return _OK
    if not version.is_held:
        raise MinioRefusal(404, "NoSuchObjectLockConfiguration")
    return _xml("<LegalHold><Status>ON</Status></LegalHold>")


def _start_upload(bucket: Bucket, asked: Asked) -> Answer:
    bucket.objects.start_upload(asked.key)
    upload = next(reversed(bucket.objects.uploads))
    return _xml(
        f"<InitiateMultipartUploadResult><Bucket>{asked.bucket}</Bucket><Key>{escape(asked.key)}</Key>"
        f"<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
    )


def _upload_part(bucket: Bucket, asked: Asked) -> Answer:
    _upload(bucket, asked)
    return 200, {"ETag": '"etag"'}, b""


def _abort(bucket: Bucket, asked: Asked) -> Answer:
    del bucket.objects.uploads[_upload(bucket, asked)]
    return _NO_CONTENT


def _upload(bucket: Bucket, asked: Asked) -> str:
    if asked.query["uploadId"] not in bucket.objects.uploads:
        raise MinioRefusal(404, "NoSuchUpload")
    return asked.query["uploadId"]


def _xml(inner: str) -> Answer:
    root, _, rest = inner.partition(">")
    closed = root.endswith("/")
    namespace = f' xmlns="{_NS[1:-1]}"'
    opened = f"{root[:-1]}{namespace}/" if closed else f"{root}{namespace}"
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n{opened}>{rest}'
    return 200, {"Content-Type": "application/xml"}, text.encode()


_ON_BUCKET: Final[Mapping[str, Callable[[Bucket, Asked], Answer]]] = {
    "location": _location,
    "tagging": _tagging,
    "versioning": _versioning,
    "object-lock": _object_lock,
    "versions": _versions,
    "uploads": _uploads,
    "delete": _delete,
}
_ON_OBJECT: Final[Mapping[tuple[str, str], Callable[[Bucket, Asked], Answer]]] = {
    ("PUT", ""): _put,
    ("GET", ""): _get,
    ("DELETE", ""): _delete_object,
    ("GET", "retention"): _retention,
    ("GET", "legal-hold"): _legal_hold,
    ("PUT", "legal-hold"): _legal_hold,
    ("POST", "uploads"): _start_upload,
    ("PUT", "uploadId"): _upload_part,
    ("DELETE", "uploadId"): _abort,
}
