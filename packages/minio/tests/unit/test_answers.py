"""The answers of MinIO's that the sweep gives: named after requests that exist, and translated as their entries say."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import urllib3
from minio.error import MinioAdminException, S3Error

from libbucket import ProvisionerError
from libbucket.errors import Reason
from minio_provisioner.errors import Call, check_response, translated
from testkit.minio.answers import REQUESTS, error_answer, request_name

ENTRIES: list[dict[str, Any]] = tomllib.loads((files("testkit") / "answers" / "minio.toml").read_text())["answer"]
OVERCOME = {Reason.BOUND, Reason.RELEASED}
"""Reasons of a claim that the answer did not hold up: the caller handles the code before it is translated."""

URL = "http://minio:9000"
OF_THE_ADMIN_API = re.compile("(Add|Attach|Get|Info|Remove)(Canned)?(Policy|User|UserInfo)")


def _name(method: str, path: str, access_key: str = "root", **query: str) -> str:
    signed = {"authorization": f"AWS4-HMAC-SHA256 Credential={access_key}/20260101/us-east-1/s3/aws4_request, ..."}
    return request_name(method, path, query, signed, b"")


@pytest.mark.parametrize(
    ("expected", "method", "path", "query"),
    [
        ("ListObjectsV2", "GET", "/bucket", {"list-type": "2"}),
        ("ListObjectVersions", "GET", "/bucket", {"versions": "", "max-keys": "1000"}),
        ("ListMultipartUploads", "GET", "/bucket", {"uploads": ""}),
        ("GetBucketTagging", "GET", "/bucket", {"tagging": ""}),
        ("CreateBucket", "PUT", "/bucket", {}),
        ("DeleteBucket", "DELETE", "/bucket/", {}),
        ("DeleteObjects", "POST", "/bucket", {"delete": ""}),
        ("DeleteObject", "DELETE", "/bucket/a/b", {"versionId": "1"}),
        ("AbortMultipartUpload", "DELETE", "/bucket/a/b", {"uploadId": "1"}),
        ("GetObjectRetention", "GET", "/bucket/key", {"retention": ""}),
        ("GetUserInfo", "GET", "/minio/admin/v3/user-info", {"accessKey": "obc-1"}),
        ("AttachPolicy", "POST", "/minio/admin/v3/idp/builtin/policy/attach", {}),
        ("Unknown", "GET", "/minio/admin/v3/top/locks", {}),
        ("Unknown", "PATCH", "/bucket", {}),
    ],
)
def test_requests_have_the_names_of_minio_s_api(expected: str, method: str, path: str, query: dict[str, str]) -> None:
    assert _name(method, path, **query) == expected


def test_the_trial_of_a_claims_keys_is_distinguished_from_the_administrators_listing() -> None:
    assert _name("GET", "/bucket", access_key="obc-ns-claim-1a2b") == "ListObjectsV2AsClaim"


def test_refusals_have_the_form_of_the_api_that_gives_them() -> None:
    status, headers, body = error_answer("SlowDownRead", 503, "a & b", request="CreateBucket", request_id="ID")
    assert (status, headers["Retry-After"], headers["x-amz-request-id"]) == (503, "60", "ID")
    parsed = ET.fromstring(body)
    assert [parsed.findtext(tag) for tag in ("Code", "Message", "RequestId")] == ["SlowDownRead", "a & b", "ID"]
    status, headers, body = error_answer("XMinioAdminNoSuchUser", 404, "none", request="GetUserInfo")
    assert headers["Content-Type"] == "application/json"
    assert "Retry-After" not in headers
    assert json.loads(body)["Code"] == "XMinioAdminNoSuchUser"
    _status, headers, _body = error_answer("RequestTimeTooSkewed", 403, "late", request="GetUserInfo")
    assert headers["Content-Type"] == "application/xml", "refused before the admin API is reached"


def test_entries_name_requests_and_reasons_that_exist() -> None:
    for entry in ENTRIES:
        assert set(entry["requests"]) <= REQUESTS | {"*"}, entry
        assert {Reason(reason) for reason in entry["reasons"]}, entry
        assert entry["source"].startswith("https://"), entry
    named = {name for entry in ENTRIES for name in entry["requests"]}
    assert named == REQUESTS | {"*"}


@pytest.mark.parametrize(
    "entry",
    [one for one in ENTRIES if not OVERCOME & {Reason(reason) for reason in one["reasons"]}],
    ids=lambda one: f"{one['code']}-{one['status']}-{one['requests'][0]}",
)
def test_an_answer_that_holds_a_claim_up_has_one_of_its_reasons(entry: dict[str, Any]) -> None:
    reasons = set()
    for request in REQUESTS if entry["requests"] == ["*"] else entry["requests"]:
        answer = error_answer(entry["code"], entry["status"], "s3cr3t", request=request)
        permission = "admin:GetUser" if OF_THE_ADMIN_API.fullmatch(request) else "s3:ListBucket"
        reasons.add(_reason_of(Call(url=URL, permission=permission), *answer))
    expected = {Reason(reason) for reason in entry["reasons"]}
    assert reasons <= expected or entry["code"] in HANDLED, (reasons, expected)


HANDLED = {
    "InvalidRequest",  # the word for a locked version
    "NoSuchBucket",
    "BucketAlreadyOwnedByYou",
    "BucketAlreadyExists",
    "XMinioAdminNoSuchPolicy",
    "XMinioAdminNoSuchUser",
}
"""Codes whose meaning depends on the request: `storage` and `identity` know it, and the store tests hold them to it."""


def _reason_of(call: Call, status: int, headers: dict[str, str], body: bytes) -> Reason:
    with pytest.raises(ProvisionerError) as refused:
        _receive(call, urllib3.HTTPResponse(body=body, status=status, headers=headers))
    assert "s3cr3t" not in refused.value.message
    return refused.value.reason


def _receive(call: Call, response: urllib3.HTTPResponse) -> None:
    """As a call of MinIO's client does."""
    with translated(call):
        check_response(response, call.url)
        if response.headers["Content-Type"] == "application/json":
            raise MinioAdminException(str(response.status), response.data.decode())
        raise S3Error(response, ET.fromstring(response.data).findtext("Code") or "", "s3cr3t", "/", "1", "2")
