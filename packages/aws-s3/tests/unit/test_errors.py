"""Everything that can be raised becomes an answer of the core's, and says what to fix."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from botocore import exceptions as sdk
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import create_loader
from botocore.model import ServiceModel
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError, ProtocolError

from aws_s3_provisioner.errors import Call, refused_in_batch, tolerated, translated
from libbucket import (
    AccessDenied,
    BucketExists,
    BucketNotEmpty,
    InvalidClaim,
    NotReady,
    ProvisionerError,
    QuotaExceeded,
    RetrySlowly,
    RetrySoon,
    StoreRefused,
    StoreUnavailable,
    Throttled,
)
from libbucket._outcomes import StoreSignal, store_signal

CANARY = "wJalrXUtnFEMI-canary"
CALL = Call(where="AWS in eu-west-1", permission="s3:CreateBucket")
CODES: dict[str, type[ProvisionerError]] = {
    "AccessDenied": AccessDenied,
    "AuthorizationHeaderMalformed": RetrySlowly,
    "BucketAlreadyExists": BucketExists,
    "BucketNotEmpty": NotReady,
    "DeleteConflict": StoreRefused,
    "EntityTemporarilyUnmodifiable": NotReady,
    "ExpiredToken": AccessDenied,
    "IllegalLocationConstraintException": RetrySlowly,
    "InvalidAccessKeyId": AccessDenied,
    "InvalidBucketName": InvalidClaim,
    "InvalidClientTokenId": AccessDenied,
    "InvalidToken": AccessDenied,
    "KMS.NotFoundException": RetrySlowly,
    "LimitExceeded": QuotaExceeded,
    "NoSuchBucket": NotReady,
    "ObjectLocked": BucketNotEmpty,
    "OperationAborted": NotReady,
    "PermanentRedirect": RetrySlowly,
    "RequestTimeTooSkewed": AccessDenied,
    "SignatureDoesNotMatch": AccessDenied,
    "SlowDown": Throttled,
    "Throttling": Throttled,
    "TooManyBuckets": QuotaExceeded,
}


# As AWS writes them: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html.
_WHO = "User: arn:aws:iam::111122223333:user/admin is not authorized to perform: iam:CreateUser on resource: x "
DENIALS = {
    "with an explicit deny in a service control policy": "service control policy of the organisation",
    "because no service control policy allows the iam:CreateUser action": "service control policy of the organisation",
    "with an explicit deny in a resource control policy": "resource control policy of the organisation",
    "because no permissions boundary allows the iam:CreateUser action": "permissions boundary",
    "because no VPC endpoint policy allows the s3:CreateBucket action": "policy of a VPC endpoint",
    "because no session policy allows the s3:CreateBucket action": "administrator's session",
    "with an explicit deny in a resource-based policy": "policy of the bucket",
}
FAILURES = ["IDPCommunicationError", "InternalError", "RequestTimeout", "ServiceUnavailable"]


def modelled_codes() -> list[str]:
    """Every error that the SDK's own models of the three services list."""
    loader = create_loader()
    models: list[Any] = [ServiceModel(loader.load_service_model(name, "service-2")) for name in ("s3", "iam", "sts")]
    return sorted({shape.error_code for model in models for shape in model.error_shapes})


def sdk_errors() -> list[type[Exception]]:
    """Every class of errors that the SDK has."""
    classes = (found for _, found in inspect.getmembers(sdk, inspect.isclass) if found.__module__ == sdk.__name__)
    return [found for found in classes if issubclass(found, Exception) and not issubclass(found, Warning)]


def answered(code: str, status: int = 400, **headers: str) -> ClientError:
    metadata: Any = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    return ClientError({"Error": {"Code": code, "Message": CANARY}, "ResponseMetadata": metadata}, "Operation")


def translate(error: Exception, call: Call = CALL) -> ProvisionerError:
    with pytest.raises(ProvisionerError) as refused, translated(call):
        raise error
    assert CANARY not in refused.value.message
    return refused.value


@pytest.mark.parametrize(("code", "kind"), CODES.items(), ids=CODES)
def test_a_code_has_its_answer(code: str, kind: type[ProvisionerError]) -> None:
    error = translate(answered(code))
    assert type(error) is kind
    assert code in error.message


@pytest.mark.parametrize(("sentence", "words"), DENIALS.items(), ids=DENIALS)
def test_the_kind_of_policy_that_denied_is_named_beside_the_permission(sentence: str, words: str) -> None:
    refusal = answered("AccessDenied", 403)
    refusal.response["Error"]["Message"] = _WHO + sentence
    error = translate(refusal)
    assert type(error) is AccessDenied
    assert words in error.message
    assert "s3:CreateBucket" in error.message
    assert "111122223333" not in error.message


