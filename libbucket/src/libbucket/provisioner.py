"""The contract between the core and a store: what to write for a new backend. Five minutes.

You write four verbs. The core does the rest: watching, queueing, deciding, retrying, the Secret, the
ConfigMap, the ObjectBucket, phases, conditions, Events, metrics, leader election, the command line.

**Every call may be repeated**, after a crash at any point, from any replica, with the same arguments. So:
same again gives the same result; gone already is success; exists but is not ours is `BucketExists`.

==============  =================================  ==================================================
verb            returns normally                   raises
==============  =================================  ==================================================
`provision`     the claim becomes Bound: Secret    `RetrySoon`: again, with back-off (or its `delay`).
                and ConfigMap are written          `RetrySlowly`: again, rarely; an edit wakes it.
`grant`         the same, for a bucket that the    `Terminal`: the claim is Failed until it is edited.
                class names                        Nothing is undone: the claim keeps its finalizer, and
                                                   `delete` or `revoke` cleans up when it is deleted.
`delete`        the claim and its objects go       `RetrySoon`, `RetrySlowly`, `Terminal`: the claim stays,
`revoke`        the same; the bucket stays         says why, and the verb is retried: soon, rarely, rarely.
==============  =================================  ==================================================

Anything else that is raised is a bug of the provisioner: it is logged, the claim shows `InternalError`
without the exception's text (which could hold a secret), and the verb is retried with back-off.

One provisioner object serves all workers at once, from several threads: keep configuration in it, and no
state of a request. Every network call needs a time limit; let the SDK retry little, because the core does.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from libbucket._clock import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping
    from datetime import datetime

    from libbucket.types import BucketOptions, Claim, ObjectBucket, SecretStr

_USER_ID_PART = 20


class Provisioner(ABC):
    """A store. Subclass it, and hand the class (or a factory) to `libbucket.run`.

    Attributes:
        supported_config: the `spec.additionalConfig` keys that this store can do. Others become one
            Warning Event and are not handed on.
        tracks_requests: whether `Services.before_request` is called before *every* request to the store, after its
            connection is established: `fence_requests` does so. A call that fails without it has then sent nothing, and
            a claim that never reached its store (unknown host, closed port, invalid certificate) can be deleted at
            once.
    """

    supported_config: ClassVar[frozenset[str]] = frozenset()
    tracks_requests: ClassVar[bool] = False

    @abstractmethod
    def provision(self, options: BucketOptions) -> ObjectBucket:
        """Makes the bucket, an identity, and credentials that reach this bucket and nothing else.

        Check before creating. A bucket of that name is yours only if it carries `options.owner`'s stamp;
        otherwise raise `BucketExists` and touch nothing. Stamp a new bucket in the call that creates it
        where the store can, in the next call where it can't.

        Also called to apply an edited `additionalConfig`, and to restore a Secret that was removed:
        `options.credentials` are what the Secret holds. If they are this claim's and still work, return
        them unchanged; otherwise issue new ones and remove the old; never on doubt, see
        `BucketOptions.credentials_unchanged`. Say in `ObjectBucket.repairs` what had been
        changed in the store; a bucket that is gone although `options.was_bound` is `BucketLost`.

        Args:
            options: the request; everything in it is already recorded in the cluster.

        Returns:
            An `ObjectBucket` with its `connection` filled.

        Raises:
            ProvisionerError: see the table at the top of this module.
        """

    @abstractmethod
    def delete(self, ob: ObjectBucket) -> None:
        """Withdraws the credentials, then removes the bucket with everything in it.

        Credentials first: from the moment this starts, the application is out. Remove all versions,
        delete markers and unfinished uploads in bounded batches; a call that is cut off goes on where it
        was. After some seconds raise `PurgeUnfinished` with what was removed, so that other claims have
        their turn. What is locked is `BucketNotEmpty`, before anything is touched. Refuse a bucket without
        the owner's stamp (`BucketExists`); a bucket or identity that is gone already is success. `ob` may be
        the record of a `provision` that never finished: then `additional_state` is empty, and names follow
        from `ob.user_id` and `ob.bucket_name`.

        Raises:
            ProvisionerError: see the table at the top of this module.
        """

    @abstractmethod
    def grant(self, options: BucketOptions) -> ObjectBucket:
        """Gives this claim an identity of its own on the existing bucket that the class names.

        Leave alone what others were granted on that bucket. The bucket is not stamped and not changed.

        Returns:
            An `ObjectBucket` with its `connection` filled.

        Raises:
            BucketNotFound: there is no such bucket.
            ProvisionerError: see the table at the top of this module.
        """

    @abstractmethod
    def revoke(self, ob: ObjectBucket) -> None:
        """Withdraws what `provision` or `grant` gave; the bucket and its data stay untouched.

        The credentials must have stopped working when this returns. If the store can't promise that yet,
        raise `NotReady`, and it is retried. If it can't revoke them, and they expire by themselves, raise
        `ExpiresLater`.

        Raises:
            ProvisionerError: see the table at the top of this module.
        """

    def store_id(self, parameters: Mapping[str, str]) -> Hashable:
        """Identifies the server that the requests of a class go to: usually its endpoint.

        Classes with the same id share one circuit breaker: when the server of one is down, so is that of the others.
        Pure, and called before the parameters are checked: it must not raise, whatever they hold.

        Args:
            parameters: of the StorageClass, unchecked.

        Returns:
            By default all parameters together.
        """
        return frozenset(parameters.items())

    def generate_user_id(self, claim: Claim, ob: ObjectBucket | None) -> str:
        """Names the claim's identity in the store: the same answer for the same claim, for ever.

        The default is readable, at most 64 characters of `[a-z0-9-]`, and unique by a hash of namespace,
        name and uid. Override it where the store wants another form.

        Args:
            claim: the claim.
            ob: what is recorded already, if anything.

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
    """A further ability: removing a bucket only if it holds nothing, for classes with `deletionPolicy: IfEmpty`.

    The core finds it with isinstance. Without it such a class is refused (`InvalidParameters`) before anything is made.
    """

    @abstractmethod
    def delete_empty(self, ob: ObjectBucket) -> None:
        """As `Provisioner.delete`, but never removes data.

        What counts is whatever holds data or keeps its history: objects, older versions, delete markers, the parts of
        unfinished uploads. Check first; where there is something, touch nothing, not even the credentials, so that
        their owner can empty the bucket. Where there is nothing, withdraw the credentials, then remove the bucket by a
        call that the store refuses for a bucket that is not empty, if it has one; if not, check once more in between.

        Raises:
            BucketNotEmpty: it holds something.
            ProvisionerError: see the table at the top of this module.
        """


