"""Every refusal of Azure's, Entra ID's and the machines' identity service is what the data file says it is."""

from __future__ import annotations

import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pytest
from azure.storage.blob import BlobServiceClient, StorageErrorCode

from azure_provisioner.admin_secret import Admin
from azure_provisioner.client import Clients, Network
from azure_provisioner.delegation import Delegation
from azure_provisioner.errors import check_response
from azure_provisioner.identity import StoredPolicies
from azure_provisioner.parameters import parse_parameters
from azure_provisioner.policy import Acl
from azure_provisioner.storage import Storage, try_sas
from libbucket import ProvisionerError, Reason, SecretStr
from libbucket.testing.misbehaving import Answer, scripted_server
from testkit.answers.catalogue import load
from testkit.azure.error_answers import error_answer
from testkit.azure.requests_by_name import OF_THE_PROVISIONER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ANSWERS: Final[list[dict[str, Any]]] = tomllib.loads(
    (files("testkit") / "answers" / "azure.toml").read_text(encoding="utf-8")
)["answer"]
NOW: Final = datetime(2026, 11, 3, 10, tzinfo=UTC)
EMPTY: Final = Acl(public_access=None, policies=())
OF_AUTHORITIES: Final = {"GetToken", "GetMachineToken"}
OF_THE_STORE: Final = [each for each in ANSWERS if not OF_AUTHORITIES & set(each["requests"])]
OTHER_SERVICES: Final = (
    *("Share", "File", "Queue", "Path", "Directory", "Message", "TotalShares", "Snapshot", "IncrementalCopy"),
    *("Append", "Block", "Copy", "Previous", "Rename", "Sequence", "Source", "Destination"),
)
"""Beginnings of codes that belong to other services, or to requests that no provisioner sends."""
OF_OTHER_REQUESTS: Final = frozenset(
    [
        "AccountAlreadyExists",
        "BlobAccessTierNotSupportedForAccountType",
        "BlobAlreadyExists",
        "BlobNotArchived",
        "BlobOverwritten",
        "BlobTierInadequateForContentLength",
        "CannotChangeToLowerTier",
        "CannotDeleteFileOrDirectory",
        "CannotVerifyCopySource",
        "ClientCacheFlushDelay",
        "ContainerQuotaDowngradeNotAllowed",
        "ContentLengthLargerThanTierLimit",
        "ContentLengthMustBeZero",
        "DeletePending",
        "InvalidBlobOrBlock",
        "InvalidBlobTier",
        "InvalidBlockId",
        "InvalidBlockList",
        "InvalidDestinationPath",
        "InvalidFileOrDirectoryPathName",
        "InvalidFlushPosition",
        "InvalidPageRange",
        "InvalidPropertyName",
        "InvalidRenameSourcePath",
        "InvalidSourceBlobType",
        "InvalidSourceBlobUrl",
        "InvalidSourceOrDestinationResourceType",
        "InvalidSourceUri",
        "InvalidVersionForPageBlobOperation",
        "LeaseIdMismatchWithBlobOperation",
        "LeaseNameMismatch",
        "LeaseNotPresentWithBlobOperation",
        "MaxBlobSizeConditionNotMet",
        "NoPendingCopyOperation",
        "OperationNotAllowedOnIncrementalCopyBlob",
        "ParentNotFound",
        "PendingCopyOperation",
        "PopReceiptMismatch",
        "ReadOnlyAttribute",
        "SharingViolation",
        "SystemInUse",
    ]
)


def name_of(answer: Mapping[str, Any]) -> str:
    return f"{answer['code']}-{answer['status']}"


def test_the_answer_sweep_reads_the_file() -> None:
    catalogue = load("azure")
    assert len(catalogue.to("SetContainerAcl")) > 60


def test_every_code_of_the_clients_model_is_answered_or_belongs_to_other_requests() -> None:
    known = {each["code"] for each in ANSWERS}
    filesystems = {each.value for each in StorageErrorCode if each.value.startswith("Filesystem")}
    left = {
        each.value
        for each in StorageErrorCode
        if each.value not in known | OF_OTHER_REQUESTS | filesystems and not each.value.startswith(OTHER_SERVICES)
    }
    assert left == set()
    assert not known & OF_OTHER_REQUESTS


@pytest.mark.parametrize("answer", ANSWERS, ids=name_of)
def test_an_answer_names_requests_reasons_and_a_source(answer: Mapping[str, Any]) -> None:
    assert {"*", *OF_THE_PROVISIONER} >= set(answer["requests"])
    assert {each.value for each in Reason} | {"ok"} >= set(answer["reasons"])
    assert answer["source"].startswith("https://")
    assert answer["terminal"] is False


