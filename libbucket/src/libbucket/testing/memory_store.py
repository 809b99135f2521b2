# ruff: noqa: D102 - the methods of MemoryClient are described by Application

"""An object store in memory that enforces access: what `MemoryProvisioner` provisions from.

Has the parts that a real store has: buckets with ownership tags, versions, uploads and a quota; identities with keys
and with permissions on single buckets. `MemoryStore` is the administrator's side, `MemoryClient` an application's.
Safe for threads. Knows no claims and no provisioner.
"""

from __future__ import annotations

import secrets
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from libbucket.testing.application import Application, Refused
from libbucket.types import AccessKeys, SecretStr

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Bucket:
    """One bucket.

    Attributes:
        tags: its ownership tags; empty where an administrator made it.
        objects: for each key its versions, oldest first; None is a delete marker.
        uploads: keys of unfinished uploads.
        region: where it was made.
        versioned: whether older versions are kept.
        public: whether it is readable without credentials.
        max_objects: the quota; None where there is none.
    """

    tags: dict[str, str] = field(default_factory=dict)
    objects: defaultdict[str, list[bytes | None]] = field(default_factory=lambda: defaultdict(list))
    uploads: list[str] = field(default_factory=list)
    region: str = ""
    versioned: bool = False
    public: bool = False
    max_objects: int | None = None

    def keys(self) -> list[str]:
        """Keys of the objects that are there now."""
        return sorted(key for key, versions in self.objects.items() if versions and versions[-1] is not None)

    @property
    def is_empty(self) -> bool:
        """Whether it holds no version, no delete marker and no unfinished upload."""
        return not self.uploads and not any(self.objects.values())

    def purge(self, limit: int | None) -> int:
        """Removes versions, delete markers and uploads, at most `limit` of them; gives how many."""
        uploads = self.uploads[:limit]
        del self.uploads[:limit]
        versions = [each for each in self.objects.values() for _ in each]
        doomed = versions if limit is None else versions[: limit - len(uploads)]
        for each in doomed:
            each.pop()
        return len(uploads) + len(doomed)

    def write(self, key: str, data: bytes | None) -> None:
        """Adds a version, or replaces the only one; None deletes."""
        if not self.versioned:
            del self.objects[key][:]
        if data is not None or self.versioned:
            self.objects[key].append(data)


@dataclass
class Identity:
    """A user.

    Attributes:
        keys: id to secret.
        grants: buckets that it may use.
        copies_from: buckets that it may not use, but have copied.
        lists_all: whether it sees every bucket in a listing.
    """

    keys: dict[str, str] = field(default_factory=dict)
    grants: set[str] = field(default_factory=set)
    copies_from: set[str] = field(default_factory=set)
    lists_all: bool = False


