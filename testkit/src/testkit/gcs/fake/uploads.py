"""Uploads of the JSON API: simple, multipart, resumable.

Written from
https://cloud.google.com/storage/docs/json_api/v1/objects/insert
https://cloud.google.com/storage/docs/performing-resumable-uploads (308 with Range; chunks of 256 KiB; the session's
URI is all the authentication that the rest of the upload takes)
"""

from __future__ import annotations

import json
import re
import secrets
from email.parser import BytesParser
from typing import TYPE_CHECKING, Any, Final

from testkit.gcs.fake import objects
from testkit.gcs.fake.model import Bucket, Json, Session, Store, Version
from testkit.gcs.fake.permissions import Principal, require_bucket
from testkit.gcs.fake.wire import Answer, ApiError, Request, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK: Final = 256 * 1024
_RANGE: Final = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


def begin(
    store: Store, request: Request, who: Principal, bucket: str, show: Callable[[Bucket, Version], Json]
) -> Answer:
    """Answers the first request of an upload, which is the only one but for resumable ones."""
    kind = request.query.get("uploadType")
    if kind == "resumable":
        return _begin_session(store, request, who, bucket)
    content_type = request.headers.get("content-type", "application/octet-stream")
    resource: Json = {}
    data = request.body
    if kind == "multipart":
        resource, content_type, data = _parts(content_type, data)
    elif kind != "media":
        raise ApiError(400, "invalid", "uploadType is required.")
    name = resource.get("name") or request.query.get("name", "")
    if not name:
        raise ApiError(400, "required", "Required")
    version = objects.write(store, who, bucket, name, data, content_type, _extra(resource))
    return json_answer(show(store.buckets[bucket], version))


def go_on(store: Store, request: Request, show: Callable[[Bucket, Version], Json]) -> Answer:
    """Takes the next chunk of a resumable upload, from any client that knows its id."""
    session = store.sessions.get(request.query["upload_id"])
    if session is None or session.bucket not in store.buckets:
        raise ApiError(404, "notFound", "No such upload.")
    size = len(request.body)
    found = _RANGE.fullmatch(request.headers.get("content-range", f"bytes 0-{size - 1}/{size}"))
    if found is None:
        raise ApiError(400, "invalid", "Invalid Content-Range.")
    if found[1] is not None and int(found[1]) == len(session.data):
        session.data += request.body
    if found[3] == "*" or len(session.data) < int(found[3]):
        if found[1] is not None and len(request.body) % _CHUNK:
            raise ApiError(400, "invalid", "Chunks must be multiples of 256 KiB.")
        return Answer(308, b"", {"Range": f"bytes=0-{len(session.data) - 1}"} if session.data else {})
    del store.sessions[session.id]
    bucket, name = store.buckets[session.bucket], session.resource["name"]
    existing = bucket.live(name)
    if existing is not None and not bucket.keeps_versions:
        objects.check_unlocked(store, bucket, existing)
    number, now = store.next_number() + 10**15, store.clock.now()
    version = Version(name, number, bytes(session.data), session.content_type, now, extra=_extra(session.resource))
    bucket.put(version)
    return json_answer(show(bucket, version))


def _begin_session(store: Store, request: Request, who: Principal, bucket: str) -> Answer:
    resource = request.json()
    name = resource.get("name") or request.query.get("name", "")
    found = require_bucket(store, who, "storage.objects.create", bucket, name)
    if found.live(name) is not None:
        require_bucket(store, who, "storage.objects.delete", bucket, name)
    content_type = request.headers.get("x-upload-content-type", "application/octet-stream")
    session = Session(secrets.token_urlsafe(24), bucket, {**resource, "name": name}, content_type)
    store.sessions[session.id] = session
    host = request.headers.get("host", "")
    where = f"http://{host}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={session.id}"
    return Answer(200, b"", {"Location": where, "X-GUploader-UploadID": session.id})


def _parts(content_type: str, body: bytes) -> tuple[Json, str, bytes]:
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    if found is None:
        raise ApiError(400, "invalid", "Missing boundary.")
    chunks = body.split(b"--" + found[1].encode())
    if len(chunks) < 4:
        raise ApiError(400, "invalid", "Missing parts.")
    head, _, data = chunks[2].partition(b"\r\n\r\n")
    headers: Any = BytesParser().parsebytes(head.lstrip(b"\r\n") + b"\r\n\r\n")
    resource: Json = json.loads(chunks[1].partition(b"\r\n\r\n")[2])
    return resource, headers.get("content-type", "application/octet-stream"), data.removesuffix(b"\r\n")


def _extra(resource: Json) -> Json:
    return {key: resource[key] for key in ("temporaryHold", "eventBasedHold", "retention") if key in resource}
