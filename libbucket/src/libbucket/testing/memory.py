"""A provisioner over a store in memory: the contract's reference, and what the core is tested and measured with.

Obeys every rule of `libbucket.provisioner`, and passes the conformance suite; faults and waiting are put in by a hook
that tests give. Runs as a process, too, for measurements of the core alone:

    python -m libbucket.testing.memory --kubeconfig PATH
"""

from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Literal

from libbucket._clock import utc_now
from libbucket.errors import (
    BucketExists,
    BucketLost,
    BucketNotEmpty,
    BucketNotFound,
    InvalidAdminSecret,
    InvalidClaim,
    InvalidConfig,
    PurgeUnfinished,
)
from libbucket.limits import parse_quantity
from libbucket.parameters import ParameterReader
from libbucket.provisioner import BucketLister, EmptyBucketDeleter, Inspector, Provisioner, Services, warn_unapplied
from libbucket.run import run
from libbucket.testing.memory_store import Bucket, Identity, MemoryStore
from libbucket.types import Authentication, Connection, Endpoint, ObjectBucket, has_ownership_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from libbucket.types import AccessKeys, BucketOptions

PROVISIONER_NAME = "memory.libbucket.io/bucket"
ADMIN_KEY = "MEMORY_PASSWORD"

Verb = Literal["provision", "delete", "delete_empty", "grant", "revoke", "is_intact"]
"""The verbs, as hook and counter name them."""

_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


def _no_hook(_verb: Verb, _request: BucketOptions | ObjectBucket) -> None:
    """Lets every call pass."""


