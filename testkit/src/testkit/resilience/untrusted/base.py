"""An application that wants more than it was given. One subclass per store beside this file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from libbucket.testing.application import Application
    from libbucket.testing.conformance import Capabilities
    from testkit.stores.base import Bound, Store


@dataclass(frozen=True, kw_only=True)
class Peek:
    """A request that only an administrator may make.

    Attributes:
        attempt: makes it with the application's credentials; raises `Refused`.
        control: makes the same with the administrator's.
    """

    attempt: Callable[[], object]
    control: Callable[[], object]


class UntrustedApplication(ABC):
    """Everything that can be tried with one claim's credentials.

    Args:
        store: where.
        bound: the claim.
    """

    capabilities: ClassVar[Capabilities]

    def __init__(self, store: Store, bound: Bound) -> None:
        self.store = store
        self.bound = bound

    @abstractmethod
    def applications(self) -> Mapping[str, Application]:
        """By the client that it uses: applications that know all requests of the conformance suite."""

    @abstractmethod
    def signed_urls(self, key: str) -> Mapping[str, str]:
        """URLs, good for an hour, that read an object of its bucket without any other credentials."""

    @abstractmethod
    def peeks(self) -> Mapping[str, Peek]:
        """What others may do, what it may do itself, who else there is."""

    @abstractmethod
    def makers(self) -> Mapping[str, Callable[[], Application | None]]:
        """Ways to make further credentials, or further permissions.

        Each raises `Refused`; or gives an application with what it made; or None where it only widened its own
        permissions.
        """


def nothing_of(_answer: object) -> None:
    """Takes the answer to a request that made nothing which could be used by itself."""
