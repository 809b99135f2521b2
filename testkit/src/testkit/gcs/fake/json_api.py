"""The JSON API of Cloud Storage: buckets, policies of buckets, HMAC keys, objects, batches.

Written from
https://cloud.google.com/storage/docs/json_api/v1/buckets (insert, get, list, patch, delete, getIamPolicy, setIamPolicy)
https://cloud.google.com/storage/docs/buckets#naming and https://cloud.google.com/storage/docs/tags-and-labels
https://cloud.google.com/storage/docs/json_api/v1/projects/hmacKeys (ACTIVE can't be deleted; update takes an etag)
https://cloud.google.com/storage/docs/authentication/hmackeys#restrictions (10 keys per account)
https://cloud.google.com/storage/docs/json_api/v1/objects
https://cloud.google.com/storage/docs/batch (at most 100 calls, no uploads and no downloads)
https://cloud.google.com/storage/docs/soft-delete (0, or 7 to 90 days)
https://github.com/GoogleCloudDataproc/spark-bigquery-connector/issues/231 (412 for a location that a policy forbids)
https://github.com/googleapis/java-storage/issues/1240 (412 for an HMAC key where service-account keys are forbidden)
https://cloud.google.com/storage/docs/authentication/managing-hmackeys (3 minutes from inactive to deleted)
https://github.com/GoogleCloudPlatform/python-docs-samples/issues/4029 (403 for the eleventh HMAC key)
https://cloud.google.com/storage/docs/xml-api/delete-bucket (unfinished uploads do not keep a bucket)
https://cloud.google.com/storage/docs/requester-pays and https://cloud.google.com/storage/docs/json_api/v1/status-codes
(400 `required` for who names no project to bill)
https://github.com/googleapis/google-cloud-java/issues/3594 (403 `forbidden` for a key of Cloud KMS)
https://cloud.google.com/storage/docs/json_api/v1/managedFolder (an empty one is taken to keep its bucket: no page says)
"""

from __future__ import annotations

import base64
import re
import secrets
from datetime import timedelta
from email.parser import BytesParser
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from testkit.gcs.fake import objects, uploads
from testkit.gcs.fake.clock import spell
from testkit.gcs.fake.limits import count_bucket, count_update
from testkit.gcs.fake.model import Bucket, HmacKey, Json, Store, Version
from testkit.gcs.fake.permissions import (
    PROJECT_NUMBER,
    Principal,
    default_policy,
    find_known,
    require,
    require_bucket,
    show_policy,
    write_policy,
)
from testkit.gcs.fake.tokens import authenticate
from testkit.gcs.fake.wire import Answer, ApiError, Request, json_answer

