"""The HMAC keys of the JSON API: made, listed, their state changed, deleted.

Written from
https://cloud.google.com/storage/docs/json_api/v1/projects/hmacKeys (ACTIVE can't be deleted; update takes an etag)
https://cloud.google.com/storage/docs/authentication/hmackeys#restrictions (10 keys per account)
https://github.com/googleapis/java-storage/issues/1240 (412 for an HMAC key where service-account keys are forbidden)
https://cloud.google.com/storage/docs/authentication/managing-hmackeys (3 minutes from inactive to deleted)
https://github.com/GoogleCloudPlatform/python-docs-samples/issues/4029 (403 for the eleventh HMAC key)
"""

from __future__ import annotations

import base64
import secrets
from datetime import timedelta
from typing import Final

from testkit.gcs.fake.clock import spell
from testkit.gcs.fake.members import find_known
from testkit.gcs.fake.model import HmacKey, Json, Store
from testkit.gcs.fake.permissions import Principal, require
from testkit.gcs.fake.wire import Answer, ApiError, Request, forbidden_by_policy, json_answer

HMAC_LIMIT: Final = 10


def handle(store: Store, request: Request, who: Principal, parts: list[str]) -> Answer:
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
            raise forbidden_by_policy(f"Request violates constraint 'constraints/{constraint}'")
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
