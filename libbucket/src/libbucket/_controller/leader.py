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

`shard_elector` is the other kind of election. Knows nothing of claims.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from libbucket._controller.election import Election
from libbucket._controller.shards import SHARDS
from libbucket._kube.errors import Conflict, KubeError, LeadershipLost, NotFound
from libbucket._kube.lease import Lease, LeaseSpec, create_lease, find_lease, micro_time, replace_lease


def every_key(_key: str) -> bool:
    """The keys that a leader serves."""
    return True


class LeaderElector(Election):
    """The leader election of one replica; arguments as for `Election`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lease: Lease | None = None
        self._seen: LeaseSpec | None = None
        self._seen_at = 0.0
        self._has_existed = False
        self._missing_since: float | None = None
        self._term = 0
        # Not of the thread: a verb that runs parts of itself in other threads hands its context on.
        self._work: ContextVar[int | None] = ContextVar("term", default=None)

    def leads(self, key: str) -> bool:  # noqa: ARG002 - a leader serves all
        """As in `Election`."""
        return self.acquired.is_set()

    @property
    def shards(self) -> int:
        """As in `Election`."""
        return SHARDS if self.acquired.is_set() else 0

    def begin_work(self, key: str) -> bool:
        """As in `Election`."""
        self._work.set(self._term)
        return self.leads(key)

    def end_work(self) -> None:
        """As in `Election`."""

    def check_leadership(self) -> None:
        """As in `Election`."""
        term = self._term
        begun = self._work.get()
        if not self.is_leader or (begun is not None and begun != term):
            raise LeadershipLost(f"{self._settings.identity} is not the leader, or no longer")

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

    def _reread(self) -> None:
        self._lease = None

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
                call(every_key)

    def _lost(self, why: str) -> None:
        with self._lock:
            self._renewed_at = None
            if not self.acquired.is_set():
                return
            self._term += 1
            self.acquired.clear()
            self._log.warning("lost leadership", why=why)
            for call in self._on_lost:
                call(every_key)

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
