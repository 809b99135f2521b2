"""The HMAC keys of a service account: made, listed, stopped, deleted.

Used by `keys` and `provisioner`, as the administrator. Every call is idempotent: what is gone already is success, where
Google's list has it no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from google.api_core import exceptions as api
from google.cloud.storage.hmac_key import HMACKeyMetadata

from gcs_provisioner.client import items_of
from gcs_provisioner.errors import Call, translated
from gcs_provisioner.identity import MOST_KEYS, check_unlisted, too_many_keys
from gcs_provisioner.refusals import constraint_of
from libbucket import AccessKeys, SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from gcs_provisioner.client import Clients
    from gcs_provisioner.identity import Identity

SETTLING_SECONDS: Final = 180.0
"""How long a change of an HMAC key's state takes, and how long an inactive one is to be kept at least before it is
deleted: https://cloud.google.com/storage/docs/authentication/managing-hmackeys."""


@dataclass(frozen=True, kw_only=True)
class HmacKeys:
    """Those of one account."""

    identity: Identity

    def all(self) -> list[HMACKeyMetadata]:
        """The account's HMAC keys but the deleted ones; none where there is no account."""
        with translated(self._call("storage.hmacKeys.list")):
            try:
                found = self._clients.storage.list_hmac_keys(
                    service_account_email=self.identity.email,
                    project_id=self.identity.project,
                    **self._clients.bounds,
                )
                return list(items_of(found, f"the HMAC keys of service account {self.identity.email}"))
            except api.NotFound:
                return []

    def all_with(self, access_id: str) -> list[HMACKeyMetadata]:
        """As `all`, and this one: a list may not show yet what was made seconds ago."""
        listed = self.all()
        if not access_id or any(each.access_id == access_id for each in listed):
            return listed
        found = self.find(access_id)
        return listed if found is None else [*listed, found]

    def find(self, access_id: str) -> HMACKeyMetadata | None:
        """One HMAC key, also where the list does not show it yet; None where it was deleted."""
        key = HMACKeyMetadata(self._clients.storage, access_id=access_id, project_id=self.identity.project)
        with translated(self._call("storage.hmacKeys.get")):
            try:
                key.reload(**self._clients.bounds)
            except api.NotFound as refusal:
                self._check_unlisted(key, refusal)
                return None
        return None if key.state == "DELETED" else key

    def create(self) -> AccessKeys:
        """Makes an HMAC key.

        Raises:
            NotReady: Google does not know the account yet.
            QuotaExceeded: the account has as many as it may have; Google's answer says that to people only.
            StoreRefused: an organisation policy forbids HMAC keys.
        """
        with translated(self._call("storage.hmacKeys.create")):
            try:
                made, secret = self._clients.storage.create_hmac_key(
                    self.identity.email, project_id=self.identity.project, **self._clients.bounds
                )
            except (api.NotFound, api.BadRequest) as refusal:
                if constraint_of(refusal.response):
                    raise
                if not self.identity.is_fresh and not isinstance(refusal, api.NotFound):
                    raise  # Google has known the account for long: it is something else
                raise self.identity.not_known_yet(refusal) from refusal
            except (api.Forbidden, api.TooManyRequests) as refusal:
                others = len(self.all())
                if others >= MOST_KEYS:
                    raise too_many_keys(self.identity.email, others, "HMAC keys", refusal) from refusal
                raise
        return AccessKeys(access_key_id=made.access_id, secret_access_key=SecretStr(secret))

    def stop(self, key: HMACKeyMetadata) -> None:
        """Makes an HMAC key inactive, which it must be before it can be deleted; one that is gone is fine."""
        if key.state != "ACTIVE":
            return
        key.state = "INACTIVE"
        with translated(self._call("storage.hmacKeys.update")):
            try:
                key.update(**self._clients.bounds)
            except api.NotFound as refusal:
                self._check_unlisted(key, refusal)

    def delete(self, key: HMACKeyMetadata) -> bool:
        """Deletes an inactive HMAC key; one that is gone is fine.

        Returns:
            False where Google does not delete it yet, because its deactivation is still on its way.
        """
        with translated(self._call("storage.hmacKeys.delete")):
            try:
                key.delete(**self._clients.bounds)
            except api.NotFound as refusal:
                self._check_unlisted(key, refusal)
            except api.BadRequest:
                if key.state != "INACTIVE":
                    raise
                return False
        return True

    def withdraw(self, keys: Iterable[HMACKeyMetadata], now: datetime) -> float:
        """Stops these keys, and deletes those that have stopped for certain.

        Google writes down when it made a key inactive, so that nothing needs to be remembered here.

        Returns:
            After how many seconds the last one will have stopped; 0 if all have.
        """
        pending = 0.0
        for key in keys:
            self.stop(key)
            left = seconds_left(key, self._clients.parameters.revocation_seconds, now)
            # What Google keeps for now of an account of the claim's own goes with that account.
            if left <= 0 and (self.delete(key) or not self.identity.is_shared):
                continue
            pending = max(pending, left, 10.0)
        return pending

    def _check_unlisted(self, key: HMACKeyMetadata, refusal: api.NotFound) -> None:
        is_listed = any(each.access_id == key.access_id for each in self.all())
        check_unlisted(f"an HMAC key of service account {self.identity.email}", refusal, is_listed=is_listed)

    @property
    def _clients(self) -> Clients:
        return self.identity.clients

    def _call(self, permission: str) -> Call:
        return Call(url=self._clients.parameters.endpoint, permission=permission)


def seconds_left(key: HMACKeyMetadata, limit: float, now: datetime) -> float:
    """How long an inactive HMAC key may go on working, by Google's own record of when it was made inactive."""
    return ((key.updated or now) + timedelta(seconds=limit) - now).total_seconds() if limit else 0.0
