"""Access keys that were made and do not work yet: IAM tells a key's secret once, and needs up to minutes to spread it.

One per process, used by `credentials` from several threads. A key that is here is retried by the next call for its
claim, which would otherwise make another one, and wait for that as long. What the call that made it had done by then is
remembered too, so that trying again takes a single request. Holds secrets in memory, and nothing of a claim that is
Bound; a restart forgets them, which costs a key each. Makes no call.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from libbucket import AccessKeys

_MOST_USERS: Final = 10_000
"""More users than an AWS account may have; the oldest are forgotten beyond it."""

_MOST_KEYS: Final = 2
_PERIOD: Final = 3600.0
_FRESH: Final = 120.0
"""Seconds after which bucket, user and policy are verified again, although nothing but the key was missing."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a call had done when it began to wait for its new key.

    Attributes:
        request: all that the claim and its class asked for; equal for an equal request.
        arn: ARN of the user.
        is_only_key: the user was made by the same call, so that it has no other key.
        warnings: of that call.
    """

    request: object
    arn: str
    is_only_key: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Pending:
    """What one user waits for.

    Attributes:
        keys: made last; None where IAM has said that they are gone.
        made: when keys were made for this user since it last had any that work.
        done: by the call that made them; None where that is to be verified again.
    """

    keys: AccessKeys | None
    made: tuple[float, ...]
    done: Made | None = None


class PendingKeys:
    """The keys of all users that wait for theirs to work.

    Args:
        clock: seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._users: dict[Hashable, _Pending] = {}
        self._lock = threading.Lock()

    def find(self, user: Hashable) -> AccessKeys | None:
        """The keys that were made last for this user, and did not work yet."""
        with self._lock:
            found = self._users.get(user)
        return found.keys if found else None

    def find_made(self, user: Hashable, request: object) -> Made | None:
        """What was done for just this request, seconds ago: only its key is missing."""
        with self._lock:
            found = self._users.get(user)
            is_fresh = found is not None and self._clock() - found.made[-1] < _FRESH
        if found is None or found.keys is None or found.done is None or not is_fresh:
            return None
        return found.done if found.done.request == request else None

    def age(self, user: Hashable) -> float:
        """Seconds since keys were last made for this user; 0 where none are waited for."""
        with self._lock:
            found = self._users.get(user)
            return self._clock() - found.made[-1] if found else 0.0

    def may_make(self, user: Hashable) -> bool:
        """Whether another key may be made: two an hour, as long as none works."""
        with self._lock:
            found = self._users.get(user)
            since = self._clock() - _PERIOD
        return found is None or sum(at > since for at in found.made) < _MOST_KEYS

    def keep(self, user: Hashable, keys: AccessKeys, done: Made | None = None) -> None:
        """Remembers keys that were made just now."""
        with self._lock:
            before = self._users.pop(user, None)
            made = (*(before.made if before else ()), self._clock())[-_MOST_KEYS:]
            self._users[user] = _Pending(keys=keys, made=made, done=done)
            while len(self._users) > _MOST_USERS:
                del self._users[next(iter(self._users))]

    def discard_keys(self, user: Hashable) -> None:
        """These keys are gone or switched off in IAM; that they were made still counts."""
        with self._lock:
            found = self._users.get(user)
            if found is not None:
                self._users[user] = replace(found, keys=None, done=None)

    def forget(self, user: Hashable) -> None:
        """The user has keys that work, or is gone."""
        with self._lock:
            self._users.pop(user, None)
