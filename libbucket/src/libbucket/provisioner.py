"""The contract between the core and a store: what the author of a new provisioner implements.

A provisioner implements four verbs. The core does the rest: watches, queueing, planning, retries, the Secret, the
ConfigMap, the ObjectBucket, phases, conditions, Events, metrics, leader election, the command line.

**Every verb is idempotent**: it may be repeated after a crash at any point, by any replica, with the same arguments.
A repeated call has the same result; deleting what is gone is success; an existing bucket of another owner is
`BucketExists`.

==============  =================================  ==================================================
verb            returns normally                   raises
==============  =================================  ==================================================
`provision`     the claim becomes Bound: Secret    `RetrySoon`: retried with back-off (or its `delay`).
                and ConfigMap are written          `RetrySlowly`: retried rarely, and after an edit.
`grant`         the same, for a bucket that the    `Terminal`: the claim is Failed until it is edited.
                class names                        No rollback: the claim keeps its finalizer, and
                                                   `delete` or `revoke` cleans up when it is deleted.
`delete`        the claim and its objects are      `RetrySoon`, `RetrySlowly`, `Terminal`: the claim stays,
                removed                            shows the reason, and the verb is retried: soon,
`revoke`        the same; the bucket stays         rarely, rarely.
==============  =================================  ==================================================

Any other exception is a bug of the provisioner: it is logged, the claim shows `InternalError` without the
exception's text (which could contain a secret), and the verb is retried with back-off.

One provisioner object serves all workers, from several threads: it holds configuration, and no state of a request.
Every network call needs a time limit; SDK retries should be few, because the core retries.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from libbucket._clock import utc_now
from libbucket.errors import BucketExists, BucketLost, InvalidAdminSecret
from libbucket.types import BucketOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping
    from datetime import datetime

    from libbucket.types import Claim, ObjectBucket, SecretStr

_USER_ID_PART = 20


class Provisioner(ABC):
    """A store. Subclass it, and pass the class (or a factory) to `libbucket.run`.

    Attributes:
        supported_config: the `spec.additionalConfig` keys that this store supports. Others become one Warning Event
            and are not passed on.
        tracks_requests: whether `Services.before_request` is called before *every* request to the store, after its
            connection is established: `fence_requests` does so. A call that fails without it has then sent nothing, and
            a claim that never reached its store (unknown host, closed port, invalid certificate) can be deleted at
            once.
    """

    supported_config: ClassVar[frozenset[str]] = frozenset()
    tracks_requests: ClassVar[bool] = False

    @abstractmethod
    def provision(self, options: BucketOptions) -> ObjectBucket:
        """Creates the bucket, an identity, and credentials that give access to this bucket only.

        Check before creating. A bucket of that name belongs to the claim only if it has the ownership tags of
        `options.owner`; otherwise raise `BucketExists` and change nothing. Tag a new bucket in the request that
        creates it if the store supports that, in the next request otherwise.

        Also called to apply an edited `additionalConfig`, and to restore a Secret that was removed:
        `options.credentials` are those that the Secret holds. If they are this claim's and still work, return them
        unchanged; otherwise issue new ones and remove the old, but never without proof: see
        `BucketOptions.credentials_unchanged`. List in `ObjectBucket.repairs` the drift that was found in the store. A
        bucket that is gone although `options.was_bound` is `BucketLost`.

        Args:
            options: the request; everything in it is already recorded in the cluster.

        Returns:
            An `ObjectBucket` with its `connection` set.

        Raises:
            ProvisionerError: see the table at the top of this module.
        """

    @abstractmethod
    def delete(self, ob: ObjectBucket) -> None:
        """Revokes the credentials, then removes the bucket with everything in it.

        Credentials first, so that the application cannot write during the deletion. Remove all versions, delete
        markers and unfinished uploads in bounded batches; a call after an interrupted one continues. After some
        seconds raise `PurgeUnfinished` with the number of removed objects, so that other claims are served. If objects
        are locked, raise `BucketNotEmpty` before anything is changed. Refuse a bucket without the owner's tags
        (`BucketExists`); a bucket or identity that is gone is success. `ob` may be the intent of a `provision` that
        never completed: `additional_state` is empty then, and names follow from `ob.user_id` and `ob.bucket_name`.

        Raises:
            ProvisionerError: see the table at the top of this module.
        """

    @abstractmethod
    def grant(self, options: BucketOptions) -> ObjectBucket:
        """Creates an identity for this claim, with access to the existing bucket that the class names.

        Access that others were granted stays. The bucket is neither tagged nor changed.

        Returns:
            An `ObjectBucket` with its `connection` set.

        Raises:
            BucketNotFound: there is no such bucket.
            ProvisionerError: see the table at the top of this module.
        """

    @abstractmethod
    def revoke(self, ob: ObjectBucket) -> None:
        """Removes the identity and access that `provision` or `grant` created; the bucket and its data stay.

        The credentials must have stopped working when this returns. If the store cannot guarantee that yet, raise
        `NotReady`; the call is retried. If it cannot revoke them, and they expire by themselves, raise `ExpiresLater`.

        Raises:
            ProvisionerError: see the table at the top of this module.
        """

    def store_id(self, parameters: Mapping[str, str]) -> Hashable:
        """Identifies the server that the requests of a class go to: usually its endpoint.

        Classes with the same id share one circuit breaker: when the server of one is down, so is that of the others.
        Pure, and called before the parameters are checked: it must not raise for any values.

        Args:
            parameters: of the StorageClass, unchecked.

        Returns:
            By default all parameters together.
        """
        return frozenset(parameters.items())

    def generate_user_id(self, claim: Claim, ob: ObjectBucket | None) -> str:
        """Names the claim's identity in the store. Deterministic: the same claim always has the same name.

        The default is readable, at most 64 characters of `[a-z0-9-]`, and unique by a hash of namespace, name and uid.
        Override it if the store requires another form.

        Args:
            claim: the claim.
            ob: the recorded ObjectBucket; None if there is none.

        Returns:
            The user id, which the core records before the first call.
        """
        if ob is not None and ob.user_id:
            return ob.user_id
        whole = f"{claim.namespace}/{claim.name}/{claim.uid}"
        digest = hashlib.sha256(whole.encode()).hexdigest()[:16]
        readable = [re.sub("[^a-z0-9]+", "-", part.lower())[:_USER_ID_PART] for part in (claim.namespace, claim.name)]
        return f"obc-{readable[0]}-{readable[1]}-{digest}"


class EmptyBucketDeleter(ABC):
    """Optional interface: deletion of empty buckets only, for classes with `deletionPolicy: IfEmpty`.

    Detected with isinstance. Without it such a class is refused (`InvalidParameters`) before anything is created.
    """

    @abstractmethod
    def delete_empty(self, ob: ObjectBucket) -> None:
        """As `Provisioner.delete`, but never removes data.

        Data is everything that has content or history: objects, older versions, delete markers, the parts of
        unfinished uploads. Check first. If there is any, change nothing, not even the credentials, so that the
        application can empty the bucket. Otherwise revoke the credentials, then remove the bucket with a request that
        the store refuses for a bucket that is not empty, if it has one; if not, check once more in between.

        Raises:
            BucketNotEmpty: the bucket holds data.
            ProvisionerError: see the table at the top of this module.
        """


class Inspector(ABC):
    """Optional interface: a cheap drift check.

    Detected with isinstance. With it, the regular drift check (`--resync-interval`) costs the store this one call for
    each bound claim, and `provision` or `grant` is called only if it returns False.
    """

    @abstractmethod
    def is_intact(self, options: BucketOptions) -> bool:
        """Whether bucket, identity and credentials are intact, as far as one request to the store can tell.

        The best single request is one with the claim's own credentials to its bucket: it fails if the bucket, the
        identity, its permission or its key is gone.

        Args:
            options: as `provision` or `grant` would get it; `credentials` are those that the Secret holds.

        Returns:
            False if the verb has to be called, to repair or to find out.

        Raises:
            ProvisionerError: the store gave no conclusive answer.
        """


class BucketLister(ABC):
    """Optional interface: lists the buckets of a store, so that those whose claim is gone can be found.

    Detected with isinstance. Called by `--list-orphans` only, which an administrator runs, and for no claim.
    """

    @abstractmethod
    def list_buckets(self, parameters: Mapping[str, str]) -> Iterable[tuple[str, Mapping[str, str]]]:
        """All buckets with ownership tags that the administrator's credentials of a class can see.

        Of any claim and any cluster: the core chooses. A bucket that is removed meanwhile is left out. Reads only.

        Args:
            parameters: of the StorageClass.

        Returns:
            Name and tags of each.

        Raises:
            ProvisionerError: the store did not say.
        """


def warn_unapplied(claim: Claim, keys: Iterable[str]) -> tuple[str, ...]:
    """The warnings of `grant` about settings of the bucket, which it does not apply.

    Args:
        claim: that was granted access.
        keys: of `additionalConfig`, that apply only to a bucket that was created for the claim.

    Returns:
        A warning for each of these keys that the claim has, for `ObjectBucket.warnings`.
    """
    return tuple(
        f"additionalConfig.{key} is not applied: the bucket was not created for this claim"
        for key in sorted(set(keys) & claim.additional_config.keys())
    )


def has_own_bucket(of: BucketOptions | ObjectBucket, tags: Mapping[str, str] | None) -> bool:
    """Whether a claim's bucket is there, and is the claim's: one that is not is refused.

    Where it is False, `provision` makes the bucket, and `delete` and `delete_empty` have none to remove.

    Args:
        of: the argument of the verb.
        tags: the tags, labels or metadata of the bucket of this name, as read from the store; None if there is none.

    Raises:
        BucketExists: its ownership tags are not those of the claim; see `Owner.owns`.
        BucketLost: there is none, and an earlier call of `provision` succeeded.
    """
    if tags is None:
        if isinstance(of, BucketOptions) and of.was_bound:
            raise BucketLost(f"bucket {of.bucket_name} is gone, with everything in it")
        return False
    if not of.owner.owns(tags, taken_over=of.taken_over):
        raise BucketExists(f"bucket {of.bucket_name} was not made for this claim, and is left as it is")
    return True


def _do_nothing() -> None:
    """The request hook of a provisioner that is used without the core, as in a unit test."""


class SecretReader(Protocol):
    """Reads a Secret of an administrator."""

    def __call__(self, namespace: str, name: str) -> Mapping[str, SecretStr]:
        """The decoded `data` of the Secret, read afresh at every call.

        Raises:
            AdminSecretMissing: it does not exist, or the provisioner may not read it.
            InvalidParameters: the operator allows no class to name a Secret of this namespace.
            RetrySoon: the API server did not answer.
        """


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A flag of the command line that only this provisioner has: for what is the same for all of its classes.

    `--help` shows it with its environment variable: `LIBBUCKET_`, and its name with `_` in place of `-`.

    Attributes:
        name: without dashes in front, such as `depot-url`.
        help: one line.
        default: value if neither flag nor variable is given.
        required: without a value the process ends with exit code 2, and a sentence that names flag and variable.
        check: raises ValueError for a wrong value; its text follows the flag and the value in a sentence ("must be a
            URL").
    """

    name: str
    help: str
    default: str = ""
    required: bool = False
    check: Callable[[str], object] | None = None


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the core passes to a provisioner when it is created.

    Attributes:
        read_secret: reads the Secret that a class names.
        now: the core's clock, aware and in UTC, for credentials that expire. Tests set it.
        before_request: the request hook: call it immediately before each request to the store, in the context of the
            verb, or have `fence_requests` call it: a verb that uses threads of its own runs them in
            `contextvars.copy_context()`. It checks that this replica is still the leader, and raises if it
            may not be, because it was frozen or disconnected; do not catch what it raises. It also records that the
            store was sent a request: a first call that fails with `AdminSecretMissing`, `InvalidAdminSecret` or
            `InvalidParameters`, and has not called the hook, is known to have left nothing in the store.
        flags: the values of the provisioner's own flags by `Flag.name`.
    """

    read_secret: SecretReader
    now: Callable[[], datetime] = utc_now
    before_request: Callable[[], None] = _do_nothing
    flags: Mapping[str, str] = field(default_factory=dict)

    def read_value(self, namespace: str, name: str, key: str) -> SecretStr:
        """One value of a Secret of an administrator, read afresh at every call.

        Raises:
            InvalidAdminSecret: the Secret has no such key, or an empty value.
            ProvisionerError: as `SecretReader` raises it.
        """
        value = self.read_secret(namespace, name).get(key)
        if not value:
            raise InvalidAdminSecret(f"Secret {namespace}/{name} has no key {key}")
        return value

    @property
    def fence(self) -> Callable[[], None]:
        """Deprecated name of `before_request`."""
        return self.before_request


class ProvisionerFactory(Protocol):
    """The argument of `libbucket.run`: usually the provisioner's class."""

    def __call__(self, services: Services) -> Provisioner:
        """Creates the provisioner of this process. Sends no request: the store may be down, and claims wait for it.

        Raises:
            Misconfigured: a flag or the environment is wrong; the process ends with the message and exit code 1. Any
                other exception ends it too, with the name of its class.
        """
