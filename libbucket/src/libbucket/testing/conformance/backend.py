"""What a store brings to the suite: its provisioner, its applications, its administrator, what it can't do.

Implemented by a backend's tests, used by the guarantees. Knows no store and no pytest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from libbucket.provisioner import Provisioner
    from libbucket.testing.application import Application
    from libbucket.testing.misbehaving import Answer
    from libbucket.types import Authentication, Endpoint, ObjectBucket


REQUEST_ID = "REQUEST-ID-7f3a91"
"""What `Backend.refusal` gives as the id of its answer."""


REFUSAL_TEXT = "refusal-text-5c20e8"
"""What `Backend.refusal` gives as its text for humans: no error and no log line may repeat it."""


class Ability(StrEnum):
    """What some stores, or their emulators in tests, can't do."""

    OBJECTS = "hold objects that a test can write and read"
    NETWORK = "be reached over a network, at an address that a class names"
    BATCH_DELETE = "delete several objects in one request"
    COPY = "copy an object inside the store"
    MULTIPART = "write an object in parts"
    PRESIGNED = "sign a URL that gives access by itself"
    ANONYMOUS = "serve a bucket to anonymous clients once an administrator says so"
    LIST_BUCKETS = "list buckets"
    VERSIONS = "keep older versions of objects"
    DELETE_MARKERS = "keep a deletion as a version of its own"
    TAKEOVER = "take over a bucket that another program made for a claim"
    REUSED_NAMES = "give a bucket the name of one that was just removed"
    REPORTED_REPAIRS = "report which out-of-band changes were repaired"
    LISTED_UPLOADS = "list the uploads that were begun and never completed"
    IDENTITY_APART = "keep a claim's identity when its bucket is gone"


class Check(StrEnum):
    """What every store checks, and some emulators in tests don't."""

    COPY_SOURCE = "that who has an object copied may read its source"


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a backend can do, as far as stores differ.

    Attributes:
        cannot: capabilities that are missing, each with the reason that the report shows.
        config: for each key of `additionalConfig` that the provisioner supports, at least two values: as a claim writes
            it, and as `Administrator.config` finds it.
        config_of_classes: keys of `additionalConfig` that need class parameters which the suite's class does not have,
            each with the reason: the package tests them by itself.
        silent: those of these keys that are written at every call without a read, so that nothing is said when one had
            been changed out of band.
        reset: what `Administrator.config` finds after a key has left the claim, for the keys where that is not None:
            settings that a store can't take back to where they never were.
        public_data: keys of the claim's Secret that are no secret, such as the name of an account.
        unchecked: what the store's emulator doesn't check, though the store itself does, each
            with the reason: guarantees that depend on it are expected to fail here, and strictly so.
    """

    cannot: Mapping[Ability, str] = field(default_factory=dict)
    unchecked: Mapping[Check, str] = field(default_factory=dict)
    config: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    config_of_classes: Mapping[str, str] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    reset: Mapping[str, str] = field(default_factory=dict)
    public_data: frozenset[str] = frozenset()


class Administrator(ABC):
    """Reads the store and changes it out of band.

    Nothing here uses the provisioner: it reports what the store really holds.
    """

    @abstractmethod
    def application(self) -> Application:
        """An application with the administrator's own credentials: may do everything."""

    @abstractmethod
    def make_bucket(self, name: str) -> None:
        """Creates a bucket out of band, without any claim's ownership tags."""

    @abstractmethod
    def purge_bucket(self, name: str) -> None:
        """Removes the bucket with everything in it; one that is not there is fine."""

    @abstractmethod
    def bucket_exists(self, name: str) -> bool:
        """Whether there is a bucket of that name."""

    @abstractmethod
    def identity_exists(self, record: ObjectBucket) -> bool:
        """Whether the claim's identity exists, with or without permissions."""

    @abstractmethod
    def remove_identity(self, record: ObjectBucket) -> None:
        """Removes the claim's identity with its credentials; one that is not there is fine.

        Args:
            record: as the core passes it to `delete`; `additional_state` may be empty.
        """

    @abstractmethod
    def settings(self, bucket: str) -> Mapping[str, object]:
        """All of the bucket but its objects and its access: ownership tags, quota, versioning, ...; compares."""

    def enable_versioning(self, bucket: str) -> None:
        """Has the bucket keep older versions from now on."""
        raise NotImplementedError

    def stored_versions(self, bucket: str) -> int:
        """How many versions and delete markers the bucket holds, older ones included."""
        raise NotImplementedError

    def unfinished_uploads(self, bucket: str) -> int:
        """How many uploads in parts were begun in the bucket and never completed."""
        raise NotImplementedError

    def region(self, bucket: str) -> str:
        """The bucket's region, as the store reports it."""
        raise NotImplementedError

    def config(self, bucket: str, key: str) -> str | None:
        """What is in force for a key of `additionalConfig`; None where there is no such setting on the bucket."""
        raise NotImplementedError

    def set_config(self, bucket: str, key: str, value: str) -> None:
        """Sets out of band the setting of a key of `additionalConfig`; `value` as `config` gives it."""
        raise NotImplementedError


