"""The XML API of Cloud Storage, which S3's clients speak: objects, listings, uploads in parts, deletion of many.

Written from
https://cloud.google.com/storage/docs/xml-api/reference-methods
https://cloud.google.com/storage/docs/xml-api/get-bucket-list (list-type=2, and the first kind)
https://cloud.google.com/storage/docs/xml-api/post-bucket (up to 1,000 objects; a checksum of the body is required)
https://cloud.google.com/storage/docs/xml-api/put-object-copy, /post-object-multipart, /put-object-multipart,
/post-object-complete, /delete-multipart, /get-bucket-uploads
https://cloud.google.com/storage/docs/xml-api/get-bucket-list (`encoding-type=url`; names as they are can hold
characters that XML 1.0 does not have: https://www.w3.org/TR/xml/#charsets)
https://cloud.google.com/storage/docs/access-control/iam-xml (permissions of each method)
https://cloud.google.com/storage/docs/uniform-bucket-level-access (requests for ACLs fail with 400)
"""

from __future__ import annotations

import base64
import hashlib
import xml.etree.ElementTree as ET
import zlib
from typing import Final
from urllib.parse import quote, unquote

from testkit.gcs.fake import objects
from testkit.gcs.fake.clock import spell
from testkit.gcs.fake.json_api import check_payer, delete_bucket
from testkit.gcs.fake.model import Bucket, MultipartUpload, Store, Version
from testkit.gcs.fake.permissions import Principal, require, require_bucket
from testkit.gcs.fake.signatures import identify
from testkit.gcs.fake.wire import Answer, ApiError, Markup, Request, element, xml_answer

_SMALLEST_PART: Final = 5 * 1024 * 1024
_MOST_DELETED: Final = 1000


def handle(store: Store, request: Request) -> Answer:
    """Answers one request."""
    who = identify(store, request)
    name, _, key = request.path.lstrip("/").partition("/")
    if not name:
        require(store, who, "storage.buckets.list")
        listed = Markup("".join(element("Bucket", Markup(element("Name", each))) for each in store.buckets))
        return xml_answer(element("ListAllMyBucketsResult", Markup(element("Buckets", listed))))
    check_payer(store, request, name)
    if not key:
        return _bucket(store, request, who, name)
    if {"uploads", "uploadId"} & request.query.keys():
        return _multipart(store, request, who, name, key)
    return _object(store, request, who, name, key)


def _bucket(store: Store, request: Request, who: Principal, name: str) -> Answer:
    query = request.query
    match request.method:
        case "POST" if "delete" in query:
            return _delete_many(store, request, who, name)
        case "DELETE":
            return delete_bucket(store, who, name)
        case "HEAD":
            require_bucket(store, who, "storage.buckets.get", name)
            return Answer()
        case "GET" if "uploads" in query:
            return _list_uploads(require_bucket(store, who, "storage.multipartUploads.list", name), query)
        case "PUT" if "acl" in query:
            bucket = require_bucket(store, who, "storage.buckets.setIamPolicy", name)
            if bucket.is_uniform:
                raise ApiError(400, "invalid", "Cannot use ACLs with uniform bucket-level access.")
        case "GET" if "versioning" in query:
            bucket = require_bucket(store, who, "storage.buckets.get", name)
            status = [Markup(element("Status", "Enabled"))] if bucket.keeps_versions else []
            return xml_answer(element("VersioningConfiguration", *status))
        case "GET" if not {"acl", "cors", "lifecycle", "location", "policy", "logging"} & query.keys():
            return _list_objects(store, query, require_bucket(store, who, "storage.objects.list", name))
    raise ApiError(501, "notImplemented", "A header or query requested a function that is not implemented.")


