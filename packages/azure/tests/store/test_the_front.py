"""The front before azurite answers as Azure does; each behaviour beside its control, the same request without it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
import urllib3
from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import AccessPolicy, BlobServiceClient, ContainerClient, generate_container_sas

from azure_provisioner.errors import code_of as azure_code_of
from testkit.azure.application import client_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.azure.azurite import AzuriteServer
    from testkit.azure.backend import AzureBackend
    from testkit.azure.front_end import Front

NAME = "photos"


@pytest.fixture
def owner(server: AzuriteServer, front: Front) -> Iterator[Any]:
    """The account's owner, through the front, with one container."""
    key = {"account_name": server.account, "account_key": server.key}
    with BlobServiceClient(f"{front.url}/{server.account}", credential=key, retry_total=0) as service:
        service.create_container(NAME)
        yield service
        front.service.get_container_client(NAME).delete_container()


@contextmanager
def a_connection(front: Front, server: AzuriteServer, policy: str) -> Iterator[ContainerClient]:
    """An application that keeps one connection open."""
    sas = generate_container_sas(server.account, NAME, account_key=server.key, policy_id=policy)
    url = f"{front.url}/{server.account}"
    with ContainerClient(url, NAME, credential=AzureSasCredential(sas), **client_settings("")) as client:
        yield client


def is_let_in(client: ContainerClient) -> bool:
    try:
        list(client.list_blobs())
    except HttpResponseError as error:
        if error.status_code != 403:
            raise
        return False
    return True


def write(front: Front, *ids: str, expiry: str = "2040-01-01T00:00:00Z", start: str | None = None) -> None:
    policies = {each: AccessPolicy(permission="rl", expiry=expiry, start=start) for each in ids}
    front.service.get_container_client(NAME).set_container_access_policy(policies)


def code_of(act: Any) -> str:
    with pytest.raises(HttpResponseError) as refused:
        act()
    return azure_code_of(refused.value)


@pytest.mark.usefixtures("owner")
def test_front_ends_learn_of_a_change_one_after_the_other(front: Front, server: AzuriteServer) -> None:
    front.policy_seconds = 30
    write(front, "first")
    with a_connection(front, server, "first") as one, a_connection(front, server, "first") as other:
        assert is_let_in(one)
        write(front)
        assert not is_let_in(other), "its front end read the policies after the change"
        assert is_let_in(one)
        front.advance(29)
        assert is_let_in(one)
        front.advance(2)
        assert not is_let_in(one)
        write(front, "first")
        assert not is_let_in(one)
        front.advance(31)
        assert is_let_in(one)
        assert is_let_in(other)


@pytest.mark.usefixtures("owner")
def test_a_wrong_signature_is_refused_whatever_is_remembered(front: Front, server: AzuriteServer) -> None:
    front.policy_seconds = 30
    write(front, "first")
    sas = generate_container_sas(server.account, NAME, account_key="d3Jvbmc=", policy_id="first")
    url = f"{front.url}/{server.account}"
    with ContainerClient(url, NAME, credential=AzureSasCredential(sas), **client_settings("")) as forged:
        assert not is_let_in(forged)


def test_a_name_is_busy_for_half_a_minute_after_its_deletion(front: Front, owner: Any) -> None:
    front.busy_seconds = 30
    owner.create_container("gone")
    owner.delete_container("gone")
    assert code_of(lambda: owner.create_container("gone")) == "ContainerBeingDeleted"
    assert code_of(owner.get_container_client("gone").get_container_properties) == "ContainerNotFound"
    front.advance(31)
    owner.create_container("gone")
    front.service.delete_container("gone")


def test_a_restored_container_has_its_blobs_metadata_and_policies(front: Front, backend: AzureBackend) -> None:
    front.keeps_deleted = True
    client = front.service.create_container("kept", metadata={"colour": "red"})
    client.upload_blob("a", b"1")
    policies = {"first": AccessPolicy(permission="r", expiry="2040-01-01T00:00:00Z")}
    client.set_container_access_policy(policies)
    key = {"account_name": backend.server.account, "account_key": backend.server.key}
    with BlobServiceClient(f"{front.url}/{backend.server.account}", credential=key, retry_total=0) as owner:
        owner.delete_container("kept")
    assert not client.exists()
    front.restore("kept")
    assert client.get_container_properties().metadata == {"colour": "red"}
    assert [each.id for each in client.get_container_access_policy()["signed_identifiers"]] == ["first"]
    assert client.download_blob("a").readall() == b"1"
    client.delete_container()


@pytest.mark.parametrize(
    ("setting", "code"),
    [("is_walled", "AuthorizationFailure"), ("forbids_keys", "KeyBasedAuthenticationNotPermitted")],
)
def test_a_setting_of_the_account_refuses_key_and_sas(
    front: Front, server: AzuriteServer, owner: Any, setting: str, code: str
) -> None:
    write(front, "first")
    with a_connection(front, server, "first") as application:
        assert is_let_in(application)
        setattr(front, setting, True)
        assert code_of(owner.get_container_client(NAME).get_container_properties) == code
        assert code_of(lambda: list(application.list_blobs())) == code


@pytest.mark.parametrize(
    ("container", "code"), [("locked", "ContainerImmutabilityPolicyLocked"), ("held", "ContainerProtectedFromDeletion")]
)
def test_an_immutable_container_is_not_deleted_and_says_so_in_its_properties(
    front: Front, owner: Any, container: str, code: str
) -> None:
    getattr(front, container).add(NAME)
    found = owner.get_container_client(NAME).get_container_properties()
    assert (found.has_immutability_policy, found.has_legal_hold) == (container == "locked", container == "held")
    assert code_of(lambda: owner.delete_container(NAME)) == code
    getattr(front, container).clear()
    assert not owner.get_container_client(NAME).get_container_properties().has_immutability_policy


def test_public_access_is_refused_where_the_account_forbids_it(front: Front, owner: Any) -> None:
    front.is_private = True
    assert code_of(lambda: owner.create_container("public", public_access="blob")) == "PublicAccessNotPermitted"
    anonymous = urllib3.request("GET", f"{owner.url}{NAME}/a", retries=False)
    assert anonymous.headers["x-ms-error-code"] == "PublicAccessNotPermitted"
    owner.get_container_client(NAME).set_container_access_policy({})


def test_a_hierarchical_namespace_has_no_versions(front: Front, owner: Any) -> None:
    front.is_hierarchical = True
    container = owner.get_container_client(NAME)
    assert code_of(lambda: list(container.list_blobs(include=["versions"]))) == "InvalidQueryParameterValue"
    assert list(container.list_blobs(include=["snapshots"])) == []


def test_an_error_has_a_body_and_a_request_id_of_its_own(front: Front, owner: Any) -> None:
    front.is_walled = True
    first, second = (urllib3.request("GET", f"{owner.url}{NAME}?restype=container", retries=False) for _ in range(2))
    assert first.headers["x-ms-request-id"] != second.headers["x-ms-request-id"]
    xml = ET.fromstring(first.data.decode("utf-8-sig"))
    assert xml.findtext("Code") == first.headers["x-ms-error-code"] == "AuthorizationFailure"
    assert f"RequestId:{first.headers['x-ms-request-id']}" in xml.findtext("Message", "")
    head = urllib3.request("HEAD", f"{owner.url}{NAME}?restype=container", retries=False)
    assert (head.status, head.data) == (403, b"")
