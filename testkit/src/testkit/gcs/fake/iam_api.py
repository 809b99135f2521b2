"""iam.googleapis.com v1: service accounts, their keys, their policies.

Written from
https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts
https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts.keys
https://cloud.google.com/iam/docs/service-accounts-create (names of 6 to 30 characters, 100 accounts per project)
https://cloud.google.com/iam/docs/retry-strategy (409 ABORTED where a policy's etag is another one)
https://cloud.google.com/iam/quotas (10 keys per account; display name 100 bytes, description 256 bytes)
https://github.com/googleapis/google-api-dotnet-client/issues/2027 (400 for the eleventh key, without a constraint)
https://cloud.google.com/resource-manager/docs/organization-policy/restricting-service-accounts#disable_service_account_key_creation
https://github.com/google/create-service-account/issues/21 (the answer under that policy: violations in its details)
https://github.com/GoogleCloudPlatform/magic-modules/pull/11811, https://github.com/crossplane-contrib/provider-gcp/pull/373
and gcloud's reference of `iam service-accounts delete` (403 for accounts that are gone, or seconds old)
https://cloud.google.com/iam/docs/service-accounts-disable-enable and /keys-disable-enable (`disabled`)
https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/getIamPolicy (no body, but a query)
https://cloud.google.com/resource-manager/docs/organization-policy/restricting-service-accounts#limit_key_expiry (keys
that end: `validBeforeTime`; those that do not say the year 9999)
https://cloud.google.com/iam/docs/overview#consistency (lists lag behind)
"""

from __future__ import annotations

import base64
import functools
import itertools
import json
import re
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from testkit.gcs.fake.clock import spell
from testkit.gcs.fake.limits import count_account, count_iam_write
from testkit.gcs.fake.members import find_known
from testkit.gcs.fake.model import Account, AccountKey, Json, Store
from testkit.gcs.fake.permissions import require
from testkit.gcs.fake.policies import show_policy, write_policy
from testkit.gcs.fake.tokens import AUDIENCE, authenticate
from testkit.gcs.fake.wire import Answer, ApiError, Request, json_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_LIMIT: Final = 10
KEY_BITS = 2048
"""https://cloud.google.com/iam/docs/keys-create-delete; the answer sweep, which signs often, has fewer."""
_ID: Final = re.compile(r"[a-z][-a-z0-9]{4,28}[a-z0-9]")
_PATH: Final = re.compile(r"/v1/projects/([^/]+)/serviceAccounts(?:/([^/:]+))?(?:/keys(?:/([^/:]+))?)?(?::(\w+))?")
_POOL: Final = 24
_POOL_LOCK: Final = threading.Lock()


def handle(store: Store, request: Request) -> Answer:
    """Answers one request."""
    found = _PATH.fullmatch(request.path)
    if found is None:
        raise ApiError(404, "notFound", "Not found.")
    project, email, key_id, verb = found.groups()
    who = authenticate(store, request)
    if who.is_anonymous:
        raise ApiError(401, "required", "Request is missing required authentication credential.")
    if project != store.project:
        raise ApiError(403, "forbidden", f"Permission denied on resource project {project} (or it may not exist).")
    demand = functools.partial(require, store, who)
    if request.method != "GET" and verb != "getIamPolicy":
        count_iam_write(store)
    if "/keys" in request.path:
        return _keys(store, request, _account(store, email, demand), key_id, demand)
    if verb:
        return _act(store, request, _account(store, email, demand), verb, demand)
    if email is None and request.method == "GET":
        demand("iam.serviceAccounts.list")
        return json_answer(_list(store, request))
    if email is None:
        demand("iam.serviceAccounts.create")
        return json_answer(_show(_create(store, request.json())))
    account = _account(store, email, demand)
    if request.method == "DELETE":
        demand("iam.serviceAccounts.delete")
        del store.accounts[account.email]
        return json_answer({})
    demand("iam.serviceAccounts.get")
    return json_answer(_show(account))


