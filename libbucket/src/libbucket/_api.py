"""The Kubernetes objects that are read, as typed structs, and the fixed names of the API. Pure data.

Bottom layer. Decoded from the API server's bytes by msgspec: fields that are not declared here are never built, which
keeps the caches small. Decoding is lenient, because other programs and other CRDs write these objects too: `null`
maps, missing fields, numbers in `additionalConfig`, legacy spellings.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

GROUP: Final = "objectbucket.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
CLAIM_KIND: Final = "ObjectBucketClaim"
BUCKET_KIND: Final = "ObjectBucket"

FINALIZER: Final = "objectbucket.io/finalizer"
PROVISIONER_LABEL: Final = "bucket-provisioner"

# Ownership, intent and last-applied state are in annotations, because no CRD schema prunes those.
CLAIM_NAMESPACE: Final = "objectbucket.io/claim-namespace"
CLAIM_NAME: Final = "objectbucket.io/claim-name"
CLAIM_UID: Final = "objectbucket.io/claim-uid"
RECORD: Final = "objectbucket.io/record"
OBSERVED: Final = "objectbucket.io/observed"

# Deletion: the policy, on a claim or, by an administrator, on an ObjectBucket; the time of the purge, which an
# administrator removes to cancel it; and the number of objects that a purge has removed so far.
DELETION_POLICY: Final = "objectbucket.io/deletion-policy"
PURGE_AT: Final = "objectbucket.io/purge-at"
PURGED: Final = "objectbucket.io/purged"


TOO_LARGE: Final = "objectbucket.io/too-large"
"""The only key of an `additionalConfig` that is larger than the caches keep; its value names the largest key."""


class Phase:
    """The phases of the wire contract; other CRDs enforce them as an enum."""

    PENDING: Final = "Pending"
    BOUND: Final = "Bound"
    RELEASED: Final = "Released"
    FAILED: Final = "Failed"


class Wire(msgspec.Struct, frozen=True, rename="camel", kw_only=True, gc=False, omit_defaults=True):
    """Base of everything that is read: immutable, and not tracked by the garbage collector.

    Fields that are absent are left out when it is encoded: their names would be a sixth of the caches.
    """


class OwnerReference(Wire, frozen=True):
    """One entry of `metadata.ownerReferences`."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class Meta(Wire, frozen=True):
    """The part of `metadata` that is used."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: list[str] | None = None
    owner_references: list[OwnerReference] | None = None

    @property
    def key(self) -> str:
        """`namespace/name`, or the name alone for cluster-scoped objects."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def annotation(self, name: str) -> str:
        """An annotation's value; "" if it is absent."""
        return (self.annotations or {}).get(name, "")

    def label(self, name: str) -> str:
        """A label's value; "" if it is absent."""
        return (self.labels or {}).get(name, "")

    @property
    def is_being_deleted(self) -> bool:
        """Whether its deletion was requested and waits for finalizers."""
        return self.deletion_timestamp is not None

    def has_finalizer(self) -> bool:
        """Whether it has our finalizer."""
        return FINALIZER in (self.finalizers or ())

    def is_controlled_by(self, uid: str) -> bool:
        """Whether the object with this uid is its controller."""
        return any(owner.controller and owner.uid == uid for owner in self.owner_references or ())


class Object(Wire, frozen=True):
    """Base of everything with `metadata`."""

    metadata: Meta = Meta()


