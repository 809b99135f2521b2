"""The errors of a provisioner, and how the core handles each.

Between a provisioner package, which translates its SDK's errors into these, and the reconcile loop, which uses only
the class, `reason`, `delay` and message of an error. Knows no store and no Kubernetes transport.

Every error is one of three kinds:

==================  ======================================================  ==========================
class               what the core does next                                 what the claim shows
==================  ======================================================  ==========================
`RetrySoon`         retries with back-off, after `delay` if given           Pending, Ready=False
`RetrySlowly`       configuration error: retries with a long back-off, and  Pending, Ready=False
                    immediately after an edit of the claim or its class
`Terminal`          no retry until the claim or its class is edited         Failed, Stalled=True
==================  ======================================================  ==========================

A claim that is Bound keeps its phase and its Secret after any error. Messages are shown to the claim's author in a
condition and an Event: they name the problem, the field and the fix, and never contain a secret.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class Reason(StrEnum):
    """Every reason of a condition or Event that libbucket writes: a closed list.

    The values are part of the wire contract; alerts and scripts match on them.
    """

    # Normal progress.
    PROVISIONING = "Provisioning"
    BOUND = "Bound"
    RELEASED = "Released"
    RECLAIMED = "Reclaimed"
    PURGING = "Purging"
    RESTORED = "Restored"
    CREDENTIALS_ROTATED = "CredentialsRotated"
    DRIFT_REPAIRED = "DriftRepaired"
    # The claim, or an edit of the claim.
    INVALID_CLAIM = "InvalidClaim"
    INVALID_CONFIG = "InvalidConfig"
    INVALID_UPDATE = "InvalidUpdate"
    UNMANAGED_CONFIG = "UnmanagedConfig"
    # The class, and what administrators configure.
    STORAGE_CLASS_MISSING = "StorageClassMissing"
    INVALID_PARAMETERS = "InvalidParameters"
    ADMIN_SECRET_MISSING = "AdminSecretMissing"
    INVALID_ADMIN_SECRET = "InvalidAdminSecret"
    ACCESS_DENIED = "AccessDenied"
    STORE_REFUSED = "StoreRefused"
    # Conflicts with other objects.
    OBJECT_BUCKET_CONFLICT = "ObjectBucketConflict"
    SECRET_CONFLICT = "SecretConflict"
    CONFIG_MAP_CONFLICT = "ConfigMapConflict"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    # The store.
    BUCKET_EXISTS = "BucketExists"
    BUCKET_NOT_FOUND = "BucketNotFound"
    BUCKET_LOST = "BucketLost"
    BUCKET_NOT_EMPTY = "BucketNotEmpty"
    QUOTA_EXCEEDED = "QuotaExceeded"
    NOT_READY = "NotReady"
    THROTTLED = "Throttled"
    STORE_UNAVAILABLE = "StoreUnavailable"
    # Neither the claim nor the store.
    CLUSTER_UNAVAILABLE = "ClusterUnavailable"
    REJECTED_BY_CLUSTER = "RejectedByCluster"
    DELETION_BLOCKED = "DeletionBlocked"
    PROVISIONER_WARNING = "ProvisionerWarning"
    PROVISIONER_MISCONFIGURED = "ProvisionerMisconfigured"
    INTERNAL_ERROR = "InternalError"


class ProvisionerError(Exception):
    """Base of all errors that a provisioner raises. Raise one of its three kinds, or a named one below.

    Args:
        message: one sentence for the claim's author; without secrets.
        reason: overrides the class's own reason.
        request_id: of the store's response, for its operators; "" if there is none. It is logged with the failure, and
            not shown on the claim.
    """

    default_reason: ClassVar[Reason] = Reason.INTERNAL_ERROR

    def __init__(self, message: str, *, reason: Reason | None = None, request_id: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reason: Reason = reason or self.default_reason
        self.request_id = request_id


class RetrySoon(ProvisionerError):
    """A temporary failure: retried with back-off.

    Args:
        message: one sentence for the claim's author; without secrets.
        delay: seconds that the server asked to wait (`Retry-After`); None for the back-off alone.
        reason: overrides the class's own reason.
        request_id: of the store's response; "" if there is none.
    """

    default_reason = Reason.STORE_UNAVAILABLE

    def __init__(
        self, message: str, *, delay: float | None = None, reason: Reason | None = None, request_id: str = ""
    ) -> None:
        super().__init__(message, reason=reason, request_id=request_id)
        self.delay = delay


class RetrySlowly(ProvisionerError):
    """Configuration error: retried with a long back-off, and immediately after an edit."""

    default_reason = Reason.INVALID_PARAMETERS


class Terminal(ProvisionerError):
    """Permanent: no retry succeeds; the claim is Failed until it, or its class, is edited."""

    default_reason = Reason.INVALID_CLAIM


class StoreUnavailable(RetrySoon):
    """The store does not answer, or fails (connection error, time-out, 5xx)."""


class Throttled(RetrySoon):
    """The store asks for fewer requests (429, SlowDown); `delay` is its Retry-After."""

    default_reason = Reason.THROTTLED


class NotReady(RetrySoon):
    """A resource was created and does not work yet (eventual consistency), or its deletion has not completed."""

    default_reason = Reason.NOT_READY


class ExpiresLater(NotReady):
    """`revoke`: the store can't revoke the credentials, which expire by themselves `delay` seconds from now.

    A claim whose bucket stays does not wait for that, nor does its namespace: Secret, ConfigMap and claim go, and the
    ObjectBucket, which is being deleted, stays until `revoke` returns.
    """


class PurgeUnfinished(RetrySoon):
    """`delete`: this call removed as much as one call may, and there is more.

    Not a failure: nothing backs off. The key is requeued behind the others, then `delete` is called again and
    continues. The claim shows how much was removed so far.

    Args:
        removed: objects, versions, delete markers and unfinished uploads that this call removed.
    """

    default_reason = Reason.PURGING

    def __init__(self, removed: int) -> None:
        super().__init__(f"the bucket is being emptied: {removed:,} objects removed just now")
        self.removed = removed


class AccessDenied(RetrySlowly):
    """The store rejects the administrator's credentials, or they lack a permission: name it."""

    default_reason = Reason.ACCESS_DENIED


