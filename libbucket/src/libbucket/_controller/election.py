"""What every election has in common: the loop that renews in time, the deadline, the release at shutdown.

Under `leader`, with which one of several replicas is active, and `shard_elector`, with which all are. Writes of the
Lease use a client without a leadership check. Knows nothing of claims but their keys.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, ClassVar, Final

import structlog

from libbucket._kube.errors import AlreadyExists, Conflict, KubeError, LeadershipLost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket._kube.client import KubeClient

    HasKey = Callable[[str], bool]

_STOP_SECONDS: Final = 5.0
_JITTER: Final = 0.2
_THREAD: Final = "leader-election"


def boot_clock() -> float:
    """Seconds of a monotonic clock that includes suspension of the machine, if there is one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclass(frozen=True, kw_only=True)
class LeaseSettings:
    """The Lease, and its time limits.

    Attributes:
        name: of the Lease.
        namespace: of the Lease.
        identity: unique for this process, also across restarts.
        lease_seconds: others wait this long after the last renewal.
        renew_deadline: seconds after which the leader stops; less than `lease_seconds`.
        retry_seconds: between two attempts to acquire or renew; with jitter.
    """

    name: str
    namespace: str
    identity: str
    lease_seconds: float = 15.0
    renew_deadline: float = 10.0
    retry_seconds: float = 2.0


class Election(ABC):
    """The election of one replica. `run` needs its own thread.

    Args:
        client: without a leadership check.
        settings: the Lease, and its time limits.
        clock: monotonic, in seconds.
        on_failure: called after an unexpected exception.

    Attributes:
        acquired: set while this replica may serve any claim. For waiting; before a write call `check_leadership`.
    """

    _AFTER_CONFLICT: ClassVar = 1.0
    """Part of the usual pause after another replica was faster."""

    def __init__(
        self,
        client: KubeClient,
        settings: LeaseSettings,
        *,
        clock: Callable[[], float] = boot_clock,
        on_failure: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self.acquired = threading.Event()
        self._client = client
        self._settings = settings
        self._clock = clock
        self._on_failure = on_failure
        self._on_acquired: list[Callable[[HasKey], None]] = []
        self._on_lost: list[Callable[[HasKey], None]] = []
        self._log = structlog.get_logger().bind(lease=f"{settings.namespace}/{settings.name}")
        self._random = Random()  # noqa: S311 - jitter, not a secret
        self._lock = threading.RLock()
        self._renewed_at: float | None = None
        self._failing = False
        self._stop = threading.Event()
        self._release = True
        self._ended = threading.Event()
        self._ended.set()

    def subscribe(self, *, on_acquired: Callable[[HasKey], None], on_lost: Callable[[HasKey], None]) -> None:
        """Registers callbacks, which are called in order and must not block. Call it before `run`.

        Args:
            on_acquired: called with a function that tells the keys that this replica serves from now on.
            on_lost: called with one that tells the keys that it no longer serves.
        """
        self._on_acquired.append(on_acquired)
        self._on_lost.append(on_lost)

    @property
    def is_leader(self) -> bool:
        """Whether the last renewal is recent enough for this replica to write now."""
        renewed_at = self._renewed_at
        return renewed_at is not None and self._clock() - renewed_at < self._settings.renew_deadline

    @abstractmethod
    def leads(self, key: str) -> bool:
        """Whether this replica serves the claim with this key, so that its changes are to be queued.

        Not a permission to write: that is `check_leadership`, which also knows the time.
        """

    @property
    @abstractmethod
    def shards(self) -> int:
        """The number of shards of the claims that this replica serves."""

    @abstractmethod
    def begin_work(self, key: str) -> bool:
        """Binds the work on a key that this thread begins to the current term; False if another replica serves it."""

    @abstractmethod
    def end_work(self) -> None:
        """The work that this thread began has ended."""

    @abstractmethod
    def check_leadership(self) -> None:
        """Returns if the work of this thread began in the present term, and this replica may write for it now.

        Raises:
            LeadershipLost: this replica is not, or may no longer be, the leader; or it is again, and this thread began
                its work before.
        """

    @contextmanager
    def work(self, key: str) -> Iterator[bool]:
        """Work on a key in this block, if this replica serves it, which the block is told."""
        has_begun = self.begin_work(key)
        try:
            yield has_begun
        finally:
            if has_begun:
                self.end_work()

    def check_renewal(self) -> None:
        """Returns if the last renewal is recent enough; for what belongs to no term.

        Raises:
            LeadershipLost: it is not.
        """
        if not self.is_leader:
            raise LeadershipLost(f"{self._settings.identity} has not renewed the lease in time")

    def run(self) -> None:
        """Acquires and renews until `stop`; then releases."""
        self._ended.clear()
        watchdog = threading.Thread(target=self._watch_deadline, name="lease-deadline", daemon=True)
        watchdog.start()
        try:
            while not self._stop.is_set():
                pause = self._settings.retry_seconds * self._attempt_or_log()
                spread = 1 + _JITTER * (2 * self._random.random() - 1)
                self._stop.wait(pause * spread)
            self._give_up()
        finally:
            self._ended.set()

    def stop(self, *, release: bool = True) -> None:
        """Ends `run` and waits for it, up to a few seconds.

        Args:
            release: lets another replica take over at once. False while reconciles of this process still run: the
                others wait until the lease expires.
        """
        self._release = release
        self._stop.set()
        if not self._ended.wait(_STOP_SECONDS):
            self._log.warning("could not release the lease in time; standbys wait until it expires")

    def attempt(self) -> bool:
        """Tries once to acquire or renew; a failure is logged once, until the next success.

        Returns:
            Whether no other replica was faster.
        """
        was_first = True
        self.expire()  # else a replica that was frozen while another led would continue its old term
        try:
            self._renew_or_acquire()
            self._failing = False
        except (Conflict, AlreadyExists):
            was_first = False
            self._reread()
        except KubeError as error:
            self._reread()
            if not self._failing:
                self._log.warning("cannot acquire or renew the lease; retrying", error=str(error))
            self._failing = True
        self.expire()
        return was_first

    def expire(self) -> None:
        """Gives up leadership if the last renewal is too long ago."""
        with self._lock:
            if self._renewed_at is not None and not self.is_leader:
                self._lost("not renewed in time")

    @abstractmethod
    def _renew_or_acquire(self) -> None:
        """Makes the requests of one attempt.

        Raises:
            Conflict, AlreadyExists: another replica was faster.
            KubeError: any other refusal, or no answer.
        """

    @abstractmethod
    def _lost(self, why: str) -> None:
        """Ends every term of this replica."""

    @abstractmethod
    def _give_up(self) -> None:
        """Ends every term, and releases the Lease if that is wanted and possible."""

    def _reread(self) -> None:  # noqa: B027 - one kind of election reads it at every attempt
        """An attempt failed: what is known of the Lease may be outdated."""

    def _attempt_or_log(self) -> float:
        """Makes an attempt; returns the pause after it, as a part of the usual one."""
        try:
            return 1.0 if self.attempt() else self._AFTER_CONFLICT
        except Exception as error:  # noqa: BLE001 - a replica that ends its election silently would never lead again
            self._reread()
            self._on_failure(_THREAD)
            with suppress(OSError, ValueError):  # standard error is gone
                self._log.error(
                    "leader election failed with an internal error; retrying", error=type(error).__name__, exc_info=True
                )
            return 1.0

    def _watch_deadline(self) -> None:
        """Gives up leadership in time, also while a renewal waits for its response."""
        while not self._stop.wait(min(self._settings.retry_seconds, 1.0)):
            self.expire()
