"""The flows whose requests are answered otherwise: from a claim in a stable state to one in a stable state.

A flow prepares a claim, starts one thing, and says when it is done. Knows the simulation; knows no answer and no store.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, ClassVar

from libbucket._reconcile.model.snapshot import Recheck
from testkit.answers.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testkit.answers.simulation import Simulation

NAMESPACE = "shop"
_SECONDS = 600.0
_OBJECTS = 3


class Ends(Enum):
    """How a flow ends where nothing hinders it."""

    BOUND = auto()
    """With a claim that is bound, and whose credentials work."""
    GONE = auto()
    """With nothing left of the claim."""
    RETAINED = auto()
    """With the bucket only."""


class Flow:
    """One of them. Subclasses say what differs.

    Attributes:
        name: in seeds.
        ends: see there.
        begins_bound: whether the claim is bound when it starts.
        keeps_credentials: whether the Secret that the claim has must be the one that it has afterwards.
        parameters: of its class, beside the store's.
        reclaim_policy: of its class.
    """

    name: ClassVar[str]
    ends: ClassVar[Ends] = Ends.BOUND
    begins_bound: ClassVar[bool] = True
    keeps_credentials: ClassVar[bool] = True
    reclaim_policy: ClassVar[str] = "Delete"
    spec: ClassVar[Mapping[str, str]] = {"generateBucketName": "photos"}
    horizon: ClassVar[float] = 600.0
    """Seconds within which it ends where nothing hinders it."""

    def parameters(self, simulation: Simulation) -> Mapping[str, str]:
        """Of its class, beside the store's."""
        del simulation
        return {}

    def prepare(self, simulation: Simulation, name: str) -> Subject:
        """Brings a claim, or only its class, into the state in which the flow starts."""
        simulation.create_class("tested", reclaim_policy=self.reclaim_policy, extra=self.parameters(simulation))
        subject = Subject(simulation, f"{NAMESPACE}/{name}")
        if self.begins_bound:
            self.make(subject)
            assert simulation.run(_SECONDS, until=lambda: subject.is_bound), f"was never bound: {subject.message}"
            self.fill(subject)
        return subject

    def make(self, subject: Subject) -> None:
        """Creates the claim."""
        namespace, _, name = subject.key.partition("/")
        subject.simulation.create_claim(name, namespace=namespace, storage_class="tested", **self.spec)

    def fill(self, subject: Subject) -> None:
        """What the bucket holds when the flow starts."""

    def start(self, subject: Subject) -> None:
        """The one thing."""
        raise NotImplementedError

    def meanwhile(self, subject: Subject) -> None:
        """What others do after it was started."""

    def resume(self, subject: Subject) -> None:
        """What happens once answers are normal again: drift checks, and a claim that waits for an edit gets one."""
        if subject.is_stalled:
            subject.simulation.edit(subject.key, {"spec": {"additionalConfig": {"maxObjects": "1000"}}})
        if self.ends is Ends.BOUND:
            subject.simulation.recheck(subject.key, Recheck.DRIFT_CHECK)

    def is_done(self, subject: Subject) -> bool:
        """Whether it has come to its end."""
        return subject.is_bound if self.ends is Ends.BOUND else subject.is_gone


class Provision(Flow):
    """A new claim gets a bucket of its own."""

    name = "provision"
    begins_bound = False
    keeps_credentials = False

    def start(self, subject: Subject) -> None:
        self.make(subject)


class Grant(Provision):
    """A new claim gets access to a bucket that is there."""

    name = "grant"
    ends = Ends.BOUND
    spec: ClassVar[Mapping[str, str]] = {"bucketName": ""}

    def parameters(self, simulation: Simulation) -> Mapping[str, str]:
        return {"bucketName": shared_bucket(simulation)}

    def make(self, subject: Subject) -> None:
        namespace, _, name = subject.key.partition("/")
        subject.simulation.create_claim(name, namespace=namespace, storage_class="tested", generateBucketName="x")


def shared_bucket(simulation: Simulation) -> str:
    """A bucket that an administrator made, one for each store."""
    name, administrator = "shared-of-the-sweep", simulation.adapter.backend.administrator
    if not administrator.bucket_exists(name):
        administrator.make_bucket(name)
    return name