class Condition(Wire, frozen=True):
    """One entry of `status.conditions`."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    observed_generation: int | None = None
    last_transition_time: str | None = None


class ClaimSpec(Wire, frozen=True):
    """`spec` of an ObjectBucketClaim."""

    storage_class_name: str | None = None
    bucket_name: str | None = None
    generate_bucket_name: str | None = None
    object_bucket_name: str | None = None
    legacy_object_bucket_name: str | None = msgspec.field(default=None, name="ObjectBucketName")
    additional_config: Any = None


class ClaimStatus(Wire, frozen=True):
    """`status` of an ObjectBucketClaim or ObjectBucket."""

    phase: str | None = None
    conditions: list[Condition] | None = None
    observed_generation: int | None = None

    def condition(self, kind: str) -> Condition | None:
        """The condition of this type; None if there is none."""
        return next((one for one in self.conditions or () if one.type == kind), None)


class ObjectBucketClaim(Object, frozen=True):
    """A claim in the cluster."""

    spec_or_none: ClaimSpec | None = msgspec.field(default=None, name="spec")
    status_or_none: ClaimStatus | None = msgspec.field(default=None, name="status")

    @property
    def spec(self) -> ClaimSpec:
        """`spec`, or an empty one."""
        return self.spec_or_none or ClaimSpec()

    @property
    def status(self) -> ClaimStatus:
        """`status`, or an empty one."""
        return self.status_or_none or ClaimStatus()

    @property
    def object_bucket_name(self) -> str:
        """Name of its ObjectBucket, in either spelling; "" before it has one."""
        return self.spec.object_bucket_name or self.spec.legacy_object_bucket_name or ""

    @property
    def class_name(self) -> str:
        """Name of its StorageClass; "" if it has none."""
        return self.spec.storage_class_name or ""


class ClaimRefSpec(Wire, frozen=True):
    """`spec.claimRef` of an ObjectBucket; some CRDs prune its fields."""

    kind: str | None = None
    namespace: str | None = None
    name: str | None = None
    uid: str | None = None


class EndpointSpec(Wire, frozen=True):
    """`spec.endpoint` of an ObjectBucket."""

    bucket_host: str | None = None
    bucket_port: int | None = None
    bucket_name: str | None = None
    region: str | None = None
    sub_region: str | None = None
    additional_config: Any = None


class BucketSpec(Wire, frozen=True):
    """`spec` of an ObjectBucket."""

    storage_class_name: str | None = None
    reclaim_policy: str | None = None
    claim_ref: ClaimRefSpec | None = None
    endpoint: EndpointSpec | None = None
    additional_state: Any = None


class ObjectBucketObject(Object, frozen=True):
    """An ObjectBucket in the cluster. `libbucket.ObjectBucket` is the form that provisioners get."""

    spec_or_none: BucketSpec | None = msgspec.field(default=None, name="spec")
    status_or_none: ClaimStatus | None = msgspec.field(default=None, name="status")

    @property
    def spec(self) -> BucketSpec:
        """`spec`, or an empty one."""
        return self.spec_or_none or BucketSpec()

    @property
    def status(self) -> ClaimStatus:
        """`status`, or an empty one."""
        return self.status_or_none or ClaimStatus()

    @property
    def endpoint(self) -> EndpointSpec:
        """`spec.endpoint`, or an empty one."""
        return self.spec.endpoint or EndpointSpec()

    @property
    def phase(self) -> str:
        """`status.phase`, or ""."""
        return self.status.phase or ""


class StorageClass(Object, frozen=True):
    """A StorageClass."""

    provisioner: str = ""
    parameters: dict[str, str] | None = None
    reclaim_policy: str | None = None


class Metadata(Object, frozen=True):
    """A `PartialObjectMetadata`: the cached part of a Secret or ConfigMap."""


class Secret(Object, frozen=True):
    """A Secret, read one at a time and never cached. Values are base64 text."""

    data: dict[str, str] | None = None


class ConfigMap(Object, frozen=True):
    """A ConfigMap, read one at a time and never cached."""

    data: dict[str, str] | None = None


def strings(value: Any) -> dict[str, str]:
    """A map of strings from the values that other programs write.

    Numbers and booleans become their JSON text; `null` maps and `null` values, the empty key that an old
    provisioner writes, and nested values are left out: see `unusable_keys`.
    """
    if not isinstance(value, dict):
        return {}
    return {key: _text(item) for key, item in value.items() if key and _is_scalar(item)}


def unusable_keys(value: Any) -> list[str]:
    """The keys that `strings` leaves out because their value is not a scalar."""
    if not isinstance(value, dict):
        return []
    return sorted(key for key, item in value.items() if key and item is not None and not _is_scalar(item))


def _is_scalar(item: Any) -> bool:
    return isinstance(item, (str, int, float, bool))


def _text(item: Any) -> str:
    return item if isinstance(item, str) else msgspec.json.encode(item).decode()
