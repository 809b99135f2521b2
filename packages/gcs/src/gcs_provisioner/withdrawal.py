"""The end of a claim's access: permission, keys and account go, in an order that leaves no door open.

Used by `provisioner` for `revoke` and both ways to delete. Knows nothing of what the bucket holds, and removes no
bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcs_provisioner.access import close_bucket, close_to_earlier
from gcs_provisioner.account_names import ACCOUNT_STATE
from gcs_provisioner.account_policy import AccountPolicy
from gcs_provisioner.errors import PermissionDenied
from gcs_provisioner.hmac_keys import HmacKeys
from gcs_provisioner.key_files import KeyFiles
from gcs_provisioner.keys import HMAC_STATE, KEY_STATE
from gcs_provisioner.parameters import Kind
from libbucket import NotReady

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gcs_provisioner.identity import Identity
    from gcs_provisioner.request import Request
    from gcs_provisioner.unfinished import Unfinished
    from libbucket import Withdrawals


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """That of one claim.

    Attributes:
        request: of this verb.
        unfinished: what earlier calls made and could not hand out.
        withdrawals: when permissions went.
        now: the core's clock.
    """

    request: Request
    unfinished: Unfinished
    withdrawals: Withdrawals
    now: Callable[[], datetime]

    def run(self, *, has_bucket: bool = True) -> bool:
        """The claim is out: permission, keys, account; of an earlier class as well.

        The permission goes first, because tokens that were minted outlive their key by up to an hour.

        Returns:
            Whether this changed the bucket's policy, and with it the number that a later precondition names.
        """
        request = self.request
        was_open, left = self._close() if has_bucket else (False, 0.0)
        held = [each for each in request.identities if self._has_something_of(each)]
        for each, pending in [(each, self._stop_keys(each)) for each in held]:
            if pending:
                raise NotReady(
                    f"the HMAC key of service account {each.email} is inactive, and Google may take "
                    f"{request.parameters.revocation_seconds} seconds to refuse it everywhere",
                    delay=pending,
                )
        if left > 0:
            raise NotReady(
                f"the permission on bucket {request.bucket} is withdrawn, and Google may take "
                f"{request.parameters.revocation_seconds} seconds to refuse it everywhere",
                delay=left,
            )
        for each in held:
            if not each.is_shared:
                each.remove()
        self.unfinished.forget(request.identity.email, request.owner.uid)
        return was_open

    def _close(self) -> tuple[bool, float]:
        """Withdraws the permission; gives whether there was one, and how many seconds it may still count."""
        request, uid = self.request, self.request.owner.uid
        with self.withdrawals.withdrawing(uid):
            was_open = close_bucket(request)
        if was_open:
            self.withdrawals.note(uid)
        if was_open is None or not request.was_bound:
            return bool(was_open), 0.0
        return was_open, self.withdrawals.seconds_left(uid, request.parameters.revocation_seconds)

    def run_for_earlier(self) -> None:
        """What an earlier class gave the claim goes, now that it has what the class says today.

        An inactive HMAC key of a shared account may stay: Google keeps it for three minutes, and the claim goes on.
        """
        request, earlier = self.request, self.request.earlier
        if earlier is None:
            return
        close_to_earlier(request)
        if not self._has_something_of(earlier):
            return
        self._stop_keys(earlier)
        if not earlier.is_shared:
            earlier.remove()

    def _has_something_of(self, identity: Identity) -> bool:
        if identity.is_shared:
            return identity.is_there()
        return has_own_account(self.request, identity)

    def _stop_keys(self, identity: Identity) -> float:
        """Ends the keys of an account of the claim's own, or those of a shared one that are recorded as the claim's.

        Returns:
            After how many seconds the last HMAC key will have stopped; 0 if all have.
        """
        request = self.request
        is_recorded = identity.email == request.state.get(ACCOUNT_STATE, identity.email)
        state = request.state if is_recorded else {}
        files, keys = KeyFiles(identity=identity), HmacKeys(identity=identity)
        if not identity.is_shared:
            # Those of an earlier class go with the account, a call later.
            for key_id in files.states(self.now()) if request.parameters.kind.has_json_key else ():
                files.delete(key_id)
            return keys.withdraw(keys.all_with(state.get(HMAC_STATE, "")), self.now())
        AccountPolicy(identity=identity).let_act(())
        if KEY_STATE in state:
            files.delete(state[KEY_STATE])
        found = keys.find(state[HMAC_STATE]) if HMAC_STATE in state else None
        return keys.withdraw([found] if found is not None else [], self.now())


def has_own_account(request: Request, identity: Identity) -> bool:
    """Whether there is an account of this name, of the claim's own, to withdraw."""
    if request.parameters.kind is Kind.FEDERATION and ACCOUNT_STATE not in request.state:
        return False
    try:
        return identity.is_own()
    except PermissionDenied:
        # IAM says nothing at all about that project, which may not exist. A claim that was never bound has handed out
        # no key, and its permission is gone: at worst an account stays that can do nothing.
        if request.was_bound:
            raise
        return False
