"""What an application does with its bucket, as one interface over every store.

Sits between the conformance suite, which calls it, and a backend's tests, which write it on the client that
applications of that store really use. Knows no provisioner and no Kubernetes, and imports no test framework.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Refused(Exception):
    """The store refused a request: the caller may not do this, or is unknown.

    Raise it for a refusal only (401, 403, a signature or key that is unknown), never for a failure of the network, for
    an invalid request or for something that is not there: a test must not pass for the wrong reason.
    """


class Application(ABC):
    """A client of the store with one set of credentials.

    Every method sends a real request with these credentials to whatever bucket it is given, allowed or not. A method
    whose `Ability` a store lacks is never called; leave it as it is and declare the capability as missing.

    Every method raises `Refused` when the store refuses.
    """

    @abstractmethod
    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Writes an object in one request."""

    @abstractmethod
    def get(self, bucket: str, key: str) -> bytes:
        """Reads an object."""

    @abstractmethod
    def list_keys(self, bucket: str) -> list[str]:
        """Keys of all objects of the bucket, over all pages, sorted."""

    @abstractmethod
    def delete(self, bucket: str, key: str) -> None:
        """Deletes one object."""

    def batch_delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Deletes several objects in one request; an object that is refused in the answer is `Refused`."""
        raise NotImplementedError

    def copy(self, source_bucket: str, source_key: str, bucket: str, key: str) -> None:
        """Has the store copy an object; the data doesn't pass through the application."""
        raise NotImplementedError

    def multipart(self, bucket: str, key: str, parts: Sequence[bytes]) -> None:
        """Writes one object in several requests, and completes it."""
        raise NotImplementedError

    def start_multipart(self, bucket: str, key: str) -> None:
        """Begins an upload, sends one part of at least one byte, and leaves it unfinished."""
        raise NotImplementedError

    def presigned_get(self, bucket: str, key: str) -> bytes:
        """Signs a URL with these credentials, and reads the object by it without any other."""
        raise NotImplementedError

    def presigned_put(self, bucket: str, key: str, data: bytes) -> None:
        """Signs a URL with these credentials, and writes the object by it without any other."""
        raise NotImplementedError

    def anonymous_get(self, bucket: str, key: str) -> bytes:
        """Reads the object by its plain address, without any credentials."""
        raise NotImplementedError

    def list_all(self) -> list[str]:
        """Names of the buckets that the store shows to these credentials."""
        raise NotImplementedError

    def make_public(self, bucket: str) -> None:
        """Makes the bucket public: a change of its settings, which only an administrator may make."""
        raise NotImplementedError

    def reach(self, bucket: str) -> None:
        """Sends one request that needs access to the bucket, and changes nothing."""
        self.list_keys(bucket)

    @abstractmethod
    def remove_bucket(self, bucket: str) -> None:
        """Removes the bucket itself, which is empty: only an administrator may."""


class AccessOnly(Application):
    """A client of a store whose buckets hold no objects that a test could write: `Ability.OBJECTS` is missing.

    Implement `reach` and `remove_bucket`; nothing else is called.
    """

    @abstractmethod
    def reach(self, bucket: str) -> None:
        """Sends one request that needs access to the bucket, and changes nothing."""

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Never called."""
        raise NotImplementedError

    def get(self, bucket: str, key: str) -> bytes:
        """Never called."""
        raise NotImplementedError

    def list_keys(self, bucket: str) -> list[str]:
        """Never called."""
        raise NotImplementedError

    def delete(self, bucket: str, key: str) -> None:
        """Never called."""
        raise NotImplementedError
