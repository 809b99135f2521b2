"""What a claim's Secret holds: the keys that it has, if they are its own and exist, or new ones.

Used by `provisioner`. The rules are the same for both kinds of key:

* A key that the Secret holds as an earlier call returned it is kept while Google's own list of keys has it as active.
  Whether a request with it was let in does not matter: a refusal proves nothing (a stale cache, a policy, a proxy).
* It is replaced where the list says that it is inactive, disabled or deleted. An administrator who disables one *key*
  has it replaced, as a leaked key should be, and it stays disabled; who wants the application out disables the
  *account*, which stops everything (`Identity.ensure`), or deletes the claim.
* Lists may lag behind: a key that is not listed is kept nevertheless if it works.
* Keys of a claim's own account that are not in its Secret are of a call that died, and go before a new one is made.
* A new key that does not work yet is waited for, and tried again by later calls: see `unfinished`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gcs_provisioner.client import Verdict
from gcs_provisioner.identity import MOST_KEYS, SETTLING_SECONDS, seconds_left
from gcs_provisioner.parameters import DEFAULT_TOKEN_URI, parse_key
from libbucket import Authentication, NotReady, SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from google.cloud.storage.hmac_key import HMACKeyMetadata

    from gcs_provisioner.client import Clients
    from gcs_provisioner.identity import Identity
    from gcs_provisioner.unfinished import Unfinished
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
        unchanged: whether an earlier call returned what the Secret holds: see `BucketOptions.credentials_unchanged`.
        was_bound: whether an earlier call answered, and keys were handed out.
        is_new: whether the account was made by this very call: then it has no keys, whatever lists say.
        unfinished: what earlier calls made and could not hand out.
        now: the core's clock.
    """

    clients: Clients
    identity: Identity
    bucket: str
    held: Authentication | None
    state: Mapping[str, str]
    unchanged: bool
    was_bound: bool
    is_new: bool
    unfinished: Unfinished
    now: Callable[[], datetime]

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
        self.unfinished.hand_out(*self._who)
        return Authentication(access_keys=access_keys, additional_secret_data=data)

    def has_lost_file(self) -> bool:
        """Whether the service-account key that the claim was given is lost, and exists.

        Tokens that were minted by it go on for up to an hour when it is deleted. Only with their account they end. Of
        a claim that never got an answer nobody has a key: its account stays, and so do permissions that grow old.
        """
        if self.identity.is_shared or self.is_new or not self.was_bound:
            return False
        if not self.clients.parameters.kind.has_json_key:
            return False
        found = self.identity.key_states()
        if self._kept_file(found) is not None:
            return False
        pending = self._pending_file(found)
        pending_id = (parse_key(pending) or {}).get("private_key_id") if pending else None
        return any(works and each != pending_id for each, works in found.items())

    @property
    def _who(self) -> tuple[str, str]:
        return self.identity.email, self.identity.owner.uid

    def _ensure_hmac(self) -> AccessKeys:
        found = [] if self.is_new else self.identity.hmac_keys()
        kept = self._kept_hmac(found)
        if kept is not None:
            self._remove_hmac(found, but=kept.access_key_id)
            return kept
        new = self._pending_hmac(found)
        self._remove_hmac(found, but=new.access_key_id if new else "")
        if new is None:
            self._check_room_for_hmac(found)
            new = self.identity.create_hmac()
            self.unfinished.note_hmac(*self._who, new)
            if not self.identity.is_shared:
                # A request that was sent again because its answer was lost has made two.
                self._remove_hmac(self.identity.hmac_keys(), but=new.access_key_id)
        keys = new
        self._wait_until_usable(lambda: self.clients.try_hmac(self.bucket, keys))
        return new

    def _check_room_for_hmac(self, found: Iterable[HMACKeyMetadata]) -> None:
        """Raises where the account has as many HMAC keys as it may: of its own, inactive ones go in some minutes."""
        left = [seconds_left(each, SETTLING_SECONDS, self.now()) for each in found]
        others = sum(not self._is_to_go(each.access_id, HMAC_STATE) for each in found)
        if others >= MOST_KEYS:
            raise self.identity.too_many_keys(others, "HMAC keys")
        pending = [each for each in left if each > 0]
        if len(pending) >= MOST_KEYS - 1:
            raise NotReady(
                f"service account {self.identity.email} has {len(pending)} inactive HMAC keys, which Google wants kept "
                "for three minutes before they are deleted",
                delay=min(pending),
            )

    def _kept_hmac(self, found: Iterable[HMACKeyMetadata]) -> AccessKeys | None:
        """The HMAC key of the Secret, if it stays."""
        held = self.held.access_keys if self.held else None
        if held is None or self.is_new or self.state.get(HMAC_STATE, held.access_key_id) != held.access_key_id:
            return None
        active = next((each.state == "ACTIVE" for each in found if each.access_id == held.access_key_id), None)
        return held if self._stays(active, lambda: self.clients.try_hmac(self.bucket, held)) else None

    def _pending_hmac(self, found: Iterable[HMACKeyMetadata]) -> AccessKeys | None:
        """The HMAC key that an earlier call made and could not hand out, unless it is known to be gone."""
        made = self.unfinished.find(*self._who)
        if made.hmac is None or self.is_new:
            return None
        key_id = made.hmac.access_key_id
        active = next((each.state == "ACTIVE" for each in found if each.access_id == key_id), None)
        return made.hmac if active or (active is None and self.unfinished.is_fresh(made.hmac_at)) else None

    def _ensure_file(self) -> SecretStr:
        found = {} if self.is_new else self.identity.key_states()
        kept = self._kept_file(found)
        if kept is not None:
            self._remove_files(found, but=_id_of(kept))
            return kept
        new = self._pending_file(found)
        self._remove_files(found, but=_id_of(new) if new else "")
        if new is None:
            others = sum(not self._is_to_go(each, KEY_STATE) for each in found)
            if others >= MOST_KEYS:
                raise self.identity.too_many_keys(others, "keys")
            new = self.identity.create_key()
            self.unfinished.note_file(*self._who, new)
            if not self.identity.is_shared:
                self._remove_files(self.identity.key_states(), but=_id_of(new))
        fields = parse_key(new) or {}
        self._wait_until_usable(lambda: self._try_file(fields))
        return new

    def _kept_file(self, found: Mapping[str, bool]) -> SecretStr | None:
        """The service-account key of the Secret, if it stays."""
        held = self.held.additional_secret_data.get(FILE_KEY) if self.held else None
        fields = own_key(held, self.identity.email, self.clients.token_uri)
        if held is None or fields is None or self.is_new:
            return None
        active = found.get(fields.get("private_key_id", ""))
        return held if self._stays(active, lambda: self._try_file(fields)) else None

    def _pending_file(self, found: Mapping[str, bool]) -> SecretStr | None:
        """The service-account key that an earlier call made and could not hand out, unless it is known to be gone."""
        made = self.unfinished.find(*self._who)
        if made.file is None or self.is_new:
            return None
        active = found.get(_id_of(made.file))
        return made.file if active or (active is None and self.unfinished.is_fresh(made.file_at)) else None

    def _stays(self, active: bool | None, attempt: Callable[[], Verdict]) -> bool:  # noqa: FBT001 - None is not listed
        """Whether a key of the Secret is kept.

        Args:
            active: what Google's list says of it; None where the list does not have it.
            attempt: tries it. Google checks a signature before it asks for permissions: who is denied has the right
                secret.
        """
        if active and self.unchanged:
            return True
        if active:
            return attempt() is not Verdict.UNKNOWN
        return active is None and self.unchanged and attempt() is Verdict.WORKS

    def _remove_hmac(self, found: Iterable[HMACKeyMetadata], *, but: str) -> None:
        """Stops other keys at once. They are deleted by a later call: Google wants them inactive for three minutes."""
        for each in found:
            if each.access_id != but and self._is_to_go(each.access_id, HMAC_STATE):
                self.identity.stop_hmac(each)
                if seconds_left(each, SETTLING_SECONDS, self.now()) <= 0:
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

    def _wait_until_usable(self, attempt: Callable[[], Verdict]) -> None:
        seen = Verdict.UNKNOWN

        def works() -> bool:
            nonlocal seen
            seen = attempt()
            return seen is Verdict.WORKS

        patience = self.clients.patience
        if not patience.until(works, patience.key):
            raise self._not_yet(seen)

    def _not_yet(self, seen: Verdict) -> NotReady:
        email = self.identity.email
        if seen is Verdict.UNKNOWN:
            return NotReady(f"Google does not know the new key of service account {email} everywhere yet", delay=10)
        return NotReady(
            f"Google does not let service account {email} into bucket {self.bucket} yet: a new permission takes 2 to 7 "
            "minutes; if it takes longer, search for a deny policy or an organisation policy that keeps it out",
            delay=10,
        )


def own_key(held: SecretStr | None, email: str, token_uri: str) -> dict[str, str] | None:
    """The fields of a key file that is the account's as Google gave it out; None for anything else.

    Google writes its own token endpoint into each, whatever the administrator's key says, which may be older or name
    an address of Private Service Connect.
    """
    fields = parse_key(held) if held is not None else None
    if fields is None or fields.get("client_email") != email:
        return None
    return fields if fields.get("token_uri") in {DEFAULT_TOKEN_URI, token_uri} else None


def remembered(authentication: Authentication) -> dict[str, str]:
    """Which keys of a shared account are this claim's: for `additional_state`. Ids, no secrets."""
    state = {}
    if authentication.access_keys is not None:
        state[HMAC_STATE] = authentication.access_keys.access_key_id
    key_id = _id_of(authentication.additional_secret_data.get(FILE_KEY, SecretStr("")))
    if key_id:
        state[KEY_STATE] = key_id
    return state


def _id_of(file: SecretStr) -> str:
    return (parse_key(file) or {}).get("private_key_id", "")
