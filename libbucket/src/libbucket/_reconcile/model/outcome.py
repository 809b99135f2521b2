"""The outcome of a reconcile, and the failure of a claim. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from libbucket._outcomes import Retry, StoreSignal

if TYPE_CHECKING:
    from libbucket.errors import Reason


class Result(StrEnum):
    """The result of a reconcile without a failure; otherwise the result is a `Reason`. A label of a metric."""

    BOUND = "bound"
    SETTLED = "settled"
    RELEASED = "released"
    IGNORED = "ignored"
    CONFLICT = "conflict"
    FENCED = "fenced"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a reconcile.

    Attributes:
        result: for the metric.
        retry: when to requeue; None if there is nothing more to do.
        delay: minimum in seconds, from a server's Retry-After.
        requeue_after: seconds until credentials are rotated or a bucket is purged; None if neither is planned.
        store: what it implies for the claim's store.
        cluster_failed: whether the API server failed on this claim's requests, although it is up.
    """

    result: Result | Reason
    retry: Retry | None = None
    delay: float = 0.0
    requeue_after: float | None = None
    store: StoreSignal = StoreSignal.UNKNOWN
    cluster_failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a claim is not in its desired state.

    Attributes:
        reason: from the closed list.
        message: for the claim's author, without secrets.
        retry: when the claim is requeued.
        delay: minimum in seconds, from the store's Retry-After.
    """

    reason: Reason
    message: str
    retry: Retry
    delay: float = 0.0
