"""The provisioners that are compared, each with its store in memory. Knows how to start them, and what they are called.

The other one is built on the Go library, lib-bucket-provisioner: `tests/benchmark/go-peer`.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from libbucket.testing.binaries import local_go_binary
from libbucket.testing.memory import PROVISIONER_NAME
from libbucket.testing.provisioner_process import provisioner_process
from testkit.benchmark.provisioner import PROVISIONER_NAME as STATELESS_NAME
from testkit.benchmark.provisioner import STORE_SECONDS, VERSION
from testkit.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from libbucket.testing.controlplane import ControlPlane
    from libbucket.testing.provisioner_process import ProvisionerProcess

_GO_PEER: Final = ROOT / "tests/benchmark/go-peer"
_GO_MOD: Final = _GO_PEER / "go.mod"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A provisioner.

    Attributes:
        name: in tables.
        provisioner: that its classes name.
        command: that starts it.
        environment: added to this process's.
    """

    name: str
    provisioner: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def running(self, cluster: ControlPlane, *arguments: str) -> Iterator[ProvisionerProcess]:
        """Runs it until the block ends."""
        command = [*self.command, *arguments]
        with provisioner_process(command, kubeconfig=cluster.kubeconfig, environment=self.environment) as process:
            yield process


OURS: Final = Subject(
    name="libbucket", provisioner=PROVISIONER_NAME, command=(sys.executable, "-m", "libbucket.testing.memory")
)


def stateless(*, version: int = 1, store_seconds: float = 0.0) -> Subject:
    """The core over a store that remembers nothing, so that every process of it has the same one.

    Args:
        version: of the provisioner: another one has every bound claim reconciled in full, once.
        store_seconds: that each call takes.
    """
    return Subject(
        name="libbucket",
        provisioner=STATELESS_NAME,
        command=(sys.executable, "-m", "testkit.benchmark.provisioner"),
        environment={VERSION: str(version), STORE_SECONDS: str(store_seconds)},
    )


def go_versions() -> str:
    """The modules that the one on the Go library is built with, as a phrase."""
    required = re.findall(r"(?m)^\s*(?:require )?\S+/(lib-bucket-provisioner|client-go) (v\S+)", _GO_MOD.read_text())
    return ", ".join(f"{name} {version}" for name, version in required)


def go_peer() -> Subject:
    """The one on the Go library, built if this machine has not yet.

    Raises:
        SetupFailed: it can't be built.
    """
    program = local_go_binary(name="go-peer", directory=_GO_PEER)
    return Subject(name="Go library", provisioner="peer.example.com/bucket", command=(str(program),))
