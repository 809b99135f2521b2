"""What a claim's Secret holds: the keys that it has, if they are its own and work, or new ones.

Used by `provisioner`. The rule is the same for both kinds of key: those of a claim's own account that are not in its
Secret are of a call that died, and go before a new one is made; what is new is tried until it works.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gcs_provisioner.client import Verdict
from gcs_provisioner.identity import MOST_KEYS
from gcs_provisioner.parameters import parse_key
from libbucket import Authentication, NotReady, QuotaExceeded, SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from google.cloud.storage.hmac_key import HMACKeyMetadata

    from gcs_provisioner.client import Clients
    from gcs_provisioner.identity import Identity
    from libbucket import AccessKeys

FILE_KEY: Final = "GOOGLE_APPLICATION_CREDENTIALS_JSON"
PROJECT_KEY: Final = "GOOGLE_CLOUD_PROJECT"
EMAIL_KEY: Final = "GOOGLE_SERVICE_ACCOUNT_EMAIL"

HMAC_STATE: Final = "AccessId"
KEY_STATE: Final = "KeyId"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys of one claim.

    Attributes:
        clients: of this verb.
        identity: the account that they belong to.
        bucket: what they must open.
        held: what the Secret holds.
        state: what an earlier call asked to remember: of a shared account, which keys are this claim's.
    """

    clients: Clients
    identity: Identity
    bucket: str
    held: Authentication | None
    state: Mapping[str, str]

    def ensure(self) -> Authentication:
        """What the Secret is to hold.

        Raises:
            NotReady: a key, or the permission, does not count yet.
            QuotaExceeded: the account has as many keys as it may have.
        """
        kind, data = self.clients.parameters.kind, {}
        access_keys = self._ensure_hmac() if kind.has_hmac else None
        if kind.has_json_key:
            data = {FILE_KEY: self._ensure_file(), PROJECT_KEY: SecretStr(self.clients.project)}
        if not kind.has_hmac and not kind.has_json_key:
            data = {EMAIL_KEY: SecretStr(self.identity.email), PROJECT_KEY: SecretStr(self.clients.project)}
        return Authentication(access_keys=access_keys, additional_secret_data=data)

    def has_lost_file(self) -> bool:
        """Whether the claim's own account has a service-account key that is not in the Secret.

        Tokens that were minted by it go on for up to an hour when it is deleted. Only with their account they end.
        """
        if self.identity.is_shared or not self.clients.parameters.kind.has_json_key:
            return False
        held = self.held.additional_secret_data.get(FILE_KEY) if self.held else None
        fields = own_key(held, self.identity.email, self.clients.token_uri) or {}
        return any(each != fields.get("private_key_id") for each in self.identity.key_ids())

    def _ensure_hmac(self) -> AccessKeys:
        held = self.held.access_keys if self.held else None
        found = self.identity.hmac_keys()
        held_id = held.access_key_id if held else ""
        is_active = any(each.access_id == held_id and each.state == "ACTIVE" for each in found)
        is_ours = is_active and self.state.get(HMAC_STATE, held_id) == held_id
        kept = held_id if held and is_ours and self._works(lambda: self.clients.try_hmac(self.bucket, held)) else ""
        self._remove_hmac(found, but=kept)
        if held is not None and kept:
            return held
        self._check_room(sum(not self._is_to_go(each.access_id, HMAC_STATE) for each in found), "HMAC keys")
        new = self.identity.create_hmac()
        if not self.identity.is_shared:
            # A request that was sent again because its answer was lost has made two.
            self._remove_hmac(self.identity.hmac_keys(), but=new.access_key_id)
        self._wait_until_usable(lambda: self.clients.try_hmac(self.bucket, new))
        return new

    def _ensure_file(self) -> SecretStr:
        held = self.held.additional_secret_data.get(FILE_KEY) if self.held else None
        found = self.identity.key_ids()
        fields = own_key(held, self.identity.email, self.clients.token_uri)
        key_id = fields.get("private_key_id", "") if fields else ""
        kept = key_id if fields and key_id in found and self._works(lambda: self._try_file(fields)) else ""
        self._remove_files(found, but=kept)
        if held is not None and kept:
            return held
        self._check_room(sum(not self._is_to_go(each, KEY_STATE) for each in found), "keys")
        new = self.identity.create_key()
        new_fields = parse_key(new) or {}
        if not self.identity.is_shared:
            self._remove_files(self.identity.key_ids(), but=new_fields.get("private_key_id", ""))
        self._wait_until_usable(lambda: self._try_file(new_fields))
        return new

    def _remove_hmac(self, found: Iterable[HMACKeyMetadata], *, but: str) -> None:
        for each in found:
            if each.access_id != but and self._is_to_go(each.access_id, HMAC_STATE):
                self.identity.stop_hmac(each)
                self.identity.delete_hmac(each)

    def _remove_files(self, found: Iterable[str], *, but: str) -> None:
        for each in found:
            if each != but and self._is_to_go(each, KEY_STATE):
                self.identity.delete_key(each)

    def _try_file(self, fields: Mapping[str, str]) -> Verdict:
        return self.clients.try_key(self.bucket, self.identity.email, fields)

    def _is_to_go(self, key_id: str, state: str) -> bool:
        """Of a shared account only the key that was this claim's: the others may be other claims'."""
        return not self.identity.is_shared or self.state.get(state) == key_id

    def _check_room(self, others: int, what: str) -> None:
        if others >= MOST_KEYS:
            raise QuotaExceeded(
                f"service account {self.identity.email} has {others} {what}, and Google allows {MOST_KEYS}: use "
                "credentials: workload-identity, which needs none, or another serviceAccount, or none"
            )

    def _works(self, attempt: Callable[[], Verdict]) -> bool:
        """Whether a key that was given out works; one whose permission was only just restored is waited for."""
        seen = Verdict.DENIED

        def is_decided() -> bool:
            nonlocal seen
            seen = attempt()
            return seen is not Verdict.DENIED

        if not self.clients.patience.until(is_decided, self.clients.patience.permission):
            raise self._not_yet()
        return seen is Verdict.WORKS

    def _wait_until_usable(self, attempt: Callable[[], Verdict]) -> None:
        """First for the key to be known, which Google promises within a minute; then for its permission to count."""
        seen = Verdict.UNKNOWN

        def is_known() -> bool:
            nonlocal seen
            seen = attempt()
            return seen is not Verdict.UNKNOWN

        patience = self.clients.patience
        if not patience.until(is_known, patience.key):
            raise self._not_yet()
        if seen is not Verdict.WORKS and not patience.until(lambda: attempt() is Verdict.WORKS, patience.permission):
            raise self._not_yet()

    def _not_yet(self) -> NotReady:
        return NotReady(f"the credentials of service account {self.identity.email} do not work yet", delay=10)


def own_key(held: SecretStr | None, email: str, token_uri: str) -> dict[str, str] | None:
    """The fields of a key file that is the account's as Google gave it out; None for anything else."""
    fields = parse_key(held) if held is not None else None
    if fields is None or fields.get("client_email") != email or fields.get("token_uri") != token_uri:
        return None
    return fields


def remembered(authentication: Authentication) -> dict[str, str]:
    """Which keys of a shared account are this claim's: for `additional_state`. Ids, no secrets."""
    state = {}
    if authentication.access_keys is not None:
        state[HMAC_STATE] = authentication.access_keys.access_key_id
    fields = parse_key(authentication.additional_secret_data.get(FILE_KEY, SecretStr("")))
    if fields and fields.get("private_key_id"):
        state[KEY_STATE] = fields["private_key_id"]
    return state
