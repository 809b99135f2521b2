"""A claim's credentials: kept while nothing proves that they are dead, and issued once where something does.

Between `provisioner` and `identity`. What counts as proof is only what MinIO's identity system says of the user, over
the admin API. A request with the claim's own keys that is refused proves nothing: each node has its own cache of users,
tells others of changes as well as it can, and reads all of them again after 5 to 15 minutes (MinIO's `cmd/iam.go`,
`globalRefreshIAMInterval`). Knows no bucket but by its name.

The secret of a user is set once: new keys are for a user of a new name. So no node can lag behind in a secret, and only
two callers at once (replicas of which one is cut off) may set two. Each notes a fingerprint of its secret in the policy
*after* it has set it, and tries it after that. Whatever the order: keys that were handed out and are not the last ones
set are not the ones that are noted last. That is proof, too, that such keys are dead.

Why new keys that a node refuses are handed out all the same, with a warning: they can't be handed out later, because
only this call knows their secret, and MinIO tells nobody. Not handing them out would mean to make others at the next
try, for which a node that lags behind is late again. The admin API has confirmed the user and its policy by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from libbucket import AccessDenied, NotReady, ProvisionerError, wait_until
from minio_provisioner.errors import BAD_CREDENTIALS
from minio_provisioner.parameters import is_plausible
from minio_provisioner.policy import fingerprint_of, is_same, note_in

if TYPE_CHECKING:
    from libbucket import AccessKeys, BucketOptions
    from minio_provisioner.identity import Identity, User
    from minio_provisioner.parameters import Locks
    from minio_provisioner.policy import Document
    from minio_provisioner.storage import Storage

_WAIT_SECONDS: Final = 2.0
"""How long new keys may be refused before they are handed out with a warning.

Within one server they work at once: it tells its peers before it answers. A node that missed it lags for minutes.
"""

_LAG_SECONDS: Final = 30.0
"""Delay after keys were refused that nothing proves to be dead."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """What `ensure` found and did.

    Attributes:
        keys: of the claim: its own, or new ones.
        repairs: what had been changed out of band and was repaired.
        warnings: what the claim's author should hear.
    """

    keys: AccessKeys
    repairs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def ensure(options: BucketOptions, recorded: Identity, storage: Storage, *, locks: Locks | None) -> Access:
    """The claim's user, with its policy and keys: those that the claim holds, or new ones.

    Args:
        options: the request.
        recorded: the claim's user, as the last call that came to its end left it.
        storage: to try keys with.
        locks: what the class lets applications lock; None where its buckets have no object locking.

    Raises:
        AccessDenied: an administrator disabled the user.
        NotReady: the claim's own keys are refused, and nothing proves that they are dead.
    """
    return _Ensuring(options=options, recorded=recorded, storage=storage, locks=locks).run()


def own_keys(options: BucketOptions, *users: str) -> AccessKeys | None:
    """What the claim's Secret holds, if it can be what was issued for one of these users."""
    keys = options.credentials.access_keys if options.credentials is not None else None
    return keys if keys is not None and keys.access_key_id in users and is_plausible(keys) else None


