"""What is sent, to AWS and to stores that are stricter about it: checksums, locations, tags."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.httpsession import URLLib3Session

from aws_s3_provisioner.additions import _KINDS
from aws_s3_provisioner.client import Connector
from aws_s3_provisioner.contents import Contents
from aws_s3_provisioner.parameters import Admin, parse_parameters
from aws_s3_provisioner.sdk_clients import Limits
from aws_s3_provisioner.stamps import Stamps
from aws_s3_provisioner.storage import NewBucket, Storage
from libbucket import SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aws_s3_provisioner.client import Clients

README = Path(__file__).parents[2] / "README.md"
ADMIN = Admin(access_key="AKIA", secret_key=SecretStr("s3cr3t"), token=SecretStr(""))
OTHER = {"s3Endpoint": "https://s3.example.com", "iamEndpoint": "https://s3.example.com"}
AWS = {"region": "eu-west-1"}
PRIVATE = {"region": "eu-west-1", "s3Endpoint": "https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com"}
RULES: Any = {"Rules": [{"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]}
ENCRYPTION: Any = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}
CALLS: dict[str, Callable[[Any], object]] = {
    "tags": lambda s3: s3.put_bucket_tagging(Bucket="b", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]}),
    "versioning": lambda s3: s3.put_bucket_versioning(Bucket="b", VersioningConfiguration={"Status": "Enabled"}),
    "policy": lambda s3: s3.put_bucket_policy(Bucket="b", Policy="{}"),
    "lifecycle": lambda s3: s3.put_bucket_lifecycle_configuration(Bucket="b", LifecycleConfiguration=RULES),
    "encryption": lambda s3: s3.put_bucket_encryption(Bucket="b", ServerSideEncryptionConfiguration=ENCRYPTION),
    "objects": lambda s3: s3.delete_objects(Bucket="b", Delete={"Objects": [{"Key": "k", "VersionId": "1"}]}),
}
# As S3 lists names that XML can't hold: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
LISTED = {
    "versions": b"<ListVersionsResult><EncodingType>url</EncodingType>"
    b"<Version><Key>a%01b</Key><VersionId>1</VersionId></Version>"
    b"<Version><Key>docs%2FIcon%0D</Key><VersionId>2</VersionId></Version>"
    b"<DeleteMarker><Key>a+b%EF%BF%BF</Key><VersionId>3</VersionId></DeleteMarker></ListVersionsResult>",
    "uploads": b"<ListMultipartUploadsResult><EncodingType>url</EncodingType>"
    b"<Upload><Key>c%02+d</Key><UploadId>9</UploadId></Upload></ListMultipartUploadsResult>",
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def _now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def sent(**parameters: str) -> Iterator[tuple[Clients, list[AWSPreparedRequest]]]:
    """Clients whose requests are all answered with success, and the requests."""
    seen: list[AWSPreparedRequest] = []

    def succeed(_: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
        seen.append(request)
        listed = next((body for query, body in LISTED.items() if f"?{query}" in request.url), b"")
        raw = urllib3.HTTPResponse(body=BytesIO(listed), status=200, preload_content=False)
        return AWSResponse(request.url, 200, HTTPHeaders(), raw)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(URLLib3Session, "send", succeed)
        with Connector(Limits(), lambda: None).connect(parse_parameters(parameters), ADMIN) as clients:
            yield clients, seen


def header(request: AWSPreparedRequest, name: str) -> str:
    value: Any = request.headers.get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)


@each_call
def test_another_store_gets_the_checksum_that_all_stores_know(call: Callable[[Any], object]) -> None:
    with sent(**OTHER) as (clients, seen):
        call(clients.s3)
    (request,) = seen
    assert isinstance(request.body, bytes)
    assert header(request, "Content-MD5") == base64.b64encode(hashlib.md5(request.body).digest()).decode()
    assert not [name for name in request.headers if "checksum" in name.lower()]
    signed = header(request, "Authorization")
    assert "content-md5" in signed
    assert "checksum" not in signed


@each_call
@pytest.mark.parametrize("parameters", [AWS, PRIVATE], ids=["public", "private"])
def test_aws_gets_the_checksum_of_the_sdk(call: Callable[[Any], object], parameters: dict[str, str]) -> None:
    with sent(**parameters) as (clients, seen):
        call(clients.s3)
    (request,) = seen
    assert header(request, "x-amz-checksum-crc32")
    assert not header(request, "Content-MD5")


def test_a_request_without_a_body_has_no_checksum() -> None:
    with sent(**OTHER) as (clients, seen):
        clients.s3.list_buckets()
    assert not [name for name in seen[0].headers if "md5" in name.lower() or "checksum" in name.lower()]


@pytest.mark.parametrize(
    ("parameters", "location"),
    [
        (AWS, "eu-west-1"),
        ({"region": "us-east-1"}, ""),
        ({}, "us-west-1"),
        (PRIVATE, "eu-west-1"),
        (OTHER, ""),
        ({**OTHER, "region": " "}, ""),
        ({**OTHER, "region": "zone-2"}, "zone-2"),
        ({**OTHER, "region": "us-east-1"}, ""),
    ],
)
def test_a_bucket_has_a_location_where_the_store_knows_it(parameters: dict[str, str], location: str) -> None:
    assert parse_parameters(parameters).location == location


@pytest.mark.parametrize(
    ("location", "tags", "body"),
    [
        ("", {}, ""),
        ("zone-2", {}, "<LocationConstraint>zone-2</LocationConstraint>"),
        ("", {"k": "v"}, "<Tags><Tag><Key>k</Key><Value>v</Value></Tag></Tags>"),
    ],
)
def test_a_request_for_a_bucket_says_nothing_that_is_empty(location: str, tags: dict[str, str], body: str) -> None:
    # Ceph RGW refuses a body without LocationConstraint (RGWCreateBucketParser), and Garage any other element.
    with sent(**OTHER) as (clients, seen):
        new = NewBucket(location=location, tags=tags, object_ownership="")
        Storage(clients=clients, stamps=Stamps(clients)).create("b", new)
    written = seen[0].body or b""
    assert isinstance(written, bytes)
    assert body in written.decode()
    assert bool(body) == bool(written)


def test_names_that_xml_can_not_hold_are_removed_one_by_one() -> None:
    with sent(**OTHER) as (clients, seen):
        assert next(Contents(clients=clients, now=_now, stamps=Stamps(clients)).purge("b")) == 4
    asked = [f"{request.method} {request.url.removeprefix('https://s3.example.com')}" for request in seen]
    assert [each.partition("?")[2].partition("&")[0] for each in asked[:2]] == ["versions", "uploads"]
    assert asked[2:4] == ["POST /b?delete", "DELETE /b/a%01b?versionId=1"]
    assert asked[4] == "DELETE /b/a%20b%EF%BF%BF?versionId=3"
    assert asked[-1] == "DELETE /b/c%02%20d?uploadId=9"
    batch = seen[2].body
    assert isinstance(batch, bytes)
    assert [each.text for each in ET.fromstring(batch).iter() if each.tag.endswith("Key")] == ["docs/Icon\r"]


def test_the_optional_permissions_of_the_readme_are_those_for_what_others_add() -> None:
    blocks = re.findall("```json\n(.*?)```", README.read_text(), re.DOTALL)
    usual, _boundary, optional = ({a for s in json.loads(each)["Statement"] for a in s["Action"]} for each in blocks)
    assert {each for kind in _KINDS for each in (kind.listing, kind.removal)} - usual == optional
