"""The S3 API of a Garage in memory: who asks, whether they may, and objects.

Written from garage_api_common/signature and garage_api_s3/api_server.rs, get.rs, put.rs, list.rs, delete.rs.
"""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, unquote
from xml.sax.saxutils import escape

from testkit.garage.fake.state import REGION, Bucket, GarageRefusal, State
from testkit.minio.fake.signatures import signature_of
from testkit.resilience.proxy import Instead, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]+)"
)
_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_PAGE: Final = 1000
_READING: Final = frozenset({"GET", "HEAD"})
_OWNERS: Final = frozenset({"cors", "lifecycle", "website", "policy", "acl", "versioning"})
"""Flags of requests to change a bucket: what neither reads nor writes objects is the owner's, `authorization_type`."""


def answer_s3(state: State, request: Request) -> Instead:
    """The answer to a request."""
    try:
        return _answered(state, request)
    except GarageRefusal as refusal:
        told = f"<Code>{refusal.code}</Code><Message>told by the server</Message><Resource>/</Resource>"
        body = f'<?xml version="1.0" encoding="UTF-8"?><Error>{told}<Region>{REGION}</Region></Error>'
        return Instead(status=refusal.status, headers={"Content-Type": "application/xml"}, body=body.encode())


def _answered(state: State, request: Request) -> Instead:
    """Key, then bucket, then permission: the order of `handle`."""
    key_id = _identified(state, request)
    name, _, path = request.path.lstrip("/").partition("/")
    query = dict(parse_qsl(request.target.partition("?")[2], keep_blank_values=True))
    if not name:
        return _buckets(state, key_id)
    if request.method == "PUT" and not path and not _OWNERS & query.keys():
        raise GarageRefusal(403, "AccessDenied")  # CreateBucket: no key here may
    bucket = state.resolve(name)
    if _needed(request, path, query) not in bucket.allowed.get(key_id, set()):
        raise GarageRefusal(403, "AccessDenied")
    if not path:
        return _on_bucket(state, bucket, name, request, query)
    return _on_object(state, bucket, unquote(path), request, query, key_id)


def _identified(state: State, request: Request) -> str:
    """`verify_v4` in signature/payload.rs: the scope before the key, the key before the signature."""
    given = request.headers.get("authorization")
    if given is None:
        raise GarageRefusal(403, "AccessDenied")
    found = _AUTHORIZATION.fullmatch(given)
    if found is None:
        raise GarageRefusal(400, "InvalidRequest")
    key_id, scope, names, signature = found.groups()
    if scope.split("/")[1:] != [REGION, "s3", "aws4_request"]:
        raise GarageRefusal(400, "AuthorizationHeaderMalformed")
    key = state.keys.get(key_id)
    if key is None or signature_of(request, key.secret, scope, names) != signature:
        raise GarageRefusal(403, "AccessDenied")
    return key.id


def _needed(request: Request, path: str, query: Mapping[str, str]) -> str:
    """`authorization_type` in garage_api_s3/router.rs."""
    if path:
        return "read" if request.method in _READING else "write"
    if request.method in _READING:
        return "owner" if {"cors", "lifecycle", "website"} & query.keys() else "read"
    return "write" if request.method == "POST" and "delete" in query else "owner"


def _buckets(state: State, key_id: str) -> Instead:
    """All with any permission of the key, by each of their aliases: `handle_list_buckets`."""
    opened = [each for each in state.buckets.values() if each.allowed.get(key_id)]
    created = "<CreationDate>2026-01-01T00:00:00Z</CreationDate>"
    named = "".join(
        f"<Bucket><Name>{alias}</Name>{created}</Bucket>" for each in opened for alias in sorted(each.aliases)
    )
    return _xml("ListAllMyBucketsResult", f"<Buckets>{named}</Buckets>")


def _on_bucket(state: State, bucket: Bucket, name: str, request: Request, query: Mapping[str, str]) -> Instead:
    if request.method == "POST":
        return _delete_objects(bucket, request)
    if request.method == "DELETE":
        return _delete_bucket(state, bucket, name)
    if "uploads" in query:
        uploads = "".join(
            f"<Upload><Key>{quote(key)}</Key><UploadId>{upload}</UploadId><Initiated>2026-01-01T00:00:00Z</Initiated></Upload>"
            for upload, key in bucket.objects.uploads.items()
        )
        return _xml("ListMultipartUploadsResult", f"<Bucket>{name}</Bucket><IsTruncated>false</IsTruncated>{uploads}")
    return _keys(bucket, name, query)


def _delete_bucket(state: State, bucket: Bucket, name: str) -> Instead:
    """One with other aliases loses this one, and stays: `handle_delete_bucket` in bucket.rs."""
    if len(bucket.aliases) > 1:
        bucket.aliases.remove(name)
    elif not bucket.objects.is_empty:
        raise GarageRefusal(409, "BucketNotEmpty")
    else:
        del state.buckets[bucket.id]
    return Instead(status=204)


def _keys(bucket: Bucket, name: str, query: Mapping[str, str]) -> Instead:
    """A page; a continuation token is `]` and the last key: `handle_list` in list.rs."""
    token = query.get("continuation-token", "")
    after = base64.b64decode(token[1:]).decode() if token else query.get("start-after", "")
    limit = min(_PAGE, int(query.get("max-keys") or _PAGE))
    found = [key for key in bucket.objects.keys if key > after and key.startswith(query.get("prefix", ""))]
    page, rest = found[:limit], found[limit:]
    last = base64.b64encode("".join(page[-1:]).encode()).decode()
    more = f"<NextContinuationToken>]{last}</NextContinuationToken>"
    facts = "<LastModified>2026-01-01T00:00:00Z</LastModified><ETag>&quot;etag&quot;</ETag><Size>1</Size>"
    listed = "".join(f"<Contents><Key>{_listed(key, query)}</Key>{facts}</Contents>" for key in page)
    truncated = f"<IsTruncated>{'true' if rest else 'false'}</IsTruncated>"
    encoding = "<EncodingType>url</EncodingType>" if query.get("encoding-type") == "url" else ""
    return _xml("ListBucketResult", f"<Name>{name}</Name>{encoding}{truncated}{more if rest else ''}{listed}")


