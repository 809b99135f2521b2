"""What came of a reconcile, and why a claim is not done. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from libbucket._outcomes import Retry, StoreSignal

if TYPE_CHECKING:
    from libbucket.errors import Reason


class Result(StrEnum):
    """How a reconcile ended where nothing failed; else the reason is the result. A label of a metric."""

    BOUND = "bound"
    SETTLED = "settled"
    RELEASED = "released"
    IGNORED = "ignored"
    CONFLICT = "conflict"
    FENCED = "fenced"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a reconcile.

    Attributes:
        result: for the metric.
        retry: None if there is nothing more to do.
        delay: seconds that a server asked to wait at least.
        requeue_after: seconds until something is to be done although nothing changes: credentials to be renewed, a
            bucket to be purged; None where nothing is.
        store: what it said about the claim's store.
        cluster_failed: whether the API server failed on this claim's requests, although it answers others.
    """

    result: Result | Reason
    retry: Retry | None = None
    delay: float = 0.0
    requeue_after: float | None = None
    store: StoreSignal = StoreSignal.UNKNOWN
    cluster_failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a claim is not done.

    Attributes:
        reason: one of the fixed list.
        message: for the claim's author; no secrets.
        retry: when it is requeued.
        delay: seconds that the store asked for, if it did.
    """

    reason: Reason
    message: str
    retry: Retry
    delay: float = 0.0
