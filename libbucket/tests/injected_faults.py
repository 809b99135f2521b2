"""The suite over provisioners with one injected fault each: `TestKeysSurviveRevoke` for `KeysSurviveRevoke`.

Not a test module: `test_conformance_mutations.py` runs guarantees of it, and expects them to fail. `LIBBUCKET_WIRE` is
the address of a server that answers anything.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from libbucket import (
    BucketExists,
    BucketNotEmpty,
    InvalidConfig,
    ObjectBucket,
    PurgeUnfinished,
    RetrySlowly,
    StoreRefused,
    StoreUnavailable,
    Throttled,
    parse_retry_after,
)
from libbucket.testing.conformance import REFUSAL_TEXT, REQUEST_ID, Backend, Conformance
from libbucket.testing.memory import MemoryProvisioner
from libbucket.testing.memory_backend import MemoryBackend
from libbucket.testing.memory_store import Bucket, Identity
from libbucket.testing.misbehaving import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

    from libbucket import AccessKeys, BucketOptions, Provisioner


class NoMistake(MemoryProvisioner):
    """The control without a fault: the suite passes."""


class KeysSurviveRevoke(MemoryProvisioner):
    def revoke(self, ob: ObjectBucket) -> None:
        self._begin("revoke", ob)


class SecondProvisionRotatesKeys(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        return super().provision(replace(options, credentials=None))


class OldKeysStayWhenNewOnesAreIssued(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        with self.store.lock:
            identity = self.store.identities.get(options.user_id)
            old = dict(identity.keys) if identity else {}
            answer = super().provision(options)
            self.store.identities[options.user_id].keys.update(old)
            return answer


class DeletesWithoutTags(MemoryProvisioner):
    def delete(self, ob: ObjectBucket) -> None:
        with self.store.lock:
            if ob.bucket_name in self.store.buckets:
                self.store.buckets[ob.bucket_name].tags = ob.owner.ownership_tags()
            super().delete(ob)


class TakesOverWhatExists(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        with self.store.lock:
            if options.bucket_name in self.store.buckets:
                self.store.buckets[options.bucket_name].tags = options.owner.ownership_tags()
            return super().provision(options)


class GrantDropsOthers(MemoryProvisioner):
    def grant(self, options: BucketOptions) -> ObjectBucket:
        with self.store.lock:
            for identity in self.store.identities.values():
                identity.grants.discard(options.bucket_name)
            return super().grant(options)


class GrantTagsTheBucket(MemoryProvisioner):
    def grant(self, options: BucketOptions) -> ObjectBucket:
        answer = super().grant(options)
        self.store.buckets[options.bucket_name].tags = options.owner.ownership_tags()
        return answer


class GrantWarnsOfNothing(MemoryProvisioner):
    def grant(self, options: BucketOptions) -> ObjectBucket:
        return replace(super().grant(options), warnings=())


class EveryCallWarnsOfEveryKey(MemoryProvisioner):
    def grant(self, options: BucketOptions) -> ObjectBucket:
        return replace(super().grant(options), warnings=tuple(self.supported_config))


class AdministratorsSecretIsReadOnce(MemoryProvisioner):
    """Whatever it was: the client that was made with it is kept."""

    _was_read = False

    def _settings(self, parameters: Mapping[str, str]) -> Any:
        named = {name for name in parameters if name.startswith("secret")}
        kept = {name: value for name, value in parameters.items() if not self._was_read or name not in named}
        settings = super()._settings(kept)
        self._was_read = self._services is not None
        return settings


class GrantMakesTheBucket(MemoryProvisioner):
    def grant(self, options: BucketOptions) -> ObjectBucket:
        self.store.buckets.setdefault(options.bucket_name, Bucket())
        return super().grant(options)


class NotFoundOnDeleteIsAnError(MemoryProvisioner):
    def delete(self, ob: ObjectBucket) -> None:
        if ob.bucket_name not in self.store.buckets:
            raise StoreUnavailable("no such bucket")
        super().delete(ob)


class BucketStaysAfterDelete(MemoryProvisioner):
    def delete(self, ob: ObjectBucket) -> None:
        self.revoke(ob)


class IdentityStaysAfterDelete(MemoryProvisioner):
    def delete(self, ob: ObjectBucket) -> None:
        with self.store.lock:
            identity = self.store.identities.get(ob.user_id)
            super().delete(ob)
            if identity is not None:
                self.store.identities[ob.user_id] = identity


class NeighbourMayRead(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        with self.store.lock:
            answer = super().provision(options)
            for identity in self.store.identities.values():
                identity.grants = set(self.store.buckets)
            return answer


class NamesThatBeginAlikeAreOpen(MemoryProvisioner):
    """As with a policy on `bucket*`: grants access to later buckets as well."""

    def provision(self, options: BucketOptions) -> ObjectBucket:
        with self.store.lock:
            answer = super().provision(options)
            self.store.identities[options.user_id].grants = _BeginningWith(options.bucket_name)
            return answer


class _BeginningWith(set[str]):
    def __init__(self, beginning: str) -> None:
        super().__init__({beginning})
        self._beginning = beginning

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.startswith(self._beginning)


class EverybodyMayRead(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        answer = super().provision(options)
        self.store.buckets[options.bucket_name].public = True
        return answer


class HostHasAScheme(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        answer = super().provision(options)
        endpoint = replace(answer.connection.endpoint, bucket_host="https://memory.invalid")
        return replace(answer, connection=replace(answer.connection, endpoint=endpoint))


class SecretInTheState(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        answer = super().provision(options)
        keys = answer.connection.authentication
        assert keys is not None
        assert keys.access_keys is not None
        state = {"password": keys.access_keys.secret_access_key.reveal()}
        return replace(answer, connection=replace(answer.connection, additional_state=state))


class QuotaIsNeverReset(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        return super().provision(replace(options, previous_config={}))


class AbsentKeyIsCleared(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        return super().provision(replace(options, previous_config={"maxObjects": "1"}))


class ErrorIsSwallowed(MemoryProvisioner):
    def delete(self, ob: ObjectBucket) -> None:
        try:
            super().delete(ob)
        except Exception:  # noqa: BLE001 - the mistake
            return


class OneIdentityForAllClaims(MemoryProvisioner):
    def generate_user_id(self, claim: object, ob: object) -> str:  # noqa: ARG002 - the mistake
        return "everybody"


class DeleteTakesOthersIdentities(MemoryProvisioner):
    def delete(self, ob: ObjectBucket) -> None:
        super().delete(ob)
        self.store.identities.clear()


class CopySourceIsOpen(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        with self.store.lock:
            answer = super().provision(options)
            for identity in self.store.identities.values():
                identity.copies_from = set(self.store.buckets)
            return answer


class ListingOfAllBucketsIsAllowed(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        answer = super().provision(options)
        self.store.identities[options.user_id].lists_all = True
        return answer


class AdministratorsKeysAreReturned(MemoryProvisioner):
    def _keys(self, options: BucketOptions) -> AccessKeys:
        super()._keys(options)
        return self.store.root


class NewKeysAreLogged(MemoryProvisioner):
    def _keys(self, options: BucketOptions) -> AccessKeys:
        keys = super()._keys(options)
        if options.credentials is None:
            logging.getLogger(__name__).debug("issued %s", keys.secret_access_key.reveal())
        return keys


class ALibraryLogsNewKeys(MemoryProvisioner):
    def _keys(self, options: BucketOptions) -> AccessKeys:
        keys = super()._keys(options)
        logging.getLogger("sdk.identity").warning("issued %s", keys.secret_access_key.reveal())
        return keys


class HalfOfAKeyIsLogged(MemoryProvisioner):
    def _keys(self, options: BucketOptions) -> AccessKeys:
        keys = super()._keys(options)
        secret = keys.secret_access_key.reveal()
        logging.getLogger(__name__).debug("issued %s...", secret[: len(secret) // 2])
        return keys


class HalfOfAKeyIsRecorded(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        answer = super().provision(options)
        keys = answer.connection.authentication.access_keys if answer.connection.authentication else None
        secret = keys.secret_access_key.reveal() if keys is not None else ""
        state = {**answer.connection.additional_state, "Hint": secret[: len(secret) // 2]}
        return replace(answer, connection=replace(answer.connection, additional_state=state))


class LargeLimitsAreCut(MemoryProvisioner):
    """As an integer of 32 bits does."""

    def provision(self, options: BucketOptions) -> ObjectBucket:
        answer = super().provision(options)
        bucket = self.store.buckets[options.bucket_name]
        bucket.max_objects = min(bucket.max_objects, 2**31 - 1) if bucket.max_objects is not None else None
        return answer


class VersionsAreLeftBehind(MemoryProvisioner):
    """Empties the bucket by keys: older versions stay, and so does the bucket."""

    def delete(self, ob: ObjectBucket) -> None:
        with self.store.lock:
            bucket = self.store.buckets.get(ob.bucket_name)
            has_older = bucket is not None and any(len(versions) > 1 for versions in bucket.objects.values())
            super().delete(ob)
            if bucket is not None and has_older:
                self.store.buckets[ob.bucket_name] = bucket


class RegionIsIgnored(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        return super().provision(replace(options, parameters={**options.parameters, "region": ""}))


class SecretInAnErrorText(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        try:
            return super().provision(options)
        except BucketExists as error:
            held = options.credentials.access_keys if options.credentials else None
            raise BucketExists(f"{error}: {held and held.secret_access_key.reveal()}") from error


class LookSeesNothing(MemoryProvisioner):
    def is_intact(self, options: BucketOptions) -> bool:  # noqa: ARG002 - the mistake
        return True


class TakesOverAnothersBucket(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        with self.store.lock:
            if options.taken_over and options.bucket_name in self.store.buckets:
                self.store.buckets[options.bucket_name].tags.clear()
            return super().provision(options)


class PurgesWhatIsNotEmpty(MemoryProvisioner):
    def delete_empty(self, ob: ObjectBucket) -> None:
        self.delete(ob)


class TakesCredentialsThenLooks(MemoryProvisioner):
    def delete_empty(self, ob: ObjectBucket) -> None:
        self.revoke(ob)
        super().delete_empty(ob)


class VersionsAreNothing(MemoryProvisioner):
    def delete_empty(self, ob: ObjectBucket) -> None:
        bucket = self.store.buckets.get(ob.bucket_name)
        if bucket is not None and not bucket.keys() and not bucket.uploads:
            bucket.objects.clear()
        super().delete_empty(ob)


class UploadsAreNothing(MemoryProvisioner):
    def delete_empty(self, ob: ObjectBucket) -> None:
        if ob.bucket_name in self.store.buckets:
            self.store.buckets[ob.bucket_name].uploads.clear()
        super().delete_empty(ob)


class IdentityStaysWithWhatWasEmpty(MemoryProvisioner):
    def delete_empty(self, ob: ObjectBucket) -> None:
        with self.store.lock:
            identity = self.store.identities.get(ob.user_id)
            super().delete_empty(ob)
            if identity is not None:
                self.store.identities[ob.user_id] = identity


class AnythingMayBeHadBack(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        with self.store.lock:
            bucket = self.store.buckets.get(options.bucket_name)
            if bucket is not None and options.owner.earlier_uids:
                bucket.tags = options.owner.ownership_tags()
            return super().provision(options)


class OtherClustersNeverCount(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        return super().provision(replace(options, owner=replace(options.owner, earlier_clusters=())))


class EveryClusterCounts(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        bucket, owner = self.store.buckets.get(options.bucket_name), options.owner
        if bucket is not None and bucket.tags.get("objectbucket_claim_uid") in owner.earlier_uids:
            bucket.tags = owner.ownership_tags()
        return super().provision(options)


class NothingIsGivenBack(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        return super().provision(replace(options, owner=replace(options.owner, earlier_uids=())))


class EarlierTagsStay(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        with self.store.lock:
            bucket = self.store.buckets.get(options.bucket_name)
            before = dict(bucket.tags) if bucket is not None else {}
            answer = super().provision(options)
            if options.owner.matches_earlier(before):
                self.store.buckets[options.bucket_name].tags = before
            return answer


class StepsBeginAnew(MemoryProvisioner):
    """Reports removed objects without removing any."""

    def delete(self, ob: ObjectBucket) -> None:
        if self._batch and not self.store.buckets[ob.bucket_name].is_empty:
            raise PurgeUnfinished(self._batch)
        super().delete(ob)


class LooksIntoOthersBuckets(MemoryProvisioner):
    def delete_empty(self, ob: ObjectBucket) -> None:
        bucket = self.store.buckets.get(ob.bucket_name)
        if bucket is not None and not bucket.is_empty:
            raise BucketNotEmpty("something is in it")
        super().delete_empty(ob)


class DeleteForgetsEarlierClaims(MemoryProvisioner):
    def delete(self, ob: ObjectBucket) -> None:
        super().delete(replace(ob, owner=replace(ob.owner, earlier_uids=())))


class TakesOverWithoutTags(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        answer = super().provision(options)
        if options.taken_over:
            self.store.buckets[options.bucket_name].tags.clear()
        return answer


class BucketIsMadeOnce(MemoryProvisioner):
    """Treats a claim with credentials as one with a bucket."""

    def provision(self, options: BucketOptions) -> ObjectBucket:
        if options.credentials is not None and options.bucket_name not in self.store.buckets:
            return self._answer(options, self._settings(options.parameters))
        return super().provision(options)


class IdentityIsMadeOnce(MemoryProvisioner):
    def _keys(self, options: BucketOptions) -> AccessKeys:
        held = options.credentials.access_keys if options.credentials else None
        if held is not None and not self.store.identities[options.user_id].keys:
            return held
        return super()._keys(options)


class GrantAppliesSettings(MemoryProvisioner):
    def grant(self, options: BucketOptions) -> ObjectBucket:
        answer = super().grant(options)
        self.store.buckets[options.bucket_name].max_objects = None
        return answer


class GrantTurnsAwayTheOwner(MemoryProvisioner):
    def grant(self, options: BucketOptions) -> ObjectBucket:
        answer = super().grant(options)
        self.store.buckets[options.bucket_name].tags.clear()
        return answer


class LetsNobodyIn(MemoryProvisioner):
    def _answer(self, options: BucketOptions, settings: Any) -> ObjectBucket:
        answer = super()._answer(options, settings)
        self.store.identities[options.user_id].grants.clear()
        return answer


class SettingsAreAppliedOnce(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        is_known = options.previous_config == options.claim.additional_config
        claim = replace(options.claim, additional_config={}) if is_known else options.claim
        previous = {} if is_known else options.previous_config
        return super().provision(replace(options, claim=claim, previous_config=previous))


class NonsenseIsIgnored(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        try:
            return super().provision(options)
        except InvalidConfig:
            return super().provision(replace(options, claim=replace(options.claim, additional_config={})))


class KeyIsNotTried(MemoryProvisioner):
    supported_config = MemoryProvisioner.supported_config | {"bucketPolicy"}


class UnknownParametersAreSilent(MemoryProvisioner):
    def _answer(self, options: BucketOptions, settings: Any) -> ObjectBucket:
        return replace(super()._answer(options, settings), warnings=())


class EditedSecretIsBelieved(MemoryProvisioner):
    def _keys(self, options: BucketOptions) -> AccessKeys:
        held = options.credentials.access_keys if options.credentials else None
        known = self.store.identities[options.user_id].keys
        return held if held is not None and held.access_key_id in known else super()._keys(options)


class AnyKeysThatWorkAreTheClaims(MemoryProvisioner):
    def _keys(self, options: BucketOptions) -> AccessKeys:
        held = options.credentials.access_keys if options.credentials else None
        return held if held is not None and self._works(held) else super()._keys(options)

    def is_intact(self, options: BucketOptions) -> bool:
        held = options.credentials.access_keys if options.credentials else None
        return held is not None and self._works(held)

    def _works(self, keys: AccessKeys) -> bool:
        known = [identity.keys for identity in self.store.identities.values()]
        return any(each.get(keys.access_key_id) == keys.secret_access_key.reveal() for each in known)


class NewKeysBesideTheOld(MemoryProvisioner):
    def _keys(self, options: BucketOptions) -> AccessKeys:
        return self.store.issue_keys(options.user_id)


class RevokeWantsTheIdentity(MemoryProvisioner):
    def revoke(self, ob: ObjectBucket) -> None:
        if ob.user_id not in self.store.identities:
            raise StoreUnavailable("no such user")
        super().revoke(ob)


class RevokeGivesTheBucketUp(MemoryProvisioner):
    def revoke(self, ob: ObjectBucket) -> None:
        super().revoke(ob)
        if ob.bucket_name in self.store.buckets:
            self.store.buckets[ob.bucket_name].tags.clear()


class RevokeEmptiesTheBucket(MemoryProvisioner):
    def revoke(self, ob: ObjectBucket) -> None:
        super().revoke(ob)
        if ob.bucket_name in self.store.buckets:
            self.store.buckets[ob.bucket_name].objects.clear()


class RevokeLooksForTheBucketFirst(MemoryProvisioner):
    def revoke(self, ob: ObjectBucket) -> None:
        if ob.bucket_name in self.store.buckets:
            super().revoke(ob)


class RevokeNeedsWhatWasRemembered(MemoryProvisioner):
    def revoke(self, ob: ObjectBucket) -> None:
        if "UserName" in ob.additional_state:
            super().revoke(ob)


class DeleteNeedsWhatWasRemembered(MemoryProvisioner):
    def delete(self, ob: ObjectBucket) -> None:
        if "UserName" in ob.additional_state:
            super().delete(ob)


class DeleteLooksForTheIdentityFirst(MemoryProvisioner):
    def delete(self, ob: ObjectBucket) -> None:
        if ob.user_id in self.store.identities:
            super().delete(ob)


class DeleteStopsAtAPage(MemoryProvisioner):
    def delete(self, ob: ObjectBucket) -> None:
        with self.store.lock:
            bucket = self.store.buckets.get(ob.bucket_name)
            is_large = bucket is not None and len(bucket.objects) > _PAGE
            super().delete(ob)
            if bucket is not None and is_large:
                self.store.buckets[ob.bucket_name] = bucket


class UploadsAreLeftBehind(MemoryProvisioner):
    def delete(self, ob: ObjectBucket) -> None:
        with self.store.lock:
            bucket = self.store.buckets.get(ob.bucket_name)
            has_uploads = bucket is not None and bool(bucket.uploads)
            super().delete(ob)
            if bucket is not None and has_uploads:
                self.store.buckets[ob.bucket_name] = bucket


class UserIdsAreRandom(MemoryProvisioner):
    def generate_user_id(self, claim: object, ob: object) -> str:  # noqa: ARG002 - the mistake
        return f"obc-{secrets.token_hex(8)}"


class NamesAreMadeToFit(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        fitting = re.sub("[^a-z0-9]+", "-", options.bucket_name.lower()).strip("-")
        return super().provision(replace(options, bucket_name=fitting))


class BucketsHoldOneObject(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        answer = super().provision(options)
        self.store.buckets[options.bucket_name].max_objects = 1
        return answer


class LookIsNeverContent(MemoryProvisioner):
    def is_intact(self, options: BucketOptions) -> bool:  # noqa: ARG002 - the mistake
        return False


class OverAWire(MemoryProvisioner):
    """The control of those below: each verb is one HTTP request, so that a process can die before and after it."""

    wire = os.environ["LIBBUCKET_WIRE"]
    seconds = 10.0
    body = ""

    def provision(self, options: BucketOptions) -> ObjectBucket:
        self.request()
        return super().provision(options)

    def grant(self, options: BucketOptions) -> ObjectBucket:
        self.request()
        return super().grant(options)

    def delete(self, ob: ObjectBucket) -> None:
        self.request()
        super().delete(ob)

    def revoke(self, ob: ObjectBucket) -> None:
        self.request()
        super().revoke(ob)

    def request(self) -> None:
        """Makes a request without effect."""
        self.ask()
        try:
            with urlopen(self.wire, timeout=self.seconds) as answer:
                page = answer.read()
        except HTTPError as error:
            self.body = error.read().decode()
            error.close()
            raise self.refused(error.code, error.headers) from error
        except OSError as error:
            raise StoreUnavailable("no answer") from error
        if page.startswith(b"<"):
            raise RetrySlowly("a web page answers")

    def ask(self) -> None:
        """Asks whether this replica still leads."""
        if self._services is not None:
            self._services.before_request()

    def refused(self, status: int, headers: Message) -> Exception:
        """The error for a failed response."""
        if status in {429, 503}:
            return Throttled("busy", delay=parse_retry_after(headers["Retry-After"]))
        if status < 500:
            return StoreRefused(f"refused with {status}", request_id=headers["X-Request-Id"] or "")
        return StoreUnavailable("down")


class TagsComeLater(OverAWire):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        if options.bucket_name not in self.store.buckets:
            self.store.buckets[options.bucket_name] = Bucket()
            self.request()
            self.store.buckets[options.bucket_name].tags = options.owner.ownership_tags()
        return super().provision(options)


class KeysOfADeadCallStay(OverAWire):
    def _keys(self, options: BucketOptions) -> AccessKeys:
        old = dict(self.store.identities[options.user_id].keys)
        keys = super()._keys(options)
        self.request()
        self.store.identities[options.user_id].keys.update(old if options.credentials is None else {})
        return keys


class IdentityIsNamedByChance(OverAWire):
    """Its name is in the response only, and is unknown if that is lost."""

    def grant(self, options: BucketOptions) -> ObjectBucket:
        answer = super().grant(options)
        self.request()
        return answer

    def revoke(self, ob: ObjectBucket) -> None:
        self.request()
        if "UserName" in ob.additional_state:
            MemoryProvisioner.revoke(self, ob)


class DeleteRemovesTheTagsFirst(OverAWire):
    def delete(self, ob: ObjectBucket) -> None:
        bucket = self.store.buckets.get(ob.bucket_name, Bucket())
        if ob.owner.matches(bucket.tags):
            bucket.tags.clear()
            self.request()
            bucket.tags = ob.owner.ownership_tags()
        super().delete(ob)


class RevokeTakesItsFirstStepForAll(OverAWire):
    def revoke(self, ob: ObjectBucket) -> None:
        identity = self.store.identities.get(ob.user_id, Identity())
        if identity.keys:
            identity.keys.clear()
            super().revoke(ob)


class LookAsksTwice(OverAWire):
    def is_intact(self, options: BucketOptions) -> bool:
        self.request()
        self.request()
        return super().is_intact(options)


class DoneIsDoneAgain(OverAWire):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        if options.credentials is not None:
            self.request()
        return super().provision(options)


class WaitsForEver(OverAWire):
    def request(self) -> None:
        self.seconds = 12.0
        super().request()


class GivesUpForGood(OverAWire):
    def request(self) -> None:
        try:
            super().request()
        except StoreUnavailable as error:
            raise RetrySlowly("no answer") from error


class ForgetsTheDelay(OverAWire):
    def refused(self, status: int, headers: Message) -> Exception:  # noqa: ARG002 - the mistake
        return Throttled("busy") if status in {429, 503} else StoreUnavailable("down")


class UnknownAnswersAreOutages(OverAWire):
    def refused(self, status: int, headers: Message) -> Exception:
        error = super().refused(status, headers)
        return StoreUnavailable("down") if isinstance(error, StoreRefused) else error


class DropsTheRequestId(OverAWire):
    def refused(self, status: int, headers: Message) -> Exception:
        error = super().refused(status, headers)
        return StoreRefused("refused") if isinstance(error, StoreRefused) else error


class TriesAgainByItself(OverAWire):
    def request(self) -> None:
        try:
            super().request()
        except StoreUnavailable:
            super().request()


class NeverAsksForLeadership(OverAWire):
    def ask(self) -> None:
        pass

    def _begin(self, verb: Any, request: Any) -> Any:
        self._services = None
        return super()._begin(verb, request)


class AsksForLeadershipOnce(OverAWire):
    """At the beginning of a verb, and not before its second request."""

    def grant(self, options: BucketOptions) -> ObjectBucket:
        self.request()
        services, self._services = self._services, None
        try:
            return super().grant(options)
        finally:
            self._services = services


class HidesLostLeadership(OverAWire):
    def ask(self) -> None:
        try:
            super().ask()
        except Exception as error:
            raise StoreUnavailable("not now") from error


class TakesWhatWasMadeInBetween(OverAWire):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        was_there = options.bucket_name in self.store.buckets
        self.request()
        if not was_there and options.bucket_name in self.store.buckets:
            self.store.buckets[options.bucket_name].tags = options.owner.ownership_tags()
        return super().provision(options)


class RepeatsTheBody(OverAWire):
    def refused(self, status: int, headers: Message) -> Exception:
        error = super().refused(status, headers)
        return StoreRefused(self.body) if isinstance(error, StoreRefused) else error


class LogsTheBody(OverAWire):
    def refused(self, status: int, headers: Message) -> Exception:
        logging.getLogger(__name__).debug("the store says %s", self.body)
        return super().refused(status, headers)


class ALibraryLogsTheBody(OverAWire):
    def refused(self, status: int, headers: Message) -> Exception:
        logging.getLogger("sdk.client").warning("the store says %s", self.body)
        return super().refused(status, headers)


class PrintsTheBody(OverAWire):
    def refused(self, status: int, headers: Message) -> Exception:
        sys.stderr.write(self.body)
        return super().refused(status, headers)


class TakesAPageForAnAnswer(OverAWire):
    def request(self) -> None:
        with suppress(RetrySlowly):
            super().request()


_PAGE = 20


class ListsBucketsOfOthers(MemoryProvisioner):
    def list_buckets(self, parameters: Mapping[str, str]) -> list[tuple[str, Mapping[str, str]]]:
        untagged: list[tuple[str, Mapping[str, str]]] = [(name, {}) for name in self.store.buckets]
        return [*untagged, *super().list_buckets(parameters)]


class LostBucketsAreMadeAgain(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        return super().provision(replace(options, was_bound=False))


class RepairsAreReportedAlways(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        return replace(super().provision(options), repairs=("policy",))


class RepairsAreSilent(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        return replace(super().provision(options), repairs=())


class ReplacesKeysOnDoubt(MemoryProvisioner):
    def _are_kept(self, options: BucketOptions, held: AccessKeys) -> bool:
        return self.store.accepts(options.user_id, held)


class QuickBackend(MemoryBackend):
    many_objects = 25

    def refusal(self, status: int, code: str) -> Answer:
        body = f"{code} {REFUSAL_TEXT}".encode()
        return Answer(status=status, headers={"X-Request-Id": REQUEST_ID}, body=body)

    def misled(self, url: str, seconds: float) -> tuple[Provisioner, Mapping[str, str]] | None:
        provisioner = self.provisioner()
        if not isinstance(provisioner, OverAWire):
            return None
        provisioner.wire, provisioner.seconds = url, seconds
        return provisioner, self.parameters


def suite_over(mistake: type[MemoryProvisioner]) -> type[Conformance]:
    """The suite over a provisioner with this fault."""

    class Planted(Conformance):
        @pytest.fixture
        def backend(self) -> Backend:
            return QuickBackend(mistake)

    return Planted


for _name, _found in list(globals().items()):
    if isinstance(_found, type) and issubclass(_found, MemoryProvisioner) and _found is not MemoryProvisioner:
        globals()[f"Test{_name}"] = suite_over(_found)
