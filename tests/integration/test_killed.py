"""The provisioner is killed around every one of its writes, and the next one loses and leaves nothing.

Each flow is run once to see which requests it writes with, to the API server and to MinIO; then once for each
point between two of them, with SIGKILL there, and an ordinary provisioner to pick up what is left. What comes after
one write is also what comes before the next, to everybody but the process that dies: so a flow of N writes has
N + 1 points.
"""

from __future__ import annotations

import secrets
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from minio_world import MinioWorld, minio_binary, minio_server

from libbucket.testing.application import Refused
from libbucket.testing.processes import fresh_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import Cluster
    from libbucket.testing.provisioner_process import ProvisionerProcess

_KILLER = Path(__file__).with_name("support") / "killer.py"
_NEIGHBOUR, _CLAIM, _REPORTS = "neighbour", "photos", "reports"
_KEY, _DATA = "kept", b"of the neighbour"


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What is interrupted.

    Attributes:
        name: for the closing line.
        deletes: whether it is the claim's deletion that is interrupted, not its binding.
        keeps: whether the bucket stays when the claim goes.
        brownfield: whether the bucket was there before the claim.
        changes_mind: whether the claim is deleted while no provisioner runs, after a binding that was cut short.
    """

    name: str
    deletes: bool = False
    keeps: bool = False
    brownfield: bool = False
    changes_mind: bool = False


FLOWS = [
    Flow(name="provision"),
    Flow(name="provision, then deleted", changes_mind=True),
    Flow(name="delete", deletes=True),
    Flow(name="delete with Retain", deletes=True, keeps=True),
    Flow(name="grant", brownfield=True, keeps=True),
    Flow(name="revoke", brownfield=True, deletes=True, keeps=True),
]


class Town(MinioWorld):
    """The world of these tests: a neighbour who must notice nothing, and a bucket that is older than all claims."""

    def settle(self) -> None:
        """Makes what stays over all tests."""
        self.make_admin_secret()
        self.minio.make_bucket(_REPORTS)
        self.classes = {
            "greenfield": self.make_class(),
            "retain": self.make_class(reclaim_policy="Retain"),
            "brownfield": self.make_class(bucketName=_REPORTS),
        }
        with self.provisioner():
            self.claim(_NEIGHBOUR, self.classes["greenfield"])
            self.wait_bound(_NEIGHBOUR)
        self.application(_NEIGHBOUR).put(self.bucket(_NEIGHBOUR), _KEY, _DATA)
        self.neighbour = self._look_at_the_neighbour()

    def make_claim(self, flow: Flow) -> None:
        kind = "brownfield" if flow.brownfield else "retain" if flow.keeps else "greenfield"
        self.claim(_CLAIM, self.classes[kind])

    def check_bound(self) -> None:
        """The claim can be used, reaches only its own bucket, and MinIO holds nothing that no claim knows."""
        mine, theirs = self.application(_CLAIM), self.bucket(_NEIGHBOUR)
        bucket = self.bucket(_CLAIM)
        mine.put(bucket, "mine", b"data")
        assert mine.get(bucket, "mine") == b"data"
        for trespass in (lambda: mine.get(theirs, _KEY), lambda: mine.put(theirs, "intruder", b"")):
            with pytest.raises(Refused):
                trespass()
        state = self.state(_CLAIM)
        assert state["BucketName"] == bucket
        self._check_store({_CLAIM, _NEIGHBOUR}, {bucket})

    def check_gone(self, kept: str) -> None:
        """Nothing of the claim is left but the bucket, if that is to be kept."""
        for path, found in self.objects_of(_CLAIM).items():
            assert found is None, path
        self._check_store({_NEIGHBOUR}, {kept} if kept else set())
        if kept:
            assert self.minio.application().get(kept, "mine") == b"data"

    def check_neighbour(self) -> None:
        """The neighbour noticed nothing: not one of its objects was written, its key and its data are as they were."""
        assert self._look_at_the_neighbour() == self.neighbour

    def remove_kept(self, kept: str) -> None:
        """What the claim's owner would clean up."""
        if kept == _REPORTS:
            self.minio.application().delete(kept, "mine")
        elif kept:
            self.minio.purge_bucket(kept)

    def _check_store(self, claims: set[str], buckets: set[str]) -> None:
        states = [self.state(name) for name in claims]
        assert self.buckets() == buckets | {self.bucket(_NEIGHBOUR), _REPORTS}
        assert self.users() == {state["UserName"] for state in states}
        assert self.policies() == {state["PolicyName"] for state in states}

    def _look_at_the_neighbour(self) -> dict[str, Any]:
        bucket = self.bucket(_NEIGHBOUR)
        return {
            "objects": self.objects_of(_NEIGHBOUR),
            "keys": self.application(_NEIGHBOUR).list_keys(bucket),
            "data": self.application(_NEIGHBOUR).get(bucket, _KEY),
            "settings": self.minio.settings(bucket),
        }


