"""Everything that can be raised becomes an answer of the core's, and names what to fix."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import azure.core.exceptions as core
import pytest
from azure import identity
from azure.storage.blob import StorageErrorCode

from azure_provisioner.errors import Call, check_response, code_of, refusal_of, translated
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
from libbucket._outcomes import StoreSignal, store_signal

if TYPE_CHECKING:
    from collections.abc import Callable

CALL = Call(url="https://account.blob.core.windows.net", action="containers/setAcl/action", source="Secret azure/admin")

DELIBERATE: dict[type[ProvisionerError], str] = {
    AccessDenied: """
        AuthenticationFailed InvalidAuthenticationInfo NoAuthenticationInformation AuthorizationFailure
        InsufficientAccountPermissions UnauthorizedBlobOverwrite AccountIsDisabled ContainerDisabled""",
    NotReady: """
        ContainerBeingDeleted ContainerNotFound ResourceNotFound ConditionNotMet ContainerAlreadyExists
        ResourceAlreadyExists TargetConditionNotMet LeaseAlreadyBroken LeaseAlreadyPresent
        LeaseIdMismatchWithContainerOperation LeaseIdMismatchWithLeaseOperation LeaseIdMissing LeaseIsAlreadyBroken
        LeaseIsBreakingAndCannotBeAcquired LeaseIsBreakingAndCannotBeChanged LeaseIsBrokenAndCannotBeRenewed LeaseLost
        LeaseNotPresentWithContainerOperation LeaseNotPresentWithLeaseOperation""",
    QuotaExceeded: """
        TotalSharesCountExceedsAccountLimit TotalSharesProvisionedBandwidthExceedsAccountLimit
        TotalSharesProvisionedCapacityExceedsAccountLimit TotalSharesProvisionedIopsExceedsAccountLimit""",
}
EXPECTED = {code: kind for kind, codes in DELIBERATE.items() for code in codes.split()}
OLD_API = {"FeatureVersionMismatch", "UnsupportedRestVersion"}
OUTAGES = {"ServerBusy": Throttled, "InternalError": StoreUnavailable, "OperationTimedOut": StoreUnavailable}
CODES = sorted(each.value for each in StorageErrorCode)


class Response:
    """An answer as Azure's clients keep it with an error."""

    reason = "told by the server: s3cr3t"
    content_type = "application/xml"

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status_code, self.headers = status, headers

    def text(self, encoding: str | None = None) -> str:
        return f"s3cr3t {encoding}"


class Answer:
    """An answer as the clients' hooks get it."""

    def __init__(self, status: int, **headers: str) -> None:
        self.http_response = Response(status, {name.replace("_", "-"): value for name, value in headers.items()})


def from_azure(code: str, status: int = 400, **headers: str) -> core.HttpResponseError:
    known = {"x-ms-error-code": code} if code else {}
    found: Any = Response(status, {**known, **{name.replace("_", "-"): value for name, value in headers.items()}})
    return core.HttpResponseError(message="told by the server: s3cr3t", response=found)


def translate(error: Exception) -> ProvisionerError:
    with pytest.raises(ProvisionerError) as refused, translated(CALL):
        raise error
    assert "s3cr3t" not in refused.value.message
    return refused.value


@pytest.mark.parametrize("code", CODES)
def test_every_code_that_azures_model_lists_has_its_answer(code: str) -> None:
    error = translate(from_azure(code))
    assert type(error) is EXPECTED.get(code, RetrySlowly if code in OLD_API else StoreRefused)
    assert code in error.message
    assert store_signal(error) is StoreSignal.ANSWERED or isinstance(error, RetrySlowly)


