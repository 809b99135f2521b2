"""Access without keys: a role for the identity that a claim names; and account keys that no Secret holds. In memory."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from azure_provisioner.client import Network
from azure_provisioner.management import Management
from azure_provisioner.provisioner import ROLE_STATE, AzureProvisioner
from libbucket import (
    AccessDenied,
    ExpiresLater,
    InvalidAdminSecret,
    InvalidConfig,
    InvalidParameters,
    ProvisionerError,
    QuotaExceeded,
    SecretStr,
    Services,
    StoreRefused,
    StoreUnavailable,
    Throttled,
)
from libbucket.testing import builders
from testkit.azure.fake_identities import ENTRA_HOST, FakeIdentities
from testkit.azure.fake_management import DELETE, GROUP, HOST, LIST_KEYS, READ, SUBSCRIPTION, WRITE, FakeManagement
from testkit.azure.fake_storage import FakeStorage
from testkit.azure.in_memory_backend import InMemoryApplication, as_request
from testkit.resilience.proxy import Instead, Request
from testkit.resilience.wire import Wire, wired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from libbucket import BucketOptions, ObjectBucket

MINE, OTHER = "aaaaaaaa-0000-0000-0000-000000000001", "aaaaaaaa-0000-0000-0000-000000000002"
WHERE = {"subscription": SUBSCRIPTION, "resourceGroup": GROUP}
SECRET = {"secretName": "admin", "secretNamespace": "azure"}
TEN_MINUTES = 600.0


class World:
    """An account, its management, and a provisioner that is an application of Entra ID."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 1, tzinfo=UTC)
        self.storage = FakeStorage(clock=lambda: self.now)
        self.identities = FakeIdentities(self.storage)
        self.management = FakeManagement(
            storage=self.storage, tokens=self.identities.management_tokens, principals={MINE, OTHER}
        )
        held = {**self.identities.client_secret, "AZURE_STORAGE_KEY": self.storage.keys[0]}
        self.secret = {name: SecretStr(value) for name, value in held.items()}
        self.restart()
        self.pass_time(3600.0)
        self.instead: dict[str, Instead] = {}
        self.storage.applications = {f"token of {each}": each for each in (MINE, OTHER)}

    def restart(self) -> None:
        """Another process, which remembers nothing."""
        self.provisioner = AzureProvisioner(
            Services(read_secret=lambda *_: self.secret, now=lambda: self.now), Network(clock=lambda: self.now)
        )

    def answered(self, request: Request) -> Instead:
        host = request.headers["host"]
        if host == ENTRA_HOST:
            answer = self.identities.entra(request.method, request.path, request.body)
        elif host == HOST and request.method in self.instead:
            return self.instead[request.method]
        elif host == HOST:
            answer = self.management.answer(request.method, request.target, request.headers, request.body)
        else:
            account = self.storage.account
            answer = self.storage.answer(
                as_request(account, request.method, request.target, request.headers, request.body)
            )
        return Instead(status=answer[0], headers=answer[1], body=answer[2])

    def can_read(self, principal: str, container: str = "photos") -> bool:
        """Whether an application with that identity may list a container."""
        target = f"/{container}?restype=container&comp=list"
        headers = {"Authorization": f"Bearer token of {principal}"}
        request = as_request(self.storage.account, "GET", target, headers)
        return self.storage.answer(request)[0] == 200

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with wired(Wire(made.answered, made.pass_time), ENTRA_HOST, HOST, ".blob.core.windows.net"):
        yield made


def options(world: World, principal: str | None = MINE, *, bucket: str = "photos", **parameters: str) -> BucketOptions:
    given = {"storageAccount": world.storage.account, **SECRET, **WHERE, "credentials": "role-assignment"}
    config = {"azurePrincipalId": principal} if principal is not None else {}
    return builders.options(bucket_name=bucket, parameters={**given, **parameters}, config=config)


def record(request: BucketOptions, answer: ObjectBucket) -> ObjectBucket:
    return builders.recorded(answer, request)


def data_of(answer: ObjectBucket) -> Mapping[str, str]:
    assert answer.connection.authentication is not None
    return {name: value.reveal() for name, value in answer.connection.authentication.additional_secret_data.items()}


