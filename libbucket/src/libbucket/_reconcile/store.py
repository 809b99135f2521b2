"""Calls the provisioner: one place where a verb is timed, counted, fenced and its mistakes are contained.

Between the recipes (bind, release) and the provisioner. Knows nothing of Kubernetes objects.
"""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING, TypeVar

import structlog

from libbucket.errors import ProvisionerError, Reason, RetrySlowly, RetrySoon
from libbucket.provisioner import EmptyBucketDeleter, Inspector

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket._metrics import Metrics
    from libbucket.provisioner import Provisioner
    from libbucket.types import BucketOptions, ObjectBucket

T = TypeVar("T")


class Store:
    """The provisioner, guarded.

    Args:
        provisioner: of this process.
        metrics: told of each call.
        fence: called before each call; raises `LeadershipLost` to hold it back.
    """

    def __init__(self, provisioner: Provisioner, metrics: Metrics, fence: Callable[[], None]) -> None:
        self.provisioner = provisioner
        self._metrics = metrics
        self._fence = fence
        self._log = structlog.get_logger()

    def provision(self, options: BucketOptions) -> ObjectBucket:
        """`Provisioner.provision`."""
        return self._call("provision", lambda: self.provisioner.provision(options))

    def grant(self, options: BucketOptions) -> ObjectBucket:
        """`Provisioner.grant`."""
        return self._call("grant", lambda: self.provisioner.grant(options))

    def delete(self, ob: ObjectBucket) -> None:
        """`Provisioner.delete`."""
        self._call("delete", lambda: self.provisioner.delete(ob))

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
        self._call("delete_empty", lambda: provisioner.delete_empty(ob))

    def revoke(self, ob: ObjectBucket) -> None:
        """`Provisioner.revoke`."""
        self._call("revoke", lambda: self.provisioner.revoke(ob))

    def is_intact(self, options: BucketOptions) -> bool:
        """`Inspector.is_intact`; False where the provisioner has no such ability."""
        provisioner = self.provisioner
        if not isinstance(provisioner, Inspector):
            return False
        return self._call("is_intact", lambda: provisioner.is_intact(options))

    def _call(self, verb: str, act: Callable[[], T]) -> T:
        self._fence()
        started, failure = time.monotonic(), ""
        try:
            return act()
        except ProvisionerError as error:
            failure = str(error.reason)
            raise
        except Exception as error:  # noqa: BLE001 - whatever an SDK throws must not end a worker
            failure = str(Reason.INTERNAL_ERROR)
            raise self._contain(verb, error) from None
        finally:
            self._metrics.backend_call(verb, time.monotonic() - started, failure)

    def _contain(self, verb: str, error: Exception) -> RetrySoon:
        """Turns a bug into an error that is safe to show: an SDK's own text may hold a secret."""
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        self._log.error("the provisioner has a bug", verb=verb, error=type(error).__name__, where=where)
        message = f"{verb} failed with an unexpected {type(error).__name__}; the provisioner's log says where"
        return RetrySoon(message, reason=Reason.INTERNAL_ERROR)
