"""What is sent, to AWS and to stores that are stricter about it: checksums, locations, tags."""

from __future__ import annotations

import base64
import hashlib
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.httpsession import URLLib3Session

from aws_s3_provisioner.client import Connector, Limits
from aws_s3_provisioner.parameters import Admin, parse_parameters
from aws_s3_provisioner.storage import NewBucket, Storage
from libbucket import SecretStr
from libbucket.provisioner import no_fence, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aws_s3_provisioner.client import Clients

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
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@contextmanager
def sent(**parameters: str) -> Iterator[tuple[Clients, list[AWSPreparedRequest]]]:
    """Clients whose requests are all answered with success, and the requests."""
    seen: list[AWSPreparedRequest] = []

    def succeed(_: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
        seen.append(request)
        raw = urllib3.HTTPResponse(body=BytesIO(b""), status=200, preload_content=False)
        return AWSResponse(request.url, 200, HTTPHeaders(), raw)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(URLLib3Session, "send", succeed)
        with Connector(Limits(), no_fence).connect(parse_parameters(parameters), ADMIN) as clients:
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
        Storage(clients=clients, now=utc_now).create("b", NewBucket(location=location, tags=tags, object_ownership=""))
    written = seen[0].body or b""
    assert isinstance(written, bytes)
    assert body in written.decode()
    assert bool(body) == bool(written)
