"""A store whose disk is full: the real MinIO on a small file system, filled by another program, then emptied."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from libbucket.testing.processes import fresh_directory
from testkit.cluster.memory_environment import condition
from testkit.minio.server import minio_binary, minio_server
from testkit.resilience.proxied_environment import proxied_environment
from testkit.resilience.trials import Trial, Violation, eventually
from testkit.stores.minio import MinioStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from libbucket.testing.controlplane import Cluster
    from testkit.resilience.proxied_environment import ProxiedEnvironment

_SIZE: Final = "96m"
_RECOVERY: Final = 120.0
"""Seconds: a full disk is for a person to fix, and claims are retried rarely, at first every half minute."""


def disk_trials(cluster: Cluster) -> Iterator[Trial]:
    """One."""
    yield Trial(
        seed="outages/disk/full",
        expected=f"the claim waits and says why, and is bound within {_RECOVERY:.0f} s after there is room",
        run=partial(_live_through, cluster),
    )


def _live_through(cluster: Cluster) -> str:
    with fresh_directory("disk-") as place:
        if not _mount(place):
            return "skipped: this account can't mount a file system"
        try:
            return _fill_up(cluster, place)
        finally:
            subprocess.run(["umount", "--lazy", str(place)], check=False)


def _fill_up(cluster: Cluster, place: Path) -> str:
    @contextmanager
    def small() -> Iterator[MinioStore]:
        with minio_server(minio_binary(), parent=place) as server:
            yield MinioStore(server)

    with proxied_environment(cluster, "minio", start=small) as made:
        filler = place / "filler"
        with filler.open("wb") as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        made.claim("late", made.classes["greenfield"], generateBucketName="photos")
        said = made.wait_claim("late", lambda claim: bool(condition(claim).get("reason") not in {None, "Provisioning"}))
        if said["status"]["phase"] == "Failed":
            raise Violation(f"a full disk made a claim Failed: {said['status']}")
        filler.unlink()
        eventually(lambda: _assert_bound(made), seconds=_RECOVERY)
        made.assert_works(made.as_bound("late"))
        return f"said {condition(said)['reason']} while it was full"


def _assert_bound(made: ProxiedEnvironment) -> None:
    status = made.admin.get(made.claim_path("late")).get("status", {})
    assert status.get("phase") == "Bound", f"the claim is not bound: {status}"


def _mount(place: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(place)]
    with suppress(OSError):
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    return False
