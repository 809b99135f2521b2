"""libbucket: buckets for Kubernetes, from any store.

Import from here: this is the whole public surface. A backend subclasses `Provisioner` and calls `run`.
`libbucket.provisioner` explains the contract; `libbucket.testing` has what a backend is tested with.
"""

from libbucket.bounds import drain, wait_until
from libbucket.errors import (
    AccessDenied,
    AdminSecretMissing,
    BucketExists,
    BucketLost,
    BucketNotEmpty,
    BucketNotFound,
    InvalidAdminSecret,
    InvalidClaim,
    InvalidConfig,
    InvalidParameters,
    NotReady,
    ProvisionerError,
    PurgeUnfinished,
    QuotaExceeded,
    Reason,
    RetrySlowly,
    RetrySoon,
    StoreRefused,
    StoreUnavailable,
    Terminal,
    Throttled,
)
from libbucket.fencing import fence_requests
from libbucket.headers import parse_retry_after
from libbucket.limits import parse_json, parse_quantity
from libbucket.parameters import Address, ParameterReader
from libbucket.provisioner import (
    EmptyBucketDeleter,
    Inspector,
    Provisioner,
    ProvisionerFactory,
    SecretReader,
    Services,
    warn_unapplied,
)
from libbucket.run import run
from libbucket.types import (
    AccessKeys,
    Authentication,
    BucketOptions,
    Claim,
    Connection,
    Endpoint,
    ObjectBucket,
    Owner,
    ReclaimPolicy,
    SecretStr,
    is_stamped,
)

__all__ = [
    "AccessDenied",
    "AccessKeys",
    "Address",
    "AdminSecretMissing",
    "Authentication",
    "BucketExists",
    "BucketLost",
    "BucketNotEmpty",
    "BucketNotFound",
    "BucketOptions",
    "Claim",
    "Connection",
    "EmptyBucketDeleter",
    "Endpoint",
    "Inspector",
    "InvalidAdminSecret",
    "InvalidClaim",
    "InvalidConfig",
    "InvalidParameters",
    "NotReady",
    "ObjectBucket",
    "Owner",
    "ParameterReader",
    "Provisioner",
    "ProvisionerError",
    "ProvisionerFactory",
    "PurgeUnfinished",
    "QuotaExceeded",
    "Reason",
    "ReclaimPolicy",
    "RetrySlowly",
    "RetrySoon",
    "SecretReader",
    "SecretStr",
    "Services",
    "StoreRefused",
    "StoreUnavailable",
    "Terminal",
    "Throttled",
    "drain",
    "fence_requests",
    "is_stamped",
    "parse_json",
    "parse_quantity",
    "parse_retry_after",
    "run",
    "wait_until",
    "warn_unapplied",
]
