"""The list of Google's error answers: complete in form, and each translated into a reason that it names."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import requests

import testkit
from gcs_provisioner.errors import Call, check_token_answer, from_response
from libbucket import ProvisionerError
from libbucket.errors import Reason
from testkit.gcs.requests_by_name import REQUESTS, error_answer, request_name

ANSWERS: list[dict[str, Any]] = tomllib.loads(
    (Path(testkit.__file__).parent / "answers" / "gcs.toml").read_text(encoding="utf-8")
)["answer"]
HELD_BACK = frozenset({404, 409, 412})
"""What `storage` and `identity` know more of than the translation, as of a project that is full of accounts."""
BY_STATE = frozenset(
    {"xml.listObjects", "oauth2.tokenAsClaim", "storage.hmacKeys.delete", "iamcredentials.generateAccessToken"}
)
PERMISSIONS = {"storage.buckets.insert": "storage.buckets.create", "storage.buckets.patch": "storage.buckets.update"}


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda each: f"{each['code']}-{each['status']}")
def test_an_entry_is_complete(answer: dict[str, Any]) -> None:
    assert set(answer["reasons"]) <= {*Reason, "ok"}
    assert set(answer["requests"]) <= set(REQUESTS)
    assert answer["source"].startswith("https://")
    assert isinstance(answer["terminal"], bool)


def test_every_request_has_answers() -> None:
    assert {name for each in ANSWERS for name in each["requests"]} == set(REQUESTS)


@pytest.mark.parametrize(
    ("answer", "request_of"),
    [
        (each, name)
        for each in ANSWERS
        for name in each["requests"]
        if each["status"] not in HELD_BACK and name not in BY_STATE and each["code"] != "RESOURCE_EXHAUSTED"
    ],
    ids=lambda each: each if isinstance(each, str) else f"{each['code']}-{each['status']}",
)
def test_an_answer_is_translated_into_one_of_its_reasons(answer: dict[str, Any], request_of: str) -> None:
    status, headers, body = error_answer(request_of, answer["code"], answer["status"], "refused")
    if request_of in {"sts.token", "oauth2.token"}:
        with pytest.raises(ProvisionerError) as refused:
            check_token_answer(status, headers, "https://oauth2.googleapis.com/token", body)
        assert refused.value.reason in answer["reasons"]
        return
    response = requests.Response()
    response.status_code, response._content = status, body
    response.headers.update(headers)
    call = Call(url="https://storage.googleapis.com", permission=PERMISSIONS.get(request_of, request_of))
    error = from_response(response, call)
    assert error.reason in answer["reasons"], error.message
    assert error.request_id


@pytest.mark.parametrize(
    ("method", "path", "query", "name"),
    [
        ("POST", "/storage/v1/b", "project=p", "storage.buckets.insert"),
        ("GET", "/storage/v1/b/photos/iam", "", "storage.buckets.getIamPolicy"),
        ("PUT", "/storage/v1/projects/p/hmacKeys/GOOG1", "", "storage.hmacKeys.update"),
        ("POST", "/v1/projects/p/serviceAccounts/a@b:getIamPolicy", "", "iam.serviceAccounts.getIamPolicy"),
        ("DELETE", "/v1/projects/p/serviceAccounts/a@b/keys/1", "", "iam.serviceAccounts.keys.delete"),
        ("POST", "/v1/projects/-/serviceAccounts/a@b:generateAccessToken", "", "iamcredentials.generateAccessToken"),
        ("POST", "/token", "", "oauth2.token"),
        ("POST", "/v1/token", "", "sts.token"),
        ("GET", "/photos", "list-type=2", "xml.listObjects"),
        ("GET", "/photos", "uploads&encoding-type=url", "xml.listMultipartUploads"),
        ("PATCH", "/photos", "", "unknown"),
    ],
)
def test_requests_have_the_names_of_the_reference(method: str, path: str, query: str, name: str) -> None:
    assert request_name(method, path, query, {}, b"") == name
