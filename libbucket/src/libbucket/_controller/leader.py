"""Leader election: one of several replicas is active, the others are standbys.

Between the Lease in the cluster and everything that writes: `check_leadership` is called before each write and raises
as soon as this replica may no longer be the leader. At most one replica is active at a time, because:

- The leader counts from *before* it sent its last successful renewal, and stops after the renew deadline. Others wait
  for the whole lease duration, which is longer, counted from *after* they first saw the Lease unchanged. So the leader
  stops before another may start, independently of wall clocks.
- The clock continues while the machine is suspended.
- Every write of the Lease is conditional on it being unchanged.
- A Lease that was deleted is recreated by its holder; others that have seen it wait for that.
- Work belongs to the term in which it began. A replica that loses the Lease and acquires it again does not continue
  earlier reconciles: another replica may have led in between, and their snapshots are stale.

Writes of the Lease itself use a client without a leadership check. Knows nothing of claims.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

import structlog

from libbucket._kube.errors import AlreadyExists, Conflict, KubeError, LeadershipLost, NotFound
from libbucket._kube.lease import Lease, LeaseSpec, create_lease, find_lease, micro_time, replace_lease

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket._kube.client import KubeClient

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


class LeaderElector:
    """The leader election of one replica. `run` needs its own thread.

    Args:
        client: without a leadership check.
        settings: the Lease, and its time limits.
        clock: monotonic, in seconds.
        on_failure: called after an unexpected exception.

    Attributes:
        acquired: set while this replica is the leader. For waiting; before a write call `check_leadership`.
    """

    def __init__(
        self,
        client: KubeClient,
        settings: LeaseSettings,
        *,
        clock: Callable[[], float] = boot_clock,
        on_failure: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._client = client
        self._on_failure = on_failure
        self._settings = settings
        self._clock = clock
        self._on_acquired: list[Callable[[], None]] = []
        self._on_lost: list[Callable[[], None]] = []
        self.acquired = threading.Event()
        self._log = structlog.get_logger().bind(lease=f"{settings.namespace}/{settings.name}")
        self._random = Random()  # noqa: S311 - jitter, not a secret
        self._lock = threading.RLock()
        self._renewed_at: float | None = None
        self._lease: Lease | None = None
        self._seen: LeaseSpec | None = None
        self._seen_at = 0.0
        self._has_existed = False
        self._missing_since: float | None = None
        self._failing = False
        self._term = 0
        self._work = threading.local()
        self._stop = threading.Event()
        self._release = True
        self._ended = threading.Event()
        self._ended.set()

    def subscribe(self, *, on_acquired: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Registers callbacks, which are called in order and must not block. Call it before `run`."""
        self._on_acquired.append(on_acquired)
        self._on_lost.append(on_lost)

    @property
    def is_leader(self) -> bool:
        """Whether this replica may write now."""
        renewed_at = self._renewed_at
        return renewed_at is not None and self._clock() - renewed_at < self._settings.renew_deadline

    def begin_work(self) -> None:
        """Binds the work that this thread begins to the current term."""
        self._work.term = self._term

    def check_leadership(self) -> None:
        """Returns if this replica leads, and the work of this thread began in the present term.

        Raises:
            LeadershipLost: this replica is not, or may no longer be, the leader; or it is again, and this thread began
                its work before.
        """
        term = self._term
        if not self.is_leader or getattr(self._work, "term", term) != term:
            raise LeadershipLost(f"{self._settings.identity} is not the leader, or no longer")

    def run(self) -> None:
        """Acquires and renews until `stop`; then releases."""
        self._ended.clear()
        watchdog = threading.Thread(target=self._watch_deadline, name="lease-deadline", daemon=True)
        watchdog.start()
        try:
            while not self._stop.is_set():
                self._attempt_or_log()
                spread = 1 + _JITTER * (2 * self._random.random() - 1)
                self._stop.wait(self._settings.retry_seconds * spread)
            self._give_up()
        finally:
            self._ended.set()

    def _attempt_or_log(self) -> None:
        try:
            self.attempt()
        except Exception as error:  # noqa: BLE001 - a replica that ends its election silently would never lead again
            self._lease = None
            self._on_failure(_THREAD)
            with suppress(OSError, ValueError):  # standard error is gone
                self._log.error(
                    "leader election failed with an internal error; retrying", error=type(error).__name__, exc_info=True
                )

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

    def attempt(self) -> None:
        """Tries once to acquire or renew; a failure is logged once, until the next success."""
        self.expire()  # else a replica that was frozen while another led would continue its old term
        try:
            self._renew_or_acquire()
            self._failing = False
        except (Conflict, AlreadyExists):
            self._lease = None  # another replica was faster; read it at the next attempt
        except KubeError as error:
            self._lease = None
            if not self._failing:
                self._log.warning("cannot acquire or renew the lease; retrying", error=str(error))
            self._failing = True
        self.expire()

    def expire(self) -> None:
        """Gives up leadership if the last renewal is too long ago."""
        with self._lock:
            if self._renewed_at is not None and not self.is_leader:
                self._lost("not renewed in time")

    def _renew_or_acquire(self) -> None:
        if self._lease is not None and self.is_leader and self._renewed(self._lease):
            return
        lease = find_lease(self._client, self._settings.namespace, self._settings.name)
        if lease is None:
            if not self._may_create():
                return
            started = self._clock()
            made = create_lease(self._client, self._settings.namespace, self._settings.name, self._taken(LeaseSpec()))
            self._won(made, started)
            return
        self._has_existed, self._missing_since = True, None
        self._observe(lease)
        if self._may_take(lease):
            started = self._clock()
            self._won(replace_lease(self._client, lease, self._taken(lease.record)), started)
        elif self._renewed_at is not None:
            self._lost(f"{lease.holder} holds it")

    def _renewed(self, lease: Lease) -> bool:
        """Renews in one request, the usual case: the Lease is unchanged."""
        started = self._clock()
        try:
            self._won(replace_lease(self._client, lease, self._taken(lease.record)), started)
        except (Conflict, NotFound):
            return False  # edited, deleted, or acquired by another: read it
        return True

    def _observe(self, lease: Lease) -> None:
        if lease.record != self._seen:
            self._seen, self._seen_at = lease.record, self._clock()

    def _may_take(self, lease: Lease) -> bool:
        if lease.holder in {"", self._settings.identity}:
            return True
        return self._clock() - self._seen_at > self._expiry(lease.record)

    def _may_create(self) -> bool:
        """The holder of a deleted Lease may not have noticed yet, and gets time to recreate it."""
        if self.is_leader or not self._has_existed:
            return True
        if self._missing_since is None:
            self._missing_since = self._clock()
        return self._clock() - self._missing_since > self._expiry(self._seen or LeaseSpec())

    def _expiry(self, record: LeaseSpec) -> float:
        return max(self._settings.lease_seconds, float(record.lease_duration_seconds or 0))

    def _taken(self, old: LeaseSpec) -> LeaseSpec:
        now, is_ours = micro_time(), old.holder_identity == self._settings.identity
        return LeaseSpec(
            holder_identity=self._settings.identity,
            lease_duration_seconds=round(self._settings.lease_seconds),
            acquire_time=(old.acquire_time if is_ours else None) or now,
            renew_time=now,
            lease_transitions=(old.lease_transitions or 0) + (0 if is_ours else 1),
        )

    def _won(self, lease: Lease, started: float) -> None:
        with self._lock:
            self._lease, self._renewed_at = lease, started
            self._has_existed, self._missing_since = True, None
            if self.acquired.is_set() or not self.is_leader:
                return  # a response after the deadline does not count
            self.acquired.set()
            self._log.info("became leader", identity=self._settings.identity)
            for call in self._on_acquired:
                call()

    def _lost(self, why: str) -> None:
        with self._lock:
            self._renewed_at = None
            if not self.acquired.is_set():
                return
            self._term += 1
            self.acquired.clear()
            self._log.warning("lost leadership", why=why)
            for call in self._on_lost:
                call()

    def _give_up(self) -> None:
        lease, was_leader = self._lease, self._renewed_at is not None
        self._lost("stops")  # first: no writes once another may start
        if not (self._release and was_leader and lease is not None):
            return
        now, old = micro_time(), lease.record
        released = LeaseSpec(
            holder_identity="",
            lease_duration_seconds=1,
            acquire_time=now,
            renew_time=now,
            lease_transitions=old.lease_transitions,
        )
        try:
            replace_lease(self._client, lease, released)
        except KubeError as error:
            self._log.warning("could not release the lease; standbys wait until it expires", error=str(error))

    def _watch_deadline(self) -> None:
        """Gives up leadership in time, also while a renewal waits for its response."""
        while not self._stop.wait(min(self._settings.retry_seconds, 1.0)):
            self.expire()