class Inspector(ABC):
    """A further ability: telling cheaply that a bound claim is still as it should be.

    The core finds it with isinstance. Where it is there, the regular drift check (`--resync-interval`) costs the
    store this one call for each bound claim, and `provision` or `grant` is called only where it answers False.
    """

    @abstractmethod
    def is_intact(self, options: BucketOptions) -> bool:
        """Whether what an earlier call gave still stands, as far as one request to the store can tell.

        The best single request is one that the claim's own credentials make to its bucket: it fails when the bucket,
        the identity, its permission or its key is gone.

        Args:
            options: as `provision` or `grant` would get it; `credentials` are what the Secret holds.

        Returns:
            False where the verb has to be called, to repair or to find out.

        Raises:
            ProvisionerError: the store did not say.
        """


def warn_unapplied(claim: Claim, keys: Iterable[str]) -> tuple[str, ...]:
    """What `grant` says of settings that it leaves alone: they are the bucket's, and that is not the claim's.

    Args:
        claim: who asks.
        keys: of `additionalConfig`, that would be applied to a bucket of the claim's own.

    Returns:
        A warning for each of these keys that the claim has: for `ObjectBucket.warnings`.
    """
    return tuple(
        f"additionalConfig.{key} is not applied: the bucket was not made for this claim"
        for key in sorted(set(keys) & claim.additional_config.keys())
    )


def _do_nothing() -> None:
    """The request hook of a provisioner that is used without the core, as in a unit test."""


class SecretReader(Protocol):
    """Reads a Secret of an administrator: the core's service to a provisioner."""

    def __call__(self, namespace: str, name: str) -> Mapping[str, SecretStr]:
        """The decoded `data` of the Secret, read afresh at every call.

        Raises:
            AdminSecretMissing: it does not exist, or the provisioner may not read it.
            InvalidParameters: the operator allows no class to name a Secret of this namespace.
            RetrySoon: the API server did not answer.
        """


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the core hands to a provisioner when it is built.

    Attributes:
        read_secret: reads the Secret that a class names.
        now: the core's clock, aware and in UTC, for credentials that expire. Tests set it.
        before_request: the request hook: call it immediately before each request to the store, in the thread of the
            verb, or have `fence_requests` call it. It checks that this replica is still the leader, and raises if it
            may not be, because it was frozen or disconnected; do not catch what it raises. It also records that the
            store was sent a request: a first call that fails with `AdminSecretMissing`, `InvalidAdminSecret` or
            `InvalidParameters`, and has not called the hook, is known to have left nothing in the store.
    """

    read_secret: SecretReader
    now: Callable[[], datetime] = utc_now
    before_request: Callable[[], None] = _do_nothing

    @property
    def fence(self) -> Callable[[], None]:
        """Deprecated name of `before_request`."""
        return self.before_request


class ProvisionerFactory(Protocol):
    """What `libbucket.run` takes: usually the provisioner's class itself."""

    def __call__(self, services: Services) -> Provisioner:
        """Builds the one provisioner of this process."""