def _list_objects(store: Store, query: dict[str, str], bucket: Bucket) -> Answer:
    with_versions = "versions" in query
    if "continuation-token" in query:
        query = {**query, "marker": base64.urlsafe_b64decode(query["continuation-token"]).decode()}
    elif query.get("marker"):
        query = {**query, "marker": query["marker"] + "\0\x7f"}
    found, prefixes, token = objects.page(store, bucket, query, lambda each: each.live or with_versions)
    spelled = quote if query.get("encoding-type") == "url" else str
    rows = [_entry(each, "Version" if with_versions else "Contents", spelled(each.name)) for each in found]
    rows += [element("CommonPrefixes", Markup(element("Prefix", spelled(each)))) for each in prefixes]
    ends = [element("IsTruncated", "true" if token else "false"), element("Name", bucket.name)]
    if token and query.get("list-type") == "2":
        ends.append(element("NextContinuationToken", base64.urlsafe_b64encode(token.encode()).decode()))
    elif token:
        ends.append(element("NextMarker", found[-1].name))
    kind = "ListVersionsResult" if with_versions else "ListBucketResult"
    return xml_answer(element(kind, *(Markup(each) for each in rows + ends)))


def _entry(version: Version, tag: str, name: str) -> str:
    facts = {
        "Key": name,
        "Generation": version.generation,
        "VersionId": version.generation,
        "IsLatest": "true" if version.live else "false",
        "LastModified": version.created.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "ETag": f'"{version.md5.hex()}"',
        "Size": len(version.data),
    }
    return element(tag, *(Markup(element(name, value)) for name, value in facts.items()))


def _object(store: Store, request: Request, who: Principal, name: str, key: str) -> Answer:
    generation = request.query.get("generation") or request.query.get("versionId")
    match request.method:
        case "GET" | "HEAD":
            version = objects.read(store, who, name, key, generation)
            headers = {"ETag": f'"{version.md5.hex()}"', "Content-Type": version.content_type}
            headers |= {"x-goog-generation": str(version.generation), "Last-Modified": _http_date(version)}
            if request.method == "HEAD":
                return Answer(200, b"", {**headers, "Content-Length": str(len(version.data))})
            return Answer(200, version.data, headers)
        case "DELETE":
            objects.delete(store, who, name, key, generation)
            return Answer(204)
        case "PUT":
            return _put(store, request, who, name, key)
    raise ApiError(501, "notImplemented", "Not implemented.")


def _put(store: Store, request: Request, who: Principal, name: str, key: str) -> Answer:
    source = request.headers.get("x-amz-copy-source") or request.headers.get("x-goog-copy-source")
    if source:
        source_bucket, _, source_key = unquote(source).lstrip("/").partition("/")
        version = objects.copy(store, who, (source_bucket, source_key), (name, key))
        facts = element("ETag", f'"{version.md5.hex()}"'), element("LastModified", spell(version.created))
        return xml_answer(element("CopyObjectResult", *(Markup(each) for each in facts)))
    if any(each.startswith(("x-amz-checksum-", "x-amz-sdk-checksum")) for each in request.headers):
        raise ApiError(400, "invalid", "Checksum headers of Amazon's are not understood.", code="ExcessHeaderValues")
    content_type = request.headers.get("content-type", "application/octet-stream")
    version = objects.write(store, who, name, key, request.body, content_type)
    return Answer(200, b"", {"ETag": f'"{version.md5.hex()}"', "x-goog-generation": str(version.generation)})


def _delete_many(store: Store, request: Request, who: Principal, name: str) -> Answer:
    _check_digest(request)
    bucket = require_bucket_for_some(store, who, name)
    doomed = [_named(each) for each in ET.fromstring(request.body).iter() if each.tag.endswith("Object")]
    if not 0 < len(doomed) <= _MOST_DELETED:
        raise ApiError(400, "invalid", "Between 1 and 1,000 objects can be deleted.", code="MalformedXML")
    rows = [_delete_one(store, who, bucket, *each) for each in doomed]
    return xml_answer(element("DeleteResult", *(Markup(each) for each in rows)))


def require_bucket_for_some(store: Store, who: Principal, name: str) -> str:
    """The bucket's name: what may be deleted in it is asked for each object."""
    if name not in store.buckets:
        require_bucket(store, who, "storage.objects.delete", name)
    if who.is_anonymous:
        raise ApiError(401, "required", "Anonymous caller does not have storage.objects.delete access")
    return name