@pytest.mark.parametrize(
    "sentence", ["", "because no identity-based policy allows the iam:CreateUser action", "Access Denied"]
)
def test_a_permission_that_the_administrator_lacks_is_named(sentence: str) -> None:
    refusal = answered("AccessDenied", 403)
    refusal.response["Error"]["Message"] = sentence
    assert "lack the permission s3:CreateBucket" in translate(refusal).message


@pytest.mark.parametrize("code", ["InvalidToken", "InvalidAccessKeyId", "InvalidClientTokenId"])
def test_credentials_that_are_refused_may_mean_that_the_region_is_not_enabled(code: str) -> None:
    assert "enable the region" in translate(answered(code, 403)).message


@pytest.mark.parametrize("code", FAILURES)
@pytest.mark.parametrize("status", [400, 404, 409])
def test_a_failure_that_is_answered_as_a_refusal_is_retried_soon_and_no_outage(code: str, status: int) -> None:
    error = translate(answered(code, status))
    assert isinstance(error, RetrySoon)
    assert store_signal(error) is StoreSignal.ANSWERED


@pytest.mark.parametrize("code", FAILURES)
@pytest.mark.parametrize("status", [408, 500, 502])
def test_a_failure_that_is_answered_as_one_is_an_outage(code: str, status: int) -> None:
    error = translate(answered(code, status))
    assert type(error) is StoreUnavailable
    assert store_signal(error) is StoreSignal.UNAVAILABLE


@pytest.mark.parametrize("code", modelled_codes())
@pytest.mark.parametrize("status", [400, 403, 404, 409, 412, 418])
def test_no_modelled_refusal_below_500_is_an_outage_unless_it_asks_for_fewer_requests(code: str, status: int) -> None:
    error = translate(answered(code, status))
    assert isinstance(error, Throttled) or store_signal(error) is not StoreSignal.UNAVAILABLE


def test_the_request_id_of_an_answer_is_kept() -> None:
    error = answered("AccessDenied", 403)
    error.response["ResponseMetadata"] |= {"RequestId": "4442587FB7D0A2F9"}
    assert translate(error).request_id == "4442587FB7D0A2F9"
    error.response["ResponseMetadata"] |= {"HostId": "d3Jvbmc="}
    assert translate(error).request_id == "4442587FB7D0A2F9, x-amz-id-2 d3Jvbmc="
    headers = {"x-amz-request-id": "4442587FB7D0A2F9"}
    assert translate(answered("404", 404, **headers)).request_id == "4442587FB7D0A2F9"
    assert translate(sdk.NoCredentialsError()).request_id == ""


@pytest.mark.parametrize("code", modelled_codes())
def test_every_error_of_the_sdks_models_has_an_answer_by_its_code(code: str) -> None:
    # With a status that says nothing, so that only the code can have decided.
    error = translate(answered(code, 418))
    assert isinstance(error, ProvisionerError)
    assert "answers s3:CreateBucket with" not in error.message, "the code is not in the table"


def test_the_sdks_models_were_read() -> None:
    assert len(modelled_codes()) > 50
    assert {"NoSuchBucket", "DeleteConflict", "InvalidIdentityToken"} <= set(modelled_codes())


@pytest.mark.parametrize("kind", sdk_errors(), ids=lambda kind: kind.__name__)
def test_every_error_class_of_the_sdk_has_an_answer(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, CANARY)
    if isinstance(error, ClientError):
        error.response, error.operation_name = {"Error": {"Code": "Some"}}, "Operation"
    translate(error)


def test_every_error_class_of_the_sdk_was_found() -> None:
    assert len(sdk_errors()) > 80
    assert {sdk.EndpointConnectionError, sdk.NoCredentialsError, ClientError, BotoCoreError} <= set(sdk_errors())


