"""What allows a replica of the model to write: the term of a leader, or the real elector of shards.

Used by `core`, which plays a reconcile under such a fence, and by `moves`, which moves shards.
"""

from __future__ import annotations

from collections import Counter
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

from libbucket._controller.election import LeaseSettings
from libbucket._controller.shard_elector import ShardElector
from libbucket._controller.shards import NO_REPLICAS, shard_of
from libbucket._kube.errors import LeadershipLost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from libbucket._kube.client import KubeClient
    from libbucket._kube.lease import Lease

_SETTINGS: Final = LeaseSettings(name="lease", namespace="default", identity="replica")


@dataclass(frozen=True, kw_only=True)
class FenceMoved:
    """While a reconcile waited for an answer, leadership was lost or won, or shards were.

    Attributes:
        serves: the shards that this replica serves from then on; none after a pause for longer than its lease. None
            where there is a leader: whether it lost or won, what this term had begun is ended.
    """

    serves: frozenset[int] | None = None

    def ends(self, key: str) -> bool:
        """Whether it ends what had begun for this key."""
        return self.serves is None or shard_of(key) not in self.serves


class Fence(Protocol):
    """The permission of one reconcile to write."""

    has_begun: bool

    def moved(self, item: FenceMoved) -> None:
        """Something changed."""

    def check(self) -> None:
        """Returns if the reconcile may write.

        Raises:
            LeadershipLost: it may not.
        """


class OfLeader:
    """The term of a leader, which every change ends."""

    has_begun = True

    def __init__(self) -> None:
        self._is_of_this_term = True

    def moved(self, item: FenceMoved) -> None:
        """The term is over."""
        del item
        self._is_of_this_term = False

    def check(self) -> None:
        """As in `Fence`."""
        if not self._is_of_this_term:
            raise LeadershipLost("another replica is, or was, the leader")


class OfShards:
    """The real elector: told of renewals and of what the table said then; its clock goes on only in a pause.

    Args:
        key: of the claim.
        serves: the shards that the replica serves when the reconcile begins.
    """

    def __init__(self, key: str, serves: frozenset[int]) -> None:
        self._now = 0.0
        self._elector = _elector(lambda: self._now)
        self.moved(FenceMoved(serves=serves))
        self.has_begun = self._elector.begin_work(key)

    def moved(self, item: FenceMoved) -> None:
        """Shards were won or lost; or the replica was paused, and others took its shards."""
        if not item.serves:
            self._now += 2 * _SETTINGS.lease_seconds
            self._elector.expire()
            return
        me = self._elector._me
        table = NO_REPLICAS.with_replica(me, "token").with_owner(item.serves, me)
        self._elector._renewed(cast("Lease", None), table, self._now)

    def check(self) -> None:
        """As in `Fence`."""
        self._elector.check_leadership()


def may_begin(serves: frozenset[int] | None, key: str) -> bool:
    """Whether a replica with these shards begins work on a claim: by the real elector."""
    return serves is None or copy_context().run(OfShards, key, serves).has_begun


def may_be_given_up(serves: frozenset[int], keys: Iterable[str]) -> frozenset[int]:
    """The shards that a replica would free now, if it should serve none: by the real elector.

    Args:
        serves: its shards.
        keys: of the claims that it works on.
    """
    elector = _elector(lambda: 0.0)
    elector._terms = dict.fromkeys(serves, 1)
    elector._running = Counter(map(shard_of, keys))
    return frozenset(elector._given_up(serves, 0))


def _elector(clock: Callable[[], float]) -> ShardElector:
    return ShardElector(cast("KubeClient", None), _SETTINGS, clock=clock)