def _delete_one(store: Store, who: Principal, bucket: str, key: str, version: str | None) -> str:
    try:
        objects.delete(store, who, bucket, key, version)
    except ApiError as error:
        if error.status != 404:
            facts = element("Key", key), element("Code", error.code), element("Message", error.message)
            return element("Error", *(Markup(each) for each in facts))
    return element("Deleted", Markup(element("Key", key)))


def _named(entry: ET.Element) -> tuple[str, str | None]:
    facts = {each.tag.rpartition("}")[2]: each.text or "" for each in entry}
    return facts.get("Key", ""), facts.get("VersionId")


def _check_digest(request: Request) -> None:
    md5, crc32 = request.headers.get("content-md5"), request.headers.get("x-amz-checksum-crc32")
    if md5 is None and crc32 is None:
        raise ApiError(400, "required", "Missing required header Content-MD5 OR x-amz-checksum-crc32")
    expected = base64.b64encode(hashlib.md5(request.body).digest()).decode()
    checksum = base64.b64encode(zlib.crc32(request.body).to_bytes(4, "big")).decode()
    if md5 not in {None, expected} or crc32 not in {None, checksum}:
        raise ApiError(400, "invalid", "The digest does not match.", code="BadDigest")


def _multipart(store: Store, request: Request, who: Principal, name: str, key: str) -> Answer:
    query = request.query
    if request.method == "POST" and "uploads" in query:
        bucket = require_bucket(store, who, "storage.multipartUploads.create", name, key)
        require(store, who, "storage.objects.create", bucket, key)
        content_type = request.headers.get("content-type", "application/octet-stream")
        upload = MultipartUpload(f"upload-{store.next_number()}", key, content_type)
        bucket.uploads[upload.id] = upload
        facts = element("Bucket", name), element("Key", key), element("UploadId", upload.id)
        return xml_answer(element("InitiateMultipartUploadResult", *(Markup(each) for each in facts)))
    permission = {"DELETE": "abort", "PUT": "create", "POST": "create", "GET": "listParts"}[request.method]
    bucket = require_bucket(store, who, f"storage.multipartUploads.{permission}", name, key)
    found = bucket.uploads.get(query["uploadId"])
    if found is None or found.name != key:
        raise ApiError(404, "notFound", "The requested upload was not found.", code="NoSuchUpload")
    if request.method == "DELETE":
        del bucket.uploads[found.id]
        return Answer(204)
    if request.method == "PUT":
        require(store, who, "storage.objects.create", bucket, key)
        found.parts[int(query["partNumber"])] = request.body
        return Answer(200, b"", {"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})
    return _complete(store, request, who, bucket, found)


def _complete(store: Store, request: Request, who: Principal, bucket: Bucket, upload: MultipartUpload) -> Answer:
    numbers = [int(each.text or 0) for each in ET.fromstring(request.body).iter() if each.tag.endswith("PartNumber")]
    if not numbers or any(each not in upload.parts for each in numbers):
        raise ApiError(400, "invalid", "One or more of the specified parts could not be found.", code="InvalidPart")
    parts = [upload.parts[each] for each in numbers]
    if any(len(each) < _SMALLEST_PART for each in parts[:-1]):
        raise ApiError(400, "invalid", "A part is smaller than 5 MiB.", code="EntityTooSmall")
    objects.write(store, who, bucket.name, upload.name, b"".join(parts), upload.content_type)
    del bucket.uploads[upload.id]
    facts = element("Bucket", bucket.name), element("Key", upload.name), element("ETag", '"whole"')
    return xml_answer(element("CompleteMultipartUploadResult", *(Markup(each) for each in facts)))


def _list_uploads(bucket: Bucket, query: dict[str, str]) -> Answer:
    spelled = quote if query.get("encoding-type") == "url" else str
    rows = [
        element("Upload", Markup(element("Key", spelled(each.name))), Markup(element("UploadId", each.id)))
        for each in bucket.uploads.values()
    ]
    ends = element("Bucket", bucket.name), element("IsTruncated", "false")
    return xml_answer(element("ListMultipartUploadsResult", *(Markup(each) for each in [*rows, *ends])))


def _http_date(version: Version) -> str:
    return version.created.strftime("%a, %d %b %Y %H:%M:%S GMT")
