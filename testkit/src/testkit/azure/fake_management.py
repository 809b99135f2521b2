"""A fake of Azure Resource Manager in memory: role assignments on containers, and an account's keys.

It enforces what the service does: a token of its own audience, the role of who asks, existing scopes, identities and
roles, one assignment for each identity, role and scope, and the limit of a subscription. Sources: "Assign Azure roles
using the REST API", "Troubleshoot Azure RBAC", "Storage Accounts - List Keys".
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from testkit.azure.error_answers import Answer
    from testkit.azure.fake_storage import FakeStorage

HOST: Final = "management.azure.com"
SUBSCRIPTION: Final = "aaaaaaaa-1111-2222-3333-444444444444"
GROUP: Final = "buckets"
_ROLES: Final = "/providers/Microsoft.Authorization/roleAssignments"
_KNOWN_ROLES: Final = frozenset(
    {
        "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
        "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    }
)
"""Storage Blob Data Contributor, Owner and Reader: "Azure built-in roles for Storage"."""
_GUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
READ: Final = "Microsoft.Authorization/roleAssignments/read"
WRITE: Final = "Microsoft.Authorization/roleAssignments/write"
DELETE: Final = "Microsoft.Authorization/roleAssignments/delete"
LIST_KEYS: Final = "Microsoft.Storage/storageAccounts/listKeys/action"


class _Refused(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


@dataclass(kw_only=True)
class FakeManagement:
    """One subscription with one account.

    Attributes:
        storage: the account.
        tokens: that it takes, with the time at which each ends.
        principals: object ids of the identities of the tenant.
        actions: what the role of who asks allows.
        most: role assignments of the subscription: 4,000 at Azure ("Azure RBAC limits").
        assignments: by path.
        requests: methods and paths.
    """

    storage: FakeStorage
    tokens: Mapping[str, datetime]
    principals: set[str] = field(default_factory=set)
    actions: frozenset[str] = frozenset({READ, WRITE, DELETE, LIST_KEYS})
    most: int = 4000
    assignments: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.storage.has_role = self.has_role

    @property
    def account(self) -> str:
        """Path of the account."""
        group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
        return f"{group}/providers/Microsoft.Storage/storageAccounts/{self.storage.account}"

    def container(self, name: str) -> str:
        """Path of a container."""
        return f"{self.account}/blobServices/default/containers/{name}"

    def has_role(self, principal: str, container: str) -> bool:
        """Whether an identity has a role on a container."""
        scope = self.container(container)
        return any((each["principalId"], each["scope"]) == (principal, scope) for each in self.assignments.values())

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What it answers."""
        self.requests.append(f"{method} {target.partition('?')[0]}")
        common = {"x-ms-request-id": str(uuid.uuid4()), "Content-Type": "application/json; charset=utf-8"}
        try:
            self._check_token(headers)
            status, content = self._carried_out(method, target, body)
        except _Refused as error:
            refusal = {"error": {"code": error.code, "message": "Refused."}}
            return error.status, {**common, "x-ms-failure-cause": "gateway"}, json.dumps(refusal).encode()
        return status, common, b"" if content is None else json.dumps(content).encode()

    def _check_token(self, headers: Mapping[str, str]) -> None:
        given = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
        ends = self.tokens.get(given.removeprefix("Bearer "))
        if ends is None or self.storage.now >= ends:
            raise _Refused(401, "InvalidAuthenticationToken")

    def _carried_out(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
        path, _, query = target.partition("?")
        if "api-version=" not in query:
            raise _Refused(400, "MissingApiVersionParameter")
        if not path.startswith(f"/subscriptions/{SUBSCRIPTION}/"):
            raise _Refused(404, "SubscriptionNotFound")
        if f"/resourceGroups/{GROUP}/" not in path:
            raise _Refused(404, "ResourceGroupNotFound")
        if not path.startswith(f"{self.account}/"):
            raise _Refused(404, "ResourceNotFound")  # "Troubleshoot resource not found errors", Azure Resource Manager
        if (method, path) == ("POST", f"{self.account}/listKeys"):
            return self._keys()
        scope, _, name = path.partition(_ROLES)
        if not path.partition(_ROLES)[1]:
            raise _Refused(404, "InvalidResourceType")
        return self._of_roles(method, scope, name.strip("/"), body)

    def _of_roles(self, method: str, scope: str, name: str, body: bytes) -> tuple[int, Any]:
        if method == "GET" and not name:
            self._check_action(READ)
            container = scope.removeprefix(self.container(""))
            if scope != self.account and container not in self.storage.containers:
                raise _Refused(404, "ResourceNotFound")
            own = [path for path, each in self.assignments.items() if each["scope"] == scope]
            return 200, {"value": [{"id": path, "properties": self.assignments[path]} for path in own]}
        path = f"{scope}{_ROLES}/{name}"
        if method == "DELETE":
            self._check_action(DELETE)
            found = self.assignments.pop(path, None)
            return (204, None) if found is None else (200, {"id": path, "properties": found})
        self._check_action(WRITE)
        return self._assigned(path, scope, json.loads(body)["properties"])

    def _assigned(self, path: str, scope: str, wanted: dict[str, Any]) -> tuple[int, Any]:
        role = str(wanted["roleDefinitionId"]).rpartition("/")[2]
        if not _GUID.fullmatch(path.rpartition("/")[2]):
            raise _Refused(400, "InvalidRoleAssignmentId")
        if role not in _KNOWN_ROLES:
            raise _Refused(404, "RoleDefinitionDoesNotExist")
        if wanted["principalId"] not in self.principals:
            raise _Refused(400, "PrincipalNotFound")
        made = {**wanted, "scope": scope}
        key = "principalId", "roleDefinitionId", "scope"
        for other, each in self.assignments.items():
            if other != path and all(each[name] == made[name] for name in key):
                raise _Refused(409, "RoleAssignmentExists")
        if path in self.assignments:
            return 200, {"id": path, "properties": self.assignments[path]}
        if len(self.assignments) >= self.most:
            raise _Refused(400, "RoleAssignmentLimitExceeded")
        self.assignments[path] = made
        return 201, {"id": path, "properties": made}

    def _keys(self) -> tuple[int, Any]:
        self._check_action(LIST_KEYS)
        named = zip(("key1", "key2"), self.storage.keys, strict=True)
        return 200, {"keys": [{"keyName": name, "value": key, "permissions": "FULL"} for name, key in named]}

    def _check_action(self, action: str) -> None:
        if action not in self.actions:
            raise _Refused(403, "AuthorizationFailed")
