"""What each reason means to the core: one row for each `Reason`, and the only such table. Pure data.

Read by planning (when to requeue), by the guarded provisioner calls (did the store answer?), by releases (can other
parameters help?), by the controller (is this an outage?), and by status and metrics (who has to act?). A `Reason`
without a row fails the unit tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from libbucket.errors import ProvisionerError, Reason, RetrySlowly, RetrySoon

if TYPE_CHECKING:
    from collections.abc import Mapping


class Retry(Enum):
    """When a claim that is not done is requeued."""

    SOON = auto()
    SLOWLY = auto()
    NEVER = auto()
    """Not before the claim, or its class, is edited."""
    NEXT_TURN = auto()
    """After the other claims: nothing failed, and there is more to do."""


class StoreSignal(Enum):
    """What an outcome implies for the store."""

    ANSWERED = auto()
    """It answered, possibly with a refusal."""
    BUSY = auto()
    """It asked for fewer requests: counts towards opening its circuit breaker."""
    UNAVAILABLE = auto()
    """It did not answer, or failed: counts as well, and its class gets one worker until it answers."""
    UNKNOWN = auto()
    """It may not have received a request."""


OUTAGES: Final = frozenset({StoreSignal.BUSY, StoreSignal.UNAVAILABLE})


class Actor(Enum):
    """Who has to act before the claim makes progress."""

    NOBODY = auto()
    AUTHOR = auto()
    """Of the claim: operators are not alerted."""
    ADMINISTRATOR = auto()


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a reason means.

    Attributes:
        retry: when the claim is requeued; None for reasons that only report progress.
        store: what it implies for the store.
        before_first_request: whether it can occur before the store was sent a request.
        of_the_class: whether every call for a claim of that class fails with it, also a deletion.
        bucket_missing: whether no application can work, even if Secret and ConfigMap are intact.
        proves_access: whether only a store that accepted the administrator's credentials can cause it.
        unrelated_to_parameters: whether the parameters of the class cannot be its cause.
        is_outage: whether a server that all claims need is down.
        actor: who has to act.
    """

    retry: Retry | None
    store: StoreSignal = StoreSignal.UNKNOWN
    before_first_request: bool = False
    of_the_class: bool = False
    bucket_missing: bool = False
    proves_access: bool = False
    unrelated_to_parameters: bool = False
    is_outage: bool = False
    actor: Actor = Actor.NOBODY

    @property
    def suspects_parameters(self) -> bool:
        """Whether other parameters of the class may help: a call that fails with it may have reached no store."""
        return not self.proves_access and not self.unrelated_to_parameters


_PROGRESS: Final = Meaning(retry=None)
_AUTHOR: Final = Meaning(retry=Retry.NEVER, before_first_request=True, actor=Actor.AUTHOR)
_CLASS: Final = Meaning(retry=Retry.SLOWLY, before_first_request=True, of_the_class=True, actor=Actor.ADMINISTRATOR)
_CLUSTER: Final = Meaning(retry=Retry.SLOWLY, before_first_request=True, actor=Actor.ADMINISTRATOR)
_REFUSED: Final = Meaning(retry=Retry.SLOWLY, store=StoreSignal.ANSWERED, actor=Actor.ADMINISTRATOR)
_GONE: Final = Meaning(
    retry=Retry.SLOWLY,
    store=StoreSignal.ANSWERED,
    bucket_missing=True,
    proves_access=True,
    actor=Actor.ADMINISTRATOR,
)
_LIMIT: Final = Meaning(retry=Retry.SLOWLY, store=StoreSignal.ANSWERED, proves_access=True, actor=Actor.ADMINISTRATOR)