def test_the_identity_that_a_claim_names_is_let_into_its_container_and_no_other(world: World) -> None:
    answer = world.provisioner.provision(options(world))
    world.provisioner.provision(options(world, OTHER, bucket="music"))
    assert (world.can_read(MINE), world.can_read(MINE, "music")) == (True, False)
    assert (world.can_read(OTHER), world.can_read(OTHER, "music")) == (False, True)
    assert answer.connection.additional_state == {ROLE_STATE: MINE}


def test_the_secret_holds_no_key(world: World) -> None:
    data = data_of(world.provisioner.provision(options(world)))
    url = f"https://{world.storage.account}.blob.core.windows.net"
    assert data == {
        "AZURE_STORAGE_ACCOUNT": world.storage.account,
        "AZURE_STORAGE_ACCOUNT_NAME": world.storage.account,
        "AZURE_STORAGE_CONTAINER_URL": f"{url}/photos",
    }
    assert not any("sig=" in value for value in data.values())


def test_an_account_without_keys_serves_such_claims(world: World) -> None:
    world.storage.forbids_keys = True
    world.provisioner.provision(options(world))
    assert world.can_read(MINE)


def test_a_second_call_changes_nothing(world: World) -> None:
    request = options(world)
    answer = world.provisioner.provision(request)
    before = dict(world.management.assignments)
    world.management.requests.clear()
    again = world.provisioner.provision(builders.again(request, answer))
    assert world.management.assignments == before
    assert [each.partition(" ")[0] for each in world.management.requests] == ["GET"]
    assert again.repairs == ()


def test_a_lost_role_is_seen_and_repaired(world: World) -> None:
    request = options(world)
    answer = world.provisioner.provision(request)
    bound = builders.again(request, answer)
    assert world.provisioner.is_intact(bound)
    world.management.assignments.clear()
    assert not world.provisioner.is_intact(bound)
    assert world.provisioner.provision(bound).repairs == ("role assignment",)
    assert world.can_read(MINE)


def test_another_identity_takes_the_place_of_the_first(world: World) -> None:
    request = options(world)
    answer = world.provisioner.provision(request)
    later = builders.again(request, answer)
    later = replace(later, claim=replace(later.claim, additional_config={"azurePrincipalId": OTHER}))
    assert not world.provisioner.is_intact(later)
    world.provisioner.provision(later)
    assert (world.can_read(MINE), world.can_read(OTHER)) == (False, True)


@pytest.mark.parametrize("principal", [None, "", "me", "aaaaaaaa-0000-0000-0000-00000000000"])
def test_a_claim_that_names_no_identity_is_told_the_key(world: World, principal: str | None) -> None:
    with pytest.raises(InvalidConfig, match=r"additionalConfig\.azurePrincipalId.*--allow-additional-config"):
        world.provisioner.provision(options(world, principal))
    assert world.management.assignments == {}


def test_an_identity_that_is_let_in_by_others_is_not_the_claims(world: World) -> None:
    world.storage.containers.clear()
    other = options(world, bucket="photos")
    world.provisioner.provision(other)
    (path,) = world.management.assignments
    world.management.assignments[path]["description"] = "another owner's"
    world.management.assignments[path.replace(path[-4:], "0000")] = world.management.assignments.pop(path)
    with pytest.raises(StoreRefused, match="that is not this claim's"):
        world.provisioner.provision(other)
    assert len(world.management.assignments) == 1


def test_an_account_that_is_not_in_the_resource_group_binds_no_claim(world: World) -> None:
    world.management.storage = FakeStorage(clock=lambda: world.now, account="ofanothername")
    with pytest.raises(StoreRefused, match=r"subscription and resourceGroup.*ResourceNotFound"):
        world.provisioner.provision(options(world))
    assert not world.can_read(MINE)


def test_a_role_is_not_taken_for_revoked_where_its_account_is_not_found(world: World) -> None:
    request = options(world)
    answer = world.provisioner.provision(request)
    account, world.management.storage = world.management.storage, FakeStorage(account="other", clock=lambda: world.now)
    with pytest.raises(StoreRefused, match="subscription and resourceGroup"):
        world.provisioner.revoke(record(request, answer))
    world.management.storage = account
    assert world.can_read(MINE)


def test_a_role_on_a_container_that_is_gone_is_revoked(world: World) -> None:
    request = options(world)
    answer = world.provisioner.provision(request)
    world.storage.containers.clear()
    world.management.assignments.clear()
    world.provisioner.revoke(record(request, answer))


