"""Containers of the fake: metadata, access policies, leases and blobs, as the REST reference describes them.

Pure but for ids: knows no request and no credentials.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_POLICIES: Final = 5
"""Per container: "Define a stored access policy"."""
LONGEST_ID: Final = 64
"""Characters of a policy's id: "Set Container ACL"."""
INFINITE: Final = -1
DURATIONS: Final = range(15, 61)
"""Seconds of a lease, unless it has no end: "Lease Container"."""


class Refusal(Exception):
    """An error of the service.

    Attributes:
        code: such as `ContainerNotFound`.
        status: of HTTP.
        details: further elements of the body.
    """

    def __init__(self, code: str, status: int, **details: str) -> None:
        super().__init__(code)
        self.code, self.status, self.details = code, status, details


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A stored access policy, in the texts in which it was written; "" for what it does not say."""

    start: str = ""
    expiry: str = ""
    permission: str = ""


@dataclass(kw_only=True)
class Lease:
    """The lease of a container: "Lease Container", table of states.

    Attributes:
        id: of the holder; "" where nobody has ever held it.
        ends: when it ends; None without end.
        is_broken: its holder, or an administrator, has broken it.
    """

    id: str = ""
    ends: datetime | None = None
    is_broken: bool = False

    def state(self, now: datetime) -> str:
        """`available`, `leased`, `expired` or `broken`."""
        if not self.id:
            return "available"
        if self.is_broken:
            return "broken"
        return "leased" if self.ends is None or now < self.ends else "expired"

    def acquire(self, wanted: str, seconds: int, now: datetime) -> str:
        """A new lease; the holder may acquire its own again."""
        if seconds != INFINITE and seconds not in DURATIONS:
            raise Refusal("InvalidHeaderValue", 400, HeaderName="x-ms-lease-duration", HeaderValue=str(seconds))
        if self.state(now) == "leased" and wanted != self.id:
            raise Refusal("LeaseAlreadyPresent", 409)
        self.id, self.is_broken = wanted or str(uuid.uuid4()), False
        self.ends = None if seconds == INFINITE else now + timedelta(seconds=seconds)
        return self.id

    def release(self, held: str) -> None:
        """The lease is free at once, for its holder only."""
        if not self.id or held != self.id:
            raise Refusal("LeaseIdMismatchWithLeaseOperation", 409)
        self.id, self.ends, self.is_broken = "", None, False

    def break_now(self, now: datetime) -> None:
        """As a break with a period of 0."""
        if self.state(now) == "available":
            raise Refusal("LeaseNotPresentWithLeaseOperation", 409)
        self.is_broken = True

    def check(self, given: str, now: datetime, *, deletes: bool) -> None:
        """Whether an operation may go on: only a deletion needs the lease, but one that is named has to be held."""
        is_leased = self.state(now) == "leased"
        if given and not is_leased:
            raise Refusal("LeaseNotPresentWithContainerOperation", 412)
        if given and given != self.id:
            raise Refusal("LeaseIdMismatchWithContainerOperation", 412)
        if deletes and is_leased and not given:
            raise Refusal("LeaseIdMissing", 412)


@dataclass(kw_only=True)
class Container:
    """One container.

    Attributes:
        metadata: as it is written there.
        modified: when it was last changed, blobs aside, in whole seconds.
        public_access: "" for a private one.
        policies: by id, in their order.
        blobs: their data.
        uncommitted: names of blobs that have blocks, and were never committed.
        encryption: headers that name the scope of new blobs: "Create Container".
    """

    metadata: dict[str, str]
    modified: datetime
    public_access: str = ""
    policies: dict[str, Policy] = field(default_factory=dict)
    lease: Lease = field(default_factory=Lease)
    blobs: dict[str, bytes] = field(default_factory=dict)
    uncommitted: set[str] = field(default_factory=set)
    encryption: dict[str, str] = field(default_factory=dict)

    def names(self, prefix: str, *, with_uncommitted: bool) -> list[str]:
        """Names of a listing, in its order."""
        found = set(self.blobs) | (self.uncommitted if with_uncommitted else set())
        return sorted(name for name in found if name.startswith(prefix))


def parse_policies(body: bytes) -> dict[str, Policy]:
    """What "Set Container ACL" is sent; no body for no policies."""
    if not body.strip():
        return {}
    try:
        root = ET.fromstring(body)
    except ET.ParseError as error:
        raise Refusal("InvalidXmlDocument", 400) from error
    found = {(one.findtext("Id") or ""): _parse_policy(one.find("AccessPolicy")) for one in root}
    is_wrong = any(not name or len(name) > LONGEST_ID for name in found)
    if root.tag != "SignedIdentifiers" or is_wrong or len(found) != len(root) or len(root) > MOST_POLICIES:
        raise Refusal("InvalidXmlDocument", 400)
    return found


def _parse_policy(found: ET.Element | None) -> Policy:
    if found is None:
        return Policy()
    texts = (found.findtext(name) or "" for name in ("Start", "Expiry", "Permission"))
    return Policy(**dict(zip(("start", "expiry", "permission"), texts, strict=True)))


def policies_xml(policies: Mapping[str, Policy]) -> bytes:
    """What "Get Container ACL" answers."""
    root = ET.Element("SignedIdentifiers")
    for name, policy in policies.items():
        one = ET.SubElement(root, "SignedIdentifier")
        ET.SubElement(one, "Id").text = name
        inner = ET.SubElement(one, "AccessPolicy")
        for tag, text in (("Start", policy.start), ("Expiry", policy.expiry), ("Permission", policy.permission)):
            if text:
                ET.SubElement(inner, tag).text = text
    return written(root)


def listing_xml(container: Container, name: str, query: Mapping[str, str]) -> bytes:
    """A page of "List Blobs"; its marker is the name that comes next."""
    found = container.names(query.get("prefix", ""), with_uncommitted="uncommittedblobs" in query.get("include", ""))
    rest = [each for each in found if each >= query.get("marker", "")]
    most = int(query.get("maxresults", "5000"))
    root = ET.Element("EnumerationResults", ContainerName=name)
    blobs = ET.SubElement(root, "Blobs")
    for each in rest[:most]:
        blob = ET.SubElement(blobs, "Blob")
        ET.SubElement(blob, "Name").text = each
        properties = ET.SubElement(blob, "Properties")
        ET.SubElement(properties, "Content-Length").text = str(len(container.blobs.get(each, b"")))
        ET.SubElement(properties, "BlobType").text = "BlockBlob"
    ET.SubElement(root, "NextMarker").text = rest[most] if len(rest) > most else ""
    return written(root)


def written(root: ET.Element) -> bytes:
    """An XML document."""
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text