@pytest.mark.parametrize("code", sorted(OUTAGES))
def test_a_failure_of_azures_is_an_outage_with_its_own_status_only(code: str) -> None:
    assert type(translate(from_azure(code, 503))) is OUTAGES[code]
    assert type(translate(from_azure(code, 500))) is OUTAGES[code]
    assert type(translate(from_azure(code, 409))) is StoreRefused


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 411, 412, 416, 418, 422, 431, 451, 499])
@pytest.mark.parametrize("code", ["", "NobodyKnowsThisCode"])
def test_an_unknown_answer_below_500_is_never_an_outage(status: int, code: str) -> None:
    error = translate(from_azure(code, status, x_ms_request_id="request-1"))
    assert store_signal(error) not in {StoreSignal.BUSY, StoreSignal.UNAVAILABLE}
    assert error.request_id == "request-1"
    if code and status not in {401, 403}:
        assert type(error) is StoreRefused
        assert "containers/setAcl/action" in error.message
        assert code in error.message


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_any_other_status_is_an_outage_that_ends(status: int) -> None:
    error = translate(from_azure("NobodyKnowsThisCode", status, x_ms_request_id="request-1"))
    assert store_signal(error) in {StoreSignal.BUSY, StoreSignal.UNAVAILABLE}
    assert error.request_id == "request-1"


@pytest.mark.parametrize("code", CODES)
def test_every_error_of_an_answer_has_its_request_id(code: str) -> None:
    assert translate(from_azure(code, 409, x_ms_request_id="request-1")).request_id == "request-1"


@pytest.mark.parametrize(("header", "kind"), [("x-ms-version", RetrySlowly), ("x-ms-lease-id", StoreRefused)])
def test_only_a_version_that_is_refused_says_that_the_api_is_an_old_one(
    header: str, kind: type[ProvisionerError]
) -> None:
    refused = from_azure("InvalidHeaderValue")
    refused.additional_info = {"headername": header}  # type: ignore[attr-defined]
    assert type(translate(refused)) is kind


@pytest.mark.parametrize("found", ["", "x" * 129, "two\nlines", "n\u00e9"])
def test_a_request_id_that_may_not_be_logged_is_left_out(found: str) -> None:
    assert translate(from_azure("NobodyKnowsThisCode", 409, x_ms_request_id=found)).request_id == ""


@pytest.mark.parametrize(("detail", "is_out"), [("Policy violated by no signed start.", True), ("s3cr3t", False)])
def test_a_sas_that_the_accounts_policy_forbids_is_distinguished_from_one_that_is_not_known_yet(
    detail: str, is_out: bool
) -> None:
    refused = from_azure("AuthenticationFailed", 403)
    refused.additional_info = {"authenticationerrordetail": detail}  # type: ignore[attr-defined]
    error = refusal_of(refused, datetime.now(UTC)).as_error(CALL, "photos")
    assert type(error) is (AccessDenied if is_out else NotReady)
    assert "s3cr3t" not in error.message
    assert "AuthenticationFailed" in error.message


def test_the_list_of_deliberate_answers_names_only_codes_that_exist() -> None:
    assert sorted(EXPECTED) == sorted(set(EXPECTED) & set(CODES))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AuthorizationPermissionMismatch", AccessDenied),
        ("AuthorizationSourceIPMismatch", AccessDenied),
        ("KeyBasedAuthenticationNotPermitted", AccessDenied),
        ("BlobImmutableDueToPolicy", BucketNotEmpty),
        ("ContainerProtectedFromDeletion", BucketNotEmpty),
        ("ContainerImmutableStorageWithVersioningEnabled", BucketNotEmpty),
        ("ContainerImmutabilityPolicyLocked", BucketNotEmpty),
        ("PublicAccessNotPermitted", StoreRefused),
        ("NobodyKnowsThisCode", StoreRefused),
    ],
)
def test_codes_that_azure_has_beyond_its_model(code: str, kind: type[ProvisionerError]) -> None:
    assert type(translate(from_azure(code, 409))) is kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AccessDenied), (403, AccessDenied), (429, Throttled), (503, Throttled), (500, StoreUnavailable)],
)
def test_an_unknown_code_is_judged_by_its_status(status: int, kind: type[ProvisionerError]) -> None:
    assert type(translate(from_azure("NobodyKnowsThisCode", status))) is kind
    if status != 401:
        assert type(translate(from_azure("", status))) is kind


def test_a_refused_action_is_named_with_the_role_that_has_it() -> None:
    message = translate(from_azure("AuthorizationPermissionMismatch", 403)).message
    assert "containers/setAcl/action" in message
    assert "Storage Blob Data Contributor" in message
    assert "Secret azure/admin" in message


def test_an_account_that_forbids_keys_is_told_the_other_way() -> None:
    assert (
        "credentials: user-delegation-sas" in translate(from_azure("KeyBasedAuthenticationNotPermitted", 403)).message
    )


