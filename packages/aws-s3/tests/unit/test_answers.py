"""Answers as S3 and IAM write them, and as what stands before them does, sent over a connection to each verb."""

from __future__ import annotations

import pytest

from libbucket import AccessDenied, ProvisionerError, StoreRefused, StoreUnavailable, Throttled
from libbucket._outcomes import StoreSignal, store_signal
from libbucket.testing.misbehaving import Answer, scripted_server
from testkit.aws_s3.fakes import each_verb, provisioner_for, verbs

REQUEST_ID = "4442587FB7D0A2F9"
HOST_ID = "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6qMa0emYBDXOo6QBU0Wo="


def as_s3_says(code: str, status: int) -> Answer:
    """Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#RESTErrorResponses."""
    ids = f"<RequestId>{REQUEST_ID}</RequestId><HostId>{HOST_ID}</HostId>"
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>no</Message>{ids}</Error>'
    headers = {"x-amz-request-id": REQUEST_ID, "x-amz-id-2": HOST_ID, "Content-Type": "application/xml"}
    return Answer(status=status, headers=headers, body=body.encode())


def as_iam_says(code: str, status: int) -> Answer:
    """Source: https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html."""
    body = (
        '<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>no</Message></Error><RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
    )
    headers = {"x-amzn-RequestId": REQUEST_ID, "Content-Type": "text/xml"}
    return Answer(status=status, headers=headers, body=body.encode())


def refused(answer: Answer, verb: str) -> ProvisionerError:
    with scripted_server(answer) as server, pytest.raises(ProvisionerError) as caught:
        verbs(provisioner_for(), server.url)[verb]()
    return caught.value


@pytest.mark.parametrize("verb", ["provision", "grant", "delete", "is_intact"])
@pytest.mark.parametrize("status", [400, 404, 409, 412, 418, 422, 451])
def test_an_unknown_refusal_of_s3_is_an_answer_with_its_request_id(verb: str, status: int) -> None:
    error = refused(as_s3_says("NobodyKnowsThisCode", status), verb)
    assert type(error) is StoreRefused
    assert "NobodyKnowsThisCode" in error.message
    assert "s3:" in error.message
    assert error.request_id == f"{REQUEST_ID}, x-amz-id-2 {HOST_ID}"


@pytest.mark.parametrize("status", [400, 404, 409, 418])
def test_an_unknown_refusal_of_iam_is_an_answer_with_its_request_id(status: int) -> None:
    error = refused(as_iam_says("NobodyKnowsThisCode", status), "revoke")
    assert type(error) is StoreRefused
    assert "iam:GetUser" in error.message
    assert error.request_id == REQUEST_ID


def test_a_refused_permission_has_its_request_id() -> None:
    assert type(refused(as_s3_says("AllAccessDisabled", 403), "provision")) is AccessDenied
    error = refused(as_iam_says("AccessDenied", 403), "revoke")
    assert type(error) is AccessDenied
    assert error.request_id == REQUEST_ID


@each_verb
def test_the_throttling_of_iam_comes_with_status_400(verb: str) -> None:
    error = refused(as_iam_says("Throttling", 400), verb)
    assert type(error) is Throttled
    assert error.request_id == REQUEST_ID


@each_verb
@pytest.mark.parametrize("status", [500, 502, 504])
@pytest.mark.parametrize("body", [b"", b"upstream connect error", b"<!DOCTYPE html><html>Bad gateway<br></html>"])
def test_a_failing_gateway_is_an_outage_in_whatever_words(verb: str, status: int, body: bytes) -> None:
    error = refused(Answer(status=status, headers={"x-amz-request-id": REQUEST_ID}, body=body), verb)
    assert type(error) is StoreUnavailable
    assert store_signal(error) is StoreSignal.UNAVAILABLE
    assert error.request_id == REQUEST_ID


@each_verb
def test_a_redirect_has_its_request_id(verb: str) -> None:
    error = refused(as_s3_says("PermanentRedirect", 301), verb)
    assert error.request_id.startswith(REQUEST_ID)
    assert store_signal(error) is not StoreSignal.UNAVAILABLE
