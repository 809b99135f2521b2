"""The data that the core and a provisioner exchange. Frozen, without I/O.

The names are those of the Go library lib-bucket-provisioner (`BucketOptions`, `ObjectBucket`, `Connection`,
`Endpoint`, `Authentication`, `AccessKeys`), in Python's spelling. The core creates `BucketOptions`; a provisioner
returns an `ObjectBucket` with a `Connection`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
"""The port of a URL that names none."""


class SecretStr:
    """A string that is never printed: `repr`, `str`, formatting and pickling do not show its value.

    Only `reveal()` returns the value; call it where the value is sent, and nowhere else.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return "SecretStr('**********')"

    def __str__(self) -> str:
        return "**********"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretStr) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a SecretStr cannot be pickled: that would write the secret out")


class ReclaimPolicy(StrEnum):
    """What happens to the bucket when its claim is deleted: the StorageClass's `reclaimPolicy`."""

    DELETE = "Delete"
    RETAIN = "Retain"
    RECYCLE = "Recycle"
    """In older objects; treated as Retain, since retained data can still be deleted manually."""


@dataclass(frozen=True, kw_only=True)
class AccessKeys:
    """An S3 key pair: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` of the claim's Secret."""

    access_key_id: str
    secret_access_key: SecretStr


@dataclass(frozen=True, kw_only=True)
class Authentication:
    """The credentials in the claim's Secret.

    Attributes:
        access_keys: the S3 key pair; None if the store does not support S3.
        additional_secret_data: further keys of the Secret.
        renew_at: for credentials that expire: when the core calls the verb again, so that new ones are in the Secret
            well before that. Aware, in UTC; None if they do not expire. Not in the Secret: `BucketOptions.credentials`
            never has it.
    """

    access_keys: AccessKeys | None = None
    additional_secret_data: Mapping[str, SecretStr] = field(default_factory=dict)
    renew_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """How an application addresses the bucket.

    Attributes:
        bucket_host: bare host name, no scheme.
        bucket_port: TCP port; a number, or TypeError.
        bucket_name: name of the bucket in the store.
        region: region or location; may be empty.
        sub_region: may be empty.
        additional_config: further keys of the claim's ConfigMap (`BUCKET_SSL`).
    """

    bucket_host: str
    bucket_port: int
    bucket_name: str
    region: str = ""
    sub_region: str = ""
    additional_config: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses a port that is no number: it would reach the cluster, whose schema refuses the whole ObjectBucket.

        Raises:
            TypeError: `bucket_port` is not an int.
        """
        if not isinstance(self.bucket_port, int):
            raise TypeError(f"Endpoint.bucket_port must be an int, such as 443, not {self.bucket_port!r}")

    @classmethod
    def from_url(
        cls, url: str, *, bucket_name: str, region: str = "", additional_config: Mapping[str, str] | None = None
    ) -> Endpoint:
        """The endpoint of a store that its applications reach at a URL, which is `BUCKET_ENDPOINT` of the ConfigMap.

        Args:
            url: as `ParameterReader.url` gives it.
            bucket_name: name of the bucket in the store.
            region: region or location; may be empty.
            additional_config: further keys of the claim's ConfigMap.
        """
        parts = urlsplit(url)
        return cls(
            bucket_host=parts.hostname or "",
            bucket_port=parts.port or DEFAULT_PORTS.get(parts.scheme, 0),
            bucket_name=bucket_name,
            region=region,
            additional_config={"BUCKET_ENDPOINT": url, **(additional_config or {})},
        )


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How an application reaches the bucket, and what the provisioner must remember about it.

    Attributes:
        endpoint: written to the ObjectBucket and the claim's ConfigMap.
        authentication: written to the claim's Secret only; None in the argument of `delete` and `revoke`, which never
            need it.
        additional_state: identity names, policy ids; written to the ObjectBucket, where every account that may read
            ObjectBuckets can read it, and passed to every later call. No secrets.
    """

    endpoint: Endpoint
    authentication: Authentication | None = None
    additional_state: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The claim that owns a bucket. Its ownership tags are written to a new bucket, and compared on an existing one.

    Attributes:
        cluster_id: uid of the namespace `kube-system`.
        namespace: namespace of the claim.
        name: name of the claim.
        uid: uid of the claim: a claim that is created again with the same name is another owner.
        earlier_uids: of claims of the same namespace and name that owned this bucket before, and whose intent in the
            cluster proves that it is this claim's now. Their ownership tags are replaced: see `matches_earlier`.
        earlier_clusters: ids of other clusters that those claims may have been in: an administrator adopted a bucket
            for this claim after its cluster was rebuilt, or after it moved.
    """

    cluster_id: str
    namespace: str
    name: str
    uid: str
    earlier_uids: tuple[str, ...] = ()
    earlier_clusters: tuple[str, ...] = ()

    def ownership_tags(self) -> dict[str, str]:
        """The tags, labels or metadata of a bucket of this owner: four facts under their standard keys.

        The keys are lower-case identifiers, which all four stores accept.
        """
        return {
            "objectbucket_cluster_id": self.cluster_id,
            "objectbucket_claim_namespace": self.namespace,
            "objectbucket_claim_name": self.name,
            "objectbucket_claim_uid": self.uid,
        }

    def matches(self, tags: Mapping[str, str]) -> bool:
        """Whether tags that were read from a bucket are this owner's.

        Cluster and uid decide: a uid is never reused, and names can be too long for some stores.
        """
        return _are_of(tags, (self.cluster_id,), (self.uid,))

    def matches_earlier(self, tags: Mapping[str, str]) -> bool:
        """Whether tags that were read from a bucket are those of an earlier claim, whose bucket is this claim's now.

        Such a bucket is this claim's: `provision` replaces the tags, `delete` and `delete_empty` accept them.
        """
        return _are_of(tags, (self.cluster_id, *self.earlier_clusters), self.earlier_uids)

    def owns(self, tags: Mapping[str, str], *, taken_over: bool) -> bool:
        """Whether a bucket or identity with these tags is this owner's.

        Its own tags and an earlier claim's (`matches_earlier`) prove it. A bucket without any ownership tags is the
        owner's only if another program made it for this claim.

        Args:
            tags: tags, labels or metadata, as read from the store.
            taken_over: see `BucketOptions.taken_over`.
        """
        is_known = self.matches(tags) or self.matches_earlier(tags)
        return is_known or (taken_over and not has_ownership_tags(tags))

    # Deprecated names of the methods above; removed in 1.0.
    stamp = ownership_tags
    is_stamped_on = matches
    was_stamped_on = matches_earlier


def _are_of(tags: Mapping[str, str], clusters: tuple[str, ...], uids: tuple[str, ...]) -> bool:
    return tags.get("objectbucket_cluster_id") in clusters and tags.get("objectbucket_claim_uid") in uids


def has_ownership_tags(tags: Mapping[str, str]) -> bool:
    """Whether tags hold the ownership tags of any owner of any cluster, or a part of them."""
    return any(key in tags for key in Owner(cluster_id="", namespace="", name="", uid="").ownership_tags())


is_stamped = has_ownership_tags
"""Deprecated name of `has_ownership_tags`; removed in 1.0."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An ObjectBucketClaim, as far as a provisioner may see it.

    Attributes:
        additional_config: the keys of `spec.additionalConfig` that the operator allows and the store supports; values
            are strings. An absent key is unmanaged: the bucket's setting stays.
    """

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    additional_config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ObjectBucket:
    """A bucket as it is recorded in the cluster: result of `provision` and `grant`, argument of `delete` and `revoke`.

    A provisioner sets `connection`, and `warnings` and `repairs` if there are any; the core sets the rest.

    Attributes:
        connection: endpoint, state, and credentials in a result.
        warnings: each becomes one Warning Event on the claim (dangerous or unknown parameters).
        repairs: drift that this call found in the store and repaired: "user", "policy", "quota". Each becomes one
            Event, if the claim was not edited. New credentials are not listed: the core detects those.
        name: name of the ObjectBucket object.
        user_id: value of `BucketOptions.user_id`.
        reclaim_policy: recorded when the claim was bound; later changes of the class do not apply.
        parameters: of the StorageClass, recorded before the first call; the class may be gone.
        owner: the claim that owns the bucket.
        greenfield: True if the bucket was created for this claim, False if the class named it.
        taken_over: see `BucketOptions.taken_over`.
    """

    connection: Connection
    warnings: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    name: str = ""
    user_id: str = ""
    reclaim_policy: ReclaimPolicy = ReclaimPolicy.RETAIN
    parameters: Mapping[str, str] = field(default_factory=dict)
    owner: Owner = field(default_factory=lambda: Owner(cluster_id="", namespace="", name="", uid=""))
    greenfield: bool = False
    taken_over: bool = False

    @classmethod
    def with_keys(
        cls,
        endpoint: Endpoint,
        keys: AccessKeys,
        *,
        state: Mapping[str, str] | None = None,
        warnings: Iterable[str] = (),
        repairs: Iterable[str] = (),
    ) -> ObjectBucket:
        """The result of `provision` and `grant` for a store whose credentials are a pair of keys.

        Args:
            endpoint: of the bucket.
            keys: of the claim.
            state: `Connection.additional_state`.
            warnings: see `warnings`.
            repairs: see `repairs`.
        """
        access = Authentication(access_keys=keys)
        connection = Connection(endpoint=endpoint, authentication=access, additional_state=state or {})
        return cls(connection=connection, warnings=tuple(warnings), repairs=tuple(repairs))

    @property
    def bucket_name(self) -> str:
        """Name of the bucket in the store."""
        return self.connection.endpoint.bucket_name

    @property
    def additional_state(self) -> Mapping[str, str]:
        """The provisioner's state."""
        return self.connection.additional_state