def new_key(store: Store, account: Account, *, token_uri: str = AUDIENCE) -> Json:
    """Makes a key and gives the file that Google shows once, which names Google's own token endpoint."""
    number = store.next_number()
    private, pem = _rsa_key(number)
    key_id = f"{number:040x}"
    expiry, now = store.knobs.key_expiry_seconds, store.clock.now()
    ends = None if expiry is None or account.permissions else now + timedelta(seconds=expiry)
    account.keys[key_id] = AccountKey(key_id, private.public_key(), now, ends=ends)
    return {
        "type": "service_account",
        "project_id": account.project,
        "private_key_id": key_id,
        "private_key": pem,
        "client_email": account.email,
        "client_id": account.uid,
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }


def _account(store: Store, email: str | None, demand: functools.partial[None]) -> Account:
    account = store.accounts.get(email or "")
    if account is not None and account.hidden_calls > 0:
        account.hidden_calls -= 1
        raise _hidden(email)
    if account is not None and _is_hidden(store, account):
        raise _hidden(email)
    if account is None:
        demand("iam.serviceAccounts.get")
        if store.knobs.absent_is_forbidden:
            raise _hidden(email)
        raise ApiError(404, "notFound", f"Service account {email} does not exist.")
    return account


def _is_hidden(store: Store, account: Account) -> bool:
    return account.created + timedelta(seconds=store.knobs.hidden_account_seconds) > store.clock.now()


def _hidden(email: str | None) -> ApiError:
    text = f"Permission 'iam.serviceAccounts.get' denied on resource (or it may not exist): {email}"
    return ApiError(403, "forbidden", text, info="IAM_PERMISSION_DENIED")


def _list(store: Store, request: Request) -> Json:
    """Pages of at most 100: https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/list."""
    size, begin = min(int(request.query.get("pageSize", 20)), 100), int(request.query.get("pageToken") or 0)
    shown = [_show(each) for _, each in sorted(store.accounts.items()) if store.is_listed(each.created)]
    rest = {"nextPageToken": str(begin + size)} if len(shown) > begin + size else {}
    return {"accounts": shown[begin : begin + size], **rest}


def _create(store: Store, body: Json) -> Account:
    name, given = str(body.get("accountId")), body.get("serviceAccount", {})
    if not _ID.fullmatch(name):
        raise ApiError(400, "invalid", "accountId must match [a-z]([-a-z0-9]{4,28}[a-z0-9])")
    if len(given.get("displayName", "").encode()) > 100 or len(given.get("description", "").encode()) > 256:
        raise ApiError(400, "invalid", "displayName or description is too long.")
    email = f"{name}@{store.project}.iam.gserviceaccount.com"
    if email in store.accounts:
        raise ApiError(409, "alreadyExists", f"Service account {name} already exists.", rpc="ALREADY_EXISTS")
    count_account(store)
    account = Account(
        email=email,
        uid=f"{10**20 + store.next_number()}",
        project=store.project,
        display_name=given.get("displayName", ""),
        description=given.get("description", ""),
        unknown_calls=store.knobs.unknown_account_calls,
        hidden_calls=store.knobs.hidden_account_calls,
        created=store.clock.now(),
    )
    store.accounts[email] = account
    return account