@pytest.mark.parametrize(
    ("error", "kind", "word"),
    [
        (sdk.EndpointConnectionError(endpoint_url=CANARY), StoreUnavailable, "no connection"),
        (sdk.ConnectTimeoutError(endpoint_url=CANARY), StoreUnavailable, "time limit"),
        (sdk.ReadTimeoutError(endpoint_url=CANARY), StoreUnavailable, "time limit"),
        (sdk.ConnectionClosedError(endpoint_url=CANARY), StoreUnavailable, "cut"),
        (sdk.ProxyConnectionError(proxy_url=CANARY), StoreUnavailable, "proxy"),
        (sdk.SSLError(endpoint_url=CANARY, error=OSError(CANARY)), RetrySlowly, "certificate"),
        (sdk.NoCredentialsError(), RetrySlowly, "secretName"),
        (sdk.CredentialRetrievalError(provider="x", error_msg=CANARY), StoreUnavailable, "identity"),
        (sdk.PartialCredentialsError(provider="x", cred_var=CANARY), RetrySlowly, "settings"),
        (sdk.ProfileNotFound(profile=CANARY), RetrySlowly, "settings"),
        (sdk.UnknownRegionError(region_name=CANARY, error_msg=CANARY), RetrySlowly, "region"),
        (sdk.ParamValidationError(report=CANARY), RetrySlowly, "can't send"),
        (ResponseParserError(CANARY), RetrySlowly, "s3Endpoint"),
        (json.JSONDecodeError(CANARY, "", 0), RetrySlowly, "s3Endpoint"),
        (KeyError(CANARY), RetrySlowly, "iamEndpoint"),
        (ConnectionResetError(CANARY), StoreUnavailable, "reached"),
        (ProtocolError(CANARY), StoreUnavailable, "cut"),
        (HTTPError(CANARY), StoreUnavailable, "cut"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_of_the_network_or_the_sdk_says_what_to_fix(
    error: Exception, kind: type[ProvisionerError], word: str
) -> None:
    told = translate(error)
    assert type(told) is kind
    assert word in told.message


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, StoreRefused),
        (401, AccessDenied),
        (403, AccessDenied),
        (404, StoreRefused),
        (408, StoreUnavailable),
        (412, StoreRefused),
        (418, StoreRefused),
        (429, Throttled),
        (500, StoreUnavailable),
        (503, Throttled),
        (599, StoreUnavailable),
        (0, StoreUnavailable),
    ],
)
@pytest.mark.parametrize("code", ["", "NobodyKnowsThisCode"])
def test_for_an_unknown_code_the_status_decides(code: str, status: int, kind: type[ProvisionerError]) -> None:
    assert type(translate(answered(code, status))) is kind


@pytest.mark.parametrize(
    ("header", "delay"),
    [(None, None), ("60", 60.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None), ("-5", None)],
)
@pytest.mark.parametrize(
    ("code", "status"), [("SlowDown", 503), ("Throttling", 400), ("", 429), ("InternalError", 500)]
)
def test_the_delay_that_a_busy_server_asks_for_is_kept(
    code: str, status: int, header: str | None, delay: float | None
) -> None:
    told = translate(answered(code, status, **({} if header is None else {"retry-after": header})))
    assert isinstance(told, RetrySoon)
    assert told.delay == delay


def test_a_refused_permission_is_named_with_who_refused_it() -> None:
    message = translate(answered("AccessDenied", 403)).message
    assert "s3:CreateBucket" in message
    assert "AWS in eu-west-1" in message


def test_where_wrong_credentials_come_from_is_named() -> None:
    assert "secretName" in translate(answered("InvalidAccessKeyId", 403)).message
    pod = Call(where="AWS", permission="x", source="the pod's own identity")
    assert "pod's own identity" in translate(answered("ExpiredToken"), pod).message


def test_an_error_of_ours_is_left_as_it_is() -> None:
    error = NotReady("soon", delay=3)
    assert translate(error) is error


def test_a_code_that_is_fine_passes_and_another_does_not() -> None:
    tolerating = tolerated("NoSuchEntity")
    tolerating.__enter__()
    assert tolerating.__exit__(ClientError, answered("NoSuchEntity", 404), None)
    with pytest.raises(ClientError) as refused, tolerated("NoSuchEntity"):
        raise answered("AccessDenied", 403)
    assert refused.value.response["Error"]["Code"] == "AccessDenied"


@pytest.mark.parametrize(
    ("code", "kind"), [("AccessDenied", AccessDenied), ("SlowDown", Throttled), ("Whatever", StoreRefused)]
)
def test_a_refusal_in_a_batch_has_the_same_answers(code: str, kind: type[ProvisionerError]) -> None:
    error = refused_in_batch(code, CALL, request_id="4442587FB7D0A2F9")
    assert type(error) is kind
    assert error.request_id == "4442587FB7D0A2F9"


def test_a_failure_for_one_object_of_a_batch_is_no_outage() -> None:
    error = refused_in_batch("InternalError", CALL)
    assert isinstance(error, RetrySoon)
    assert store_signal(error) is StoreSignal.ANSWERED
