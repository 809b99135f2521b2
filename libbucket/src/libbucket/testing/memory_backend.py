# ruff: noqa: D102 - the methods are described by Administrator and Backend

"""The store in memory as the conformance suite sees it: also the worked example of a `Backend`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Final

from libbucket.errors import StoreUnavailable
from libbucket.provisioner import Services
from libbucket.testing.conformance import Ability, Administrator, Backend, Capabilities
from libbucket.testing.memory import ADMIN_KEY, MemoryProvisioner
from libbucket.testing.memory_store import Bucket, MemoryStore
from libbucket.types import SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from libbucket import Authentication, Endpoint, ObjectBucket, Provisioner
    from libbucket.testing.application import Application

_ADMIN_SECRET: Final = {ADMIN_KEY: SecretStr("any value")}


class MemoryAdministrator(Administrator):
    """Reads the store directly.

    Args:
        store: the store.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def application(self) -> Application:
        return self._store.administrator()

    def make_bucket(self, name: str) -> None:
        assert name not in self._store.buckets
        self._store.buckets[name] = Bucket()

    def purge_bucket(self, name: str) -> None:
        self._store.buckets.pop(name, None)

    def bucket_exists(self, name: str) -> bool:
        return name in self._store.buckets

    def identity_exists(self, record: ObjectBucket) -> bool:
        return record.user_id in self._store.identities

    def remove_identity(self, record: ObjectBucket) -> None:
        self._store.identities.pop(record.user_id, None)

    def settings(self, bucket: str) -> Mapping[str, object]:
        found = self._store.buckets[bucket]
        return {
            "tags": dict(found.tags),
            "region": found.region,
            "versioned": found.versioned,
            "public": found.public,
            "limit": found.max_objects,
        }

    def enable_versioning(self, bucket: str) -> None:
        self._store.buckets[bucket].versioned = True

    def stored_versions(self, bucket: str) -> int:
        return sum(map(len, self._store.buckets[bucket].objects.values()))

    def unfinished_uploads(self, bucket: str) -> int:
        return len(self._store.buckets[bucket].uploads)

    def region(self, bucket: str) -> str:
        return self._store.buckets[bucket].region

    def config(self, bucket: str, key: str) -> str | None:
        assert key == "maxObjects"
        limit = self._store.buckets[bucket].max_objects
        return None if limit is None else str(limit)

    def set_config(self, bucket: str, key: str, value: str) -> None:
        assert key == "maxObjects"
        self._store.buckets[bucket].max_objects = int(value)


class MemoryBackend(Backend):
    """A store of its own.

    Args:
        provisioner: a subclass with an injected fault, to check that the suite detects it.
    """

    capabilities = Capabilities(
        cannot={Ability.PRESIGNED: "it has no URLs", Ability.NETWORK: "it is in memory"},
        config={"maxObjects": {"5": "5", "5G": "5000000000"}},
    )

    regions: ClassVar[Mapping[str, str]] = {"north-1": "north-1", "south-1": "south-1"}

    def __init__(self, provisioner: type[MemoryProvisioner] = MemoryProvisioner) -> None:
        self._store = MemoryStore()
        self._provisioner = provisioner
        self._administrator = MemoryAdministrator(self._store)

    @property
    def parameters(self) -> Mapping[str, str]:
        return {"host": "memory.invalid", "secretName": "admin", "secretNamespace": "memory"}

    @property
    def administrator(self) -> Administrator:
        return self._administrator

    def provisioner(self) -> Provisioner:
        return self._provisioner(store=self._store)

    def fenced(self, before_request: Callable[[], None]) -> Provisioner:
        services = Services(read_secret=lambda *_: _ADMIN_SECRET, before_request=before_request)
        return self._provisioner(services, store=self._store)

    def rotating(self, is_spoilt: Callable[[], bool]) -> Provisioner:
        services = Services(read_secret=lambda *_: {} if is_spoilt() else _ADMIN_SECRET)
        return self._provisioner(services, store=self._store)

    def stepwise_provisioner(self) -> Provisioner:
        return self._provisioner(store=self._store, batch=self.many_objects // 3)

    @property
    def secrets(self) -> list[str]:
        return [self._store.root.secret_access_key.reveal()]

    def broken_provisioners(self) -> Mapping[str, Provisioner]:
        def away(_verb: object, _request: object) -> None:
            raise StoreUnavailable("the store is away")

        return {"away": self._provisioner(store=self._store, hook=away)}

    @contextmanager
    def distrusting(self) -> Iterator[Provisioner]:
        self._store.distrusts = True
        try:
            yield self.provisioner()
        finally:
            self._store.distrusts = False

    def application(self, endpoint: Endpoint, credentials: Authentication) -> Application:
        assert endpoint.bucket_host == "memory.invalid"
        assert credentials.access_keys is not None
        return self._store.client(credentials.access_keys)
