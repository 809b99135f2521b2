"""What the sweep has to know of a store: how its requests are named, its answers written, its state read.

One subclass for each store, beside this file; everything else comes from the store's `Backend` of the conformance
suite. Knows no flow and no trial.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from libbucket.fencing import ANSWER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from libbucket.provisioner import Provisioner, Services
    from libbucket.testing.conformance.backend import Backend
    from libbucket.types import ObjectBucket, SecretStr
    from testkit.answers.catalogue import Answer, Catalogue
    from testkit.answers.injector import Injector
    from testkit.resilience.proxy import Instead, Request

CANARY = "c4n4ry-s3cr3t-of-the-answer"
"""In the body of every answer of the sweep: nothing that anybody can read may repeat it."""

BYSTANDER = "bystander-of-the-sweep"
"""Name of what others have: a bucket, and whatever else a store keeps by name."""

REQUEST_ID = "REQUEST-ID-7f3a91"
"""Of every answer of the sweep that has a code."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The turned clock, as a provisioner sees it.

    Attributes:
        seconds: that never run backwards.
        sleep: waits, by turning the clock.
    """

    seconds: Callable[[], float]
    sleep: Callable[[float], None]


class TurnedClock:
    """A store's clock, turned by each simulation in its turn; never runs backwards."""

    def __init__(self) -> None:
        self._source: Clock | None = None
        self._before = 0.0

    def follow(self, source: Clock, *, pause: float = 0.0) -> None:
        """Goes on with another simulation, which begins at 0, some seconds after the last one."""
        self._before, self._source = self() + pause, source

    def __call__(self) -> float:
        """Seconds."""
        return self._before + (self._source.seconds() if self._source is not None else 0.0)

    def sleep(self, seconds: float) -> None:
        """Lets time pass."""
        assert self._source is not None
        self._source.sleep(seconds)


class Adapter(ABC):
    """One store.

    Attributes:
        name: as in `--store`.
        new_keys: names of the requests that make credentials for a claim.
        gone_keys: names of the requests that remove or disable them.
        config: `additionalConfig` of the flow that changes settings.
        locks: whether objects can be locked.
        late: seconds for which an answer is held that comes too late: more than the provisioner waits.
        settling: seconds for which removed credentials still work, as the store documents: no deletion ends sooner.
        starting: seconds that a new claim waits for the store, as that documents, though nothing hinders it.
        elsewhere: what `parameters` gets in place of an URL for a class of another store; for stores without a network.
        without_ids: names of requests whose answers have no request id.
        longest_call: seconds that one verb may take whatever the server does: one answer at its limit, and the rest.
    """

    name: ClassVar[str]
    new_keys: ClassVar[frozenset[str]]
    gone_keys: ClassVar[frozenset[str]]
    config: ClassVar[Mapping[str, str]] = {}
    locks: ClassVar[bool] = False
    late: ClassVar[float] = 1.5
    settling: ClassVar[float] = 0.0
    starting: ClassVar[float] = 0.0
    elsewhere: ClassVar[str] = ""
    without_ids: ClassVar[frozenset[str]] = frozenset()
    longest_call: ClassVar[float] = ANSWER_SECONDS + 15.0

    @property
    @abstractmethod
    def catalogue(self) -> Catalogue:
        """What its server can answer."""

    @property
    @abstractmethod
    def upstream(self) -> str:
        """URL of the server; "" for a store without a network."""

    @property
    @abstractmethod
    def backend(self) -> Backend:
        """As the conformance suite knows it; straight to the server, past the proxy."""

    @abstractmethod
    def provisioner(self, services: Services, clock: Clock) -> Provisioner:
        """A new provisioner with short time limits, that waits on the turned clock."""

    @abstractmethod
    def parameters(self, url: str) -> Mapping[str, str]:
        """Of a class whose requests go to `url`, and whose claims are told the server's own address."""

    @abstractmethod
    def secrets(self, namespace: str, name: str) -> Mapping[str, SecretStr]:
        """The administrator's Secrets."""

    @abstractmethod
    def request_name(self, request: Request) -> str:
        """The store's own name of a request, such as `CreateBucket`."""

    @abstractmethod
    def subject(self, request: Request) -> str:
        """What a request is about: a bucket, a user, a policy; "" where that can't be seen."""

    def is_about(self, request: Request, subject: str) -> bool:
        """Whether a request is about what an earlier one was about: also where one of them does not tell."""
        found = self.subject(request)
        return not subject or not found or found == subject

    @abstractmethod
    def render(self, answer: Answer, request: Request) -> Instead:
        """An error code in the form in which the server would send it, with `CANARY` and `REQUEST_ID`."""

    @abstractmethod
    def keys_of(self, record: ObjectBucket) -> int:
        """How many sets of credentials of a claim the store accepts now."""

    def make_bystander(self) -> None:
        """Makes a bucket with an object in it, which no claim of the sweep has."""
        administrator = self.backend.administrator
        administrator.make_bucket(BYSTANDER)
        administrator.application().put(BYSTANDER, "object", b"of a bystander")

    def others(self) -> Mapping[str, object]:
        """Everything of bystanders: buckets, users, policies that no claim of the sweep has; compares."""
        administrator = self.backend.administrator
        return {
            "settings": str(administrator.settings(BYSTANDER)),
            "object": administrator.application().get(BYSTANDER, "object"),
        }

    def attach(self, injector: Injector) -> None:  # noqa: B027 - stores behind a proxy need none
        """For a store without a network, which asks the injector itself."""

    def damage(self, record: ObjectBucket) -> None:
        """Removes the claim's identity out of band."""
        self.backend.administrator.remove_identity(record)

    def lock(self, bucket: str) -> None:
        """Puts an object that is locked into a bucket."""
        raise NotImplementedError

    def unlock(self, bucket: str) -> None:
        """Ends all locks."""
        raise NotImplementedError

    @property
    def lock_parameters(self) -> Mapping[str, str]:
        """Class parameters for buckets whose objects can be locked."""
        return {}
