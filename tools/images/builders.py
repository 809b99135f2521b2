"""docker, podman or buildah: whichever is there, told the same thing.

The one place that knows how their command lines differ. Starts them and reads their answers; knows nothing of what is
in an image.
"""

from __future__ import annotations

import shutil
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from libbucket.testing.problems import SetupFailed
from libbucket.testing.progress import waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNIFIED: Final = Path("/sys/fs/cgroup/cgroup.controllers")
_LINES: Final = 30


@dataclass(frozen=True, kw_only=True)
class Build:
    """What is built.

    Attributes:
        context: the folder with everything that the Dockerfile copies.
        target: the stage.
        tag: what the result is called.
        epoch: the date of everything in it, in seconds.
        arguments: for the Dockerfile.
        labels: of the image.
    """

    context: Path
    target: str
    tag: str
    epoch: int
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> list[str]:
        """What all builders spell alike. No network: all that is needed is in the context."""
        given = ["--network", "none", "--target", self.target, "--tag", self.tag]
        for name, value in {**self.arguments, "SOURCE_DATE_EPOCH": str(self.epoch)}.items():
            given += ["--build-arg", f"{name}={value}"]
        for name, value in self.labels.items():
            given += ["--label", f"{name}={value}"]
        return given


class Builder(ABC):
    """One of the three programs."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def command(self) -> list[str]:
        """The program, with what it needs on this machine."""

    @abstractmethod
    def build(self, build: Build) -> None:
        """Builds an image.

        Raises:
            SetupFailed: it could not; with the last lines of what was printed.
        """

    @abstractmethod
    def save(self, tag: str, path: Path) -> None:
        """Writes an image as an archive in the layout of OCI, from which all three and Kubernetes' runtimes load it."""

    def run(self, *arguments: str, doing: str) -> str:
        """Runs the program; gives what it printed.

        Raises:
            SetupFailed: its exit code was not 0.
        """
        with waiting(doing):
            done = subprocess.run(
                [*self.command, *arguments], check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        if done.returncode:
            tail = "\n    ".join(done.stdout.splitlines()[-_LINES:])
            raise SetupFailed(f"{self.name} failed {doing}; its last lines:\n    {tail}")
        return done.stdout

    def succeeds(self, *arguments: str) -> bool:
        """Whether the program ends with exit code 0."""
        return subprocess.run([*self.command, *arguments], check=False, capture_output=True).returncode == 0


class Docker(Builder):
    """Docker with BuildKit, and a daemon that answers."""

    name = "docker"

    @property
    def command(self) -> list[str]:
        return ["docker"]

    def build(self, build: Build) -> None:
        self.run("build", *build.options, str(build.context), doing=f"building {build.tag}")

    def save(self, tag: str, path: Path) -> None:
        self.run("save", "--output", str(path), tag, doing=f"writing {path.name}")


class Podman(Builder):
    """Podman, which needs no daemon."""

    name = "podman"

    @property
    def command(self) -> list[str]:
        # crun, its usual runtime, refuses a machine where both generations of cgroups are mounted; runc does not.
        old = ["--runtime", "runc", "--cgroup-manager", "cgroupfs"]
        return ["podman", *([] if _UNIFIED.exists() else old)]

    def build(self, build: Build) -> None:
        # Else it would keep, and find again, what another date or context made.
        fresh = ["--no-cache", "--layers=false", "--isolation", "oci"]
        options = [*fresh, "--timestamp", str(build.epoch), "--identity-label=false"]
        self.run("build", *options, *build.options, str(build.context), doing=f"building {build.tag}")

    def save(self, tag: str, path: Path) -> None:
        path.unlink(missing_ok=True)  # it would add to the one that is there
        self.run("save", "--format", "oci-archive", "--output", str(path), tag, doing=f"writing {path.name}")


class Buildah(Podman):
    """Buildah: what podman builds with, alone. It can't run what it has built."""

    name = "buildah"

    @property
    def command(self) -> list[str]:
        return ["buildah"]  # runc is its usual runtime

    def save(self, tag: str, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.run("push", tag, f"oci-archive:{path}:{tag}", doing=f"writing {path.name}")


def find_builder(name: str = "") -> Builder:
    """The builder of that name, or the first one that works here: podman, docker, buildah.

    Raises:
        SetupFailed: there is none.
    """
    builders: list[Builder] = [Podman(), Docker(), Buildah()]
    for builder in builders:
        if name in {"", builder.name} and shutil.which(builder.name) and builder.succeeds("info"):
            return builder
    wanted = name or "docker, podman or buildah"
    raise SetupFailed(
        f"images are built with {wanted}, and none that works is on the PATH: install one (on Debian and Ubuntu "
        f"`apt-get install podman runc`), or start docker's daemon"
    )
