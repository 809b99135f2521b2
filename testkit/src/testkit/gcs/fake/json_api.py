"""The JSON API of Cloud Storage: buckets, policies of buckets, objects, batches.

Written from
https://cloud.google.com/storage/docs/json_api/v1/buckets (insert, get, list, patch, delete, getIamPolicy, setIamPolicy)
https://cloud.google.com/storage/docs/buckets#naming and https://cloud.google.com/storage/docs/tags-and-labels
https://cloud.google.com/storage/docs/json_api/v1/objects
https://cloud.google.com/storage/docs/batch (at most 100 calls, no uploads and no downloads)
https://cloud.google.com/storage/docs/autoclass (STANDARD is the only default beside it)
https://cloud.google.com/storage/docs/locations#location-dr (two regions, and the multi-region that they are in)
https://cloud.google.com/storage/docs/soft-delete (0, or 7 to 90 days)
https://github.com/GoogleCloudDataproc/spark-bigquery-connector/issues/231 (412 for a location that a policy forbids)
https://cloud.google.com/storage/docs/xml-api/delete-bucket (unfinished uploads do not keep a bucket)
https://cloud.google.com/storage/docs/requester-pays and https://cloud.google.com/storage/docs/json_api/v1/status-codes
(400 `required` for who names no project to bill)
https://github.com/googleapis/google-cloud-java/issues/3594 (403 `forbidden` for a key of Cloud KMS)
https://github.com/hashicorp/terraform-provider-google/issues/20838 and
https://github.com/googleapis/java-storage/pull/1820 (no page says whether a policy is a part of what a bucket's
metageneration counts: its etag has the same form, changes with settings of the bucket, and a policy is written with
`ifMetagenerationMatch`; so here one number counts both)
https://cloud.google.com/storage/docs/json_api/v1/managedFolder (an empty one is taken to keep its bucket, as is a
folder of a hierarchical namespace: no page says)
"""

from __future__ import annotations

import base64
import re
import secrets
from email.parser import BytesParser
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from testkit.gcs.fake import hmac_api, objects, uploads
from testkit.gcs.fake.clock import spell
from testkit.gcs.fake.limits import count_bucket, count_update
from testkit.gcs.fake.members import PROJECT_NUMBER
from testkit.gcs.fake.model import Bucket, Json, Store, Version
from testkit.gcs.fake.permissions import (
    Principal,
    require,
    require_bucket,
)
from testkit.gcs.fake.policies import default_policy, show_policy, write_policy
from testkit.gcs.fake.tokens import authenticate
from testkit.gcs.fake.wire import Answer, ApiError, Request, forbidden_by_policy, json_answer

BATCH_LIMIT: Final = 100
FOREIGN: Final = "another-project"
"""The one other project that the fake has."""
OTHER_NUMBER: Final = "987654321"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_LABEL_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE: Final = re.compile(r"[a-z0-9_-]{0,63}")
_DAY: Final = 86400
_SETTINGS: Final = (
    "labels", "iamConfiguration", "versioning", "softDeletePolicy", "storageClass", "encryption", "retentionPolicy",
    "objectRetention", "defaultEventBasedHold", "location", "autoclass", "customPlacementConfig",
)  # fmt: skip

Handler = "Callable[[Store, Request, Principal, list[str]], Answer]"


def handle(store: Store, request: Request) -> Answer:
    """Answers one request below /storage/v1, /upload/storage/v1, /download/storage/v1 or /batch/storage/v1."""
    area, _, rest = request.raw_path.lstrip("/").partition("storage/v1")
    if area == "batch/":
        return _batch(store, request)
    parts = [unquote(each) for each in rest.strip("/").split("/") if each]
    if area == "upload/" and "upload_id" in request.query:
        return uploads.go_on(store, request, show)  # the id is all that it takes
    who = authenticate(store, request)
    if area == "upload/":
        return uploads.begin(store, request, who, parts[1], show)
    if parts[:1] == ["projects"]:
        return hmac_api.handle(store, request, who, parts)
    check_payer(store, request, "".join(parts[1:2]))
    return _route(store, request, who, parts)


def show(bucket: Bucket, version: Version) -> Json:
    """An object's resource."""
    ends = objects.retained_until(bucket, version)
    return {
        "kind": "storage#object",
        "id": f"{bucket.name}/{version.name}/{version.generation}",
        "name": version.name,
        "bucket": bucket.name,
        "generation": str(version.generation),
        "metageneration": "1",
        "contentType": version.content_type,
        "size": str(len(version.data)),
        "md5Hash": base64.b64encode(version.md5).decode(),
        "crc32c": version.crc32c,
        "etag": f"{version.generation}/1",
        "timeCreated": spell(version.created),
        **version.extra,
        **({"retentionExpirationTime": spell(ends)} if ends else {}),
    }


