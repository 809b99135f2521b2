"""The store in memory in the sweep: its requests are the verbs, its answers the errors of `libbucket.errors`."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from libbucket import errors
from libbucket.testing.memory import MemoryProvisioner
from libbucket.testing.memory_backend import MemoryBackend
from testkit.answers.adapter import CANARY, REQUEST_ID, Adapter
from testkit.answers.catalogue import GENERIC, Kind, load
from testkit.resilience.proxy import Instead, Request, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from libbucket.provisioner import Provisioner, Services
    from libbucket.types import BucketOptions, ObjectBucket, SecretStr
    from testkit.answers.adapter import Clock
    from testkit.answers.catalogue import Answer, Catalogue
    from testkit.answers.injector import Injector

T = TypeVar("T")

_LOST: Final = "the connection was cut"


class AnsweredProvisioner(MemoryProvisioner):
    """Asks an injector about each verb, as a proxy asks about each request."""

    def __init__(self, services: Services, injector: Injector, clock: Clock, **rest: Any) -> None:
        super().__init__(services, **rest)
        self._injector, self.clock = injector, clock

    def provision(self, options: BucketOptions) -> ObjectBucket:
        return self._asked("provision", lambda: super(AnsweredProvisioner, self).provision(options))

    def grant(self, options: BucketOptions) -> ObjectBucket:
        return self._asked("grant", lambda: super(AnsweredProvisioner, self).grant(options))

    def delete(self, ob: ObjectBucket) -> None:
        self._asked("delete", lambda: super(AnsweredProvisioner, self).delete(ob))

    def delete_empty(self, ob: ObjectBucket) -> None:
        self._asked("delete_empty", lambda: super(AnsweredProvisioner, self).delete_empty(ob))

    def revoke(self, ob: ObjectBucket) -> None:
        self._asked("revoke", lambda: super(AnsweredProvisioner, self).revoke(ob))

    def is_intact(self, options: BucketOptions) -> bool:
        return self._asked("is_intact", lambda: super(AnsweredProvisioner, self).is_intact(options))

    def error(self, answer: Instead) -> errors.ProvisionerError:
        """The error that an answer stands for."""
        kind: type[errors.ProvisionerError] = getattr(errors, answer.headers["code"])
        return kind(f"the store says {answer.headers['code']}", request_id=REQUEST_ID)

    def _asked(self, verb: str, act: Callable[[], T]) -> T:
        request = Request(proxy="memory", method="CALL", target=verb)
        verdict = self._injector.before(request)
        if isinstance(verdict, Instead):
            raise self.error(verdict)
        if verdict is not Verdict.PASS:
            raise errors.StoreUnavailable(_LOST)
        answer = act()
        if self._injector.after(request, 200) is not Verdict.PASS:
            raise errors.StoreUnavailable(_LOST)
        return answer


class MemoryAdapter(Adapter):
    """One store in memory.

    Args:
        provisioner: one with a fault, to see whether the sweep finds it.
    """

    name = "memory"
    new_keys = gone_keys = frozenset()
    config: ClassVar[Mapping[str, str]] = {"maxObjects": "5"}
    late = 0.0

    def __init__(self, provisioner: type[AnsweredProvisioner] = AnsweredProvisioner) -> None:
        self._provisioner = provisioner
        self._backend = MemoryBackend()
        self._injector: Injector | None = None

    def attach(self, injector: Injector) -> None:
        self._injector = injector

    @cached_property
    def catalogue(self) -> Catalogue:
        return load("memory", generic=[one for one in GENERIC if one.kind in {Kind.RESET_BEFORE, Kind.RESET_AFTER}])

    @property
    def upstream(self) -> str:
        return ""

    @property
    def backend(self) -> MemoryBackend:
        return self._backend

    def provisioner(self, services: Services, clock: Clock) -> Provisioner:
        assert self._injector is not None
        return self._provisioner(services, self._injector, clock, store=self._backend._store)

    def parameters(self, url: str) -> Mapping[str, str]:
        return {"host": url or "memory.invalid"}

    def secrets(self, namespace: str, name: str) -> Mapping[str, SecretStr]:
        raise errors.AdminSecretMissing(f"Secret {namespace}/{name} does not exist")

    def request_name(self, request: Request) -> str:
        return request.target

    def subject(self, request: Request) -> str:
        del request
        return ""

    def render(self, answer: Answer, request: Request) -> Instead:
        del request
        return Instead(status=answer.status, headers={"code": answer.code}, body=CANARY.encode())

    def keys_of(self, record: ObjectBucket) -> int:
        identity = self._backend._store.identities.get(record.user_id)
        return len(identity.keys) if identity is not None else 0

    def others(self) -> Mapping[str, object]:
        shared = self._backend._store.buckets.get("shared-of-the-sweep")
        return {} if shared is None else {"tags": dict(shared.tags), "keys": shared.keys()}


@contextmanager
def memory() -> Iterator[MemoryAdapter]:
    """A new store."""
    yield MemoryAdapter()