BATCH_LIMIT: Final = 100
HMAC_LIMIT: Final = 10
FOREIGN: Final = "another-project"
"""The one other project that the fake has."""
OTHER_NUMBER: Final = "987654321"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_LABEL_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE: Final = re.compile(r"[a-z0-9_-]{0,63}")
_DAY: Final = 86400
_SETTINGS: Final = (
    "labels", "iamConfiguration", "versioning", "softDeletePolicy", "storageClass", "encryption", "retentionPolicy",
    "objectRetention", "defaultEventBasedHold", "location",
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
        return _hmac(store, request, who, parts)
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
            return delete_bucket(store, who, name)
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
    if not _NAME.fullmatch(name) or "goog" in name[:4] or "google" in name:
        raise ApiError(400, "invalid", f"Invalid bucket name: '{name}'", code="InvalidBucketName")
    if request.query.get("project") != store.project:
        raise ApiError(400, "invalid", f"Unknown project id: {request.query.get('project')}")
    location, allowed = str(body.get("location", "US")), store.knobs.allowed_locations
    if allowed is not None and location.lower() not in {each.lower() for each in allowed}:
        raise _constraint(f"'{location.lower()}' violates constraint 'constraints/gcp.resourceLocations'")
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


def _constraint(text: str) -> ApiError:
    """A refusal by an organisation policy has the form of a precondition that failed, though there was none."""
    return ApiError(412, "conditionNotMet", text)


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
    return json_answer({"kind": "storage#managedFolders", "items": items} if items else {})


def _patch(store: Store, request: Request, who: Principal, name: str) -> Answer:
    bucket = require_bucket(store, who, "storage.buckets.update", name)
    expected = request.query.get("ifMetagenerationMatch")
    if expected is not None and expected != str(bucket.resource["metageneration"]):
        raise ApiError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
    count_update(store, name)
    _apply(bucket, request.json())
    bucket.resource["metageneration"] += 1
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
    if "retentionPolicy" in body and (body.get("versioning") or {}).get("enabled"):
        raise ApiError(400, "invalid", "A retention policy can't be used with Object Versioning.")


def _list_buckets(store: Store, request: Request, who: Principal) -> Answer:
    require(store, who, "storage.buckets.list")
    prefix = request.query.get("prefix", "")
    own = [each for each in store.buckets.values() if each.project == store.project and each.name.startswith(prefix)]
    return json_answer({"kind": "storage#buckets", "items": [_show_bucket(each) for each in own]})


def delete_bucket(store: Store, who: Principal, name: str) -> Answer:
    """Removes a bucket that holds no version of an object and no managed folder; unfinished uploads go with it."""
    bucket = require_bucket(store, who, "storage.buckets.delete", name)
    count_bucket(store)
    if bucket.versions or bucket.folders:
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


def _hmac(store: Store, request: Request, who: Principal, parts: list[str]) -> Answer:
    if len(parts) < 3 or parts[1] != store.project:
        raise ApiError(403, "forbidden", "Permission denied on resource project (or it may not exist).")
    match request.method, parts:
        case "POST", ["projects", _, "hmacKeys"]:
            require(store, who, "storage.hmacKeys.create")
            return json_answer(_create_hmac(store, request.query.get("serviceAccountEmail", "")))
        case "GET", ["projects", _, "hmacKeys"]:
            require(store, who, "storage.hmacKeys.list")
            return json_answer({"kind": "storage#hmacKeysMetadata", "items": _list_hmac(store, request.query)})
        case method, ["projects", _, "hmacKeys", access_id]:
            verb = {"GET": "get", "PUT": "update", "DELETE": "delete"}.get(method, "get")
            require(store, who, f"storage.hmacKeys.{verb}")
            key = store.hmac_keys.get(access_id)
            if key is None or key.state == "DELETED":
                raise ApiError(404, "notFound", "Access ID not found in project.")
            return _change_hmac(store, request, key, verb)
    raise ApiError(404, "notFound", "Not Found")


def _create_hmac(store: Store, email: str) -> Json:
    account = find_known(store, email)
    if account is None:
        raise ApiError(404, "notFound", f"Service account {email} does not exist.")
    for is_on, constraint in (
        (store.knobs.keys_forbidden, "iam.disableServiceAccountKeyCreation"),
        (store.knobs.hmac_forbidden, "storage.restrictAuthTypes"),
    ):
        if is_on:
            raise _constraint(f"Request violates constraint 'constraints/{constraint}'")
    kept = [each for each in store.hmac_keys.values() if each.uid == account.uid and each.state != "DELETED"]
    if len(kept) >= HMAC_LIMIT:
        raise ApiError(403, "forbidden", "Service account HMAC key limit reached")
    now, number = store.clock.now(), store.next_number()
    access_id, secret = f"GOOG1E{number:055X}", base64.b64encode(secrets.token_bytes(30)).decode()
    key = HmacKey(access_id, secret, email, account.uid, created=now, updated=now)
    store.hmac_keys[access_id] = key
    return {"kind": "storage#hmacKey", "metadata": _show_hmac(store, key), "secret": secret}


def _list_hmac(store: Store, query: dict[str, str]) -> list[Json]:
    email, with_deleted = query.get("serviceAccountEmail"), query.get("showDeletedKeys", "").lower() == "true"
    keys = [each for each in store.hmac_keys.values() if email in {None, each.email}]
    keys = [each for each in keys if store.account_of(each.email, each.uid) and store.is_listed(each.created)]
    return [_show_hmac(store, each) for each in keys if with_deleted or each.state != "DELETED"]


def _change_hmac(store: Store, request: Request, key: HmacKey, verb: str) -> Answer:
    if verb == "update":
        body = request.json()
        if body.get("etag") not in {None, key.etag}:
            raise ApiError(412, "conditionNotMet", "The etag is another one.")
        if body.get("state") not in {"ACTIVE", "INACTIVE"}:
            raise ApiError(400, "invalid", "state must be ACTIVE or INACTIVE.")
        _set_state(store, key, body["state"])
    if verb == "delete":
        if key.state == "ACTIVE":
            raise ApiError(400, "invalid", "Cannot delete keys in 'ACTIVE' state.")
        if key.updated + timedelta(seconds=store.knobs.hmac_stop_seconds) > store.clock.now():
            raise ApiError(400, "invalid", "The key's change of state is still on its way.")
        updated = key.updated  # a deleted key stops as the inactive one would have
        _set_state(store, key, "DELETED")
        key.updated = updated
        return Answer(204)
    return json_answer(_show_hmac(store, key))


def _set_state(store: Store, key: HmacKey, state: str) -> None:
    if key.state != state:
        key.state, key.updated = state, store.clock.now()
        key.etag = f"e{store.next_number()}"


def _show_hmac(store: Store, key: HmacKey) -> Json:
    return {
        "kind": "storage#hmacKeyMetadata",
        "id": f"{store.project}/{key.access_id}",
        "accessId": key.access_id,
        "projectId": store.project,
        "serviceAccountEmail": key.email,
        "state": key.state,
        "timeCreated": spell(key.created),
        "updated": spell(key.updated),
        "etag": key.etag,
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
