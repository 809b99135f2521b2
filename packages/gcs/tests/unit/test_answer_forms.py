"""Answers that say success, and have or lack the form of what was asked for."""

from __future__ import annotations

import json

import pytest
import requests

from gcs_provisioner.answer_forms import has_form

_BUCKET = {"kind": "storage#bucket", "name": "photos", "projectNumber": "1"}
_ACCOUNT = "/v1/projects/p/serviceAccounts/a@p.iam.gserviceaccount.com"
_KEY = {"name": "projects/p/serviceAccounts/a/keys/1", "privateKeyData": "e30="}


def _answer(method: str, path: str, body: object, status: int = 200) -> requests.Response:
    found = requests.Response()
    found.status_code, found.url = status, f"https://storage.googleapis.com{path}?alt=json"
    found.request = requests.Request(method, found.url).prepare()
    found._content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return found


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/storage/v1/b/photos", _BUCKET),
        ("PATCH", "/storage/v1/b/photos", {**_BUCKET, "labels": {"a": "b"}}),
        ("POST", "/storage/v1/b", _BUCKET),
        ("GET", "/storage/v1/b", {}),
        ("GET", "/storage/v1/b/photos/o", {"items": [{"name": "a", "generation": "1"}], "nextPageToken": "x"}),
        ("GET", "/storage/v1/b/photos/o", {}),
        ("GET", "/storage/v1/b/photos/iam", {"etag": "CAE="}),
        ("GET", "/storage/v1/b/photos/iam", {"etag": "CAE=", "bindings": [{"role": "r", "members": ["user:a"]}]}),
        ("GET", "/storage/v1/projects/p/hmacKeys", {"items": [{"accessId": "GOOG1", "state": "ACTIVE"}]}),
        ("GET", "/storage/v1/projects/p/hmacKeys/GOOG1", {"accessId": "GOOG1", "state": "DELETED"}),
        ("GET", _ACCOUNT.replace("@", "%40"), {"email": "a@p.iam.gserviceaccount.com"}),
        ("GET", f"{_ACCOUNT}/keys", {}),
        ("POST", f"{_ACCOUNT}/keys", _KEY),
        ("POST", f"{_ACCOUNT}:getIamPolicy", {"etag": "ACAB"}),
        ("DELETE", _ACCOUNT, {}),
    ],
)
def test_an_answer_with_what_was_asked_for_is_taken(method: str, path: str, body: object) -> None:
    assert has_form(_answer(method, path, body))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/storage/v1/b/photos", {}),
        ("GET", "/storage/v1/b/photos", {**_BUCKET, "name": "another"}),
        ("GET", "/storage/v1/b/photos", {**_BUCKET, "labels": []}),
        ("GET", "/storage/v1/b/photos", {**_BUCKET, "projectNumber": 1}),
        ("GET", "/storage/v1/b", b"<html></html>"),
        ("GET", "/storage/v1/b", b"[" * 100_000),
        ("GET", "/storage/v1/b", []),
        ("GET", "/storage/v1/b/photos/o", {"items": {}}),
        ("GET", "/storage/v1/b/photos/o", {"items": [{"name": "a"}]}),
        ("GET", "/storage/v1/b/photos/o", {"nextPageToken": 1}),
        ("GET", "/storage/v1/b/photos/iam", {"bindings": []}),
        ("PUT", "/storage/v1/b/photos/iam", {"etag": "", "bindings": []}),
        ("GET", "/storage/v1/b/photos/iam", {"etag": "CAE=", "bindings": [{"members": []}]}),
        ("POST", "/storage/v1/projects/p/hmacKeys", {"secret": "x"}),
        ("GET", "/storage/v1/projects/p/hmacKeys/GOOG1", {"accessId": "GOOG2", "state": "DELETED"}),
        ("GET", _ACCOUNT, {"email": "b@p.iam.gserviceaccount.com"}),
        ("GET", f"{_ACCOUNT}/keys", {"keys": [None]}),
        ("POST", f"{_ACCOUNT}/keys", {"name": "x"}),
        ("POST", f"{_ACCOUNT}:getIamPolicy", {"bindings": []}),
    ],
)
def test_an_answer_without_it_is_not_googles(method: str, path: str, body: object) -> None:
    assert not has_form(_answer(method, path, body))


@pytest.mark.parametrize("status", [201, 203, 204, 206])
def test_a_success_that_google_does_not_have_is_not_googles(status: int) -> None:
    """https://cloud.google.com/storage/docs/json_api/v1/status-codes."""
    assert not has_form(_answer("GET", "/storage/v1/b/photos", _BUCKET, status))


def test_a_deletion_in_cloud_storage_has_no_content() -> None:
    assert has_form(_answer("DELETE", "/storage/v1/b/photos", b"", 204))
    for body in (b"", b"{}", b"<html></html>"):
        assert not has_form(_answer("DELETE", "/storage/v1/b/photos", body))


@pytest.mark.parametrize(
    ("path", "status"), [("/storage/v1/b/photos", 403), ("/batch/storage/v1", 200), ("/photos", 200)]
)
def test_refusals_and_other_apis_are_left_to_others(path: str, status: int) -> None:
    assert has_form(_answer("GET", path, b"", status))