@dataclass(frozen=True, kw_only=True)
class _Ensuring:
    options: BucketOptions
    recorded: Identity
    storage: Storage
    locks: Locks | None

    def run(self) -> Access:
        document = self.recorded.find_policy()
        identity = self._current(document)
        user = self._find(identity)
        noted = note_in(document)
        wanted = self._wanted(identity, noted.fingerprint)
        is_wanted = document is not None and is_same(document, wanted)
        repairs = [] if is_wanted else ["policy"]
        held = own_keys(self.options, identity.user)
        if user is None and held is not None:
            self._check_gone(identity, held)
        is_begun = identity.user != self.recorded.user or not self.options.was_bound
        if user is not None and (held is not None or is_begun):
            if not is_wanted:
                identity.write_policy(wanted)
            if identity.attach():
                repairs.append("policy of the user")
            if held is not None and self._may_keep(identity, held, noted.fingerprint):
                return Access(keys=held, repairs=tuple(repairs))
            if is_begun:  # an earlier try was cut off here: no further keys are made before the rest works
                _remove_predecessor(identity)
        if user is None:
            repairs.append("user")
        target = identity if user is None and is_begun else identity.successor
        keys = self._issue(target)
        return Access(keys=keys, repairs=tuple(repairs), warnings=self._try(target, keys))

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

    def _check_gone(self, identity: Identity, held: AccessKeys) -> None:
        """Returns if the user is gone although the claim holds its keys: another node does not take them or find it.

        Raises:
            NotReady: the keys are taken, or a second node finds the user: the first one lags behind.
        """
        self.storage.clients.pool.clear()  # behind a load balancer, a new connection may reach another node
        if self._refusal(held, 0.0) in BAD_CREDENTIALS and self._find(identity) is None:
            return
        raise NotReady(
            f"a node of MinIO at {identity.clients.url} does not find user {identity.user}, which another one knows: "
            "the claim's keys are kept",
            delay=_LAG_SECONDS,
        )

    def _may_keep(self, identity: Identity, held: AccessKeys, noted: str) -> bool:
        """Whether the claim's keys work; False only where they were edited, or others were set after them."""
        own = fingerprint_of(held.secret_access_key.reveal())
        refusal = self._refusal(held, 0.0)
        if not refusal:
            if noted not in {"", own}:
                identity.write_policy(self._wanted(identity, own))
            return True
        if refusal in BAD_CREDENTIALS and (not self.options.credentials_unchanged or noted not in {"", own}):
            return False
        raise NotReady(
            f"MinIO at {identity.clients.url} refuses the keys of user {identity.user} ({refusal}), although the user "
            "is there, enabled and has its policy: they are kept, since a node that lags behind answers so; to have "
            "new ones issued, delete the claim's Secret",
            delay=_LAG_SECONDS,
        )

    def _issue(self, identity: Identity) -> AccessKeys:
        """A user with keys; the user before it goes, and all that was derived from its keys stops working.

        The user whose keys the claim was given goes last, since they count again if the Secret comes back. Another one,
        of a rotation that was interrupted, goes first: where MinIO does not confirm its removal yet, no keys are made
        that no application would be given.
        """
        predecessor = identity.predecessor
        goes_first = predecessor is not None and predecessor.user != self.recorded.user
        if identity.generation > 1:
            identity.write_policy(self._wanted(identity, ""))  # so that an interrupted call leaves a trace of it
        if goes_first:
            _remove_predecessor(identity)
        keys = identity.create_keys()
        identity.write_policy(self._wanted(identity, fingerprint_of(keys.secret_access_key.reveal())))
        identity.attach()
        if not goes_first:
            _remove_predecessor(identity)
        return keys

    def _try(self, identity: Identity, keys: AccessKeys) -> tuple[str, ...]:
        """A warning where new keys do not work within the wait: they are the claim's all the same, see above.

        Raises:
            NotReady: another caller has set a secret for this user since; said once, so that a claim does not make keys
                with every try.
        """
        try:
            refusal = self._refusal(keys, _WAIT_SECONDS)
        except ProvisionerError as error:
            refusal = error.message
        if not refusal:
            return ()
        is_first_try = identity.generation <= self.recorded.generation + (1 if self.options.was_bound else 0)
        if refusal == "SignatureDoesNotMatch" and is_first_try:
            raise NotReady(
                f"other keys of user {identity.user} were issued at the same time: it gets new ones", delay=1
            )
        warning = f"MinIO does not take the new keys of user {keys.access_key_id} everywhere yet ({refusal})"
        return (f"{warning}: applications may be refused for some minutes",)

    def _refusal(self, keys: AccessKeys, seconds: float) -> str:
        """The code with which these keys are refused, by two nodes or all through the wait; empty as soon as not.

        Behind a load balancer, a new connection may reach another node.
        """
        last = ""

        def is_accepted() -> bool:
            nonlocal last
            last = self.storage.find_refusal(keys, self.options.bucket_name)
            if last:
                self.storage.clients.pool.clear()
            return not last

        if not is_accepted():
            wait_until(is_accepted, seconds)
        return last

    def _wanted(self, identity: Identity, fingerprint: str) -> Document:
        return identity.wanted_policy(self.options.bucket_name, locks=self.locks, fingerprint=fingerprint)


def _remove_predecessor(identity: Identity) -> None:
    if identity.predecessor is not None:
        identity.predecessor.remove_user()
