"""An account in memory, who issues its tokens, and a provisioner whose clock may differ from Azure's: for unit tests.

The provisioner and Azure's own clients are real; their connections lead to `fake_storage` and `fake_identities`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from azure_provisioner.client import Network
from azure_provisioner.provisioner import AzureProvisioner
from libbucket import SecretStr, Services
from libbucket.testing import builders
from testkit.azure.fake_identities import ENTRA_HOST, FakeIdentities
from testkit.azure.fake_storage import FakeStorage
from testkit.azure.in_memory_backend import InMemoryBackend, as_request
from testkit.azure.requests_by_name import request_name
from testkit.resilience.proxy import Instead, Request
from testkit.resilience.wire import Wire, wired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket import Authentication, BucketOptions, ObjectBucket
    from testkit.azure.in_memory_backend import InMemoryApplication

BEGINNING: Final = datetime(2026, 11, 1, tzinfo=UTC)
DELEGATED: Final = {"credentials": "user-delegation-sas"}


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A claim that is bound: what it asked for, what it got, and what is recorded."""

    request: BucketOptions
    answer: ObjectBucket
    record: ObjectBucket

    def again(self) -> BucketOptions:
        """What it asks for the next time."""
        return builders.again(self.request, self.answer)

    @property
    def credentials(self) -> Authentication:
        """What its Secret holds."""
        found = self.answer.connection.authentication
        assert found is not None
        return found

    @property
    def sas(self) -> str:
        """Of its Secret."""
        return self.credentials.additional_secret_data["AZURE_STORAGE_SAS_TOKEN"].reveal()


class World:
    """One account.

    Attributes:
        now: Azure's time.
        ahead: by how much the provisioner's clock is ahead of it; negative where it is behind.
        secret: what the administrator's Secret holds.
        requests: names of those that were sent to the store.
        instead: answers some requests in the place of the account.
    """

    def __init__(self) -> None:
        self.now, self.ahead = BEGINNING, timedelta()
        self.storage = FakeStorage(clock=lambda: self.now)
        # A request is dated by the machine's real clock.
        self.storage.dates = lambda: datetime.now(UTC) - self.ahead
        self.identities = FakeIdentities(self.storage)
        self.backend = InMemoryBackend(self.storage)
        held = {"AZURE_STORAGE_KEY": self.storage.keys[0], **self.identities.client_secret}
        self.secret = {name: SecretStr(value) for name, value in held.items()}
        self.requests: list[str] = []
        self.instead: Callable[[Request, str], Instead | None] = lambda _request, _name: None
        self.provisioner = self.a_provisioner()

    def a_provisioner(self) -> AzureProvisioner:
        """Another process of the provisioner."""
        services = Services(read_secret=lambda *_: self.secret, now=self.clock)
        return AzureProvisioner(services, Network(wait_seconds=0, clock=self.clock))

    def clock(self) -> datetime:
        """The provisioner's time."""
        return self.now + self.ahead

    def request(self, bucket: str = "photos", **parameters: str) -> BucketOptions:
        """A claim's."""
        return builders.options(bucket_name=bucket, parameters={**self.backend.parameters, **parameters})

    def bind(self, request: BucketOptions, *, greenfield: bool = True) -> Bound:
        """Binds a claim, or calls the verb of a bound one again."""
        answer = (self.provisioner.provision if greenfield else self.provisioner.grant)(request)
        record = builders.recorded(answer, request, greenfield=greenfield)
        return Bound(request=request, answer=answer, record=record)

    def application(self, bound: Bound) -> InMemoryApplication:
        """The application of a claim."""
        return self.backend.application(bound.answer.connection.endpoint, bound.credentials)

    def pass_time(self, seconds: float) -> None:
        """Both clocks go on."""
        self.now += timedelta(seconds=seconds)

    def answered(self, request: Request) -> Instead:
        """The answer to a request of the provisioner."""
        if request.headers["host"] == ENTRA_HOST:
            status, headers, body = self.identities.entra(request.method, request.path, request.body)
            return Instead(status=status, headers=headers, body=body)
        name = request_name(request.method, request.path, request.query, request.headers, request.body)
        self.requests.append(name)
        instead = self.instead(request, name)
        if instead is not None:
            return instead
        asked = as_request(self.storage.account, request.method, request.target, request.headers, request.body)
        status, headers, body = self.storage.answer(asked)
        return Instead(status=status, headers=headers, body=body)


@contextmanager
def world_in_memory() -> Iterator[World]:
    """An account that requests reach until the block ends."""
    made = World()
    with wired(Wire(made.answered, made.pass_time), ENTRA_HOST, ".blob.core.windows.net"):
        yield made
