"""Everything that can be raised becomes an error of the core's, and says how to fix it."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError

import pytest
import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage import exceptions as media
from google.resumable_media import common as resumable
from requests import exceptions as http

from gcs_provisioner.errors import Call, PermissionDenied, TokenRefused, check_token_answer, from_response, translated
from gcs_provisioner.refusals import reason_of, retry_delay_of
from libbucket import (
    AccessDenied,
    BucketNotEmpty,
    NotReady,
    ProvisionerError,
    QuotaExceeded,
    RetrySlowly,
    StoreRefused,
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
        (400, StoreRefused),
        (401, AccessDenied),
        (403, PermissionDenied),
        (404, NotReady),
        (405, RetrySlowly),
        (409, NotReady),
        (411, RetrySlowly),
        (412, StoreRefused),
        (416, RetrySlowly),
        (429, Throttled),
        (408, StoreUnavailable),
        (499, NotReady),
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
        (403, "rateLimitExceeded", NotReady),
        (403, "userRateLimitExceeded", NotReady),
        (403, "quotaExceeded", QuotaExceeded),
        (429, "projectQuotaExceeded", QuotaExceeded),
        (403, "accessNotConfigured", AccessDenied),
        (403, "objectUnderActiveHold", BucketNotEmpty),
        (403, "retentionPolicyNotMet", BucketNotEmpty),
        (412, "orgPolicyConstraintFailed", StoreRefused),
        (400, "failedPrecondition", StoreRefused),
        (403, "aReasonThatNobodyKnows", StoreRefused),
        (403, "forbidden", PermissionDenied),
        (403, "accountDisabled", StoreRefused),
        (418, "aReasonThatNobodyKnows", StoreRefused),
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
        (b'{"error": {"status": "PERMISSION_DENIED"}}', "PERMISSION_DENIED"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchBucket</Code><Message>x</Message></Error>", "NoSuchBucket"),
        (b"<Code>NoSuchBucket</Code>", ""),
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
    ("info", "delay"),
    [
        ({"retryDelay": "60s"}, 60.0),
        ({"retryDelay": "0.500s"}, 0.0),
        ({"retryDelay": "-60s"}, None),
        ({"retryDelay": "9" * 5000 + "s"}, None),
        ({"retryDelay": 60}, None),
        ({}, None),
    ],
)
def test_the_delay_of_an_answer_of_iam_is_read(info: dict[str, Any], delay: float | None) -> None:
    """https://cloud.google.com/apis/design/errors#error_details: RetryInfo."""
    response = requests.Response()
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", **info}]
    response._content = json.dumps({"error": {"details": details}}).encode()
    assert retry_delay_of(response) == delay


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "x"}', b'{"error": {"details": [1]}}', b"\xff"])
def test_an_answer_without_a_delay_has_none(body: bytes) -> None:
    response = requests.Response()
    response._content = body
    assert retry_delay_of(response) is None


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


@pytest.mark.parametrize(
    ("status", "body", "kind", "word"),
    [
        (400, b'{"error": "invalid_grant", "error_description": "s3cr3t-that-a-server-echoed"}', TokenRefused, "grant"),
        (401, b"<html>", TokenRefused, "secretName"),
        (403, b"", TokenRefused, "secretName"),
        (404, b"<html>", StoreRefused, "404"),
        (418, b'{"error": {"code": 418}}', StoreRefused, "418"),
        (408, b"", StoreUnavailable, "408"),
        (500, b"", StoreUnavailable, "500"),
    ],
)
def test_a_refusal_of_the_token_endpoint_is_told_with_its_id(
    status: int, body: bytes, kind: type[ProvisionerError], word: str
) -> None:
    check_token_answer(200, {}, "https://oauth2.googleapis.com/token", body)
    with pytest.raises(kind, match=word) as refused:
        check_token_answer(status, {"X-Cloud-Trace-Context": "1/2;o=1"}, "https://oauth2.googleapis.com/token", body)
    assert type(refused.value) is kind
    assert refused.value.request_id == "1/2;o=1"
    assert SECRET not in refused.value.message


CONDITIONAL = replace(CALL, permission="storage.buckets.setIamPolicy", conditional=True)


def policy_answer(text: str, status: int = 412, reason: str = "conditionNotMet") -> requests.Response:
    """As Cloud Storage answers: https://github.com/googleapis/java-storage/issues/1240."""
    response = answered(status, reason, {"X-GUploader-UploadID": "ABC-1"})
    one = {"domain": "global", "location": "If-Match", "locationType": "header", "message": text, "reason": reason}
    response._content = json.dumps({"error": {"code": status, "errors": [one], "message": text}}).encode()
    return response


