"""The table of answers for the sweep: every code is translated as the table says, and every request has its name."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from aws_s3_provisioner.errors import Call, refused_in_batch, translated
from libbucket import ProvisionerError
from libbucket.testing import builders
from testkit.answers.catalogue import ANY, OK, load
from testkit.aws_s3.in_memory import in_memory_aws, request_for
from testkit.aws_s3.requests_by_name import IAM, REQUESTS, S3, STS, UNKNOWN, error_answer, request_name
from testkit.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE: list[dict[str, Any]] = tomllib.loads((ROOT / "testkit/src/testkit/answers/aws-s3.toml").read_text())["answer"]
CALL = Call(where="AWS in eu-west-1", permission="s3:CreateBucket")
# Decided by the call that meets them, before anything is translated: see `ownership`, `settings`, `credentials`.
BY_THEIR_CALL = {
    "InvalidBucketState",
    "MissingContentMD5",
    "NoSuchObjectLockConfiguration",
    "NoSuchTagSet",
    "UnsupportedArgument",
}
IDS = [f"{row['code']}-{row['status']}-{n}" for n, row in enumerate(TABLE)]


def test_the_sweep_reads_the_table_and_its_delays() -> None:
    found = load("aws-s3")
    assert {each.write for each in found.delays} <= REQUESTS
    assert {read for each in found.delays for read in each.reads} <= REQUESTS


def as_translated(row: Mapping[str, Any]) -> ProvisionerError:
    if row["status"] == 200:
        return refused_in_batch(row["code"], CALL)
    told: Any = {
        "Error": {"Code": row["code"], "Message": row.get("message", "no")},
        "ResponseMetadata": {"HTTPStatusCode": row["status"], "HTTPHeaders": {}},
    }
    with pytest.raises(ProvisionerError) as refused, translated(CALL):
        raise ClientError(told, "Operation")
    return refused.value


@pytest.mark.parametrize("row", TABLE, ids=IDS)
def test_an_answer_has_the_reason_that_the_table_names(row: dict[str, Any]) -> None:
    right = set(row["reasons"])
    if row["code"] not in BY_THEIR_CALL and OK not in right and "InvalidConfig" not in right:
        assert as_translated(row).reason.value in right


@pytest.mark.parametrize("row", TABLE, ids=IDS)
def test_an_answer_names_requests_that_are_sent_and_a_source(row: dict[str, Any]) -> None:
    assert set(row["requests"]) <= REQUESTS | {ANY}
    assert row["source"].startswith("https://")
    assert row["terminal"] is bool({"InvalidClaim", "InvalidConfig", "BucketExists"} & set(row["reasons"]))


@pytest.mark.parametrize(
    ("method", "path", "query", "host", "body", "name"),
    [
        ("PUT", "/", "", "photos.s3.eu-west-1.amazonaws.com", b"", "CreateBucket"),
        ("PUT", "/photos", "", "127.0.0.1:9000", b"<x/>", "CreateBucket"),
        ("GET", "/photos", "list-type=2&prefix=x&max-keys=1", "127.0.0.1", b"", "ListObjectsV2"),
        ("GET", "/", "prefix=photos&max-buckets=1000", "s3.eu-west-1.amazonaws.com", b"", "ListBuckets"),
        ("GET", "/", "versions&encoding-type=url", "photos.s3.eu-west-1.amazonaws.com", b"", "ListObjectVersions"),
        ("POST", "/photos", "delete", "127.0.0.1", b"<Delete/>", "DeleteObjects"),
        ("DELETE", "/photos/a/b", "versionId=1", "127.0.0.1", b"", "DeleteObject"),
        ("DELETE", "/photos/a", "uploadId=1", "127.0.0.1", b"", "AbortMultipartUpload"),
        ("HEAD", "/photos", "", "127.0.0.1", b"", "HeadBucket"),
        ("POST", "/", "", "iam.amazonaws.com", b"Action=GetUser&UserName=x", "GetUser"),
        ("POST", "/", "", "sts.eu-west-1.amazonaws.com", b"Action=GetCallerIdentity", "GetCallerIdentity"),
        ("POST", "/", "", "iam.amazonaws.com", b"Action=CreateGroup", UNKNOWN),
        ("PUT", "/photos/key", "", "127.0.0.1", b"data", "PutObject"),
        ("POST", "/photos/key", "restore", "127.0.0.1", b"<x/>", UNKNOWN),
        ("DELETE", "/", "", "s3.eu-west-1.amazonaws.com", b"", UNKNOWN),
    ],
)
def test_a_request_is_named_after_its_operation(
    method: str, path: str, query: str, host: str, body: bytes, name: str
) -> None:
    assert request_name(method, path, query, {"Host": host}, body) == name


@pytest.mark.parametrize("request_of", sorted(REQUESTS - {"AssumeRoleWithWebIdentity"}))
def test_an_answer_is_read_by_the_sdk_as_it_was_meant(request_of: str) -> None:
    status, headers, body = error_answer(request_of, "Refused", 418)
    assert status == 418
    assert any(name.lower().endswith("requestid") or name == "x-amz-request-id" for name in headers)
    assert (b"<Code>Refused</Code>" in body) is (request_of != "HeadBucket")
    assert request_of in S3 | IAM | STS


def test_every_request_of_a_claims_life_has_a_name() -> None:
    with in_memory_aws() as aws:
        request = request_for(kmsKeyId="1234abcd-12ab-34cd-56ef-1234567890ab", versioning="true")
        answer, _ = aws.bind(request)
        aws.provisioner.delete(builders.recorded(answer, request))
        for each in aws.s3.requests:
            method, _, rest = each.partition(" ")
            bucket, _, query = rest.partition("?")
            host = f"{bucket}.s3.eu-central-1.amazonaws.com" if bucket else "s3.eu-central-1.amazonaws.com"
            assert request_name(method, "/", query, {"Host": host}, b"") in S3, each
        assert set(aws.iam.actions) <= IAM | STS
