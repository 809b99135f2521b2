"""What calls that ended before their answer have made: accounts that are minutes old, keys that do not work yet.

Google shows the secret of a key once, and a new key or permission takes minutes to count. A claim that waits for that
must go on with the key that it has, or it would never be done: each retry would make another, and wait for that. Kept
in memory only, within bounds. It is no state that anything depends on: where it is lost, with the process, the next
call removes the key that is not known here and makes one more. What an earlier process has made may be as young as this
process, and counts as that. At the bound nothing more is made until a claim is done (`has_room`): if the oldest were
forgotten instead, each claim would in turn make a key by which another's is forgotten, and none would be done.

Used by `identity` and `keys`; held by `provisioner`. Knows no client.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from libbucket import AccessKeys, SecretStr

MOST_ENTRIES: Final = 1024
"""With a service-account key each, which is the largest that an entry holds, some 4 MB."""
WAITED_FOR: Final = timedelta(hours=1)
"""For how long a key that does not work keeps its place from others: longer than any delay that Google names."""

# https://cloud.google.com/iam/docs/access-change-propagation: typically 2 minutes, potentially 7 or longer.
YOUNG: Final = timedelta(minutes=2)
"""For how long IAM itself may answer 403 or 404 for a new account: seconds, in public reports."""
FRESH: Final = timedelta(minutes=10)
UNLISTED: Final = timedelta(seconds=30)
"""For how long a list may not show what was made: https://cloud.google.com/iam/docs/overview#consistency."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was made for one claim, and not handed out yet.

    Attributes:
        account_at: when its account was made; None where it was there already.
        hmac: an HMAC key.
        hmac_at: when it was made.
        file: a service-account key file.
        file_at: when it was made.
        asked_at: when a key was asked for that no answer has given: it may be there.
        lost_id: request id of the answer that did not say whether there is one; "" for none.
        handed_at: when keys were handed out.
    """

    account_at: datetime | None = None
    hmac: AccessKeys | None = None
    hmac_at: datetime | None = None
    file: SecretStr | None = None
    file_at: datetime | None = None
    asked_at: datetime | None = None
    lost_id: str = ""
    handed_at: datetime | None = None


class Unfinished:
    """One per process; its methods may be called from several threads.

    Args:
        now: the clock.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._started = now()
        self._made: OrderedDict[tuple[str, str], Made] = OrderedDict()
        self._checked: OrderedDict[str, None] = OrderedDict()
        self._buckets: OrderedDict[str, None] = OrderedDict()
        self._refused: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, email: str, uid: str) -> Made:
        """What was made for the claim with this uid, and this account."""
        with self._lock:
            return self._made.get((email, uid), Made())

    def is_fresh(self, moment: datetime | None, limit: timedelta = FRESH) -> bool:
        """Whether what was made at this moment may not be known everywhere yet."""
        return moment is not None and self._now() - moment < limit

    def note_account(self, email: str, uid: str) -> None:
        """An account was made just now: keys of another that had its name are none of its."""
        self._keep(email, uid, Made(account_at=self._now()))

    def seconds_until_listed(self, email: str, uid: str) -> float:
        """How long to wait until lists show the keys of this claim: those handed out, and those without an answer."""
        made = self.find(email, uid)
        left = [self._left(each) for each in (made.asked_at, made.handed_at, self._started) if each is not None]
        return max([0.0, *left])

    def may_be_forgotten(self, uid: str) -> bool:
        """Whether an earlier process may have made an account for the claim so lately that IAM does not show it yet.

        Not for a claim that was refused before it could get one, as it was by the earlier process.
        """
        with self._lock:
            was_refused = uid in self._refused
        return not was_refused and self.is_fresh(self._started, YOUNG)

    def note_refused(self, uid: str) -> None:
        """The claim was refused for what it asks for, before anything was made for it."""
        self._note(self._refused, uid)

    def _left(self, moment: datetime) -> float:
        return (moment + UNLISTED - self._now()).total_seconds()

    def note_request(self, email: str, uid: str) -> None:
        """A key is asked for: where the answer is lost, it is there, and lists may not show it yet."""
        self._keep(email, uid, replace(self.find(email, uid), asked_at=self._now(), lost_id=""))

    def note_lost(self, email: str, uid: str, request_id: str) -> None:
        """Google has answered, or something before it, and did not say whether it made the key."""
        self._keep(email, uid, replace(self.find(email, uid), lost_id=request_id))

    def note_refusal(self, email: str, uid: str) -> None:
        """Google has answered, and made no key."""
        self._keep(email, uid, replace(self.find(email, uid), asked_at=None))

    def note_hmac(self, email: str, uid: str, keys: AccessKeys) -> None:
        """An HMAC key was made just now."""
        self._keep(email, uid, replace(self.find(email, uid), hmac=keys, hmac_at=self._now(), asked_at=None))

    def note_file(self, email: str, uid: str, file: SecretStr) -> None:
        """A service-account key was made just now."""
        self._keep(email, uid, replace(self.find(email, uid), file=file, file_at=self._now(), asked_at=None))

    def hand_out(self, email: str, uid: str) -> None:
        """The keys are in the answer: from now on the claim's Secret has them."""
        made = self.find(email, uid)
        is_new = made.hmac is not None or made.file is not None
        handed_at = self._now() if is_new else made.handed_at
        if self.is_fresh(made.account_at) or self.is_fresh(handed_at, UNLISTED):
            self._keep(email, uid, Made(account_at=made.account_at, handed_at=handed_at))
        else:
            self.forget(email, uid)

    def is_checked(self, uid: str) -> bool:
        """Whether the bucket of this claim was searched for locked objects since it is being deleted."""
        with self._lock:
            return uid in self._checked

    def note_checked(self, uid: str) -> None:
        """There were none: the search is not repeated each time that the deletion goes on."""
        self._note(self._checked, uid)

    def has_bucket(self, uid: str) -> bool:
        """Whether the bucket of this claim was made by this process, or found in the class's project."""
        with self._lock:
            return uid in self._buckets

    def note_bucket(self, uid: str) -> None:
        """It was: the project need not be asked again."""
        self._note(self._buckets, uid)

    def has_room(self, email: str, uid: str) -> bool:
        """Whether what is made now can be remembered, and nothing that another claim waits for is forgotten."""
        with self._lock:
            is_full = len(self._made) >= MOST_ENTRIES
            return not is_full or (email, uid) in self._made or self._find_done() is not None

    def forget(self, email: str, uid: str) -> None:
        """The claim is out."""
        with self._lock:
            self._made.pop((email, uid), None)

    def _note(self, where: OrderedDict[str, None], uid: str) -> None:
        with self._lock:
            where[uid] = None
            while len(where) > MOST_ENTRIES:
                where.popitem(last=False)

    def _keep(self, email: str, uid: str, made: Made) -> None:
        with self._lock:
            if (email, uid) not in self._made and len(self._made) >= MOST_ENTRIES:
                self._made.pop(self._find_done() or next(iter(self._made)))
            self._made[email, uid] = made
            self._made.move_to_end((email, uid))

    def _find_done(self) -> tuple[str, str] | None:
        """The entry that is missed least: the oldest of those that no call depends on; None if all are waited for."""
        return next((who for who, made in self._made.items() if not self._is_waited_for(made)), None)

    def _is_waited_for(self, made: Made) -> bool:
        keys = [at for at in (made.hmac_at if made.hmac else None, made.file_at if made.file else None) if at]
        unlisted = any(self.is_fresh(at, UNLISTED) for at in (made.asked_at, made.handed_at))
        return unlisted or self.is_fresh(made.account_at, YOUNG) or any(self.is_fresh(at, WAITED_FOR) for at in keys)
