"""The newest known version of each object of one resource. Safe for threads; no I/O.

Filled by the informer and, ahead of the watch, by our own writes (`observe`): a worker that comes back to a
claim a millisecond later must not decide on what it has itself changed. Resource versions are compared as
numbers, which Kubernetes promises since 1.35 and etcd has always given; where they are no numbers, the
watch alone fills the cache, and the preconditions of our writes catch what is stale.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from libbucket import _api


class _HasMetadata(Protocol):
    @property
    def metadata(self) -> _api.Meta: ...


T = TypeVar("T", bound=_HasMetadata)


class Cache(Generic[T]):
    """Objects by their key (`namespace/name`, or the name alone)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, T] = {}

    def get(self, key: str) -> T | None:
        """The object, if it exists as far as we know."""
        with self._lock:
            return self._objects.get(key)

    def all(self) -> list[T]:
        """Every object, as one picture."""
        with self._lock:
            return list(self._objects.values())

    def observe(self, new: T) -> tuple[bool, T | None]:
        """Takes a version in; gives whether it was news, and what was known before."""
        key = new.metadata.key
        with self._lock:
            old = self._objects.get(key)
            if old is not None and not _is_newer(new.metadata.resource_version, old.metadata.resource_version):
                return False, old
            self._objects[key] = new
            return True, old

    def remove(self, gone: T) -> T | None:
        """Takes an object out, unless a newer one has its name; gives what was known before."""
        key = gone.metadata.key
        with self._lock:
            old = self._objects.get(key)
            if old is None or _is_newer(old.metadata.resource_version, gone.metadata.resource_version):
                return None
            return self._objects.pop(key)

    def retain(self, keys: set[str], resource_version: str, *, namespace: str) -> list[T]:
        """Takes out what a fresh list no longer has; gives what went.

        Args:
            keys: of all listed objects.
            resource_version: of the list; what is newer than that stays.
            namespace: that was listed; "" for all.
        """
        with self._lock:
            gone = [one for key, one in self._objects.items() if key not in keys and _was_listed(one, namespace)]
            gone = [one for one in gone if not _is_newer(one.metadata.resource_version, resource_version)]
            for one in gone:
                del self._objects[one.metadata.key]
            return gone


def _was_listed(one: _HasMetadata, namespace: str) -> bool:
    return not namespace or one.metadata.namespace == namespace


def _is_newer(left: str, right: str) -> bool:
    if left.isdigit() and right.isdigit():
        return int(left) > int(right)
    return left != right