def _keys(
    store: Store,
    request: Request,
    account: Account,
    key_id: str | None,
    demand: functools.partial[None],
) -> Answer:
    if request.method == "POST":
        demand("iam.serviceAccountKeys.create")
        if find_known(store, account.email) is None:
            raise ApiError(404, "notFound", f"Service account {account.email} does not exist.")
        return json_answer(_made(store, account))
    if request.method == "DELETE":
        demand("iam.serviceAccountKeys.delete")
        if account.keys.pop(key_id or "", None) is None:
            if store.knobs.absent_is_forbidden:
                raise _hidden(account.email)
            raise ApiError(404, "notFound", f"Service account key {key_id} does not exist.")
        return json_answer({})
    demand("iam.serviceAccountKeys.list")
    named = f"projects/{account.project}/serviceAccounts/{account.email}/keys/"
    shown: list[Json] = [
        {
            "name": named + key_id,
            "keyType": "USER_MANAGED",
            **_times(key),
            **({"disabled": True} if key.disabled else {}),
        }
        for key_id, key in account.keys.items()
        if store.is_listed(key.created)
    ]
    if request.query.get("keyTypes") != "USER_MANAGED":
        shown.append({"name": named + "0", "keyType": "SYSTEM_MANAGED"})
    return json_answer({"keys": shown} if shown else {})


def _made(store: Store, account: Account) -> Json:
    if store.knobs.keys_forbidden:
        text = "Key creation is not allowed on this service account."
        kind = "type.googleapis.com/google.rpc.PreconditionFailure"
        violation = {"type": "constraints/iam.disableServiceAccountKeyCreation", "description": text}
        details: list[Json] = [{"@type": kind, "violations": [violation]}]
        raise ApiError(400, "failedPrecondition", text, rpc="FAILED_PRECONDITION", details=details)
    if len(account.keys) >= KEY_LIMIT:
        raise ApiError(400, "failedPrecondition", "Precondition check failed.", rpc="FAILED_PRECONDITION")
    key = new_key(store, account)
    data = base64.b64encode(json.dumps(key).encode()).decode()
    name = f"projects/{account.project}/serviceAccounts/{account.email}/keys/{key['private_key_id']}"
    times = _times(account.keys[key["private_key_id"]])
    return {"name": name, "privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE", "privateKeyData": data, **times}


def _times(key: AccountKey) -> Json:
    ends = spell(key.ends) if key.ends else "9999-12-31T23:59:59Z"
    return {"validAfterTime": spell(key.created), "validBeforeTime": ends}


def _act(store: Store, request: Request, account: Account, verb: str, demand: functools.partial[None]) -> Answer:
    body = request.json()
    if verb in {"disable", "enable"}:
        demand(f"iam.serviceAccounts.{verb}")
        account.disabled = verb == "disable"
        return json_answer({})
    if verb == "getIamPolicy":
        demand("iam.serviceAccounts.getIamPolicy")
        if body:
            raise ApiError(400, "invalid", "The request body must be empty.")
        asked = request.query.get("options.requestedPolicyVersion", 1)
        return json_answer(show_policy(store, account.policy, version=int(asked)))
    if verb != "setIamPolicy":
        raise ApiError(404, "notFound", "Not found.")
    demand("iam.serviceAccounts.setIamPolicy")
    conflict = ApiError(409, "aborted", "There were concurrent policy changes.")
    write_policy(store, account.policy, body.get("policy", {}), conflict=conflict)
    return json_answer(show_policy(store, account.policy, version=3))


def _show(account: Account) -> Json:
    return {
        "name": f"projects/{account.project}/serviceAccounts/{account.email}",
        "projectId": account.project,
        "uniqueId": account.uid,
        "email": account.email,
        "displayName": account.display_name,
        "description": account.description,
        "etag": "MDEwMjE5MjA=",
        **({"disabled": True} if account.disabled else {}),
    }


@functools.cache
def _rsa_keys() -> Iterator[tuple[rsa.RSAPrivateKey, str]]:
    """Making a key takes a tenth of a second, so a pool goes round: no test has as many at once."""

    def make() -> tuple[rsa.RSAPrivateKey, str]:
        private = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        form, encoding = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
        return private, private.private_bytes(encoding, form, serialization.NoEncryption()).decode()

    made = []
    for _ in range(_POOL):
        made.append(make())
        yield made[-1]
    yield from itertools.cycle(made)


def _rsa_key(_number: int) -> tuple[rsa.RSAPrivateKey, str]:
    with _POOL_LOCK:
        return next(_rsa_keys())
