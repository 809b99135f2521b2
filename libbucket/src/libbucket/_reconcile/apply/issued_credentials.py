"""Credentials that a store has issued and that are in no Secret yet, because that could not be written.

A quota, a policy or a dead admission webhook may refuse the claim's Secret for hours. With each retry the store would
be asked for new credentials, and would keep or remove the last ones; so the next retry hands these back, and the store
finds that they work. Kept in memory only: a restart, or another leader, begins with new ones. Knows no store.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from libbucket.types import Authentication

_MOST: Final = 1024
"""Claims whose credentials are kept; beyond that the oldest are dropped."""


class IssuedCredentials:
    """By the uid of the claim. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_uid: OrderedDict[str, Authentication] = OrderedDict()

    def find(self, uid: str) -> Authentication | None:
        """What was issued for this claim and not written yet."""
        with self._lock:
            return self._by_uid.get(uid)

    def keep(self, uid: str, credentials: Authentication) -> None:
        """Remembers what a store has just issued."""
        with self._lock:
            self._by_uid.pop(uid, None)
            self._by_uid[uid] = credentials
            if len(self._by_uid) > _MOST:
                self._by_uid.popitem(last=False)

    def drop(self, uid: str) -> None:
        """The credentials are in the claim's Secret, or the claim is gone."""
        with self._lock:
            self._by_uid.pop(uid, None)

    def drop_all(self) -> None:
        """This replica no longer leads: another one may issue others."""
        with self._lock:
            self._by_uid.clear()
