"""S3 as AWS has it in several regions and accounts, in memory: what no emulator does.

Answers what connections to AWS's hosts send (see `testkit.resilience.wire`); those to other hosts, such as IAM's of a
test, lead where they would. Has what a claim's bucket is made, found, filled and removed with. Each behaviour names its
source.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from testkit.aws_s3.fake_iam import Answer, FakeIam
from testkit.aws_s3.fake_objects import Locked, Objects, keys_xml, uploads_xml, versions_xml
from testkit.resilience.proxy import Instead
from testkit.resilience.wire import Wire, wired
from testkit.sigv4 import access_key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from testkit.resilience.proxy import Request

HOSTS = ".amazonaws.com"
OWN = "000000000000"
_REQUEST_ID = "4442587FB7D0A2F9"
_HOST = re.compile(r"(?:(?P<bucket>[a-z0-9.-]+)\.)?s3\.(?P<region>[a-z0-9-]+)\.amazonaws\.com")
_DEFAULT_ENCRYPTION = (
    "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
    "</ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled><BlockedEncryptionTypes>"
    "<EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>"
)
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
        encryption: its configuration as XML; "" for AWS's default, which is told as well. Source:
            https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketEncryption.html.
        has_replication: it keeps its versions, and can't stop to. Source:
            https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-requirements.html.
        is_open: its policy lets every account do everything.
        versioning: `Enabled`, `Suspended`, or "" for a bucket that never kept versions.
        policy: its policy as JSON; "" for none, and it permits nothing to nobody here.
        lifecycle: its rules as XML; "" for none.
        has_lock: whether its objects can be locked.
        tagging_refused_with: the code for PutBucketTagging; "" where it takes that. One with attribute-based access
            control takes TagResource only, by https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketAbac.html,
            which names no code: row 23 of `docs/first-hour-on-aws.md` asks AWS.
        hides_tags: whether its policy denies s3:GetBucketTagging. Source:
            https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketTagging.html (it needs the permission).
        key_refused_with: the code of KMS for its key; "" where that can be used.
        objects: in it.
    """

    region: str
    account: str = OWN
    tags: dict[str, str] = field(default_factory=dict)
    unknown_for: int = 0
    encryption: str = ""
    has_replication: bool = False
    is_open: bool = False
    versioning: str = ""
    policy: str = ""
    lifecycle: str = ""
    has_lock: bool = False
    tagging_refused_with: str = ""
    hides_tags: bool = False
    key_refused_with: str = ""
    objects: Objects = field(default_factory=Objects)


