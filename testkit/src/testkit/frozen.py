"""An immutable dict that is hashed once: what states are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

K = TypeVar("K")
V = TypeVar("V")


class Frozen(dict[K, V]):
    """By convention never changed after it was built: `with_item` and `without` give new ones."""

    __slots__ = ("_hash",)
    _hash: int

    def __hash__(self) -> int:  # type: ignore[override]
        try:
            return self._hash
        except AttributeError:
            self._hash = hash(frozenset(self.items()))
            return self._hash

    def with_item(self, key: K, value: V) -> Frozen[K, V]:
        return Frozen({**self, key: value})

    def without(self, key: K) -> Frozen[K, V]:
        return Frozen({one: value for one, value in self.items() if one != key})


def frozen(items: Mapping[K, V]) -> Frozen[K, V]:
    """The same, frozen."""
    return items if isinstance(items, Frozen) else Frozen(items)