@dataclass(frozen=True, kw_only=True)
class BucketOptions:
    """One request to `provision` or `grant`. Everything is already recorded in the cluster.

    Attributes:
        reclaim_policy: recorded on the ObjectBucket.
        bucket_name: the bucket to create, or for `grant` the existing one that the class names.
        user_id: from `generate_user_id`; the same in every call for this claim.
        claim: the claim.
        parameters: of the StorageClass.
        owner: gives the ownership tags.
        credentials: in the claim's Secret now; None if there are none. If they are this claim's own and still work,
            return them unchanged, to avoid an unintended rotation.
        additional_state: returned by an earlier call (also one of the Go library); source of truth for identity names.
        previous_config: the `additional_config` of the last successful call: a key that is in it and no longer in
            `claim.additional_config` is to be reset.
        taken_over: True if another program (the Go library) bound the claim before, and its ObjectBucket proves that
            the bucket is this claim's. Such a bucket has no ownership tags: write them, and continue with the identity
            that `additional_state` names and the credentials in the Secret. A bucket with the tags of another owner is
            still `BucketExists`.
        was_bound: whether an earlier call for this claim succeeded, or an administrator adopted an existing bucket for
            it. A bucket that does not exist then is lost: `provision` raises `BucketLost` and creates no other, which
            would be empty, and prevent a restore in stores that can undelete.
        is_name_generated: whether `bucket_name` ends in a UUID that was generated for this claim, so that no other
            claim can have asked for it: if a store cannot tag a bucket in the request that creates it, and responds
            that the bucket exists although it did not before, that request was delivered twice.
        credentials_unchanged: whether `credentials` are exactly those of an earlier result; the core compares a hash.
            They are replaced only on proof: the identity system reports that the key or the identity does not exist or
            is inactive. A test of them that is denied, inconclusive or unanswered proves nothing (a node with a stale
            cache, a policy, a proxy): keep them, and raise `NotReady` if the claim has to wait. If this is False, the
            Secret was edited, and credentials that are refused are replaced.
    """

    reclaim_policy: ReclaimPolicy
    bucket_name: str
    user_id: str
    claim: Claim
    parameters: Mapping[str, str]
    owner: Owner
    credentials: Authentication | None = None
    additional_state: Mapping[str, str] = field(default_factory=dict)
    previous_config: Mapping[str, str] = field(default_factory=dict)
    taken_over: bool = False
    was_bound: bool = False
    is_name_generated: bool = False
    credentials_unchanged: bool = False

    @property
    def access_keys(self) -> AccessKeys | None:
        """The pair of keys in the claim's Secret now; None if it has none."""
        return self.credentials.access_keys if self.credentials else None