def check_payer(store: Store, request: Request, bucket: str) -> None:
    """Refuses requests about a Requester Pays bucket that name no project to bill."""
    found = store.buckets.get(bucket)
    if found is not None and found.lets_requesters_pay and "userProject" not in request.query:
        text = "Bucket is requester pays bucket but no user project provided."
        raise ApiError(400, "required", text, code="UserProjectMissing")


def _route(store: Store, request: Request, who: Principal, parts: list[str]) -> Answer:
    match request.method, parts:
        case "POST", ["b"]:
            return _insert(store, request, who)
        case "GET", ["b"]:
            return _list_buckets(store, request, who)
        case "GET", ["b", name]:
            return json_answer(_show_bucket(require_bucket(store, who, "storage.buckets.get", name)))
        case "PATCH", ["b", name]:
            return _patch(store, request, who, name)
        case "DELETE", ["b", name]:
            return delete_bucket(store, who, name, request.query.get("ifMetagenerationMatch"))
        case (("GET" | "PUT"), ["b", name, "iam"]):
            return _policy(store, request, who, name)
        case _, ["b", name, "managedFolders", *folder]:
            return _folders(store, request, who, name, folder)
        case "GET", ["b", name, "o"]:
            return _list_objects(store, request, who, name)
        case _, ["b", name, "o", key, *rest]:
            return _object(store, request, who, name, key, rest)
    raise ApiError(404, "notFound", "Not Found")


def _insert(store: Store, request: Request, who: Principal) -> Answer:
    require(store, who, "storage.buckets.create")
    count_bucket(store)
    body, name = request.json(), request.json().get("name", "")
    if not _NAME.fullmatch(name) or "goog" in name[:4] or "google" in name or "g00gle" in name:
        raise ApiError(400, "invalid", f"Invalid bucket name: '{name}'", code="InvalidBucketName")
    if request.query.get("project") != store.project:
        raise ApiError(400, "invalid", f"Unknown project id: {request.query.get('project')}")
    location, allowed = str(body.get("location", "US")), store.knobs.allowed_locations
    if allowed is not None and location.lower() not in {each.lower() for each in allowed}:
        raise forbidden_by_policy(f"'{location.lower()}' violates constraint 'constraints/gcp.resourceLocations'")
    if body.get("encryption") and store.knobs.kms_denied:
        raise ApiError(403, "forbidden", "Permission denied on Cloud KMS key.")
    if name in store.buckets:
        text = "Your previous request to create the named bucket succeeded and you already own it."
        raise ApiError(409, "conflict", text, code="BucketAlreadyOwnedByYou")
    soft_delete = {"retentionDurationSeconds": str(7 * _DAY)}
    resource = {"location": "US", "storageClass": "STANDARD", "softDeletePolicy": soft_delete}
    bucket = Bucket(name, store.project, {**resource, "metageneration": 1}, default_policy(store.project))
    _apply(bucket, body)
    store.buckets[name] = bucket
    return json_answer(_show_bucket(bucket))


def _folders(store: Store, request: Request, who: Principal, name: str, folder: list[str]) -> Answer:
    verb = {"POST": "create", "DELETE": "delete", "GET": "list"}[request.method]
    bucket = require_bucket(store, who, f"storage.managedFolders.{verb}", name)
    if verb == "create":
        if not bucket.is_uniform:
            raise ApiError(412, "conditionNotMet", "Managed folders need uniform bucket-level access.")
        bucket.folders.add(f"{request.json()['name'].rstrip('/')}/")
    elif verb == "delete":
        if folder[0] not in bucket.folders:
            raise ApiError(404, "notFound", "The managed folder does not exist.")
        if any(each.startswith(folder[0]) and each != folder[0] for each in (*bucket.folders, *bucket.versions)):
            raise ApiError(409, "conflict", "The managed folder is not empty.")
        bucket.folders.remove(folder[0])
        return Answer(204)
    items = [{"kind": "storage#managedFolder", "bucket": name, "name": each} for each in sorted(bucket.folders)]
    size, begin = store.knobs.page_size, int(request.query.get("pageToken") or 0)
    rest = {"nextPageToken": str(begin + size)} if len(items) > begin + size else {}
    page = items[begin : begin + size]
    return json_answer({"kind": "storage#managedFolders", "items": page, **rest} if page else {})


