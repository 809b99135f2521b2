"""A running store as the demo sees it, and the tests of every store. One subclass per store beside this file.

Nothing else of either knows a store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from libbucket.testing.application import Application


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A claim that is bound, as an application and an administrator know it.

    Attributes:
        name: of the claim.
        environment: what `envFrom` the Secret and the ConfigMap puts into a pod.
        state: `spec.additionalState` of its ObjectBucket: names of its identity in the store.
    """

    name: str
    environment: Mapping[str, str]
    state: Mapping[str, str]

    @property
    def bucket(self) -> str:
        return self.environment["BUCKET_NAME"]


class Store(ABC):
    """A store that runs for the length of the demo.

    Attributes:
        title: its usual name.
        program: the provisioner's command.
        provisioner_name: which classes the command serves by default.
        address: for the audience.
        parameters: of a StorageClass that the examples can't know: they replace what the files say.
        admin_secret: data of the administrator's Secret.
        brownfield_bucket: the bucket that `brownfield-class.yaml` names.
        module: the provisioner's package.
        config: a key of `additionalConfig` and two values of it; one that the store can't do where it can do none.
    """

    title: str
    program: str
    provisioner_name: str
    address: str
    parameters: Mapping[str, str]
    admin_secret: Mapping[str, str]
    brownfield_bucket: str
    module: str
    config: tuple[str, str, str]

    @abstractmethod
    def application(self, bound: Bound) -> Application:
        """An application that knows nothing but its environment."""

    @abstractmethod
    def administrator(self) -> Application:
        """The same requests with the administrator's credentials."""

    @abstractmethod
    def make_bucket(self, name: str) -> None:
        """Makes a bucket out of band, as one that existed before."""

    @abstractmethod
    def what_is_there(self, bound: Bound) -> list[str]:
        """Which of the claim's bucket and identity exist now, asked as the administrator: "bucket", "user" ..."""

    @abstractmethod
    def census(self) -> frozenset[str]:
        """Everything that the store holds but objects: "bucket photos", "key AKIA.. of user x", one line a thing."""

    @abstractmethod
    def setting(self, bucket: str) -> str:
        """What is in force on a bucket for the key of `config`; empty where nothing is."""

    @abstractmethod
    def remove_ownership_tags(self, bound: Bound) -> None:
        """Takes our marks off a claim's bucket and identity, as if another program had made them."""


class StoreStarter(Protocol):
    """Starts a store, and stops it at the end of the block."""

    def __call__(self) -> AbstractContextManager[Store]: ...
