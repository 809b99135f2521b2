"""Credentials that a store has issued, and that could not be written to the claim's Secret yet.

A quota, a policy or a dead admission webhook may refuse the Secret for hours. Without this cache each retry would
request new credentials from the store; with it, retries return the issued ones to the provisioner, which finds that
they work. Kept in memory only: a restart, or another leader, issues new ones. Knows no store.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket.types import Authentication

_MOST: Final = 1024
"""Maximum number of claims; the oldest are dropped."""


class IssuedCredentials:
    """Credentials by the uid of their claim. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_uid: OrderedDict[str, tuple[str, Authentication]] = OrderedDict()

    def find(self, uid: str) -> Authentication | None:
        """The credentials that were issued for this claim and not written yet; None if there are none."""
        with self._lock:
            found = self._by_uid.get(uid)
        return found[1] if found is not None else None

    def keep(self, uid: str, key: str, credentials: Authentication) -> None:
        """Remembers credentials that a store has just issued for the claim with this uid and key."""
        with self._lock:
            self._by_uid.pop(uid, None)
            self._by_uid[uid] = key, credentials
            if len(self._by_uid) > _MOST:
                self._by_uid.popitem(last=False)

    def drop(self, uid: str) -> None:
        """Drops credentials that are in the claim's Secret, or whose claim is gone."""
        with self._lock:
            self._by_uid.pop(uid, None)

    def drop_keys(self, has_key: Callable[[str], bool]) -> None:
        """Drops the credentials of these claims after a loss of leadership: the next leader may issue others."""
        with self._lock:
            for uid in [uid for uid, (key, _) in self._by_uid.items() if has_key(key)]:
                del self._by_uid[uid]