def test_a_revoked_role_is_waited_for_as_long_as_azure_may_take(world: World) -> None:
    request = options(world)
    world.provisioner.provision(request)
    shared = options(world, OTHER, bucket="photos", bucketName="photos")
    answer = world.provisioner.grant(shared)
    with pytest.raises(ExpiresLater, match="ten minutes") as waiting:
        world.provisioner.revoke(record(shared, answer))
    assert waiting.value.delay == TEN_MINUTES
    assert not world.can_read(OTHER)
    assert world.can_read(MINE), "the other claim's role stays"
    world.pass_time(60)
    with pytest.raises(ExpiresLater) as waiting:
        world.provisioner.revoke(record(shared, answer))
    assert waiting.value.delay == TEN_MINUTES - 60
    world.pass_time(TEN_MINUTES - 60)
    world.provisioner.revoke(record(shared, answer))


def test_a_role_that_went_although_the_answer_was_lost_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = options(world, OTHER, bucket="photos", bucketName="photos")
    world.provisioner.provision(options(world))
    held = record(shared, world.provisioner.grant(shared))
    revoke_role = Management.revoke_role

    def answer_lost(self: Management, *given: Any) -> bool:
        revoke_role(self, *given)
        raise StoreUnavailable("the connection was cut")

    with monkeypatch.context() as patched:
        patched.setattr(Management, "revoke_role", answer_lost)
        with pytest.raises(StoreUnavailable):
            world.provisioner.revoke(held)
    with pytest.raises(ExpiresLater) as waiting:
        world.provisioner.revoke(held)
    assert waiting.value.delay == TEN_MINUTES


def test_a_container_goes_with_its_role_assignments(world: World) -> None:
    request = options(world)
    answer = world.provisioner.provision(request)
    world.provisioner.delete(record(request, answer))
    assert (world.management.assignments, world.storage.containers) == ({}, {})
    world.provisioner.delete(record(request, answer))


@pytest.mark.parametrize("restarts", [False, True], ids=["same process", "restarted"])
def test_a_container_is_not_deleted_as_empty_while_its_identity_may_still_write(
    world: World, *, restarts: bool
) -> None:
    request = options(world)
    ob = record(request, world.provisioner.provision(request))
    with pytest.raises(ExpiresLater):
        world.provisioner.delete_empty(ob)
    if restarts:
        world.restart()
    with pytest.raises(ExpiresLater):
        world.provisioner.delete_empty(ob)
    assert "photos" in world.storage.containers
    world.pass_time(TEN_MINUTES)
    world.provisioner.delete_empty(ob)
    assert world.storage.containers == {}


def test_a_claim_of_a_class_that_had_keys_loses_its_sas(world: World) -> None:
    keyed = options(world, None, credentials="stored-access-policy")
    first = world.provisioner.provision(keyed)
    sas = data_of(first)["AZURE_STORAGE_SAS_TOKEN"]
    InMemoryApplication(world.storage, sas).list_keys("photos")
    later = replace(builders.again(keyed, first), parameters=options(world).parameters)
    later = replace(later, claim=options(world).claim)
    with pytest.raises(ProvisionerError):
        world.provisioner.provision(later)  # front ends may remember the policy
    world.pass_time(60)
    world.provisioner.provision(later)
    assert world.storage.containers["photos"].policies == {}
    assert world.can_read(MINE)


def test_a_claim_of_a_class_that_assigned_roles_loses_its_role(world: World) -> None:
    request = options(world)
    answer = world.provisioner.provision(request)
    keyed = {name: value for name, value in request.parameters.items() if name != "credentials"}
    later = replace(builders.again(request, answer), parameters=keyed)
    given = world.provisioner.provision(later)
    assert not world.can_read(MINE)
    assert any("azurePrincipalId is ignored" in each for each in given.warnings)
    without = {name: value for name, value in keyed.items() if name not in WHERE}
    with pytest.raises(InvalidAdminSecret, match="name subscription and resourceGroup"):
        world.provisioner.provision(replace(later, parameters=without))


