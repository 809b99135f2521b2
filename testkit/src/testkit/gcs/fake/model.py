"""What the fake remembers: accounts, keys, buckets, objects, uploads. No protocol and no permission is decided here.

Written from
https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts#ServiceAccount
https://cloud.google.com/storage/docs/json_api/v1/buckets#resource-representations
https://cloud.google.com/storage/docs/json_api/v1/objects#resource-representations
https://cloud.google.com/storage/docs/json_api/v1/projects/hmacKeys
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import google_crc32c

from testkit.gcs.fake.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

Json = dict[str, Any]


@dataclass
class Knobs:
    """How far the fake shows the delays and limits that Google has; all off by default, and all on after `turn_on`.

    Attributes:
        unknown_account_seconds: for how long a fresh service account is unknown to everything but IAM.
        hidden_account_seconds: for how long IAM itself answers 403 for a fresh account.
        list_lag_seconds: for how long a new key or account is missing in lists.
        bucket_seconds: between two requests that create or delete a bucket of the project.
        update_seconds: between two changes of one bucket's metadata or policy.
        iam_writes: how many requests in a minute may change something in IAM; None for any number.
        accounts_per_minute: how many service accounts may be created in a minute; None for any number.
        key_expiry_seconds: `constraints/iam.serviceAccountKeyExpiryHours`, in seconds; None where it is not set.
        unknown_account_calls: for how many calls a fresh service account is unknown to everybody but who made it.
        conflicting_policy_writes: every other write of a policy finds that another client was faster.
        throttled_calls: how many of the next calls are answered with 429.
        retry_after: what those answers say; None leaves the header out.
        hmac_start_seconds: how long a new HMAC key is unknown.
        hmac_stop_seconds: how long an HMAC key goes on working after it was made inactive.
        key_start_seconds: how long a new service-account key is unknown to the token endpoint.
        tokens_outlive_keys: tokens that were minted stay valid when their key is gone, as they do at Google.
        token_seconds: how long a token lives.
        account_limit: service accounts per project.
        keys_forbidden: an organisation policy forbids service-account keys, and with them HMAC keys.
        hmac_forbidden: an organisation policy forbids HMAC keys only (`storage.restrictAuthTypes`).
        kms_denied: the project's Cloud Storage service agent may not use any key of Cloud KMS.
        allowed_locations: where an organisation policy lets buckets be; None for anywhere.
        perimeter: VPC Service Controls let the administrators in, and nobody else.
        foreign_members: beginnings of members that domain restricted sharing keeps out of every policy.
        absent_is_forbidden: an account that does not exist is 403 and not 404, for every caller.
        hidden_account_calls: for how many calls a fresh account is 403, to who made it as well.
        grant_seconds: how long a new member of a bucket's policy is not let in yet.
        withdraw_seconds: how long a member that was taken out of a bucket's policy is still let in.
        distrusts: claims' credentials are refused everywhere, as by a node whose cache is stale; the administrators'
            are not.
        workload_pool: the project has a workload identity pool, as it has with its first GKE cluster.
        page_size: entries per page of a listing.
    """

    unknown_account_seconds: float = 0.0
    hidden_account_seconds: float = 0.0
    list_lag_seconds: float = 0.0
    bucket_seconds: float = 0.0
    update_seconds: float = 0.0
    iam_writes: int | None = None
    accounts_per_minute: int | None = None
    key_expiry_seconds: float | None = None
    unknown_account_calls: int = 0
    conflicting_policy_writes: bool = False
    throttled_calls: int = 0
    retry_after: str | None = "7"
    hmac_start_seconds: float = 0.0
    hmac_stop_seconds: float = 0.0
    key_start_seconds: float = 0.0
    tokens_outlive_keys: bool = True
    token_seconds: int = 3600
    account_limit: int = 100
    keys_forbidden: bool = False
    hmac_forbidden: bool = False
    kms_denied: bool = False
    allowed_locations: frozenset[str] | None = None
    perimeter: bool = False
    foreign_members: tuple[str, ...] = ()
    absent_is_forbidden: bool = False
    hidden_account_calls: int = 0
    grant_seconds: float = 0.0
    withdraw_seconds: float = 0.0
    distrusts: bool = False
    workload_pool: bool = True
    page_size: int = 1000

    def turn_on(self) -> None:
        """Sets every delay and limit to what Google documents, or what public reports show where it documents none.

        https://cloud.google.com/iam/docs/access-change-propagation (2 minutes, 7 or more at worst),
        https://cloud.google.com/storage/docs/authentication/hmackeys (60 seconds, 3 minutes),
        https://cloud.google.com/storage/quotas, https://cloud.google.com/iam/quotas, and for accounts that are seconds
        old https://github.com/hashicorp/terraform-provider-google/issues/11208.
        """
        self.unknown_account_seconds, self.hidden_account_seconds, self.list_lag_seconds = 15.0, 5.0, 5.0
        self.absent_is_forbidden = True
        self.grant_seconds = self.withdraw_seconds = 120.0
        self.key_start_seconds = self.hmac_start_seconds = 60.0
        self.hmac_stop_seconds = 180.0
        self.bucket_seconds, self.update_seconds, self.iam_writes = 2.0, 1.0, 600


@dataclass
class AccountKey:
    """A key of a service account: the fake keeps the public half only."""

    id: str
    public: RSAPublicKey
    created: datetime
    disabled: bool = False
    ends: datetime | None = None


@dataclass
class Account:
    """A service account. `uid` is never given twice: an account recreated under its name is another one."""

    email: str
    uid: str
    project: str
    display_name: str = ""
    description: str = ""
    permissions: frozenset[str] = frozenset()
    """What it may do in the whole project: for administrators."""
    keys: dict[str, AccountKey] = field(default_factory=dict)
    policy: Policy = field(default_factory=lambda: Policy())  # noqa: PLW0108 - defined below
    unknown_calls: int = 0
    hidden_calls: int = 0
    created: datetime = datetime.min.replace(tzinfo=UTC)
    disabled: bool = False


@dataclass
class HmacKey:
    """An HMAC key; `secret` is shown once."""

    access_id: str
    secret: str
    email: str
    uid: str
    created: datetime
    updated: datetime
    state: str = "ACTIVE"
    etag: str = "e0"


@dataclass
class Policy:
    """An allow policy; members of service accounts are kept as `serviceAccount:<email>#<uid>`."""

    bindings: list[Json] = field(default_factory=list)
    generation: int = 1
    granted: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """When a member got a role, for those that were not in the policy from the beginning."""
    withdrawn: list[tuple[Json, datetime]] = field(default_factory=list)
    """Bindings that were replaced, with when."""

    @property
    def etag(self) -> str:
        """Another one after each write."""
        return base64.b64encode(f"p{self.generation}".encode()).decode()


@dataclass
class Version:
    """One generation of an object."""

    name: str
    generation: int
    data: bytes
    content_type: str
    created: datetime
    live: bool = True
    extra: Json = field(default_factory=dict)
    """Holds and retention, as the JSON API spells them."""

    @property
    def md5(self) -> bytes:
        return hashlib.md5(self.data).digest()

    @property
    def crc32c(self) -> str:
        return base64.b64encode(google_crc32c.value(self.data).to_bytes(4, "big")).decode()


@dataclass
class MultipartUpload:
    """An upload in parts through the XML API."""

    id: str
    name: str
    content_type: str
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass
class Session:
    """A resumable upload. Who knows its id may go on with it, without any other credentials."""

    id: str
    bucket: str
    resource: Json
    content_type: str
    data: bytearray = field(default_factory=bytearray)


@dataclass
class Bucket:
    """A bucket with everything in it."""

    name: str
    project: str
    resource: Json
    policy: Policy
    versions: dict[str, list[Version]] = field(default_factory=dict)
    uploads: dict[str, MultipartUpload] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    """Managed folders."""
    tree: set[str] = field(default_factory=set)
    """The folders of a hierarchical namespace: https://cloud.google.com/storage/docs/folders-overview."""

    @property
    def is_uniform(self) -> bool:
        iam: Json = self.resource.get("iamConfiguration", {})
        return bool(iam.get("uniformBucketLevelAccess", {}).get("enabled"))

    @property
    def prevents_public_access(self) -> bool:
        return bool(self.resource.get("iamConfiguration", {}).get("publicAccessPrevention") == "enforced")

    @property
    def is_hierarchical(self) -> bool:
        return bool(self.resource.get("hierarchicalNamespace", {}).get("enabled"))

    @property
    def lets_requesters_pay(self) -> bool:
        return bool(self.resource.get("billing", {}).get("requesterPays"))

    @property
    def keeps_versions(self) -> bool:
        return bool(self.resource.get("versioning", {}).get("enabled"))

    def live(self, name: str) -> Version | None:
        return next((each for each in self.versions.get(name, []) if each.live), None)

    def all_versions(self) -> Iterator[Version]:
        """By name, the oldest generation first."""
        for name in sorted(self.versions):
            yield from self.versions[name]

    def put(self, version: Version) -> None:
        for older in list(self.versions.get(version.name, [])):
            if older.live:
                self.retire(older)
        self.versions.setdefault(version.name, []).append(version)
        if self.is_hierarchical:
            # Those that an object is in are made with it, and stay when it goes.
            self.tree |= {version.name[: end + 1] for end, each in enumerate(version.name) if each == "/"}

    def retire(self, version: Version) -> None:
        """The end of a live version: it stays as a noncurrent one where the bucket keeps versions."""
        if self.keeps_versions:
            version.live = False
        else:
            self.remove(version)

    def remove(self, version: Version) -> None:
        self.versions[version.name].remove(version)
        if not self.versions[version.name]:
            del self.versions[version.name]


