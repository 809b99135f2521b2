"""Users, policies and quotas of a MinIO in memory: `/minio/admin/v3/`.

Source of the codes: `toAdminAPIErr` and the handlers in MinIO's `cmd/admin-handlers-users.go`,
`admin-handlers-idp-builtin` and `admin-bucket-handlers.go`; what is encrypted: the same, `madmin.EncryptData`.
"""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import urllib3
from minio.crypto import decrypt, encrypt

from testkit.minio.answers import ADMIN_PATH
from testkit.minio.fake.state import MinioRefusal, User

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from testkit.minio.fake.state import State
    from testkit.resilience.proxy import Request


def answer_admin(state: State, request: Request, caller: str) -> bytes:
    """The body of the answer to a request of an administrator.

    Raises:
        MinioRefusal: it is refused.
    """
    if caller != state.root[0]:
        raise MinioRefusal(403, "AccessDenied")
    name = request.path.removeprefix(ADMIN_PATH)
    handlers: dict[tuple[str, str], Callable[[State, Mapping[str, str], bytes], bytes]] = {
        ("PUT", "add-user"): _add_user,
        ("GET", "user-info"): _user_info,
        ("GET", "list-users"): _list_users,
        ("PUT", "set-user-status"): _set_user_status,
        ("DELETE", "remove-user"): _remove_user,
        ("PUT", "add-canned-policy"): _add_policy,
        ("GET", "info-canned-policy"): _policy_info,
        ("DELETE", "remove-canned-policy"): _remove_policy,
        ("POST", "idp/builtin/policy/attach"): _attach_policy,
        ("GET", "get-bucket-quota"): _get_quota,
        ("PUT", "set-bucket-quota"): _set_quota,
    }
    return handlers[request.method, name](state, request.query, request.body)


def _add_user(state: State, query: Mapping[str, str], body: bytes) -> bytes:
    given, name = _decrypted(state, body), query["accessKey"]
    if name == state.root[0]:
        raise MinioRefusal(400, "XMinioAdminModifyOwnAccount")
    there = state.users.get(name)
    policies = there.policies if there else []
    state.users[name] = User(secret=given["secretKey"], is_enabled=given["status"] == "enabled", policies=policies)
    return b""


def _user_info(state: State, query: Mapping[str, str], _body: bytes) -> bytes:
    return json.dumps(_shown(_user(state, query["accessKey"]))).encode()


def _list_users(state: State, _query: Mapping[str, str], _body: bytes) -> bytes:
    return encrypt(json.dumps({name: _shown(user) for name, user in state.users.items()}).encode(), state.root[1])


def _shown(user: User) -> dict[str, str]:
    shown = {"status": "enabled" if user.is_enabled else "disabled"}
    return {"policyName": ",".join(user.policies), **shown} if user.policies else shown


def _set_user_status(state: State, query: Mapping[str, str], _body: bytes) -> bytes:
    _user(state, query["accessKey"]).is_enabled = query["status"] == "enabled"
    return b""


def _remove_user(state: State, query: Mapping[str, str], _body: bytes) -> bytes:
    _user(state, query["accessKey"])
    del state.users[query["accessKey"]]
    return b""


def _add_policy(state: State, query: Mapping[str, str], body: bytes) -> bytes:
    state.policies[query["name"]] = json.loads(body)
    return b""


def _policy_info(state: State, query: Mapping[str, str], _body: bytes) -> bytes:
    return json.dumps(_policy(state, query["name"])).encode()


def _remove_policy(state: State, query: Mapping[str, str], _body: bytes) -> bytes:
    """One that is not there is fine: `DeletePolicy` in MinIO's `cmd/iam-store.go`."""
    name = query["name"]
    if any(name in user.policies for user in state.users.values()):
        raise MinioRefusal(400, "XMinioIAMPolicyInUse")
    state.policies.pop(name, None)
    return b""


def _attach_policy(state: State, _query: Mapping[str, str], body: bytes) -> bytes:
    given = _decrypted(state, body)
    user = _user(state, given["user"])
    for name in given["policies"]:
        _policy(state, name)
    if set(given["policies"]) <= set(user.policies):
        raise MinioRefusal(400, "XMinioAdminPolicyChangeAlreadyApplied")
    user.policies += [name for name in given["policies"] if name not in user.policies]
    return encrypt(json.dumps({"policiesAttached": given["policies"]}).encode(), state.root[1])


def _get_quota(state: State, query: Mapping[str, str], _body: bytes) -> bytes:
    quota = state.bucket(query["bucket"]).quota
    return json.dumps({"quota": quota, "size": quota, "quotatype": "hard"} if quota else {"quota": 0}).encode()


def _set_quota(state: State, query: Mapping[str, str], body: bytes) -> bytes:
    state.bucket(query["bucket"]).quota = json.loads(body)["quota"]
    return b""


def _user(state: State, name: str) -> User:
    if name not in state.users:
        raise MinioRefusal(404, "XMinioAdminNoSuchUser")
    return state.users[name]


def _policy(state: State, name: str) -> dict[str, Any]:
    if name not in state.policies:
        raise MinioRefusal(404, "XMinioAdminNoSuchPolicy")
    return state.policies[name]


def _decrypted(state: State, body: bytes) -> dict[str, Any]:
    response = urllib3.HTTPResponse(body=BytesIO(body), preload_content=False)
    return cast("dict[str, Any]", json.loads(decrypt(response, state.root[1])))
