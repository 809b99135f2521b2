"""Calls the provisioner: one place where a verb is timed, counted, fenced and its mistakes are contained.

Between the recipes (bind, release) and the provisioner. A store that is down gets one call at a time: see `_gate`.
What one store is, only its class's parameters tell. Knows nothing of Kubernetes objects.
"""

from __future__ import annotations

import time
import traceback
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from libbucket._gate import Answer, Gate, Gates, Held
from libbucket.errors import ProvisionerError, Reason, RetrySlowly, RetrySoon
from libbucket.provisioner import EmptyBucketDeleter, Inspector

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from libbucket._gate import Call
    from libbucket._metrics import Metrics
    from libbucket._reconcile.sent import Sent
    from libbucket.provisioner import Provisioner
    from libbucket.types import BucketOptions, ObjectBucket

T = TypeVar("T")

_NO_ANSWER: Final = frozenset({Reason.STORE_UNAVAILABLE, Reason.THROTTLED})
_UNASKED: Final = frozenset(
    {
        Reason.ADMIN_SECRET_MISSING,
        Reason.CLUSTER_UNAVAILABLE,
        Reason.INTERNAL_ERROR,
        Reason.INVALID_ADMIN_SECRET,
        Reason.INVALID_CLAIM,
        Reason.INVALID_CONFIG,
        Reason.INVALID_PARAMETERS,
    }
)
"""What may have been found before the store was asked anything."""
_OF_THE_CLASS: Final = frozenset({Reason.ADMIN_SECRET_MISSING, Reason.INVALID_ADMIN_SECRET, Reason.INVALID_PARAMETERS})
"""What every call for a claim of that class ends with, its deletion too."""


class Store:
    """The provisioner, guarded.

    Args:
        provisioner: of this process.
        metrics: told of each call.
        fence: called before each call; raises `LeadershipLost` to hold it back.
        sent: knows what a call has sent.
        new_gate: makes a gate that tells its argument when a store goes down, and when it answers again.
    """

    def __init__(
        self,
        provisioner: Provisioner,
        metrics: Metrics,
        fence: Callable[[], None],
        sent: Sent,
        new_gate: Callable[[Callable[[bool], None]], Gate],
    ) -> None:
        self.provisioner = provisioner
        self._metrics = metrics
        self._fence = fence
        self._sent = sent
        self._gates = Gates(lambda store: new_gate(partial(self._say, store)))
        self._troubles: dict[Hashable, tuple[str, Reason]] = {}
        self._log = structlog.get_logger()

    def provision(self, options: BucketOptions) -> ObjectBucket:
        """`Provisioner.provision`."""
        return self._call("provision", options, lambda: self.provisioner.provision(options))

    def grant(self, options: BucketOptions) -> ObjectBucket:
        """`Provisioner.grant`."""
        return self._call("grant", options, lambda: self.provisioner.grant(options))

    def delete(self, ob: ObjectBucket) -> None:
        """`Provisioner.delete`."""
        self._call("delete", ob, lambda: self.provisioner.delete(ob))

    def delete_empty(self, ob: ObjectBucket) -> None:
        """`EmptyBucketDeleter.delete_empty`; refuses where the provisioner has no such ability.

        Raises:
            RetrySlowly: it has not; nothing was touched.
        """
        provisioner = self.provisioner
        if not isinstance(provisioner, EmptyBucketDeleter):
            raise RetrySlowly(
                f"this provisioner can't tell whether bucket {ob.bucket_name} is empty, so it stays as it is",
                reason=Reason.BUCKET_NOT_EMPTY,
            )
        self._call("delete_empty", ob, lambda: provisioner.delete_empty(ob))

    def revoke(self, ob: ObjectBucket) -> None:
        """`Provisioner.revoke`."""
        self._call("revoke", ob, lambda: self.provisioner.revoke(ob))

    def is_intact(self, options: BucketOptions) -> bool:
        """`Inspector.is_intact`; False where the provisioner has no such ability."""
        provisioner = self.provisioner
        if not isinstance(provisioner, Inspector):
            return False
        return self._call("is_intact", options, lambda: provisioner.is_intact(options))

    def has_refused_unasked(self, error: ProvisionerError) -> bool:
        """Whether the call of this thread that ended so found the class at fault, and has sent the store nothing."""
        return error.reason in _OF_THE_CLASS and not self._sent.anything

    def _call(self, verb: str, request: BucketOptions | ObjectBucket, act: Callable[[], T]) -> T:
        self._fence()
        store = frozenset(request.parameters.items())
        try:
            with self._gates.passing(store, f"{request.owner.namespace}/{request.owner.name}") as call:
                return self._ask(store, verb, act, call)
        except Held as held:
            message, reason = self._troubles[store]
            raise RetrySoon(message, delay=held.seconds, reason=reason) from None

    def _ask(self, store: Hashable, verb: str, act: Callable[[], T], call: Call) -> T:
        started, failure = time.monotonic(), ""
        self._sent.begin()
        try:
            answer = act()
            call.answer = Answer.GIVEN
        except ProvisionerError as error:
            failure = str(error.reason)
            self._fence()  # what broke because this replica no longer leads says nothing about the store
            self._note(store, error, call)
            raise
        except Exception as error:  # noqa: BLE001 - whatever an SDK throws must not end a worker
            failure = str(Reason.INTERNAL_ERROR)
            self._fence()
            raise self._contain(verb, error) from None
        else:
            return answer
        finally:
            self._metrics.backend_call(verb, time.monotonic() - started, failure)

    def _note(self, store: Hashable, error: ProvisionerError, call: Call) -> None:
        if error.reason in _NO_ANSWER:
            call.answer = Answer.MISSING
            call.delay = (error.delay or 0.0) if isinstance(error, RetrySoon) else 0.0
            self._troubles[store] = (error.message, error.reason)
        elif error.reason not in _UNASKED:
            call.answer = Answer.GIVEN

    def _say(self, store: Hashable, is_down: bool) -> None:  # noqa: FBT001 - one bit of news
        message, reason = self._troubles[store]
        if is_down:
            self._log.warning(
                "a store is down: its claims wait, and one of them asks", reason=str(reason), error=message
            )
        else:
            self._log.info("a store answers again: its claims go on", was=message)

    def _contain(self, verb: str, error: Exception) -> RetrySoon:
        """Turns a bug into an error that is safe to show: an SDK's own text may hold a secret."""
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        self._log.error("the provisioner has a bug", verb=verb, error=type(error).__name__, where=where)
        message = f"{verb} failed with an unexpected {type(error).__name__}; the provisioner's log says where"
        return RetrySoon(message, reason=Reason.INTERNAL_ERROR)
