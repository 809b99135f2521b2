"""Sharding: all replicas are active, and each shard of the claims is served by one of them at a time.

The other kind of election, beside `leader`, on the same Lease, whose annotations are a table: an owner for each shard,
and an entry for each replica. A replica renews its own entry, in one request that returns the whole table; renewals of
several replicas do not conflict. Owners are changed by conditional writes. A shard is served by at most one replica at
a time, because:

- A replica counts from *before* it sent its last successful renewal, and stops after the renew deadline. Others free
  its shards only after they have seen its entry unchanged for the whole lease duration, which is longer, and by a write
  that is conditional on the entry being unchanged still.
- A shard is served if the table says so that the API server returns with a renewal. It is taken only by a write that is
  conditional on it being free.
- A shard is given up only when no work on it runs: it is ended here before the write that frees it is sent.
- Work belongs to a shard and to the term in which it began, and is refused in every later one.
- A Lease that is missing is created with all shards reserved for the lease duration, except those served here.

Replicas with a leader (`leader`, also of earlier versions) see a holder that renews, and stand by. A Lease that they
hold is acquired here as they do it. So the two kinds never work at the same time, and either follows the other.
Knows nothing of claims but their keys.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from libbucket._controller.election import Election
from libbucket._controller.shards import (
    NO_REPLICAS,
    UNKNOWN,
    read_table,
    renewal,
    replica_name,
    shard_of,
    table_annotations,
)
from libbucket._kube.errors import Conflict, KubeError, LeadershipLost, NotFound
from libbucket._kube.lease import Lease, LeaseSpec, create_lease, find_lease, micro_time, patch_lease

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from libbucket._controller.shards import ShardTable

HOLDER: Final = "sharded"
"""Identity of the holder while all replicas are active; none of a replica, which has its host's name and a UUID."""

_JOIN_SECONDS: Final = 0.5
_RELEASES: Final = 8
"""Attempts to leave the table at shutdown, while other replicas write it too."""


@dataclass(frozen=True)
class _Work:
    shard: int
    term: int