class Backend(ABC):
    """One store, ready for the suite.

    Attributes:
        capabilities: what it can't do.
        parameters: of a StorageClass for this store, without `bucketName`.
        many_objects: with how many objects a bucket must still be deleted; more than one page of a listing.
        regions: values of the class parameter `region` that a bucket can be made in, each with what
            `Administrator.region` then finds; empty where a class has no choice.
    """

    capabilities: ClassVar[Capabilities] = Capabilities()
    many_objects: ClassVar[int] = 2500
    regions: ClassVar[Mapping[str, str]] = {}

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, str]:
        """Of a StorageClass for this store, without `bucketName`."""

    @property
    @abstractmethod
    def administrator(self) -> Administrator:
        """The administrator's view."""

    @abstractmethod
    def provisioner(self) -> Provisioner:
        """A new provisioner on the same store, as a replica or a restart has it."""

    def fenced(self, before_request: Callable[[], None]) -> Provisioner:
        """A new provisioner whose `Services.before_request` is this hook: the suite tests that it asks for leadership.

        Not abstract, so that a backend for an earlier release still loads; without it two guarantees fail.
        """
        raise NotImplementedError("Backend.fenced is missing: build the provisioner with Services(before_request=...)")

    def rotating(self, is_spoilt: Callable[[], bool]) -> Provisioner | None:  # noqa: ARG002
        """A new provisioner whose administrator's Secret is replaced while it runs.

        Whenever that Secret is read, it holds the right credentials, or others that are well-formed and that the store
        refuses, where `is_spoilt()`. None where a class names no Secret: a class that does has the parameter
        `secretName`.
        """
        return None

    @abstractmethod
    def application(self, endpoint: Endpoint, credentials: Authentication) -> Application:
        """An application with the data of its pod: the endpoint and the Secret's content."""

    @property
    def secrets(self) -> Sequence[str]:
        """Every secret of the administrator's: no error and no log line may hold one."""
        return ()

    def broken_provisioners(self) -> Mapping[str, Provisioner]:
        """Provisioners that can't do anything, by what is wrong: wrong credentials, no server listening, ..."""
        return {}

    def stepwise_provisioner(self) -> Provisioner | None:
        """A provisioner one call of whose `delete` removes one small batch; None where a store deletes at once."""
        return None

    def misled(self, url: str, seconds: float) -> tuple[Provisioner, Mapping[str, str]] | None:  # noqa: ARG002
        """A provisioner that gives requests up after `seconds`, and parameters of a class that sends them to `url`.

        Where no request goes over a network, leave it as it is, and declare `Ability.NETWORK` as missing.
        """
        return None

    def refusal(self, status: int, code: str) -> Answer | None:  # noqa: ARG002
        """An answer in the form of this store's API, with this status, this error code and the request id `REQUEST_ID`.

        Its text for humans, if the form has one, is `REFUSAL_TEXT`.

        None where the store has no such answers. Given to every request of a provisioner that `misled` sends elsewhere.
        """
        return None

    def distrusting(self) -> AbstractContextManager[Provisioner] | None:
        """A provisioner whose store refuses, within the block, every request that is made with a *claim's* credentials.

        As a node does whose cache of identities is stale: the credentials work, and applications elsewhere go on using
        them; what the administrator asks is answered as always. None where the provisioner never uses a claim's
        credentials.
        """
        return None

    def after_crash(self) -> None:  # noqa: B027 - most stores need nothing
        """Lets pass what a process that died leaves behind for some time, such as a lease on a bucket."""

    def pause(self, delay: float | None) -> None:  # noqa: B027 - most stores need none
        """Waits before a call is retried that asked for a delay: advance a clock, or do nothing.

        Args:
            delay: seconds that the provisioner asked for, if it did.
        """