class StoreRefused(RetrySlowly):
    """The store refused a request, and no other error fits: name the request and the store's error code.

    For every response with a status below 500, other than 408 and 429, without a more specific error: such a response
    is never an outage.
    """

    default_reason = Reason.STORE_REFUSED


class QuotaExceeded(RetrySlowly):
    """A limit of the account or of the bucket is reached (users, keys, policies, buckets): name it."""

    default_reason = Reason.QUOTA_EXCEEDED


class AdminSecretMissing(RetrySlowly):
    """The Secret that the class names does not exist, or may not be read. Never a silent fallback."""

    default_reason = Reason.ADMIN_SECRET_MISSING


class InvalidAdminSecret(RetrySlowly):
    """The Secret that the class names lacks a key, or has an invalid value: name the key."""

    default_reason = Reason.INVALID_ADMIN_SECRET


class InvalidParameters(RetrySlowly):
    """The class's parameters are invalid. All mistakes at once.

    Args:
        mistakes: one sentence each, starting with the parameter's name.
    """

    default_reason = Reason.INVALID_PARAMETERS

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("StorageClass parameters: " + "; ".join(mistakes))
        self.mistakes: tuple[str, ...] = tuple(mistakes)


class Misconfigured(RetrySlowly):
    """The provisioner's own flags, environment or files are wrong, whatever class and claim say: name the flag.

    Raised by a factory, it ends the process with this message and exit code 1.
    """

    default_reason = Reason.PROVISIONER_MISCONFIGURED


class BucketNotFound(RetrySlowly):
    """`grant`: the bucket that the class names does not exist."""

    default_reason = Reason.BUCKET_NOT_FOUND


class BucketLost(RetrySlowly):
    """`provision`: the bucket of a claim that was bound is gone, and its data with it. It is not recreated."""

    default_reason = Reason.BUCKET_LOST


class BucketNotEmpty(RetrySlowly):
    """The bucket holds objects that may not be removed; nothing was changed.

    `delete`: objects that are locked (object lock, retention, a hold). `delete_empty`: any object.
    """

    default_reason = Reason.BUCKET_NOT_EMPTY


class BucketExists(Terminal):
    """The bucket exists, and does not have this claim's ownership tags. It was not changed."""

    default_reason = Reason.BUCKET_EXISTS


class InvalidClaim(Terminal):
    """The store does not support what the claim asks for (such as its bucket name): name the field."""


class InvalidConfig(Terminal):
    """A value in `spec.additionalConfig` is invalid: name the key and the expected value."""

    default_reason = Reason.INVALID_CONFIG
