"""What a claim's Secret holds: the keys that it has, if they are its own and exist, or new ones.

Used by `provisioner`. The rules, most of them in `key_rules`, are the same for both kinds of key:

* A key that the Secret holds as an earlier call returned it is kept while Google's own list of keys has it as active.
  Whether a request with it was let in does not matter: a refusal proves nothing (a stale cache, a policy, a proxy).
* It is replaced where the list says that it is inactive, disabled or deleted. An administrator who disables one *key*
  has it replaced, as a leaked key should be, and it stays disabled; who wants the application out disables the
  *account*, which stops everything (`Identity.ensure`), or deletes the claim.
* Lists may lag behind: a key that is not listed is kept nevertheless if it works, and for some seconds if it does not.
* Keys of a claim's own account that are not in its Secret are of a call that died, and go before a new one is made.
* A new key that does not work yet is retried by later calls, after a delay: see `unfinished`. Nothing waits here.
* A service-account key that an organisation policy ends is replaced a fifth of its life before that, and goes on
  working until it ends: pods have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gcs_provisioner.admin_secret import parse_key
from gcs_provisioner.hmac_keys import SETTLING_SECONDS, HmacKeys, seconds_left
from gcs_provisioner.identity import MOST_KEYS, too_many_keys
from gcs_provisioner.key_files import KeyFiles
from gcs_provisioner.key_rules import KeyRules
from gcs_provisioner.trials import Trials
from libbucket import Authentication, NotReady, SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from google.cloud.storage.hmac_key import HMACKeyMetadata

    from gcs_provisioner.client import Clients
    from gcs_provisioner.identity import Identity
    from gcs_provisioner.key_files import KeyState
    from gcs_provisioner.trials import Attempt
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
        renew_at = None
        tests: list[Callable[[], None]] = []  # of new keys: after all of them were made, so that they age together
        access_keys = self._ensure_hmac(tests) if kind.has_hmac else None
        if not kind.has_hmac:
            self._drop_hmac()
        if kind.has_json_key:
            file, renew_at = self._ensure_file(tests)
            data = {FILE_KEY: file, PROJECT_KEY: SecretStr(self.clients.project)}
        else:
            self._drop_files()
        if not kind.has_hmac and not kind.has_json_key:
            data = {EMAIL_KEY: SecretStr(self.identity.email), PROJECT_KEY: SecretStr(self.clients.project)}
        for test in tests:
            test()
        self.unfinished.hand_out(*self.rules.who)
        return Authentication(access_keys=access_keys, additional_secret_data=data, renew_at=renew_at)

    def has_lost_file(self) -> bool:
        """Whether the service-account key that the claim was given is lost, and exists.

        Tokens that were minted by it go on for up to an hour when it is deleted. Only with their account they end. Of
        a claim that never got an answer nobody has a key: its account stays, and so do permissions that grow old.
        """
        if self.identity.is_shared or self.is_new or not self.was_bound:
            return False
        if not self.clients.parameters.kind.has_json_key:
            return False
        found = self.files.states(self.now())
        if self._kept_file(found) is not None:
            return False
        if not found:
            self._wait_for_lists()
        pending = self._pending_file(found)
        pending_id = (parse_key(pending) or {}).get("private_key_id") if pending else None
        return any(key.works and each != pending_id for each, key in found.items())

    def _wait_for_lists(self) -> None:
        """Has a claim wait that has lost its key within seconds: a key that no list shows can't be taken from anybody.

        Raises:
            NotReady: lists may not show yet what there is.
        """
        left = self.unfinished.seconds_until_listed(*self.rules.who)
        if left > 0 and self.unfinished.find(*self.rules.who).file is None:
            raise NotReady(
                f"the lost key of service account {self.identity.email} is seconds old, and lists do not show it yet: "
                "it is removed when they do",
                delay=left,
            )

    @property
    def rules(self) -> KeyRules:
        """Those for keys of either kind."""
        return KeyRules(
            identity=self.identity,
            bucket=self.bucket,
            state=self.state,
            unchanged=self.unchanged,
            unfinished=self.unfinished,
            now=self.now,
        )

    @property
    def trials(self) -> Trials:
        """What Google makes of a key."""
        return Trials(clients=self.clients)

    @property
    def hmac(self) -> HmacKeys:
        """The account's HMAC keys."""
        return HmacKeys(identity=self.identity)

    @property
    def files(self) -> KeyFiles:
        """The account's keys that come as files."""
        return KeyFiles(identity=self.identity)

    def _ensure_hmac(self, tests: list[Callable[[], None]]) -> AccessKeys:
        found = [] if self.is_new else self._known_hmac()
        kept = self._kept_hmac(found)
        if kept is not None:
            self._remove_hmac(found, but=kept.access_key_id)
            return kept
        new = self._pending_hmac(found)
        self._remove_hmac(found, but=new.access_key_id if new else "")
        if new is None:
            self._check_room_for_hmac(found)
            with self.rules.asking():
                new = self.hmac.create()
            self.unfinished.note_hmac(*self.rules.who, new)
            if not self.identity.is_shared:
                # A request that was sent again because its answer was lost has made two.
                self._remove_hmac(self.hmac.all(), but=new.access_key_id)
        keys, made_at = new, self.unfinished.find(*self.rules.who).hmac_at
        tests.append(lambda: self.rules.check_usable(self.trials.try_hmac(self.bucket, keys), made_at))
        return new

    def _known_hmac(self) -> list[HMACKeyMetadata]:
        """The account's HMAC keys. One that the claim was given and has lost goes, though lists may not show it yet."""
        lost = "" if self.unchanged else self.state.get(HMAC_STATE, "")
        return self.hmac.all_with(lost)

    def _drop_hmac(self) -> None:
        """Stops the HMAC keys of a claim whose class gives none any more."""
        if self.held is not None and self.held.access_keys is not None and not self.identity.is_shared:
            self._remove_hmac(self.hmac.all_with(self.held.access_keys.access_key_id), but="")

    def _drop_files(self) -> None:
        """Removes the service-account keys of a claim whose class gives none any more."""
        if self.held is not None and FILE_KEY in self.held.additional_secret_data and not self.identity.is_shared:
            self._remove_files(self.files.states(self.now()), but="")

    def _check_room_for_hmac(self, found: Iterable[HMACKeyMetadata]) -> None:
        """Raises where the account has as many HMAC keys as it may: of its own, inactive ones go in some minutes."""
        left = [seconds_left(each, SETTLING_SECONDS, self.now()) for each in found]
        others = sum(not self.rules.is_to_go(each.access_id, HMAC_STATE) for each in found)
        if others >= MOST_KEYS:
            raise too_many_keys(self.identity.email, others, "HMAC keys")
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
        if held is None or self.is_new:
            return None
        if self.identity.is_shared and self.state.get(HMAC_STATE, held.access_key_id) != held.access_key_id:
            return None
        active = next((each.state == "ACTIVE" for each in found if each.access_id == held.access_key_id), None)
        return held if self.rules.stays(active, lambda: self.trials.try_hmac(self.bucket, held)) else None

    def _pending_hmac(self, found: Iterable[HMACKeyMetadata]) -> AccessKeys | None:
        """The HMAC key that an earlier call made and could not hand out, unless it is known to be gone."""
        made = self.unfinished.find(*self.rules.who)
        if made.hmac is None or self.is_new:
            return None
        key_id = made.hmac.access_key_id
        active = next((each.state == "ACTIVE" for each in found if each.access_id == key_id), None)
        return made.hmac if active or (active is None and self.unfinished.is_fresh(made.hmac_at)) else None

    def _ensure_file(self, tests: list[Callable[[], None]]) -> tuple[SecretStr, datetime | None]:
        found = {} if self.is_new else self.files.states(self.now())
        kept = self._kept_file(found)
        ending = _id_of(kept) if kept is not None and self._is_due(found.get(_id_of(kept))) else ""
        if kept is not None and not ending:
            self._remove_files(found, but=_id_of(kept))
            return kept, _renew_at(found.get(_id_of(kept)))
        new = self._pending_file(found)
        renew_at = _renew_at(found.get(_id_of(new))) if new else None
        self._remove_files((each for each in found if each != ending), but=_id_of(new) if new else "")
        if new is None:
            others = sum(not self.rules.is_to_go(each, KEY_STATE) for each in found)
            if others >= MOST_KEYS:
                raise too_many_keys(self.identity.email, others, "keys")
            with self.rules.asking():
                new, renew_at = self.files.create(self.now())
            self.unfinished.note_file(*self.rules.who, new)
            if not self.identity.is_shared:
                listed = self.files.states(self.now())
                self._remove_files((each for each in listed if each != ending), but=_id_of(new))
        fields, made_at = parse_key(new) or {}, self.unfinished.find(*self.rules.who).file_at
        tests.append(lambda: self.rules.check_usable(self._try_file(fields), made_at))
        return new, renew_at

    def _is_due(self, key: KeyState | None) -> bool:
        return key is not None and key.renew_at is not None and key.renew_at <= self.now()

    def _kept_file(self, found: Mapping[str, KeyState]) -> SecretStr | None:
        """The service-account key of the Secret, if it stays."""
        held = self.held.additional_secret_data.get(FILE_KEY) if self.held else None
        fields = own_key(held, self.identity.email)
        if held is None or fields is None or self.is_new:
            return None
        listed = found.get(fields.get("private_key_id", ""))
        active = None if listed is None else listed.works
        return held if self.rules.stays(active, lambda: self._try_file(fields)) else None

    def _pending_file(self, found: Mapping[str, KeyState]) -> SecretStr | None:
        """The service-account key that an earlier call made and could not hand out, unless it is known to be gone."""
        made = self.unfinished.find(*self.rules.who)
        if made.file is None or self.is_new:
            return None
        listed = found.get(_id_of(made.file))
        is_kept = listed.works if listed is not None else self.unfinished.is_fresh(made.file_at)
        return made.file if is_kept else None

    def _remove_hmac(self, found: Iterable[HMACKeyMetadata], *, but: str) -> None:
        """Stops other keys at once. They are deleted by a later call: Google wants them inactive for three minutes."""
        for each in found:
            if each.access_id != but and self.rules.is_to_go(each.access_id, HMAC_STATE):
                self.hmac.stop(each)
                if seconds_left(each, SETTLING_SECONDS, self.now()) <= 0:
                    self.hmac.delete(each)

    def _remove_files(self, found: Iterable[str], *, but: str) -> None:
        for each in found:
            if each != but and self.rules.is_to_go(each, KEY_STATE):
                self.files.delete(each)

    def _try_file(self, fields: Mapping[str, str]) -> Attempt:
        return self.trials.try_key(self.bucket, self.identity.email, fields)


def own_key(held: SecretStr | None, email: str) -> dict[str, str] | None:
    """The fields of a key file of this account; None for anything else.

    Which token endpoint it names does not matter: Google writes its own into each, the administrator's key may be older
    or name an address of Private Service Connect, and a claim's key is only ever tried at the administrator's.
    """
    fields = parse_key(held) if held is not None else None
    return fields if fields is not None and fields.get("client_email") == email else None


def _renew_at(key: KeyState | None) -> datetime | None:
    return key.renew_at if key is not None else None


def remembered(authentication: Authentication, *, is_shared: bool) -> dict[str, str]:
    """Which keys are this claim's: for `additional_state`. Ids, no secrets.

    Args:
        authentication: what the claim is given.
        is_shared: whether other claims have keys of the same account. A key file names its account, so only then its
            id is needed.
    """
    state = {}
    if authentication.access_keys is not None:
        state[HMAC_STATE] = authentication.access_keys.access_key_id
    key_id = _id_of(authentication.additional_secret_data.get(FILE_KEY, SecretStr("")))
    if key_id and is_shared:
        state[KEY_STATE] = key_id
    return state


def _id_of(file: SecretStr) -> str:
    return (parse_key(file) or {}).get("private_key_id", "")
