"""Stores that speak S3 and are no AWS, in memory: what each refuses, as its own documentation or source has it.

Variants of `RegionalS3`, for stores that can't run in tests. A store is never kinder here than its page says: what a
dialect does not name is answered as AWS does.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.etree import ElementTree as ET

import pytest

from testkit.aws_s3.fake_iam import FakeIam
from testkit.aws_s3.regional_s3 import OWN, Bucket, RegionalS3, answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from testkit.aws_s3.fake_iam import Answer

S3_URL: Final = "https://s3.store.test"
IAM_URL: Final = "https://iam.store.test"
_NS: Final = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_REGION: Final = "us-east-1"


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How one store differs from AWS.

    Attributes:
        name: of the store.
        source: the page that says so.
        unimplemented: parameters in the query of requests about buckets that are answered with `NotImplemented`.
        locations: what a LocationConstraint may say; a request without one is accepted.
        wants_location: a body of CreateBucket must have one, and nothing else.
        no_tags: code for a bucket without tags.
        wants_md5: whether what has a checksum at AWS must have `Content-MD5` in place of any newer one.
        iam: its IAM API; None for none.
    """

    name: str
    source: str
    unimplemented: frozenset[str] = frozenset()
    locations: frozenset[str] = frozenset()
    wants_location: bool = False
    no_tags: str = "NoSuchTagSet"
    wants_md5: bool = False
    iam: type[FakeIam] | None = None


class TaglessIam(FakeIam):
    """RGW's IAM: it reads no tags and no permissions boundary, and has no request for either.

    Source: src/rgw/rgw_rest_iam.cc and rgw_rest_iam_user.cc of github.com/ceph/ceph; an unknown action is a POST to
    S3, which that has not.
    """

    _UNKNOWN: Final = frozenset(
        {
            "ListUserTags",
            "TagUser",
            "UntagUser",
            "PutUserPermissionsBoundary",
            "GetLoginProfile",
            "ListMFADevices",
            "ListSSHPublicKeys",
            "ListServiceSpecificCredentials",
            "ListSigningCertificates",
        }
    )

    def answer(self, body: bytes, caller: str = "") -> Answer:
        given = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if given["Action"] in self._UNKNOWN:
            return _refused(405, "MethodNotAllowed")
        return super().answer(body, caller)

    def _create_user(self, given: dict[str, str]) -> str:
        return super()._create_user({name: given[name] for name in ("UserName", "Path") if name in given})


class LateTagsIam(FakeIam):
    """SeaweedFS's IAM: it reads no tags and no path when a user is made, takes tags afterwards, and lists them apart.

    Source: weed/s3api/s3api_embedded_iam.go of github.com/seaweedfs/seaweedfs, `CreateUser`, `TagUser`, `GetUser`.
    """

    def _actions(self) -> dict[str, Callable[[dict[str, str]], str]]:
        return {**super()._actions(), "GetUser": self._get_bare_user, "ListUserTags": self._list_tags}

    def _get_policy(self, given: dict[str, str]) -> str:
        """A list of one as its element: weed/s3api/policy_engine, `StringOrStringSlice`."""
        policies = self._user(given).policies
        written = {name: (since, _unlisted(document)) for name, (since, document) in policies.items()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self._user(given), "policies", written)
            return super()._get_policy(given)

    def _get_bare_user(self, given: dict[str, str]) -> str:
        return re.sub("<Tags>.*</Tags>|<UserId>.*</UserId>", "", self._get_user(given))

    def _list_tags(self, given: dict[str, str]) -> str:
        tags = self._user(given).tags.items()
        found = "".join(f"<member><Key>{key}</Key><Value>{value}</Value></member>" for key, value in tags)
        return f"<Tags>{found}</Tags><IsTruncated>false</IsTruncated>"

    def _create_user(self, given: dict[str, str]) -> str:
        super()._create_user({"UserName": given["UserName"], "Path": "/"})
        return self._get_bare_user(given)


