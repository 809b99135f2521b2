"""The rules for keys of either kind: which one stays, when another is made, how long a new one is waited for.

Used by `keys`. Knows what was seen of a key, and neither how keys are made nor what the Secret holds.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gcs_provisioner.errors import is_too_many
from gcs_provisioner.trials import Verdict
from libbucket import NotReady, ProvisionerError, StoreUnavailable, Throttled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from gcs_provisioner.identity import Identity
    from gcs_provisioner.trials import Attempt
    from gcs_provisioner.unfinished import Unfinished

_SHORTEST_WAIT: Final = 10.0
_LONGEST_WAIT: Final = 45.0


@dataclass(frozen=True, kw_only=True)
class KeyRules:
    """The rules, for one claim. Attributes as those of `Keys`."""

    identity: Identity
    bucket: str
    state: Mapping[str, str]
    unchanged: bool
    unfinished: Unfinished
    now: Callable[[], datetime]

    @property
    def who(self) -> tuple[str, str]:
        """What `Unfinished` knows the claim by: its account and its uid."""
        return self.identity.email, self.identity.owner.uid

    def stays(self, active: bool | None, attempt: Callable[[], Attempt]) -> bool:  # noqa: FBT001 - None is not listed
        """Whether a key of the Secret is kept.

        Args:
            active: what Google's list says of it; None where the list does not have it.
            attempt: tries it. Google checks a signature before it asks for permissions: who is denied has the right
                secret.

        Raises:
            ProvisionerError: as `check_usable` does, of a key that lists may not show yet.
        """
        if active and self.unchanged:
            return True
        if active:
            return attempt().verdict is not Verdict.UNKNOWN
        if active is not None or not self.unchanged:
            return False
        seen = attempt()
        left = self.unfinished.seconds_until_listed(*self.who)
        if seen.verdict is not Verdict.WORKS and left > 0:
            if seen.refusal is not None:
                raise seen.refusal
            raise NotReady(
                f"Google neither lists nor accepts the key of service account {self.identity.email}, which is seconds "
                "old: it is kept, and looked up again",
                delay=left,
                request_id=seen.request_id,
            )
        return seen.verdict is Verdict.WORKS

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around a request that makes a key. After one without an answer, the next waits until lists show its key.

        Of those that asked too often nothing is made: https://cloud.google.com/docs/quotas/overview.
        """
        made = self.unfinished.find(*self.who)
        left = self.unfinished.seconds_until_listed(*self.who) if made.asked_at is not None else 0.0
        if left > 0:
            raise NotReady(
                f"an answer was lost by which Google may have given service account {self.identity.email} a key: "
                "another is made when lists show it",
                delay=left,
                request_id=made.lost_id,
            )
        self.identity.check_room()
        self.unfinished.note_request(*self.who)
        try:
            yield
        except (StoreUnavailable, Throttled) as refusal:
            if is_too_many(refusal):
                self.unfinished.note_refusal(*self.who)
            else:
                self.unfinished.note_lost(*self.who, refusal.request_id)
            raise
        except ProvisionerError:
            self.unfinished.note_refusal(*self.who)
            raise

    def is_to_go(self, key_id: str, state: str) -> bool:
        """Of a shared account only the key that was this claim's: the others may be other claims'."""
        return not self.identity.is_shared or self.state.get(state) == key_id

    def check_usable(self, seen: Attempt, made_at: datetime | None) -> None:
        """Has the claim wait for a key that does not work yet: in the core's queue, and longer the older the key is.

        Raises:
            NotReady: it may work later.
            ProvisionerError: an organisation keeps it out, or the clock is wrong.
        """
        if seen.verdict is Verdict.WORKS:
            return
        if seen.refusal is not None:
            raise seen.refusal
        age = (self.now() - made_at).total_seconds() if made_at else 0.0
        raise self._not_yet(seen, delay=min(max(_SHORTEST_WAIT, 2 * age), _LONGEST_WAIT))

    def _not_yet(self, seen: Attempt, delay: float) -> NotReady:
        email = self.identity.email
        if seen.verdict is Verdict.UNKNOWN:
            return NotReady(
                f"Google does not know the new key of service account {email} everywhere yet",
                delay=delay,
                request_id=seen.request_id,
            )
        return NotReady(
            f"Google does not let service account {email} into bucket {self.bucket} yet: a new permission takes 2 to 7 "
            "minutes; if it takes longer, search for a deny policy or an organisation policy that keeps it out",
            delay=delay,
            request_id=seen.request_id,
        )
