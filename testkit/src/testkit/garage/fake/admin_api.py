"""The admin API v2 of a Garage in memory: garage_api_admin/router_v2.rs, bucket.rs and key.rs.

Answers are those of `bucket_info_results` and `key_info_results`, without what no test asks for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from testkit.garage.fake.state import REGION, Bucket, GarageRefusal, Key, State, is_valid_name
from testkit.resilience.proxy import Instead, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PREFIX: Final = "/v2/"
_PERMISSIONS: Final = ("read", "write", "owner")
_JSON: Final = {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"}


def answer_admin(state: State, request: Request) -> Instead:
    """The answer to a request."""
    try:
        made = _answered(state, request)
    except GarageRefusal as refusal:
        return _refused(request, refusal)
    except (KeyError, TypeError, AttributeError):  # what serde refuses: a member that is missing, or of another type
        return _refused(request, GarageRefusal(400, "InvalidRequest"))
    return Instead(status=200, headers=_JSON, body=json.dumps(made, indent=2).encode())


def _answered(state: State, request: Request) -> object:
    """The call and its body are parsed before the token is verified: `handle_http_api` in api_server.rs."""
    call = _CALLS.get((request.method, request.path.removeprefix(_PREFIX)))
    if not request.path.startswith(_PREFIX) or call is None:
        raise GarageRefusal(400, "InvalidRequest")
    body = _body(request) if call in _WITH_BODY else {}
    _check_token(state, request.headers.get("authorization", ""))
    return call(state, request.query, body)


def _refused(request: Request, refusal: GarageRefusal) -> Instead:
    """`http_body` in error.rs."""
    told = {"code": refusal.code, "message": "told by the server", "region": REGION, "path": request.path}
    return Instead(status=refusal.status, headers=_JSON, body=json.dumps(told, indent=2).encode())


def _body(request: Request) -> dict[str, Any]:
    try:
        found = json.loads(request.body)
    except ValueError:
        raise GarageRefusal(400, "InvalidRequest") from None
    if not isinstance(found, dict):
        raise GarageRefusal(400, "InvalidRequest")
    return found


def _check_token(state: State, authorization: str) -> None:
    """`verify_authorization` in api_server.rs: a token that is missing is forbidden as well, and not 401."""
    if authorization != f"Bearer {state.token}":
        raise GarageRefusal(403, "AccessDenied")


def _get_bucket_info(state: State, query: Mapping[str, str], _body: Any) -> object:
    if set(query) != {"globalAlias"}:
        raise GarageRefusal(400, "InvalidRequest")
    return _described(state, _by_alias(state, query["globalAlias"]))


def _by_alias(state: State, alias: str) -> Bucket:
    """By alias alone: an id is none here."""
    found = next((each for each in state.buckets.values() if alias in each.aliases), None)
    if found is None:
        raise GarageRefusal(404, "NoSuchBucket")
    return found


def _list_buckets(state: State, _query: Mapping[str, str], _body: Any) -> object:
    return [{"id": each.id, "globalAliases": each.aliases, "localAliases": []} for each in state.buckets.values()]


def _create_bucket(state: State, _query: Mapping[str, str], body: Mapping[str, Any]) -> object:
    alias = body.get("globalAlias")
    if alias is not None:
        if not is_valid_name(alias):
            raise GarageRefusal(400, "InvalidRequest")
        if any(alias in each.aliases for each in state.buckets.values()):
            raise GarageRefusal(409, "BucketAlreadyExists")
    made = Bucket(aliases=[] if alias is None else [alias])
    state.buckets[made.id] = made
    return _described(state, made)


def _update_bucket(state: State, query: Mapping[str, str], body: Mapping[str, Any]) -> object:
    """A limit that the body does not have is none: `state.quotas.update` replaces both."""
    bucket = state.bucket(query["id"])
    if body.get("quotas") is not None:
        quotas = {name: body["quotas"].get(name) for name in bucket.quotas}
        if not all(value is None or (isinstance(value, int) and 0 <= value < 2**64) for value in quotas.values()):
            raise GarageRefusal(400, "InvalidRequest")
        bucket.quotas = quotas
    return _described(state, bucket)


def _delete_bucket(state: State, query: Mapping[str, str], _body: Any) -> object:
    """Uploads do not hold it: `is_bucket_empty` in garage_model/helper/bucket.rs asks for data only."""
    bucket = state.bucket(query["id"])
    if not bucket.objects.is_empty:
        raise GarageRefusal(409, "BucketNotEmpty")
    del state.buckets[bucket.id]
    return None


def _cleanup_uploads(state: State, _query: Mapping[str, str], body: Mapping[str, Any]) -> object:
    """Those of the last `olderThanSecs` stay; no clock runs here."""
    bucket = state.bucket(body["bucketId"])
    if not isinstance(body["olderThanSecs"], int):
        raise GarageRefusal(400, "InvalidRequest")
    count = len(bucket.objects.uploads) if body["olderThanSecs"] == 0 else 0
    if count:
        bucket.objects.uploads.clear()
    return {"uploadsDeleted": count}


def _add_alias(state: State, _query: Mapping[str, str], body: Mapping[str, Any]) -> object:
    """`set_global_bucket_alias` in garage_model/helper/locked.rs: another bucket's alias is a bad request, not 409."""
    alias = body["globalAlias"]
    bucket_id = body["bucketId"]
    if not is_valid_name(alias):
        raise GarageRefusal(400, "InvalidBucketName")
    bucket = state.bucket(bucket_id)
    if any(alias in each.aliases for each in state.buckets.values() if each is not bucket):
        raise GarageRefusal(400, "InvalidRequest")
    if alias not in bucket.aliases:
        bucket.aliases.append(alias)
    return _described(state, bucket)


