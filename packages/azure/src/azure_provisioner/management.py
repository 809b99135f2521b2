"""Azure Resource Manager: who has a role on a container, and the account's keys. Four requests, and their errors.

Used by `provisioner`, as the administrator's identity. An assignment of ours has the claim's prefix as its description:
so each is found without a record, and none of others is touched. Knows nothing of ownership tags and SAS.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from azure.core.rest import HttpRequest

from azure_provisioner.client import connect_management
from azure_provisioner.errors import Call, from_status, is_outage, request_id_of, translated
from libbucket import AccessDenied, ProvisionerError, QuotaExceeded, Reason, SecretStr, StoreRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from azure.core import PipelineClient

    from azure_provisioner.admin_secret import Admin
    from azure_provisioner.client import Network
    from azure_provisioner.parameters import Parameters
    from azure_provisioner.tokens import Tokens

ROLE_SECONDS: Final = 600.0
"""How long a role assignment, or its removal, may take: "Troubleshoot Azure RBAC", symptom "Role assignment changes are
not being detected"."""

_ROLES: Final = "Microsoft.Authorization/roleAssignments"
_ROLES_VERSION: Final = "2022-04-01"
_STORAGE_VERSION: Final = "2023-05-01"
_KEY_SECONDS: Final = 300.0
_MOST_PAGES: Final = 20
_LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a page."""
_WHO: Final = "Azure Resource Manager"
_ID: Final = "x-ms-request-id"
_NOTHING: Final = frozenset({"ResourceNotFound", "RoleAssignmentNotFound"})
_NAMESPACE: Final = uuid.UUID("5a2f0a76-6e0c-5c1c-9d6e-3f1c7f0f6b11")
_SENTENCES: Final[Mapping[str, tuple[type[ProvisionerError], str]]] = {
    "PrincipalNotFound": (StoreRefused, "additionalConfig.azurePrincipalId is of no identity of the tenant"),
    "InvalidPrincipalId": (StoreRefused, "additionalConfig.azurePrincipalId is of no identity of the tenant"),
    "UnmatchedPrincipalType": (StoreRefused, "additionalConfig.azurePrincipalId is of a user or a group"),
    "RoleAssignmentExists": (
        StoreRefused,
        "the identity has the role on the container already, by an assignment that is not this claim's: remove that",
    ),
    "RoleAssignmentLimitExceeded": (QuotaExceeded, "the subscription has no room for another role assignment"),
    "RoleDefinitionDoesNotExist": (StoreRefused, "parameter role is of no role"),
    **dict.fromkeys(
        ("SubscriptionNotFound", "ResourceGroupNotFound"),
        (StoreRefused, "correct parameters subscription and resourceGroup, which must be the storage account's"),
    ),
}
"""What codes mean: "Troubleshoot Azure RBAC" and "Troubleshoot common Azure deployment errors"."""


class _NotFound(StoreRefused):
    """What a request is about is not there."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A role assignment on a container.

    Attributes:
        id: its path.
        principal: object id of who has the role.
        role: id of the role's definition.
        description: says whose it is.
    """

    id: str
    principal: str
    role: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Management:
    """The account, for one verb.

    Attributes:
        parameters: of the class.
        source: where the identity comes from, for messages.
        client: sends requests.
    """

    parameters: Parameters
    source: str
    client: PipelineClient[Any, Any]

    def ensure_role(self, container: str, principal: str, mark: str) -> bool:
        """The identity has the role on the container, and no other one has it for this claim.

        Args:
            container: where.
            principal: object id of the identity.
            mark: of the claim.

        Returns:
            Whether anything was changed.
        """
        own = self.assignments(container, mark)
        wanted = [each for each in own if (each.principal, each.role) == (principal, self.parameters.role)]
        for each in own:
            if each not in wanted:
                self._remove(each)
        if not wanted:
            self._assign(container, principal, mark)
        return len(own) != len(wanted) or not wanted

    def revoke_role(self, container: str, mark: str) -> bool:
        """No identity has a role on the container by this claim: whether one had."""
        own = self.assignments(container, mark)
        for each in own:
            self._remove(each)
        return bool(own)

    def assignments(self, container: str, mark: str) -> list[Assignment]:
        """The claim's own role assignments; none on a container that is gone.

        Raises:
            StoreRefused: the account is not there.
        """
        scope = self._container(container)
        url = _listing(scope)
        found: list[Assignment] = []
        for _ in range(_MOST_PAGES):
            try:
                answer = self._send("GET", url, f"{_ROLES}/read")
            except _NotFound:
                # The container, whose assignments went with it; or the account, whose assignments are there.
                self._send("GET", _listing(self._account()), f"{_ROLES}/read")
                return []
            every = [_parse(each) for each in self._list_in(answer, "value")]
            found += [each for each in every if each.description == mark and each.id.lower().startswith(scope.lower())]
            url = _path_of(answer.get("nextLink"), self.parameters.management_url)
            if not url:
                return found
        raise StoreRefused(f"container {container} has more role assignments than can be read")

    def account_key(self) -> SecretStr:
        """The account's key that the class names."""
        account = self._account()
        url = f"{account}/listKeys?api-version={_STORAGE_VERSION}"
        answer = self._send("POST", url, "Microsoft.Storage/storageAccounts/listKeys/action")
        keys = {each.get("keyName"): each.get("value") for each in self._list_in(answer, "keys")}
        value = keys.get(self.parameters.account_key)
        if not isinstance(value, str) or not value:
            raise StoreRefused(f"{_WHO} gives no {self.parameters.account_key} of {account}")
        return SecretStr(value)

    def _assign(self, container: str, principal: str, mark: str) -> None:
        scope = self._container(container)
        name = uuid.uuid5(_NAMESPACE, f"{scope} {mark} {principal} {self.parameters.role}")
        definitions = f"/subscriptions/{self.parameters.subscription}/providers/Microsoft.Authorization/roleDefinitions"
        content = {
            "properties": {
                "roleDefinitionId": f"{definitions}/{self.parameters.role}",
                "principalId": principal,
                "principalType": "ServicePrincipal",  # so that one that was made just now is not looked for
                "description": mark,
            }
        }
        self._send("PUT", f"{scope}/providers/{_ROLES}/{name}?api-version={_ROLES_VERSION}", f"{_ROLES}/write", content)

    def _remove(self, assignment: Assignment) -> None:
        with suppress(_NotFound):
            self._send("DELETE", f"{assignment.id}?api-version={_ROLES_VERSION}", f"{_ROLES}/delete")

    def _account(self) -> str:
        given = self.parameters
        group = f"/subscriptions/{given.subscription}/resourceGroups/{given.resource_group}"
        return f"{group}/providers/Microsoft.Storage/storageAccounts/{given.account}"

    def _container(self, name: str) -> str:
        return f"{self._account()}/blobServices/default/containers/{name}"

    def _send(self, method: str, url: str, action: str, content: Any = None) -> Mapping[str, Any]:
        with translated(Call(url=self.parameters.management_url, action=action, source=self.source)):
            response = self.client.send_request(
                HttpRequest(method, f"{self.parameters.management_url}{url}", json=content)
            )
        headers, status = response.headers, response.status_code
        if is_outage(status):
            raise from_status(status, headers, _WHO)
        parsed = _read(response)
        if 200 <= status < 300 and isinstance(parsed, dict) and request_id_of(headers):
            return {**parsed, _ID: request_id_of(headers)}
        error = parsed.get("error") if isinstance(parsed, dict) else None
        code = str(error.get("code") or "") if isinstance(error, dict) else ""
        if status == 404 and code in _NOTHING:
            raise _NotFound(
                f"{_WHO} finds no storage account {self.parameters.account} with what {action} needs: correct "
                f"parameters subscription and resourceGroup ({code})",
                request_id=request_id_of(headers),
            )
        raise self._refusal(status, code if code.isidentifier() else "", headers, action)

    def _list_in(self, answer: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
        """What an answer lists: one without a list does not say that there is nothing."""
        found = answer.get(name)
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise self._not_management("what is no list", str(answer[_ID]))
        return found

    def _not_management(self, what: str, request_id: str) -> StoreRefused:
        return StoreRefused(
            f"{self.parameters.management_url} answers with {what}, and not as {_WHO} does: correct parameter "
            "managementEndpoint",
            request_id=request_id,
        )

    def _refusal(self, status: int, code: str, headers: Mapping[str, str], action: str) -> ProvisionerError:
        said, request_id = code or f"HTTP {status}", request_id_of(headers)
        known = _SENTENCES.get(code)
        if known is not None:
            kind, sentence = known
            return kind(f"{_WHO} refuses {action}: {sentence} ({said})", request_id=request_id)
        if status in {401, 403}:
            message = (
                f"{_WHO} refuses {self.source} the action {action}: its identity lacks a role with it on the storage "
                f"account, or the assignment is new and takes effect within ten minutes ({said})"
            )
            return AccessDenied(message, request_id=request_id)
        if not code:
            return self._not_management(f"HTTP {status}", request_id)
        return StoreRefused(f"{_WHO} refuses {action} with {said}", request_id=request_id)


@dataclass(frozen=True, kw_only=True)
class AccountKeys:
    """Keys of accounts that were read some minutes ago: Azure limits how often they are read.

    "Scalability and performance targets for standard storage accounts": 1,200 management requests in an hour.

    Attributes:
        clock: seconds that never run backwards.
    """

    clock: Callable[[], float] = time.monotonic
    _kept: dict[tuple[str, str], tuple[float, SecretStr]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, parameters: Parameters) -> SecretStr | None:
        """The key; None where it has to be read."""
        with self._lock:
            found = self._kept.get(_place(parameters))
        return found[1] if found is not None and self.clock() - found[0] < _KEY_SECONDS else None

    def keep(self, parameters: Parameters, key: SecretStr) -> SecretStr:
        """Remembers a key; gives it."""
        with self._lock:
            self._kept[_place(parameters)] = (self.clock(), key)
        return key

    @contextmanager
    def forgotten_when_refused(self, parameters: Parameters) -> Iterator[None]:
        """Reads the key the next time where the account refuses it: it was regenerated."""
        try:
            yield
        except ProvisionerError as error:
            if error.reason is Reason.ACCESS_DENIED:
                with self._lock:
                    self._kept.pop(_place(parameters), None)
            raise


def _place(parameters: Parameters) -> tuple[str, str]:
    return f"{parameters.management_url} {parameters.subscription} {parameters.account}", parameters.account_key


@contextmanager
def management(parameters: Parameters, admin: Admin, network: Network, tokens: Tokens) -> Iterator[Management]:
    """The account's management, for one verb."""
    with connect_management(parameters, admin, network, tokens) as client:
        yield Management(parameters=parameters, source=admin.named, client=client)


def _listing(scope: str) -> str:
    return f"{scope}/providers/{_ROLES}?api-version={_ROLES_VERSION}&$filter=atScope()"


def _read(response: Any) -> Any:
    """The content of an answer; {} where it has none, None where it is not JSON."""
    if not response.content:
        return {}
    try:
        return json.loads(response.content) if len(response.content) <= _LARGEST else None
    except ValueError:
        return None


def _parse(given: Mapping[str, Any]) -> Assignment:
    properties = given.get("properties")
    of = properties if isinstance(properties, dict) else {}
    return Assignment(
        id=str(given.get("id") or ""),
        principal=str(of.get("principalId") or "").lower(),
        role=str(of.get("roleDefinitionId") or "").rpartition("/")[2].lower(),
        description=str(of.get("description") or ""),
    )


def _path_of(link: Any, base: str) -> str:
    """The next page, of the same service only: the token goes along."""
    return link.removeprefix(base) if isinstance(link, str) and link.startswith(f"{base}/") else ""
