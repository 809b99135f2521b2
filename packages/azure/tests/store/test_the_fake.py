"""The fake of Blob Storage and azurite answer alike, as far as azurite answers as Azure does: the same tests on both.

Statuses are compared on both; codes are those of the REST reference, which azurite does not always give.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.credentials import AccessToken, AzureSasCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import AccessPolicy, BlobLeaseClient, BlobServiceClient, ContainerClient, generate_container_sas

from azure_provisioner.errors import code_of
from testkit.azure.application import client_settings
from testkit.azure.azurite import ACCOUNT, AzuriteServer
from testkit.azure.fake_storage import FakeStorage
from testkit.azure.in_memory_backend import as_request
from testkit.resilience.proxy import Instead, Request
from testkit.resilience.wire import Wire, wired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "photos"
LATER = datetime(2040, 1, 1, tzinfo=UTC)
WRONG_KEY = base64.b64encode(b"another key").decode()


@dataclass(frozen=True, kw_only=True)
class Store:
    """One of the two.

    Attributes:
        url: of the account.
        keys: of the account.
        ca_file: of the authority to trust.
        is_fake: which of the two.
    """

    url: str
    keys: tuple[str, ...]
    ca_file: str = ""
    is_fake: bool = False

    def service(self, credential: Any) -> BlobServiceClient:
        return BlobServiceClient(self.url, credential=credential, **client_settings(self.ca_file))

    def with_key(self, key: str) -> BlobServiceClient:
        return self.service({"account_name": ACCOUNT, "account_key": key})

    def with_sas(self, sas: str) -> ContainerClient:
        return ContainerClient(self.url, NAME, credential=AzureSasCredential(sas), **client_settings(self.ca_file))


class AnyToken:
    """What the fake was told of, and azurite takes: a token of any authority, that has not ended."""

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        claims = {"aud": "https://storage.azure.com", "iss": "https://sts.windows.net/t/", "oid": "o", "tid": "t"}
        now = int(time.time())
        body = str({**claims, "iat": now, "nbf": now - 60, "exp": now + 3600}).replace("'", '"')
        parts = (base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode() for text in ('{"alg":"none"}', body))
        return AccessToken(".".join([*parts, "c2ln"]), now + 3600)


@pytest.fixture
def fake() -> Iterator[Store]:
    storage = FakeStorage(clock=lambda: datetime.now(UTC))
    token = AnyToken().get_token().token.partition(".")[0]

    def answered(request: Request) -> Instead:
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        if shown.startswith(token):
            storage.tokens[shown] = LATER
        asked = as_request(ACCOUNT, request.method, request.target, request.headers, request.body)
        status, headers, body = storage.answer(asked)
        return Instead(status=status, headers=headers, body=body)

    with wired(Wire(answered, lambda _seconds: None), ".blob.core.windows.net"):
        yield Store(url=f"https://{ACCOUNT}.blob.core.windows.net", keys=storage.keys, is_fake=True)


def _azurite(server: AzuriteServer) -> Store:
    return Store(url=server.url, keys=(server.key, server.second_key), ca_file=server.ca_file)


@pytest.fixture(params=["fake", "azurite"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store
    found = request.getfixturevalue("fake") if request.param == "fake" else _azurite(request.getfixturevalue("server"))
    return found


@pytest.fixture(params=["fake", "azurite"])
def tls_store(request: pytest.FixtureRequest) -> Store:
    if request.param == "fake":
        found: Store = request.getfixturevalue("fake")
        return found
    return _azurite(request.getfixturevalue("tls_server"))


@pytest.fixture
def container(store: Store) -> Iterator[ContainerClient]:
    with store.with_key(store.keys[0]) as service:
        client = service.create_container(NAME, metadata={"a": "b"})
        yield client
        with Suppressed():
            BlobLeaseClient(client).break_lease(0)
        with Suppressed():
            client.delete_container()


class Suppressed:
    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, HttpResponseError)


def refused(store: Store, status: int, code: str, call: Callable[[], object]) -> None:
    with pytest.raises(HttpResponseError) as caught:
        call()
    assert caught.value.status_code == status
    if store.is_fake:
        assert code_of(caught.value) == code


def write(container: ContainerClient, **policies: AccessPolicy) -> None:
    container.set_container_access_policy(dict(policies))


def sas(store: Store, policy: str, key: str = "") -> str:
    return generate_container_sas(ACCOUNT, NAME, account_key=key or store.keys[0], policy_id=policy)


def policy(permission: str = "rl", *, start: datetime | None = None, expiry: datetime = LATER) -> AccessPolicy:
    return AccessPolicy(permission=permission, expiry=expiry, start=start)


def test_a_container_is_made_once_and_has_its_metadata(store: Store, container: ContainerClient) -> None:
    assert container.get_container_properties().metadata == {"a": "b"}
    refused(store, 409, "ContainerAlreadyExists", container.create_container)
    container.set_container_metadata({"c": "d"})
    assert container.get_container_properties().metadata == {"c": "d"}


def test_containers_are_listed_by_their_beginnings(store: Store, container: ContainerClient) -> None:
    del container
    with store.with_key(store.keys[0]) as service:
        assert [each.name for each in service.list_containers(name_starts_with="phot")] == [NAME]
        assert list(service.list_containers(name_starts_with="photx")) == []


def test_what_is_not_there_is_not_found(store: Store) -> None:
    with store.with_key(store.keys[0]) as service:
        absent = service.get_container_client(NAME)
        refused(store, 404, "ContainerNotFound", absent.get_container_properties)
        refused(store, 404, "ContainerNotFound", absent.get_container_access_policy)
        refused(store, 404, "ContainerNotFound", absent.delete_container)
        refused(store, 404, "ContainerNotFound", lambda: list(absent.list_blobs()))
        refused(store, 404, "ContainerNotFound", lambda: absent.acquire_lease(15))


def test_either_key_is_accepted_and_no_other(store: Store, container: ContainerClient) -> None:
    del container
    with store.with_key(store.keys[1]) as service:
        assert service.get_container_client(NAME).get_container_properties().name == NAME
    with store.with_key(WRONG_KEY) as service:
        refused(store, 403, "AuthenticationFailed", service.get_container_client(NAME).get_container_properties)


def test_policies_are_replaced_as_a_whole(store: Store, container: ContainerClient) -> None:
    write(container, first=policy(), second=policy("r"))
    write(container, second=policy("l"))
    (found,) = container.get_container_access_policy()["signed_identifiers"]
    assert (found.id, found.access_policy.permission) == ("second", "l")
    six = {f"p{number}": policy() for number in range(6)}
    with pytest.raises((HttpResponseError, ValueError)):
        write(container, **six)
    del store


def test_policies_are_written_only_where_nothing_was_changed_since(store: Store, container: ContainerClient) -> None:
    before = container.get_container_properties().last_modified
    container.set_container_access_policy({}, if_unmodified_since=before)
    refused(
        store,
        412,
        "ConditionNotMet",
        lambda: container.set_container_access_policy({}, if_unmodified_since=before - timedelta(seconds=60)),
    )


def test_a_lease_keeps_others_from_deleting_and_from_leasing(store: Store, container: ContainerClient) -> None:
    lease = container.acquire_lease(15)
    assert container.get_container_properties().lease.state == "leased"
    refused(store, 409, "LeaseAlreadyPresent", lambda: container.acquire_lease(15))
    refused(store, 412, "LeaseIdMissing", container.delete_container)
    wrong = "00000000-0000-0000-0000-000000000001"
    refused(
        store,
        412,
        "LeaseIdMismatchWithContainerOperation",
        lambda: container.set_container_access_policy({}, lease=wrong),
    )
    container.set_container_access_policy({}, lease=lease)
    container.set_container_access_policy({})
    lease.release()
    refused(
        store,
        412,
        "LeaseNotPresentWithContainerOperation",
        lambda: container.set_container_access_policy({}, lease=wrong),
    )
    assert container.get_container_properties().lease.state == "available"


def test_a_lease_has_15_to_60_seconds_or_no_end_and_can_be_broken(store: Store, container: ContainerClient) -> None:
    refused(store, 400, "InvalidHeaderValue", lambda: container.acquire_lease(5))
    lease = container.acquire_lease(-1)
    assert container.get_container_properties().lease.duration == "infinite"
    lease.break_lease(0)
    assert container.get_container_properties().lease.state == "broken"
    refused(store, 412, "LeaseNotPresentWithContainerOperation", lambda: container.delete_container(lease=lease))
    container.acquire_lease(15).release()


def test_blobs_are_listed_in_pages_and_blocks_where_they_are_asked_for(
    store: Store, container: ContainerClient
) -> None:
    container.upload_blob("one", b"1")
    container.upload_blob("two", b"2")
    container.get_blob_client("unfinished").stage_block("MDAwMDA=", b"x")
    pages = list(container.list_blobs(results_per_page=1).by_page())
    assert [[each.name for each in page] for page in pages] == [["one"], ["two"]]
    every = container.list_blobs(include=["snapshots", "uncommittedblobs", "versions"])
    assert [each.name for each in every] == ["one", "two", "unfinished"]
    assert [each.name for each in container.list_blobs(name_starts_with="t")] == ["two"]
    assert container.download_blob("one").readall() == b"1"
    container.delete_blob("one")
    refused(store, 404, "BlobNotFound", lambda: container.delete_blob("one"))
    refused(store, 404, "BlobNotFound", container.get_blob_client("one").get_blob_properties)
    refused(store, 404, "BlobNotFound", lambda: container.download_blob("one", offset=0, length=1))


def test_a_sas_does_what_its_policy_says(store: Store, container: ContainerClient) -> None:
    write(container, reads=policy("r"), lists=policy("l"), writes=policy("racwdl"))
    with store.with_sas(sas(store, "writes")) as tenant:
        tenant.upload_blob("one", b"1")
        assert [each.name for each in tenant.list_blobs()] == ["one"]
        tenant.delete_blob("one")
        refused(store, 403, "AuthorizationPermissionMismatch", tenant.delete_container)
        refused(store, 403, "AuthorizationPermissionMismatch", tenant.get_container_access_policy)
    with store.with_sas(sas(store, "reads")) as tenant:
        refused(store, 403, "AuthorizationPermissionMismatch", lambda: list(tenant.list_blobs()))
        refused(store, 404, "BlobNotFound", tenant.get_blob_client("one").get_blob_properties)
    with store.with_sas(sas(store, "lists")) as tenant:
        refused(store, 403, "AuthorizationPermissionMismatch", lambda: tenant.upload_blob("one", b"1"))


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ({}, ""),
        ({"mine": policy(expiry=datetime(2020, 1, 1, tzinfo=UTC))}, ""),
        ({"mine": policy(start=datetime(2039, 1, 1, tzinfo=UTC))}, ""),
        ({"mine": policy()}, WRONG_KEY),
    ],
    ids=["no such policy", "ended", "not begun", "another key"],
)
def test_a_sas_is_refused(store: Store, container: ContainerClient, written: dict[str, AccessPolicy], key: str) -> None:
    write(container, **written)
    with store.with_sas(sas(store, "mine", key)) as tenant:
        refused(store, 403, "AuthenticationFailed", lambda: list(tenant.list_blobs()))


def test_a_sas_of_either_key_works(store: Store, container: ContainerClient) -> None:
    write(container, mine=policy())
    with store.with_sas(sas(store, "mine", store.keys[1])) as tenant:
        assert list(tenant.list_blobs()) == []


def test_a_delegated_sas_does_what_it_says_in_its_time(tls_store: Store) -> None:
    now = datetime.now(UTC)
    with tls_store.service(AnyToken()) as service:
        container = service.create_container(NAME)
        key = service.get_user_delegation_key(now - timedelta(minutes=5), now + timedelta(hours=1))
        hour = timedelta(hours=1)
        made = [
            generate_container_sas(
                ACCOUNT,
                NAME,
                user_delegation_key=key,
                permission=letters,
                start=end - hour - timedelta(minutes=5),
                expiry=end,
            )
            for letters, end in (("l", now + hour), ("r", now + hour), ("l", now - hour))
        ]
        with tls_store.with_sas(made[0]) as tenant:
            assert list(tenant.list_blobs()) == []
        with tls_store.with_sas(made[1]) as tenant:
            refused(tls_store, 403, "AuthorizationPermissionMismatch", lambda: list(tenant.list_blobs()))
        with tls_store.with_sas(made[2]) as tenant:
            refused(tls_store, 403, "AuthenticationFailed", lambda: list(tenant.list_blobs()))
        container.delete_container()


def test_a_user_delegation_key_needs_a_token(tls_store: Store) -> None:
    now = datetime.now(UTC)
    with tls_store.with_key(tls_store.keys[0]) as owner:
        refused(
            tls_store,
            403,
            "AuthenticationFailed",
            lambda: owner.get_user_delegation_key(now, now + timedelta(hours=1)),
        )


def test_a_user_delegation_key_lasts_seven_days_at_most_at_the_fake(fake: Store) -> None:
    now = datetime.now(UTC)
    with fake.service(AnyToken()) as service:
        service.get_user_delegation_key(now, now + timedelta(days=6))
        refused(fake, 400, "InvalidXmlNodeValue", lambda: service.get_user_delegation_key(now, now + timedelta(days=8)))


def test_the_name_of_a_deleted_container_is_busy_at_the_fake(fake: Store) -> None:
    with fake.with_key(fake.keys[0]) as service:
        service.create_container(NAME).delete_container()
        refused(fake, 409, "ContainerBeingDeleted", lambda: service.create_container(NAME))