def _remove_alias(state: State, _query: Mapping[str, str], body: Mapping[str, Any]) -> object:
    """`unset_global_bucket_alias` in the same file: one that is not there is an internal error, the last one stays."""
    bucket = state.bucket(body["bucketId"])
    if body["globalAlias"] not in bucket.aliases:
        raise GarageRefusal(500, "InternalError")
    if len(bucket.aliases) == 1:
        raise GarageRefusal(400, "InvalidRequest")
    bucket.aliases.remove(body["globalAlias"])
    return _described(state, bucket)


def _allow(state: State, _query: Mapping[str, str], body: Mapping[str, Any]) -> object:
    return _change_permissions(state, body, allows=True)


def _deny(state: State, _query: Mapping[str, str], body: Mapping[str, Any]) -> object:
    return _change_permissions(state, body, allows=False)


def _change_permissions(state: State, body: Mapping[str, Any], *, allows: bool) -> object:
    """`handle_bucket_change_key_perm`: only what is true in the body changes."""
    bucket, key = state.bucket(body["bucketId"]), state.key(body["accessKeyId"])
    named = {name for name in _PERMISSIONS if body["permissions"].get(name, False)}
    had = bucket.allowed.get(key.id, set())
    bucket.allowed[key.id] = had | named if allows else had - named
    return _described(state, bucket)


def _get_key_info(state: State, query: Mapping[str, str], _body: Any) -> object:
    """A search finds the beginning of an id or a whole name, in any case: `MatchesAndNotDeleted` in key_table.rs."""
    if ("id" in query) == ("search" in query):
        raise GarageRefusal(400, "InvalidRequest")
    if "id" in query:
        key = state.key(query["id"])
    else:
        pattern = query["search"].lower()
        known = state.keys.values()
        found = [each for each in known if each.id.lower().startswith(pattern) or each.name.lower() == pattern]
        if len(found) > 1:
            raise GarageRefusal(400, "InvalidRequest")
        if not found:
            raise GarageRefusal(404, "NoSuchAccessKey")
        key = found[0]
    return _key(state, key, shows_secret=query.get("showSecretKey") == "true")


def _list_keys(state: State, query: Mapping[str, str], _body: Any) -> object:
    ordered = sorted(state.keys.values(), key=lambda each: each.id)[: int(query.get("limit", 10000))]
    return [{"id": each.id, "name": each.name, "expired": False} for each in ordered]


def _create_key(state: State, _query: Mapping[str, str], body: Mapping[str, Any]) -> object:
    """Makes another one, however often it is called: a name is no identity."""
    made = Key(name=body.get("name") or "Unnamed key")
    state.keys[made.id] = made
    return _key(state, made, shows_secret=True)


def _delete_key(state: State, query: Mapping[str, str], _body: Any) -> object:
    key = state.key(query["id"])
    del state.keys[key.id]
    for bucket in state.buckets.values():
        bucket.allowed.pop(key.id, None)
    return None


def _described(state: State, bucket: Bucket) -> dict[str, object]:
    """Keys without a permission are left out."""
    allowed = [(state.keys[key_id], names) for key_id, names in bucket.allowed.items() if names]
    uploads = len(bucket.objects.uploads)
    return {
        "id": bucket.id,
        "globalAliases": list(bucket.aliases),
        "websiteAccess": False,
        "keys": [
            {"accessKeyId": key.id, "name": key.name, "permissions": _shown(names), "bucketLocalAliases": []}
            for key, names in allowed
        ],
        "objects": len(bucket.objects.keys),
        "unfinishedUploads": uploads,
        "unfinishedMultipartUploads": uploads,
        "quotas": dict(bucket.quotas),
    }


def _key(state: State, key: Key, *, shows_secret: bool) -> dict[str, object]:
    opened = [each for each in state.buckets.values() if each.allowed.get(key.id)]
    secret = {"secretAccessKey": key.secret} if shows_secret else {}
    return {
        "accessKeyId": key.id,
        "name": key.name,
        "expired": False,
        **secret,
        "permissions": {"createBucket": False},
        "buckets": [
            {
                "id": each.id,
                "globalAliases": list(each.aliases),
                "localAliases": [],
                "permissions": _shown(each.allowed[key.id]),
            }
            for each in opened
        ],
    }


def _shown(names: set[str]) -> dict[str, bool]:
    return {name: name in names for name in _PERMISSIONS}


_CALLS: Final[Mapping[tuple[str, str], Callable[[State, Mapping[str, str], Any], object]]] = {
    ("GET", "GetBucketInfo"): _get_bucket_info,
    ("GET", "ListBuckets"): _list_buckets,
    ("POST", "CreateBucket"): _create_bucket,
    ("POST", "UpdateBucket"): _update_bucket,
    ("POST", "DeleteBucket"): _delete_bucket,
    ("POST", "CleanupIncompleteUploads"): _cleanup_uploads,
    ("POST", "AddBucketAlias"): _add_alias,
    ("POST", "RemoveBucketAlias"): _remove_alias,
    ("POST", "AllowBucketKey"): _allow,
    ("POST", "DenyBucketKey"): _deny,
    ("GET", "GetKeyInfo"): _get_key_info,
    ("GET", "ListKeys"): _list_keys,
    ("POST", "CreateKey"): _create_key,
    ("POST", "DeleteKey"): _delete_key,
}
_WITH_BODY: Final = frozenset(
    {_create_bucket, _update_bucket, _cleanup_uploads, _add_alias, _remove_alias, _allow, _deny, _create_key}
)
"""The calls whose body is parsed before anything is decided: `gen_path_parser_v2`."""
