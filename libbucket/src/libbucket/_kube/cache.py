"""The newest known version of each object of one resource. Safe for threads; no I/O.

Updated by the informer and, ahead of the watch, after each write (`observe`): a claim that is reconciled again a
millisecond later must not be planned from a version that this process has replaced. Resource versions are compared as
numbers, which Kubernetes guarantees since 1.35 and etcd has always had; if they are not numbers, the last arrival
wins, and the preconditions of writes detect stale versions.

Versions go backwards in one case: if etcd is restored from an older snapshot. A list detects that, because no
consistent list has an object in a version that is older than one known before the list.

Objects are kept packed, and are unpacked when they are asked for, in a few microseconds: as structs they would take ten
times the memory, which grows with the number of claims.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol, TypeVar

from libbucket._kube.packing import Packer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from libbucket import _api
    from libbucket._kube.summaries import Summaries


class _HasMetadata(Protocol):
    @property
    def metadata(self) -> _api.Meta: ...


T = TypeVar("T", bound=_HasMetadata)

_FRESH: Final = 128
"""Objects that changed last are not packed: while a claim is bound, its objects change and are read many times."""

_REMEMBERED: Final = 1000
"""Deletions that are remembered: many more than can happen between the response to a write and its `observe`."""


class Cache(Generic[T]):
    """Objects by their key (`namespace/name`, or the name alone).

    Args:
        kind: type of the objects.
        group: returns the group of an object for `grouped`, `keys_of` and `count`; by default there are no groups.
        compact: returns the part of an object to keep; by default all of it.
        summaries: are kept up to date with it.
    """

    is_watched: ClassVar[bool] = True
    """Whether an informer fills it, so that an object that is absent does not exist, as far as is known."""

    def __init__(
        self,
        kind: type[T],
        *,
        group: Callable[[T], str] | None = None,
        compact: Callable[[T], T] | None = None,
        summaries: Summaries[T, Any] | None = None,
    ) -> None:
        self._packer = Packer(kind)
        self._compact = compact
        self._summaries = summaries
        self._lock = threading.Lock()
        self._group = group
        self._groups: dict[str, str | set[str]] = {}  # a set takes more than the key, which is mostly the only one
        self._packed: dict[str, bytes | T] = {}
        self._fresh: OrderedDict[str, None] = OrderedDict()
        self._removed: dict[str, str] = {}
        self._distrusted: set[str] = set()

    def get(self, key: str) -> T | None:
        """The object; None if it is not known to exist."""
        with self._lock:
            packed = self._packed.get(key)
        # Outside of the lock: unpacking lets another thread in, which would stop at the lock.
        return self._unpacked(packed) if packed is not None else None

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._packed

    def __iter__(self) -> Iterator[T]:
        """Every object, of one moment; each exists only while it is looked at."""
        with self._lock:
            packed = list(self._packed.values())
        return map(self._unpacked, packed)

    def grouped(self, group: str) -> list[T]:
        """The objects of one group, sorted by key."""
        with self._lock:
            packed = [self._packed[key] for key in sorted(self._members(group))]
        return [self._unpacked(one) for one in packed]

    def keys_of(self, group: str) -> list[str]:
        """The keys of one group, sorted. Decodes no object."""
        with self._lock:
            return sorted(self._members(group))

    def count(self, group: str) -> int:
        """How many objects a group has. Decodes none of them: the work queue asks for every key."""
        with self._lock:
            return len(self._members(group))

    def observe(self, new: T, *, list_version: str = "") -> tuple[bool, T | None]:
        """Stores a version of an object, if it is newer; returns whether it is, and the version known before.

        Args:
            new: as received from the API server.
            list_version: resource version of its list; "" for events and responses to writes.
        """
        key = new.metadata.key
        with self._lock:
            old = self._known(key)
            is_news = self._is_news(new, old, list_version)
            self._distrusted.discard(key)
            if not is_news:
                return False, old
            self._put(key, new, old)
            self._removed.pop(key, None)
            return True, old

    def distrust(self, *, namespace: str) -> None:
        """Treats every known version as older than any that arrives from now on: the history went backwards.

        Args:
            namespace: of the objects; "" for all.
        """
        with self._lock:
            self._distrusted.update(_keys_in(namespace, self._packed))
            for key in _keys_in(namespace, self._removed):
                del self._removed[key]

    def remove(self, gone: T) -> T | None:
        """Removes an object, unless a newer one has its name; returns the version known before."""
        key, version = gone.metadata.key, gone.metadata.resource_version
        with self._lock:
            old = self._known(key)
            is_known_newer = old is not None and is_newer(old.metadata.resource_version, version)
            if is_known_newer and key not in self._distrusted:
                return None
            self._forget(key, version, old)
            return old

    def discard(self, gone: T) -> None:
        """Removes an object that is known to be gone, in any version."""
        key = gone.metadata.key
        with self._lock:
            old = self._known(key)
            if old is not None and old.metadata.uid == gone.metadata.uid:
                self._forget(key, old.metadata.resource_version, old)

    def retain(self, keys: set[str], resource_version: str, *, namespace: str) -> list[T]:
        """Removes objects that a new list does not have; returns the removed ones.

        Args:
            keys: of all listed objects.
            resource_version: of the list; newer objects stay.
            namespace: that was listed; "" for all.
        """
        with self._lock:
            missing = [key for key in _keys_in(namespace, self._packed) if key not in keys]
            known = [self._unpacked(self._packed[key]) for key in missing]
            gone = [one for one in known if not self._outlives(one, resource_version)]
            for one in gone:
                self._forget(one.metadata.key, resource_version, one)
            return gone

    def _known(self, key: str) -> T | None:
        packed = self._packed.get(key)
        return self._unpacked(packed) if packed is not None else None

    def _unpacked(self, packed: bytes | T) -> T:
        return self._packer.unpack(packed)

    def _is_news(self, new: T, old: T | None, list_version: str) -> bool:
        key, version = new.metadata.key, new.metadata.resource_version
        if key in self._distrusted:
            return old != new
        known = old.metadata.resource_version if old is not None else self._removed.get(key)
        if known is None or is_newer(version, known):
            return True
        # The known version is as new, or newer. If a list is newer than both and has another version, the known one
        # belongs to a history that a restore has replaced.
        is_contradicted = bool(list_version) and not is_newer(known, list_version)
        if version == known:
            return old is None and is_contradicted
        return is_contradicted or not is_newer(known, version)  # not numbers: the last arrival wins

    def _outlives(self, one: T, list_version: str) -> bool:
        return is_newer(one.metadata.resource_version, list_version) and one.metadata.key not in self._distrusted

    def _forget(self, key: str, version: str, old: T | None) -> None:
        # The response to an earlier write may arrive after the deletion: it must not restore the object.
        self._put(key, None, old)
        self._removed.pop(key, None)
        self._removed[key] = version
        if len(self._removed) > _REMEMBERED:
            del self._removed[next(iter(self._removed))]

    def _put(self, key: str, new: T | None, old: T | None) -> None:
        self._packed.pop(key, None)
        self._fresh.pop(key, None)
        self._distrusted.discard(key)
        if new is not None:
            self._packed[key] = self._compact(new) if self._compact is not None else new
            self._fresh[key] = None
            if len(self._fresh) > _FRESH:
                oldest, _ = self._fresh.popitem(last=False)
                self._packed[oldest] = self._packer.pack(self._unpacked(self._packed[oldest]))
        if self._summaries is not None:
            self._summaries.put(key, new)
        if self._group is None:
            return
        if old is not None:
            self._ungroup(self._group(old), key)
        if new is not None:
            self._put_into(self._group(new), key)

    def _members(self, group: str) -> Collection[str]:
        keys = self._groups.get(group, ())
        return (keys,) if isinstance(keys, str) else keys

    def _put_into(self, group: str, key: str) -> None:
        keys = self._groups.setdefault(group, key)
        if isinstance(keys, set):
            keys.add(key)
        elif keys != key:
            self._groups[group] = {keys, key}

    def _ungroup(self, group: str, key: str) -> None:
        keys = self._groups[group]
        if isinstance(keys, set):
            keys.discard(key)
        if not keys or keys == key:
            del self._groups[group]


class Unwatched(Cache[T]):
    """The cache of objects that no informer watches. It stays empty, since it would never be updated."""

    is_watched = False

    def observe(self, new: T, *, list_version: str = "") -> tuple[bool, T | None]:
        """Stores nothing."""
        del new, list_version
        return False, None


def _keys_in(namespace: str, keys: Iterable[str]) -> list[str]:
    """Those that a list of this namespace has; all for ""."""
    prefix = f"{namespace}/" if namespace else ""
    return [key for key in keys if key.startswith(prefix)]


def is_newer(left: str, right: str) -> bool:
    """Whether a resource version is later than another; False if they are not numbers."""
    return left.isdecimal() and right.isdecimal() and int(left) > int(right)