MEANINGS: Final[Mapping[Reason, Meaning]] = {
    Reason.PROVISIONING: _PROGRESS,
    Reason.BOUND: _PROGRESS,
    Reason.RELEASED: _PROGRESS,
    Reason.RECLAIMED: _PROGRESS,
    Reason.RESTORED: _PROGRESS,
    Reason.CREDENTIALS_ROTATED: _PROGRESS,
    Reason.DRIFT_REPAIRED: _PROGRESS,
    Reason.UNMANAGED_CONFIG: _PROGRESS,
    Reason.PROVISIONER_WARNING: _PROGRESS,
    Reason.PURGING: Meaning(retry=Retry.NEXT_TURN, store=StoreSignal.ANSWERED, proves_access=True),
    Reason.INVALID_CLAIM: _AUTHOR,
    Reason.INVALID_CONFIG: _AUTHOR,
    Reason.INVALID_UPDATE: _AUTHOR,
    Reason.STORAGE_CLASS_MISSING: _CLUSTER,
    Reason.INVALID_PARAMETERS: _CLASS,
    Reason.ADMIN_SECRET_MISSING: _CLASS,
    Reason.INVALID_ADMIN_SECRET: _CLASS,
    Reason.ACCESS_DENIED: _REFUSED,
    Reason.STORE_REFUSED: _REFUSED,
    Reason.OBJECT_BUCKET_CONFLICT: _CLUSTER,
    Reason.SECRET_CONFLICT: Meaning(retry=Retry.SOON, actor=Actor.AUTHOR),
    Reason.CONFIG_MAP_CONFLICT: Meaning(retry=Retry.SOON, actor=Actor.AUTHOR),
    Reason.NAMESPACE_TERMINATING: Meaning(retry=Retry.SLOWLY),
    Reason.BUCKET_EXISTS: Meaning(
        retry=Retry.NEVER, store=StoreSignal.ANSWERED, proves_access=True, actor=Actor.AUTHOR
    ),
    Reason.BUCKET_NOT_FOUND: _GONE,
    Reason.BUCKET_LOST: _GONE,
    Reason.BUCKET_NOT_EMPTY: _LIMIT,
    Reason.QUOTA_EXCEEDED: _LIMIT,
    Reason.NOT_READY: Meaning(retry=Retry.SOON, store=StoreSignal.ANSWERED, proves_access=True),
    Reason.THROTTLED: Meaning(retry=Retry.SOON, store=StoreSignal.BUSY, unrelated_to_parameters=True),
    Reason.STORE_UNAVAILABLE: Meaning(
        retry=Retry.SOON,
        store=StoreSignal.UNAVAILABLE,
        before_first_request=True,
        is_outage=True,
        actor=Actor.ADMINISTRATOR,
    ),
    Reason.CLUSTER_UNAVAILABLE: Meaning(
        retry=Retry.SOON,
        before_first_request=True,
        unrelated_to_parameters=True,
        is_outage=True,
        actor=Actor.ADMINISTRATOR,
    ),
    Reason.REJECTED_BY_CLUSTER: _CLUSTER,
    Reason.DELETION_BLOCKED: _CLUSTER,
    Reason.PROVISIONER_MISCONFIGURED: Meaning(
        retry=Retry.SLOWLY, before_first_request=True, unrelated_to_parameters=True, actor=Actor.ADMINISTRATOR
    ),
    Reason.INTERNAL_ERROR: Meaning(
        retry=Retry.SOON, before_first_request=True, unrelated_to_parameters=True, actor=Actor.ADMINISTRATOR
    ),
}


def meaning_of(reason: str) -> Meaning | None:
    """The row of a reason that was read from an object; None if it is not one of ours."""
    try:
        return MEANINGS[Reason(reason)]
    except ValueError:
        return None


def retry_of(error: ProvisionerError) -> Retry:
    """When a claim is requeued after this error: determined by its class, independently of its reason."""
    if MEANINGS[error.reason].retry is Retry.NEXT_TURN:
        return Retry.NEXT_TURN
    if isinstance(error, RetrySoon):
        return Retry.SOON
    return Retry.SLOWLY if isinstance(error, RetrySlowly) else Retry.NEVER


def store_signal(error: ProvisionerError) -> StoreSignal:
    """What this error implies for the store.

    Only an error that is retried soon can be an outage: one that waits for an edit was an answer, whatever its reason.
    """
    signal = MEANINGS[error.reason].store
    if signal in OUTAGES and not isinstance(error, RetrySoon):
        return StoreSignal.ANSWERED
    return signal
