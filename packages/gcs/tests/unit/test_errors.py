"""Everything that can be raised becomes an answer of the core's, and says what to mend."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError

import pytest
import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage import exceptions as media
from google.resumable_media import common as resumable
from requests import exceptions as http

from gcs_provisioner.errors import Call, check_token_answer, from_response, reason_of, translated
from libbucket import (
    AccessDenied,
    BucketNotEmpty,
    NotReady,
    ProvisionerError,
    QuotaExceeded,
    RetrySlowly,
    StoreUnavailable,
    Throttled,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CALL = Call(url="https://storage.googleapis.com", permission="storage.buckets.create")
SECRET = "s3cr3t-that-a-server-echoed"


def told(error: BaseException) -> ProvisionerError:
    with pytest.raises(ProvisionerError) as refused, translated(CALL):
        raise error
    assert SECRET not in refused.value.message
    return refused.value


def answered(status: int, reason: str = "", headers: dict[str, str] | None = None) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers or {})
    error: dict[str, Any] = {"code": status, "message": SECRET, "errors": [{"reason": reason, "message": SECRET}]}
    response._content = json.dumps({"error": error}).encode()
    response.request = requests.Request("GET", f"https://storage.googleapis.com/?token={SECRET}").prepare()
    return response


def classes(module: Any, *bases: type[BaseException]) -> list[type[BaseException]]:
    found = [each for _, each in inspect.getmembers(module, inspect.isclass)]
    return [each for each in found if issubclass(each, bases or BaseException) and not issubclass(each, Warning)]


def every_class() -> Iterator[type[BaseException]]:
    """All that the models of the clients list."""
    yield from classes(api, api.GoogleAPIError, api.AsyncRestUnsupportedParameterError)
    yield from classes(auth, auth.GoogleAuthError)
    yield from classes(media)
    yield from classes(resumable)
    yield from classes(http, http.RequestException)


def make(kind: type[BaseException]) -> BaseException:
    if issubclass(kind, media.InvalidResponse | resumable.InvalidResponse | resumable.DataCorruption):
        return kind(answered(503), SECRET)
    if kind is api.RetryError:
        return api.RetryError(SECRET, ValueError(SECRET))
    if kind is http.JSONDecodeError:
        return http.JSONDecodeError(SECRET, SECRET, 0)
    return kind(SECRET)


def test_the_clients_list_as_many_errors_as_they_did() -> None:
    names = {each.__name__ for each in every_class()}
    assert {"Forbidden", "RefreshError", "InvalidResponse", "DataCorruption", "ReadTimeout", "RetryError"} <= names
    assert len(names) > 80


@pytest.mark.parametrize("kind", sorted(set(every_class()), key=repr))
def test_no_error_of_a_client_falls_through(kind: type[BaseException]) -> None:
    error = told(make(kind))
    assert type(error) is not ProvisionerError
    assert error.message


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, RetrySlowly),
        (308, RetrySlowly),
        (400, RetrySlowly),
        (401, AccessDenied),
        (403, AccessDenied),
        (404, NotReady),
        (405, RetrySlowly),
        (409, NotReady),
        (411, RetrySlowly),
        (412, NotReady),
        (416, RetrySlowly),
        (429, Throttled),
        (499, StoreUnavailable),
        (500, StoreUnavailable),
        (502, StoreUnavailable),
        (503, Throttled),
        (504, StoreUnavailable),
    ],
)
def test_every_status_has_its_answer(status: int, kind: type[ProvisionerError]) -> None:
    assert type(told(api.from_http_response(answered(status)))) is kind
    assert type(from_response(answered(status), CALL)) is kind


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (403, "rateLimitExceeded", Throttled),
        (403, "userRateLimitExceeded", Throttled),
        (403, "quotaExceeded", QuotaExceeded),
        (429, "projectQuotaExceeded", QuotaExceeded),
        (403, "accessNotConfigured", AccessDenied),
        (403, "objectUnderActiveHold", BucketNotEmpty),
        (403, "retentionPolicyNotMet", BucketNotEmpty),
        (412, "orgPolicyConstraintFailed", RetrySlowly),
        (400, "failedPrecondition", RetrySlowly),
        (403, "a reason that nobody knows", AccessDenied),
    ],
)
def test_the_reason_says_more_than_the_status(status: int, reason: str, kind: type[ProvisionerError]) -> None:
    assert type(told(api.from_http_response(answered(status, reason)))) is kind


def test_a_refused_permission_is_named() -> None:
    assert "storage.buckets.create" in told(api.from_http_response(answered(403, "forbidden"))).message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", ""),
        (b"<html>", ""),
        (b"[]", ""),
        (b'{"error": "invalid_grant"}', ""),
        (b'{"error": {"status": "FAILED_PRECONDITION", "errors": [{"reason": "x"}]}}', "FAILED_PRECONDITION"),
        (b'{"error": {"status": "PERMISSION_DENIED", "errors": [{"reason": "forbidden"}]}}', "forbidden"),
        (
            b'{"error": {"details": [{"@type": "/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}]}}',
            "SERVICE_DISABLED",
        ),
    ],
)
def test_the_reason_is_found_wherever_an_api_puts_it(body: bytes, reason: str) -> None:
    response = requests.Response()
    response._content = body
    assert reason_of(response) == reason


@pytest.mark.parametrize(
    ("header", "delay"),
    [(None, None), ("60", 60.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None), ("-5", None)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_delay_that_google_asks_for_is_kept(status: int, header: str | None, delay: float | None) -> None:
    headers = {} if header is None else {"Retry-After": header}
    error = told(api.from_http_response(answered(status, headers=headers)))
    assert isinstance(error, Throttled)
    assert error.delay == delay
    with pytest.raises(Throttled) as refused:
        check_token_answer(status, headers, "https://oauth2.googleapis.com/token")
    assert refused.value.delay == delay


@pytest.mark.parametrize("status", [200, 400, 401])
def test_other_answers_of_the_token_endpoint_are_left_to_google_auth(status: int) -> None:
    check_token_answer(status, {}, "https://oauth2.googleapis.com/token")


@pytest.mark.parametrize(
    ("error", "kind", "word"),
    [
        (http.ConnectTimeout(SECRET), StoreUnavailable, "no connection within the time limit"),
        (http.ReadTimeout(SECRET), StoreUnavailable, "no answer within the time limit"),
        (http.ConnectionError(SECRET), StoreUnavailable, "refused or was cut"),
        (http.ProxyError(SECRET), StoreUnavailable, "proxy"),
        (http.SSLError(SECRET), RetrySlowly, "TLS"),
        (http.TooManyRedirects(SECRET), RetrySlowly, "endpoint"),
        (ConnectionResetError(SECRET), StoreUnavailable, "cut"),
        (ParseError(SECRET), RetrySlowly, "endpoint"),
        (ValueError(SECRET), RetrySlowly, "endpoint"),
        (auth.TransportError(http.ReadTimeout(SECRET)), StoreUnavailable, "no answer within the time limit"),
        (auth.RefreshError(SECRET, retryable=True), StoreUnavailable, "does not answer"),
        (auth.RefreshError(SECRET), AccessDenied, "secretName"),
        (auth.DefaultCredentialsError(SECRET), AccessDenied, "Workload Identity"),
    ],
    ids=repr,
)
def test_what_went_wrong_is_said(error: Exception, kind: type[ProvisionerError], word: str) -> None:
    found = told(error)
    assert type(found) is kind
    assert word in found.message


def test_an_error_of_ours_is_left_as_it_is() -> None:
    error = NotReady("soon", delay=3)
    assert told(error) is error