R2: Final = Dialect(
    name="Cloudflare R2",
    source="https://developers.cloudflare.com/r2/api/s3/api/",
    unimplemented=frozenset({"tagging", "versions", "versioning", "object-lock", "policy", "acl", "ownershipControls"}),
    locations=frozenset({"auto", "us-east-1"}),
)
GARAGE: Final = Dialect(
    name="Garage",
    source="https://garagehq.deuxfleurs.fr/documentation/reference-manual/s3-compatibility/",
    unimplemented=frozenset({"tagging", "versions", "object-lock", "policy", "acl", "encryption", "ownershipControls"}),
    locations=frozenset({"garage"}),
    wants_location=True,
)
RGW: Final = Dialect(
    name="Ceph RGW",
    source="https://docs.ceph.com/en/latest/radosgw/iam/",
    locations=frozenset({"default"}),
    wants_location=True,
    iam=TaglessIam,
)
CLOUDIAN: Final = Dialect(
    name="Cloudian HyperStore",
    source="https://github.com/hashicorp/terraform-provider-aws/issues/36714",
    locations=frozenset({"region1"}),
    no_tags="ERROR_NO_SUCH_BUCKET_TAGSET",
)
SEAWEEDFS: Final = Dialect(
    name="SeaweedFS",
    source="https://github.com/seaweedfs/seaweedfs/wiki/Amazon-S3-API",
    locations=frozenset({"us-west-2"}),
    iam=LateTagsIam,
)
OVH: Final = Dialect(
    name="OVHcloud",
    source="https://github.com/ovh/public-cloud-roadmap/issues/763",
    locations=frozenset({"gra"}),
    wants_md5=True,
)


class CompatibleS3(RegionalS3):
    """One store with one account.

    Args:
        dialect: how it differs.
        clock: see `RegionalS3`.
    """

    def __init__(self, dialect: Dialect, clock: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__(clock)
        self.dialect = dialect
        self.takes_tags = False
        self.tags_refused_with = "MalformedXML"
        self.wants_pages = False
        self.iam = (dialect.iam or FakeIam)(OWN, clock)

    def answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        parts = urlsplit(url)
        if url.startswith(IAM_URL):
            assert self.dialect.iam is not None
            return super().answer(method, url, headers, body)
        bucket, _, key = unquote(parts.path[1:]).partition("/")
        query = parse_qs(parts.query, keep_blank_values=True)
        refusal = self._refusal_by_dialect(method, bucket, query, headers)
        if refusal is not None:
            self.requests.append(f"{method} {bucket}?{parts.query}")
            return refusal
        if key and not query and bucket in self.buckets:
            return self._on_plain_object(self.buckets[bucket], method, key, body)
        host = f"{bucket}.s3.{_REGION}.amazonaws.com" if bucket else f"s3.{_REGION}.amazonaws.com"
        return super().answer(method, f"https://{host}/{quote(key)}?{parts.query}", headers, body)

    def _refusal_by_dialect(
        self, method: str, bucket: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> Answer | None:
        if bucket and self.dialect.unimplemented & query.keys():
            return _refused(501, "NotImplemented")
        names = {name.lower() for name in headers}
        has_checksum = any(name.startswith("x-amz-checksum-") for name in names)
        needs_one = method in {"PUT", "POST"} and {"delete", "tagging", "lifecycle", "policy"} & query.keys()
        if self.dialect.wants_md5 and needs_one and (has_checksum or "content-md5" not in names):
            return _refused(400, "InvalidRequest")
        if "tagging" in query and method == "GET" and bucket in self.buckets and not self.buckets[bucket].tags:
            return _refused(404, self.dialect.no_tags)
        return None

    def _create(self, name: str, region: str, body: bytes) -> Answer:
        location = ET.fromstring(body).findtext(f"{_NS}LocationConstraint", "") if body else ""
        if body and self.dialect.wants_location and len(ET.fromstring(body)) != 1:
            return _refused(400, "MalformedXML")
        if body and self.dialect.wants_location and not location:
            return _refused(400, "InvalidLocationConstraint")
        if location and location not in self.dialect.locations:
            return _refused(400, "InvalidLocationConstraint")
        # A namesake of the account's own is no error: https://docs.ceph.com/en/latest/radosgw/s3/bucketops/#put-bucket.
        return super()._create(name, region, b"")

    def _on_plain_object(self, bucket: Bucket, method: str, key: str, body: bytes) -> Answer:
        """Whole objects, as AWS has them: the provisioner asks for none but its stamp."""
        if method == "PUT":
            bucket.objects.put(key, body, keeps_versions=False)
            return 200, {}, ""
        if method == "DELETE":
            bucket.objects.delete(key, has_versions=False, keeps_versions=False)
            return 204, {}, ""
        found = bucket.objects.get(key)
        return _refused(404, "NoSuchKey") if found is None else (200, {}, found.decode())


@contextmanager
def compatible_s3(dialect: Dialect, clock: Callable[[], float] = lambda: 0.0) -> Iterator[CompatibleS3]:
    """The hosts of a store with this dialect are answered by a new one until the block ends."""
    s3 = CompatibleS3(dialect, clock)
    with answering(s3, hosts=".store.test"):
        yield s3


def _unlisted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unlisted(each) for name, each in value.items()}
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    return [_unlisted(each) for each in value] if isinstance(value, list) else value


def _refused(status: int, code: str) -> Answer:
    return status, {}, f"<Error><Code>{code}</Code><Message>no</Message></Error>"