@pytest.mark.parametrize(("headers", "delay"), [({"Retry_After": "9"}, 9.0), ({}, None)])
def test_the_delay_that_azure_asks_for_is_kept(headers: dict[str, str], delay: float | None) -> None:
    error = translate(from_azure("ServerBusy", 503, **headers))
    assert isinstance(error, Throttled)
    assert error.delay == delay


def _classes(module: Any) -> list[type[Exception]]:
    found = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Exception)]
    return sorted(set(found), key=lambda each: each.__name__)


@pytest.mark.parametrize("kind", [*_classes(core), *_classes(identity)], ids=lambda each: each.__name__)
def test_no_class_of_errors_falls_through(kind: type[Exception]) -> None:
    error = translate(_made(kind))
    if issubclass(kind, core.HttpResponseError | ValueError):
        assert type(error) is RetrySlowly
    else:
        assert type(error) is StoreUnavailable


@pytest.mark.parametrize("error", [ConnectionResetError("s3cr3t"), TimeoutError("s3cr3t")])
def test_neither_does_what_lies_beneath(error: Exception) -> None:
    assert type(translate(error)) is StoreUnavailable


def test_an_error_of_ours_is_left_as_it_is() -> None:
    error = NotReady("soon", delay=3)
    assert translate(error) is error


@pytest.mark.parametrize(
    ("code", "word"), [(19, "REQUESTS_CA_BUNDLE"), (20, "REQUESTS_CA_BUNDLE"), (62, "another host"), (10, "not valid")]
)
def test_what_is_wrong_with_a_certificate_is_said(code: int, word: str) -> None:
    beneath = ssl.SSLCertVerificationError(1, "certificate verify failed")
    beneath.verify_code, beneath.verify_message = code, "certificate has expired"
    error = core.ServiceRequestError("s3cr3t", error=beneath)
    told = translate(error)
    assert isinstance(told, RetrySlowly)
    assert word in told.message


def test_tls_that_fails_otherwise_is_retried_soon() -> None:
    assert type(translate(core.ServiceRequestError("s3cr3t", error=ssl.SSLError(1, "alert")))) is StoreUnavailable


def test_a_code_is_found_in_the_header_and_in_what_the_client_made_of_it() -> None:
    assert code_of(from_azure("ContainerNotFound")) == "ContainerNotFound"
    parsed = from_azure("")
    parsed.error_code = StorageErrorCode.CONTAINER_NOT_FOUND  # type: ignore[attr-defined]
    assert code_of(parsed) == "ContainerNotFound"
    assert code_of(core.HttpResponseError("nothing")) == ""


def test_an_answer_without_a_header_of_azures_is_another_servers() -> None:
    url = CALL.url
    for azures in (Answer(200, x_ms_request_id="1"), Answer(503, x_ms_version="2026-06-06")):
        check_response(azures, url)
    with pytest.raises(RetrySlowly, match="parameter endpoint"):
        check_response(Answer(200), url)
    with pytest.raises(Throttled):
        check_response(Answer(503), url)
    with pytest.raises(StoreUnavailable):
        check_response(Answer(502), url)


def test_what_a_hook_raises_is_found_in_what_a_client_made_of_it() -> None:
    busy = Throttled("busy", delay=3)
    wrapped = core.ClientAuthenticationError("s3cr3t")
    wrapped.__cause__ = busy
    assert translate(wrapped) is busy


def _made(kind: Any) -> Exception:
    response: Any = Response(400, {})
    response.request = "s3cr3t"
    special: dict[Any, Callable[[], Exception]] = {
        core.ODataV4Error: lambda: core.ODataV4Error(response),
        core.TooManyRedirectsError: lambda: core.TooManyRedirectsError([]),
        core.ResponseNotReadError: lambda: core.ResponseNotReadError(response),
        core.StreamConsumedError: lambda: core.StreamConsumedError(response),
        core.StreamClosedError: lambda: core.StreamClosedError(response),
        identity.AuthenticationRequiredError: lambda: identity.AuthenticationRequiredError(scopes=["s3cr3t"]),
    }
    made: Exception = special[kind]() if kind in special else kind("s3cr3t")
    return made