@pytest.mark.parametrize(
    ("constraint", "help_"),
    [
        ("gcp.resourceLocations", "parameter region"),
        ("iam.disableServiceAccountKeyCreation", "workload-identity"),
        ("iam.managed.disableServiceAccountKeyCreation", "workload-identity"),
        ("storage.restrictAuthTypes", "json-key or workload-identity"),
        ("storage.softDeletePolicySeconds", "softDeleteSeconds"),
        ("gcp.restrictNonCmekServices", "kmsKeyName"),
    ],
)
@pytest.mark.parametrize("call", [CALL, CONDITIONAL], ids=["no precondition", "precondition"])
def test_an_organisation_policy_is_named_with_the_parameter_that_helps(constraint: str, help_: str, call: Call) -> None:
    error = from_response(policy_answer(f"Request violates constraint 'constraints/{constraint}'"), call)
    assert type(error) is StoreRefused
    assert f"constraint {constraint}" in error.message
    assert help_ in error.message
    assert error.request_id == "ABC-1"


@pytest.mark.parametrize("status", [400, 403, 412])
@pytest.mark.parametrize("call", [CALL, CONDITIONAL], ids=["no precondition", "precondition"])
def test_a_constraint_of_the_organisations_own_is_named(call: Call, status: int) -> None:
    """https://cloud.google.com/storage/docs/custom-constraints; which status it has no page says."""
    text = 'Operation denied by custom org policies: ["customConstraints/custom.requireTeam": "Name a team."]'
    error = from_response(policy_answer(text, status, "forbidden" if status == 403 else "invalid"), call)
    assert type(error) is StoreRefused
    assert "constraint custom.requireTeam" in error.message
    assert "Name a team" not in error.message


def test_a_failed_precondition_is_a_race_only_where_the_request_had_one() -> None:
    answer = policy_answer("At least one of the pre-conditions you specified did not hold.")
    assert type(from_response(answer, CONDITIONAL)) is NotReady
    assert type(from_response(answer, CALL)) is StoreRefused


def test_the_constraint_of_an_iam_refusal_is_in_its_details() -> None:
    violation = {"type": "constraints/iam.disableServiceAccountKeyCreation", "description": "Not allowed."}
    details = [{"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": [violation]}]
    response = answered(400)
    response._content = json.dumps({"error": {"status": "FAILED_PRECONDITION", "details": details}}).encode()
    error = from_response(response, CALL)
    assert type(error) is StoreRefused
    assert "iam.disableServiceAccountKeyCreation" in error.message


def test_a_service_perimeter_is_told_with_the_id_for_its_troubleshooter() -> None:
    """https://cloud.google.com/vpc-service-controls/docs/troubleshooting"""
    text = "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: 9iVBT-_x"
    error = from_response(policy_answer(text, 403, "forbidden"), CALL)
    assert type(error) is StoreRefused
    assert "vpcServiceControlsUniqueIdentifier: 9iVBT-_x" in error.message


def test_a_service_perimeter_of_the_xml_api_is_told() -> None:
    """https://github.com/kubeflow/kubeflow/issues/3105"""
    response = answered(403)
    response._content = (
        b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>SecurityPolicyViolated</Code>"
        b"<Message>Request violates VPC Service Controls.</Message></Error>"
    )
    error = from_response(response, CALL)
    assert type(error) is StoreRefused
    assert "VPC Service Controls" in error.message


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 418, 429, 500, 503])
@pytest.mark.parametrize("header", ["X-GUploader-UploadID", "x-goog-request-id", "X-Cloud-Trace-Context"])
def test_every_error_of_an_answer_has_its_id(status: int, header: str) -> None:
    answer = answered(status, "aReasonThatNobodyKnows", {header: "ADPycdu-1/2;o=1"})
    assert from_response(answer, CALL).request_id == "ADPycdu-1/2;o=1"
    assert told(api.from_http_response(answer)).request_id == "ADPycdu-1/2;o=1"


@pytest.mark.parametrize("value", ["a b", "x" * 301, "ü", ""])
def test_an_id_that_no_log_should_hold_is_left_out(value: str) -> None:
    assert from_response(answered(400, "", {"X-GUploader-UploadID": value}), CALL).request_id == ""


@pytest.mark.parametrize("reason", ["two words", "x" * 81, "<script>", "line\nbreak"])
def test_a_reason_that_is_no_word_is_not_repeated(reason: str) -> None:
    assert reason not in from_response(answered(418, reason), CALL).message


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


@pytest.mark.parametrize(
    ("permission", "kind"),
    [
        ("storage.buckets.create", NotReady),
        ("storage.buckets.setIamPolicy", NotReady),
        ("storage.objects.list", Throttled),
    ],
)
def test_the_rate_of_buckets_is_no_busy_store(permission: str, kind: type[ProvisionerError]) -> None:
    """https://cloud.google.com/storage/quotas#buckets: the circuit breaker must not open for it."""
    error = from_response(answered(429, "rateLimitExceeded"), Call(url=CALL.url, permission=permission))
    assert type(error) is kind
    if isinstance(error, NotReady):
        assert error.delay is not None
        assert 2 <= error.delay <= 10
