"""The operations of the fake: one function for each, named as in the REST reference of Azure Storage.

Takes requests as `front_rules` has them and answers with status, headers and body. Settings of the account that azurite
does not have are those of `front_rules`.
"""

from __future__ import annotations

import base64
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from testkit.azure.error_answers import API_VERSION, Answer, error_answer
from testkit.azure.fake_storage.model import Container, Refusal, listing_xml, parse_policies, policies_xml, written
from testkit.azure.fake_storage.signatures import LETTERS, LONGEST_KEY, Signatures, parse_time
from testkit.azure.front_rules import Settings, refusal, rewritten_headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from testkit.azure.front_rules import Request

ACCOUNT: Final = "accountofthetests"
BUSY: Final = timedelta(seconds=30)
"""How long the name of a deleted container is taken: "Delete Container"."""
_Done = tuple[int, dict[str, str], bytes]


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()


@dataclass(kw_only=True)
class FakeStorage(Settings):
    """One account.

    Attributes:
        clock: its own.
        dates: the clock that dates of requests are compared with: clients date them by the machine's.
        account: its name.
        keys: both of them.
        containers: by name.
        busy: until when names of deleted containers can't be given again.
        tokens: of identities that may do everything that `actions` allows, with the time at which each ends.
        applications: tokens of applications, with the object ids of their identities: those may do what a role on the
            container lets them ("Assign an Azure role for access to blob data"), and nothing to the container itself.
        has_role: whether an identity has a role with all data actions on a container.
        containers_per_page: how many containers it lists at most, which may be fewer than asked for: "List Containers".
        scopes: names of encryption scopes that it has ("Encryption scopes for Blob storage").
        generation: how often all user delegation keys were revoked: "Revoke User Delegation Keys".
    """

    clock: Callable[[], datetime]
    dates: Callable[[], datetime] = lambda: datetime.now(UTC)
    account: str = ACCOUNT
    keys: tuple[str, str] = field(default_factory=lambda: (_key(), _key()))
    containers: dict[str, Container] = field(default_factory=dict)
    busy: dict[str, datetime] = field(default_factory=dict)
    tokens: dict[str, datetime] = field(default_factory=dict)
    applications: dict[str, str] = field(default_factory=dict)
    has_role: Callable[[str, str], bool] = lambda _principal, _container: False
    containers_per_page: int = 5000
    generation: int = 0
    scopes: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.policies_of = lambda name: {
            each: (policy.start, policy.expiry) for each, policy in self.containers[name].policies.items()
        }

    @property
    def now(self) -> datetime:
        """Its time."""
        return self.clock()

    @property
    def _signatures(self) -> Signatures:
        return Signatures(account=self.account, keys=self.keys, generation=self.generation)

    def answer(self, request: Request, *, is_owner: bool = False) -> Answer:
        """What it answers.

        Args:
            request: with the account as the first part of its path.
            is_owner: the request needs no credentials: it is the administrator's, in a test.
        """
        try:
            if not is_owner:
                self._check_settings(request)
                self._authorize(request)
            status, headers, body = self._carried_out(request)
        except Refusal as error:
            is_head = request.method == "HEAD"
            status, headers, body = error_answer(error.code, error.status, details=error.details, is_head=is_head)
            return status, {**headers, "Date": self._date(self.now)}, body
        common = {"x-ms-request-id": str(uuid.uuid4()), "x-ms-version": API_VERSION, "Date": self._date(self.now)}
        return status, rewritten_headers(request, {**common, **headers}, self), body

    def _check_settings(self, request: Request) -> None:
        refused = refusal(request, self)
        if refused is not None:
            raise Refusal(refused[0], refused[1], **refused[2])

    def _authorize(self, request: Request) -> None:
        if request.has_sas:
            self._signatures.check_sas(request, self.containers.get(request.container), self.now)
        elif request.has_token:
            self._check_token(request, request.header("Authorization").removeprefix("Bearer "))
        elif request.header("Authorization").startswith("SharedKey "):
            if request.name == "GetUserDelegationKey":  # "Get User Delegation Key": with a token only
                raise Refusal("AuthenticationFailed", 403)
            self._signatures.check_shared_key(request, self.dates())
        else:
            raise Refusal("NoAuthenticationInformation", 401)

    def _check_token(self, request: Request, token: str) -> None:
        principal = self.applications.get(token)
        if principal is not None:
            if request.name not in LETTERS or not self.has_role(principal, request.container):
                raise Refusal("AuthorizationPermissionMismatch", 403)
            return
        ends = self.tokens.get(token)
        if ends is None or self.now >= ends:
            raise Refusal("InvalidAuthenticationInfo", 401)

    def _carried_out(self, request: Request) -> _Done:
        operation = getattr(self, f"_{request.name}", None)
        if operation is None:
            raise AssertionError(f"the fake does not know {request.name}")
        done: _Done = operation(request)
        return done

    def _found(self, request: Request, *, deletes: bool = False) -> Container:
        found = self.containers.get(request.container)
        if found is None:
            raise Refusal("ContainerNotFound", 404)
        found.lease.check(request.header("x-ms-lease-id"), self.now, deletes=deletes)
        since = request.header("If-Unmodified-Since")
        if since and found.modified > parsedate_to_datetime(since):
            raise Refusal("ConditionNotMet", 412)
        return found

    def _changed(self, container: Container) -> dict[str, str]:
        container.modified = self.now.replace(microsecond=0)
        return self._times_of(container)

    def _times_of(self, container: Container) -> dict[str, str]:
        return {"Last-Modified": self._date(container.modified), "ETag": f'"{container.modified.timestamp():x<16}"'}

    def _date(self, time: datetime) -> str:
        return format_datetime(time.astimezone(UTC), usegmt=True)

    def _ListContainers(self, request: Request) -> _Done:  # noqa: N802 - by the reference's names
        """Metadata only where it is asked for; the marker is the name that comes next: "List Containers"."""
        root = ET.Element("EnumerationResults")
        every = ET.SubElement(root, "Containers")
        prefix, marker = request.query.get("prefix", ""), request.query.get("marker", "")
        names = [name for name in sorted(self.containers) if name.startswith(prefix) and name >= marker]
        most = min(int(request.query.get("maxresults", "5000")), self.containers_per_page)
        for name in names[:most]:
            one = ET.SubElement(every, "Container")
            ET.SubElement(one, "Name").text = name
            properties = ET.SubElement(one, "Properties")
            ET.SubElement(properties, "Last-Modified").text = self._date(self.containers[name].modified)
            if "metadata" in request.query.get("include", "").split(","):
                metadata = ET.SubElement(one, "Metadata")
                for key, value in self.containers[name].metadata.items():
                    ET.SubElement(metadata, key).text = value
        ET.SubElement(root, "NextMarker").text = names[most] if len(names) > most else ""
        return 200, {"Content-Type": "application/xml"}, written(root)

    def _CreateContainer(self, request: Request) -> _Done:  # noqa: N802
        name = request.container
        if name in self.containers:
            raise Refusal("ContainerAlreadyExists", 409)
        if name in self.busy and self.now < self.busy[name]:
            raise Refusal("ContainerBeingDeleted", 409)
        scope = request.header("x-ms-default-encryption-scope")
        if scope and scope not in self.scopes:
            # No page has the code; "Create Container" names the header only.
            raise Refusal("EncryptionScopeNotFound", 404)
        made = Container(metadata=_metadata(request), modified=self.now, encryption=_encryption(request))
        self.containers[name] = made
        return 201, self._changed(made), b""

    def _GetContainerProperties(self, request: Request) -> _Done:  # noqa: N802
        found = self._found(request)
        state = found.lease.state(self.now)
        lease = {"x-ms-lease-status": "locked" if state == "leased" else "unlocked", "x-ms-lease-state": state}
        if state == "leased":
            lease["x-ms-lease-duration"] = "infinite" if found.lease.ends is None else "fixed"
        public = {"x-ms-blob-public-access": found.public_access} if found.public_access else {}
        metadata = {f"x-ms-meta-{name}": value for name, value in found.metadata.items()}
        return 200, {**self._times_of(found), **lease, **public, **metadata, **found.encryption}, b""

    def _SetContainerMetadata(self, request: Request) -> _Done:  # noqa: N802
        found = self._found(request)
        found.metadata = _metadata(request)
        return 200, self._changed(found), b""

    def _GetContainerAcl(self, request: Request) -> _Done:  # noqa: N802
        found = self._found(request)
        public = {"x-ms-blob-public-access": found.public_access} if found.public_access else {}
        headers = {**self._times_of(found), **public, "Content-Type": "application/xml"}
        return 200, headers, policies_xml(found.policies)

    def _SetContainerAcl(self, request: Request) -> _Done:  # noqa: N802
        found = self._found(request)
        found.policies = parse_policies(request.body)
        found.public_access = request.header("x-ms-blob-public-access")
        return 200, self._changed(found), b""

    def _LeaseContainer(self, request: Request) -> _Done:  # noqa: N802
        found = self.containers.get(request.container)
        if found is None:
            raise Refusal("ContainerNotFound", 404)
        times, lease = self._times_of(found), found.lease
        match request.header("x-ms-lease-action"):
            case "acquire":
                seconds = int(request.header("x-ms-lease-duration"))
                held = lease.acquire(request.header("x-ms-proposed-lease-id"), seconds, self.now)
                return 201, {**times, "x-ms-lease-id": held}, b""
            case "release":
                lease.release(request.header("x-ms-lease-id"))
                return 200, times, b""
            case "break":
                lease.break_now(self.now)
                return 202, {**times, "x-ms-lease-time": "0"}, b""
        raise AssertionError("the fake does not know this action of a lease")

    def _DeleteContainer(self, request: Request) -> _Done:  # noqa: N802
        self._found(request, deletes=True)
        del self.containers[request.container]
        self.busy[request.container] = self.now + BUSY
        return 202, {}, b""

    def _ListBlobs(self, request: Request) -> _Done:  # noqa: N802
        found = self._found(request)
        body = listing_xml(found, request.container, request.query)
        return 200, {"Content-Type": "application/xml"}, body

    def _GetBlobProperties(self, request: Request) -> _Done:  # noqa: N802
        data = self._found(request).blobs.get(_blob(request))
        if data is None:
            raise Refusal("BlobNotFound", 404)
        headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
        return 200, {**headers, "Last-Modified": self._date(self.now), "ETag": '"blob"'}, data

    def _GetBlob(self, request: Request) -> _Done:  # noqa: N802
        status, headers, data = self._GetBlobProperties(request)
        asked = request.header("x-ms-range") or request.header("Range")
        if not asked:
            return status, headers, data
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last), len(data) - 1)
        if start > end:  # "Get Blob": as of one byte of an empty blob
            raise Refusal("InvalidRange", 416)
        return 206, {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"}, data[start : end + 1]

    def _PutBlob(self, request: Request) -> _Done:  # noqa: N802
        found = self._found(request)
        found.blobs[_blob(request)] = request.body
        found.uncommitted.discard(_blob(request))
        return 201, {}, b""

    def _PutBlock(self, request: Request) -> _Done:  # noqa: N802
        found = self._found(request)
        if _blob(request) not in found.blobs:
            found.uncommitted.add(_blob(request))
        return 201, {}, b""

    def _DeleteBlob(self, request: Request) -> _Done:  # noqa: N802
        if self._found(request).blobs.pop(_blob(request), None) is None:
            raise Refusal("BlobNotFound", 404)
        return 202, {}, b""

    def _GetAccountInformation(self, _request: Request) -> _Done:  # noqa: N802
        return 200, {"x-ms-sku-name": "Standard_LRS", "x-ms-account-kind": "StorageV2"}, b""

    def _GetUserDelegationKey(self, request: Request) -> _Done:  # noqa: N802
        try:
            root = ET.fromstring(request.body)
        except ET.ParseError as error:
            raise Refusal("InvalidXmlDocument", 400) from error
        start, expiry = root.findtext("Start") or "", root.findtext("Expiry") or ""
        if not self.now < parse_time(expiry) <= self.now + LONGEST_KEY:
            raise Refusal("InvalidXmlNodeValue", 400, XmlNodeName="Expiry", XmlNodeValue=expiry)
        made = self._signatures.delegation_key(start, expiry)
        answer = ET.Element("UserDelegationKey")
        for tag in ("Oid", "Tid", "Start", "Expiry", "Service", "Version"):
            ET.SubElement(answer, f"Signed{tag}").text = str(getattr(made, f"signed_{tag.lower()}"))
        ET.SubElement(answer, "Value").text = str(made.value)
        return 200, {"Content-Type": "application/xml"}, written(answer)


def _blob(request: Request) -> str:
    name = request.path.lstrip("/").split("/", 2)[2]
    if request.container == "$root" and "/" in name:
        raise Refusal("InvalidResourceName", 400)  # "Working with the root container"
    return name


def _encryption(request: Request) -> dict[str, str]:
    names = ("x-ms-default-encryption-scope", "x-ms-deny-encryption-scope-override")
    return {name: request.header(name) for name in names if request.header(name)}


def _metadata(request: Request) -> dict[str, str]:
    """By names without regard to case, as HTTP has it: in those of the request."""
    found = request.headers.items()
    return {name[len("x-ms-meta-") :]: value for name, value in found if name.lower().startswith("x-ms-meta-")}