@pytest.mark.parametrize("action", [READ, WRITE, DELETE])
def test_each_action_is_needed_and_named_where_it_is_missing(world: World, action: str) -> None:
    request = options(world)
    first = world.provisioner.provision(request)
    world.management.actions -= {action}
    verb: dict[str, Callable[[], object]] = {
        READ: lambda: world.provisioner.is_intact(builders.again(request, first)),
        WRITE: lambda: world.provisioner.provision(options(world, OTHER, bucket="music")),
        DELETE: lambda: world.provisioner.delete(record(request, first)),
    }
    with pytest.raises(AccessDenied, match=action):
        verb[action]()


def test_what_management_refuses_is_said_with_the_field(world: World) -> None:
    unknown = "aaaaaaaa-0000-0000-0000-000000000003"
    with pytest.raises(StoreRefused, match=r"azurePrincipalId is of no identity .*PrincipalNotFound") as refused:
        world.provisioner.provision(options(world, unknown))
    assert refused.value.request_id
    with pytest.raises(StoreRefused, match="parameter role is of no role"):
        world.provisioner.provision(options(world, bucket="music", role=unknown))
    with pytest.raises(StoreRefused, match="subscription and resourceGroup"):
        world.provisioner.provision(options(world, bucket="mail", resourceGroup="elsewhere"))
    world.management.most = 0
    with pytest.raises(QuotaExceeded, match="no room for another role assignment"):
        world.provisioner.provision(options(world, bucket="films"))


CANARY = "what only the service knows"
ANSWERS = [
    (400, "UnknownCodeOfTests", StoreRefused),
    (401, "ExpiredAuthenticationToken", AccessDenied),
    (403, "RequestDisallowedByPolicy", AccessDenied),
    (404, "UnknownCodeOfTests", StoreRefused),
    (404, "", StoreRefused),
    (409, "ScopeLocked", StoreRefused),
    (412, "UnknownCodeOfTests", StoreRefused),
    (408, "", StoreUnavailable),
    (429, "TooManyRequests", Throttled),
    (500, "InternalServerError", StoreUnavailable),
    (503, "ServerTimeout", Throttled),
    (200, "page", StoreRefused),
    (301, "page", StoreRefused),
]
"""What Azure Resource Manager, or a gateway before it, answers: "Troubleshoot common Azure deployment errors"."""


@pytest.mark.parametrize(("status", "code", "meant"), ANSWERS)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_each_answer_of_management_is_what_it_is_and_nothing_of_it_is_repeated(
    world: World, method: str, status: int, code: str, meant: type[ProvisionerError]
) -> None:
    told = {"error": {"code": code, "message": CANARY}} if code else {"message": CANARY}
    body = f"<html>{CANARY}</html>" if code == "page" else json.dumps(told)
    headers = {"x-ms-request-id": "id-of-the-answer"}
    world.instead[method] = Instead(status=status, headers=headers, body=body.encode())
    with pytest.raises(meant) as refused:
        world.provisioner.provision(options(world))
    assert type(refused.value) is meant
    assert refused.value.request_id == "id-of-the-answer"
    assert CANARY not in str(refused.value)
    world.instead.clear()
    world.provisioner.provision(options(world, bucket="music"))
    assert world.can_read(MINE, "music")


@pytest.mark.parametrize("body", ["", "{}", "[]", "null", '{"value": null}', '{"value": {}}', '{"value": [1]}'])
def test_a_role_is_not_taken_for_revoked_where_no_list_says_so(world: World, body: str) -> None:
    request = options(world)
    ob = record(request, world.provisioner.provision(request))
    world.instead["GET"] = Instead(status=200, headers={"x-ms-request-id": "1"}, body=body.encode())
    with pytest.raises(StoreRefused, match="correct parameter managementEndpoint") as refused:
        world.provisioner.revoke(ob)
    assert refused.value.request_id == "1"
    assert world.can_read(MINE)
    world.instead.clear()
    with pytest.raises(ExpiresLater):
        world.provisioner.revoke(ob)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_answer_of_a_gateway_is_not_managements(world: World, method: str) -> None:
    request = options(world)
    ob = record(request, world.provisioner.provision(request)) if method == "DELETE" else None
    world.instead[method] = Instead(status=200, body=b'{"value": []}')
    with pytest.raises(StoreRefused, match="not as Azure Resource Manager does"):
        world.provisioner.revoke(ob) if ob is not None else world.provisioner.provision(request)
    assert world.can_read(MINE) == (method == "DELETE")


