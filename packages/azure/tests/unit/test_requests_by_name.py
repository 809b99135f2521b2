"""Requests of Azure's API by their names, and errors in Azure's own form."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from testkit.azure.error_answers import entra_error_answer, error_answer, machine_error_answer
from testkit.azure.requests_by_name import OF_THE_PROVISIONER, request_name

CONTAINER = {"restype": "container"}


@pytest.mark.parametrize(
    ("method", "path", "query", "name"),
    [
        ("PUT", "/account/photos", CONTAINER, "CreateContainer"),
        ("GET", "/photos", CONTAINER, "GetContainerProperties"),
        ("PUT", "/photos", {**CONTAINER, "comp": "metadata"}, "SetContainerMetadata"),
        ("GET", "/photos", {**CONTAINER, "comp": "acl"}, "GetContainerAcl"),
        ("PUT", "/photos", {**CONTAINER, "comp": "acl"}, "SetContainerAcl"),
        ("PUT", "/photos", {**CONTAINER, "comp": "lease"}, "LeaseContainer"),
        ("DELETE", "/photos", CONTAINER, "DeleteContainer"),
        ("GET", "/photos", {**CONTAINER, "comp": "list"}, "ListBlobs"),
        ("GET", "/photos", {**CONTAINER, "comp": "list", "sig": "x"}, "ListBlobsAsClaim"),
        ("HEAD", "/photos/a", {"sig": "x"}, "GetBlobPropertiesAsClaim"),
        ("GET", "/photos/a", {}, "GetBlob"),
        ("HEAD", "/photos/a", {}, "GetBlobProperties"),
        ("POST", "/", {"restype": "service", "comp": "userdelegationkey"}, "GetUserDelegationKey"),
        ("GET", "/", {"restype": "account", "comp": "properties"}, "GetAccountInformation"),
        ("POST", "/tenant/oauth2/v2.0/token", {}, "GetToken"),
        ("GET", "/metadata/identity/oauth2/token", {"resource": "x"}, "GetMachineToken"),
        ("GET", "/tenant/v2.0/.well-known/openid-configuration", {}, "DiscoverTenant"),
        ("GET", "/", {"comp": "list"}, "ListContainers"),
        ("PUT", "/photos/a", {"comp": "tags"}, "SetBlobTags"),
        ("PATCH", "/photos/a", {"comp": "new"}, "PATCH new"),
    ],
)
def test_a_request_has_the_name_of_its_operation(method: str, path: str, query: dict[str, str], name: str) -> None:
    assert request_name(method, path, query, {}, b"") == name


def test_a_copy_is_distinguished_from_an_upload_by_its_source() -> None:
    assert request_name("PUT", "/photos/a", {}, {"X-Ms-Copy-Source": "https://elsewhere"}) == "CopyBlob"
    assert request_name("PUT", "/photos/a", {}, {}) == "PutBlob"


def test_the_requests_of_the_provisioner_are_listed_once() -> None:
    assert len(set(OF_THE_PROVISIONER)) == len(OF_THE_PROVISIONER)


def test_an_error_of_the_store_has_its_code_in_header_and_body() -> None:
    status, headers, body = error_answer("ContainerNotFound", 404, details={"Extra": "a<b"})
    assert (status, headers["x-ms-error-code"]) == (404, "ContainerNotFound")
    assert body.startswith(b"\xef\xbb\xbf<?xml")
    xml = ET.fromstring(body.decode("utf-8-sig"))
    assert xml.findtext("Code") == "ContainerNotFound"
    assert xml.findtext("Extra") == "a<b"
    assert f"RequestId:{headers['x-ms-request-id']}" in xml.findtext("Message", "")
    assert error_answer("ContainerNotFound", 404, is_head=True)[2] == b""


def test_an_error_of_an_authority_has_its_code_and_its_trace() -> None:
    status, headers, body = entra_error_answer(700016, 400, "unauthorized_client")
    found = json.loads(body)
    assert (status, found["error"], found["error_codes"]) == (400, "unauthorized_client", [700016])
    assert found["trace_id"] == headers["x-ms-request-id"]
    assert found["error_description"].startswith("AADSTS700016: ")
    assert json.loads(machine_error_answer(400, "invalid_request")[2])["error"] == "invalid_request"
