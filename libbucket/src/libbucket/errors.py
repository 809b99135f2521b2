"""What a provisioner raises, and what the core does next.

Sits between a provisioner package, which translates its SDK's errors into these once, and the reconcile
loop, which reads nothing of an error but its class, `reason`, `delay` and message. Knows no store and no
Kubernetes transport.

There are three answers, and every error is one of them:

==================  ======================================================  ==========================
class               what the core does next                                 what the claim shows
==================  ======================================================  ==========================
`RetrySoon`         tries again with back-off, after `delay` if given       Pending, Ready=False
`RetrySlowly`       configuration is wrong: tries again rarely; an edit of  Pending, Ready=False
                    the claim or its class wakes it at once
`Terminal`          never tries again until the claim or its class changes  Failed, Stalled=True
==================  ======================================================  ==========================

A claim that is Bound already keeps its phase and its Secret whatever the error. Messages are shown to the
claim's author in a condition and an Event: say what is wrong, name the field and the fix, never a secret.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class Reason(StrEnum):
    """Every reason that a condition or an Event of ours can carry: the list is closed.

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
    # The claim, or an edit of it.
    INVALID_CLAIM = "InvalidClaim"
    INVALID_CONFIG = "InvalidConfig"
    INVALID_UPDATE = "InvalidUpdate"
    UNMANAGED_CONFIG = "UnmanagedConfig"
    # The class and the administrator's side.
    STORAGE_CLASS_MISSING = "StorageClassMissing"
    INVALID_PARAMETERS = "InvalidParameters"
    ADMIN_SECRET_MISSING = "AdminSecretMissing"
    INVALID_ADMIN_SECRET = "InvalidAdminSecret"
    ACCESS_DENIED = "AccessDenied"
    STORE_REFUSED = "StoreRefused"
    # Other objects in the way.
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
    INTERNAL_ERROR = "InternalError"


class ProvisionerError(Exception):
    """Base of all errors that a provisioner raises. Raise one of its three kinds, or a named one below.

    Args:
        message: one sentence for the claim's author; without secrets.
        reason: overrides the class's own reason.
        request_id: of the store's answer, for its operators' logs; "" where there is none. It is logged with the
            failure, and not shown on the claim.
    """

    default_reason: ClassVar[Reason] = Reason.INTERNAL_ERROR

    def __init__(self, message: str, *, reason: Reason | None = None, request_id: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reason: Reason = reason or self.default_reason
        self.request_id = request_id


class RetrySoon(ProvisionerError):
    """The store can't now, but will: the core tries again with back-off.

    Args:
        message: one sentence for the claim's author; without secrets.
        delay: seconds that the server asked to wait (`Retry-After`); None leaves it to the back-off.
        reason: overrides the class's own reason.
        request_id: of the store's answer; "" where there is none.
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
    """The store does not answer, or answers with a failure of its own (connection, time-out, 5xx)."""


class Throttled(RetrySoon):
    """The store asks for fewer requests (429, SlowDown); `delay` carries its Retry-After."""

    default_reason = Reason.THROTTLED


class NotReady(RetrySoon):
    """Something was made and does not work yet (eventual consistency), or is still going away."""

    default_reason = Reason.NOT_READY


class ExpiresLater(NotReady):
    """`revoke`: the store can't revoke the credentials, which expire by themselves `delay` seconds from now.

    A claim whose bucket stays does not wait for that, nor does its namespace: Secret, ConfigMap and claim go, and the
    ObjectBucket, which is being deleted, stays until `revoke` returns.
    """


class PurgeUnfinished(RetrySoon):
    """`delete`: this call removed what it may at a time, and there is more.

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
    """The store refuses the administrator's credentials, or lacks a permission: name which."""

    default_reason = Reason.ACCESS_DENIED


class StoreRefused(RetrySlowly):
    """The store answered a request with a refusal that no other error stands for: name the request and the code.

    For every answer with a status below 500, other than 408 and 429, that a provisioner has no better error for: such
    an answer is an answer, and never an outage.
    """

    default_reason = Reason.STORE_REFUSED


class QuotaExceeded(RetrySlowly):
    """A limit of the account or of the bucket is reached (users, keys, policies, buckets): name which."""

    default_reason = Reason.QUOTA_EXCEEDED


class AdminSecretMissing(RetrySlowly):
    """The Secret that the class names does not exist or may not be read. Never a silent fallback."""

    default_reason = Reason.ADMIN_SECRET_MISSING


class InvalidAdminSecret(RetrySlowly):
    """The Secret that the class names lacks a key, or holds what can't be used: name the key."""

    default_reason = Reason.INVALID_ADMIN_SECRET


class InvalidParameters(RetrySlowly):
    """The class's parameters are wrong. All mistakes at once.

    Args:
        mistakes: one sentence each, starting with the parameter's name.
    """

    default_reason = Reason.INVALID_PARAMETERS

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("StorageClass parameters: " + "; ".join(mistakes))
        self.mistakes = tuple(mistakes)


class BucketNotFound(RetrySlowly):
    """`grant`: the bucket that the class names does not exist."""

    default_reason = Reason.BUCKET_NOT_FOUND


class BucketLost(RetrySlowly):
    """`provision`: the bucket of a claim that was bound is gone, and its data with it. It is not made again."""

    default_reason = Reason.BUCKET_LOST


class BucketNotEmpty(RetrySlowly):
    """Nothing was touched: the bucket holds what may not be removed.

    `delete`: objects that are locked (object lock, retention, a hold). `delete_empty`: anything at all.
    """

    default_reason = Reason.BUCKET_NOT_EMPTY


class BucketExists(Terminal):
    """`provision`: the bucket exists and does not carry this claim's stamp. Nothing of it was touched."""

    default_reason = Reason.BUCKET_EXISTS


class InvalidClaim(Terminal):
    """The claim asks for what the store can't do (a bucket name that it refuses): name the field."""


class InvalidConfig(Terminal):
    """A value in `spec.additionalConfig` can't be used: name the key and what is expected."""

    default_reason = Reason.INVALID_CONFIG