@pytest.mark.parametrize(
    "body", ['{"keys": 1}', '{"keys": null}', "{}", '{"keys": [1, {"keyName": "key1", "value": 7}]}']
)
def test_an_account_key_that_is_none_is_not_used(world: World, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr("azure_provisioner.client._machine", lambda named, settings: _client(world, named, settings))
    monkeypatch.delenv("AZURE_FEDERATED_TOKEN_FILE", raising=False)
    world.instead["POST"] = Instead(status=200, headers={"x-ms-request-id": "1"}, body=body.encode())
    request = builders.options(bucket_name="photos", parameters={"storageAccount": world.storage.account, **WHERE})
    with pytest.raises(StoreRefused, match=r"gives no key1|managementEndpoint"):
        world.provisioner.provision(request)


def test_a_deletion_that_management_refuses_deletes_nothing(world: World) -> None:
    request = options(world)
    ob = record(request, world.provisioner.provision(request))
    world.instead["DELETE"] = Instead(status=409, body=b'{"error": {"code": "ScopeLocked"}}')
    with pytest.raises(StoreRefused, match="ScopeLocked"):
        world.provisioner.delete(ob)
    assert "photos" in world.storage.containers
    world.instead.clear()
    world.provisioner.delete(ob)
    assert (world.management.assignments, world.storage.containers) == ({}, {})


def test_the_accounts_key_is_read_where_no_secret_holds_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in world.identities.client_secret.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AZURE_FEDERATED_TOKEN_FILE", raising=False)
    given = {"storageAccount": world.storage.account, **WHERE}
    request = builders.options(bucket_name="photos", parameters=given)
    monkeypatch.setattr("azure_provisioner.client._machine", lambda named, settings: _client(world, named, settings))
    data = data_of(world.provisioner.provision(request))
    InMemoryApplication(world.storage, data["AZURE_STORAGE_SAS_TOKEN"]).list_keys("photos")
    second = data_of(world.provisioner.provision(replace(request, parameters={**given, "accountKey": "key2"})))
    assert data["AZURE_STORAGE_SAS_TOKEN"] != second["AZURE_STORAGE_SAS_TOKEN"]
    read = sum("listKeys" in each for each in world.management.requests)
    world.provisioner.provision(request)
    assert sum("listKeys" in each for each in world.management.requests) == read == 2, "one for each key"
    world.storage.keys = ("bmV3", "bmV3ZXI=")
    with pytest.raises(AccessDenied, match="AuthenticationFailed"):
        world.provisioner.provision(request)
    world.provisioner.provision(request)  # with the key that was regenerated
    world.storage.keys = ("bmV3ZXN0", "bmV3ZXI=")
    world.management.actions -= {LIST_KEYS}
    with pytest.raises(AccessDenied, match="AuthenticationFailed"):
        world.provisioner.provision(request)
    with pytest.raises(AccessDenied, match=LIST_KEYS):
        world.provisioner.provision(request)


def _client(world: World, named: str, settings: object) -> object:
    from azure_provisioner import client
    from azure_provisioner.admin_secret import Client

    held = world.identities.client_secret
    secret = Client(
        tenant=held["AZURE_TENANT_ID"],
        client=held["AZURE_CLIENT_ID"],
        secret=SecretStr(held["AZURE_CLIENT_SECRET"]),
    )
    return client._client(secret, named, settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"credentials": "role-assignment"}, "subscription"),
        ({"credentials": "role-assignment", "subscription": "mine", "resourceGroup": GROUP}, "subscription"),
        ({"credentials": "role-assignment", "subscription": SUBSCRIPTION}, "resourceGroup"),
        ({**WHERE, "resourceGroup": "a/b"}, "resourceGroup"),
        ({**WHERE, "role": "Contributor"}, "role"),
        ({**WHERE, "managementEndpoint": "http://management"}, "managementEndpoint"),
        ({**WHERE, "accountKey": "key3"}, "accountKey"),
    ],
)
def test_parameters_that_can_not_be_right_are_refused(world: World, parameters: dict[str, str], said: str) -> None:
    given = {"storageAccount": world.storage.account, **SECRET, **parameters}
    with pytest.raises(InvalidParameters, match=said):
        world.provisioner.provision(builders.options(bucket_name="photos", parameters=given))