class RegionalS3:
    """All of AWS's S3.

    Attributes:
        buckets: by name, which all accounts and regions share.
        takes_tags: whether CreateBucket does. Source: https://github.com/hashicorp/terraform-provider-aws/issues/45684.
        tags_refused_with: the code of that refusal.
        is_slow: `Bucket.unknown_for` of new buckets.
        replaces_tags: whether CreateBucket in us-east-1 replaces the tags of a bucket that the account has. Row 6 of
            `docs/first-hour-on-aws.md` asks AWS.
        wants_pages: whether ListBuckets is refused without a page size, as for an account with a quota of more than
            10,000 buckets. Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/BucketRestrictions.html.
        lists_buckets: whether the administrator has the permission `s3:ListAllMyBuckets`.
        requests: "METHOD bucket?query" of each.
        iam: the account's IAM and STS. A key that it made may list what its user's policy says; any other key is an
            administrator's.
    """

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.iam = FakeIam(OWN, clock)
        self._lock = Lock()
        self.buckets: dict[str, Bucket] = {}
        self.takes_tags = True
        self.tags_refused_with = "UnsupportedArgument"
        self.is_slow = 0
        self.replaces_tags = False
        self.wants_pages = True
        self.lists_buckets = True
        self._forgotten: dict[str, int] = {}
        self.requests: list[str] = []

    def answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Status, headers and body; headers of the request by name in lower case."""
        with self._lock:
            service = urlsplit(url).netloc.partition(".")[0]
            if service == "iam" or (service == "sts" and not self.iam.sts_is_away):
                return self.iam.answer(body, access_key_of(headers))
            if service == "sts":
                raise ConnectionError("STS is out of reach")
            status, told, text = self._answer(method, url, headers, body)
            return status, {"x-amz-request-id": _REQUEST_ID, **told}, text

    def _answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        parts = urlsplit(url)
        host = _HOST.fullmatch(parts.netloc)
        assert host is not None
        query = parse_qs(parts.query, keep_blank_values=True)
        self.requests.append(f"{method} {host['bucket'] or ''}?{parts.query}")
        if host["bucket"] is None:
            return self._list(query, host["region"])
        is_object = len(parts.path) > 1
        if method == "PUT" and not query and not is_object:
            return self._create(host["bucket"], host["region"], body)
        expected = headers.get("x-amz-expected-bucket-owner", "")
        named = unquote(parts.path[1:])
        refusal = self._refusal(host["bucket"], host["region"], access_key_of(headers), expected, named)
        if is_object:
            return refusal or _on_object(self.buckets[host["bucket"]], method, named, query, body)
        return refusal or self._on_bucket(method, host["bucket"], query, body)

    def _list(self, query: dict[str, list[str]], region: str) -> Answer:
        """In pages, and by region only at an endpoint of that region.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html.
        """
        if not self.lists_buckets:
            return _refused(403, "AccessDenied")
        if self.wants_pages and "max-buckets" not in query:
            return _refused(400, "InvalidRequest")
        prefix = query.get("prefix", [""])[0]
        wanted = query.get("bucket-region", [""])[0]
        if wanted not in {"", region}:
            return _refused(400, "InvalidRequest")
        after = query.get("continuation-token", [""])[0]
        names = [
            name
            for name, one in sorted(self.buckets.items())
            if one.account == OWN and name.startswith(prefix) and name > after and wanted in {"", one.region}
        ]
        page = names[: int(query.get("max-buckets", ["10000"])[0])]
        token = f"<ContinuationToken>{page[-1]}</ContinuationToken>" if len(page) < len(names) else ""
        found = "".join(f"<Bucket><Name>{name}</Name></Bucket>" for name in page)
        return 200, {}, f"<ListAllMyBucketsResult><Buckets>{found}</Buckets>{token}</ListAllMyBucketsResult>"

    def _create(self, name: str, region: str, body: bytes) -> Answer:
        root = ET.fromstring(body) if body else None
        found = [] if root is None else root.findall(f"{_NS}Tags/{_NS}Tag")
        location = "" if root is None else root.findtext(f"{_NS}LocationConstraint", "")
        if found and not self.takes_tags:
            return _refused(400, self.tags_refused_with)
        if location != ("" if region == "us-east-1" else region):
            return _refused(400, "IllegalLocationConstraintException")
        there = self.buckets.get(name)
        if there is not None:
            # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html: BucketAlreadyOwnedByYou.
            is_own = there.account == OWN
            if is_own and region == there.region == "us-east-1":
                there.tags = _tags_in(found) if self.replaces_tags else there.tags
                return 200, {}, ""
            return _refused(409, "BucketAlreadyOwnedByYou" if is_own else "BucketAlreadyExists")
        self.buckets[name] = Bucket(region=region, tags=_tags_in(found), unknown_for=self.is_slow)
        return 200, {}, ""

    def _refusal(self, name: str, region: str, key: str, expected_owner: str, object_key: str) -> Answer | None:
        bucket = self.buckets.get(name)
        if self._is_forgotten(name):
            return _refused(404, "NoSuchBucket")
        if bucket is not None and bucket.unknown_for:
            bucket.unknown_for -= 1
            bucket = None
        if bucket is None:
            return _refused(404, "NoSuchBucket")
        if bucket.region != region:
            # Before any permission is read: https://github.com/aws/aws-cli/issues/2431
            return _refused(301, "PermanentRedirect", {"x-amz-bucket-region": bucket.region})
        if bucket.account != OWN and not bucket.is_open:
            return _refused(403, "AccessDenied")
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
        if expected_owner not in {"", bucket.account}:
            return _refused(403, "AccessDenied")
        if not self.iam.has_made(key):
            return None
        # All that a claim's key is used for is to list its bucket, and to write an object.
        action = "s3:PutObject" if object_key else "s3:ListBucket"
        code = self.iam.refuses(key, name, bucket.account, action=action, object_key=object_key)
        return _refused(403, code) if code else None

    def forget(self, name: str, *, after: int) -> None:
        """A bucket is not found once, after so many requests for it that find it; see `Bucket.unknown_for`."""
        self._forgotten[name] = after

    def _is_forgotten(self, name: str) -> bool:
        left = self._forgotten.pop(name, None)
        if left:
            self._forgotten[name] = left - 1
        return left == 0

    def _on_bucket(self, method: str, name: str, query: dict[str, list[str]], body: bytes) -> Answer:
        if method == "DELETE" and not query:
            if not self.buckets[name].objects.is_empty:
                return _refused(409, "BucketNotEmpty")
            del self.buckets[name]
            return 204, {}, ""
        return _on_own(self.buckets[name], method, query, body)


def _on_own(bucket: Bucket, method: str, query: dict[str, list[str]], body: bytes) -> Answer:
    if "tagging" in query and method == "PUT" and bucket.tagging_refused_with:
        return _refused(403, bucket.tagging_refused_with)
    if "tagging" in query and method == "PUT":
        bucket.tags = _tags_in(ET.fromstring(body).findall(f"{_NS}TagSet/{_NS}Tag"))
        return 204, {}, ""
    if "tagging" in query and bucket.hides_tags:
        return _refused(403, "AccessDenied")
    if "tagging" in query:
        if not bucket.tags:
            return _refused(404, "NoSuchTagSet")
        found = "".join(f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in bucket.tags.items())
        return 200, {}, f"<Tagging><TagSet>{found}</TagSet></Tagging>"
    if {"encryption", "versioning", "policy", "lifecycle"} & query.keys():
        return _on_settings(bucket, method, query, body)
    if "object-lock" in query:
        return _on_lock(bucket)
    if "delete" in query:
        return _delete_objects(bucket, body)
    listing = _listing(bucket.objects, query)
    if listing:
        return 200, {}, listing
    return (200, {}, "") if method == "HEAD" else _refused(501, "NotImplemented")


def _tags_in(found: Iterable[ET.Element]) -> dict[str, str]:
    return {tag.findtext(f"{_NS}Key", ""): tag.findtext(f"{_NS}Value", "") for tag in found}


def _listing(objects: Objects, query: dict[str, list[str]]) -> str:
    given = {name: values[0] for name, values in query.items()}
    limit = int(given.get("max-keys", given.get("max-uploads", 1000)))
    if "versions" in given:
        return versions_xml(objects, limit, (given.get("key-marker", ""), given.get("version-id-marker", "")))
    if "uploads" in given:
        return uploads_xml(objects, limit)
    return keys_xml(objects, given.get("prefix", ""), limit) if "list-type" in given else ""


def _delete_objects(bucket: Bucket, body: bytes) -> Answer:
    """Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html; of locked versions,
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html#object-lock-managing-delete-markers.
    """
    errors = ""
    for each in ET.fromstring(body).findall(f"{_NS}Object"):
        key, version = each.findtext(f"{_NS}Key", ""), each.findtext(f"{_NS}VersionId", "")
        if not version:
            keeps_versions = bucket.versioning == "Enabled"
            bucket.objects.delete(key, has_versions=bool(bucket.versioning), keeps_versions=keeps_versions)
            continue
        try:
            bucket.objects.delete_version(key, version)
        except Locked:
            errors += (
                f"<Error><Key>{escape(key)}</Key><VersionId>{version}</VersionId><Code>AccessDenied</Code></Error>"
            )
    return 200, {}, f"<DeleteResult>{errors}</DeleteResult>"


def _on_lock(bucket: Bucket) -> Answer:
    if not bucket.has_lock:
        return _refused(404, "ObjectLockConfigurationNotFoundError")
    return 200, {}, "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"


def _put_object(bucket: Bucket, key: str, body: bytes) -> Answer:
    """Encrypts with the bucket's key, which it has not looked at before.

    Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketEncryption.html ("doesn't validate the KMS key
    ID"), https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html.
    """
    if bucket.key_refused_with:
        return _refused(403 if bucket.key_refused_with == "AccessDenied" else 400, bucket.key_refused_with)
    keeps_versions = bucket.versioning == "Enabled"
    made = bucket.objects.put(key, body, keeps_versions=keeps_versions)
    return 200, ({"x-amz-version-id": made.id} if keeps_versions else {}), ""


def _on_object(bucket: Bucket, method: str, key: str, query: dict[str, list[str]], body: bytes) -> Answer:
    given = {name: values[0] for name, values in query.items()}
    found = bucket.objects.find(key, given.get("versionId", ""))
    if "uploadId" in given and method == "DELETE":
        is_there = bucket.objects.uploads.pop(given["uploadId"], None) is not None
        return (204, {}, "") if is_there else _refused(404, "NoSuchUpload")
    if method == "PUT":
        return _put_object(bucket, key, body)
    if "versionId" in given and method == "DELETE":
        bucket.objects.delete_version(key, given["versionId"])
        return 204, {}, ""
    if found is None:
        return _refused(404, "NoSuchVersion")
    if "retention" in given:
        return _refused(404, "NoSuchObjectLockConfiguration")
    if "legal-hold" in given:
        status = "ON" if found.is_held else "OFF"
        return 200, {}, f"<LegalHold><Status>{status}</Status></LegalHold>"
    return _refused(501, "NotImplemented")


def _on_settings(bucket: Bucket, method: str, query: dict[str, list[str]], body: bytes) -> Answer:
    is_put = method == "PUT"
    if "encryption" in query and is_put:
        bucket.encryption = body.decode()
        return 200, {}, ""
    if "encryption" in query:
        return 200, {}, bucket.encryption or _DEFAULT_ENCRYPTION
    if "versioning" in query:
        return _on_versioning(bucket, body if is_put else b"")
    return _on_document(bucket, "policy" if "policy" in query else "lifecycle", method, body)


def _on_versioning(bucket: Bucket, body: bytes) -> Answer:
    if body and bucket.has_replication:
        return _refused(409, "InvalidBucketState")
    if body:
        bucket.versioning = ET.fromstring(body).findtext(f"{_NS}Status", "")
        return 200, {}, ""
    found = "Enabled" if bucket.has_replication else bucket.versioning
    status = f"<Status>{found}</Status>" if found else ""
    return 200, {}, f"<VersioningConfiguration>{status}</VersioningConfiguration>"


def _on_document(bucket: Bucket, what: str, method: str, body: bytes) -> Answer:
    """Reads, writes or removes a policy or rules; what is not there can be removed as well."""
    if method == "GET" and not getattr(bucket, what):
        return _refused(404, {"policy": "NoSuchBucketPolicy", "lifecycle": "NoSuchLifecycleConfiguration"}[what])
    if method == "GET":
        return 200, {}, getattr(bucket, what)
    setattr(bucket, what, body.decode())
    return 204, {}, ""


def _refused(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>no</Message><RequestId>{_REQUEST_ID}</RequestId></Error>"
    return status, {"x-amz-request-id": _REQUEST_ID, **(headers or {})}, body


@contextmanager
def regional_s3(
    clock: Callable[[], float] = lambda: 0.0, *, before_answer: Callable[[], None] = lambda: None
) -> Iterator[RegionalS3]:
    """AWS's hosts are answered by a new one until the block ends.

    Args:
        clock: seconds, for all that takes time.
        before_answer: called before each answer, for instance to wait.
    """
    s3 = RegionalS3(clock)
    with answering(s3, hosts=HOSTS, before_answer=before_answer):
        yield s3


@contextmanager
def answering(s3: RegionalS3, *, hosts: str, before_answer: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Connections to hosts whose names end so lead to `s3` until the block ends."""
    wire = Wire(partial(answered, s3), lambda _seconds: before_answer())
    with wired(wire, hosts):
        yield


def answered(s3: RegionalS3, request: Request) -> Instead:
    """The answer of `s3` to a request as a connection has it."""
    url = f"https://{request.headers['host']}{request.target}"
    status, headers, text = s3.answer(request.method, url, request.headers, request.body)
    return Instead(status=status, headers=headers, body=text.encode())
