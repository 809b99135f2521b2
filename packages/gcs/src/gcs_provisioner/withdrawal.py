"""The end of a claim's access: permission, keys and account go, in an order that leaves no door open.

Used by `provisioner` for `revoke` and both ways to delete. Knows nothing of what the bucket holds, and removes no
bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcs_provisioner.access import close_bucket
from gcs_provisioner.account_names import ACCOUNT_STATE
from gcs_provisioner.account_policy import AccountPolicy
from gcs_provisioner.errors import PermissionDenied
from gcs_provisioner.hmac_keys import HmacKeys
from gcs_provisioner.key_files import KeyFiles
from gcs_provisioner.keys import HMAC_STATE, KEY_STATE
from gcs_provisioner.parameters import Kind
from libbucket import NotReady

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from google.cloud.storage.hmac_key import HMACKeyMetadata

    from gcs_provisioner.request import Request
    from gcs_provisioner.unfinished import Unfinished


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """That of one claim.

    Attributes:
        request: of this verb.
        unfinished: what earlier calls made and could not hand out.
        now: the core's clock.
    """

    request: Request
    unfinished: Unfinished
    now: Callable[[], datetime]

    def run(self, *, has_bucket: bool = True) -> None:
        """The claim is out: permission, keys, account.

        The permission goes first, because tokens that were minted outlive their key by up to an hour.
        """
        request = self.request
        was_open = has_bucket and close_bucket(request)
        has_account = True
        if request.identity.is_shared:
            self._from_shared()
        elif has_own_account(request):
            if request.parameters.kind.has_json_key:
                self._delete_files()
            keys = HmacKeys(identity=request.identity)
            self._stop_hmac(keys.all_with(request.state.get(HMAC_STATE, "")))
        else:
            has_account = False
        if was_open and request.was_bound and request.parameters.revocation_seconds:
            # Only this call knows when the permission went: the next one finds it gone, and goes on.
            raise NotReady(
                f"the permission on bucket {request.bucket} is withdrawn, and Google may take "
                f"{request.parameters.revocation_seconds} seconds to refuse it everywhere",
                delay=float(request.parameters.revocation_seconds),
            )
        if has_account and not request.identity.is_shared:
            request.identity.remove()
        self.unfinished.forget(request.identity.email, request.owner.uid)

    def _delete_files(self) -> None:
        """Removes the service-account keys at once. Those of an earlier class go with the account, a call later."""
        files = KeyFiles(identity=self.request.identity)
        for key_id in files.states(self.now()):
            files.delete(key_id)

    def _from_shared(self) -> None:
        request = self.request
        if not request.identity.is_there():
            return
        AccountPolicy(identity=request.identity).let_act(())
        if KEY_STATE in request.state:
            KeyFiles(identity=request.identity).delete(request.state[KEY_STATE])
        if HMAC_STATE in request.state:
            found = HmacKeys(identity=request.identity).find(request.state[HMAC_STATE])
            self._stop_hmac([found] if found is not None else [])

    def _stop_hmac(self, doomed: Iterable[HMACKeyMetadata]) -> None:
        request = self.request
        pending = HmacKeys(identity=request.identity).withdraw(doomed, self.now())
        if pending:
            raise NotReady(
                f"the HMAC key of service account {request.identity.email} is inactive, and Google may take "
                f"{request.parameters.revocation_seconds} seconds to refuse it everywhere",
                delay=pending,
            )


def has_own_account(request: Request) -> bool:
    """Whether there is an account of the claim's own to withdraw."""
    if request.parameters.kind is Kind.FEDERATION and ACCOUNT_STATE not in request.state:
        return False
    try:
        return request.identity.is_own()
    except PermissionDenied:
        # IAM says nothing at all about that project, which may not exist. A claim that was never bound has handed out
        # no key, and its permission is gone: at worst an account stays that can do nothing.
        if request.was_bound:
            raise
        return False
