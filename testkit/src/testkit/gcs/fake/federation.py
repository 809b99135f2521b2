"""Federated tokens, and service accounts that are impersonated: the Security Token Service and IAM Credentials.

Written from
https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token (a token of another provider for a federated one)
https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken (takes
`iam.serviceAccounts.getAccessToken` on the account)
https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity (the metadata server of GKE gives pods such a
federated token)
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qs

from testkit.gcs.fake.model import Store, Token
from testkit.gcs.fake.permissions import ROLES, Principal
from testkit.gcs.fake.tokens import authenticate
from testkit.gcs.fake.wire import Answer, ApiError, Request, json_answer

STS_PATH: Final = "/v1/token"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_KIND: Final = "urn:ietf:params:oauth:token-type:access_token"


def mint_federated(store: Store, member: str) -> str:
    """A token of a federated identity."""
    token = "ya29.d." + secrets.token_urlsafe(24)
    ends = store.clock.now() + timedelta(seconds=store.knobs.token_seconds)
    store.tokens[token] = Token("", "", "", ends, federated=member)
    return token


def exchange(store: Store, request: Request) -> Answer:
    """Answers a token of another provider, which the fake must have been told of, with a federated one."""
    fields = {key: values[0] for key, values in parse_qs(request.body.decode()).items()}
    if fields.get("grant_type") != _GRANT or fields.get("requested_token_type") != _KIND:
        return json_answer({"error": "invalid_request", "error_description": "Invalid grant_type."}, 400)
    if not fields.get("audience", "").startswith("//iam.googleapis.com/") or not fields.get("scope"):
        return json_answer({"error": "invalid_request", "error_description": "Invalid value for audience."}, 400)
    member = store.subject_tokens.get(fields.get("subject_token", ""))
    if member is None:
        return json_answer({"error": "invalid_grant", "error_description": "The given credential is rejected."}, 400)
    token, life = mint_federated(store, member), store.knobs.token_seconds
    answer = {"access_token": token, "issued_token_type": _KIND, "token_type": "Bearer", "expires_in": life}
    return json_answer(answer)


def impersonate(store: Store, request: Request) -> Answer:
    """`generateAccessToken`: a token of a service account, for who may have one."""
    email, _, verb = request.path.rpartition("/")[2].partition(":")
    who, account = authenticate(store, request), store.accounts.get(email)
    if verb != "generateAccessToken":
        raise ApiError(404, "notFound", "Not found.")
    may = "iam.serviceAccounts.getAccessToken"
    if account is None or account.disabled or not _has(account.policy.bindings, who, may):
        text = f"Permission '{may}' denied on resource (or it may not exist)."
        raise ApiError(403, "forbidden", text, info="IAM_PERMISSION_DENIED")
    token, ends = "ya29.c." + secrets.token_urlsafe(24), store.clock.now() + timedelta(hours=1)
    store.tokens[token] = Token(account.email, account.uid, "", ends)
    return json_answer({"accessToken": token, "expireTime": ends.strftime("%Y-%m-%dT%H:%M:%SZ")})


def _has(bindings: list[dict[str, object]], who: Principal, permission: str) -> bool:
    held = [each for each in bindings if permission in ROLES.get(str(each["role"]), ())]
    return any(who.stored in list(each["members"]) for each in held)  # type: ignore[call-overload]