def _patch(store: Store, request: Request, who: Principal, name: str) -> Answer:
    bucket = require_bucket(store, who, "storage.buckets.update", name)
    expected = request.query.get("ifMetagenerationMatch")
    if expected is not None and expected != str(bucket.resource["metageneration"]):
        raise ApiError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
    count_update(store, name)
    _apply(bucket, request.json())
    bucket.resource["metageneration"] += 1
    bucket.policy.generation += 1
    return json_answer(_show_bucket(bucket))


def _apply(bucket: Bucket, body: Json) -> None:
    _check_settings(body)
    for key in _SETTINGS:
        if key not in body:
            continue
        old, new = bucket.resource.get(key), body[key]
        merged = {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new
        if isinstance(merged, dict):
            merged = {each: value for each, value in merged.items() if value is not None}
        bucket.resource[key] = str(merged).upper() if key == "location" else merged


def _check_settings(body: Json) -> None:
    for key, value in (body.get("labels") or {}).items():
        if not _LABEL_KEY.fullmatch(key) or (value is not None and not _LABEL_VALUE.fullmatch(value)):
            raise ApiError(400, "invalid", f"Invalid label: {key}={value}")
    seconds = int((body.get("softDeletePolicy") or {}).get("retentionDurationSeconds", 0))
    if seconds and not 7 * _DAY <= seconds <= 90 * _DAY:
        raise ApiError(400, "invalid", "Soft delete retention must be 0, or between 7 and 90 days.")
    if (body.get("autoclass") or {}).get("enabled") and body.get("storageClass", "STANDARD") != "STANDARD":
        raise ApiError(400, "invalid", "The default storage class of a bucket with Autoclass must be STANDARD.")
    pair = (body.get("customPlacementConfig") or {}).get("dataLocations")
    if pair is not None and (len(set(pair)) != 2 or "-" in str(body.get("location", "US"))):
        raise ApiError(400, "invalid", "A dual-region has two regions, and their multi-region as its location.")
    if "retentionPolicy" in body and (body.get("versioning") or {}).get("enabled"):
        raise ApiError(400, "invalid", "A retention policy can't be used with Object Versioning.")


def _list_buckets(store: Store, request: Request, who: Principal) -> Answer:
    """In pages by name: https://cloud.google.com/storage/docs/json_api/v1/buckets/list.

    A project that does not exist is one in which nobody may list:
    https://cloud.google.com/storage/docs/json_api/v1/status-codes.
    """
    require(store, who, "storage.buckets.list")
    if "project" not in request.query:
        raise ApiError(400, "required", "Required parameter: project")
    if request.query["project"] != store.project:
        raise ApiError(403, "forbidden", "Forbidden")
    prefix, after = request.query.get("prefix", ""), request.query.get("pageToken", "")
    own = [each for each in store.buckets.values() if each.project == store.project and each.name.startswith(prefix)]
    rest = sorted((each for each in own if each.name > after), key=lambda each: each.name)
    page = rest[: int(request.query.get("maxResults", "1000"))]
    more = {"nextPageToken": page[-1].name} if len(page) < len(rest) else {}
    return json_answer({"kind": "storage#buckets", "items": [_show_bucket(each) for each in page], **more})


def delete_bucket(store: Store, who: Principal, name: str, expected: str | None = None) -> Answer:
    """Removes a bucket that holds no version of an object and no folder; unfinished uploads go with it.

    Args:
        store: of the fake.
        who: asks.
        name: of the bucket.
        expected: its metageneration: https://cloud.google.com/storage/docs/json_api/v1/buckets/delete.
    """
    bucket = require_bucket(store, who, "storage.buckets.delete", name)
    if expected is not None and expected != str(bucket.resource["metageneration"]):
        raise ApiError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
    count_bucket(store)
    if bucket.versions or bucket.folders or bucket.tree:
        raise ApiError(409, "conflict", "The bucket you tried to delete is not empty.", code="BucketNotEmpty")
    del store.buckets[name]
    store.sessions = {key: each for key, each in store.sessions.items() if each.bucket != name}
    return Answer(204)


def _policy(store: Store, request: Request, who: Principal, name: str) -> Answer:
    if request.method == "GET":
        bucket = require_bucket(store, who, "storage.buckets.getIamPolicy", name)
        asked = int(request.query.get("optionsRequestedPolicyVersion", 1))
        return json_answer(show_policy(store, bucket.policy, version=asked))
    bucket = require_bucket(store, who, "storage.buckets.setIamPolicy", name)
    count_update(store, name)
    conflict = ApiError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
    write_policy(store, bucket.policy, request.json(), conflict=conflict, bucket=bucket)
    bucket.resource["metageneration"] += 1
    return json_answer(show_policy(store, bucket.policy, version=3))


def _list_objects(store: Store, request: Request, who: Principal, name: str) -> Answer:
    bucket = require_bucket(store, who, "storage.objects.list", name)
    with_versions = request.query.get("versions", "").lower() == "true"
    found, prefixes, token = objects.page(store, bucket, request.query, lambda each: each.live or with_versions)
    body: Json = {"kind": "storage#objects", "items": [show(bucket, each) for each in found], "prefixes": prefixes}
    return json_answer({**body, **({"nextPageToken": token} if token else {})})


def _object(store: Store, request: Request, who: Principal, name: str, key: str, rest: list[str]) -> Answer:
    generation = request.query.get("generation")
    match request.method, rest:
        case "GET", []:
            version = objects.read(store, who, name, key, generation)
            if request.query.get("alt") == "media":
                return _media(version)
            return json_answer(show(store.buckets[name], version))
        case "DELETE", []:
            objects.delete(store, who, name, key, generation)
            return Answer(204)
        case "PATCH", []:
            bucket = require_bucket(store, who, "storage.objects.update", name, key)
            version = objects.read(store, who, name, key, generation)
            version.extra |= request.json()
            return json_answer(show(bucket, version))
        case "POST", ["copyTo", "b", target, "o", target_key]:
            copied = objects.copy(store, who, (name, key), (target, target_key))
            return json_answer(show(store.buckets[target], copied))
        case "POST", ["rewriteTo", "b", target, "o", target_key]:
            copied = objects.copy(store, who, (name, key), (target, target_key))
            size = str(len(copied.data))
            done = {"kind": "storage#rewriteResponse", "done": True, "objectSize": size, "totalBytesRewritten": size}
            return json_answer({**done, "resource": show(store.buckets[target], copied)})
    raise ApiError(404, "notFound", "Not Found")


def _media(version: Version) -> Answer:
    hashes = f"crc32c={version.crc32c},md5={base64.b64encode(version.md5).decode()}"
    return Answer(200, version.data, {"Content-Type": version.content_type, "X-Goog-Hash": hashes})


def _show_bucket(bucket: Bucket) -> Json:
    return {
        "kind": "storage#bucket",
        "id": bucket.name,
        "name": bucket.name,
        "projectNumber": PROJECT_NUMBER if bucket.project != FOREIGN else OTHER_NUMBER,
        "etag": f"CA{bucket.resource['metageneration']}=",
        **bucket.resource,
        "metageneration": str(bucket.resource["metageneration"]),
    }


def _batch(store: Store, request: Request) -> Answer:
    authenticate(store, request)
    head = f"Content-Type: {request.headers.get('content-type', '')}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    parts: Any = BytesParser().parsebytes(head + request.body).get_payload()
    if not isinstance(parts, list):
        raise ApiError(400, "badRequest", "Failed to parse batch request.")
    if len(parts) > BATCH_LIMIT:
        raise ApiError(400, "badRequest", f"The batch has more than {BATCH_LIMIT} calls.")
    boundary = secrets.token_hex(8)
    answers = [_in_batch(store, request, part.get_payload()) for part in parts]
    body = "".join(f"--{boundary}\r\nContent-Type: application/http\r\n\r\n{each}\r\n" for each in answers)
    return Answer(200, f"{body}--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/mixed; boundary={boundary}"})


def _in_batch(store: Store, outer: Request, text: str) -> str:
    head, _, body = text.replace("\r\n", "\n").partition("\n\n")
    method, url, _ = head.partition("\n")[0].split(" ", 2)
    parts = urlsplit(url)
    target = quote(parts.path, safe="/%") + (f"?{parts.query}" if parts.query else "")
    headers = {"authorization": outer.headers.get("authorization", "")}
    try:
        answer = handle(store, Request(method, target, headers, body.strip().encode()))
    except ApiError as error:
        answer = error.as_json()
    extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    return f"HTTP/1.1 {answer.status} x\r\n{extra}Content-Length: {len(answer.body)}\r\n\r\n{answer.body.decode()}"