@pytest.fixture(scope="module")
def town(cluster: Cluster) -> Iterator[Town]:
    namespace = f"killed-{secrets.token_hex(4)}"
    cluster.admin.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    with minio_server(minio_binary()) as server:
        made = Town(cluster, namespace, server)
        made.settle()
        yield made
        with made.provisioner():
            made.delete_claim(_NEIGHBOUR)
        made.delete_classes()
    cluster.admin.delete(f"/api/v1/namespaces/{namespace}")


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name.replace(" ", "-"))
def test_a_provisioner_killed_around_any_write_loses_nothing_and_leaves_nothing(
    town: Town, flow: Flow, capsys: pytest.CaptureFixture[str]
) -> None:
    with town.provisioner("-v", "4") as successor:
        writes = _live_through(town, flow, successor, kill_at="")
        assert len(writes) >= 5, writes
        points = [("before", 1), *(("after", number) for number in range(1, len(writes) + 1))]
        for when, number in points:
            try:
                _live_through(town, flow, successor, kill_at=f"{when}:{number}")
            except BaseException as error:
                error.add_note(f"{flow.name}: killed {when} write {number} of {len(writes)}, {writes[number - 1]}")
                error.add_note("the successor's log ends with:\n" + "\n".join(successor.log().splitlines()[-20:]))
                raise
    with capsys.disabled():
        print(f"\n{flow.name}: killed at {len(points)} points, {len(writes)} writes", end=" ")


def _live_through(town: Town, flow: Flow, successor: ProvisionerProcess, *, kill_at: str) -> list[str]:
    """One claim from its creation to its end; gives what the killer wrote until it died, or was stopped.

    The successor, which runs before and after, is killed, too: it has nothing to do then.
    """
    kept = ""
    if flow.deletes:
        town.make_claim(flow)
        kept = _see_it_bound(town, flow)
        successor.kill()
        town.delete_claim(_CLAIM, wait=False)
    else:
        successor.kill()
        town.make_claim(flow)
    writes = _run_killer(town, flow, kill_at)
    if flow.changes_mind:
        town.delete_claim(_CLAIM, wait=False)
    successor.start(wait=False)
    if not flow.deletes and not flow.changes_mind:
        kept = _see_it_bound(town, flow)
        town.delete_claim(_CLAIM, wait=False)
    town.wait_gone(_CLAIM)
    town.check_gone(kept)
    town.check_neighbour()
    town.remove_kept(kept)
    return writes


def _see_it_bound(town: Town, flow: Flow) -> str:
    """Waits for it, checks it, and gives the bucket that stays when the claim goes, if one does."""
    town.wait_bound(_CLAIM)
    town.check_bound()
    return town.bucket(_CLAIM) if flow.keeps else ""


def _run_killer(town: Town, flow: Flow, kill_at: str) -> list[str]:
    with fresh_directory() as directory:
        log = directory / "writes.log"
        environment = {"KILLER_AT": kill_at, "KILLER_LOG": str(log)}
        with town.provisioner(program=(_KILLER,), environment=environment, ready=False) as killer:
            if kill_at:
                assert killer.wait_exit() == -signal.SIGKILL, killer.log()
            else:
                town.wait_gone(_CLAIM) if flow.deletes else town.wait_bound(_CLAIM)
                killer.stop()
        return log.read_text().splitlines()
