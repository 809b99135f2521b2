"""What one verb works with: who asks, what it may touch, and how long it may take.

Made by `provisioner`, used by it and by `ownership`. Decides nothing about buckets.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from libbucket import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from aws_s3_provisioner.client import Clients
    from aws_s3_provisioner.contents import Contents
    from aws_s3_provisioner.creations import Creations
    from aws_s3_provisioner.identity import Identity
    from aws_s3_provisioner.parameters import Admin, Parameters
    from aws_s3_provisioner.pending import PendingKeys
    from aws_s3_provisioner.storage import Storage
    from aws_s3_provisioner.trials import Trials
    from libbucket import Owner

_YOUNG: Final = 60.0
"""Seconds for which IAM may not find everywhere what it has just made."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a verb works or waits, in seconds, before it lets the core call again.

    Attributes:
        settle: before a new key is tried at AWS: IAM needs as long to tell S3 of it, and who asks earlier may be told
            for longer that there is no such key. No worker waits for it: the claim is requeued, and others have their
            turn meanwhile.
        longest_settle: between two tries of a new key.
        confirmations: further tries of a key that AWS has just begun to accept, each over a connection of its own:
            one part of S3 may know it before another does.
        replica: for another replica that is making the same bucket.
        poll: seconds between the first two polls; it doubles, up to two seconds.
        purge: removing objects.
        sleep: waits.
        clock: seconds that never run backwards.
    """

    settle: float = 4.0
    longest_settle: float = 15.0
    confirmations: int = 2
    replica: float = 5.0
    poll: float = 0.5
    purge: float = 20.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def until(self, is_so: Callable[[], bool], seconds: float) -> bool:
        """Whether it became so within `seconds`."""
        return wait_until(is_so, seconds, pause=self.poll, sleep=self.sleep, clock=self.clock)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One verb's view of AWS.

    Attributes:
        parameters: of the class.
        admin: the administrator; None for the pod's own identity.
        clients: of this verb.
        storage: its buckets.
        contents: what they hold.
        trials: of claims' keys.
        identity: the claim's user.
        bucket: name of the claim's bucket.
        owner: whose it is.
        taken_over: whether a bucket without ownership tags is this claim's.
        is_greenfield: whether the bucket is made for this claim, and so in the provisioner's own account.
        has_user: whether the claim has a user of its own.
        was_bound: whether an earlier call for this claim has answered.
        repairs: what this call has put right.
        patience: of this verb.
        pending: keys that were made by earlier calls, for all claims.
        creations: names of buckets that are being made, for all claims.
    """

    parameters: Parameters
    admin: Admin | None
    clients: Clients
    storage: Storage
    contents: Contents
    trials: Trials
    identity: Identity
    bucket: str
    owner: Owner
    taken_over: bool
    is_greenfield: bool
    has_user: bool
    was_bound: bool
    repairs: list[str]
    patience: Patience
    pending: PendingKeys
    creations: Creations

    @property
    def user_key(self) -> Hashable:
        """What tells the claim's user from all others."""
        return self.parameters.iam_endpoint, self.clients.partition, self.identity.name, self.owner

    def note(self, what: str) -> None:
        """Something had been changed out of band, and is repaired."""
        if self.was_bound:
            self.repairs.append(what)


def withdraw(request: Request) -> None:
    """Withdraws what the claim got; where that was the administrator's own key, there is nothing to withdraw."""
    if request.has_user:
        is_waited_for = request.pending.find(request.user_key) is not None
        request.identity.withdraw(is_expected=is_waited_for and request.pending.age(request.user_key) < _YOUNG)
        request.pending.forget(request.user_key)