def as_azure(answer: Mapping[str, Any], *, is_head: bool) -> Answer:
    status, headers, body = error_answer(
        answer["code"], answer["status"], details=answer.get("details"), is_head=is_head
    )
    return Answer(status=status, headers=headers, body=body)


class Lease:
    id = "11111111-2222-3333-4444-555555555555"


@dataclass(frozen=True)
class Caller:
    """Sends each request of the provisioner, as the provisioner does."""

    clients: Clients

    @property
    def storage(self) -> Storage:
        return Storage(clients=self.clients)

    @property
    def policies(self) -> StoredPolicies:
        return StoredPolicies(clients=self.clients, prefix="obc-", try_sas=self.storage.try_sas)

    def send(self, request: str) -> object:
        lease: Any = Lease()
        found: Any = SimpleNamespace(modified=NOW)
        requests: dict[str, Callable[[], object]] = {
            "CreateContainer": lambda: self.storage.create("photos", {}),
            "GetContainerProperties": lambda: self.storage.find("photos"),
            "SetContainerMetadata": lambda: self.storage.tag("photos", {}, lease),
            "GetContainerAcl": lambda: self.policies.acl.read("photos"),
            "SetContainerAcl": lambda: self.policies.acl._write("photos", EMPTY, lease, NOW),
            "LeaseContainer": lambda: self.policies.acl._acquire("photos"),
            "DeleteContainer": lambda: self.storage.remove("photos", found),
            "ListBlobs": lambda: self.storage.is_empty("photos"),
            "ListBlobsAsClaim": lambda: self.try_own_access("l"),
            "GetBlobAsClaim": lambda: self.try_own_access("r"),
            "GetBlobPropertiesAsClaim": lambda: self.try_own_access("r", is_cheap=True),
            "GetUserDelegationKey": lambda: Delegation(clients=self.clients, try_sas=self.storage.try_sas)._sign(
                "photos", NOW, NOW
            ),
        }
        return requests[request]()

    def try_own_access(self, permissions: str, *, is_cheap: bool = False) -> object:
        parameters = replace(self.clients.parameters, permissions=permissions)
        sas = SecretStr("sv=1&sig=x")
        refusal = try_sas(parameters, "photos", sas, self.clients.network, is_cheap=is_cheap)
        if refusal is not None:
            raise refusal.as_error(self.clients.call("the claim's own access"), "photos")
        return None


@contextmanager
def caller(url: str) -> Iterator[Caller]:
    parameters = parse_parameters(
        {"storageAccount": "account", "endpoint": url, "secretName": "a", "secretNamespace": "b"}
    )
    key = {"account_name": "account", "account_key": "a2V5"}
    hook = {"raw_response_hook": lambda response: check_response(response, url)}
    with BlobServiceClient(parameters.url, credential=key, retry_total=0, **hook) as service:  # type: ignore[arg-type]
        network = Network(wait_seconds=0)
        admin = Admin(key=SecretStr("a2V5"))
        yield Caller(Clients(parameters=parameters, admin=admin, service=service, network=network))


CASES: Final = [
    pytest.param(answer, request, id=f"{name_of(answer)}-{request}")
    for answer in OF_THE_STORE
    for request in (
        ["CreateContainer", "ListBlobs", "ListBlobsAsClaim"] if answer["requests"] == ["*"] else answer["requests"]
    )
]
ARE_FINE: Final = frozenset(
    {
        ("ContainerNotFound", "GetContainerProperties"),
        ("ContainerNotFound", "DeleteContainer"),
        ("ContainerAlreadyExists", "CreateContainer"),
        ("BlobNotFound", "GetBlobAsClaim"),
        ("BlobNotFound", "GetBlobPropertiesAsClaim"),
    }
)
"""Refusals that are what was asked for, or what is decided upon by the next request."""


@pytest.mark.parametrize(("answer", "request_name"), CASES)
def test_a_refusal_of_the_store_has_one_of_its_reasons_and_its_request_id(
    answer: Mapping[str, Any], request_name: str
) -> None:
    rendered = as_azure(answer, is_head=request_name == "GetBlobPropertiesAsClaim")
    with scripted_server(rendered) as azure, caller(azure.url) as each:
        if (answer["code"], request_name) in ARE_FINE:
            each.send(request_name)
            return
        with pytest.raises(ProvisionerError) as refused:
            each.send(request_name)
    assert refused.value.request_id == rendered.headers["x-ms-request-id"]
    if request_name != "GetBlobPropertiesAsClaim" or "details" not in answer:  # an answer to HEAD has no details
        assert refused.value.reason.value in answer["reasons"]
