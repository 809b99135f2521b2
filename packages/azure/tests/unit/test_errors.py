"""Everything that can be raised becomes an answer of the core's, and says what to mend."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import azure.core.exceptions as core
import pytest
from azure import identity
from azure.storage.blob import StorageErrorCode

from azure_provisioner.errors import Call, check_authority, check_response, code_of, translated
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
    from collections.abc import Callable

CALL = Call(url="https://account.blob.core.windows.net", action="containers/setAcl/action", source="Secret azure/admin")

DELIBERATE: dict[type[ProvisionerError], str] = {
    AccessDenied: """
        AuthenticationFailed InvalidAuthenticationInfo NoAuthenticationInformation AuthorizationFailure
        InsufficientAccountPermissions UnauthorizedBlobOverwrite AccountIsDisabled ContainerDisabled""",
    Throttled: "ServerBusy SnapshotOperationRateExceeded",
    StoreUnavailable: "InternalError OperationTimedOut SystemInUse AccountBeingCreated",
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
    assert type(error) is EXPECTED.get(code, RetrySlowly)
    assert code in error.message


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
        ("NobodyKnowsThisCode", RetrySlowly),
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
    if issubclass(kind, core.ClientAuthenticationError):
        assert type(error) is AccessDenied
    elif issubclass(kind, core.HttpResponseError | ValueError):
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


def test_tls_that_fails_otherwise_may_mend_itself() -> None:
    assert type(translate(core.ServiceRequestError("s3cr3t", error=ssl.SSLError(1, "alert")))) is StoreUnavailable


def test_a_code_is_found_in_the_header_and_in_what_the_client_made_of_it() -> None:
    assert code_of(from_azure("ContainerNotFound")) == "ContainerNotFound"
    parsed = from_azure("")
    parsed.error_code = StorageErrorCode.CONTAINER_NOT_FOUND  # type: ignore[attr-defined]
    assert code_of(parsed) == "ContainerNotFound"
    assert code_of(core.HttpResponseError("nothing")) == ""


def test_an_answer_without_a_header_of_azures_is_somebody_elses() -> None:
    url = CALL.url
    for azures in (Answer(200, x_ms_request_id="1"), Answer(503, x_ms_version="2026-06-06")):
        check_response(azures, url)
    with pytest.raises(RetrySlowly, match="parameter endpoint"):
        check_response(Answer(200), url)
    with pytest.raises(Throttled):
        check_response(Answer(503), url)
    with pytest.raises(StoreUnavailable):
        check_response(Answer(502), url)


def test_a_busy_authority_is_no_refusal() -> None:
    check_authority(Answer(200))
    check_authority(Answer(401))
    with pytest.raises(Throttled) as busy:
        check_authority(Answer(429, Retry_After="3"))
    assert busy.value.delay == 3
    wrapped = core.ClientAuthenticationError("s3cr3t")
    wrapped.__cause__ = busy.value
    assert translate(wrapped) is busy.value


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
