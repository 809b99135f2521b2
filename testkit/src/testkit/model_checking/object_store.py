"""The store in memory as a pure function: its state is a value, and the provisioner over it is the real one.

One verb is one step here, because the conformance suite kills each store's provisioner at each request inside a verb.
Remembers for whom each bucket and identity was made, which the store itself does not know.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from libbucket.errors import ProvisionerError
from libbucket.testing.memory import MemoryProvisioner
from libbucket.testing.memory_store import Bucket, Identity, MemoryStore
from libbucket.types import AccessKeys, BucketOptions, Claim, ObjectBucket, SecretStr
from testkit.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class Call:
    """A verb that the core wants called."""

    verb: str
    request: BucketOptions | ObjectBucket = field(compare=False)

    def __str__(self) -> str:
        return f"{self.verb} {self.request.bucket_name}"


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What a verb gave; `token` says all of it."""

    token: str
    value: Any = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Raised:
    """What a verb raised."""

    kind: type[ProvisionerError]
    message: str

    def error(self) -> ProvisionerError:
        return self.kind(self.message)


@dataclass(frozen=True, kw_only=True)
class StoredBucket:
    """A bucket: its ownership tags, and the uid of the claim that it was made for; "" for none."""

    tags: Frozen[str, str] = Frozen()
    made_for: str = ""


@dataclass(frozen=True, kw_only=True)
class StoredIdentity:
    """An identity: its keys, its buckets, and the uid of the claim that it was made for."""

    keys: Frozen[str, str] = Frozen()
    grants: frozenset[str] = frozenset()
    made_for: str = ""


@dataclass(frozen=True, kw_only=True)
class Store:
    """The whole store; `issued` counts the keys of each identity, also those that are gone."""

    buckets: Frozen[str, StoredBucket] = Frozen()
    identities: Frozen[str, StoredIdentity] = Frozen()
    issued: Frozen[str, int] = Frozen()

    def opens(self, key: str, secret: str, bucket: str) -> bool:
        """Whether these credentials reach that bucket."""
        found = [one for one in self.identities.values() if one.keys.get(key) == secret]
        return bucket in self.buckets and any(bucket in one.grants for one in found)


class CountingStore(MemoryStore):
    """Issues keys that follow from what was issued before, so that the same steps end in the same state."""

    def __init__(self, state: Store) -> None:
        super().__init__()
        self.issued = dict(state.issued)
        self.buckets = {name: Bucket(tags=dict(one.tags)) for name, one in state.buckets.items()}
        self.identities = {
            user: Identity(keys=dict(one.keys), grants=set(one.grants)) for user, one in state.identities.items()
        }

    def issue_keys(self, user_id: str) -> AccessKeys:
        number = self.issued[user_id] = self.issued.get(user_id, 0) + 1
        key, secret = f"{user_id}#{number}", f"secret-{number}"
        self.identities[user_id].keys[key] = secret
        return AccessKeys(access_key_id=key, secret_access_key=SecretStr(secret))


class ModelProvisioner(MemoryProvisioner):
    """Goes on with the identity that another program's record names, as the provisioners of real stores do."""

    def generate_user_id(self, claim: Claim, ob: ObjectBucket | None) -> str:
        known = ob.additional_state.get("UserName") if ob is not None else None
        return known or super().generate_user_id(claim, ob)


class InUse:
    """The provisioner in use: a faulty one can replace it."""

    kind: ClassVar[type[MemoryProvisioner]] = ModelProvisioner


@contextmanager
def provisioner_kind(kind: type[MemoryProvisioner]) -> Iterator[None]:
    """Has another provisioner used inside the block."""
    was, InUse.kind = InUse.kind, kind
    try:
        yield
    finally:
        InUse.kind = was


def call(state: Store, wanted: Call) -> tuple[Store, Answered | Raised]:
    """Calls a verb of the real provisioner."""
    store = CountingStore(state)
    provisioner = InUse.kind(store=store)
    answer: Answered | Raised
    try:
        value = getattr(provisioner, wanted.verb)(wanted.request)
        answer = Answered(token=_token(value), value=value)
    except ProvisionerError as error:
        answer = Raised(kind=type(error), message=error.message)
    owner = wanted.request.owner.uid
    return _state(store, state, owner), answer


def _state(store: CountingStore, old: Store, owner: str) -> Store:
    buckets = {
        name: StoredBucket(tags=Frozen(one.tags), made_for=old.buckets[name].made_for if name in old.buckets else owner)
        for name, one in store.buckets.items()
    }
    identities = {
        user: StoredIdentity(
            keys=Frozen(one.keys),
            grants=frozenset(one.grants),
            made_for=old.identities[user].made_for if user in old.identities else owner,
        )
        for user, one in store.identities.items()
    }
    new = Store(buckets=Frozen(buckets), identities=Frozen(identities), issued=Frozen(store.issued))
    return old if new == old else replace(new)


def _token(value: ObjectBucket | bool | None) -> str:
    if not isinstance(value, ObjectBucket):
        return str(value)
    authentication = value.connection.authentication
    keys = authentication.access_keys if authentication is not None else None
    secret = keys.secret_access_key.reveal() if keys is not None else ""
    return f"{value!r} {secret}"