@dataclass
class Token:
    """An access token, of a service account or of a federated identity."""

    email: str
    uid: str
    key_id: str
    ends: datetime
    federated: str = ""
    """The identity's `principal://` name."""


class Store:
    """Everything, behind one lock."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.lock = threading.RLock()
        self.clock = Clock()
        self.knobs = Knobs()
        self.accounts: dict[str, Account] = {}
        self.hmac_keys: dict[str, HmacKey] = {}
        self.buckets: dict[str, Bucket] = {}
        self.tokens: dict[str, Token] = {}
        self.sessions: dict[str, Session] = {}
        self.subject_tokens: dict[str, str] = {}
        """Tokens of another identity provider, and the `principal://` name that each stands for."""
        self.calls: list[str] = []
        self.policy_writes = 0
        self.last_counted: dict[str, datetime] = {}
        self.iam_writes: list[datetime] = []
        self.federated: dict[str, frozenset[str]] = {}
        """What federated identities may do in the whole project: for administrators."""
        self._numbers = itertools.count(1)

    def is_listed(self, created: datetime) -> bool:
        """Whether lists show by now what was made at this moment."""
        return created + timedelta(seconds=self.knobs.list_lag_seconds) <= self.clock.now()

    def next_number(self) -> int:
        """Never twice the same, always growing."""
        return next(self._numbers)

    def account_of(self, email: str, uid: str) -> Account | None:
        """The account that had this uid under this name, unless it is gone."""
        account = self.accounts.get(email)
        return account if account is not None and account.uid == uid else None
