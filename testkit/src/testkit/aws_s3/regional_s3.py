"""S3 as AWS has it in several regions and accounts, in memory: what no server that stands in for it does.

Answers requests of the SDK for hosts of AWS's; those for other hosts, such as IAM's of a test, go where they would. Has
what a claim's bucket is made, found and removed with, and no objects. Each behaviour names its source.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

import pytest
import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.httpsession import URLLib3Session

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = "000000000000"
_HOST = re.compile(r"(?:(?P<bucket>[a-z0-9.-]+)\.)?s3\.(?P<region>[a-z0-9-]+)\.amazonaws\.com")
_NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass(kw_only=True)
class Bucket:
    """One bucket.

    Attributes:
        region: where it is.
        account: whose it is.
        tags: on it.
        unknown_for: how many requests are still answered as if it were not there: the part of S3 that is asked has not
            heard of it. Source: https://github.com/hashicorp/terraform-provider-aws/issues/10068.
    """

    region: str
    account: str = OWN
    tags: dict[str, str] = field(default_factory=dict)
    unknown_for: int = 0


class RegionalS3:
    """All of AWS's S3.

    Attributes:
        buckets: by name, which all accounts and regions share.
        takes_tags: whether CreateBucket does. Source: https://github.com/hashicorp/terraform-provider-aws/issues/45684.
        is_slow: `Bucket.unknown_for` of new buckets.
        wants_pages: whether ListBuckets is refused without a page size, as for an account with a quota of more than
            10,000 buckets. Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/BucketRestrictions.html.
        requests: "METHOD bucket?query" of each.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.takes_tags = True
        self.is_slow = 0
        self.wants_pages = True
        self.requests: list[str] = []

    def answer(self, method: str, url: str, body: bytes) -> tuple[int, dict[str, str], str]:
        """Status, headers and body."""
        parts = urlsplit(url)
        host = _HOST.fullmatch(parts.netloc)
        assert host is not None
        query = parse_qs(parts.query, keep_blank_values=True)
        self.requests.append(f"{method} {host['bucket'] or ''}?{parts.query}")
        if host["bucket"] is None:
            return self._list(query)
        if method == "PUT" and not query:
            return self._create(host["bucket"], host["region"], body)
        return self._on_bucket(method, host["bucket"], host["region"], query, body)

    def _list(self, query: dict[str, list[str]]) -> tuple[int, dict[str, str], str]:
        if self.wants_pages and "max-buckets" not in query:
            return _refused(400, "InvalidRequest")
        prefix = query.get("prefix", [""])[0]
        names = [n for n, one in sorted(self.buckets.items()) if one.account == OWN and n.startswith(prefix)]
        found = "".join(f"<Bucket><Name>{name}</Name></Bucket>" for name in names)
        return 200, {}, f"<ListAllMyBucketsResult><Buckets>{found}</Buckets></ListAllMyBucketsResult>"

    def _create(self, name: str, region: str, body: bytes) -> tuple[int, dict[str, str], str]:
        root = ET.fromstring(body) if body else None
        found = [] if root is None else root.findall(f"{_NS}Tags/{_NS}Tag")
        location = "" if root is None else root.findtext(f"{_NS}LocationConstraint", "")
        if found and not self.takes_tags:
            return _refused(400, "UnsupportedArgument")
        if location != ("" if region == "us-east-1" else region):
            return _refused(400, "IllegalLocationConstraintException")
        there = self.buckets.get(name)
        if there is not None:
            # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html: BucketAlreadyOwnedByYou.
            is_own = there.account == OWN
            if is_own and region == there.region == "us-east-1":
                return 200, {}, ""
            return _refused(409, "BucketAlreadyOwnedByYou" if is_own else "BucketAlreadyExists")
        tags = {tag.findtext(f"{_NS}Key", ""): tag.findtext(f"{_NS}Value", "") for tag in found}
        self.buckets[name] = Bucket(region=region, tags=tags, unknown_for=self.is_slow)
        return 200, {}, ""

    def _on_bucket(
        self, method: str, name: str, region: str, query: dict[str, list[str]], body: bytes
    ) -> tuple[int, dict[str, str], str]:
        bucket = self.buckets.get(name)
        if bucket is not None and bucket.unknown_for:
            bucket.unknown_for -= 1
            bucket = None
        if bucket is None:
            return _refused(404, "NoSuchBucket")
        if bucket.region != region:
            # Before any permission is looked at: https://github.com/aws/aws-cli/issues/2431
            return _refused(301, "PermanentRedirect", {"x-amz-bucket-region": bucket.region})
        if bucket.account != OWN:
            return _refused(403, "AccessDenied")
        if method == "DELETE":
            del self.buckets[name]
            return 204, {}, ""
        return _on_own(bucket, method, query, body)


def _on_own(bucket: Bucket, method: str, query: dict[str, list[str]], body: bytes) -> tuple[int, dict[str, str], str]:
    if "tagging" in query and method == "PUT":
        tags = ET.fromstring(body).findall(f"{_NS}TagSet/{_NS}Tag")
        bucket.tags = {tag.findtext(f"{_NS}Key", ""): tag.findtext(f"{_NS}Value", "") for tag in tags}
        return 204, {}, ""
    if "tagging" in query:
        if not bucket.tags:
            return _refused(404, "NoSuchTagSet")
        found = "".join(f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in bucket.tags.items())
        return 200, {}, f"<Tagging><TagSet>{found}</TagSet></Tagging>"
    if "object-lock" in query:
        return _refused(404, "ObjectLockConfigurationNotFoundError")
    for asked, root in (
        ("versions", "ListVersionsResult"),
        ("uploads", "ListMultipartUploadsResult"),
        ("list-type", "ListBucketResult"),
    ):
        if asked in query:
            return 200, {}, f"<{root}><IsTruncated>false</IsTruncated></{root}>"
    return (200, {}, "") if method == "HEAD" else _refused(501, "NotImplemented")


def _refused(status: int, code: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], str]:
    body = f"<Error><Code>{code}</Code><Message>no</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>"
    return status, {"x-amz-request-id": "4442587FB7D0A2F9", **(headers or {})}, body


@contextmanager
def regional_s3() -> Iterator[RegionalS3]:
    """AWS's hosts are answered by a new one until the block ends."""
    s3, send = RegionalS3(), URLLib3Session.send

    def sent(self: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
        if not urlsplit(request.url).netloc.endswith(".amazonaws.com"):
            return send(self, request)
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        assert isinstance(body, bytes)
        status, told, text = s3.answer(request.method, request.url, body)
        headers = HTTPHeaders()
        for name, value in told.items():
            headers[name] = value
        content = BytesIO(b"" if request.method == "HEAD" else text.encode())
        raw = urllib3.HTTPResponse(body=content, status=status, preload_content=False)
        return AWSResponse(request.url, status, headers, raw)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(URLLib3Session, "send", sent)
        yield s3