class ShardElector(Election):
    """The part of one replica; arguments as for `Election`."""

    _AFTER_CONFLICT: ClassVar = 0.1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._me = replica_name(self._settings.identity)
        self._lease: Lease | None = None  # as it was when it was last read or written
        self._terms: Mapping[int, int] = {}  # of the shards that are served; replaced, never changed
        self._last_term = 0
        self._leaving: set[int] = set()
        self._running: Counter[int] = Counter()
        self._accounts = threading.Lock()  # of the three above and the terms; never held during a call
        self._work: ContextVar[_Work | None] = ContextVar("work", default=None)
        self._seen: dict[str, tuple[object, float]] = {}
        self._may_join: Callable[[], bool] = lambda: True

    def join_when(self, condition: Callable[[], bool]) -> None:
        """Takes no part before the condition is true: others serve what this replica cannot yet. Call it first."""
        self._may_join = condition

    def run(self) -> None:
        """As in `Election`."""
        while not self._may_join():
            if self._stop.wait(_JOIN_SECONDS):
                return
        super().run()

    # Work.

    def leads(self, key: str) -> bool:
        """As in `Election`."""
        shard = shard_of(key)
        return shard in self._terms and shard not in self._leaving

    @property
    def shards(self) -> int:
        """As in `Election`."""
        return len(self._terms)

    def begin_work(self, key: str) -> bool:
        """As in `Election`."""
        with self._accounts:
            if not self.leads(key):
                return False
            shard = shard_of(key)
            self._running[shard] += 1
            self._work.set(_Work(shard, self._terms[shard]))
        return True

    def end_work(self) -> None:
        """As in `Election`."""
        with self._accounts:
            work = self._work.get()
            if work is not None:
                self._running[work.shard] -= 1
                self._work.set(None)

    def check_leadership(self) -> None:
        """As in `Election`; refuses what is not work on a key."""
        work = self._work.get()
        if not self.is_leader or work is None or self._terms.get(work.shard) != work.term:
            raise LeadershipLost(f"{self._me} does not serve this shard, or no longer")

    # The table.

    def _renew_or_acquire(self) -> None:
        lease = self._lease
        if lease is None:
            lease = find_lease(self._client, self._settings.namespace, self._settings.name)
        if lease is None:
            self._create()
        elif _table(lease) is not None:
            self._renew(lease)
        elif not lease.holder or self._is_expired("", lease.record, lease.record):
            self._seen.clear()
            self._write(self._moved(NO_REPLICAS.with_replica(self._me, _token())), lease)

    def _renew(self, lease: Lease) -> None:
        """Renews the entry of this replica, and moves shards where the table that it gets back requires it."""
        started = self._clock()
        entry, spec = renewal(self._me, _token()), LeaseSpec(renew_time=micro_time())
        try:
            lease = patch_lease(self._client, lease, spec, entry, if_unchanged=False)
        except NotFound:
            self._create()
            return
        self.expire()  # a Lease that was created since may reserve shards that others have served since, too
        table = _table(lease)
        if table is None:
            self._lease = None
            self._lost(f"{lease.holder or 'no replica'} holds the lease")
            return
        reserved = table.owned_by(UNKNOWN) & self._terms.keys()
        if not reserved:  # else the deadline stays: what is reserved is ours only once it is written
            self._renewed(lease, table, started)
        moved = self._moved(table.with_owner(reserved, self._me).without(self._expired(table, lease.record)))
        if moved != table:
            self._write(moved, lease)

    def _create(self) -> None:
        """Creates the Lease. Another replica may have served under one that was deleted, and not noticed yet."""
        self._lease = None
        self.expire()
        table = NO_REPLICAS.with_replica(UNKNOWN, _token()).with_owner(NO_REPLICAS.free, UNKNOWN)
        table = table.with_replica(self._me, _token()).with_owner(self._terms, self._me)
        started = self._clock()
        where = self._settings.namespace, self._settings.name
        lease = create_lease(self._client, *where, self._spec(LeaseSpec()), table_annotations(table, {}))
        self._renewed(lease, table, started)

    def _moved(self, table: ShardTable) -> ShardTable:
        """Gives up shards above this replica's share, and takes free ones below it."""
        table = table.with_owner(self._given_up(table.owned_by(self._me), table.share_of(self._me)))
        missing = max(table.share_of(self._me) - len(table.owned_by(self._me)), 0)
        return table.with_owner(table.free[:missing], self._me)

    def _given_up(self, mine: Collection[int], share: int) -> Collection[int]:
        """The shards to free now: no work on them runs, and none begins."""
        with self._accounts:
            self._leaving &= set(mine)
            staying = sorted(set(mine) - self._leaving, key=lambda shard: (self._running[shard], shard))
            self._leaving |= set(staying[: max(len(staying) - share, 0)])
            return {shard for shard in self._leaving if not self._running[shard]}

    def _write(self, table: ShardTable, lease: Lease) -> None:
        """Writes the table. What it does not give to this replica has ended before, and what it gives begins after."""
        self._end(self._terms.keys() - table.owned_by(self._me), "other replicas serve them from now on")
        table = table.with_replica(self._me, _token())
        spec, changes = self._spec(lease.record), table_annotations(table, _annotations(lease))
        started = self._clock()
        lease = patch_lease(self._client, lease, spec, changes, if_unchanged=True)
        self._renewed(lease, table, started)

    def _renewed(self, lease: Lease, table: ShardTable, started: float) -> None:
        """A write succeeded: exactly what the table gives to this replica is served from now on."""
        self._lease = lease
        with self._lock:
            self._renewed_at = started
            if not self.is_leader:
                return  # a response after the deadline does not count
            self._end(self._terms.keys() - table.owned_by(self._me), "other replicas serve them")
            with self._accounts:
                new = table.owned_by(self._me) - self._terms.keys()
                self._last_term += 1
                self._terms = {**self._terms, **dict.fromkeys(new, self._last_term)}
            if not new:
                return
            self.acquired.set()
            self._log.info("serves shards", acquired=sorted(new), serves=len(self._terms), identity=self._me)
            for call in self._on_acquired:
                call(_keys_of(new))

    def _end(self, shards: Collection[int], why: str) -> None:
        """Ends the terms of these shards."""
        with self._lock:
            with self._accounts:
                ended = frozenset(shards) & self._terms.keys()
                self._terms = {shard: term for shard, term in self._terms.items() if shard not in ended}
                self._leaving -= ended
                if not self._terms:
                    self.acquired.clear()
            if not ended:
                return
            self._log.info("no longer serves shards", lost=sorted(ended), serves=len(self._terms), why=why)
            for call in self._on_lost:
                call(_keys_of(ended))

    def _lost(self, why: str) -> None:
        with self._lock:
            self._renewed_at = None
            self._end(self._terms.keys(), why)

    # Other replicas.

    def _expired(self, table: ShardTable, record: LeaseSpec) -> list[str]:
        """Replicas that have not renewed for the lease duration."""
        others = {one: token for one, token in table.replicas.items() if one != self._me}
        self._seen = {one: seen for one, seen in self._seen.items() if one in others}
        return [one for one, token in others.items() if self._is_expired(one, token, record)]

    def _is_expired(self, who: str, said: object, record: LeaseSpec) -> bool:
        """Whether the entry of a replica has been the same for the lease duration, as seen from here."""
        now = self._clock()
        if self._seen.get(who, (None, now))[0] != said:
            self._seen[who] = said, now
        return now - self._seen[who][1] > max(self._settings.lease_seconds, float(record.lease_duration_seconds or 0))

    # The Lease.

    def _spec(self, old: LeaseSpec) -> LeaseSpec:
        now, is_ours = micro_time(), old.holder_identity == HOLDER
        return LeaseSpec(
            holder_identity=HOLDER,
            lease_duration_seconds=round(self._settings.lease_seconds),
            acquire_time=(old.acquire_time if is_ours else None) or now,
            renew_time=now,
            lease_transitions=(old.lease_transitions or 0) + (0 if is_ours else 1),
        )

    def _reread(self) -> None:
        self._lease = None

    def _give_up(self) -> None:
        was_active = self._renewed_at is not None
        self._lost("stops")  # first: no writes once another may start
        if not (self._release and was_active):
            return
        try:
            self._leave()
        except KubeError as error:
            self._log.warning("could not release the shards; others wait until they expire", error=str(error))

    def _leave(self) -> None:
        """Removes this replica from the table; the last one releases the Lease."""
        for attempt in range(_RELEASES):
            lease = find_lease(self._client, self._settings.namespace, self._settings.name)
            table = _table(lease) if lease is not None else None
            if lease is None or table is None:
                return
            table = table.without([self._me])
            spec = self._spec(lease.record) if table.replicas else _released()
            try:
                changes = table_annotations(table, _annotations(lease))
                patch_lease(self._client, lease, spec, changes, if_unchanged=True)
            except Conflict:
                if attempt == _RELEASES - 1:
                    raise
            else:
                return


def _token() -> str:
    return uuid.uuid4().hex[:16]


def _annotations(lease: Lease) -> Mapping[str, str]:
    return lease.metadata.annotations or {}


def _table(lease: Lease) -> ShardTable | None:
    """The table of the Lease; None if a leader holds it, or a version with other shards."""
    return read_table(_annotations(lease)) if lease.holder == HOLDER else None


def _released() -> LeaseSpec:
    now = micro_time()
    return LeaseSpec(holder_identity="", lease_duration_seconds=1, acquire_time=now, renew_time=now)


def _keys_of(shards: Collection[int]) -> Callable[[str], bool]:
    return lambda key: shard_of(key) in shards
