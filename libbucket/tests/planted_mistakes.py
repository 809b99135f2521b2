"""The suite over a provisioner with one mistake planted in it: `LIBBUCKET_PLANTED` names which.

No test module of its own: `test_conformance_teeth.py` runs it and wants it to fail.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from libbucket import BucketExists, ObjectBucket, PurgeUnfinished, StoreUnavailable
from libbucket.testing.conformance import Backend, Conformance
from libbucket.testing.memory import MemoryProvisioner
from libbucket.testing.memory_backend import MemoryBackend
from libbucket.testing.memory_store import Bucket

if TYPE_CHECKING:
    from libbucket import AccessKeys, BucketOptions


class NoMistake(MemoryProvisioner):
    """The twin: the suite passes."""


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


class DeletesWithoutStamp(MemoryProvisioner):
    def delete(self, ob: ObjectBucket) -> None:
        with self.store.lock:
            if ob.bucket_name in self.store.buckets:
                self.store.buckets[ob.bucket_name].stamp = ob.owner.stamp()
            super().delete(ob)


class TakesOverWhatExists(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        with self.store.lock:
            if options.bucket_name in self.store.buckets:
                self.store.buckets[options.bucket_name].stamp = options.owner.stamp()
            return super().provision(options)


class GrantDropsOthers(MemoryProvisioner):
    def grant(self, options: BucketOptions) -> ObjectBucket:
        with self.store.lock:
            for identity in self.store.identities.values():
                identity.grants.discard(options.bucket_name)
            return super().grant(options)


class GrantStampsTheBucket(MemoryProvisioner):
    def grant(self, options: BucketOptions) -> ObjectBucket:
        answer = super().grant(options)
        self.store.buckets[options.bucket_name].stamp = options.owner.stamp()
        return answer


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
    """As with a policy on `bucket*`: enforced here by letting in to what is made later, too."""

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


class VersionsAreLeftBehind(MemoryProvisioner):
    """Empties the bucket by keys: what is older stays, and the bucket with it."""

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
                self.store.buckets[options.bucket_name].stamp.clear()
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
                bucket.stamp = options.owner.stamp()
            return super().provision(options)


class NothingIsGivenBack(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        return super().provision(replace(options, owner=replace(options.owner, earlier_uids=())))


class EarlierStampStays(MemoryProvisioner):
    def provision(self, options: BucketOptions) -> ObjectBucket:
        with self.store.lock:
            bucket = self.store.buckets.get(options.bucket_name)
            before = dict(bucket.stamp) if bucket is not None else {}
            answer = super().provision(options)
            if options.owner.was_stamped_on(before):
                self.store.buckets[options.bucket_name].stamp = before
            return answer


class StepsBeginAnew(MemoryProvisioner):
    """Says that it removed something, and did not."""

    def delete(self, ob: ObjectBucket) -> None:
        if self._batch and not self.store.buckets[ob.bucket_name].is_empty:
            raise PurgeUnfinished(self._batch)
        super().delete(ob)


class QuickBackend(MemoryBackend):
    many_objects = 25


class TestPlanted(Conformance):
    @pytest.fixture
    def backend(self) -> Backend:
        return QuickBackend(globals()[os.environ["LIBBUCKET_PLANTED"]])
