"""A claim's credentials: kept while nothing proves that they are dead, and issued once where something does.

Between `provisioner` and `identity`. What counts as proof is only what MinIO's identity system says of the user, over
the admin API. A request with the claim's own keys that is refused proves nothing: each node has its own cache of users,
tells others of changes as well as it can, and reads all of them again after 5 to 15 minutes (MinIO's `cmd/iam.go`,
`globalRefreshIAMInterval`). Knows no bucket but by its name.

Why new keys that a node refuses are handed out all the same, with a warning: they can't be handed out later, because
only this call knows their secret, and MinIO tells nobody. Not handing them out would mean to set another secret at the
next try, so that a node that lags would never catch up. The admin API has confirmed the user and its policy by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from libbucket import AccessDenied, NotReady, ProvisionerError, wait_until
from minio_provisioner.errors import BAD_CREDENTIALS
from minio_provisioner.parameters import is_plausible
from minio_provisioner.policy import is_same

if TYPE_CHECKING:
    from libbucket import AccessKeys, BucketOptions
    from minio_provisioner.identity import Identity, User
    from minio_provisioner.policy import Document
    from minio_provisioner.storage import Storage

_WAIT_SECONDS: Final = 5.0
"""How long keys may be refused before they are said to be."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """What `ensure` found and did.

    Attributes:
        keys: of the claim: its own, or new ones.
        repairs: what had been changed by hand and was repaired.
        warnings: what the claim's author should hear.
    """

    keys: AccessKeys
    repairs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def ensure(options: BucketOptions, recorded: Identity, storage: Storage, *, object_locking: bool) -> Access:
    """The claim's user, with its policy and keys: those that the claim holds, or new ones.

    Args:
        options: the request.
        recorded: the claim's user, as the last call that came to its end left it.
        storage: to try keys with.
        object_locking: whether the class makes buckets with object locking.

    Raises:
        AccessDenied: an administrator disabled the user.
        NotReady: the claim's own keys are refused, and nothing proves that they are dead.
    """
    return _Ensuring(options=options, recorded=recorded, storage=storage, object_locking=object_locking).run()


def own_keys(options: BucketOptions, *users: str) -> AccessKeys | None:
    """What the claim's Secret holds, if it can be what was issued for one of these users."""
    keys = options.credentials.access_keys if options.credentials is not None else None
    return keys if keys is not None and keys.access_key_id in users and is_plausible(keys) else None


@dataclass(frozen=True, kw_only=True)
class _Ensuring:
    options: BucketOptions
    recorded: Identity
    storage: Storage
    object_locking: bool

    def run(self) -> Access:
        document = self.recorded.find_policy()
        identity = self._current(document)
        user = self._find(identity)
        repairs = [] if self._is_wanted(document, identity) else ["policy"]
        held = own_keys(self.options, identity.user)
        if user is not None and held is not None:
            identity.ensure_policy(self._wanted(identity), document)
            if identity.attach():
                repairs.append("policy of the user")
            if self._may_keep(identity, held):
                return Access(keys=held, repairs=tuple(repairs))
        if user is None:
            repairs.append("user")
        is_begun = identity.user != self.recorded.user
        if self.options.was_bound and not is_begun:
            keys = self._issue(identity.successor, document, is_there=False)
        else:
            keys = self._issue(identity, document, is_there=user is not None)
        return Access(keys=keys, repairs=tuple(repairs), warnings=self._try(keys))

    def _current(self, document: Document | None) -> Identity:
        """The user that the claim is to have: its own, or the one that a rotation was cut off at.

        Such a rotation is not needed any more where the claim holds its keys again, unchanged, and their user is there.
        """
        latest = self.recorded.latest(document)
        if latest.user == self.recorded.user:
            return latest
        is_alive = self._find(self.recorded) is not None
        if is_alive and self.options.credentials_unchanged and own_keys(self.options, self.recorded.user):
            latest.remove_user()
            return self.recorded
        return latest

    def _find(self, identity: Identity) -> User | None:
        """The user as the identity system has it.

        Raises:
            AccessDenied: an administrator disabled it. It stays so: new keys would let those in who were locked out.
        """
        user = identity.find()
        if user is not None and user.is_disabled:
            raise AccessDenied(
                f"user {identity.user} was disabled by an administrator at MinIO {identity.clients.url}: enable it, or "
                "delete the claim; its keys stay as they are"
            )
        return user

    def _may_keep(self, identity: Identity, held: AccessKeys) -> bool:
        """Whether the claim's keys work; False only where they were edited and MinIO does not know them so."""
        refusal = self._refusal(held)
        if not refusal:
            return True
        if not self.options.credentials_unchanged and refusal in BAD_CREDENTIALS:
            return False
        raise NotReady(
            f"MinIO at {identity.clients.url} refuses the keys of user {identity.user} ({refusal}), although the user "
            "is there, enabled and has its policy: they are kept, since a node that lags behind answers so; to have "
            "new ones issued, delete the claim's Secret"
        )

    def _issue(self, identity: Identity, document: Document | None, *, is_there: bool) -> AccessKeys:
        """New keys; those of the user before this one stop working, and all that was derived from them.

        The policy is written first: it notes which user is the claim's, for a call that is cut off. Where the user is
        there already, an earlier try has set a secret that was lost: then no other is set before the rest has worked,
        so that a claim whose credentials can't be finished does not make one with every try.
        """
        identity.ensure_policy(self._wanted(identity), document)
        if is_there:
            _hand_over(identity)
        keys = identity.create_keys()
        if not is_there:
            _hand_over(identity)
        return keys

    def _try(self, keys: AccessKeys) -> tuple[str, ...]:
        """A warning where new keys do not work within the wait: they are the claim's all the same, see above."""
        try:
            refusal = self._refusal(keys)
        except ProvisionerError as error:
            refusal = error.message
        if not refusal:
            return ()
        warning = f"MinIO does not take the new keys of user {keys.access_key_id} everywhere yet ({refusal})"
        return (f"{warning}: applications may be refused for some minutes",)

    def _refusal(self, keys: AccessKeys) -> str:
        """The code with which these keys are refused, all through the wait; empty as soon as they are not."""
        last = ""

        def is_accepted() -> bool:
            nonlocal last
            last = self.storage.find_refusal(keys, self.options.bucket_name)
            if last:
                self.storage.clients.pool.clear()  # behind a load balancer, a new connection may reach another node
            return not last

        wait_until(is_accepted, _WAIT_SECONDS)
        return last

    def _wanted(self, identity: Identity) -> Document:
        return identity.wanted_policy(self.options.bucket_name, object_locking=self.object_locking)

    def _is_wanted(self, document: Document | None, identity: Identity) -> bool:
        return document is not None and is_same(document, self._wanted(identity))


def _hand_over(identity: Identity) -> None:
    identity.attach()
    if identity.predecessor is not None:
        identity.predecessor.remove_user()