def _listed(key: str, query: Mapping[str, str]) -> str:
    return quote(key, safe="~/") if query.get("encoding-type") == "url" else escape(key)


def _delete_objects(bucket: Bucket, request: Request) -> Instead:
    """One that is not there is deleted: `handle_delete_objects` in delete.rs."""
    keys = [each.findtext(_tag("Key"), "") for each in ET.fromstring(request.body).iter(_tag("Object"))]
    for key in keys:
        bucket.objects.delete(key, has_versions=False, keeps_versions=False)
    return _xml("DeleteResult", "")


def _on_object(
    state: State, bucket: Bucket, key: str, request: Request, query: Mapping[str, str], key_id: str
) -> Instead:
    match request.method:
        case "GET" | "HEAD":
            return Instead(status=200, headers={"ETag": '"etag"'}, body=_read(bucket, key))
        case "PUT" if "partNumber" in query:
            bucket.parts[_upload(bucket, query), int(query["partNumber"])] = request.body
            return Instead(status=200, headers={"ETag": '"etag"'})
        case "PUT" if "x-amz-copy-source" in request.headers:
            _write(bucket, key, _copied(state, request, key_id))
            return _xml("CopyObjectResult", "<LastModified>2026-01-01T00:00:00Z</LastModified><ETag>etag</ETag>")
        case "PUT":
            _write(bucket, key, request.body)
            return Instead(status=200, headers={"ETag": '"etag"'})
        case "DELETE" if "uploadId" in query:
            del bucket.objects.uploads[_upload(bucket, query)]
        case "DELETE":
            bucket.objects.delete(key, has_versions=False, keeps_versions=False)
        case "POST" if "uploads" in query:
            bucket.objects.start_upload(key)
            upload = next(reversed(bucket.objects.uploads))
            named = f"<Bucket>{bucket.aliases[0]}</Bucket><Key>{escape(key)}</Key><UploadId>{upload}</UploadId>"
            return _xml("InitiateMultipartUploadResult", named)
        case "POST" if "uploadId" in query:
            return _completed(bucket, key, request, query)
        case _:
            raise GarageRefusal(501, "NotImplemented")
    return Instead(status=204)


def _copied(state: State, request: Request, key_id: str) -> bytes:
    """The source needs the permission to read: `get_copy_source` in copy.rs."""
    name, _, key = unquote(request.headers["x-amz-copy-source"]).lstrip("/").partition("/")
    source = state.resolve(name)
    if "read" not in source.allowed.get(key_id, set()):
        raise GarageRefusal(403, "AccessDenied")
    return _read(source, key)


def _read(bucket: Bucket, key: str) -> bytes:
    found = bucket.objects.get(key)
    if found is None:
        raise GarageRefusal(404, "NoSuchKey")
    return found


def _write(bucket: Bucket, key: str, data: bytes) -> None:
    """A quota that is reached is `AccessDenied`: `check_quotas` in put.rs."""
    kept = {each: bucket.objects.get(each) or b"" for each in bucket.objects.keys if each != key}
    objects, size = bucket.quotas["maxObjects"], bucket.quotas["maxSize"]
    if objects is not None and key not in bucket.objects.keys and len(kept) + 1 > objects:
        raise GarageRefusal(403, "AccessDenied")
    if size is not None and _total([*kept.values(), data]) > size:
        raise GarageRefusal(403, "AccessDenied")
    bucket.objects.put(key, data, keeps_versions=False)


def _total(parts: Iterable[bytes]) -> int:
    return sum(map(len, parts))


def _upload(bucket: Bucket, query: Mapping[str, str]) -> str:
    if query.get("uploadId", "") not in bucket.objects.uploads:
        raise GarageRefusal(404, "NoSuchUpload")
    return query["uploadId"]


def _completed(bucket: Bucket, key: str, request: Request, query: Mapping[str, str]) -> Instead:
    """Parts that were not uploaded, or in another order, are refused: `handle_complete_multipart_upload`."""
    upload = _upload(bucket, query)
    numbers = [int(each.findtext(_tag("PartNumber"), "0")) for each in ET.fromstring(request.body).iter(_tag("Part"))]
    if numbers != sorted(set(numbers)):
        raise GarageRefusal(400, "InvalidPartOrder")
    if not numbers or any((upload, number) not in bucket.parts for number in numbers):
        raise GarageRefusal(400, "InvalidPart")
    _write(bucket, key, b"".join(bucket.parts[upload, number] for number in numbers))
    del bucket.objects.uploads[upload]
    named = f"<Bucket>{bucket.aliases[0]}</Bucket><Key>{escape(key)}</Key><ETag>etag</ETag>"
    return _xml("CompleteMultipartUploadResult", f"<Location>/</Location>{named}")


def _tag(name: str) -> str:
    return f"{{{_NAMESPACE}}}{name}"


def _xml(root: str, inner: str) -> Instead:
    text = f'<?xml version="1.0" encoding="UTF-8"?><{root} xmlns="{_NAMESPACE}">{inner}</{root}>'
    return Instead(status=200, headers={"Content-Type": "application/xml"}, body=text.encode())