class Settings(Flow):
    """A bound claim's `additionalConfig` is edited."""

    name = "settings"

    def start(self, subject: Subject) -> None:
        config = dict(subject.simulation.adapter.config)
        subject.simulation.edit(subject.key, {"spec": {"additionalConfig": config}})

    def is_done(self, subject: Subject) -> bool:
        claim = subject.simulation.claim(subject.key) or {}
        status = claim.get("status", {})
        return subject.is_bound and status.get("observedGeneration", 0) == claim["metadata"]["generation"]


class Rechecked(Flow):
    """A timer has the store of a bound claim checked."""

    depth: ClassVar[Recheck]

    def start(self, subject: Subject) -> None:
        self._from = len(subject.simulation.history)
        subject.simulation.recheck(subject.key, self.depth)

    def resume(self, subject: Subject) -> None:
        super().resume(subject)
        subject.simulation.recheck(subject.key, self.depth)

    def is_done(self, subject: Subject) -> bool:
        since = subject.simulation.history[self._from :]
        return subject.is_bound and any(one.key == subject.key and one.outcome.retry is None for one in since)


class DriftCheck(Rechecked):
    """The cheap one, with nothing changed."""

    name = "drift-check"
    depth = Recheck.DRIFT_CHECK


class FullCheck(Rechecked):
    """The full one, with nothing changed."""

    name = "full-check"
    depth = Recheck.FULL


class Repair(Rechecked):
    """The claim's identity was removed out of band."""

    name = "repair"
    depth = Recheck.FULL
    keeps_credentials = False

    def fill(self, subject: Subject) -> None:
        record = subject.record
        assert record is not None
        subject.simulation.adapter.damage(record)


class Renew(Flow):
    """The Secret was deleted: new credentials are issued, and the old ones revoked."""

    name = "renew"
    keeps_credentials = False

    def start(self, subject: Subject) -> None:
        subject.simulation.delete_secret(subject.key)


class Delete(Flow):
    """The claim of an empty bucket is deleted."""

    name = "delete"
    ends = Ends.GONE
    keeps_credentials = False

    def start(self, subject: Subject) -> None:
        subject.simulation.delete_claim(subject.key)


class Revoke(Delete):
    """The claim of a class that retains buckets is deleted."""

    name = "revoke"
    ends = Ends.RETAINED
    reclaim_policy = "Retain"


class DeleteData(Delete):
    """The bucket holds objects."""

    name = "delete-data"

    def fill(self, subject: Subject) -> None:
        application = subject.application()
        for number in range(_OBJECTS):
            application.put(subject.bucket, f"object-{number}", b"data")


class DeleteVersions(Delete):
    """The bucket holds older versions, a delete marker and an unfinished upload."""

    name = "delete-versions"

    def fill(self, subject: Subject) -> None:
        subject.simulation.adapter.backend.administrator.enable_versioning(subject.bucket)
        application = subject.simulation.adapter.backend.administrator.application()
        for data in (b"older", b"newer"):
            application.put(subject.bucket, "object", data)
        application.delete(subject.bucket, "object")
        application.start_multipart(subject.bucket, "unfinished")


class DeleteLocked(Delete):
    """The bucket holds an object that is locked, until an administrator unlocks it after some minutes."""

    name = "delete-locked"

    def parameters(self, simulation: Simulation) -> Mapping[str, str]:
        return simulation.adapter.lock_parameters

    def fill(self, subject: Subject) -> None:
        subject.simulation.adapter.lock(subject.bucket)

    def meanwhile(self, subject: Subject) -> None:
        subject.simulation.run(120.0, until=lambda: subject.is_gone)
        if not subject.is_gone and subject.bucket:
            subject.simulation.adapter.unlock(subject.bucket)


class DeleteIfEmpty(Delete):
    """The class removes only what is empty, and the bucket is."""

    name = "delete-if-empty"

    def parameters(self, simulation: Simulation) -> Mapping[str, str]:
        del simulation
        return {"deletionPolicy": "IfEmpty"}


class PurgeLater(Delete):
    """The class purges an hour after the deletion of the claim."""

    name = "purge-later"
    horizon = 7200.0

    def parameters(self, simulation: Simulation) -> Mapping[str, str]:
        del simulation
        return {"purgeAfter": "1h"}


FLOWS: tuple[type[Flow], ...] = (
    Provision,
    Grant,
    Settings,
    DriftCheck,
    FullCheck,
    Repair,
    Renew,
    Revoke,
    Delete,
    DeleteData,
    DeleteVersions,
    DeleteLocked,
    DeleteIfEmpty,
    PurgeLater,
)
