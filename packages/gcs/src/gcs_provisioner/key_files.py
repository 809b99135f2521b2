"""The keys of a service account that come as files: made, listed, deleted.

Used by `keys` and `provisioner`, as the administrator. Every call is idempotent: what is gone already is success.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from google.api_core import exceptions as api

from gcs_provisioner.errors import translated
from gcs_provisioner.identity import MOST_KEYS, check_unlisted, too_many_keys
from gcs_provisioner.refusals import constraint_of
from libbucket import SecretStr

if TYPE_CHECKING:
    from gcs_provisioner.identity import Identity

_NEVER: Final = 9999
"""The year in which keys end that do not."""


@dataclass(frozen=True, kw_only=True)
class KeyState:
    """A service-account key, as IAM lists it.

    Attributes:
        works: whether it is neither disabled nor over.
        renew_at: when to replace it, a fifth of its life before an organisation policy ends it; None if it never ends.
    """

    works: bool
    renew_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class KeyFiles:
    """Those of one account."""

    identity: Identity

    def states(self, now: datetime) -> dict[str, KeyState]:
        """The account's keys that people or programs made; none where there is no account."""
        with translated(self.identity.iam_call("iam.serviceAccountKeys.list")):
            return {str(each["name"]).rpartition("/")[2]: _state_of(each, now) for each in self._listed()}

    def create(self, now: datetime) -> tuple[SecretStr, datetime | None]:
        """Makes a service-account key; gives its key file, and when to replace it.

        Raises:
            NotReady: Google does not know the account yet.
            QuotaExceeded: the account has as many as it may have.
        """
        permission = "iam.serviceAccountKeys.create"
        with translated(self.identity.iam_call(permission)):
            try:
                answer = self.identity.ask_settled("POST", "/keys", permission, {})
            except api.NotFound as refusal:
                raise self.identity.not_known_yet(refusal) from refusal
            except (api.BadRequest, api.TooManyRequests) as refusal:
                # So Google answers at the limit, as for a rate or an organisation policy. Others of the claims that
                # share the account may have made keys since they were counted.
                others = 0 if constraint_of(refusal.response) else len(self._listed())
                if others >= MOST_KEYS:
                    raise too_many_keys(self.identity.email, others, "keys", refusal) from refusal
                raise
            return SecretStr(base64.b64decode(answer["privateKeyData"]).decode()), _state_of(answer, now).renew_at

    def delete(self, key_id: str) -> None:
        """Deletes a service-account key; one that is gone is fine, and may be told as one that may not be deleted.

        Raises:
            NotReady: Google says that it does not exist, and lists it.
        """
        with translated(self.identity.iam_call("iam.serviceAccountKeys.delete")):
            try:
                self.identity.ask("DELETE", f"/keys/{key_id}", "iam.serviceAccountKeys.delete")
            except (api.NotFound, api.Forbidden) as refusal:
                is_listed = any(str(each["name"]).endswith(f"/{key_id}") for each in self._listed())
                check_unlisted(f"a key of service account {self.identity.email}", refusal, is_listed=is_listed)

    def _listed(self) -> list[dict[str, Any]]:
        permission = "iam.serviceAccountKeys.list"
        with translated(self.identity.iam_call(permission)):
            try:
                answer = self.identity.ask_settled("GET", "/keys?keyTypes=USER_MANAGED", permission)
            except api.NotFound:
                return []
            found: list[dict[str, Any]] = answer.get("keys", [])
            return found


def _state_of(key: dict[str, Any], now: datetime) -> KeyState:
    """https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts.keys: `validBeforeTime`."""
    works, ends = not key.get("disabled"), _moment(key.get("validBeforeTime"))
    if ends is None or ends.year >= _NEVER:
        return KeyState(works=works)
    begins = _moment(key.get("validAfterTime")) or now
    return KeyState(works=works and ends > now, renew_at=ends - (ends - begins) / 5)


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