class MemoryStore:
    """The whole store, as its administrator sees it.

    Attributes:
        lock: hold it for several steps that belong together.
        buckets: by name; empty at first.
        identities: by user id; empty at first.
        root: the administrator's keys.
        distrusts: whether `accepts` refuses every key, as a node does whose cache of identities is stale.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.buckets: dict[str, Bucket] = {}
        self.identities: dict[str, Identity] = {}
        self.distrusts = False
        self.root = AccessKeys(access_key_id="root", secret_access_key=SecretStr(secrets.token_urlsafe(30)))

    def issue_keys(self, user_id: str) -> AccessKeys:
        """Gives an identity one more key pair."""
        key, secret = secrets.token_hex(10).upper(), secrets.token_urlsafe(30)
        with self.lock:
            self.identities[user_id].keys[key] = secret
        return AccessKeys(access_key_id=key, secret_access_key=SecretStr(secret))

    def accepts(self, user_id: str, keys: AccessKeys) -> bool:
        """Whether a request with these keys would be accepted now, by the node that receives it."""
        identity = self.identities.get(user_id, Identity())
        return not self.distrusts and identity.keys.get(keys.access_key_id) == keys.secret_access_key.reveal()

    def client(self, keys: AccessKeys) -> MemoryClient:
        """An application with these keys, whether they work or not."""
        return MemoryClient(self, None if keys == self.root else keys)

    def administrator(self) -> MemoryClient:
        """An application that may do everything."""
        return MemoryClient(self, None)

    def identity_of(self, keys: AccessKeys) -> Identity:
        """Whose keys these are.

        Raises:
            Refused: no identity has it.
        """
        with self.lock:
            for identity in self.identities.values():
                if identity.keys.get(keys.access_key_id) == keys.secret_access_key.reveal():
                    return identity
        raise Refused("the access key is unknown or its secret is wrong")


class MemoryClient(Application):
    """An application: every request is checked against the identity that its keys belong to.

    Args:
        store: the store.
        keys: its credentials; None is the administrator.
    """

    def __init__(self, store: MemoryStore, keys: AccessKeys | None) -> None:
        self._store = store
        self._keys = keys

    def _open(self, bucket: str) -> Bucket:
        """The bucket, if this client may use it; an unknown name is refused like a closed one."""
        if self._keys is not None and bucket not in self._store.identity_of(self._keys).grants:
            raise Refused(f"no access to {bucket}")
        if bucket not in self._store.buckets:
            raise LookupError(bucket)
        return self._store.buckets[bucket]

    def put(self, bucket: str, key: str, data: bytes) -> None:
        with self._store.lock:
            opened = self._open(bucket)
            if opened.max_objects is not None and len({*opened.keys(), key}) > opened.max_objects:
                raise Refused(f"{bucket} may hold {opened.max_objects} objects")
            opened.write(key, data)

    def get(self, bucket: str, key: str) -> bytes:
        with self._store.lock:
            versions = self._open(bucket).objects[key]
            if not versions or versions[-1] is None:
                raise LookupError(key)
            return versions[-1]

    def list_keys(self, bucket: str) -> list[str]:
        with self._store.lock:
            return self._open(bucket).keys()

    def delete(self, bucket: str, key: str) -> None:
        with self._store.lock:
            self._open(bucket).write(key, None)

    def batch_delete(self, bucket: str, keys: Sequence[str]) -> None:
        with self._store.lock:
            for key in keys:
                self.delete(bucket, key)

    def copy(self, source_bucket: str, source_key: str, bucket: str, key: str) -> None:
        with self._store.lock:
            may_copy = self._keys is not None and source_bucket in self._store.identity_of(self._keys).copies_from
            source = MemoryClient(self._store, None) if may_copy else self
            self.put(bucket, key, source.get(source_bucket, source_key))

    def multipart(self, bucket: str, key: str, parts: Sequence[bytes]) -> None:
        self.put(bucket, key, b"".join(parts))

    def start_multipart(self, bucket: str, key: str) -> None:
        with self._store.lock:
            self._open(bucket).uploads.append(key)

    def anonymous_get(self, bucket: str, key: str) -> bytes:
        with self._store.lock:
            if bucket not in self._store.buckets or not self._store.buckets[bucket].public:
                raise Refused(f"{bucket} is not public")
            return MemoryClient(self._store, None).get(bucket, key)

    def list_all(self) -> list[str]:
        with self._store.lock:
            identity = self._store.identity_of(self._keys) if self._keys is not None else Identity(lists_all=True)
            return sorted(name for name in self._store.buckets if identity.lists_all or name in identity.grants)

    def make_public(self, bucket: str) -> None:
        with self._store.lock:
            self._administer(bucket).public = True

    def remove_bucket(self, bucket: str) -> None:
        with self._store.lock:
            self._administer(bucket)
            del self._store.buckets[bucket]

    def _administer(self, bucket: str) -> Bucket:
        if self._keys is not None:
            raise Refused("only the administrator changes a bucket")
        return self._open(bucket)
