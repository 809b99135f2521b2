"""The shards of the claims, and the table that says which replica serves which. Pure: no clock, no I/O.

The table is in annotations of the Lease: one for the owners of all shards, and one for each replica, which that replica
renews by itself. Used by `shard_elector`. Knows nothing of claims but their keys.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHARDS: Final = 16
"""Fixed: replicas with different numbers would each count a claim to another shard."""

UNKNOWN: Final = "unknown"
"""Owner of the shards that another replica may serve, after a Lease was created anew. Expires as a replica does."""

OWNERS: Final = "objectbucket.io/shards"
"""The annotation with the owner of each shard."""

REPLICA: Final = "replicas.objectbucket.io/"
"""Prefix of the annotation of each replica."""

_FREE: Final = ""
_LONGEST_NAME: Final = 63


def shard_of(key: str) -> int:
    """The shard of the claim `namespace/name`, and of everything that refers to it.

    Of the whole key rather than of the namespace: claims of one tenant are divided as well.
    """
    return zlib.crc32(key.encode()) % SHARDS


class ShardTable(msgspec.Struct, frozen=True):
    """Which replica serves which shard.

    Attributes:
        owners: the name of a replica for each shard; "" if it is free.
        replicas: for each name the token of its last renewal, never the same twice.
    """

    owners: tuple[str, ...]
    replicas: dict[str, str]

    def owned_by(self, name: str) -> frozenset[int]:
        """The shards of a replica."""
        return self._of(name)

    @property
    def free(self) -> list[int]:
        """The shards that any replica may take."""
        return sorted(self._of(_FREE))

    def with_owner(self, shards: Iterable[int], name: str = _FREE) -> ShardTable:
        """The table in which these shards belong to a replica, or are free."""
        chosen = frozenset(shards)
        owners = (name if shard in chosen else owner for shard, owner in enumerate(self.owners))
        return msgspec.structs.replace(self, owners=tuple(owners))

    def with_replica(self, name: str, token: str) -> ShardTable:
        """The table with a renewal of a replica."""
        return msgspec.structs.replace(self, replicas={**self.replicas, name: token})

    def without(self, gone: Iterable[str]) -> ShardTable:
        """The table without these replicas: their shards are free."""
        left = {name: token for name, token in self.replicas.items() if name not in set(gone)}
        owners = tuple(owner if owner in left else _FREE for owner in self.owners)
        return ShardTable(owners=owners, replicas=left)

    def share_of(self, name: str) -> int:
        """How many shards a replica of the table is to serve.

        The shards that remain after an equal division go to the first replicas by name: so a replica that is added
        takes shards for itself only, and those of a lost one are the only ones that move.
        """
        live = sorted(self.replicas.keys() - {UNKNOWN})
        each, remaining = divmod(SHARDS, len(live))
        return each + (live.index(name) < remaining)

    def _of(self, name: str) -> frozenset[int]:
        return frozenset(shard for shard, owner in enumerate(self.owners) if owner == name)


NO_REPLICAS: Final = ShardTable(owners=(_FREE,) * SHARDS, replicas={})
"""The table of no replica: every shard is free."""


def replica_name(identity: str) -> str:
    """The identity of a replica as the name of an annotation: at most 63 characters; the last ones are its UUID."""
    return re.sub("[^A-Za-z0-9._-]", "-", identity)[-_LONGEST_NAME:].lstrip("._-")


def read_table(annotations: Mapping[str, str]) -> ShardTable | None:
    """The table in annotations; None if there is none, or one with another number of shards."""
    try:
        owners = msgspec.json.decode(annotations.get(OWNERS, ""), type=tuple[str, ...])
    except msgspec.DecodeError:
        return None
    replicas = {key.removeprefix(REPLICA): value for key, value in annotations.items() if key.startswith(REPLICA)}
    is_complete = all(owner == _FREE or owner in replicas for owner in owners)
    return ShardTable(owners=owners, replicas=replicas) if len(owners) == SHARDS and is_complete else None


def renewal(name: str, token: str) -> dict[str, str | None]:
    """The annotation that a renewal of a replica sets."""
    return {REPLICA + name: token}


def table_annotations(table: ShardTable, before: Mapping[str, str]) -> dict[str, str | None]:
    """The annotations that make a table of those before; None for one to remove."""
    gone = {key for key in before if key.startswith(REPLICA)} - {REPLICA + name for name in table.replicas}
    kept = {REPLICA + name: token for name, token in table.replicas.items()}
    return {**dict.fromkeys(gone), **kept, OWNERS: msgspec.json.encode(table.owners).decode()}