class MemoryProvisioner(Provisioner, Inspector, EmptyBucketDeleter, BucketLister):
    """Provisions from a `MemoryStore`.

    Class parameters: `host`, `region`, `versioning` (true or false), `lifetime` (seconds after which keys are replaced;
    0, the default, for never), and `secretName` with `secretNamespace`, for a
    Secret that must hold the key `MEMORY_PASSWORD`: its value is of no use, but a missing key fails as in a real store.

    Args:
        services: of the core; needed only where a class names a Secret.
        store: where the buckets are; a new one by default. Hand the same one to a second provisioner to play a restart.
        batch: how much one call of `delete` removes before it lets others have their turn; None for everything.
        hook: called at the beginning of every verb with its name and its argument: raise in it to play a fault, wait
            for an event in it to play a slow store.

    Attributes:
        store: the store.
        calls: how often each verb was called, before anything else happened.
    """

    supported_config: ClassVar[frozenset[str]] = frozenset({"maxObjects"})
    tracks_requests: ClassVar[bool] = True

    def __init__(
        self,
        services: Services | None = None,
        *,
        store: MemoryStore | None = None,
        batch: int | None = None,
        hook: Callable[[Verb, BucketOptions | ObjectBucket], None] = _no_hook,
    ) -> None:
        self.store = store or MemoryStore()
        self.calls: Counter[Verb] = Counter()
        self._services = services
        self._batch = batch
        self._hook = hook
        self._calls_lock = threading.Lock()

    def provision(self, options: BucketOptions) -> ObjectBucket:
        """Makes the bucket, with ownership tags, and an identity that may use it."""
        settings = self._begin("provision", options)
        max_objects = _max_objects(options)
        if not _BUCKET_NAME.fullmatch(options.bucket_name):
            raise InvalidClaim(
                f"bucketName {options.bucket_name!r} must be 3 to 63 lower-case letters, digits and dashes"
            )
        with self.store.lock:
            bucket = self.store.buckets.get(options.bucket_name)
            if bucket is None and options.was_bound:
                raise BucketLost(f"bucket {options.bucket_name} is gone, and what was in it")
            if bucket is None:
                bucket = Bucket(
                    tags=options.owner.ownership_tags(), region=settings.region, versioned=settings.versioned
                )
                self.store.buckets[options.bucket_name] = bucket
            if _may_be_tagged_anew(options, bucket.tags):
                bucket.tags = options.owner.ownership_tags()
            if not options.owner.matches(bucket.tags):
                raise BucketExists(f"bucket {options.bucket_name} exists already and belongs to another owner")
            repairs = self._repairs(options)
            if max_objects is not None or "maxObjects" in options.previous_config:
                repairs += ("quota",) if options.was_bound and bucket.max_objects != max_objects else ()
                bucket.max_objects = max_objects
            return replace(self._answer(options, settings), repairs=repairs)

    def grant(self, options: BucketOptions) -> ObjectBucket:
        """Makes an identity that may use the bucket that the class names."""
        settings = self._begin("grant", options)
        with self.store.lock:
            if options.bucket_name not in self.store.buckets:
                raise BucketNotFound(f"bucket {options.bucket_name}, which the class names, does not exist")
            repairs = self._repairs(options)
            answer = self._answer(options, settings)
        unapplied = warn_unapplied(options.claim, self.supported_config)
        return replace(answer, repairs=repairs, warnings=answer.warnings + unapplied)

    def delete(self, ob: ObjectBucket) -> None:
        """Removes the identity, then the bucket if it carries the owner's tags."""
        self._begin("delete", ob)
        with self.store.lock:
            self.store.identities.pop(ob.user_id, None)
            bucket = self._own_bucket(ob)
            if bucket is None:
                return
            removed = bucket.purge(self._batch)
            if not bucket.is_empty:
                raise PurgeUnfinished(removed)
            del self.store.buckets[ob.bucket_name]

    def delete_empty(self, ob: ObjectBucket) -> None:
        """Removes the identity and the bucket, if that carries the owner's tags and holds nothing."""
        self._begin("delete_empty", ob)
        with self.store.lock:
            bucket = self._own_bucket(ob)
            if bucket is not None and not bucket.is_empty:
                raise BucketNotEmpty(f"bucket {ob.bucket_name} is not empty")
            self.store.identities.pop(ob.user_id, None)
            self.store.buckets.pop(ob.bucket_name, None)

    def revoke(self, ob: ObjectBucket) -> None:
        """Removes the identity."""
        self._begin("revoke", ob)
        with self.store.lock:
            self.store.identities.pop(ob.user_id, None)

    def is_intact(self, options: BucketOptions) -> bool:
        """Whether the claim's keys reach its bucket."""
        self._begin("is_intact", options)
        with self.store.lock:
            identity = self.store.identities.get(options.user_id, Identity())
            held = options.credentials.access_keys if options.credentials else None
            return (
                options.bucket_name in self.store.buckets
                and options.bucket_name in identity.grants
                and held is not None
                and self.store.accepts(options.user_id, held)
            )

    def list_buckets(self, parameters: Mapping[str, str]) -> list[tuple[str, Mapping[str, str]]]:
        """Every bucket with ownership tags."""
        self._settings(parameters)
        with self.store.lock:
            return [(name, dict(one.tags)) for name, one in self.store.buckets.items() if has_ownership_tags(one.tags)]

    def store_id(self, parameters: Mapping[str, str]) -> str:
        """The host."""
        return parameters.get("host", "")

    def _own_bucket(self, ob: ObjectBucket) -> Bucket | None:
        bucket = self.store.buckets.get(ob.bucket_name)
        if bucket is None or ob.owner.matches(bucket.tags) or _may_be_tagged_anew(ob, bucket.tags):
            return bucket
        raise BucketExists(f"bucket {ob.bucket_name} is not this claim's: it is left as it is")

    def _begin(self, verb: Verb, request: BucketOptions | ObjectBucket) -> _Settings:
        with self._calls_lock:
            self.calls[verb] += 1
        self._hook(verb, request)
        settings = self._settings(request.parameters)
        if self._services is not None:
            self._services.before_request()  # the store is in memory: this is its only request
        return settings

    def _settings(self, parameters: Mapping[str, str]) -> _Settings:
        settings = _Settings(parameters)
        if settings.secret_name and self._services is not None:
            found = self._services.read_secret(settings.secret_namespace, settings.secret_name)
            if not found.get(ADMIN_KEY):
                where = f"{settings.secret_namespace}/{settings.secret_name}"
                raise InvalidAdminSecret(f"Secret {where} has no key {ADMIN_KEY}")
        return settings

    def _repairs(self, options: BucketOptions) -> tuple[str, ...]:
        """What is not as an earlier call left it, and is put right by this one."""
        identity = self.store.identities.get(options.user_id)
        if identity is None:
            return ("user",) if options.was_bound else ()
        return ("permission",) if options.was_bound and identity.grants != {options.bucket_name} else ()

    def _answer(self, options: BucketOptions, settings: _Settings) -> ObjectBucket:
        """Grants the identity access, and gives the connection."""
        self.store.identities.setdefault(options.user_id, Identity()).grants = {options.bucket_name}
        endpoint = Endpoint(
            bucket_host=settings.host, bucket_port=443, bucket_name=options.bucket_name, region=settings.region
        )
        keys, state = self._keys(options), {"UserName": options.user_id}
        renew_at = None
        if settings.lifetime:
            keys, renew_at = self._keys_that_end(options, keys, timedelta(seconds=settings.lifetime))
            state["RenewAt"] = renew_at.isoformat()
        connection = Connection(
            endpoint=endpoint,
            authentication=Authentication(access_keys=keys, renew_at=renew_at),
            additional_state=state,
        )
        return ObjectBucket(connection=connection, warnings=settings.warnings)

    def _keys(self, options: BucketOptions) -> AccessKeys:
        """The claim's keys if they are this identity's and work, else new ones; all others stop working."""
        identity = self.store.identities[options.user_id]
        held = options.credentials.access_keys if options.credentials else None
        if held is not None and self._are_kept(options, held):
            identity.keys = {held.access_key_id: held.secret_access_key.reveal()}
            return held
        identity.keys.clear()
        return self.store.issue_keys(options.user_id)

    def _are_kept(self, options: BucketOptions, held: AccessKeys) -> bool:
        if self.store.accepts(options.user_id, held):
            return True
        # A refusal proves nothing about keys that are as they were issued: the identity itself has to say so.
        return options.credentials_unchanged and held.access_key_id in self.store.identities[options.user_id].keys

    def _keys_that_end(
        self, options: BucketOptions, keys: AccessKeys, lifetime: timedelta
    ) -> tuple[AccessKeys, datetime]:
        now = self._services.now() if self._services is not None else utc_now()
        known = options.additional_state.get("RenewAt")
        is_held = options.credentials is not None and options.credentials.access_keys == keys
        if known and is_held and datetime.fromisoformat(known) > now:
            return keys, datetime.fromisoformat(known)
        if is_held:
            self.store.identities[options.user_id].keys.clear()
            keys = self.store.issue_keys(options.user_id)
        return keys, now + lifetime


class _Settings:
    """The class's parameters, read and checked."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        reader = ParameterReader(parameters)
        self.host = reader.text("host", default="memory.invalid")
        self.region = reader.text("region")
        self.versioned = reader.flag("versioning", default=False)
        self.lifetime = reader.number("lifetime", default=0)
        self.secret_name = reader.text("secretName")
        self.secret_namespace = reader.text("secretNamespace", required=bool(self.secret_name))
        reader.finish()
        self.warnings = reader.unknown()


def _may_be_tagged_anew(of: BucketOptions | ObjectBucket, tags: Mapping[str, str]) -> bool:
    """Whether the cluster's record proves that a bucket without tags, or with an earlier claim's, is this claim's."""
    return (of.taken_over and not tags) or of.owner.matches_earlier(tags)


def _max_objects(options: BucketOptions) -> int | None:
    wanted = options.claim.additional_config.get("maxObjects")
    try:
        return None if wanted is None else parse_quantity(wanted)
    except ValueError as error:
        raise InvalidConfig(f"additionalConfig maxObjects: {error}") from error


if __name__ == "__main__":
    sys.exit(run(MemoryProvisioner, program="memory-provisioner", provisioner_name=PROVISIONER_NAME, version="0"))
